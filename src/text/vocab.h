/* SPDX-License-Identifier: MIT */
/* The vocabulary: pieces as views into the file, their types and scores, one hash index. */
#ifndef QDB_TEXT_VOCAB_H
#define QDB_TEXT_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "file/weights.h"
#include "text/tokenizer.h"

struct vocab_slot {
    uint32_t hash;
    int32_t id; /* + 1; 0 = free */
};

struct vocab {
    const struct gguf *file;
    const struct gguf_kv *pieces;
    int32_t n;
    bool typed;               /* the file says what kind each token is */
    size_t max_piece;         /* bytes of the longest piece */
    uint8_t *type;            /* [n] enum token_type */
    uint8_t *ends;            /* [n] 1: generation stops here */
    float *score;             /* [n] */
    struct vocab_slot *slots; /* power of two, at least half of them free */
    uint32_t mask;
    int32_t unk;        /* -1 if none */
    int32_t bytes[256]; /* the token that stands for one byte, -1 if none */
    bool has_all_bytes; /* any byte string can be written, and read back */
};

/* Read tokens, scores and types. ST_NOTFOUND: there is no vocabulary; ST_FORMAT: it is broken. */
NODISCARD enum st vocab_load(struct vocab *v, const struct weights *w, struct err *e);
void vocab_free(struct vocab *v);
struct str vocab_piece(const struct vocab *v, int32_t id);
/* The first token with exactly this piece, -1 if none. Empty pieces are not found. */
int32_t vocab_find(const struct vocab *v, struct str piece);
/* The same for n pieces at once, for n <= VOCAB_BATCH: memory is asked for before it is needed. */
enum { VOCAB_BATCH = 64 };
void vocab_find_many(const struct vocab *v, const struct str *pieces, int32_t *ids, size_t n);
/* Tokens that running text may become without being asked for by name. A control token in the
 * middle of text would be taken for the real one, and could not be read back. */
static inline bool vocab_is_text(const struct vocab *v, int32_t id)
{
    return v->type[id] == TOKEN_NORMAL || v->type[id] == TOKEN_UNUSED;
}
/* The id of a text token with this piece, -1 if none. */
static inline int32_t vocab_find_text(const struct vocab *v, struct str piece)
{
    int32_t id = piece.n <= v->max_piece ? vocab_find(v, piece) : -1;
    return id >= 0 && vocab_is_text(v, id) ? id : -1;
}
/* The token for what cannot be written, -1 if there is none that may
 * stand in the middle of text. */
static inline int32_t vocab_unknown(const struct vocab *v)
{
    return v->unk >= 0 && v->type[v->unk] != TOKEN_CONTROL && !v->ends[v->unk] ? v->unk : -1;
}
/* <0xNN> -> 0..255, anything else -> -1. */
int vocab_byte_piece(struct str piece);

/* Where encoders put their ids: the caller's array. */
struct id_list {
    int32_t *p;
    size_t n, cap;
};

static inline void id_push(struct id_list *l, int32_t id)
{
    if (l->n == l->cap)
        x_grow(&l->p, &l->cap, l->n + 1, sizeof *l->p);
    l->p[l->n++] = id;
}

#endif
