/* SPDX-License-Identifier: MIT */
#include "file/logits.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "file/gguf_read.h"

static const char magic[8] = { '_', 'l', 'o', 'g', 'i', 't', 's', '_' };
enum {
    SCALE = 8,  /* bytes in front of the codes of a row: two floats */
    RANGE = 16, /* nats below the largest */
    LAST_CODE = 65535,
};

size_t logits_row_bytes(int64_t n_vocab) { return (size_t)(2 * (2 * ((n_vocab + 1) / 2) + 4)); }

/* ---- reading ---- */

static enum st read_size(struct reader *r, const char *what, int64_t least, int64_t *out)
{
    uint32_t v;
    enum st st = reader_u32(r, &v, what);
    if (!st && (v > INT32_MAX || (int64_t)v < least))
        st = reader_fail(r, r->at - 4, ST_FORMAT, "%s is %ld", what, (long)(int32_t)v);
    if (!st)
        *out = v;
    return st;
}

static enum st read_tokens(struct reader *r, struct logits_base *b)
{
    size_t n, bytes;
    void *p;
    if (!mul_ok((size_t)b->n_ctx, (size_t)b->n_chunk, &n) || !mul_ok(n, sizeof *b->tokens, &bytes)
        || bytes > reader_left(r))
        return reader_fail(r, r->at, ST_FORMAT,
                           "%lld chunks of %lld tokens cannot fit into the %zu bytes left",
                           (long long)b->n_chunk, (long long)b->n_ctx, reader_left(r));
    enum st st = mem_alloc(&p, bytes, "the tokens of a text", r->e);
    if (st)
        return st;
    b->tokens = p;
    memcpy(p, r->p + r->at, bytes);
    for (size_t i = 0; i < n; i++)
        if (b->tokens[i] < 0 || b->tokens[i] >= b->n_vocab)
            return reader_fail(r, r->at + i * sizeof *b->tokens, ST_FORMAT,
                               "token %ld is not of a vocabulary of %lld", (long)b->tokens[i],
                               (long long)b->n_vocab);
    r->at += bytes;
    return ST_OK;
}

static enum st parse(struct reader *r, struct logits_base *b)
{
    if (reader_left(r) < sizeof magic || memcmp(r->p, magic, sizeof magic) != 0)
        return reader_fail(r, 0, ST_FORMAT, "this is no file of log-probabilities (`_logits_`)");
    r->at = sizeof magic;
    enum st st = read_size(r, "the tokens of a chunk", 4, &b->n_ctx);
    if (!st)
        st = read_size(r, "the size of the vocabulary", 1, &b->n_vocab);
    if (!st)
        st = read_size(r, "the number of chunks", 1, &b->n_chunk);
    if (!st)
        st = read_tokens(r, b);
    if (st)
        return st;
    b->scored = b->n_ctx - 1 - b->n_ctx / 2;
    b->row = logits_row_bytes(b->n_vocab);
    b->rows = r->p + r->at;
    size_t n;
    const bool fits = mul_ok((size_t)(b->n_chunk * b->scored), b->row, &n);
    if (!fits || reader_left(r) != n)
        return reader_fail(r, r->at, ST_FORMAT,
                           "%lld rows of %zu bytes should follow, but %zu bytes are left",
                           (long long)(b->n_chunk * b->scored), b->row, reader_left(r));
    return ST_OK;
}

enum st logits_parse(struct map map, struct logits_base **out, struct err *e)
{
    struct logits_base *b = x_alloc(sizeof *b);
    b->map = map;
    struct reader r = { map.p, map.size, 0, map.path, e };
    enum st st = parse(&r, b);
    if (st)
        logits_free(b);
    else
        *out = b;
    return st;
}

enum st logits_open(const char *path, struct logits_base **out, struct err *e)
{
    struct map map;
    enum st st = map_open(path, &map, e);
    return st ? st : logits_parse(map, out, e);
}

void logits_free(struct logits_base *b)
{
    if (!b)
        return;
    mem_free(b->tokens);
    map_close(&b->map);
    free(b);
}

