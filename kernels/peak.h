/* SPDX-License-Identifier: MIT */
/* Peaks: loops that do nothing but read memory or multiply and add, to see what a machine can do at
 * most. */
#ifndef QDB_KERNELS_PEAK_H
#define QDB_KERNELS_PEAK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/level.h"

enum peak_kind {
    PEAK_MUL_ADD,   /* float32 multiplication, then addition, each rounded: as in mode exact */
    PEAK_FMA,       /* float32 multiplication and addition rounded once */
    PEAK_DOT8,      /* products of unsigned and signed bytes added into 32-bit integers */
    PEAK_BF16,      /* products of brain floats added into float32 */
    PEAK_TILE8,     /* products of tiles of bytes added into 32-bit integers */
    PEAK_TILE_BF16, /* products of tiles of brain floats added into float32 */
    PEAK__COUNT
};

struct peak {
    const char *level; /* of the level whose vectors it uses */
    enum peak_kind kind;
    const char *how; /* the instructions, for people */
    unsigned needs;  /* FEATURES of the CPU */
    int lanes;       /* products per step */
    void (*run)(int64_t rounds);
};

enum { PEAK_STEPS = 10 /* steps per round */ };

/* The best that this CPU has for this kind at the level or one before it; NULL if there is none. */
const struct peak *peak_find(const struct level *l, enum peak_kind kind);
/* Operations of so many rounds: two per product, one multiplication and one addition. */
double peak_ops(const struct peak *p, int64_t rounds);

/* Read n bytes once, in order; returns their sum as 64-bit words, so that nothing is left out. p is
 * 64-byte aligned, n a multiple of 512. ahead: ask for the line that far ahead, 0 = not at all. */
uint64_t peak_read(const void *p, size_t n, size_t ahead);

#endif
