/* SPDX-License-Identifier: MIT */
/* Plain numbers of the encoders, and the check of what comes in; written once for vectors of any
 * size. */
#ifndef QDB_KERNELS_ENCODE_PLAIN_BODY_H
#define QDB_KERNELS_ENCODE_PLAIN_BODY_H

#include <string.h>

#include "kernels/codec.h"
#include "kernels/parts_body.h"

static void encode_f32(const float *x, const float *w, int64_t n, uint8_t *out)
{
    (void)w;
    memcpy(out, x, (size_t)n * sizeof *x);
}

static void encode_f16(const float *x, const float *w, int64_t n, uint8_t *out)
{
    (void)w;
    int64_t i = 0;
#if defined __F16C__
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(out + 2 * i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
#endif
    for (; i < n; i++) {
        const uint16_t h = f32_to_f16(x[i]);
        memcpy(out + 2 * i, &h, sizeof h);
    }
}

/* Finite values alone: half of what is cut off is added, less a bit where that makes a tie even. */
static void encode_bf16(const float *x, const float *w, int64_t n, uint8_t *out)
{
    (void)w;
    for (int64_t i = 0; i < n; i++) {
        const uint32_t bits = bits_of_float(x[i]);
        const uint16_t h = (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
        memcpy(out + 2 * i, &h, sizeof h);
    }
}

static uint32_t largest_bits(const float *x, int64_t n)
{
    uint32_t most = 0;
    for (int64_t i = 0; i < n; i++) {
        const uint32_t bits = bits_of_float(x[i]) & 0x7fffffffu;
        most = bits > most ? bits : most;
    }
    return most;
}

#endif
