/* SPDX-License-Identifier: MIT */
/* Searches of the encoders, written once: each encode_LEVEL.c includes this with its LEVEL_VECTOR.
 *
 * Sixteen blocks (or sub-blocks) lie side by side, one in each lane, and every lane goes through
 * the steps that a single block would: nothing is added across lanes but in a fixed order, so that
 * the size of vectors changes no bit. Blocks are first divided by a power of two to 1 <= largest
 * < 2, so that squares neither overflow nor vanish. */
#ifndef QDB_KERNELS_ENCODE_BODY_H
#define QDB_KERNELS_ENCODE_BODY_H

#include <math.h>
#include <stdbool.h>

#include "kernels/codec.h"
#include "kernels/encoder.h"
#include "kernels/parts_body.h"

enum { GROUP = 16 };

struct group {
    float x[ENCODE_BLOCK][GROUP], w[ENCODE_BLOCK][GROUP]; /* element, lane */
    float unit[GROUP];                                    /* the power of two taken out of x */
    float top[GROUP];                                     /* the largest size before that */
};

/* The levels that codes stand for. */
enum levels { LEVELS_EVEN, LEVELS_IQ4, LEVELS_E2M1 };

#define EACH_FOUR  _Pragma("GCC unroll 4")
#define EACH_LANES for (int at = 0; at < GROUP; at += WIDE)

INLINE part all(float f) { return (part){ 0 } + f; }
INLINE part size_of(part v) { return (part)((whole_part)v & 0x7fffffff); }
INLINE part or_zero(whole_part mask, part v) { return (part)((whole_part)v & mask); }

/* To nearest, ties to even, for abs(v) < 2^22: 1.5 * 2^23 leaves no room for a fraction. Of zeros
 * alone the sign depends on the level; no sum and no code does on that. */
