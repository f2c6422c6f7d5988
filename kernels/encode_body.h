/* SPDX-License-Identifier: MIT */
/* Searches of the encoders, written once: each encode_LEVEL.c includes this with its LEVEL_VECTOR.
 *
 * Sixteen blocks (or sub-blocks) lie side by side, one in each lane, and every lane goes through
 * the steps that a single block would: nothing is added across lanes but in a fixed order, so that
 * the size of vectors changes no bit. Blocks are first divided by a power of two to 1 <= largest
 * < 2, so that squares neither overflow nor vanish. */
#ifndef QDB_KERNELS_ENCODE_BODY_H
#define QDB_KERNELS_ENCODE_BODY_H

#include "kernels/encode_levels_body.h"

enum { GROUP = 16 };

struct group {
    float x[ENCODE_BLOCK][GROUP], w[ENCODE_BLOCK][GROUP]; /* element, lane */
    float low[GROUP], high[GROUP];                        /* the least and the largest x */
    float unit[GROUP];                                    /* the power of two taken out of x */
    float top[GROUP]; /* the largest size before that, of all lanes that share the unit */
};

#define EACH_FOUR  _Pragma("GCC unroll 4")
#define EACH_TRY   _Pragma("GCC unroll 16") /* what the tries bring is known then */
#define EACH_LANES for (int at = 0; at < GROUP; at += WIDE)

/* ---- blocks into lanes ---- */

/* low, high: the least and the largest in each lane. */
INLINE void lanes_of(const float *from, int n, int count, float to[][GROUP], float low[GROUP],
                     float high[GROUP])
{
    static const float none[ENCODE_BLOCK];
    for (int lane = 0; lane < GROUP; lane += WIDE) {
        part least = all(INFINITY), most = all(-INFINITY);
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
                least = part_min(v[k], least);
                most = part_max(v[k], most);
            }
        }
        part_to(low + lane, least);
        part_to(high + lane, most);
    }
}

/* The largest sizes, of `per` neighbouring lanes in common. */
INLINE void tops_of(const float low[GROUP], const float high[GROUP], int per, float top[GROUP])
{
    EACH_LANES part_to(top + at, part_max(part_at(high + at), -part_at(low + at)));
    for (int lane = 0; lane < GROUP && per > 1; lane += per) {
        float most = 0;
        for (int k = 0; k < per; k++)
            most = top[lane + k] > most ? top[lane + k] : most;
        for (int k = 0; k < per; k++)
            top[lane + k] = most;
    }
}

/* The power of two at or below top in each lane, and whether to divide by it: where all are near 1
 * there is no need, and no bit of any result that it would change; they are 1 then. */
INLINE bool units_of(const float top[GROUP], float unit[GROUP])
{
    int32_t far[GROUP], any = 0;
    EACH_LANES {
        const part t = part_at(top + at);
        const whole_part e = (whole_part)t & 0x7f800000;
        const whole_part out = (t != all(0)) & ((t <= all(0x1p-16f)) | (t >= all(0x1p16f)));
        memcpy(far + at, &out, sizeof out);
        part_to(unit + at, part_min(part_max((part)e, all(0x1p-126f)), all(0x1p125f)));
    }
    for (int lane = 0; lane < GROUP; lane++)
        any |= far[lane];
    EACH_LANES part_to(unit + at, any ? part_at(unit + at) : all(1));
    return any;
}

/* 1 / unit, without a division: a power of two from 2^-126 to 2^125. */
INLINE part per_unit(const float unit[GROUP], int at)
{
    return (part)((254 << 23) - (whole_part)part_at(unit + at));
}

INLINE void divide_lanes(float v[][GROUP], int n, const float unit[GROUP])
{
    EACH_LANES {
        const part by = per_unit(unit, at);
        EACH_FOUR for (int i = 0; i < n; i++)
            part_to(&v[i][at], part_at(&v[i][at]) * by);
    }
}

/* Weights of each lane; where nothing counts, everything counts alike. */
INLINE void load_weights(struct group *g, const float *w, int n, int count, int per)
{
    float low[GROUP], top[GROUP], unit[GROUP];
    lanes_of(w, n, count, g->w, low, top);
    tops_of(low, top, per, top);
    EACH_LANES {
        const whole_part none = part_at(top + at) == all(0);
        for (int i = 0; i < n; i++)
            part_to(&g->w[i][at], part_choose(none, all(1), part_at(&g->w[i][at])));
        part_to(top + at, part_choose(none, all(1), part_at(top + at)));
    }
    if (units_of(top, unit))
        divide_lanes(g->w, n, unit);
}

