/* SPDX-License-Identifier: MIT */
/* Levels: one table of kernels per kind of CPU, chosen once and forced at will. */
#ifndef QDB_KERNELS_LEVEL_H
#define QDB_KERNELS_LEVEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/feature.h"
#include "kernels/native.h"

/* In COMPUTE_EXACT and COMPUTE_NATIVE all levels give the same bits: the order of additions is part
 * of the source (kernels/level_body.h, docs/modes.md), a level only says with which
 * instructions. */
struct level {
    const char *name;
    const char *brief;
    unsigned needs; /* FEATURES of the CPU that its code was compiled for */
    int rows;                /* rows that dot_rows takes at most */
    /* y[t * stride + r] = sum over i of w[r * n + i] * x[t * n + i], r < rows, t < tokens. */
    void (*dot_rows)(const float *w, int rows, const float *x, int64_t tokens, int64_t n, float *y,
                     int64_t stride);
    /* out[j] = scale * sum over i < n of a[i] * b[keys[j] * stride + i], j < count. */
    void (*dot_keys)(const float *a, const float *b, int64_t stride, const int32_t *keys,
                     int64_t count, int64_t n, float scale, float *out);
    /* z[i] = sum over j < count of p[j] * v[keys[j] * stride + i], i < n; in double, key after key.
     */
    void (*mix_keys)(const float *p, const float *v, int64_t stride, const int32_t *keys,
                     int64_t count, int64_t n, float *z);
    /* y[t * stride + r]: native mode's products of some rows with all tokens of x. */
    void (*native_panel)(const struct native_weights *w, const struct native_acts *x, float *y,
                         int64_t stride);
};

enum { LEVEL_MAX_ROWS = 2 };

/* From the plainest to the fastest; NULL past the end. Levels of other
 * CPU families are not there. */
const struct level *level_at(size_t i);
const struct level *level_find(const char *name); /* NULL if none */
bool level_supported(const struct level *l);      /* by this machine */
/* The level in use: the fastest that is supported, until another is forced. */
const struct level *level_now(void);
/* NULL = choose by itself again. The level must be supported. Not while kernels run. */
void level_force(const struct level *l);

extern const struct level level_c, level_avx2, level_avx512;

#endif