INLINE part whole(part v)
{
#if defined __AVX512F__ && LEVEL_VECTOR == 64
    return (part)_mm512_roundscale_ps((__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined __AVX2__ && LEVEL_VECTOR == 32
    return (part)_mm256_round_ps((__m256)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    return (v + 12582912.0f) - 12582912.0f;
#endif
}

INLINE part over(part a, part b) { return or_zero(b != all(0), a / b); } /* 0 for b = 0 */

/* ---- blocks into lanes ---- */

/* top: the largest size in each lane. */
INLINE void lanes_of(const float *from, int n, int count, float to[][GROUP], float top[GROUP])
{
    static const float none[ENCODE_BLOCK];
    for (int lane = 0; lane < GROUP; lane += WIDE) {
        part most = all(0);
        for (int i = 0; i < n; i += WIDE) {
            part v[WIDE];
            UNROLL for (int k = 0; k < WIDE; k++)
            {
                const float *block = lane + k < count ? from + (lane + k) * n : none;
                v[k] = part_at(block + i);
            }
            transpose_parts(v);
            UNROLL for (int k = 0; k < WIDE; k++)
            {
                part_to(&to[i + k][lane], v[k]);
                most = part_max(size_of(v[k]), most);
            }
        }
        part_to(top + lane, most);
    }
}

/* The largest sizes of `per` neighbouring lanes become common to them. */
INLINE void share(float top[GROUP], int per)
{
    for (int lane = 0; lane < GROUP; lane += per) {
        float most = 0;
        for (int k = 0; k < per; k++)
            most = top[lane + k] > most ? top[lane + k] : most;
        for (int k = 0; k < per; k++)
            top[lane + k] = most;
    }
}

/* Divide each lane by the power of two at or below top; that is returned in unit. Where all are
 * near 1 there is no need, and no bit of any result that it would change. */
INLINE void divide_lanes(float v[][GROUP], int n, const float top[GROUP], float unit[GROUP])
{
    float inverse[GROUP];
    bool near = true;
    for (int lane = 0; lane < GROUP; lane++) {
        near &= top[lane] == 0 || (top[lane] > 0x1p-16f && top[lane] < 0x1p16f);
        unit[lane] = 1;
    }
    if (near)
        return;
    for (int lane = 0; lane < GROUP; lane++) {
        uint32_t e = bits_of_float(top[lane]) >> 23;
        e = e < 1 ? 1 : e > 252 ? 252 : e;
        unit[lane] = float_of_bits(e << 23);
        inverse[lane] = float_of_bits((254 - e) << 23);
    }
    EACH_LANES {
        const part by = part_at(inverse + at);
        EACH_FOUR for (int i = 0; i < n; i++)
            part_to(&v[i][at], part_at(&v[i][at]) * by);
    }
}

/* `count` blocks of n elements, `per` of which share one unit. */
INLINE void group_load(struct group *g, const float *x, const float *w, int n, int count, int per)
{
    float top[GROUP], ignore[GROUP];
    lanes_of(x, n, count, g->x, g->top);
    share(g->top, per);
    divide_lanes(g->x, n, g->top, g->unit);
    if (!w)
        return;
    lanes_of(w, n, count, g->w, top);
    share(top, per);
    EACH_LANES { /* nothing counts: everything counts alike */
        const whole_part none = part_at(top + at) == all(0);
        for (int i = 0; i < n; i++)
            part_to(&g->w[i][at], part_choose(none, all(1), part_at(&g->w[i][at])));
        part_to(top + at, part_choose(none, all(1), part_at(top + at)));
    }
    divide_lanes(g->w, n, top, ignore);
}

typedef uint8_t bytes __attribute__((vector_size(GROUP)));

/* codes[element][lane] to blocks of n, a multiple of 16, in a row: squares of bytes, rows becoming
 * columns by four zips of vectors i and i + 8. */
INLINE void codes_out(uint8_t code[][GROUP], int n, struct block_codes *out, int per)
{
    for (int i = 0; i < n; i += GROUP) {
        bytes v[GROUP], z[GROUP];
        _Pragma("GCC unroll 16") for (int k = 0; k < GROUP; k++)
            memcpy(&v[k], code[i + k], sizeof v[k]);
        _Pragma("GCC unroll 4") for (int step = 0; step < 4; step++)
        {
            _Pragma("GCC unroll 8") for (int k = 0; k < GROUP / 2; k++)
            {
                z[2 * k] = __builtin_shufflevector(v[k], v[k + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4,
                                                   20, 5, 21, 6, 22, 7, 23);
                z[2 * k + 1] = __builtin_shufflevector(v[k], v[k + 8], 8, 24, 9, 25, 10, 26, 11, 27,
                                                       12, 28, 13, 29, 14, 30, 15, 31);
            }
            _Pragma("GCC unroll 16") for (int k = 0; k < GROUP; k++) v[k] = z[k];
        }
        _Pragma("GCC unroll 16") for (int k = 0; k < GROUP; k++)
            memcpy(&out[k / per].code[k % per * n + i], &v[k], sizeof v[k]);
    }
}

INLINE void put_codes(whole_part v, uint8_t *to)
{
#if defined __AVX512F__ && LEVEL_VECTOR == 64
    _mm_storeu_si128((__m128i *)to, _mm512_cvtepi32_epi8((__m512i)v));
    return;
#endif
    int32_t lane[WIDE];
    memcpy(lane, &v, sizeof lane);
    UNROLL for (int k = 0; k < WIDE; k++) to[k] = (uint8_t)lane[k];
}

/* ---- levels ---- */

/* Levels of uneven formats (E2M1: of absolute values, doubled), ascending, and how far from each
 * the next one is; a number half way goes up. */
static const float iq4_level[16] = { -127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113 };
static const float e2m1_level[8] = { 0, 1, 2, 3, 4, 6, 8, 12 };

#if defined __AVX512F__ && LEVEL_VECTOR == 64
/* Entry `index` of a table of 32. */
INLINE part table_at(const float *table, whole_part index)
{
    return (part)_mm512_permutex2var_ps(_mm512_loadu_ps(table), (__m512i)index,
                                        _mm512_loadu_ps(table + 16));
}

/* By steps of 8 from -128, of which none has more than one boundary: where that is (999: nowhere),
 * and the levels nearest below and above it. */
INLINE part nearest_iq4(part v)
{
    static const float edge[32] = {
        999, -115.5f, 999, 999, -93.5f, 999, -74, 999, -57, 999, -42, 999, -28.5f, 999, 999,
        -4.5f, 7, 999, 19, 31.5f, 999, 45.5f, 999, 61, 999, 79, 999, 999, 101, 999, 999, 999
    };
    static const float below[32] = {
        -127, -127, -104, -104, -104, -83, -83, -65, -65, -49, -49, -35, -35, -22, -10, -10, 1,
        13, 13, 25, 38, 38, 53, 53, 69, 69, 89, 89, 89, 113, 113, 113
    };
    static const float above[32] = {
        -127, -104, -104, -104, -83, -83, -65, -65, -49, -49, -35, -35, -22, -22, -10, 1, 13, 13,
        25, 38, 38, 53, 53, 69, 69, 89, 89, 89, 113, 113, 113, 113
    };
    const part in = part_min(part_max(v, all(-127)), all(113));
    const whole_part step = __builtin_convertvector((in + 128) * 0.125f, whole_part);
    return part_choose(in >= table_at(edge, step), table_at(above, step), table_at(below, step));
}

INLINE part nearest_e2m1(part v)
{
    static const float level[32] = { 0, 1, 1, 2, 2, 3,  3,  4,  4,  4,  6,  6,  6,  6,  8,  8,
                                     8, 8, 8, 8, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12 };
    const part twice = part_min(size_of(v) * 2, all(31));
    const part l = table_at(level, __builtin_convertvector(twice, whole_part));
    return (part)((whole_part)l | ((whole_part)v & INT32_MIN));
}
#else
INLINE part nearest_iq4(part v)
{
    part l = all(iq4_level[0]);
    UNROLL for (int k = 1; k < 16; k++)
        l += or_zero(v >= all((iq4_level[k - 1] + iq4_level[k]) / 2),
                     all(iq4_level[k] - iq4_level[k - 1]));
    return l;
}

INLINE part nearest_e2m1(part v)
{
    const part size = size_of(v);
    part l = all(0);
    UNROLL for (int k = 1; k < 8; k++)
        l += or_zero(size >= all((e2m1_level[k - 1] + e2m1_level[k]) / 2),
                     all(e2m1_level[k] - e2m1_level[k - 1]));
    return (part)((whole_part)l | ((whole_part)v & INT32_MIN));
}
#endif

/* The level nearest to v. */
INLINE part nearest(enum levels kind, part v, float low, float high)
{
    return kind == LEVELS_IQ4    ? nearest_iq4(v)
           : kind == LEVELS_E2M1 ? nearest_e2m1(v)
                                 : whole(part_min(part_max(v, all(low)), all(high)));
}

/* The code of a level. */
INLINE whole_part code_of(enum levels kind, part level, float low)
{
    whole_part code = { 0 };
    if (kind == LEVELS_EVEN)
        return __builtin_convertvector(level - low, whole_part);
    if (kind == LEVELS_IQ4) {
        UNROLL for (int k = 1; k < 16; k++) code -= level >= all(iq4_level[k]);
        return code;
    }
    UNROLL for (int k = 1; k < 8; k++) code -= size_of(level) >= all(e2m1_level[k]);
    return code | ((((whole_part)level & INT32_MIN) != 0) & (code != 0) & 8);
}

INLINE part weight_at(const struct group *g, bool weighted, int i, int at)
{
    return weighted ? part_at(&g->w[i][at]) : all(1);
}

/* ---- one scale ---- */

struct sums {
    part xl, ll; /* of weight * x * level, weight * level^2 */
};

/* Levels nearest to x * inverse. */
INLINE struct sums scale_sums(const struct group *g, bool weighted, enum levels kind, int n, int at,
                              part inverse, float low, float high)
{
    struct sums s = { all(0), all(0) };
    EACH_FOUR for (int i = 0; i < n; i++)
    {
        const part x = part_at(&g->x[i][at]), l = nearest(kind, x * inverse, low, high);
        const part wl = weighted ? part_at(&g->w[i][at]) * l : l;
        s.xl += wl * x;
        s.ll += wl * l;
    }
    return s;
}

/* How the steps to try are spread: inverse scales at[k] / (the element of largest size, or the mean
 * of sizes). */
struct tries {
    int n;
    float at[16];
    int refine; /* rounds of: best scale for the levels, nearest levels for the scale */
    bool mean;
};

/* The scale with the least squared error that the tries and refinements find, by what its levels
 * explain: xl^2 / ll is the squared error less at the best scale for given levels, xl / ll. */
INLINE struct sums best_scale(const struct group *g, bool weighted, enum levels kind, int n, int at,
                              float low, float high, const struct tries *t)
{
    part top = all(0);
    EACH_FOUR for (int i = 0; i < n; i++)
    {
        const part x = part_at(&g->x[i][at]);
        top = t->mean ? top + size_of(x) : part_choose(size_of(x) > size_of(top), x, top);
    }
    if (t->mean)
        top *= 1.0f / (float)n;
    const part per_top = over(all(1), top);
    struct sums best = { all(0), all(0) };
    part gain = all(0);
    for (int k = 0; k < t->n + t->refine; k++) {
        const part inverse = k < t->n ? t->at[k] * per_top : over(best.ll, best.xl);
        const struct sums s = scale_sums(g, weighted, kind, n, at, inverse, low, high);
        const part by = over(s.xl * s.xl, s.ll);
        const whole_part better = by > gain;
        gain = part_choose(better, by, gain);
        best.xl = part_choose(better, s.xl, best.xl);
        best.ll = part_choose(better, s.ll, best.ll);
    }
    return best;
}

/* To nearest half, none of them infinite. */
INLINE part half_part(part v)
{
    v = part_min(part_max(v, all(-ENCODE_HALF)), all(ENCODE_HALF));
#if defined __AVX512F__ && LEVEL_VECTOR == 64
    return (part)_mm512_cvtph_ps(_mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT));
#elif defined __F16C__ && LEVEL_VECTOR == 32
    return (part)_mm256_cvtph_ps(_mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT));
#else
    float f[WIDE];
    part_to(f, v);
    for (int k = 0; k < WIDE; k++)
        f[k] = encode_half(f[k]);
    return part_at(f);
#endif
}

/* 1 / unit, without a division: a power of two from 2^-126 to 2^125. */
INLINE part per_unit(const struct group *g, int at)
{
    return (part)((254 << 23) - (whole_part)part_at(g->unit + at));
}

/* Scales to halves: the halves themselves, and in units of the lanes. */
INLINE void halves(const struct group *g, const float d[GROUP], float half[GROUP], float in[GROUP])
{
    EACH_LANES {
        const part h = half_part(part_at(d + at) * part_at(g->unit + at));
        part_to(half + at, h);
        part_to(in + at, h * per_unit(g, at));
    }
}

/* Lanes whose distances from `low` may be multiples of one number, at most `most` times it:
 * Euclid's algorithm on the largest and the least distance that is not 0. */
INLINE whole_part suspects(const struct group *g, int n, int at, part low, float most)
{
    part a = all(0), b = all(INFINITY);
    EACH_FOUR for (int i = 0; i < n; i++)
    {
        const part v = size_of(part_at(&g->x[i][at]) - low);
        a = part_max(v, a);
        b = part_choose((v < b) & (v > all(0)), v, b);
    }
    const part least = a / (most + 0.5f);
    whole_part maybe = a > all(0);
    for (int k = 0; k < 5; k++) {
        maybe &= (b >= least) | (b == all(0));
        const part rest = size_of(a - whole(a / b) * b);
        a = part_choose(b == all(0), a, b);
        b = or_zero(b != all(0), rest);
    }
    return maybe;
}

/* ---- formats with one scale per block of 32 or more, levels around zero ---- */

struct even {
    int n, bytes;
    enum levels kind;
    float low, high;
    const struct tries *tries; /* [2]: without importances, with */
    struct exact_shape exact;
    pack_fn *pack;
};

INLINE void encode_even_group(const struct even *f, bool weighted, const float *x, const float *w,
                              int count, uint8_t *out)
{
    struct group g;
    struct block_codes b[GROUP];
    uint8_t code[ENCODE_BLOCK][GROUP];
    float d[GROUP], half[GROUP];
    int32_t maybe[GROUP];
    group_load(&g, x, weighted ? w : NULL, f->n, count, 1);
    EACH_LANES {
        const struct sums s =
            best_scale(&g, weighted, f->kind, f->n, at, f->low, f->high, f->tries + weighted);
        part_to(d + at, over(s.xl, s.ll));
        const whole_part m = suspects(&g, f->n, at, all(0), (float)f->exact.most);
        memcpy(maybe + at, &m, sizeof m);
    }
    halves(&g, d, half, d);
    EACH_LANES {
        const part inverse = over(all(1), part_at(d + at));
        for (int i = 0; i < f->n; i++) {
            const part l = nearest(f->kind, part_at(&g.x[i][at]) * inverse, f->low, f->high);
            put_codes(code_of(f->kind, l, f->low), &code[i][at]);
        }
    }
    codes_out(code, f->n, b, 1);
    for (int k = 0; k < count; k++) {
        b[k].d = half[k];
        if (maybe[k])
            exact_levels(&f->exact, x + k * f->n, &b[k]);
        f->pack(&b[k], out + k * f->bytes);
    }
}

INLINE void encode_even(const struct even *f, const float *x, const float *w, int64_t n,
                        uint8_t *out)
{
    for (int64_t k = 0; k < n; k += GROUP) {
        const int count = n - k < GROUP ? (int)(n - k) : GROUP;
        if (w)
            encode_even_group(f, true, x + k * f->n, w + k * f->n, count, out + k * f->bytes);
        else
            encode_even_group(f, false, x + k * f->n, NULL, count, out + k * f->bytes);
    }
}

static int even_code_2(int level) { return level >= -1 && level <= 1 ? level + 1 : -1; }
static int even_code_4(int level) { return level >= -8 && level <= 7 ? level + 8 : -1; }
static int even_code_5(int level) { return level >= -16 && level <= 15 ? level + 16 : -1; }
static int even_code_8(int level) { return level >= -127 && level <= 127 ? level + 127 : -1; }

static const struct tries tries_tq[2] = { { 2, { 0.6f, 0.9f }, 4, true },
                                          { 3, { 0.6f, 0.8f, 1.1f }, 6, true } };
/* Few without importances, where speed is that of reading; many with. */
static const struct tries tries_q4_0[2] = {
    { 3, { -8, -8.6f, 7.3f }, 1, false },
    { 9, { -8, -8.9f, -8.6f, -8.3f, -7.7f, -7.4f, -7.1f, 7, 7.4f }, 2, false },
};
static const struct tries tries_q5_0[2] = {
    { 3, { -16, -16.7f, 15.3f }, 1, false },
    { 9, { -16, -16.9f, -16.6f, -16.3f, -15.7f, -15.4f, -15.1f, 15, 15.4f }, 2, false },
};
static const struct tries tries_q8_0[2] = { { 1, { 127 }, 1, false }, { 1, { 127 }, 1, false } };
#define TRIES_IQ4 \
    { \
        14, { -127, -139, -135, -131, -123, -119, -115, -110, 113, 125, 121, 117, 109, 105 }, 2, \
            false \
    }
static const struct tries tries_iq4[2] = { TRIES_IQ4, TRIES_IQ4 };

/* name; elements, bytes, levels, low, high, tries, exact (1 scale, elements, most, code) */
#define EVEN(name, n, bytes, kind, low, high, tries, most, code) \
    static void encode_##name(const float *x, const float *w, int64_t blocks, uint8_t *out) \
    { \
        static const struct even f = { n, bytes, kind, low, high, tries, \
                                       { 1, n, most, 1, 1, code }, pack_##name }; \
        encode_even(&f, x, w, blocks, out); \
    }
EVEN(q4_0, 32, 18, LEVELS_EVEN, -8, 7, tries_q4_0, 8, even_code_4)
EVEN(q5_0, 32, 22, LEVELS_EVEN, -16, 15, tries_q5_0, 16, even_code_5)
EVEN(q8_0, 32, 34, LEVELS_EVEN, -127, 127, tries_q8_0, 127, even_code_8)
EVEN(iq4_nl, 32, 18, LEVELS_IQ4, -127, 113, tries_iq4, 127, code_of_iq4)
EVEN(tq1_0, 256, 54, LEVELS_EVEN, -1, 1, tries_tq, 1, even_code_2)
EVEN(tq2_0, 256, 66, LEVELS_EVEN, -1, 1, tries_tq, 1, even_code_2)

/* ---- plain numbers ---- */

static void encode_f32(const float *x, const float *w, int64_t n, uint8_t *out)
{
    (void)w;
    memcpy(out, x, (size_t)n * sizeof *x);
}

static void encode_f16(const float *x, const float *w, int64_t n, uint8_t *out)
{
    (void)w;
    int64_t i = 0;
#if defined __F16C__
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(out + 2 * i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
#endif
    for (; i < n; i++) {
        const uint16_t h = f32_to_f16(x[i]);
        memcpy(out + 2 * i, &h, sizeof h);
    }
}

/* Finite values alone: half of what is cut off is added, less a bit where that makes a tie even. */
static void encode_bf16(const float *x, const float *w, int64_t n, uint8_t *out)
{
    (void)w;
    for (int64_t i = 0; i < n; i++) {
        const uint32_t bits = bits_of_float(x[i]);
        const uint16_t h = (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
        memcpy(out + 2 * i, &h, sizeof h);
    }
}

static uint32_t largest_bits(const float *x, int64_t n)
{
    uint32_t most = 0;
    for (int64_t i = 0; i < n; i++) {
        const uint32_t bits = bits_of_float(x[i]) & 0x7fffffffu;
        most = bits > most ? bits : most;
    }
    return most;
}

#endif