/* `count` blocks of n elements, `per` of which share one unit. */
INLINE void group_load(struct group *g, const float *x, const float *w, int n, int count, int per)
{
    lanes_of(x, n, count, g->x, g->low, g->high);
    tops_of(g->low, g->high, per, g->top);
    if (units_of(g->top, g->unit)) {
        divide_lanes(g->x, n, g->unit);
        divide_lanes(&g->low, 1, g->unit);
        divide_lanes(&g->high, 1, g->unit);
    }
    if (w)
        load_weights(g, w, n, count, per);
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
INLINE part weight_at(const struct group *g, bool weighted, int i, int at)
{
    return weighted ? part_at(&g->w[i][at]) : all(1);
}

/* ---- one scale ---- */

struct sums {
    part xl, ll; /* of weight * x * level, weight * level^2 */
};

/* Levels nearest to x * inverse, of which abs() <= reach. */
INLINE struct sums scale_sums(const struct group *g, bool weighted, enum levels kind, int n, int at,
                              part inverse, float low, float high, float reach)
{
    struct sums s = { all(0), all(0) };
    EACH_FOUR for (int i = 0; i < n; i++)
    {
        const part x = part_at(&g->x[i][at]);
        const part l = nearest_within(kind, x * inverse, low, high, -reach, reach);
        const part wl = weighted ? part_at(&g->w[i][at]) * l : l;
        s.xl += wl * x;
        s.ll = weighted ? s.ll + wl * l : add_square(s.ll, l);
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

/* Of IQ4_NL and IQ4_XS, without importances and with. */
#define TRIES_IQ4 \
    { \
        14, { -127, -139, -135, -131, -123, -119, -115, -110, 113, 125, 121, 117, 109, 105 }, 2, \
            false \
    }
static const struct tries tries_iq4[2] = { TRIES_IQ4, TRIES_IQ4 };

/* The mean size of the lane's elements. */
INLINE part mean_size(const struct group *g, int n, int at)
{
    part sum = all(0);
    EACH_FOUR for (int i = 0; i < n; i++)
        sum += size_of(part_at(&g->x[i][at]));
    return sum * (1.0f / (float)n);
}

/* The scale with the least squared error that the tries and refinements find, by what its levels
 * explain: xl^2 / ll is the squared error less at the best scale for given levels, xl / ll. */
INLINE struct sums best_scale(const struct group *g, bool weighted, enum levels kind, int n, int at,
                              float low, float high, const struct tries *t)
{
    const part least = part_at(g->low + at), most = part_at(g->high + at);
    const part top = t->mean ? mean_size(g, n, at) : part_choose(most < -least, least, most);
    const part per_top = over(all(1), top);
    struct sums best = { all(0), all(0) };
    part gain = all(0);
    EACH_TRY for (int k = 0; k < t->n + t->refine; k++)
    {
        const bool given = k < t->n;
        const part inverse = given ? t->at[k] * per_top : over(best.ll, best.xl);
        const float reach = given && !t->mean ? fabsf(t->at[k]) : INFINITY;
        const struct sums s = scale_sums(g, weighted, kind, n, at, inverse, low, high, reach);
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

/* Scales to halves: the halves themselves, and in units of the lanes. */
INLINE void halves(const struct group *g, const float d[GROUP], float half[GROUP], float in[GROUP])
{
    EACH_LANES {
        const part h = half_part(part_at(d + at) * part_at(g->unit + at));
        part_to(half + at, h);
        part_to(in + at, h * per_unit(g->unit, at));
    }
}

/* Lanes whose distances from `low`, of which `top` is the largest, may be multiples of one number,
 * at most `most` times it: Euclid's algorithm on the largest and the least of a few. */
INLINE whole_part suspects(const struct group *g, int at, part low, part top, float most)
{
    part a = top, b = all(INFINITY);
    UNROLL for (int i = 0; i < 4; i++)
    {
        const part v = size_of(part_at(&g->x[i][at]) - low);
        b = part_choose((v < b) & (v > all(0)), v, b);
    }
    b = or_zero(b < all(INFINITY), b);
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

#endif
