/* SPDX-License-Identifier: MIT */
/* Codecs of the formats with one scale per small block: Q*_0, Q*_1, IQ4_NL, MXFP4, NVFP4. */
#include "kernels/codebooks.h"
#include "kernels/codec.h"
#include "kernels/view.h"

/* Nibbles of 16 bytes: element j is the low half of byte j, element j + 16 the high half. */
static void nibble_codes(struct block_view *v, const uint8_t *qs)
{
    for (int j = 0; j < 16; j++) {
        v->code[j] = qs[j] & 15;
        v->code[j + 16] = qs[j] >> 4;
    }
}

static void levels_minus(struct block_view *v, int zero)
{
    for (int j = 0; j < v->n; j++)
        v->level[j] = (float)(v->code[j] - zero);
}

/* Q1_0: f16 d; one bit per weight, 1 means +d and 0 means -d. */
void decode_q1_0(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    float *restrict y = dst;
    for (int64_t i = 0; i < n; i += 128, p += 18, y += 128) {
        float d = load_f16(p);
        uint8_t two[128]; /* 0 or 2 */
        for (int j = 0; j < 16; j++)
            spread_bits(p[2 + j], 2, two + 8 * j);
        for (int j = 0; j < 128; j++)
            y[j] = d * (float)(two[j] - 1);
    }
}

void view_q1_0(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    view_begin(v, 128, 128);
    view_f16(v, "d", p);
    view_bytes(v, "qs", p + 2, 16);
    view_uniform(v, load_f16(p), 0);
    for (int j = 0; j < 128; j++) {
        v->code[j] = p[2 + j / 8] >> j % 8 & 1;
        v->level[j] = v->code[j] ? 1.0f : -1.0f;
    }
    decode_q1_0(p, v->value, 128);
}

/* Q2_0: f16 d; two bits per weight, d * (q - 1). */
void decode_q2_0(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    float *restrict y = dst;
    for (int64_t i = 0; i < n; i += 64, p += 18, y += 64) {
        float d = load_f16(p);
        uint8_t q[64];
        for (int j = 0; j < 16; j++)
            spread_pairs(p[2 + j], q + 4 * j);
        for (int j = 0; j < 64; j++)
            y[j] = d * (float)(q[j] - 1);
    }
}

void view_q2_0(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    view_begin(v, 64, 64);
    view_f16(v, "d", p);
    view_bytes(v, "qs", p + 2, 16);
    view_uniform(v, load_f16(p), 0);
    for (int j = 0; j < 64; j++)
        v->code[j] = p[2 + j / 4] >> 2 * (j % 4) & 3;
    levels_minus(v, 1);
    decode_q2_0(p, v->value, 64);
}

/* Q4_0: f16 d; nibbles, d * (q - 8). */
void decode_q4_0(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    float *restrict y = dst;
    for (int64_t i = 0; i < n; i += 32, p += 18, y += 32) {
        float d = load_f16(p);
        KEEP_LOOP
        for (int j = 0; j < 16; j++) {
            y[j] = d * (float)((p[2 + j] & 15) - 8);
            y[j + 16] = d * (float)((p[2 + j] >> 4) - 8);
        }
    }
}

void view_q4_0(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    view_begin(v, 32, 32);
    view_f16(v, "d", p);
    view_bytes(v, "qs", p + 2, 16);
    view_uniform(v, load_f16(p), 0);
    nibble_codes(v, p + 2);
    levels_minus(v, 8);
    decode_q4_0(p, v->value, 32);
}

/* Q4_1: f16 d, f16 m; nibbles, d * q + m. */
void decode_q4_1(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    float *restrict y = dst;
    for (int64_t i = 0; i < n; i += 32, p += 20, y += 32) {
        float d = load_f16(p), m = load_f16(p + 2);
        KEEP_LOOP
        for (int j = 0; j < 16; j++) {
            y[j] = d * (float)(p[4 + j] & 15) + m;
            y[j + 16] = d * (float)(p[4 + j] >> 4) + m;
        }
    }
}

