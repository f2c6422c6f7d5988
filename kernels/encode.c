/* SPDX-License-Identifier: MIT */
#include "kernels/encode.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/decoder.h"
#include "kernels/encoder.h"
#include "kernels/level.h"

/* The formats that rows can be encoded into. */
static const struct {
    const char *name;
    float limit;
} encoders[ENCODE__COUNT] = {
#define ENCODER(name, limit) { #name, limit },
    ENCODE_FORMATS(ENCODER)
};

/* ENCODE__COUNT if there is no encoder. */
static enum encode_id encoder_of(enum format f)
{
    const struct format_info *info = format_info(f);
    int id = 0;
    while (id < ENCODE__COUNT && (!info || strcmp(encoders[id].name, info->name)))
        id++;
    return (enum encode_id)id;
}

const char *encode_missing(enum format f)
{
    const struct format_info *info = format_info(f);
    if (!info)
        return "no such format";
    if (encoder_of(f) < ENCODE__COUNT)
        return NULL;
    if (!info->decode)
        return "named and sized, neither decoded nor encoded";
    return info->quantized ? "not built yet: decoding only" : "not a format for weights";
}

/* What llama-quantize takes where the first does not fit the row. */
static const struct {
    const char *format, *instead;
} fallbacks[] = {
    { "iq1_s", "iq4_nl" },  { "iq1_m", "iq4_nl" }, { "iq2_xxs", "iq4_nl" }, { "iq2_xs", "iq4_nl" },
    { "iq2_s", "iq4_nl" },  { "iq3_s", "iq4_nl" }, { "iq3_xxs", "iq4_nl" }, { "iq4_xs", "iq4_nl" },
    { "q2_0", "q4_0" },    { "q2_k", "q4_0" },      { "q3_k", "q4_0" },
    { "tq1_0", "q4_0" },    { "tq2_0", "q4_0" },   { "q4_k", "q5_0" },      { "q5_k", "q5_1" },
    { "q6_k", "q8_0" },
};

/* NULL: nothing. */
static const char *instead_of(const struct format_info *info)
{
    for (size_t i = 0; i < sizeof fallbacks / sizeof *fallbacks; i++)
        if (!strcmp(fallbacks[i].format, info->name))
            return fallbacks[i].instead;
    return NULL;
}

bool encode_falls_back(enum format f) { return format_info(f) && instead_of(format_info(f)); }

enum format encode_fallback(enum format f, uint64_t row_len)
{
    const struct format_info *info = format_info(f);
    if (!info || row_len % (uint64_t)info->block == 0)
        return f;
    const char *name = instead_of(info);
    const enum format to = format_by_name(name ? name : "f16");
    return row_len % (uint64_t)format_info(to)->block == 0 ? to : format_by_name("f16");
}

/* ---- checks ---- */

static enum st bad_value(const struct format_info *info, const float *x, size_t n, size_t row_len,
                         size_t first_row, float limit, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        const size_t row = first_row + i / row_len, col = i % row_len;
        if (!isfinite(x[i]))
            return st_fail(e, ST_RANGE, "row %zu, column %zu is %s: %s holds finite numbers alone",
                           row, col, isnan(x[i]) ? "NaN" : "infinite", info->type);
        if (fabsf(x[i]) > limit)
            return st_fail(e, ST_RANGE, "row %zu, column %zu is %g: %s holds at most %g", row, col,
                           (double)x[i], info->type, (double)limit);
    }
    return st_fail(e, ST_INTERNAL, "a value was refused, and none is bad");
}

/* Do the blocks fit the row, and can the importances be used? */
static enum st check_call(enum format f, size_t row_len, const float *importance, struct err *e)
{
    const char *missing = encode_missing(f);
    const struct format_info *info = format_info(f);
    if (missing)
        return st_fail(e, ST_UNSUPPORTED, "cannot encode into %s: %s", info ? info->type : "this",
                       missing);
    if (row_len == 0 || row_len % (size_t)info->block)
        return st_fail(e, ST_RANGE, "rows of %zu are no multiple of %s's block of %d", row_len,
                       info->type, info->block);
    for (size_t i = 0; importance && i < row_len; i++)
        if (!(importance[i] >= 0) || isinf(importance[i]))
            return st_fail(e, ST_RANGE, "the importance of column %zu is %g", i,
                           (double)importance[i]);
    return ST_OK;
}

/* Rows of which importance is the weight; what the call asks for has been checked. */
static enum st encode_some(enum format f, const float *rows, size_t n_rows, size_t row_len,
                           size_t first_row, const float *importance, uint8_t *out, struct err *e)
{
    const enum encode_id id = encoder_of(f);
    const struct format_info *info = format_info(f);
    const struct encode_ops *ops = level_now()->encode;
    const float limit = encoders[id].limit;
    const size_t blocks = row_len / (size_t)info->block;
    if (id != ENCODE_f32) {
        uint32_t bits;
        const uint32_t most = ops->largest(rows, (int64_t)(n_rows * row_len));
        memcpy(&bits, &limit, sizeof bits);
        if (most > bits)
            return bad_value(info, rows, n_rows * row_len, row_len, first_row, limit, e);
    }
    if (!importance)
        ops->blocks[id](rows, NULL, (int64_t)(n_rows * blocks), out);
    for (size_t r = 0; importance && r < n_rows; r++)
        ops->blocks[id](rows + r * row_len, importance, (int64_t)blocks,
                        out + r * blocks * (size_t)info->bytes);
    return ST_OK;
}

