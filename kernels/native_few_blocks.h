/* SPDX-License-Identifier: MIT */
/* Few tokens in native mode: formats with one scale per 32 or 16 columns. Included by native_few.h;
 * the layouts of the blocks are told in codec_blocks.c. */
#ifndef QDB_KERNELS_NATIVE_FEW_BLOCKS_H
#define QDB_KERNELS_NATIVE_FEW_BLOCKS_H

#include "kernels/native_few_rows.h"

#ifdef __AVX2__

/* A block of WIDTH rows, taken apart. */
struct few_block {
    ints code[8];
    floats d, m;
};
typedef void few_take(const uint8_t *p, size_t stride, struct few_block *w);

/* sum[t] continued by the terms of block b, for tokens t .. end. */
INLINE void few_block(const struct native_format *f, const struct native_acts *x, int64_t b,
                      int64_t t, int64_t end, const struct few_block *w, floats *sum)
{
    const int64_t blocks = x->stride / 32;
    const int8_t *a = x->code + 32 * b + t * x->stride;
    for (b += t * blocks; t < end; t++, a += x->stride, b += blocks) {
        const ints isum = few_dot(f, few_start(f, x->start + b), w->code, 8, a);
        floats term = I(mul_ps)(I(cvtepi32_ps)(isum), I(mul_ps)(w->d, I(set1_ps)(x->d[b])));
        if (f->act == NATIVE_Q8_1)
            term = I(add_ps)(term, I(mul_ps)(w->m, I(set1_ps)(x->s[b])));
        sum[t] = I(add_ps)(sum[t], term);
    }
}

#ifdef __AVX512VNNI__
/* A half of each row, copied by instructions that leave the pipes of vectors alone. To be read when
 * the stores are done, some blocks later. */
enum { HALVES_AHEAD = 3 };

INLINE void copy_halves(const uint8_t *p, size_t stride, uint16_t to[WIDTH])
{
    EACH_LANE
    {
        uint32_t half = load_u16(p + (size_t)r * stride);
        __asm__("" : "+r"(half)); /* not sixteen insertions into a vector */
        to[r] = (uint16_t)half;
    }
}

/* Blocks of `bytes`, which begin with the half d or not. The next block is taken apart between the
 * tokens of this one: the CPU does not look far enough ahead to do it beside all of them. */
INLINE void few_blocks(const struct native_format *f, int bytes, bool half_first, few_take *take,
                       struct few_rows w, const struct native_acts *x, floats *sum)
{
    const int64_t blocks = x->cols / 32, half = x->tokens / 2;
    _Alignas(32) uint16_t d[HALVES_AHEAD + 1][WIDTH];
    struct few_block now, next;
    for (int64_t b = 0; half_first && b < HALVES_AHEAD && b < blocks; b++)
        copy_halves(w.p + b * bytes, w.stride, d[b]);
    take(w.p, w.stride, &next);
    for (int64_t b = 0; b < blocks; b++) {
        now = next;
        if (half_first)
            now.d = _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)d[b % (HALVES_AHEAD + 1)]));
        ask_ahead(&w, (size_t)bytes);
        if (half_first && b + HALVES_AHEAD < blocks)
            copy_halves(w.p + HALVES_AHEAD * bytes, w.stride,
                        d[(b + HALVES_AHEAD) % (HALVES_AHEAD + 1)]);
        few_block(f, x, b, 0, half, &now, sum);
        w.p += bytes;
        if (b + 1 < blocks)
            take(w.p, w.stride, &next);
        few_block(f, x, b, half, x->tokens, &now, sum);
    }
}
#else
INLINE void few_blocks(const struct native_format *f, int bytes, bool half_first, few_take *take,
                       struct few_rows w, const struct native_acts *x, floats *sum)
{
    (void)half_first;
    for (int64_t b = 0; b < x->cols / 32; b++, w.p += bytes) {
        struct few_block now;
        ask_ahead(&w, (size_t)bytes);
        take(w.p, w.stride, &now);
        few_block(f, x, b, 0, x->tokens, &now, sum);
    }
}
#endif

/* The kernel of a format with blocks of `bytes`, half_first: d comes first, in a half; take: code,
 * d and m from the block at p of rows `stride` apart. */