void view_q4_1(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    view_begin(v, 32, 32);
    view_f16(v, "d", p);
    view_f16(v, "m", p + 2);
    view_bytes(v, "qs", p + 4, 16);
    view_uniform(v, load_f16(p), load_f16(p + 2));
    nibble_codes(v, p + 4);
    levels_minus(v, 0);
    decode_q4_1(p, v->value, 32);
}

/* The fifth bits of Q5_0 and Q5_1 are a little-endian u32: bit j belongs to element j. Spread them
 * to 0 or 16 each. */
static inline void fifth_bits(const uint8_t *qh, uint8_t *out)
{
    for (int j = 0; j < 4; j++)
        spread_bits(qh[j], 16, out + 8 * j);
}

static void five_bit_codes(struct block_view *v, const uint8_t *qh, const uint8_t *qs)
{
    uint8_t high[32];
    fifth_bits(qh, high);
    nibble_codes(v, qs);
    for (int j = 0; j < 32; j++)
        v->code[j] |= high[j];
}

/* Q5_0: f16 d, u8 qh[4]; d * (q - 16). */
void decode_q5_0(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    float *restrict y = dst;
    for (int64_t i = 0; i < n; i += 32, p += 22, y += 32) {
        float d = load_f16(p);
        uint8_t high[32];
        fifth_bits(p + 2, high);
        KEEP_LOOP
        for (int j = 0; j < 16; j++) {
            y[j] = d * (float)(((p[6 + j] & 15) | high[j]) - 16);
            y[j + 16] = d * (float)((p[6 + j] >> 4 | high[j + 16]) - 16);
        }
    }
}

void view_q5_0(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    view_begin(v, 32, 32);
    view_f16(v, "d", p);
    view_bytes(v, "qh", p + 2, 4);
    view_bytes(v, "qs", p + 6, 16);
    view_uniform(v, load_f16(p), 0);
    five_bit_codes(v, p + 2, p + 6);
    levels_minus(v, 16);
    decode_q5_0(p, v->value, 32);
}

/* Q5_1: f16 d, f16 m, u8 qh[4]; d * q + m. */
void decode_q5_1(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    float *restrict y = dst;
    for (int64_t i = 0; i < n; i += 32, p += 24, y += 32) {
        float d = load_f16(p), m = load_f16(p + 2);
        uint8_t high[32];
        fifth_bits(p + 4, high);
        KEEP_LOOP
        for (int j = 0; j < 16; j++) {
            y[j] = d * (float)((p[8 + j] & 15) | high[j]) + m;
            y[j + 16] = d * (float)(p[8 + j] >> 4 | high[j + 16]) + m;
        }
    }
}

void view_q5_1(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    view_begin(v, 32, 32);
    view_f16(v, "d", p);
    view_f16(v, "m", p + 2);
    view_bytes(v, "qh", p + 4, 4);
    view_bytes(v, "qs", p + 8, 16);
    view_uniform(v, load_f16(p), load_f16(p + 2));
    five_bit_codes(v, p + 4, p + 8);
    levels_minus(v, 0);
    decode_q5_1(p, v->value, 32);
}

static void signed_codes(struct block_view *v, const uint8_t *qs)
{
    for (int j = 0; j < v->n; j++)
        v->code[j] = (int8_t)qs[j];
    levels_minus(v, 0);
}

/* Q8_0: f16 d; d * q. */
void decode_q8_0(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    float *restrict y = dst;
    for (int64_t i = 0; i < n; i += 32, p += 34, y += 32) {
        float d = load_f16(p);
        for (int j = 0; j < 32; j++)
            y[j] = d * (float)(int8_t)p[2 + j];
    }
}

void view_q8_0(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    view_begin(v, 32, 32);
    view_f16(v, "d", p);
    view_uniform(v, load_f16(p), 0);
    signed_codes(v, p + 2);
    view_ints(v, "qs", v->code, 32);
    decode_q8_0(p, v->value, 32);
}

/* Q8_1: f16 d, f16 s = d * sum of q (for products with formats that have a minimum); d * q. */
void decode_q8_1(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    float *restrict y = dst;
    for (int64_t i = 0; i < n; i += 32, p += 36, y += 32) {
        float d = load_f16(p);
        for (int j = 0; j < 32; j++)
            y[j] = d * (float)(int8_t)p[4 + j];
    }
}

