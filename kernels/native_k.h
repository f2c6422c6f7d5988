/* SPDX-License-Identifier: MIT */
/* Native mode, unpackers of the K and ternary formats. Included once per level; the layouts of the
 * blocks are told in codec_k.c and codec_ternary.c. */
#ifndef QDB_KERNELS_NATIVE_K_H
#define QDB_KERNELS_NATIVE_K_H

#include "kernels/native_blocks.h"

/* Two bits each of 64 bytes: per half of 32 bytes the lowest pairs first. */
static inline void put_pairs(const uint8_t *q, uint8_t *code)
{
    for (int h = 0; h < 2; h++) {
        BYTES(bytes32, v, q + 32 * h);
        PUT(code + 128 * h, bytes32, v & 3);
        PUT(code + 128 * h + 32, bytes32, v >> 2 & 3);
        PUT(code + 128 * h + 64, bytes32, v >> 4 & 3);
        PUT(code + 128 * h + 96, bytes32, v >> 6);
    }
}

UNPACKER(q2_k)
{
    for (int64_t i = 0; i < n / 256; i++, p += 84) {
        w->d[i] = scale_f16(p + 80);
        w->m[i] = scale_f16(p + 82);
        for (int s = 0; s < 16; s++) {
            w->scale[16 * i + s] = p[s] & 15;
            w->min[16 * i + s] = p[s] >> 4;
        }
        put_pairs(p + 16, w->code + 256 * i);
    }
}

UNPACKER(q3_k)
{
    for (int64_t i = 0; i < n / 256; i++, p += 110) {
        w->d[i] = scale_f16(p + 108);
        const uint32_t two = load_u32(p + 104);
        for (int k = 0; k < 4; k++) { /* four scales side by side: low nibbles, two bits more */
            const uint32_t low = load_u32(p + 96 + 4 * (k & 1)) >> (k & 2 ? 4 : 0) & 0x0f0f0f0fu;
            const uint32_t scales = low | (two >> 2 * k & 0x03030303u) << 4;
            for (int j = 0; j < 4; j++)
                w->scale[16 * i + 4 * k + j] = (int16_t)((int)(scales >> 8 * j & 63) - 32);
        }
        put_pairs(p + 32, w->code + 256 * i);
        BYTES(bytes32, high, p);
        for (int g = 0; g < 8; g++) {
            BYTES(bytes32, low, w->code + 256 * i + 32 * g);
            PUT(w->code + 256 * i + 32 * g, bytes32, low | (high >> g & 1) << 2);
        }
    }
}

/* d, dmin, scales and minima that Q4_K and Q5_K share. */
static inline void put_k4_scales(const uint8_t *restrict p, int64_t i, const struct native_row *w)
{
    w->d[i] = scale_f16(p);
    w->m[i] = scale_f16(p + 2);
    const uint32_t a = load_u32(p + 4), b = load_u32(p + 8), c = load_u32(p + 12);
    const uint32_t scales[2] = { a & 0x3f3f3f3fu, (c & 0x0f0f0f0fu) | (a >> 2 & 0x30303030u) };
    const uint32_t mins[2] = { b & 0x3f3f3f3fu, (c >> 4 & 0x0f0f0f0fu) | (b >> 2 & 0x30303030u) };
    for (int s = 0; s < 8; s++) {
        w->scale[8 * i + s] = scales[s / 4] >> 8 * (s % 4) & 63;
        w->min[8 * i + s] = mins[s / 4] >> 8 * (s % 4) & 63;
    }
}

UNPACKER(q4_k)
{
    for (int64_t i = 0; i < n / 256; i++, p += 144) {
        put_k4_scales(p, i, w);
        for (int g = 0; g < 4; g++) {
            uint8_t *restrict code = w->code + 256 * i + 64 * g;
            BYTES(bytes32, q, p + 16 + 32 * g);
            PUT(code, bytes32, q & 15);
            PUT(code + 32, bytes32, q >> 4);
        }
    }
}

UNPACKER(q5_k)
{
    for (int64_t i = 0; i < n / 256; i++, p += 176) {
        put_k4_scales(p, i, w);
        BYTES(bytes32, high, p + 16);
        for (int g = 0; g < 4; g++) {
            uint8_t *restrict code = w->code + 256 * i + 64 * g;
            BYTES(bytes32, q, p + 48 + 32 * g);
            const bytes32 h = high >> 2 * g;
            PUT(code, bytes32, (q & 15) | (h & 1) << 4);
            PUT(code + 32, bytes32, q >> 4 | (h & 2) << 3);
        }
    }
}

UNPACKER(q6_k)
{
    for (int64_t i = 0; i < n / 256; i++, p += 210) {
        w->d[i] = scale_f16(p + 208);
        for (int s = 0; s < 16; s++)
            w->scale[16 * i + s] = (int8_t)p[192 + s];
        for (int h = 0; h < 2; h++) {
            uint8_t *restrict code = w->code + 256 * i + 128 * h;
            BYTES(bytes32, a, p + 64 * h);
            BYTES(bytes32, b, p + 64 * h + 32);
            BYTES(bytes32, c, p + 128 + 32 * h);
            PUT(code, bytes32, (a & 15) | (c & 3) << 4);
            PUT(code + 32, bytes32, (b & 15) | (c & 12) << 2);
            PUT(code + 64, bytes32, a >> 4 | (c & 48));
            PUT(code + 96, bytes32, b >> 4 | (c >> 6) << 4);
        }
    }
}

static inline void scales_of_one(int64_t i, const struct native_row *w)
{
    for (int s = 0; s < 8; s++)
        w->scale[8 * i + s] = 1;
}

static inline void put_trits(const uint8_t *restrict q, int bytes, int digits,
                             uint8_t *restrict code)
{
    static const uint8_t power[5] = { 1, 3, 9, 27, 81 };
    for (int k = 0; k < digits; k++)
        for (int j = 0; j < bytes; j++)
            code[k * bytes + j] = (uint8_t)((uint8_t)(q[j] * power[k]) * 3 >> 8);
}

UNPACKER(tq1_0)
{
    for (int64_t i = 0; i < n / 256; i++, p += 54) {
        w->d[i] = scale_f16(p + 52);
        scales_of_one(i, w);
        put_trits(p, 32, 5, w->code + 256 * i);
        put_trits(p + 32, 16, 5, w->code + 256 * i + 160);
        put_trits(p + 48, 4, 4, w->code + 256 * i + 240);
    }
}

UNPACKER(tq2_0)
{
    for (int64_t i = 0; i < n / 256; i++, p += 66) {
        w->d[i] = scale_f16(p + 64);
        scales_of_one(i, w);
        put_pairs(p, w->code + 256 * i);
    }
}

#endif
