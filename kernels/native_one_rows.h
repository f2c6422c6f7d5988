/* SPDX-License-Identifier: MIT */
/* One token in native mode at AVX2, and a few: what all formats share. Included by native_one.h. */
#ifndef QDB_KERNELS_NATIVE_ONE_ROWS_H
#define QDB_KERNELS_NATIVE_ONE_ROWS_H

#include "kernels/native_few_rows.h"

#if defined __AVX2__ && !defined __AVX512VNNI__

enum {
    ONE_TERMS = 512, /* of a row; those of longer ones would not stay in cache */
    ONE_AHEAD = 6144 /* bytes asked for early: a stream ends with its page */
};

INLINE void ask(const uint8_t *p, int bytes)
{
    for (int i = 0; i < bytes; i += 64)
        __builtin_prefetch(p + ONE_AHEAD + i, 0, 2);
}

/* term[t]: the terms of WIDTH groups from group g on with token t. n groups begin at p; what the
 * terms of the others are does not matter. */
typedef void one_terms(const uint8_t *p, int n, int tokens, const struct native_acts *x, int64_t g,
                       floats *term);

/* The terms of each row, [WIDTH][apart], added one after the other. */
INLINE floats add_terms(const float *term, int64_t apart)
{
    floats sum = _mm256_setzero_ps();
    for (int64_t i = 0; i < apart; i += WIDTH) {
        ints v[WIDTH];
        EACH_LANE v[r] = ints_load(term + r * apart + i);
        transpose(v);
        EACH_LANE sum = _mm256_add_ps(sum, _mm256_castsi256_ps(v[r]));
    }
    return sum;
}

/* Groups of `cols` columns in `bytes`. The terms of WIDTH rows, filled up with zeros, are kept and
 * turned: to add those of one row takes three cycles each. */
INLINE void one_rows(one_terms *terms, int cols, int bytes, int tokens,
                     const struct native_weights *w, const struct native_acts *x, float *y,
                     int64_t stride)
{
    float kept[ONE_TOKENS * WIDTH * ONE_TERMS];
    const ints lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const int64_t groups = x->cols / cols, apart = (groups + WIDTH - 1) / WIDTH * WIDTH;
    for (int first = 0; first < w->rows; first += WIDTH) {
        const int rows = w->rows - first < WIDTH ? w->rows - first : WIDTH;
        for (int r = 0; r < rows; r++) {
            const uint8_t *p = w->data + (size_t)(first + r) * w->row_bytes;
            for (int64_t g = 0; g < groups; g += WIDTH, p += WIDTH * bytes) {
                const int n = groups - g < WIDTH ? (int)(groups - g) : WIDTH;
                const floats there = (floats)_mm256_cmpgt_epi32(ints_of(n), lane);
                floats term[ONE_TOKENS];
                terms(p, n, tokens, x, g, term);
                UNROLL for (int t = 0; t < tokens; t++) _mm256_storeu_ps(
                    kept + (t * WIDTH + r) * apart + g, _mm256_and_ps(term[t], there));
            }
        }
        for (int t = 0; t < tokens; t++) {
            const floats sum = add_terms(kept + t * WIDTH * apart, apart);
            memcpy(y + t * stride + first, &sum, (size_t)rows * sizeof *y);
        }
    }
}

/* The kernel of a format for at most 2 or 4 tokens; terms: an expression of what one_terms is
 * given. */
#define ONE_ROWS(name, most, cols, bytes, terms) \
    INLINE void one_terms_##name(const uint8_t *p, int n, int tokens, const struct native_acts *x, \
                                 int64_t g, floats *term) \
    { \
        const struct native_format *f = &constant[NATIVE_##name]; \
        terms; \
    } \
    static void one_##name(const struct native_weights *w, const struct native_acts *x, float *y, \
                           int64_t stride) \
    { \
        if (x->tokens == 1) \
            one_rows(one_terms_##name, cols, bytes, 1, w, x, y, stride); \
        else if (x->tokens == 2) \
            one_rows(one_terms_##name, cols, bytes, 2, w, x, y, stride); \
        else if ((most) == 4 && x->tokens == 3) \
            one_rows(one_terms_##name, cols, bytes, 3, w, x, y, stride); \
        else if ((most) == 4) \
            one_rows(one_terms_##name, cols, bytes, 4, w, x, y, stride); \
    }

#endif
#endif
