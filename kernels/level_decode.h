/* SPDX-License-Identifier: MIT */
/* Weights to floats at a level, written once: each level includes this. All formats but the plain
 * ones go through native mode's unpackers, whose codes and scales multiply to the bits that the
 * codecs give (code - zero, scale and d are short enough for their products to round alike). */
#ifndef QDB_KERNELS_LEVEL_DECODE_H
#define QDB_KERNELS_LEVEL_DECODE_H

#include "kernels/decoder.h"
#include "kernels/native_unpack.h"

enum { DECODE_COLS = 256 }; /* unpacked at a time: a multiple of all blocks */

/* n values out of what was unpacked; all facts of f are constants after inlining. */
static inline __attribute__((always_inline)) void decode_values(const struct native_format *f,
                                                                const struct native_row *w, int n,
                                                                float *restrict y)
{
    for (int u = 0; u < n / f->unit; u++) {
        const int g = u * f->unit / f->group;
        const float d = f->unit < f->group ? w->d[g] * (float)w->scale[u] : w->d[g];
        const float m = f->mins ? -(w->m[g] * (float)w->min[u])
                                : f->act == NATIVE_Q8_1 ? w->m[g] : 0;
        const uint8_t *restrict code = w->code + u * f->unit;
        float *restrict to = y + u * f->unit;
        if (f->mins || f->act == NATIVE_Q8_1) {
            KEEP_LOOP
            for (int i = 0; i < f->unit; i++)
                to[i] = d * (float)((int)code[i] - f->zero) + m;
        } else {
            KEEP_LOOP
            for (int i = 0; i < f->unit; i++)
                to[i] = d * (float)((int)code[i] - f->zero);
        }
    }
}

typedef void decode_kernel(const struct native_row *w, int n, float *y);
#define DECODE_KERNEL(name, ...) \
    static void decode_values_##name(const struct native_row *w, int n, float *y) \
    { \
        static const struct native_format f = { #name, __VA_ARGS__ }; \
        decode_values(&f, w, n, y); \
    }
NATIVE_FORMATS(DECODE_KERNEL)

#define DECODE_VALUES(name, ...) [NATIVE_##name] = decode_values_##name,
static decode_kernel *const decode_kernels[NATIVE__COUNT] = { NATIVE_FORMATS(DECODE_VALUES) };

static inline void decode_halves(const uint8_t *p, float *y, int64_t n)
{
    int64_t i = 0;
#ifdef __AVX512F__
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(y + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(p + 2 * i))));
#elif defined __F16C__
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 2 * i))));
#endif
    for (; i < n; i++)
        y[i] = scale_f16(p + 2 * i);
}

/* n elements, a multiple of the block, from src to y. */
static void decode(const struct decoder *d, const void *src, float *y, int64_t n)
{
    uint8_t code[DECODE_COLS];
    int16_t scale[DECODE_COLS / 16], min[DECODE_COLS / 16];
    float scales[DECODE_COLS / 16], minima[DECODE_COLS / 16];
    const struct native_row row = { code, scale, min, scales, minima };
    const uint8_t *p = src;
    if (d->way == DECODE_F16) {
        decode_halves(p, y, n);
        return;
    }
    if (d->way == DECODE_CODEC || d->way == DECODE_F32) {
        d->codec(src, y, n);
        return;
    }
    for (int64_t i = 0; i < n; i += DECODE_COLS) {
        const int some = n - i < DECODE_COLS ? (int)(n - i) : DECODE_COLS;
        unpackers[d->native](p + decoder_bytes(d, i), some, &row);
        decode_kernels[d->native](&row, some, y + i);
    }
}

#endif
