/* SPDX-License-Identifier: MIT */
#include "text/vocab.h"

#include <math.h>
#include <string.h>

#define KEY "tokenizer.ggml."

/* A mixing hash of n bytes. */
static uint32_t vocab_hash(const char *p, size_t n)
{
    const uint64_t mix = 0x9e3779b97f4a7c15u;
    uint64_t h = (uint64_t)n * mix, word;
    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&word, p, 8);
        h = (h ^ word) * mix;
        h ^= h >> 29;
    }
    if (n) {
        word = 0;
        memcpy(&word, p, n);
        h = (h ^ word) * mix;
        h ^= h >> 29;
    }
    h *= mix;
    return (uint32_t)(h >> 32);
}

struct str vocab_piece(const struct vocab *v, int32_t id)
{
    return gguf_string(v->file, v->pieces, (uint64_t)id);
}

int32_t vocab_find(const struct vocab *v, struct str piece)
{
    uint32_t hash = vocab_hash(piece.p, piece.n);
    for (uint32_t s = hash & v->mask; v->slots[s].id; s = (s + 1) & v->mask)
        if (v->slots[s].hash == hash && str_eq(vocab_piece(v, v->slots[s].id - 1), piece))
            return v->slots[s].id - 1;
    return -1;
}

void vocab_find_many(const struct vocab *v, const struct str *pieces, int32_t *ids, size_t n)
{
    uint32_t hash[VOCAB_BATCH];
    for (size_t i = 0; i < n; i++) {
        hash[i] = vocab_hash(pieces[i].p, pieces[i].n);
        __builtin_prefetch(v->slots + (hash[i] & v->mask));
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t s = hash[i] & v->mask;
        while (v->slots[s].id && v->slots[s].hash != hash[i])
            s = (s + 1) & v->mask;
        ids[i] = v->slots[s].id - 1; /* or another piece with the same hash */
        if (ids[i] >= 0)
            __builtin_prefetch(v->pieces->strings + ids[i]);
    }
    for (size_t i = 0; i < n; i++)
        if (ids[i] >= 0)
            __builtin_prefetch(v->file->map.p + v->pieces->strings[ids[i]]);
    for (size_t i = 0; i < n; i++)
        if (ids[i] >= 0 && !str_eq(vocab_piece(v, ids[i]), pieces[i]))
            ids[i] = vocab_find(v, pieces[i]);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

int vocab_byte_piece(struct str s)
{
    if (s.n != 6 || memcmp(s.p, "<0x", 3) || s.p[5] != '>')
        return -1;
    int high = hex_digit(s.p[3]), low = hex_digit(s.p[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static enum st index_pieces(struct vocab *v, struct err *e)
{
    size_t slots = 16;
    while (slots < (size_t)v->n * 2)
        slots *= 2;
    void *p;
    enum st st = mem_alloc(&p, slots * sizeof *v->slots, "vocabulary index", e);
    if (st)
        return st;
    memset(p, 0, slots * sizeof *v->slots);
    v->slots = p;
    v->mask = (uint32_t)(slots - 1);
    for (int32_t id = 0; id < v->n; id++) {
        struct str piece = vocab_piece(v, id);
        if (!piece.n)
            continue; /* never produced, decodes to nothing */
        if (piece.n > v->max_piece)
            v->max_piece = piece.n;
        uint32_t hash = vocab_hash(piece.p, piece.n), s = hash & v->mask;
        for (; v->slots[s].id; s = (s + 1) & v->mask)
            if (v->slots[s].hash == hash && str_eq(vocab_piece(v, v->slots[s].id - 1), piece))
                break; /* a duplicate: the first token keeps the name */
        if (!v->slots[s].id)
            v->slots[s] = (struct vocab_slot){ hash, id + 1 };
    }
    return ST_OK;
}

/* An array that goes with the tokens: absent is fine, another length or type is not. */
static enum st parallel(const struct weights *w, const char *key, int32_t n,
                        const struct gguf_kv **out, struct err *e)
{
    const struct gguf_kv *kv = weights_kv(w, key);
    if (kv) {
        if (kv->type != GGUF_ARRAY || kv->elem == GGUF_STRING || kv->elem == GGUF_ARRAY)
            return st_fail(e, ST_FORMAT, "%s is not an array of numbers", key);
        if (kv->n != (uint64_t)n)
            return st_fail(e, ST_FORMAT, "%s has %llu elements for %d tokens", key,
                           (unsigned long long)kv->n, n);
    }
    *out = kv;
    return ST_OK;
}

static enum st read_scores(struct vocab *v, const struct gguf_kv *kv, struct err *e)
{
    for (int32_t id = 0; id < v->n; id++) {
        float score;
        if (kv && kv->elem == GGUF_F32)
            memcpy(&score, kv->data + (size_t)id * sizeof score, sizeof score);
        else
            score = kv ? (float)gguf_number(kv, (uint64_t)id) : 0;
        if (isnan(score))
            return st_fail(e, ST_FORMAT, KEY "scores: the score of token %d is nan", id);
        v->score[id] = score;
    }
    return ST_OK;
}

/* A type outside the list is never special; without types, byte tokens are known by name. */
static void read_types(struct vocab *v, const struct gguf_kv *kv, bool names_bytes)
{
    v->typed = kv != NULL;
    for (int32_t id = 0; id < v->n; id++) {
        int64_t type = kv ? gguf_integer(kv, (uint64_t)id) : TOKEN_NORMAL;
        if (!kv && names_bytes && vocab_byte_piece(vocab_piece(v, id)) >= 0)
            type = TOKEN_BYTE;
        v->type[id] = (uint8_t)(type >= TOKEN_NORMAL && type <= TOKEN_BYTE ? type : TOKEN_UNUSED);
    }
}

enum st vocab_load(struct vocab *v, const struct weights *w, struct err *e)
{
    *v = (struct vocab){ .unk = -1 };
    for (int b = 0; b < 256; b++)
        v->bytes[b] = -1;
    const struct gguf_kv *kv = weights_kv(w, KEY "tokens"), *scores, *types;
    if (!kv)
        return st_fail(e, ST_NOTFOUND, "the file has no vocabulary (" KEY "tokens)");
    if (kv->type != GGUF_ARRAY || kv->elem != GGUF_STRING)
        return st_fail(e, ST_FORMAT, KEY "tokens is not an array of strings");
    if (!kv->n || kv->n > INT32_MAX / 2)
        return st_fail(e, ST_FORMAT, KEY "tokens has %llu elements", (unsigned long long)kv->n);
    v->file = w->files[0];
    v->pieces = kv;
    v->n = (int32_t)kv->n;
    size_t n = (size_t)v->n;
    enum st st = parallel(w, KEY "scores", v->n, &scores, e);
    if (!st)
        st = parallel(w, KEY "token_type", v->n, &types, e);
    void *p;
    if (!st)
        st = mem_alloc(&p, n * (sizeof *v->score + 2), "vocabulary", e);
    if (st)
        return st;
    v->score = p;
    v->type = (uint8_t *)(v->score + n);
    v->ends = v->type + n;
    memset(v->ends, 0, n);
    read_types(v, types, str_is(weights_string(w, KEY "model", ""), "llama"));
    st = read_scores(v, scores, e);
    return st ? st : index_pieces(v, e);
}

void vocab_free(struct vocab *v)
{
    mem_free(v->score);
    mem_free(v->slots);
    *v = (struct vocab){ 0 };
}
