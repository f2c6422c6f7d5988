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

/* Vectors go by address: as values they would have another calling convention at every level. */
static inline void put_together(uint64_t a, uint64_t b, uint64_t c, uint64_t d, bytes32 *out)
{
#ifdef __AVX2__
    *out = (bytes32)_mm256_setr_epi64x((long long)a, (long long)b, (long long)c, (long long)d);
#else
    const uint64_t all[4] = { a, b, c, d };
    memcpy(out, all, sizeof *out);
#endif
}

/* The same of eight rows of 4 bytes. */
static inline void put_fours_together(const uint32_t v[8], bytes32 *out)
{
#ifdef __AVX2__
    *out = (bytes32)_mm256_setr_epi32((int)v[0], (int)v[1], (int)v[2], (int)v[3], (int)v[4],
                                      (int)v[5], (int)v[6], (int)v[7]);
#else
    memcpy(out, v, sizeof *out);
#endif
}

/* Indices of more than 8 bits: a byte of q each, above it those of `mask` out of word l / 4 of
 * `high`, shifted by step * (l % 4). */
typedef uint16_t words8 __attribute__((vector_size(16)));

static inline void put_indices(const uint8_t *q, words8 high, int step, int mask, uint16_t *index)
{
#if defined __AVX512BW__ && defined __AVX512VL__
    const __m512i shift = _mm512_set1_epi64(step * 0x0003000200010000);
    __m512i v = _mm512_cvtepu16_epi64((__m128i)high);
    v = _mm512_or_si512(v, _mm512_slli_epi64(v, 16));
    v = _mm512_or_si512(v, _mm512_slli_epi64(v, 32));
    v = _mm512_and_si512(_mm512_srlv_epi16(v, shift), _mm512_set1_epi16((short)mask));
    const __m512i low = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)q));
    _mm512_storeu_si512(index, _mm512_or_si512(low, _mm512_slli_epi16(v, 8)));
#else
    for (int l = 0; l < 32; l++)
        index[l] = (uint16_t)(q[l] | (high[l / 4] >> step * (l % 4) & mask) << 8);
#endif
}

/* The same with one bit each. */
static inline void put_ninth_bits(const uint8_t *q, uint32_t high, uint16_t *index)
{
#if defined __AVX512BW__ && defined __AVX512VL__
    const __m512i low = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)q));
    _mm512_storeu_si512(index, _mm512_or_si512(low, _mm512_maskz_set1_epi16(high, 256)));
#else
    for (int l = 0; l < 32; l++)
        index[l] = (uint16_t)(q[l] | (high >> l & 1) << 8);
#endif
}

static inline words8 words_at(const uint8_t *p)
{
    BYTES(words8, v, p);
    return v;
}

/* Eight bytes as words. */
static inline words8 widened(const uint8_t *p)
{
#ifdef __AVX2__
    return (words8)_mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)p));
#else
    words8 v;
    for (int i = 0; i < 8; i++)
        v[i] = p[i];
    return v;
#endif
}

/* All ones in the bytes whose bit is set. */
static inline void where(uint32_t bits, bytes32 *out)
{
#if defined __AVX512BW__ && defined __AVX512VL__
    *out = (bytes32)_mm256_movm_epi8(bits);
#elif defined __AVX2__
    const __m256i from = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202,
                                            0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201u);
    const __m256i mine = _mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), from);
    *out = (bytes32)_mm256_cmpeq_epi8(_mm256_and_si256(mine, bit), bit);
#else
    uint8_t mask[32];
    for (int l = 0; l < 4; l++)
        spread_bits((uint8_t)(bits >> 8 * l), 0xff, mask + 8 * l);
    memcpy(out, mask, sizeof *out);
#endif
}

/* 32 magnitudes with one sign bit each, around the code 64. */
static inline void put_signed(uint8_t *code, const bytes32 *grid, uint32_t signs)
{
    bytes32 minus;
    where(signs, &minus);
    PUT(code, bytes32, ((*grid ^ minus) - minus) + 64);
}

typedef uint32_t dwords8 __attribute__((vector_size(32)));
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
            bytes32 grid;
            put_together(eight_of(codebook_iq2_xxs[q[0]]),
                         eight_of(codebook_iq2_xxs[q[1]]),
                         eight_of(codebook_iq2_xxs[q[2]]),
                         eight_of(codebook_iq2_xxs[q[3]]), &grid);
            put_signed(w->code + 256 * i + 32 * s, &grid, (uint32_t)signs[s]);
        }
    }
}

/* Nibbles of 8 bytes to scales 1, 3, .. 31. */
static inline void odd_scales(const uint8_t *p, int16_t *scale)
{
    words8 v = widened(p);
    uint8_t nibble[16];
    v = (v | v << 4) & 0x0f0f;
    PUT(nibble, words8, v);
    for (int s = 0; s < 16; s++)
        scale[s] = (int16_t)(2 * nibble[s] + 1);
}

UNPACKER(iq2_xs)
{
    for (int64_t i = 0; i < n / 256; i++, p += 74) {
        uint8_t signs[32];
        w->d[i] = scale_f16(p) * 0.125f;
        odd_scales(p + 66, w->scale + 16 * i);
        for (int g = 0; g < 32; g++) {
            const unsigned v = load_u16(p + 2 + 2 * g) >> 9;
            const unsigned odd = v ^ v >> 4, more = odd ^ odd >> 2;
            signs[g] = (uint8_t)(v | (more ^ more >> 1) << 7);
        }
        for (int s = 0; s < 8; s++) {
            const uint8_t *q = p + 2 + 8 * s;
            bytes32 grid;
            put_together(eight_of(codebook_iq2_xs[load_u16(q) & 511]),
                         eight_of(codebook_iq2_xs[load_u16(q + 2) & 511]),
                         eight_of(codebook_iq2_xs[load_u16(q + 4) & 511]),
                         eight_of(codebook_iq2_xs[load_u16(q + 6) & 511]), &grid);
            put_signed(w->code + 256 * i + 32 * s, &grid, load_u32(signs + 4 * s));
        }
    }
}