void logits_decode(const uint8_t *row, int64_t n, float *out)
{
    float scale[2];
    memcpy(scale, row, sizeof scale);
    for (int64_t k = 0; k < n; k++) {
        uint16_t code;
        memcpy(&code, row + SCALE + 2 * k, sizeof code);
        out[k] = scale[0] * code + scale[1];
    }
}

enum st logits_row(const struct logits_base *b, int64_t chunk, int64_t i, float *out, struct err *e)
{
    const uint8_t *row = b->rows + (size_t)(chunk * b->scored + i) * b->row;
    float scale[2];
    memcpy(scale, row, sizeof scale);
    if (!isfinite(scale[0]) || !isfinite(scale[1]) || scale[0] < 0) {
        st_fail(e, ST_FORMAT, "row %lld of chunk %lld has the scale %g and the offset %g",
                (long long)i, (long long)chunk, (double)scale[0], (double)scale[1]);
        return st_where(e, "%s", b->map.path);
    }
    logits_decode(row, b->n_vocab, out);
    return ST_OK;
}

/* ---- writing ---- */

void logits_encode(const float *logits, int64_t n, uint8_t *row)
{
    float most = logits[0], least = logits[0];
    double sum = 0;
    for (int64_t i = 1; i < n; i++) {
        most = logits[i] > most ? logits[i] : most;
        least = logits[i] < least ? logits[i] : least;
    }
    least = least > most - RANGE ? least : most - RANGE;
    for (int64_t i = 0; i < n; i++)
        sum += (double)expf(logits[i] - most);
    const float head[] = { (most - least) / LAST_CODE, least - most - (float)log(sum) };
    const float per_nat = head[0] > 0 ? 1 / head[0] : 0;
    memset(row, 0, logits_row_bytes(n));
    memcpy(row, head, sizeof head);
    for (int64_t i = 0; i < n; i++) {
        const float code = logits[i] > least ? rintf(per_nat * (logits[i] - least)) : 0;
        const uint16_t v = (uint16_t)(code < LAST_CODE ? code : LAST_CODE);
        memcpy(row + SCALE + 2 * i, &v, sizeof v);
    }
}

enum st logits_create(struct logits_writer *w, const char *path, int64_t n_ctx, int64_t n_vocab,
                      int64_t n_chunk, const int32_t *tokens, struct err *e)
{
    const int64_t scored = n_ctx - 1 - n_ctx / 2;
    const int32_t sizes[] = { (int32_t)n_ctx, (int32_t)n_vocab, (int32_t)n_chunk };
    *w = (struct logits_writer){ .n_vocab = n_vocab,
                                 .left = n_chunk * scored,
                                 .row_bytes = logits_row_bytes(n_vocab) };
    const size_t n_tokens = (size_t)(n_chunk * n_ctx);
    enum st st = save_open(&w->save, path, e);
    if (!st)
        st = save_space(&w->save, (uint64_t)w->left * w->row_bytes + 4 * n_tokens, e);
    if (st)
        return st;
    w->row = x_scratch(w->row_bytes);
    fwrite(magic, 1, sizeof magic, w->save.f);
    fwrite(sizes, sizeof *sizes, 3, w->save.f);
    fwrite(tokens, sizeof *tokens, n_tokens, w->save.f);
    return ST_OK;
}

void logits_put_row(struct logits_writer *w, const void *row)
{
    fwrite(row, 1, w->row_bytes, w->save.f);
    w->left--;
}

void logits_put(struct logits_writer *w, const float *logits)
{
    logits_encode(logits, w->n_vocab, w->row);
    logits_put_row(w, w->row);
}

enum st logits_finish(struct logits_writer *w, struct err *e)
{
    if (w->left) {
        const long long left = (long long)w->left;
        logits_abort(w);
        return st_fail(e, ST_STATE, "%lld rows are missing", left);
    }
    free(w->row);
    w->row = NULL;
    return save_commit(&w->save, e);
}

void logits_abort(struct logits_writer *w)
{
    free(w->row);
    w->row = NULL;
    save_abort(&w->save);
}
