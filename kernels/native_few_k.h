/* SPDX-License-Identifier: MIT */
/* Few tokens in native mode: formats with super-blocks of 256 columns. Included by native_few.h;
 * the layouts of the blocks are told in codec_k.c and codec_iq.c. */
#ifndef QDB_KERNELS_NATIVE_FEW_K_H
#define QDB_KERNELS_NATIVE_FEW_K_H

#include "kernels/native_few_rows.h"

#ifdef __AVX2__

/* A super-block of WIDTH rows without its codes; min holds the words of two units. */
struct few_super {
    floats d, m;
    ints scale[16], min[8];
};

/* isum[t] += scale * dot of the unit that begins at column c, for one or two units of f->unit
 * columns, `apart` units from each other, and `tokens` tokens from token t on. */
INLINE void few_unit(const struct native_format *f, const struct native_acts *x, int tokens,
                     int64_t t, int64_t c, const ints *code, int n, int apart, const ints *scale,
                     ints *isum)
{
    const int64_t units = x->stride / f->unit, at = t * x->stride + c;
    ints sum[ABREAST];
    UNROLL for (int k = 0; k < tokens; k++) sum[k] = isum[t + k];
    UNROLL for (int i = 0; i < n; i++)
    {
        const int32_t *start = x->start + at / f->unit + i * apart;
        ints dot[ABREAST];
        UNROLL for (int k = 0; k < tokens; k++) dot[k] = few_start(f, start + k * units);
        few_dots(f, tokens, dot, code + i * f->unit / 4, f->unit / 4,
                 x->code + at + i * apart * f->unit, x->stride);
        UNROLL for (int k = 0; k < tokens; k++)
            sum[k] = I(add_epi32)(sum[k], I(mullo_epi32)(dot[k], scale[i * apart]));
    }
    UNROLL for (int k = 0; k < tokens; k++) isum[t + k] = sum[k];
}

INLINE void few_units(const struct native_format *f, const struct native_acts *x, int64_t c,
                      const ints *code, int n, int apart, const ints *scale, ints *isum)
{
#define UNIT(tokens, t) few_unit(f, x, tokens, t, c, code, n, apart, scale, isum)
    FEW_AT_A_TIME(x, n > 1 ? 2 : ABREAST, UNIT);
#undef UNIT
}

/* sum[t] continued by the terms of super-block g. */
INLINE void few_super(const struct native_format *f, const struct native_acts *x, int64_t g,
                      const struct few_super *s, const ints *isum, floats *sum)
{
    const int64_t units = x->stride / f->unit;
    const int16_t *xsum = x->sum + g * 256 / f->unit;
    for (int64_t t = 0; t < x->tokens; t++, g += x->stride / 256, xsum += units) {
        const floats dx = I(set1_ps)(x->d[g]);
        floats term = I(mul_ps)(I(cvtepi32_ps)(isum[t]), I(mul_ps)(s->d, dx));
        if (f->mins) {
            ints msum = ints_zero();
            UNROLL for (int u = 0; u < 8; u++)
                if (u < 128 / f->unit)
                    msum = I(add_epi32)(msum, I(madd_epi16)(s->min[u], four_bytes(xsum + 2 * u)));
            term = I(sub_ps)(term, I(mul_ps)(I(cvtepi32_ps)(msum), I(mul_ps)(s->m, dx)));
        }
        sum[t] = I(add_ps)(sum[t], term);
    }
}

/* The kernel of a format with super-blocks of `bytes`; take: the head of the block at p of rows
 * `stride` apart, and its units. */
