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

typedef uint32_t dwords8 __attribute__((vector_size(32)));
typedef int32_t ints8 __attribute__((vector_size(32)));
typedef uint16_t words16 __attribute__((vector_size(32)));
typedef int16_t shorts8 __attribute__((vector_size(16)));

/* Whatever heads write is written in whole vectors: a load that needs several stores would wait for
 * them. */
#define PUT_WORDS(to, v) PUT(to, words8, __builtin_convertvector(v, words8))

/* Four bits of scale, 1, 3, .. 31, and 28 of signs: in each byte of what comes out those of a group
 * of 8, out of 7 bits each, the lowest; those of the last elements as even_signs has them. */
#define SCALES_AND_SIGNS(v, scale, b) \
    do { \
        const dwords8 even = ((v) & 0x7f) | ((v) << 1 & 0x7f00) | ((v) << 2 & 0x7f0000) \
                             | ((v) << 3 & 0x7f000000); \
        dwords8 odd_ones = even ^ even >> 4; \
        PUT_WORDS(scale, ((v) >> 27 & 30) | 1); \
        odd_ones ^= odd_ones >> 2; \
        odd_ones ^= odd_ones >> 1; \
        PUT((b)->signs, dwords8, even | (odd_ones & 0x01010101) << 7); \
    } while (0)

/* What a super-block of 256 says besides its scales: signs of all elements (iq1: where points are
 * moved down), and the rows of the codebook that are not single bytes. */
struct iq_block {
    uint32_t signs[8];
    uint16_t at[64];
};

/* Of each format: scales and signs of the super-block at p, and the magnitudes of its elements
 * 32 s .. 32 s + 31. */
#define IQ_HEAD(name) \
    static inline float name##_head(const uint8_t *p, int16_t *scale, struct iq_block *b)
#define IQ_GRID(name) \
    static inline void name##_grid(const uint8_t *p, const struct iq_block *b, int s, bytes32 *out)

IQ_HEAD(iq2_xxs)
{
    BYTES(dwords8, first, p + 2);
    BYTES(dwords8, second, p + 34);
    first = __builtin_shufflevector(first, second, 1, 3, 5, 7, 9, 11, 13, 15); /* no indices */
    SCALES_AND_SIGNS(first, scale, b);
    return scale_f16(p) * 0.125f;
}

IQ_GRID(iq2_xxs)
{
    const uint8_t *q = p + 2 + 8 * s;
    (void)b;
    put_together(eight_of(codebook_iq2_xxs[q[0]]), eight_of(codebook_iq2_xxs[q[1]]),
                 eight_of(codebook_iq2_xxs[q[2]]), eight_of(codebook_iq2_xxs[q[3]]), out);
}

/* Nibbles of 8 bytes to scales 1, 3, .. 31. */
static inline void odd_scales(const uint8_t *p, int16_t *scale)
{
    const words8 v = widened(p), both = (v | v << 4) & 0x0f0f;
    const words16 one_by_one = __builtin_convertvector((bytes16)both, words16);
    PUT(scale, words16, one_by_one << 1 | 1);
}

IQ_HEAD(iq2_xs)
{
    uint8_t *signs = (uint8_t *)b->signs;
    odd_scales(p + 66, scale);
    for (int g = 0; g < 32; g += 16) {
        BYTES(words16, v, p + 2 + 2 * g);
        v >>= 9;
        words16 odd = v ^ v >> 4;
        odd ^= odd >> 2;
        odd ^= odd >> 1;
        v |= (odd & 1) << 7;
        PUT(signs + g, bytes16, __builtin_convertvector(v, bytes16));
    }
    return scale_f16(p) * 0.125f;
}

IQ_GRID(iq2_xs)
{
    const uint8_t *q = p + 2 + 8 * s;
    (void)b;
    put_together(eight_of(codebook_iq2_xs[load_u16(q) & 511]),
                 eight_of(codebook_iq2_xs[load_u16(q + 2) & 511]),
                 eight_of(codebook_iq2_xs[load_u16(q + 4) & 511]),
                 eight_of(codebook_iq2_xs[load_u16(q + 6) & 511]), out);
}

IQ_HEAD(iq2_s)
{
    odd_scales(p + 74, scale);
    put_indices(p + 2, widened(p + 66), 2, 3, b->at);
    memcpy(b->signs, p + 34, sizeof b->signs);
    return scale_f16(p) * 0.125f;
}

IQ_GRID(iq2_s)
{
    const uint16_t *at = b->at + 4 * s;
    (void)p;
    put_together(eight_of(codebook_iq2_s[at[0]]), eight_of(codebook_iq2_s[at[1]]),
                 eight_of(codebook_iq2_s[at[2]]), eight_of(codebook_iq2_s[at[3]]), out);
}

IQ_HEAD(iq3_xxs)
{
    BYTES(dwords8, v, p + 66);
    SCALES_AND_SIGNS(v, scale, b);
    return scale_f16(p) * 0.25f;
}