enum st encode_rows(enum format f, const float *rows, size_t n_rows, size_t row_len,
                    const float *importance, void *out, struct err *e)
{
    enum st st = check_call(f, row_len, importance, e);
    return st ? st : encode_some(f, rows, n_rows, row_len, 0, importance, out, e);
}

/* ---- whole weights ---- */

enum { CHUNK = 4096 /* elements, or one row if that is longer */ };

struct encode_job {
    const struct matrix *from;
    enum format f;
    const float *importance;
    uint8_t *out;
    size_t row_bytes; /* of out */
    int64_t rows;     /* per chunk */
    struct decoder decoder;
    float *scratch; /* [threads][rows * cols] */
    _Atomic int64_t failed; /* the first chunk that failed, INT64_MAX if none */
};

/* Have the chunk behind row `from` in the cache by the time that this one is encoded. */
static void fetch(const struct encode_job *j, int64_t from)
{
    const struct matrix *m = j->from;
    const int64_t n = m->rows - from < j->rows ? m->rows - from : j->rows;
    const char *p = (const char *)m->data + (size_t)from * m->row_bytes;
    for (size_t i = 0; n > 0 && i < (size_t)n * m->row_bytes; i += 64)
        __builtin_prefetch(p + i, 0, 2);
}

/* One chunk of rows; a failure goes to *e (NULL allowed). */
static enum st encode_chunk_of(struct encode_job *j, int64_t chunk, int worker, struct err *e)
{
    const struct matrix *m = j->from;
    const int64_t first = chunk * j->rows;
    const int64_t n = m->rows - first < j->rows ? m->rows - first : j->rows;
    float *x = j->scratch + (size_t)worker * (size_t)(j->rows * m->cols);
    const float scale = matrix_scale(m);
    for (int64_t r = 0; r < n; r++)
        level_now()->decode(&j->decoder,
                            (const char *)m->data + (size_t)(first + r) * m->row_bytes,
                            x + r * m->cols, m->cols);
    fetch(j, first + n);
    for (int64_t i = 0; m->scale && i < n * m->cols; i++)
        x[i] *= scale;
    return encode_some(j->f, x, (size_t)n, (size_t)m->cols, (size_t)first, j->importance,
                       j->out + (size_t)first * j->row_bytes, e);
}

static void encode_chunk(void *data, int64_t chunk, int worker)
{
    struct encode_job *j = data;
    if (encode_chunk_of(j, chunk, worker, NULL)) {
        int64_t first = atomic_load(&j->failed);
        while (chunk < first && !atomic_compare_exchange_weak(&j->failed, &first, chunk))
            ;
    }
}

enum st encode_matrix(struct pool *pool, const struct matrix *from, enum format f,
                      const float *importance, void *out, const volatile sig_atomic_t *cancel,
                      struct err *e)
{
    struct encode_job j = { .from = from, .f = f, .importance = importance, .out = out };
    const struct format_info *source = format_info(from->format);
    void *scratch;
    size_t size, bytes;
    enum st st = check_call(f, (size_t)from->cols, importance, e);
    if (st)
        return st;
    if (!source || !source->decode)
        return st_fail(e, ST_UNSUPPORTED, "%s cannot be decoded here",
                       source ? source->type : "this");
    if (!format_row_bytes(f, (uint64_t)from->cols, &j.row_bytes))
        return st_fail(e, ST_RANGE, "rows of %lld are too long", (long long)from->cols);
    j.decoder = decoder_of(from->format);
    j.rows = from->cols < CHUNK ? CHUNK / from->cols : 1;
    atomic_init(&j.failed, INT64_MAX);
    if (__builtin_mul_overflow((size_t)from->cols, (size_t)j.rows * sizeof(float), &size)
        || __builtin_mul_overflow(size, (size_t)pool_threads(pool), &bytes))
        return st_fail(e, ST_RANGE, "rows of %lld are too long", (long long)from->cols);
    st = mem_alloc(&scratch, bytes, "rows to encode", e);
    if (st)
        return st;
    j.scratch = scratch;
    if (!pool_for_runs(pool, pool_chunks(from->rows, j.rows), encode_chunk, &j, cancel))
        st = st_fail(e, ST_CANCELLED, "interrupted");
    else if (atomic_load(&j.failed) != INT64_MAX) /* once more, for the message */
        st = encode_chunk_of(&j, atomic_load(&j.failed), 0, e);
    mem_free(scratch);
    return st;
}
