/* SPDX-License-Identifier: MIT */
/* Few tokens in native mode: formats with one scale per 32 columns. Included by native_few.h; the
 * layouts of the blocks are told in codec_blocks.c. */
#ifndef QDB_KERNELS_NATIVE_FEW_BLOCKS_H
#define QDB_KERNELS_NATIVE_FEW_BLOCKS_H

#include "kernels/native_few_rows.h"

#ifdef __AVX2__

/* sum[t] continued by the terms of block b. */
INLINE void few_block(const struct native_format *f, const struct native_acts *x, int64_t b,
                      const ints code[8], floats d, floats m, floats *sum)
{
    const int64_t blocks = x->stride / 32;
    const int8_t *a = x->code + 32 * b;
    for (int64_t t = 0; t < x->tokens; t++, a += x->stride, b += blocks) {
        const ints isum = few_dot(f, few_start(f, x->start + b), code, 8, a);
        floats term = I(mul_ps)(I(cvtepi32_ps)(isum), I(mul_ps)(d, I(set1_ps)(x->d[b])));
        if (f->act == NATIVE_Q8_1)
            term = I(add_ps)(term, I(mul_ps)(m, I(set1_ps)(x->s[b])));
        sum[t] = I(add_ps)(sum[t], term);
    }
}

/* The kernel of a format with blocks of `bytes`; take: code, d and m from the block at p of rows
 * `stride` apart. */
#define FEW_BLOCKS(name, bytes, take) \
    static void few_##name(struct few_rows w, struct native_acts x, floats *sum) \
    { \
        const size_t stride = w.stride; \
        const uint8_t *p = w.p; \
        for (int64_t b = 0; b < x.cols / 32; b++, p += bytes) { \
            ints code[8]; \
            floats d, m = I(setzero_ps)(); \
            ask_ahead(&w, bytes); \
            take; \
            few_block(&constant[NATIVE_##name], &x, b, code, d, m, sum); \
        } \
    }

/* Signed bytes, as level and dot product want them. */
INLINE void take_bytes(const uint8_t *p, size_t stride, ints code[8])
{
    turn_rows(p, stride, code);
    turn_rows(p + 16, stride, code + 4);
    UNROLL for (int k = 0; k < 8; k++) code[k] ^= from_signed();
}

FEW_BLOCKS(q4_0, 18, (d = halves_at(p, stride), take_nibbles(p + 2, stride, code)))
FEW_BLOCKS(q8_0, 34, (d = halves_at(p, stride), take_bytes(p + 2, stride, code)))
FEW_BLOCKS(iq4_nl, 18,
           (d = halves_at(p, stride), take_nibbles(p + 2, stride, code), look_up(code, 8)))

#endif
#endif