#define FEW_SUPERS(name, bytes, head, units) \
    static void few_##name(struct few_rows w, struct native_acts x, floats *sum) \
    { \
        const uint8_t *p = w.p; \
        for (int64_t g = 0; g < x.cols / 256; g++, p += bytes) { \
            struct few_super s; \
            ints isum[FEW_TOKENS]; \
            head(p, w.stride, &s); \
            for (int64_t t = 0; t < x.tokens; t++) \
                isum[t] = ints_zero(); \
            units(&constant[NATIVE_##name], p, &w, &x, 256 * g, &s, isum); \
            few_super(&constant[NATIVE_##name], &x, g, &s, isum, sum); \
        } \
    }

INLINE ints byte_of(ints v, int i) { return I(srli_epi32)(v, 8 * i) & ints_of(255); }

/* Six bits each of four scales: the low ones in `low`, the high ones where `high` has them. */
INLINE void four_scales(ints v, ints *scale)
{
    UNROLL for (int i = 0; i < 4; i++) scale[i] = byte_of(v, i);
}

/* Bytes 0 and 1, and bytes 2 and 3, of each lane as words. */
INLINE void four_minima(ints v, ints *min)
{
    enum { A = (int)0x80018000u, B = (int)0x80038002u, NEXT = 0x40004 };
    min[0] = I(shuffle_epi8)(v, four_lanes(A, A + NEXT, A + 2 * NEXT, A + 3 * NEXT));
    min[1] = I(shuffle_epi8)(v, four_lanes(B, B + NEXT, B + 2 * NEXT, B + 3 * NEXT));
}

INLINE void k4_head(const uint8_t *p, size_t stride, struct few_super *s)
{
    const ints six = I(set1_epi8)(0x3f), two = I(set1_epi8)(0x30);
    ints v[4];
    turn_rows(p, stride, v);
    s->d = low_halves(v[0]);
    s->m = high_halves(v[0]);
    four_scales(v[1] & six, s->scale);
    four_scales(low_nibbles(v[3]) | (I(srli_epi32)(v[1], 2) & two), s->scale + 4);
    four_minima(v[2] & six, s->min);
    four_minima(high_nibbles(v[3]) | (I(srli_epi32)(v[2], 2) & two), s->min + 2);
}

INLINE void q4_k_units(const struct native_format *f, const uint8_t *p, struct few_rows *w,
                       const struct native_acts *x, int64_t c, const struct few_super *s,
                       ints *isum)
{
    ints q[8];
    turn_two(p + 16, w->stride, q);
    for (int u = 0; u < 8; u += 2) {
        ints code[8];
        ask_ahead(w, 36);
        UNROLL for (int k = 0; k < 8; k++) code[k] = low_nibbles(q[k]);
        few_units(f, x, c + 32 * u, code, 1, 1, s->scale + u, isum);
        UNROLL for (int k = 0; k < 8; k++) code[k] = high_nibbles(q[k]);
        if (u < 6)
            turn_two(p + 48 + 16 * u, w->stride, q);
        few_units(f, x, c + 32 * u + 32, code, 1, 1, s->scale + u + 1, isum);
    }
}

INLINE void q5_k_units(const struct native_format *f, const uint8_t *p, struct few_rows *w,
                       const struct native_acts *x, int64_t c, const struct few_super *s,
                       ints *isum)
{
    const ints fifth = I(set1_epi8)(16);
    ints high[8], q[8];
    turn_two(p + 16, w->stride, high);
    turn_two(p + 48, w->stride, q);
    for (int u = 0; u < 8; u += 2) {
        ints code[8];
        ask_ahead(w, 44);
        UNROLL for (int k = 0; k < 8; k++)
            code[k] = low_nibbles(q[k]) | (I(slli_epi32)(high[k], 4) & fifth);
        few_units(f, x, c + 32 * u, code, 1, 1, s->scale + u, isum);
        UNROLL for (int k = 0; k < 8; k++)
        {
            code[k] = high_nibbles(q[k]) | (I(slli_epi32)(high[k], 3) & fifth);
            high[k] = I(srli_epi32)(high[k], 2);
        }
        if (u < 6)
            turn_two(p + 80 + 16 * u, w->stride, q);
        few_units(f, x, c + 32 * u + 32, code, 1, 1, s->scale + u + 1, isum);
    }
}

INLINE void q6_k_head(const uint8_t *p, size_t stride, struct few_super *s)
{
    ints v[4];
    s->d = halves_at(p + 208, stride);
    turn_rows(p + 192, stride, v);
    UNROLL for (int k = 0; k < 4; k++)
    {
        s->scale[4 * k] = I(srai_epi32)(I(slli_epi32)(v[k], 24), 24);
        s->scale[4 * k + 1] = I(srai_epi32)(I(slli_epi32)(v[k], 16), 24);
        s->scale[4 * k + 2] = I(srai_epi32)(I(slli_epi32)(v[k], 8), 24);
        s->scale[4 * k + 3] = I(srai_epi32)(v[k], 24);
    }
}

/* 16 columns each of four units, two apart: low nibbles of a and b, then their high nibbles; the
 * upper two bits of each from a byte of c. */
INLINE void q6_k_piece(const struct native_format *f, const uint8_t *a, const uint8_t *c,
                       size_t stride, const struct native_acts *x, int64_t column,
                       const ints *scale, ints *isum)
{
    const ints two = I(set1_epi8)(0x30);
    ints q[4], high[4], code[8];
    turn_rows(c, stride, high);
    turn_rows(a, stride, q);
    UNROLL for (int k = 0; k < 4; k++)
    {
        code[k] = low_nibbles(q[k]) | (I(slli_epi32)(high[k], 4) & two);
        code[4 + k] = high_nibbles(q[k]) | (high[k] & two);
    }
    few_units(f, x, column, code, 2, 4, scale, isum);
    turn_rows(a + 32, stride, q);
    UNROLL for (int k = 0; k < 4; k++)
    {
        code[k] = low_nibbles(q[k]) | (I(slli_epi32)(high[k], 2) & two);
        code[4 + k] = high_nibbles(q[k]) | (I(srli_epi32)(high[k], 2) & two);
    }
    few_units(f, x, column + 32, code, 2, 4, scale + 2, isum);
}

INLINE void q6_k_units(const struct native_format *f, const uint8_t *p, struct few_rows *w,
                       const struct native_acts *x, int64_t c, const struct few_super *s,
                       ints *isum)
{
    for (int i = 0; i < 4; i++) {
        const int half = i / 2, piece = i % 2;
        ask_ahead(w, 52 + piece);
        q6_k_piece(f, p + 64 * half + 16 * piece, p + 128 + 32 * half + 16 * piece, w->stride, x,
                   c + 128 * half + 16 * piece, s->scale + 8 * half + piece, isum);
    }
}

INLINE void iq4_xs_head(const uint8_t *p, size_t stride, struct few_super *s)
{
    ints v[4];
    turn_rows(p, stride, v);
    s->d = low_halves(v[0]);
    UNROLL for (int u = 0; u < 8; u++)
    {
        const ints low = I(srli_epi32)(v[1], 4 * u) & ints_of(15);
        const ints high = I(srli_epi32)(v[0], 12 + 2 * u) & ints_of(48);
        s->scale[u] = I(sub_epi32)(low | high, ints_of(32));
    }
}

INLINE void iq4_xs_units(const struct native_format *f, const uint8_t *p, struct few_rows *w,
                         const struct native_acts *x, int64_t c, const struct few_super *s,
                         ints *isum)
{
    ints q[4];
    turn_rows(p + 8, w->stride, q);
    for (int u = 0; u < 8; u++) {
        ints code[8];
        ask_ahead(w, 17);
        nibbles_of(q, code);
        look_up(code, 8);
        if (u < 7)
            turn_rows(p + 24 + 16 * u, w->stride, q);
        few_units(f, x, c + 32 * u, code, 1, 1, s->scale + u, isum);
    }
}

INLINE void tq2_0_scales(const uint8_t *p, size_t stride, struct few_super *s)
{
    s->d = halves_at(p, stride);
    UNROLL for (int u = 0; u < 8; u++) s->scale[u] = ints_of(1);
}

INLINE void tq2_0_head(const uint8_t *p, size_t stride, struct few_super *s)
{
    tq2_0_scales(p + 64, stride, s);
}

INLINE void tq2_0_units(const struct native_format *f, const uint8_t *p, struct few_rows *w,
                        const struct native_acts *x, int64_t c, const struct few_super *s,
                        ints *isum)
{
    for (int h = 0; h < 2; h++) {
        ints q[8], code[8];
        ask_ahead(w, 33);
        turn_two(p + 32 * h, w->stride, q);
        for (int k = 0; k < 4; k++) {
            UNROLL for (int i = 0; i < 8; i++)
            {
                code[i] = q[i] & I(set1_epi8)(3);
                q[i] = I(srli_epi32)(q[i], 2);
            }
            few_units(f, x, c + 128 * h + 32 * k, code, 1, 1, s->scale, isum);
        }
    }
}

INLINE void q2_k_head(const uint8_t *p, size_t stride, struct few_super *s)
{
    const ints both = dwords_at(p + 80, stride);
    ints v[4];
    s->d = low_halves(both);
    s->m = high_halves(both);
    turn_rows(p, stride, v);
    UNROLL for (int k = 0; k < 4; k++)
    {
        four_scales(low_nibbles(v[k]), s->scale + 4 * k);
        four_minima(high_nibbles(v[k]), s->min + 2 * k);
    }
}

INLINE void q2_k_units(const struct native_format *f, const uint8_t *p, struct few_rows *w,
                       const struct native_acts *x, int64_t c, const struct few_super *s,
                       ints *isum)
{
    for (int h = 0; h < 2; h++) {
        ints q[8], code[8];
        ask_ahead(w, 42);
        turn_two(p + 16 + 32 * h, w->stride, q);
        for (int k = 0; k < 4; k++) {
            UNROLL for (int i = 0; i < 8; i++)
            {
                code[i] = q[i] & I(set1_epi8)(3);
                q[i] = I(srli_epi32)(q[i], 2);
            }
            few_units(f, x, c + 128 * h + 32 * k, code, 2, 1, s->scale + 8 * h + 2 * k, isum);
        }
    }
}

/* Four scales side by side: nibbles, and two bits more from one of three dwords. */
INLINE void q3_k_scales(const uint8_t *p, size_t stride, struct few_super *s)
{
    const ints a = dwords_at(p, stride), b = dwords_at(p + 4, stride);
    const ints two = dwords_at(p + 8, stride);
    s->d = halves_at(p + 12, stride);
    UNROLL for (int k = 0; k < 4; k++)
    {
        const ints from = k & 1 ? b : a, low = k & 2 ? high_nibbles(from) : low_nibbles(from);
        const ints high = I(srli_epi32)(two, 2 * k) & I(set1_epi8)(3);
        four_scales(low | I(slli_epi32)(high, 4), s->scale + 4 * k);
        UNROLL for (int i = 0; i < 4; i++)
            s->scale[4 * k + i] = I(sub_epi32)(s->scale[4 * k + i], ints_of(32));
    }
}

INLINE void q3_k_head(const uint8_t *p, size_t stride, struct few_super *s)
{
    q3_k_scales(p + 96, stride, s);
}

INLINE void q3_k_units(const struct native_format *f, const uint8_t *p, struct few_rows *w,
                       const struct native_acts *x, int64_t c, const struct few_super *s,
                       ints *isum)
{
    ints high[8];
    turn_two(p, w->stride, high);
    for (int h = 0; h < 2; h++) {
        ints q[8], code[8];
        ask_ahead(w, 55);
        turn_two(p + 32 + 32 * h, w->stride, q);
        for (int k = 0; k < 4; k++) {
            UNROLL for (int i = 0; i < 8; i++)
            {
                const ints third = I(slli_epi32)(high[i], 2) & I(set1_epi8)(4);
                code[i] = (q[i] & I(set1_epi8)(3)) | third;
                q[i] = I(srli_epi32)(q[i], 2);
                high[i] = I(srli_epi32)(high[i], 1);
            }
            few_units(f, x, c + 128 * h + 32 * k, code, 2, 1, s->scale + 8 * h + 2 * k, isum);
        }
    }
}

FEW_SUPERS(q2_k, 84, q2_k_head, q2_k_units)
FEW_SUPERS(q3_k, 110, q3_k_head, q3_k_units)
FEW_SUPERS(tq2_0, 66, tq2_0_head, tq2_0_units)
FEW_SUPERS(q4_k, 144, k4_head, q4_k_units)
FEW_SUPERS(q5_k, 176, k4_head, q5_k_units)
FEW_SUPERS(q6_k, 210, q6_k_head, q6_k_units)
FEW_SUPERS(iq4_xs, 136, iq4_xs_head, iq4_xs_units)

#endif
#endif
