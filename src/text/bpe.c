/* SPDX-License-Identifier: MIT */
#include "text/bpe.h"

#include <string.h>

/* GPT-2's table: printable Latin-1 bytes stand for themselves; the other 68 (0..32, 127..160 and
 * the soft hyphen 173) for U+0100 upwards, in order. */
static int32_t byte_char(int byte)
{
    return byte <= 32                   ? 256 + byte
           : byte >= 127 && byte <= 160 ? 289 + byte - 127
           : byte == 173                ? 323
                                        : byte;
}

/* The byte that a character stands for, -1 if none. */
static int char_byte(int32_t cp)
{
    if (cp >= 0 && cp < 256)
        return byte_char(cp) == cp ? cp : -1;
    return cp < 256 || cp > 323 ? -1 : cp == 323 ? 173 : cp < 289 ? cp - 256 : 127 + cp - 289;
}

void bpe_unescape(struct str piece, struct buf *out)
{
    for (size_t i = 0; i < piece.n;) {
        int32_t cp;
        int n = utf8_decode(piece.p + i, piece.n - i, &cp), byte = char_byte(cp);
        if (byte >= 0)
            buf_addc(out, (char)byte);
        else
            buf_add(out, piece.p + i, (size_t)n);
        i += (size_t)n;
    }
}

static uint32_t pair_hash(uint64_t pair)
{
    pair *= 0x9e3779b97f4a7c15u;
    pair ^= pair >> 32;
    pair *= 0xd6e8feb86659fd93u;
    return (uint32_t)(pair >> 32);
}

static bool bpe_rule(const void *context, const struct symbol *left, const struct symbol *right,
                     uint32_t *key, int32_t *id)
{
    const struct bpe *b = context;
    if (left->id < 0 || right->id < 0)
        return false;
    uint64_t pair = (uint64_t)left->id << 32 | (uint32_t)right->id;
    for (uint32_t s = pair_hash(pair) & b->mask; b->merges[s].id >= 0; s = (s + 1) & b->mask)
        if (b->merges[s].pair == pair) {
            *key = b->merges[s].rank;
            *id = b->merges[s].id;
            return true;
        }
    return false;
}

/* Merges come in the order of the tokens they make, nearly always: look there first. */
static int32_t find_near(const struct vocab *v, struct str piece, int32_t *guess)
{
    for (int32_t id = *guess; id < v->n && id < *guess + 2; id++)
        if (vocab_is_text(v, id) && str_eq(vocab_piece(v, id), piece))
            return *guess = id;
    int32_t id = vocab_find_text(v, piece);
    if (id >= 0)
        *guess = id;
    return id;
}

/* Merges on their way into the table, two pieces each. */
struct batch {
    struct str pieces[VOCAB_BATCH];
    int32_t ids[VOCAB_BATCH];
    struct bpe_merge merges[VOCAB_BATCH / 2];
    size_t n;      /* pieces */
    char *joined;  /* max_piece bytes */
    int32_t guess; /* what the merge before became */
};

/* What the i-th merge of the batch makes, -1 if it can never happen. */
static int32_t merged_id(const struct vocab *v, struct batch *q, size_t i)
{
    int32_t l = q->ids[2 * i], r = q->ids[2 * i + 1];
    struct str left = q->pieces[2 * i], right = q->pieces[2 * i + 1];
    if (l < 0 || r < 0 || !vocab_is_text(v, l) || !vocab_is_text(v, r)
        || left.n + right.n > v->max_piece)
        return -1;
    memcpy(q->joined, left.p, left.n);
    memcpy(q->joined + left.n, right.p, right.n);
    return find_near(v, str_of(q->joined, left.n + right.n), &q->guess);
}

static void add_batch(struct bpe *b, struct batch *q)
{
    vocab_find_many(b->vocab, q->pieces, q->ids, q->n);
    for (size_t i = 0; i < q->n / 2; i++) {
        struct bpe_merge *m = &q->merges[i];
        m->id = merged_id(b->vocab, q, i);
        m->pair = (uint64_t)(uint32_t)q->ids[2 * i] << 32 | (uint32_t)q->ids[2 * i + 1];
        __builtin_prefetch(b->merges + (pair_hash(m->pair) & b->mask));
    }
    for (size_t i = 0; i < q->n / 2; i++) {
        const struct bpe_merge *m = &q->merges[i];
        uint32_t s = pair_hash(m->pair) & b->mask;
        while (b->merges[s].id >= 0 && b->merges[s].pair != m->pair)
            s = (s + 1) & b->mask;
        if (m->id >= 0 && b->merges[s].id < 0)
            b->merges[s] = *m;
    }
    q->n = 0;
}

/* A merge is two pieces with a space between; neither is empty. */
static void queue_merge(struct bpe *b, struct batch *q, struct str rule, uint32_t rank)
{
    const char *space = rule.n > 1 ? memchr(rule.p + 1, ' ', rule.n - 1) : NULL;
    if (!space)
        return;
    size_t n = (size_t)(space - rule.p);
    q->merges[q->n / 2].rank = rank;
    q->pieces[q->n++] = str_of(rule.p, n);
    q->pieces[q->n++] = str_of(space + 1, rule.n - n - 1);
    if (q->n == VOCAB_BATCH)
        add_batch(b, q);
}

