/* SPDX-License-Identifier: MIT */
/* Native mode for a few tokens, any format with super-blocks: rows one after the other, as they lie
 * in memory, taken apart a stretch at a time in the first-level cache. Lanes are columns here, of
 * one super-block: its integer sum is exact in any order. Included by level_native.h. */
#ifndef QDB_KERNELS_NATIVE_SUPER_H
#define QDB_KERNELS_NATIVE_SUPER_H

#include "kernels/level_native.h"
#include "kernels/native_transpose.h"

#ifdef __AVX2__

enum { SUPER_COLS = 4 * WIDTH /* codes of a vector */ };

/* The scales of the units of a vector of codes, over the words that the codes are summed in. */
INLINE ints spread_scales(int unit, const int16_t *scale)
{
    const ints first = I(set1_epi16)(0x0100), second = I(set1_epi16)(0x0302);
#ifdef __AVX512VNNI__
    if (unit == 32)
        return _mm512_shuffle_epi8(four_bytes(scale), _mm512_mask_mov_epi64(first, 0xf0, second));
    int64_t four;
    memcpy(&four, scale, sizeof four);
    ints which = _mm512_mask_mov_epi64(first, 0x0c, second);
    which = _mm512_mask_mov_epi64(which, 0x30, _mm512_set1_epi16(0x0504));
    which = _mm512_mask_mov_epi64(which, 0xc0, _mm512_set1_epi16(0x0706));
    return _mm512_shuffle_epi8(_mm512_set1_epi64(four), which);
#else
    if (unit == 32)
        return _mm256_set1_epi16(*scale);
    return _mm256_shuffle_epi8(four_bytes(scale), _mm256_blend_epi32(first, second, 0xf0));
#endif
}

/* sum + scale * code * x of a vector of codes up to 127: pairs of products fit 16 bits. */
INLINE ints scaled_dot(ints sum, const uint8_t *code, const int8_t *x, ints scale)
{
    const ints pairs = I(maddubs_epi16)(ints_load(code), ints_load(x));
#ifdef __AVX512VNNI__
    return _mm512_dpwssd_epi32(sum, pairs, scale);
#else
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, scale));
#endif
}

INLINE int32_t sum_of_four(__m128i v)
{
    v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(v, _mm_shuffle_epi32(v, 0xb1)));
}

INLINE int32_t sum_of_eight(__m256i v)
{
    return sum_of_four(_mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)));
}

INLINE int32_t sum_of_lanes(ints v)
{
#ifdef __AVX512VNNI__
    return sum_of_eight(_mm256_add_epi32(_mm512_castsi512_si256(v),
                                         _mm512_extracti64x4_epi64(v, 1)));
#else
    return sum_of_eight(v);
#endif
}

/* factor * a * b, of 8 units in four lanes or 16 in eight; lanes beyond are zero. */
INLINE __m256i unit_products(int unit, const int16_t *a, int factor, const int16_t *b)
{
    if (unit == 16) {
        const __m256i v = _mm256_loadu_si256((const __m256i *)a);
        return _mm256_madd_epi16(_mm256_mullo_epi16(v, _mm256_set1_epi16((short)factor)),
                                 _mm256_loadu_si256((const __m256i *)b));
    }
    const __m128i v = _mm_loadu_si128((const __m128i *)a);
    return _mm256_zextsi128_si256(_mm_madd_epi16(
        _mm_mullo_epi16(v, _mm_set1_epi16((short)factor)), _mm_loadu_si128((const __m128i *)b)));
}

/* The term of super-block g; the facts of f are constants after inlining. */
INLINE float super_term(const struct native_format *f, const struct native_row *w, int g,
                        const struct slice *x)
{
    const int units = 256 / f->unit, u = g * units, each = SUPER_COLS / f->unit;
    const uint8_t *code = w->code + 256 * g;
    const int8_t *a = x->code + 256 * g;
    ints sum = ints_zero();
    UNROLL for (int k = 0; k < 256 / SUPER_COLS; k++)
        sum = scaled_dot(sum, code + k * SUPER_COLS, a + k * SUPER_COLS,
                         spread_scales(f->unit, w->scale + u + k * each));
    if (f->zero) {
        const __m256i zeros = unit_products(f->unit, w->scale + u, -f->zero, x->sum + u);
#ifdef __AVX512VNNI__
        sum = _mm512_add_epi32(sum, _mm512_zextsi256_si512(zeros));
#else
        sum = _mm256_add_epi32(sum, zeros);
#endif
    }
    const float dx = x->d[g], term = (float)sum_of_lanes(sum) * (w->d[g] * dx);
    if (!f->mins)
        return term;
    return term - (float)sum_of_eight(unit_products(f->unit, w->min + u, 1, x->sum + u))
                      * (w->m[g] * dx);
}

INLINE void super_rows(const struct native_format *f, const struct native_weights *w,
                       const struct native_acts *x, float *y, int64_t stride)
{
    _Alignas(64) uint8_t code[NATIVE_COLS];
    int16_t scale[UNITS], min[UNITS];
    float d[NATIVE_COLS / 256], m[NATIVE_COLS / 256];
    const struct native_row row = { code, scale, min, d, m };
    for (int r = 0; r < w->rows; r++)
        for (int64_t c = 0; c < x->cols; c += NATIVE_COLS) {
            const int n = columns_at(x, c);
            unpack_row(w, r, c, n, 4096, &row);
            for (int64_t t = 0; t < x->tokens; t++) {
                const struct slice a = slice_at(x, f->unit, t, c);
                float sum = c ? y[t * stride + r] : 0.0f;
                for (int g = 0; g < n / 256; g++)
                    sum += super_term(f, &row, g, &a);
                y[t * stride + r] = sum;
            }
        }
}

/* One kernel per zero and unit. */
typedef void super_kernel(const struct native_weights *w, const struct native_acts *x, float *y,
                          int64_t stride);
#define SUPER_KINDS(X) \
    X(16_min, 0, 127, 16, true) \
    X(32_1, 1, 127, 32, false) \
    X(16_4, 4, 127, 16, false) \
    X(32_9, 9, 127, 32, false) \
    X(16_9, 9, 127, 16, false) \
    X(32_64, 64, 127, 32, false) \
    X(16_64, 64, 127, 16, false)
#define SUPER_KERNEL(name, zero, top, unit, mins) \
    static void super_rows_##name(const struct native_weights *w, const struct native_acts *x, \
                                  float *y, int64_t stride) \
    { \
        static const struct native_format f = { #name, NATIVE_Q8_K, zero, top, 256, unit, mins }; \
        super_rows(&f, w, x, y, stride); \
    }
SUPER_KINDS(SUPER_KERNEL)

#define SUPER_KIND(name, zero, top, unit, mins) \
    { { #name, NATIVE_Q8_K, zero, top, 256, unit, mins }, super_rows_##name },
static const struct super_kind {
    struct native_format facts;
    super_kernel *kernel;
} super_kinds[] = { SUPER_KINDS(SUPER_KIND) };

/* NULL: no kernel for the format. */
static super_kernel *super_kernel_of(const struct native_format *f)
{
    for (size_t i = 0; i < sizeof super_kinds / sizeof *super_kinds; i++) {
        const struct native_format *k = &super_kinds[i].facts;
        if (f->act == k->act && f->group == k->group && f->unit == k->unit && f->zero == k->zero
            && f->mins == k->mins && f->top <= k->top)
            return super_kinds[i].kernel;
    }
    return NULL;
}

#endif
#endif
