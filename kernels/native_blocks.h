/* SPDX-License-Identifier: MIT */
/* Native mode, unpackers of the formats with one scale per small block. Included once per level;
 * the layouts of the blocks are told in codec_blocks.c. */
#ifndef QDB_KERNELS_NATIVE_BLOCKS_H
#define QDB_KERNELS_NATIVE_BLOCKS_H

#include "kernels/codebooks.h"
#include "kernels/codec.h"
#include "kernels/native.h"

#define UNPACKER(name) \
    static void unpack_##name(const uint8_t *restrict p, int64_t n, const struct native_row *w)

/* Nibbles of 16 bytes: element j is the low half of byte j, element j + 16 the high half. */
static inline void put_nibbles(const uint8_t *restrict q, uint8_t *restrict code)
{
    for (int j = 0; j < 16; j++)
        code[j] = q[j] & 15;
    for (int j = 0; j < 16; j++)
        code[j + 16] = q[j] >> 4;
}

/* The same for `half` bytes, each nibble the row of a codebook. */
static inline void look_nibbles(const uint8_t *restrict q, int half, const uint8_t *restrict book,
                                uint8_t *restrict code)
{
    for (int j = 0; j < half; j++) {
        code[j] = book[q[j] & 15];
        code[j + half] = book[q[j] >> 4];
    }
}

static inline void integer_book(const float *levels, int zero, uint8_t *book)
{
    for (int j = 0; j < 16; j++)
        book[j] = (uint8_t)((int)levels[j] + zero);
}

/* Bit j of a little-endian u32 is the fifth bit of element j. */
static inline void put_fifth_bits(const uint8_t *restrict qh, uint8_t *restrict code)
{
    for (int j = 0; j < 32; j++)
        code[j] |= (uint8_t)((qh[j / 8] >> j % 8 & 1) << 4);
}

UNPACKER(q1_0)
{
    for (int64_t i = 0; i < n; i += 128, p += 18)
        for (int j = 0; j < 128; j++) {
            w->code[i + j] = (uint8_t)(2 * (p[2 + j / 8] >> j % 8 & 1));
            w->d[(i + j) / 32] = load_f16(p);
        }
}

UNPACKER(q2_0)
{
    for (int64_t i = 0; i < n; i += 64, p += 18)
        for (int j = 0; j < 64; j++) {
            w->code[i + j] = p[2 + j / 4] >> 2 * (j % 4) & 3;
            w->d[(i + j) / 32] = load_f16(p);
        }
}

UNPACKER(q4_0)
{
    for (int64_t i = 0; i < n / 32; i++, p += 18) {
        w->d[i] = load_f16(p);
        put_nibbles(p + 2, w->code + 32 * i);
    }
}

UNPACKER(q4_1)
{
    for (int64_t i = 0; i < n / 32; i++, p += 20) {
        w->d[i] = load_f16(p);
        w->m[i] = load_f16(p + 2);
        put_nibbles(p + 4, w->code + 32 * i);
    }
}

UNPACKER(q5_0)
{
    for (int64_t i = 0; i < n / 32; i++, p += 22) {
        w->d[i] = load_f16(p);
        put_nibbles(p + 6, w->code + 32 * i);
        put_fifth_bits(p + 2, w->code + 32 * i);
    }
}

UNPACKER(q5_1)
{
    for (int64_t i = 0; i < n / 32; i++, p += 24) {
        w->d[i] = load_f16(p);
        w->m[i] = load_f16(p + 2);
        put_nibbles(p + 8, w->code + 32 * i);
        put_fifth_bits(p + 4, w->code + 32 * i);
    }
}

UNPACKER(q8_0)
{
    for (int64_t i = 0; i < n / 32; i++, p += 34) {
        w->d[i] = load_f16(p);
        for (int j = 0; j < 32; j++)
            w->code[32 * i + j] = p[2 + j] ^ 0x80;
    }
}

UNPACKER(iq4_nl)
{
    uint8_t book[16];
    integer_book(codebook_iq4nl, 128, book);
    for (int64_t i = 0; i < n / 32; i++, p += 18) {
        w->d[i] = load_f16(p);
        look_nibbles(p + 2, 16, book, w->code + 32 * i);
    }
}

UNPACKER(mxfp4)
{
    uint8_t book[16];
    integer_book(codebook_e2m1_doubled, 12, book);
    for (int64_t i = 0; i < n / 32; i++, p += 17) {
        w->d[i] = e8m0_half(p[0]);
        look_nibbles(p + 1, 16, book, w->code + 32 * i);
    }
}

UNPACKER(nvfp4)
{
    uint8_t book[16];
    integer_book(codebook_e2m1_doubled, 12, book);
    for (int64_t i = 0; i < n / 16; i++) {
        const uint8_t *block = p + i / 4 * 36;
        w->d[i] = ue4m3_half(block[i % 4]);
        look_nibbles(block + 4 + 8 * (i % 4), 8, book, w->code + 16 * i);
    }
}

#endif