#define FEW_BLOCKS(name, bytes, half_first, take) \
    INLINE void take_block_##name(const uint8_t *p, size_t stride, struct few_block *w) \
    { \
        ints *const code = w->code; \
        floats d, m = I(setzero_ps)(); \
        take; \
        w->d = d; \
        w->m = m; \
    } \
    static void few_##name(struct few_rows w, struct native_acts x, floats *sum) \
    { \
        few_blocks(&constant[NATIVE_##name], bytes, half_first, take_block_##name, w, &x, sum); \
    }

/* Signed bytes, as level and dot product want them. */
INLINE void take_bytes(const uint8_t *p, size_t stride, ints code[8])
{
    turn_rows(p, stride, code);
    turn_rows(p + 16, stride, code + 4);
    UNROLL for (int k = 0; k < 8; k++) code[k] ^= from_signed();
}

/* Bit i of a dword to 16 in byte i, for the codes of 32 elements: the fifth bits. */
INLINE void add_fifth_bits(ints bits, ints code[8])
{
    const ints bit[2] = { ints_of(0x08040201), ints_of((int)0x80402010u) };
    const ints sixteen = I(set1_epi8)(16);
    UNROLL for (int k = 0; k < 8; k += 2)
    {
        /* Byte k / 2 four times; its lower bits are those of the first dword of codes. */
        const int b = k / 2 * 0x01010101, next = 0x04040404;
        const ints v = I(shuffle_epi8)(bits, four_lanes(b, b + next, b + 2 * next, b + 3 * next));
        UNROLL for (int i = 0; i < 2; i++)
        {
#ifdef __AVX512VNNI__
            code[k + i] = _mm512_mask_add_epi8(code[k + i], _mm512_test_epi8_mask(v, bit[i]),
                                               code[k + i], sixteen);
#else
            const ints set = _mm256_cmpeq_epi8(_mm256_and_si256(v, bit[i]), bit[i]);
            code[k + i] = _mm256_add_epi8(code[k + i], _mm256_and_si256(set, sixteen));
#endif
        }
    }
}

/* d and m side by side, then nibbles. */
INLINE void take_q4_1(const uint8_t *p, size_t stride, ints code[8], floats *d, floats *m)
{
    const ints both = dwords_at(p, stride);
    *d = low_halves(both);
    *m = high_halves(both);
    take_nibbles(p + 4, stride, code);
}

INLINE void take_q5_1(const uint8_t *p, size_t stride, ints code[8], floats *d, floats *m)
{
    ints head[4];
    turn_rows(p, stride, head);
    *d = low_halves(head[0]);
    *m = high_halves(head[0]);
    take_nibbles(p + 8, stride, code);
    add_fifth_bits(head[1], code);
}

/* Half of 2^(e - 127), e in the low bytes of lanes. */
INLINE floats powers_of(ints e)
{
#ifdef __AVX512VNNI__
    const ints small = _mm512_sllv_epi32(ints_of(0x00200000), e);
    const ints power = _mm512_slli_epi32(_mm512_sub_epi32(e, ints_of(1)), 23);
    return (floats)_mm512_mask_mov_epi32(power, _mm512_cmplt_epi32_mask(e, ints_of(2)), small);
#else
    const ints small = _mm256_sllv_epi32(ints_of(0x00200000), e);
    const ints power = _mm256_slli_epi32(_mm256_sub_epi32(e, ints_of(1)), 23);
    return (floats)_mm256_blendv_epi8(power, small, _mm256_cmpgt_epi32(ints_of(2), e));
#endif
}

INLINE void take_mxfp4(const uint8_t *p, size_t stride, ints code[8], floats *d)
{
    *d = powers_of(dwords_at(p, stride) & ints_of(255));
    take_nibbles(p + 1, stride, code);
    look_up_e2m1(code, 8);
}

FEW_BLOCKS(q4_1, 20, false, take_q4_1(p, stride, code, &d, &m))
FEW_BLOCKS(q5_0, 22, true,
           (d = halves_at(p, stride), take_nibbles(p + 6, stride, code),
            add_fifth_bits(dwords_at(p + 2, stride), code)))
FEW_BLOCKS(q5_1, 24, false, take_q5_1(p, stride, code, &d, &m))
FEW_BLOCKS(mxfp4, 17, false, take_mxfp4(p, stride, code, &d))
FEW_BLOCKS(q4_0, 18, true, (d = halves_at(p, stride), take_nibbles(p + 2, stride, code)))
FEW_BLOCKS(q8_0, 34, true, (d = halves_at(p, stride), take_bytes(p + 2, stride, code)))
FEW_BLOCKS(iq4_nl, 18, true,
           (d = halves_at(p, stride), take_nibbles(p + 2, stride, code), look_up(code, 8)))

/* Half of the number that the low byte of a lane is in UE4M3; see ue4m3_half. */
INLINE floats small_floats(ints e)
{
    const ints bits = I(slli_epi32)(e & ints_of(0x7f), 20);
    const floats v = I(mul_ps)((floats)bits, I(set1_ps)(0x1p119f));
#ifdef __AVX512VNNI__
    return _mm512_maskz_mov_ps(_mm512_cmpneq_epi32_mask(e, ints_of(0x7f)), v);
#else
    return _mm256_andnot_ps((floats)_mm256_cmpeq_epi32(e, ints_of(0x7f)), v);
#endif
}

/* Blocks of 64 columns with a scale per 16: element j is the low half of byte j, element j + 8 the
 * high half. */
static void few_nvfp4(struct few_rows w, struct native_acts x, floats *sum)
{
    const struct native_format *f = &constant[NATIVE_nvfp4];
    const uint8_t *p = w.p;
    for (int64_t b = 0; b < x.cols / 64; b++, p += 36) {
        ints q[8];
        ask_ahead(&w, 36);
        const ints scales = dwords_at(p, w.stride);
        turn_two(p + 4, w.stride, q);
        UNROLL for (int s = 0; s < 4; s++)
        {
            ints code[4] = { low_nibbles(q[2 * s]), low_nibbles(q[2 * s + 1]),
                             high_nibbles(q[2 * s]), high_nibbles(q[2 * s + 1]) };
            const floats d = small_floats(I(srli_epi32)(scales, 8 * s) & ints_of(255));
            look_up_e2m1(code, 4);
            for (int64_t t = 0, at = 4 * b + s; t < x.tokens; t++, at += x.stride / 16) {
                const ints isum = few_dot(f, few_start(f, x.start + at), code, 4, x.code + 16 * at);
                sum[t] = I(add_ps)(sum[t], I(mul_ps)(I(cvtepi32_ps)(isum),
                                                     I(mul_ps)(d, I(set1_ps)(x.d[at / 2]))));
            }
        }
    }
}

#endif
#endif
