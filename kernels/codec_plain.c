/* SPDX-License-Identifier: MIT */
/* Plain numbers: floats, halves, brain floats, doubles and integers read as float. */
#include "kernels/codec.h"

float f16_to_f32(uint16_t h) { return half_to_float(h); }
float bf16_to_f32(uint16_t h) { return float_of_bits((uint32_t)h << 16); }

/* Drop the low `shift` bits of v, rounding to nearest, ties to even. */
static uint32_t round_shift(uint32_t v, unsigned shift)
{
    uint32_t half = 1u << (shift - 1), rest = v & ((1u << shift) - 1), out = v >> shift;
    return out + (rest > half || (rest == half && (out & 1)));
}

uint16_t f32_to_f16(float f)
{
    uint32_t bits = bits_of_float(f), sign = bits >> 16 & 0x8000u, a = bits & 0x7fffffffu;
    if (a > 0x7f800000u) { /* NaN: the top of the payload, made quiet if nothing of it is left */
        uint32_t payload = a >> 13 & 0x3ffu;
        return (uint16_t)(sign | 0x7c00u | (payload ? payload : 0x200u));
    }
    if (a >= 0x47800000u) /* 2^16 and more; rounding up from below reaches infinity by carry */
        return (uint16_t)(sign | 0x7c00u);
    if (a >= 0x38800000u) /* 2^-14 and more: normal */
        return (uint16_t)(sign | round_shift(a - (112u << 23), 13));
    if (a < 0x33000000u) /* below 2^-25: zero */
        return (uint16_t)sign;
    /* Denormal: units of 2^-24 out of a 24-bit significand with exponent e. */
    return (uint16_t)(sign | round_shift((a & 0x7fffffu) | 0x800000u, 126 - (a >> 23)));
}

uint16_t f32_to_bf16(float f)
{
    uint32_t bits = bits_of_float(f);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | (bits & 0x7f0000u ? 0 : 0x40u));
    return (uint16_t)round_shift(bits, 16);
}

void decode_f32(const void *src, float *dst, int64_t n)
{
    memcpy(dst, src, (size_t)n * sizeof *dst);
}

void decode_f16(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    float *restrict y = dst;
    for (int64_t i = 0; i < n; i++)
        y[i] = load_f16(p + 2 * i);
}

void decode_bf16(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    float *restrict y = dst;
    for (int64_t i = 0; i < n; i++)
        y[i] = float_of_bits((uint32_t)load_u16(p + 2 * i) << 16);
}

#define DECODE_PLAIN(name, type)                                \
    void decode_##name(const void *src, float *dst, int64_t n)  \
    {                                                           \
        const uint8_t *restrict p = src;                        \
        for (int64_t i = 0; i < n; i++) {                       \
            type v;                                             \
            memcpy(&v, p + (size_t)i * sizeof v, sizeof v);     \
            dst[i] = (float)v;                                  \
        }                                                       \
    }

DECODE_PLAIN(f64, double)
DECODE_PLAIN(i8, int8_t)
DECODE_PLAIN(i16, int16_t)
DECODE_PLAIN(i32, int32_t)
DECODE_PLAIN(i64, int64_t)