UNPACKER(iq2_s)
{
    for (int64_t i = 0; i < n / 256; i++, p += 82) {
        uint16_t at[32];
        w->d[i] = scale_f16(p) * 0.125f;
        odd_scales(p + 74, w->scale + 16 * i);
        put_indices(p + 2, widened(p + 66), 2, 3, at);
        for (int s = 0; s < 8; s++) {
            bytes32 grid;
            put_together(eight_of(codebook_iq2_s[at[4 * s]]),
                         eight_of(codebook_iq2_s[at[4 * s + 1]]),
                         eight_of(codebook_iq2_s[at[4 * s + 2]]),
                         eight_of(codebook_iq2_s[at[4 * s + 3]]), &grid);
            put_signed(w->code + 256 * i + 32 * s, &grid, load_u32(p + 34 + 4 * s));
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
        BYTES(dwords8, v, p + 66);
        EVEN_SIGNS(dwords8, v);
        PUT(signs, dwords8, v);
        for (int s = 0; s < 8; s++) {
            uint32_t grid[8];
            for (int l = 0; l < 8; l++)
                grid[l] = load_u32(codebook_iq3_xxs[p[2 + 8 * s + l]]);
            bytes32 codes;
            put_fours_together(grid, &codes);
            put_signed(w->code + 256 * i + 32 * s, &codes, signs[s]);
        }
    }
}

UNPACKER(iq3_s)
{
    for (int64_t i = 0; i < n / 256; i++, p += 110) {
        uint16_t at[64];
        w->d[i] = scale_f16(p);
        for (int s = 0; s < 8; s++)
            w->scale[8 * i + s] = (int16_t)(2 * (load_u32(p + 106) >> 4 * s & 15) + 1);
        put_ninth_bits(p + 2, load_u32(p + 66), at);
        put_ninth_bits(p + 34, load_u32(p + 70), at + 32);
        for (int s = 0; s < 8; s++) {
            uint32_t grid[8];
            for (int l = 0; l < 8; l++)
                grid[l] = load_u32(codebook_iq3_s[at[8 * s + l]]);
            bytes32 codes;
            put_fours_together(grid, &codes);
            put_signed(w->code + 256 * i + 32 * s, &codes, load_u32(p + 74 + 4 * s));
        }
    }
}

/* Ternary points moved by an eighth: in units of an eighth 8 * point + 1, or - 1 where `down` is
 * all ones, around the code 9. */
static inline void put_moved(uint8_t *code, const bytes32 *grid, uint32_t down)
{
    bytes32 less;
    where(down, &less);
    PUT(code, bytes32, (*grid << 3) + 10 - (less & 2));
}

static inline void four_points(const uint16_t at[4], bytes32 *out)
{
    put_together(eight_of(codebook_iq1_s[at[0]]), eight_of(codebook_iq1_s[at[1]]),
                 eight_of(codebook_iq1_s[at[2]]), eight_of(codebook_iq1_s[at[3]]), out);
}

UNPACKER(iq1_s)
{
    for (int64_t i = 0; i < n / 256; i++, p += 50) {
        uint16_t at[32];
        w->d[i] = scale_f16(p) * 0.125f;
        put_indices(p + 2, words_at(p + 34), 3, 7, at);
        for (int s = 0; s < 8; s++)
            w->scale[8 * i + s] = (int16_t)(2 * (load_u16(p + 34 + 2 * s) >> 12 & 7) + 1);
        for (int s = 0; s < 8; s++) {
            bytes32 grid;
            four_points(at + 4 * s, &grid);
            put_moved(w->code + 256 * i + 32 * s, &grid, p[35 + 2 * s] >> 7 ? UINT32_MAX : 0);
        }
    }
}

UNPACKER(iq1_m)
{
    for (int64_t i = 0; i < n / 256; i++, p += 56) {
        const unsigned a = load_u16(p + 48), b = load_u16(p + 50), c = load_u16(p + 52),
                       e = load_u16(p + 54);
        uint16_t at[32];
        w->d[i] = half_to_float(
                      (uint16_t)(a >> 12 | (b >> 8 & 0xf0) | (c >> 4 & 0xf00) | (e & 0xf000)))
                  * 0.125f;
        for (int s = 0; s < 16; s++)
            w->scale[16 * i + s] = (int16_t)(2 * (load_u16(p + 48 + s / 4 * 2) >> s % 4 * 3 & 7)
                                             + 1);
        put_indices(p, words_at(p + 32), 4, 7, at);
        for (int s = 0; s < 8; s++) {
            const unsigned h = load_u16(p + 32 + 2 * s); /* a nibble each: three bits, down */
            const uint32_t down = (h >> 3 & 1) | (h << 1 & 0x100) | (h << 5 & 0x10000)
                                  | (h << 9 & 0x1000000);
            bytes32 grid;
            four_points(at + 4 * s, &grid);
            put_moved(w->code + 256 * i + 32 * s, &grid, down * 255);
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
