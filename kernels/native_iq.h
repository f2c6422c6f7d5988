/* SPDX-License-Identifier: MIT */
/* Native mode, unpackers of the IQ formats. Included once per level; the layouts of the blocks are
 * told in codec_iq.c. */
#ifndef QDB_KERNELS_NATIVE_IQ_H
#define QDB_KERNELS_NATIVE_IQ_H

#include "kernels/native_blocks.h"

/* Magnitudes with one sign bit each, around the code 64. */
static inline void put_signed(uint8_t *code, const uint8_t *grid, unsigned signs, int n)
{
    uint8_t mask[8];
    bytes8 v = { 0 };
    spread_bits((uint8_t)signs, 0xff, mask);
    BYTES(bytes8, minus, mask);
    memcpy(&v, grid, (size_t)n);
    v = ((v ^ minus) - minus) + 64;
    memcpy(code, &v, (size_t)n);
}

UNPACKER(iq2_xxs)
{
    for (int64_t s = 0; s < n / 32; s++) {
        const uint8_t *block = p + s / 8 * 66, *q = block + 2 + 8 * (s % 8);
        const uint32_t a = load_u32(q + 4);
        w->d[s / 8] = scale_f16(block) * 0.125f;
        w->scale[s] = (int16_t)(2 * (a >> 28) + 1);
        for (int l = 0; l < 4; l++)
            put_signed(w->code + 32 * s + 8 * l, codebook_iq2_xxs[q[l]],
                       even_signs(a >> 7 * l & 127), 8);
    }
}

UNPACKER(iq2_xs)
{
    for (int64_t i = 0; i < n / 256; i++, p += 74) {
        w->d[i] = scale_f16(p) * 0.125f;
        for (int s = 0; s < 16; s++)
            w->scale[16 * i + s] = (int16_t)(2 * (p[66 + s / 2] >> s % 2 * 4 & 15) + 1);
        for (int g = 0; g < 32; g++) {
            const unsigned q = load_u16(p + 2 + 2 * g);
            put_signed(w->code + 256 * i + 8 * g, codebook_iq2_xs[q & 511], even_signs(q >> 9), 8);
        }
    }
}

UNPACKER(iq2_s)
{
    for (int64_t i = 0; i < n / 256; i++, p += 82) {
        w->d[i] = scale_f16(p) * 0.125f;
        for (int s = 0; s < 16; s++)
            w->scale[16 * i + s] = (int16_t)(2 * (p[74 + s / 2] >> s % 2 * 4 & 15) + 1);
        for (int g = 0; g < 32; g++) {
            const int row = p[2 + g] | (p[66 + g / 4] >> g % 4 * 2 & 3) << 8;
            put_signed(w->code + 256 * i + 8 * g, codebook_iq2_s[row], p[34 + g], 8);
        }
    }
}

UNPACKER(iq3_xxs)
{
    for (int64_t i = 0; i < n / 256; i++, p += 98) {
        w->d[i] = scale_f16(p) * 0.25f;
        for (int g = 0; g < 32; g++) {
            const uint32_t a = load_u32(p + 66 + g / 4 * 4);
            const unsigned signs = even_signs(a >> 7 * (g % 4) & 127);
            w->scale[8 * i + g / 4] = (int16_t)(2 * (a >> 28) + 1);
            put_signed(w->code + 256 * i + 8 * g, codebook_iq3_xxs[p[2 + 2 * g]], signs, 4);
            put_signed(w->code + 256 * i + 8 * g + 4, codebook_iq3_xxs[p[3 + 2 * g]], signs >> 4,
                       4);
        }
    }
}

UNPACKER(iq3_s)
{
    for (int64_t i = 0; i < n / 256; i++, p += 110) {
        w->d[i] = scale_f16(p);
        for (int s = 0; s < 8; s++)
            w->scale[8 * i + s] = (int16_t)(1 + 2 * (p[106 + s / 2] >> s % 2 * 4 & 15));
        for (int g = 0; g < 64; g++) {
            const int row = p[2 + g] | (p[66 + g / 8] >> g % 8 & 1) << 8;
            put_signed(w->code + 256 * i + 4 * g, codebook_iq3_s[row], p[74 + g / 2] >> g % 2 * 4,
                       4);
        }
    }
}

/* Ternary points moved by an eighth: in units of an eighth 8 * point + 1 or - 1, around the code 9.
 */
static inline void put_moved(uint8_t *restrict code, const int8_t *restrict grid, bool down)
{
    BYTES(bytes8, v, grid);
    PUT(code, bytes8, (v << 3) + (uint8_t)(down ? 8 : 10));
}

UNPACKER(iq1_s)
{
    for (int64_t i = 0; i < n / 256; i++, p += 50) {
        w->d[i] = scale_f16(p) * 0.125f;
        for (int g = 0; g < 32; g++) {
            const unsigned qh = load_u16(p + 34 + g / 4 * 2);
            const int row = p[2 + g] | (int)(qh >> g % 4 * 3 & 7) << 8;
            w->scale[8 * i + g / 4] = (int16_t)(2 * (qh >> 12 & 7) + 1);
            put_moved(w->code + 256 * i + 8 * g, codebook_iq1_s[row], qh & 0x8000);
        }
    }
}

UNPACKER(iq1_m)
{
    for (int64_t i = 0; i < n / 256; i++, p += 56) {
        const unsigned a = load_u16(p + 48), b = load_u16(p + 50), c = load_u16(p + 52),
                       e = load_u16(p + 54);
        w->d[i] = half_to_float(
                      (uint16_t)(a >> 12 | (b >> 8 & 0xf0) | (c >> 4 & 0xf00) | (e & 0xf000)))
                  * 0.125f;
        for (int s = 0; s < 16; s++)
            w->scale[16 * i + s] = (int16_t)(2 * (load_u16(p + 48 + s / 4 * 2) >> s % 4 * 3 & 7)
                                             + 1);
        for (int g = 0; g < 32; g++) {
            const int nibble = p[32 + g / 2] >> g % 2 * 4 & 15;
            put_moved(w->code + 256 * i + 8 * g, codebook_iq1_s[p[g] | (nibble & 7) << 8],
                      nibble & 8);
        }
    }
}

UNPACKER(iq4_xs)
{
    uint8_t book[16];
    integer_book(codebook_iq4nl, 128, book);
    for (int64_t i = 0; i < n / 256; i++, p += 136) {
        w->d[i] = scale_f16(p);
        for (int s = 0; s < 8; s++) {
            const int low = p[4 + s / 2] >> s % 2 * 4 & 15, high = load_u16(p + 2) >> 2 * s & 3;
            w->scale[8 * i + s] = (int16_t)((low | high << 4) - 32);
            look_nibbles(p + 8 + 16 * s, book, w->code + 256 * i + 32 * s);
        }
    }
}

#endif
