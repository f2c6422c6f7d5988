/* SPDX-License-Identifier: MIT */
/* Native mode, unpackers of the formats with one scale per small block. Included once per level;
 * the layouts of the blocks are told in codec_blocks.c. */
#ifndef QDB_KERNELS_NATIVE_BLOCKS_H
#define QDB_KERNELS_NATIVE_BLOCKS_H

#include "kernels/codebooks.h"
#include "kernels/codec.h"
#include "kernels/native.h"

#ifdef __F16C__
#include <immintrin.h>
#endif

#define UNPACKER(name) \
    static void unpack_##name(const uint8_t *restrict p, int64_t n, const struct native_row *w)

/* Bytes side by side, which every level has in some width. Shifts and masks are per byte. */
typedef uint8_t bytes8 __attribute__((vector_size(8)));
typedef uint8_t bytes16 __attribute__((vector_size(16)));
typedef uint8_t bytes32 __attribute__((vector_size(32)));
#define BYTES(type, name, from) \
    type name; \
    memcpy(&name, from, sizeof name)
#define PUT(to, type, value) \
    do { \
        const type put_value = (value); \
        memcpy(to, &put_value, sizeof put_value); \
    } while (0)

static inline float scale_f16(const uint8_t *p)
{
#ifdef __F16C__
    return _cvtsh_ss(load_u16(p));
#else
    return load_f16(p);
#endif
}

/* Nibbles of 16 bytes: element j is the low half of byte j, element j + 16 the high half. */
static inline void put_nibbles(const uint8_t *q, uint8_t *code)
{
    BYTES(bytes16, v, q);
    PUT(code, bytes16, v & 15);
    PUT(code + 16, bytes16, v >> 4);
}

/* The same, each nibble the row of a codebook. */
static inline void look_nibbles(const uint8_t *q, const uint8_t *book, uint8_t *code)
{
    BYTES(bytes16, v, q);
    BYTES(bytes16, table, book);
    PUT(code, bytes16, __builtin_shuffle(table, v & 15));
    PUT(code + 16, bytes16, __builtin_shuffle(table, v >> 4));
}

static inline void integer_book(const float *levels, int zero, uint8_t *book)
{
    for (int j = 0; j < 16; j++)
        book[j] = (uint8_t)((int)levels[j] + zero);
}

/* Bit j of a little-endian u32 is the fifth bit of element j. */
static inline void put_fifth_bits(const uint8_t *qh, uint8_t *code)
{
    uint8_t high[32];
    for (int j = 0; j < 4; j++)
        spread_bits(qh[j], 16, high + 8 * j);
    BYTES(bytes32, v, code);
    BYTES(bytes32, h, high);
    PUT(code, bytes32, v | h);
}

UNPACKER(q1_0)
{
    for (int64_t i = 0; i < n; i += 128, p += 18) {
        for (int j = 0; j < 16; j++)
            spread_bits(p[2 + j], 2, w->code + i + 8 * j);
        for (int j = 0; j < 4; j++)
            w->d[i / 32 + j] = scale_f16(p);
    }
}

UNPACKER(q2_0)
{
    for (int64_t i = 0; i < n; i += 64, p += 18) {
        for (int j = 0; j < 16; j++)
            spread_pairs(p[2 + j], w->code + i + 4 * j);
        w->d[i / 32] = w->d[i / 32 + 1] = scale_f16(p);
    }
}

UNPACKER(q4_0)
{
    for (int64_t i = 0; i < n / 32; i++, p += 18) {
        w->d[i] = scale_f16(p);
        put_nibbles(p + 2, w->code + 32 * i);
    }
}

UNPACKER(q4_1)
{
    for (int64_t i = 0; i < n / 32; i++, p += 20) {
        w->d[i] = scale_f16(p);
        w->m[i] = scale_f16(p + 2);
        put_nibbles(p + 4, w->code + 32 * i);
    }
}

UNPACKER(q5_0)
{
    for (int64_t i = 0; i < n / 32; i++, p += 22) {
        w->d[i] = scale_f16(p);
        put_nibbles(p + 6, w->code + 32 * i);
        put_fifth_bits(p + 2, w->code + 32 * i);
    }
}

UNPACKER(q5_1)
{
    for (int64_t i = 0; i < n / 32; i++, p += 24) {
        w->d[i] = scale_f16(p);
        w->m[i] = scale_f16(p + 2);
        put_nibbles(p + 8, w->code + 32 * i);
        put_fifth_bits(p + 4, w->code + 32 * i);
    }
}

UNPACKER(q8_0)
{
    for (int64_t i = 0; i < n / 32; i++, p += 34) {
        w->d[i] = scale_f16(p);
        BYTES(bytes32, v, p + 2);
        PUT(w->code + 32 * i, bytes32, v ^ 0x80);
    }
}

UNPACKER(iq4_nl)
{
    uint8_t book[16];
    integer_book(codebook_iq4nl, 128, book);
    for (int64_t i = 0; i < n / 32; i++, p += 18) {
        w->d[i] = scale_f16(p);
        look_nibbles(p + 2, book, w->code + 32 * i);
    }
}

UNPACKER(mxfp4)
{
    uint8_t book[16];
    integer_book(codebook_e2m1_doubled, 12, book);
    for (int64_t i = 0; i < n / 32; i++, p += 17) {
        w->d[i] = e8m0_half(p[0]);
        look_nibbles(p + 1, book, w->code + 32 * i);
    }
}

UNPACKER(nvfp4)
{
    uint8_t book[16];
    integer_book(codebook_e2m1_doubled, 12, book);
    for (int64_t i = 0; i < n / 16; i++) {
        const uint8_t *block = p + i / 4 * 36;
        w->d[i] = ue4m3_half(block[i % 4]);
        const uint8_t *q = block + 4 + 8 * (i % 4);
        for (int j = 0; j < 8; j++) {
            w->code[16 * i + j] = book[q[j] & 15];
            w->code[16 * i + j + 8] = book[q[j] >> 4];
        }
    }
}

#endif
