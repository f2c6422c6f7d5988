/* SPDX-License-Identifier: MIT */
/* Codecs of the ternary formats: weights are -d, 0 or d (TQ2_0 can also say 2 d). */
#include "kernels/codec.h"
#include "kernels/view.h"

enum { SUPER = 256 };

/* TQ1_0: u8 qs[48], u8 qh[4], f16 d. A byte holds up to five base-3 digits as a fraction of 256:
 * multiplying by 3^k modulo 256 brings digit k to the front, times 3 / 256 reads it. Order of
 * elements: five digits of bytes 0..31, five of bytes 32..47, four of qh. */
static inline int trit(uint8_t byte, uint8_t power)
{
    return (uint8_t)(byte * power) * 3 >> 8;
}

static inline void decode_trits(const uint8_t *restrict q, int bytes, int digits, float d,
                                float *restrict y)
{
    static const uint8_t power[5] = { 1, 3, 9, 27, 81 };
    for (int k = 0; k < digits; k++)
        for (int j = 0; j < bytes; j++)
            y[k * bytes + j] = (float)(trit(q[j], power[k]) - 1) * d;
}

void decode_tq1_0(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    float *restrict y = dst;
    for (int64_t i = 0; i < n; i += SUPER, p += 54, y += SUPER) {
        float d = load_f16(p + 52);
        decode_trits(p, 32, 5, d, y);
        decode_trits(p + 32, 16, 5, d, y + 160);
        decode_trits(p + 48, 4, 4, d, y + 240);
    }
}

void view_tq1_0(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    view_begin(v, SUPER, SUPER);
    view_f16(v, "d", p + 52);
    view_bytes(v, "qs", p, 48);
    view_bytes(v, "qh", p + 48, 4);
    view_uniform(v, load_f16(p + 52), 0);
    decode_trits(p, 32, 5, 1, v->level);
    decode_trits(p + 32, 16, 5, 1, v->level + 160);
    decode_trits(p + 48, 4, 4, 1, v->level + 240);
    for (int i = 0; i < SUPER; i++)
        v->code[i] = (int32_t)v->level[i] + 1;
    decode_tq1_0(p, v->value, SUPER);
}

/* TQ2_0: u8 qs[64], f16 d. Each half of 128 has 32 bytes, bits 2g.. of them are group g of 32. */
void decode_tq2_0(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    float *restrict y = dst;
    for (int64_t i = 0; i < n; i += SUPER, p += 66) {
        float d = load_f16(p + 64);
        for (int g = 0; g < 8; g++, y += 32) {
            const uint8_t *q = p + g / 4 * 32;
            int shift = g % 4 * 2;
            for (int l = 0; l < 32; l++)
                y[l] = (float)((q[l] >> shift & 3) - 1) * d;
        }
    }
}

void view_tq2_0(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    view_begin(v, SUPER, SUPER);
    view_f16(v, "d", p + 64);
    view_bytes(v, "qs", p, 64);
    view_uniform(v, load_f16(p + 64), 0);
    for (int i = 0; i < SUPER; i++) {
        v->code[i] = p[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
        v->level[i] = (float)(v->code[i] - 1);
    }
    decode_tq2_0(p, v->value, SUPER);
}
