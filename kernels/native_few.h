/* SPDX-License-Identifier: MIT */
/* Native mode with AVX-512 VNNI for one or two tokens: a row at a time, in the order of the file,
 * so that the memory streams. Columns are side by side; integers are summed over lanes, and the
 * terms of sixteen rows are then added in the order that docs/modes.md fixes. Included by
 * native_simd.h. */
#ifndef QDB_KERNELS_NATIVE_FEW_H
#define QDB_KERNELS_NATIVE_FEW_H

#include <stdlib.h>

#include "base/memory.h"
#include "kernels/level_native.h"
#include "kernels/native_transpose.h"

#ifdef __AVX512VNNI__

enum { FEW_TOKENS = 2, AT_ONCE = 16 /* groups of 32 */ };

/* Sums of sixteen runs of 8 lanes: run 2 i is the lower half of v[i], run 2 i + 1 the upper. */
INLINE ints sums_of_runs(const ints v[8])
{
    ints a[4], b[2];
    UNROLL for (int i = 0; i < 4; i++)
        a[i] = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]),
                                _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]));
    UNROLL for (int i = 0; i < 2; i++)
        b[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(a[2 * i], a[2 * i + 1]),
                                _mm512_unpackhi_epi64(a[2 * i], a[2 * i + 1]));
    const ints even = _mm512_shuffle_i32x4(b[0], b[1], 0x88);
    const ints odd = _mm512_shuffle_i32x4(b[0], b[1], 0xdd);
    const ints order = _mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
    return _mm512_permutexvar_epi32(order, _mm512_add_epi32(even, odd));
}

/* Terms of n columns of one row in groups of 32. */
INLINE void row_terms(const struct native_format *f, const struct native_row *w,
                      const struct slice *x, int n, float *term)
{
    for (int g = 0; g < n / 32; g += AT_ONCE) {
        ints v[8];
        UNROLL for (int i = 0; i < 8; i++)
            v[i] = _mm512_dpbusd_epi32(ints_zero(), ints_load(w->code + 32 * g + 64 * i),
                                       ints_load(x->code + 32 * g + 64 * i));
        const ints sum = _mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)(x->sum + g)));
        const ints isum = _mm512_sub_epi32(sums_of_runs(v),
                                           _mm512_mullo_epi32(sum, ints_of(f->zero)));
        floats t = _mm512_mul_ps(
            _mm512_cvtepi32_ps(isum),
            _mm512_mul_ps(_mm512_loadu_ps(w->d + g), _mm512_loadu_ps(x->d + g)));
        if (f->act == NATIVE_Q8_1)
            t = _mm512_add_ps(t,
                              _mm512_mul_ps(_mm512_loadu_ps(w->m + g), _mm512_loadu_ps(x->s + g)));
        _mm512_storeu_ps(term + g, t);
    }
}

/* The term of super-block g of one row. */
INLINE float super_term(const struct native_format *f, const struct native_row *w, int g,
                        const struct slice *x)
{
    const int units = 256 / f->unit, first = g * units;
    const __m256i wide = _mm256_loadu_si256((const __m256i *)(w->scale + first));
    const ints scale = _mm512_cvtepi16_epi32(wide);
    const ints run = units == 8 ? _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)
                                : _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    ints acc = ints_zero();
    UNROLL for (int i = 0; i < 4; i++)
    {
        const ints dot = _mm512_dpbusd_epi32(ints_zero(), ints_load(w->code + 256 * g + 64 * i),
                                             ints_load(x->code + 256 * g + 64 * i));
        const ints at = _mm512_add_epi32(run, ints_of(i * units / 4));
        acc = _mm512_add_epi32(acc, _mm512_mullo_epi32(dot, _mm512_permutexvar_epi32(at, scale)));
    }
    /* Pairs of units; of eight units only the lower half of the vectors. */
    const __m256i keep = units == 8 ? _mm256_setr_epi32(-1, -1, -1, -1, 0, 0, 0, 0)
                                    : _mm256_set1_epi32(-1);
    const __m256i sum = _mm256_and_si256(keep,
                                         _mm256_loadu_si256((const __m256i *)(x->sum + first)));
    if (f->zero)
        acc = _mm512_sub_epi32(acc, _mm512_zextsi256_si512(_mm256_mullo_epi32(
                                        _mm256_madd_epi16(wide, sum), _mm256_set1_epi32(f->zero))));
    const float term = (float)_mm512_reduce_add_epi32(acc) * (w->d[g] * x->d[g]);
    if (!f->mins)
        return term;
    const __m256i min = _mm256_loadu_si256((const __m256i *)(w->min + first));
    const ints msum = _mm512_zextsi256_si512(_mm256_madd_epi16(min, sum));
    return term - (float)_mm512_reduce_add_epi32(msum) * (w->m[g] * x->d[g]);
}