static enum st load_merges(struct bpe *b, const struct gguf_kv *kv, struct err *e)
{
    size_t slots = 16;
    while (slots / 4 * 3 < kv->n)
        slots *= 2;
    void *p;
    enum st st = mem_alloc(&p, slots * sizeof *b->merges, "tokenizer merges", e);
    if (st)
        return st;
    memset(p, 0xff, slots * sizeof *b->merges); /* id -1 everywhere */
    b->merges = p;
    b->mask = (uint32_t)(slots - 1);
    st = mem_alloc(&p, b->vocab->max_piece + 1, "tokenizer merges", e);
    if (st)
        return st;
    struct batch q = { .joined = p };
    for (uint64_t i = 0; i < kv->n; i++)
        queue_merge(b, &q, gguf_string(b->vocab->file, kv, i), (uint32_t)i);
    add_batch(b, &q);
    mem_free(p);
    return ST_OK;
}

enum st bpe_load(struct bpe *b, struct vocab *v, const struct weights *w, struct str pre,
                 struct err *e)
{
    *b = (struct bpe){ .vocab = v };
    enum st st = pretokenizer_new(pre, &b->pre, e);
    if (st)
        return st;
    v->has_all_bytes = true;
    for (int byte = 0; byte < 256; byte++) {
        char text[4];
        int n = utf8_encode(text, (uint32_t)byte_char(byte));
        v->bytes[byte] = vocab_find_text(v, str_of(text, (size_t)n));
        v->has_all_bytes &= v->bytes[byte] >= 0;
    }
    const struct gguf_kv *kv = weights_kv(w, "tokenizer.ggml.merges");
    if (!kv)
        return st_fail(e, ST_FORMAT, "a byte-level BPE vocabulary needs tokenizer.ggml.merges");
    if (kv->type != GGUF_ARRAY || kv->elem != GGUF_STRING)
        return st_fail(e, ST_FORMAT, "tokenizer.ggml.merges is not an array of strings");
    if (kv->n > INT32_MAX / 2)
        return st_fail(e, ST_FORMAT, "tokenizer.ggml.merges has %llu elements",
                       (unsigned long long)kv->n);
    return load_merges(b, kv, e);
}

void bpe_free(struct bpe *b)
{
    pretokenizer_free(b->pre);
    mem_free(b->merges);
    *b = (struct bpe){ 0 };
}

struct encoder {
    const struct bpe *bpe;
    struct merge *m;
    struct buf *work;
    struct id_list *out;
};

static void emit_byte(const struct encoder *c, unsigned char byte)
{
    const struct vocab *v = c->bpe->vocab;
    int32_t id = v->bytes[byte] >= 0 ? v->bytes[byte] : vocab_unknown(v);
    if (id >= 0)
        id_push(c->out, id);
}

/* The token that is this whole pre-token, -1 if none. */
static int32_t whole(const struct encoder *c, struct str word)
{
    const struct vocab *v = c->bpe->vocab;
    if (word.n > v->max_piece)
        return -1;
    buf_clear(c->work);
    for (size_t i = 0; i < word.n; i++) {
        int32_t id = v->bytes[(unsigned char)word.p[i]];
        if (id < 0)
            return -1;
        struct str piece = vocab_piece(v, id);
        buf_add(c->work, piece.p, piece.n);
    }
    return vocab_find_text(v, str_of(c->work->p, c->work->n));
}

static enum st encode_word(void *context, struct str word, struct err *e)
{
    struct encoder *c = context;
    struct merge *m = c->m;
    if (word.n == 1) {
        emit_byte(c, (unsigned char)word.p[0]);
        return ST_OK;
    }
    int32_t id = pretokenizer_flags(c->bpe->pre) & PRE_WHOLE_WORDS ? whole(c, word) : -1;
    if (id >= 0) {
        id_push(c->out, id);
        return ST_OK;
    }
    m->n = 0;
    enum st st = merge_reserve(m, word.n, e);
    for (size_t i = 0; !st && i < word.n; i++)
        merge_add(m, c->bpe->vocab->bytes[(unsigned char)word.p[i]], (uint32_t)i, 1);
    if (!st)
        st = merge_run(m, bpe_rule, c->bpe, e);
    for (int32_t i = 0; !st && i >= 0; i = m->symbols[i].after)
        if (m->symbols[i].id >= 0)
            id_push(c->out, m->symbols[i].id);
        else
            emit_byte(c, (unsigned char)word.p[m->symbols[i].at]);
    return st;
}

enum st bpe_encode(const struct bpe *b, struct str text, struct merge *m, struct buf *work,
                   struct id_list *out, struct err *e)
{
    struct encoder c = { b, m, work, out };
    return pretokenize(b->pre, text, encode_word, &c, e);
}