IQ_GRID(iq3_xxs)
{
    uint32_t grid[8];
    (void)b;
    for (int l = 0; l < 8; l++)
        grid[l] = load_u32(codebook_iq3_xxs[p[2 + 8 * s + l]]);
    put_fours_together(grid, out);
}

IQ_HEAD(iq3_s)
{
    const dwords8 shift = { 0, 4, 8, 12, 16, 20, 24, 28 };
    const dwords8 nibbles = (dwords8){ 0 } + load_u32(p + 106);
    PUT_WORDS(scale, (nibbles >> shift & 15) << 1 | 1);
    put_ninth_bits(p + 2, load_u32(p + 66), b->at);
    put_ninth_bits(p + 34, load_u32(p + 70), b->at + 32);
    memcpy(b->signs, p + 74, sizeof b->signs);
    return scale_f16(p);
}

IQ_GRID(iq3_s)
{
    uint32_t grid[8];
    (void)p;
    for (int l = 0; l < 8; l++)
        grid[l] = load_u32(codebook_iq3_s[b->at[8 * s + l]]);
    put_fours_together(grid, out);
}

static inline void four_points(const uint16_t at[4], bytes32 *out)
{
    put_together(eight_of(codebook_iq1_s[at[0]]), eight_of(codebook_iq1_s[at[1]]),
                 eight_of(codebook_iq1_s[at[2]]), eight_of(codebook_iq1_s[at[3]]), out);
}

IQ_HEAD(iq1_s)
{
    const words8 h = words_at(p + 34);
    put_indices(p + 2, h, 3, 7, b->at);
    PUT(scale, words8, (h >> 11 & 14) | 1);
    PUT(b->signs, ints8, __builtin_convertvector((shorts8)h >> 15, ints8));
    return scale_f16(p) * 0.125f;
}

IQ_GRID(iq1_s)
{
    (void)p;
    four_points(b->at + 4 * s, out);
}

IQ_HEAD(iq1_m)
{
    /* Four words: four scales of three bits each, and a quarter of d. */
    const uint16_t q0 = load_u16(p + 48), q1 = load_u16(p + 50), q2 = load_u16(p + 52),
                   q3 = load_u16(p + 54);
    const words16 four = { q0, q0, q0, q0, q1, q1, q1, q1, q2, q2, q2, q2, q3, q3, q3, q3 };
    const words16 shift = { 0, 3, 6, 9, 0, 3, 6, 9, 0, 3, 6, 9, 0, 3, 6, 9 };
    /* And nibbles: three bits of an index, and whether the point is moved down. */
    const words8 nibbles = words_at(p + 32);
    const dwords8 h = __builtin_convertvector(nibbles, dwords8);
    PUT(scale, words16, (four >> shift & 7) << 1 | 1);
    put_indices(p, nibbles, 4, 7, b->at);
    PUT(b->signs, dwords8, ((h >> 3 & 1) | (h << 1 & 0x100) | (h << 5 & 0x10000)
                            | (h << 9 & 0x1000000))
                               * 255);
    const unsigned d = q0 >> 12 | (q1 >> 8 & 0xf0) | (q2 >> 4 & 0xf00) | (q3 & 0xf000);
    return half_to_float((uint16_t)d) * 0.125f;
}

IQ_GRID(iq1_m)
{
    (void)p;
    four_points(b->at + 4 * s, out);
}

/* 32 magnitudes with one sign bit each, around the code 64. */
static inline void put_signed(uint8_t *code, const bytes32 *grid, uint32_t signs)
{
    bytes32 minus;
    where(signs, &minus);
    PUT(code, bytes32, ((*grid ^ minus) - minus) + 64);
}

/* Ternary points moved by an eighth: in units of an eighth 8 * point + 1, or - 1 where `down` is
 * all ones, around the code 9. */
static inline void put_moved(uint8_t *code, const bytes32 *grid, uint32_t down)
{
    bytes32 less;
    where(down, &less);
    PUT(code, bytes32, (*grid << 3) + 10 - (less & 2));
}

/* X(name, bytes of a super-block, columns of a unit, points that are moved: else signs) */
#define IQ_FORMATS(X) \
    X(iq2_xxs, 66, 32, false) \
    X(iq2_xs, 74, 16, false) \
    X(iq2_s, 82, 16, false) \
    X(iq3_xxs, 98, 32, false) \
    X(iq3_s, 110, 32, false) \
    X(iq1_s, 50, 32, true) \
    X(iq1_m, 56, 16, true)
#define IQ_UNPACKER(name, bytes, unit, moved) \
    UNPACKER(name) \
    { \
        for (int64_t i = 0; i < n / 256; i++, p += (bytes)) { \
            struct iq_block b; \
            w->d[i] = name##_head(p, w->scale + 256 / (unit) * i, &b); \
            for (int s = 0; s < 8; s++) { \
                bytes32 grid; \
                name##_grid(p, &b, s, &grid); \
                ((moved) ? put_moved : put_signed)(w->code + 256 * i + 32 * s, &grid, b.signs[s]); \
            } \
        } \
    }
IQ_FORMATS(IQ_UNPACKER)

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
