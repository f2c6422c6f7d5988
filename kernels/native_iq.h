/* SPDX-License-Identifier: MIT */
/* Native mode, unpackers of the IQ formats. Included once per level; the layouts of the blocks are
 * told in codec_iq.c. */
#ifndef QDB_KERNELS_NATIVE_IQ_H
#define QDB_KERNELS_NATIVE_IQ_H

#include "kernels/native_blocks.h"

/* A row of 8 bytes of a table is read as one number; four of them are the codes of 32 columns. */
static inline uint64_t eight_of(const void *row)
{
    uint64_t v;
    memcpy(&v, row, sizeof v);
    return v;
}

static inline bytes32 put_together(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
#ifdef __AVX2__
    return (bytes32)_mm256_setr_epi64x((long long)a, (long long)b, (long long)c, (long long)d);
#else
    const uint64_t all[4] = { a, b, c, d };
    BYTES(bytes32, v, all);
    return v;
#endif
}

/* The same of eight rows of 4 bytes. */
static inline bytes32 put_fours_together(const uint32_t v[8])
{
#ifdef __AVX2__
    return (bytes32)_mm256_setr_epi32((int)v[0], (int)v[1], (int)v[2], (int)v[3], (int)v[4],
                                      (int)v[5], (int)v[6], (int)v[7]);
#else
    BYTES(bytes32, all, v);
    return all;
#endif
}

/* All ones in the bytes whose bit is set. */
static inline bytes32 where(uint32_t bits)
{
#if defined __AVX512BW__ && defined __AVX512VL__
    return (bytes32)_mm256_movm_epi8(bits);
#elif defined __AVX2__
    const __m256i from = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202,
                                            0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201u);
    const __m256i mine = _mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), from);
    return (bytes32)_mm256_cmpeq_epi8(_mm256_and_si256(mine, bit), bit);
#else
    uint8_t mask[32];
    for (int l = 0; l < 4; l++)
        spread_bits((uint8_t)(bits >> 8 * l), 0xff, mask + 8 * l);
    BYTES(bytes32, v, mask);
    return v;
#endif
}

/* 32 magnitudes with one sign bit each, around the code 64. */
static inline void put_signed(uint8_t *code, bytes32 grid, uint32_t signs)
{
    const bytes32 minus = where(signs);
    PUT(code, bytes32, ((grid ^ minus) - minus) + 64);
}

typedef uint32_t words8 __attribute__((vector_size(32)));
typedef uint64_t longs4 __attribute__((vector_size(32)));

/* In every lane of a vector of 32 or 64 bits: the signs of four groups of 8 out of 7 bits each, the
 * lowest, those of the last elements as even_signs has them. */
#define EVEN_SIGNS(type, v) \
    do { \
        const type even = ((v) & 0x7f) | ((v) << 1 & 0x7f00) | ((v) << 2 & 0x7f0000) \
                          | ((v) << 3 & 0x7f000000); \
        type odd = even ^ even >> 4; \
        odd ^= odd >> 2; \
        odd ^= odd >> 1; \
        (v) = even | (odd & 0x01010101) << 7; \
    } while (0)

UNPACKER(iq2_xxs)
{
    for (int64_t i = 0; i < n / 256; i++, p += 66) {
        uint64_t signs[8]; /* of the upper halves; the lower ones are indices */
        w->d[i] = scale_f16(p) * 0.125f;
        for (int s = 0; s < 8; s++)
            w->scale[8 * i + s] = (int16_t)(2 * (p[9 + 8 * s] >> 4) + 1);
        for (int s = 0; s < 8; s += 4) {
            BYTES(longs4, v, p + 2 + 8 * s);
            v >>= 32;
            EVEN_SIGNS(longs4, v);
            PUT(signs + s, longs4, v);
        }
        for (int s = 0; s < 8; s++) {
            const uint8_t *q = p + 2 + 8 * s;
            put_signed(w->code + 256 * i + 32 * s,
                       put_together(eight_of(codebook_iq2_xxs[q[0]]),
                                    eight_of(codebook_iq2_xxs[q[1]]),
                                    eight_of(codebook_iq2_xxs[q[2]]),
                                    eight_of(codebook_iq2_xxs[q[3]])),
                       (uint32_t)signs[s]);
        }
    }
}

/* Nibbles of `bytes` to scales 1, 3, .. 31. */
static inline void odd_scales(const uint8_t *p, int bytes, int16_t *scale)
{
    for (int s = 0; s < bytes; s++) {
        scale[2 * s] = (int16_t)(2 * (p[s] & 15) + 1);
        scale[2 * s + 1] = (int16_t)(2 * (p[s] >> 4) + 1);
    }
}

