/* SPDX-License-Identifier: MIT */
/* Merging neighbours, best pair first, in O(n log n): what both kinds of tokenizer share. */
#ifndef QDB_TEXT_MERGE_H
#define QDB_TEXT_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* A stretch of text that is one token so far. Symbols form a list by index, -1 ends it. */
struct symbol {
    int32_t id;     /* -1: no token has this text */
    uint32_t at, n; /* bytes [at, at + n) of the text; n = 0 once merged into the left neighbour */
    int32_t before, after;
};

/* May two neighbours merge? If so, into which id and how early: the pair of smallest key goes
 * first, the leftmost one among equal keys. */
typedef bool merge_rule(const void *context, const struct symbol *left, const struct symbol *right,
                        uint32_t *key, int32_t *id);

struct merge_pair {
    uint64_t order; /* key << 32 | index of the left symbol */
    uint32_t n;     /* bytes of both: tells whether the pair is still as it was */
    int32_t id;
};

/* Zero-initialise; merge_free when done. Reused from text to text. */
struct merge {
    struct symbol *symbols;
    uint32_t n, cap;
    struct merge_pair *heap;
    uint32_t n_heap, cap_heap;
};

/* Room for n symbols more than there are now. ST_NOMEM. */
NODISCARD enum st merge_reserve(struct merge *m, size_t n, struct err *e);
/* Append a symbol; room has been reserved. */
static inline void merge_add(struct merge *m, int32_t id, uint32_t at, uint32_t n)
{
    m->symbols[m->n] = (struct symbol){ id, at, n, (int32_t)m->n - 1, (int32_t)m->n + 1 };
    m->n++;
}
/* Merge until no pair is left. Symbol 0 begins the list of what remains. ST_NOMEM. */
NODISCARD enum st merge_run(struct merge *m, merge_rule *rule, const void *context, struct err *e);
void merge_free(struct merge *m);

#endif