/* One row of one format times few tokens: super-blocks are added to sum[t], terms of groups of 32
 * stored. */
INLINE void few_tokens(const struct native_format *f, const struct native_row *w,
                       const struct slice *x, int tokens, int n, float *sum, float *term,
                       int64_t stride)
{
    for (int t = 0; t < tokens; t++) {
        if (f->group == 256)
            for (int g = 0; g < n / 256; g++)
                sum[t] += super_term(f, w, g, &x[t]);
        else
            row_terms(f, w, &x[t], n, term + t * stride);
    }
}

typedef void few_kernel(const struct native_row *w, const struct slice *x, int tokens, int n,
                        float *sum, float *term, int64_t stride);
#define NATIVE_FEW(name, ...) \
    static void few_##name(const struct native_row *w, const struct slice *x, int tokens, int n, \
                           float *sum, float *term, int64_t stride) \
    { \
        static const struct native_format f = { #name, __VA_ARGS__ }; \
        few_tokens(&f, w, x, tokens, n, sum, term, stride); \
    }
NATIVE_FORMATS(NATIVE_FEW)

#define NATIVE_FEW_ROW(name, ...) [NATIVE_##name] = few_##name,
static few_kernel *const few_kernels[NATIVE__COUNT] = { NATIVE_FORMATS(NATIVE_FEW_ROW) };

/* y[r] = the terms of row r, one after the other; n terms each, rows `stride` apart. */
static void add_terms(const float *term, int64_t stride, int64_t n, int rows, float *y)
{
    floats sum = _mm512_setzero_ps();
    for (int64_t g = 0; g < n; g += WIDTH) {
        ints v[WIDTH];
        EACH_LANE v[r] = ints_load(term + r * stride + g);
        transpose(v);
        EACH_LANE if (g + r < n) sum = _mm512_add_ps(sum, _mm512_castsi512_ps(v[r]));
    }
    _mm512_mask_storeu_ps(y, (__mmask16)((1u << rows) - 1), sum);
}

/* A panel times one or two tokens; formats in groups of 16 are not for this. */
static void few_panel(const struct native_weights *w, const struct native_acts *x, float *y,
                      int64_t stride)
{
    const struct native_format *f = w->format;
    const int64_t groups = x->cols / 32, line = (groups + AT_ONCE - 1) / AT_ONCE * AT_ONCE;
    const bool super = f->group == 256;
    float *terms = super ? NULL
                         : x_alloc((size_t)(FEW_TOKENS * NATIVE_ROWS * line) * sizeof *terms);
    struct panel p;
    const struct native_row row = panel_row(&p, f, 0);
    for (int r = 0; r < w->rows; r++) {
        float sum[FEW_TOKENS] = { 0 };
        for (int64_t c = 0; c < x->cols; c += NATIVE_COLS) {
            const int n = columns_at(x, c);
            struct slice a[FEW_TOKENS];
            unpack_row(w, r, c, n, 4096, &row);
            for (int t = 0; t < x->tokens; t++)
                a[t] = slice_at(x, f->unit, t, c);
            few_kernels[native_id(f)](&row, a, (int)x->tokens, n, sum,
                                      super ? NULL : terms + r * line + c / 32, NATIVE_ROWS * line);
        }
        for (int t = 0; super && t < x->tokens; t++)
            y[t * stride + r] = sum[t];
    }
    for (int t = 0; !super && t < x->tokens; t++)
        add_terms(terms + t * NATIVE_ROWS * line, line, groups, w->rows, y + t * stride);
    free(terms);
}

#endif
#endif