UNPACKER(iq2_xs)
{
    for (int64_t i = 0; i < n / 256; i++, p += 74) {
        uint8_t signs[32];
        w->d[i] = scale_f16(p) * 0.125f;
        odd_scales(p + 66, 8, w->scale + 16 * i);
        for (int g = 0; g < 32; g++) {
            const unsigned v = load_u16(p + 2 + 2 * g) >> 9;
            const unsigned odd = v ^ v >> 4, more = odd ^ odd >> 2;
            signs[g] = (uint8_t)(v | (more ^ more >> 1) << 7);
        }
        for (int s = 0; s < 8; s++) {
            const uint8_t *q = p + 2 + 8 * s;
            put_signed(w->code + 256 * i + 32 * s,
                       put_together(eight_of(codebook_iq2_xs[load_u16(q) & 511]),
                                    eight_of(codebook_iq2_xs[load_u16(q + 2) & 511]),
                                    eight_of(codebook_iq2_xs[load_u16(q + 4) & 511]),
                                    eight_of(codebook_iq2_xs[load_u16(q + 6) & 511])),
                       load_u32(signs + 4 * s));
        }
    }
}

UNPACKER(iq2_s)
{
    for (int64_t i = 0; i < n / 256; i++, p += 82) {
        w->d[i] = scale_f16(p) * 0.125f;
        odd_scales(p + 74, 8, w->scale + 16 * i);
        for (int s = 0; s < 8; s++) {
            const unsigned high = p[66 + s];
            const uint8_t *q = p + 2 + 4 * s;
            put_signed(w->code + 256 * i + 32 * s,
                       put_together(eight_of(codebook_iq2_s[q[0] | (high << 8 & 0x300)]),
                                    eight_of(codebook_iq2_s[q[1] | (high << 6 & 0x300)]),
                                    eight_of(codebook_iq2_s[q[2] | (high << 4 & 0x300)]),
                                    eight_of(codebook_iq2_s[q[3] | (high << 2 & 0x300)])),
                       load_u32(p + 34 + 4 * s));
        }
    }
}

UNPACKER(iq3_xxs)
{
    for (int64_t i = 0; i < n / 256; i++, p += 98) {
        uint32_t signs[8];
        w->d[i] = scale_f16(p) * 0.25f;
        for (int s = 0; s < 8; s++)
            w->scale[8 * i + s] = (int16_t)(2 * (p[69 + 4 * s] >> 4) + 1);
        BYTES(words8, v, p + 66);
        EVEN_SIGNS(words8, v);
        PUT(signs, words8, v);
        for (int s = 0; s < 8; s++) {
            uint32_t grid[8];
            for (int l = 0; l < 8; l++)
                grid[l] = load_u32(codebook_iq3_xxs[p[2 + 8 * s + l]]);
            put_signed(w->code + 256 * i + 32 * s, put_fours_together(grid), signs[s]);
        }
    }
}

UNPACKER(iq3_s)
{
    for (int64_t i = 0; i < n / 256; i++, p += 110) {
        w->d[i] = scale_f16(p);
        odd_scales(p + 106, 4, w->scale + 8 * i);
        for (int s = 0; s < 8; s++) {
            const unsigned high = p[66 + s];
            uint32_t grid[8];
            for (int l = 0; l < 8; l++)
                grid[l] = load_u32(codebook_iq3_s[p[2 + 8 * s + l] | (high << (8 - l) & 256)]);
            put_signed(w->code + 256 * i + 32 * s, put_fours_together(grid),
                       load_u32(p + 74 + 4 * s));
        }
    }
}

/* Ternary points moved by an eighth: in units of an eighth 8 * point + 1, or - 1 where `down` is
 * all ones, around the code 9. */
static inline void put_moved(uint8_t *code, bytes32 grid, bytes32 down)
{
    PUT(code, bytes32, (grid << 3) + 10 - (down & 2));
}

UNPACKER(iq1_s)
{
    for (int64_t i = 0; i < n / 256; i++, p += 50) {
        w->d[i] = scale_f16(p) * 0.125f;
        for (int s = 0; s < 8; s++) {
            const unsigned h = load_u16(p + 34 + 2 * s);
            const uint8_t *q = p + 2 + 4 * s;
            w->scale[8 * i + s] = (int16_t)(2 * (h >> 12 & 7) + 1);
            put_moved(w->code + 256 * i + 32 * s,
                      put_together(eight_of(codebook_iq1_s[q[0] | (h << 8 & 0x700)]),
                                   eight_of(codebook_iq1_s[q[1] | (h << 5 & 0x700)]),
                                   eight_of(codebook_iq1_s[q[2] | (h << 2 & 0x700)]),
                                   eight_of(codebook_iq1_s[q[3] | (h >> 1 & 0x700)])),
                      where(h & 0x8000 ? UINT32_MAX : 0));
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
        for (int s = 0; s < 8; s++) {
            const unsigned h = load_u16(p + 32 + 2 * s); /* a nibble each: three bits, down */
            const uint8_t *q = p + 4 * s;
            const uint32_t down = (h >> 3 & 1) | (h << 1 & 0x100) | (h << 5 & 0x10000)
                                  | (h << 9 & 0x1000000);
            put_moved(w->code + 256 * i + 32 * s,
                      put_together(eight_of(codebook_iq1_s[q[0] | (h << 8 & 0x700)]),
                                   eight_of(codebook_iq1_s[q[1] | (h << 4 & 0x700)]),
                                   eight_of(codebook_iq1_s[q[2] | (h & 0x700)]),
                                   eight_of(codebook_iq1_s[q[3] | (h >> 4 & 0x700)])),
                      where(down * 255));
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