void view_q8_1(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    view_begin(v, 32, 32);
    view_f16(v, "d", p);
    view_f16(v, "s", p + 2);
    view_uniform(v, load_f16(p), 0);
    signed_codes(v, p + 4);
    view_ints(v, "qs", v->code, 32);
    decode_q8_1(p, v->value, 32);
}

/* IQ4_NL: f16 d; nibbles into a non-uniform codebook of integers. */
void decode_iq4_nl(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    float *restrict y = dst;
    for (int64_t i = 0; i < n; i += 32, p += 18, y += 32) {
        float d = load_f16(p), level[16];
        for (int j = 0; j < 16; j++)
            level[j] = d * codebook_iq4nl[j];
        for (int j = 0; j < 16; j++) {
            y[j] = level[p[2 + j] & 15];
            y[j + 16] = level[p[2 + j] >> 4];
        }
    }
}

void view_iq4_nl(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    view_begin(v, 32, 32);
    view_f16(v, "d", p);
    view_bytes(v, "qs", p + 2, 16);
    view_uniform(v, load_f16(p), 0);
    nibble_codes(v, p + 2);
    for (int j = 0; j < 32; j++)
        v->level[j] = codebook_iq4nl[v->code[j]];
    decode_iq4_nl(p, v->value, 32);
}

float e8m0_half(uint8_t e)
{
    return float_of_bits(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23);
}

float ue4m3_half(uint8_t e)
{
    int exponent = e >> 3 & 15, mantissa = e & 7;
    if (e == 0x7f)
        return 0;
    if (exponent == 0) /* mantissa * 2^-9, halved */
        return (float)mantissa * 0x1p-10f;
    return float_of_bits((uint32_t)(exponent - 8 + 127) << 23 | (uint32_t)mantissa << 20);
}

/* MXFP4: u8 e (E8M0); nibbles are E2M1 floats. */
void decode_mxfp4(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    float *restrict y = dst;
    for (int64_t i = 0; i < n; i += 32, p += 17, y += 32) {
        float d = e8m0_half(p[0]), level[16];
        for (int j = 0; j < 16; j++)
            level[j] = d * codebook_e2m1_doubled[j];
        for (int j = 0; j < 16; j++) {
            y[j] = level[p[1 + j] & 15];
            y[j + 16] = level[p[1 + j] >> 4];
        }
    }
}

void view_mxfp4(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    const int e = p[0];
    view_begin(v, 32, 32);
    view_ints(v, "e", &e, 1);
    view_bytes(v, "qs", p + 1, 16);
    view_uniform(v, e8m0_half(p[0]), 0);
    nibble_codes(v, p + 1);
    for (int j = 0; j < 32; j++)
        v->level[j] = codebook_e2m1_doubled[v->code[j]];
    decode_mxfp4(p, v->value, 32);
}

/* NVFP4: u8 d[4] (UE4M3), one per 16; 8 bytes of nibbles per 16: element j low, j + 8 high. A
 * second scale, one per tensor, is a tensor of its own (NAME.scale) and not applied here. */
void decode_nvfp4(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    float *restrict y = dst;
    for (int64_t i = 0; i < n; i += 64, p += 36) {
        for (int s = 0; s < 4; s++, y += 16) {
            const uint8_t *qs = p + 4 + 8 * s;
            float d = ue4m3_half(p[s]);
                for (int j = 0; j < 8; j++) {
                y[j] = d * codebook_e2m1_doubled[qs[j] & 15];
                y[j + 8] = d * codebook_e2m1_doubled[qs[j] >> 4];
            }
        }
    }
}

void view_nvfp4(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    view_begin(v, 64, 16);
    view_bytes(v, "d", p, 4);
    view_bytes(v, "qs", p + 4, 32);
    for (int i = 0; i < 64; i++) {
        int s = i / 16, j = i % 16;
        v->scale[s] = ue4m3_half(p[s]);
        v->code[i] = p[4 + 8 * s + j % 8] >> (j < 8 ? 0 : 4) & 15;
        v->level[i] = codebook_e2m1_doubled[v->code[i]];
    }
    decode_nvfp4(p, v->value, 64);
}
