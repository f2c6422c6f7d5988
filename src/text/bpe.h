/* SPDX-License-Identifier: MIT */
/* Byte-level BPE: bytes as printable characters (GPT-2's table), pairs merged in ranked order. */
#ifndef QDB_TEXT_BPE_H
#define QDB_TEXT_BPE_H

#include "text/merge.h"
#include "text/pretokenizer.h"
#include "text/vocab.h"

struct bpe_merge {
    uint64_t pair; /* left id << 32 | right id */
    uint32_t rank;
    int32_t id; /* what they become; -1 = free slot */
};

struct bpe {
    const struct vocab *vocab;
    struct pretokenizer *pre;
    struct bpe_merge *merges; /* hash table, a power of two of slots */
    uint32_t mask;
};

/* Fills v->bytes too. A merge that names pieces which do not exist, or which are special, can never
 * happen and is left out; of equal merges the first counts. ST_UNSUPPORTED: pre-tokenizer. */
NODISCARD enum st bpe_load(struct bpe *b, struct vocab *v, const struct weights *w, struct str pre,
                           struct err *e);
void bpe_free(struct bpe *b);
NODISCARD enum st bpe_encode(const struct bpe *b, struct str text, struct merge *m,
                             struct buf *work, struct id_list *out, struct err *e);
/* Append the bytes that a piece stands for; a character that stands for none stands for itself. */
void bpe_unescape(struct str piece, struct buf *out);

#endif
