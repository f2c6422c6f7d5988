/* SPDX-License-Identifier: MIT */
/* Mode native with weights in bf16 by AVX512_BF16; this file alone is compiled for it. */
#ifdef __x86_64__
#define LEVEL_VECTOR 64
#define LEVEL_PAIRS
#include "kernels/halves_body.h"
#include "kernels/level.h"
#include "kernels/panel_body.h"

void halves_rows_pairs(enum plain_kind kind, const uint8_t *w, size_t row_bytes, int rows,
                       const void *x, int64_t tokens, int64_t n, float *y, int64_t stride)
{
    halves_rows(kind, w, row_bytes, rows, x, tokens, n, y, stride);
}
#else
typedef int nothing_here; /* ISO C wants a declaration */
#endif
