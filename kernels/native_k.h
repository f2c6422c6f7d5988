/* SPDX-License-Identifier: MIT */
/* Native mode, unpackers of the K and ternary formats. Included once per level; the layouts of the
 * blocks are told in codec_k.c and codec_ternary.c. */
#ifndef QDB_KERNELS_NATIVE_K_H
#define QDB_KERNELS_NATIVE_K_H

#include "kernels/native_blocks.h"

UNPACKER(q2_k)
{
    for (int64_t i = 0; i < n / 256; i++, p += 84) {
        w->d[i] = load_f16(p + 80);
        w->m[i] = load_f16(p + 82);
        for (int s = 0; s < 16; s++) {
            w->scale[16 * i + s] = p[s] & 15;
            w->min[16 * i + s] = p[s] >> 4;
        }
        for (int g = 0; g < 8; g++)
            for (int l = 0; l < 32; l++)
                w->code[256 * i + 32 * g + l] = p[16 + g / 4 * 32 + l] >> 2 * (g % 4) & 3;
    }
}

UNPACKER(q3_k)
{
    for (int64_t i = 0; i < n / 256; i++, p += 110) {
        w->d[i] = load_f16(p + 108);
        for (int k = 0; k < 16; k++) {
            int low = k < 8 ? p[96 + k] & 15 : p[96 + k - 8] >> 4;
            w->scale[16 * i + k] = (int16_t)((low | (p[104 + k % 4] >> 2 * (k / 4) & 3) << 4) - 32);
        }
        for (int g = 0; g < 8; g++)
            for (int l = 0; l < 32; l++)
                w->code[256 * i + 32 * g + l] =
                    (uint8_t)((p[32 + g / 4 * 32 + l] >> 2 * (g % 4) & 3) | (p[l] >> g & 1) << 2);
    }
}

/* d, dmin, scales and minima that Q4_K and Q5_K share. */
static inline void put_k4_scales(const uint8_t *restrict p, int64_t i, const struct native_row *w)
{
    w->d[i] = load_f16(p);
    w->m[i] = load_f16(p + 2);
    for (int s = 0; s < 8; s++) {
        uint8_t scale, min;
        k4_scale_min(p + 4, s, &scale, &min);
        w->scale[8 * i + s] = scale;
        w->min[8 * i + s] = min;
    }
}

UNPACKER(q4_k)
{
    for (int64_t i = 0; i < n / 256; i++, p += 144) {
        put_k4_scales(p, i, w);
        for (int g = 0; g < 4; g++) {
            uint8_t *restrict code = w->code + 256 * i + 64 * g;
            for (int l = 0; l < 32; l++) {
                code[l] = p[16 + 32 * g + l] & 15;
                code[l + 32] = p[16 + 32 * g + l] >> 4;
            }
        }
    }
}

UNPACKER(q5_k)
{
    for (int64_t i = 0; i < n / 256; i++, p += 176) {
        put_k4_scales(p, i, w);
        for (int g = 0; g < 4; g++) {
            uint8_t *restrict code = w->code + 256 * i + 64 * g;
            for (int l = 0; l < 32; l++) {
                const int q = p[48 + 32 * g + l], h = p[16 + l] >> 2 * g;
                code[l] = (uint8_t)((q & 15) | (h & 1) << 4);
                code[l + 32] = (uint8_t)(q >> 4 | (h & 2) << 3);
            }
        }
    }
}

UNPACKER(q6_k)
{
    for (int64_t i = 0; i < n / 256; i++, p += 210) {
        w->d[i] = load_f16(p + 208);
        for (int s = 0; s < 16; s++)
            w->scale[16 * i + s] = (int8_t)p[192 + s];
        for (int h = 0; h < 2; h++) {
            uint8_t *restrict code = w->code + 256 * i + 128 * h;
            for (int l = 0; l < 32; l++) {
                const int a = p[64 * h + l], b = p[64 * h + 32 + l], c = p[128 + 32 * h + l];
                code[l] = (uint8_t)((a & 15) | (c & 3) << 4);
                code[l + 32] = (uint8_t)((b & 15) | (c & 12) << 2);
                code[l + 64] = (uint8_t)(a >> 4 | (c & 48));
                code[l + 96] = (uint8_t)(b >> 4 | (c & 192) >> 2);
            }
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
        w->d[i] = load_f16(p + 52);
        scales_of_one(i, w);
        put_trits(p, 32, 5, w->code + 256 * i);
        put_trits(p + 32, 16, 5, w->code + 256 * i + 160);
        put_trits(p + 48, 4, 4, w->code + 256 * i + 240);
    }
}

UNPACKER(tq2_0)
{
    for (int64_t i = 0; i < n / 256; i++, p += 66) {
        w->d[i] = load_f16(p + 64);
        scales_of_one(i, w);
        for (int g = 0; g < 8; g++)
            for (int l = 0; l < 32; l++)
                w->code[256 * i + 32 * g + l] = p[g / 4 * 32 + l] >> 2 * (g % 4) & 3;
    }
}

#endif
