/* SPDX-License-Identifier: MIT */
/* Searches of the encoders whose blocks of 256 have scales per sub-block, written once, after
 * encode_body.h. Lanes are sub-blocks: one block of sixteen, or two of eight. */
#ifndef QDB_KERNELS_ENCODE_SUPER_BODY_H
#define QDB_KERNELS_ENCODE_SUPER_BODY_H

#include "kernels/encode_body.h"

struct super {
    int sub, bytes; /* elements of a sub-block; bytes of a block */
    enum levels kind;
    float low, high;             /* levels */
    int scale_least, scale_most; /* of sub-blocks; minima are 0 .. scale_most too */
    bool minima;
    const struct tries *tries;
    int most;                    /* of abs(level) */
    int (*code)(int level);
    pack_fn *pack;
};

/* What is known of each sub-block. */
struct subs {
    float scale[GROUP], offset[GROUP];      /* best values, in units; value = scale l - offset */
    float k[GROUP], m[GROUP];               /* their integers */
    float xl[GROUP], ll[GROUP], l[GROUP];   /* weighted sums of x level, level^2, level */
    float x[GROUP], w[GROUP];               /* of x, of the weights */
    float d[GROUP], dmin[GROUP];            /* of the block, in units */
};

/* ---- a scale and a minimum for one sub-block ---- */

/* What is known of each lane before there are levels. */
struct extent {
    part w, wx, mean; /* weighted sums: 1, x; their ratio */
};

INLINE struct extent extent_of(const struct group *g, bool weighted, int n, int at)
{
    struct extent t = { .w = all(0), .wx = all(0) };
    EACH_FOUR for (int i = 0; i < n; i++)
    {
        const part x = part_at(&g->x[i][at]), w = weight_at(g, weighted, i, at);
        t.w += weighted ? w : all(0);
        t.wx += weighted ? w * x : x;
    }
    t.w = weighted ? t.w : all((float)n);
    t.mean = over(t.wx, t.w);
    return t;
}

struct affine {
    part sl, sll, sxl; /* weighted sums: level, level^2, x level */
};

/* Levels nearest to (x - zero) * inverse, which is at most `most`, and not below 0 (most INFINITY:
 * it may be anything). */
INLINE struct affine affine_sums(const struct group *g, bool weighted, int n, int at, part inverse,
                                 part zero, float high, float most)
{
    struct affine s = { all(0), all(0), all(0) };
    EACH_FOUR for (int i = 0; i < n; i++)
    {
        const part x = part_at(&g->x[i][at]);
        const part l = nearest_within(LEVELS_EVEN, (x - zero) * inverse, 0, high,
                                      most < INFINITY ? 0 : -INFINITY, most);
        const part wl = weighted ? part_at(&g->w[i][at]) * l : l;
        s.sl += wl;
        s.sll = weighted ? s.sll + wl * l : add_square(s.sll, l);
        s.sxl += wl * x;
    }
    return s;
}

/* Best scale and offset for the levels (least squares; the offset at least 0 if `minima`), and what
 * they explain of the squares of x. */
INLINE void solve_affine(const struct extent *t, const struct affine *s, bool minima, part *scale,
                         part *offset, part *gain)
{
    const part det = t->w * s->sll - s->sl * s->sl, per_det = over(all(1), det);
    part a = (t->w * s->sxl - t->wx * s->sl) * per_det;
    part b = (s->sl * s->sxl - s->sll * t->wx) * per_det; /* x = a l - b */
    /* one level for all, up to rounding: the offset alone, or the scale where it is not allowed */
    const whole_part flat = det <= 4e-6f * t->w * s->sll;
    const whole_part alone = minima ? (flat & (t->mean >= all(0))) | (~flat & (b < all(0)))
                                    : (whole_part){ 0 };
    a = part_choose(alone, over(s->sxl, s->sll), or_zero(~flat, a));
    b = or_zero(~alone, part_choose(flat, -t->mean, b));
    *scale = a;
    *offset = b;
    *gain = a * s->sxl - b * t->wx;
}

struct fit {
    part scale, offset, sl; /* sl: the weighted sum of the levels that they are best for */
};

/* Scale and offset of each lane. tries: added to the number of steps between least and largest. */
INLINE struct fit best_affine(const struct group *g, const struct extent *e, bool weighted,
                              bool minima, int n, int at, float high, const struct tries *t)
{
    const part least = part_at(g->low + at), lo = minima ? part_min(least, all(0)) : least;
    const part per_range = over(all(1), part_at(g->high + at) - lo);
    struct fit best = { all(0), -lo, all(0) };
    part most = all(-1);
    EACH_TRY for (int k = 0; k < t->n + t->refine; k++)
    {
        const bool given = k < t->n;
        const part inverse = given ? (high + t->at[k]) * per_range : over(all(1), best.scale);
        const struct affine s =
            affine_sums(g, weighted, n, at, inverse, given ? lo : -best.offset, high,
                        given ? high + t->at[k] : INFINITY);
        part scale, offset, gain;
        solve_affine(e, &s, minima, &scale, &offset, &gain);
        const whole_part better = gain > most;
        most = part_choose(better, gain, most);
        best.scale = part_choose(better, scale, best.scale);
        best.offset = part_choose(better, offset, best.offset);
        best.sl = part_choose(better, s.sl, best.sl);
    }
    return best;
}

/* ---- scales of a block to integers ---- */

/* The step d for which d * integers come nearest to v [n], errors counting by weight; integers
 * least .. most, least <= 0. The best for the integers of sixteen tries. */
INLINE float step_of(const float *v, const float *weight, int n, int least, int most)
{
    float top = 0, inverse[GROUP], vk[GROUP] = { 0 }, kk[GROUP] = { 0 };
    for (int j = 0; j < n; j++)
        top = fabsf(v[j]) > fabsf(top) ? v[j] : top;
    if (top == 0)
        return 0;
    const int end = -least > most ? least : most;
    for (int c = 0; c < GROUP; c++)
        inverse[c] = (float)end * (1.0f - 0.0125f * (float)(c - 1)) / top;
    EACH_LANES {
        part sum_vk = all(0), sum_kk = all(0);
        const part by = part_at(inverse + at);
        for (int j = 0; j < n; j++) {
            const part k = nearest(LEVELS_EVEN, v[j] * by, (float)least, (float)most);
            const part wk = weight[j] * k;
            sum_vk += wk * v[j];
            sum_kk += wk * k;
        }
        part_to(vk + at, sum_vk);
        part_to(kk + at, sum_kk);
    }
    int best = 0;
    for (int c = 1; c < GROUP; c++) /* vk^2 / kk is what they explain */
        best = vk[c] * vk[c] * kk[best] > vk[best] * vk[best] * kk[c] ? c : best;
    return kk[best] > 0 ? vk[best] / kk[best] : 1 / inverse[best];
}

/* Take those bits from two halves that would make their sum round, where `top` is the largest value
 * decoded: all values become multiples of 2^-24 of it. */
INLINE void trim_halves(part top, part *a, part *b)
{
    const whole_part e = (whole_part)top & 0x7f800000;
    const part grain = (part)((e - (23 << 23)) & (e > 24 << 23));
    const part per = (part)((254 << 23) - (whole_part)grain), most = 2048 * grain;
    *a = part_choose(size_of(*a) < most, whole(*a * per) * grain, *a); /* else none are below */
    *b = part_choose(size_of(*b) < most, whole(*b * per) * grain, *b);
}

/* d and dmin of one block to halves. */
INLINE void block_halves(const struct super *f, float unit, float *d, float *dmin)
{
    part a = all(encode_half(*d * unit)), b = all(encode_half(*dmin * unit));
    if (f->minima) {
        const part top = part_max(size_of(a) * f->high, size_of(b));
        trim_halves(top * (float)f->scale_most, &a, &b);
    }
    *d = a[0] / unit;
    *dmin = b[0] / unit;
}

INLINE part integer(part v, float least, float most)
{
    return whole(part_min(part_max(v, all(least)), all(most)));
}

/* Sums over a lane for levels nearest to (x + offset) / scale, and their squared error; without
 * minima how far that is above the sum of x^2. */
struct settled {
    part error, xl, ll, l;
};

INLINE struct settled settled_at(const struct super *f, const struct group *g, bool weighted,
                                 int at, part scale, part offset)
{
    const part inverse = over(all(1), scale);
    struct settled s = { all(0), all(0), all(0), all(0) };
    if (!f->minima) {
        const struct sums t = scale_sums(g, weighted, f->kind, f->sub, at, inverse, f->low, f->high,
                                         INFINITY);
        s.xl = t.xl;
        s.ll = t.ll;
        s.error = scale * (scale * t.ll - 2 * t.xl);
        return s;
    }
    EACH_FOUR for (int i = 0; i < f->sub; i++)
    {
        const part x = part_at(&g->x[i][at]), v = x + offset;
        const part l = nearest(f->kind, v * inverse, f->low, f->high), e = v - scale * l;
        const part w = weight_at(g, weighted, i, at), wl = weighted ? w * l : l;
        s.error += weighted ? w * e * e : e * e;
        s.xl += wl * x;
        s.ll = weighted ? s.ll + wl * l : add_square(s.ll, l);
        s.l += wl;
    }
    return s;
}

/* The integers of each sub-block next to the best ones that leave the least error, and the sums
 * for their levels. */
INLINE void settle(const struct super *f, const struct group *g, bool weighted, int at,
                   struct subs *s)
{
    const part d = part_at(s->d + at), dmin = part_at(s->dmin + at);
    const part k0 = part_at(s->k + at), m0 = part_at(s->m + at);
    part k_best = k0, m_best = m0;
    struct settled best = { all(INFINITY), all(0), all(0), all(0) };
    for (int c = 0; c < (f->minima ? 9 : 3); c++) {
        const part k = integer(k0 + (float)(c % 3 - 1), (float)f->scale_least,
                               (float)f->scale_most);
        const part m = f->minima ? integer(m0 + (float)(c / 3 - 1), 0, (float)f->scale_most) : m0;
        const struct settled t = settled_at(f, g, weighted, at, d * k, dmin * m);
        const whole_part better = t.error < best.error;
        k_best = part_choose(better, k, k_best);
        m_best = part_choose(better, m, m_best);
        best.error = part_choose(better, t.error, best.error);
        best.xl = part_choose(better, t.xl, best.xl);
        best.ll = part_choose(better, t.ll, best.ll);
        best.l = part_choose(better, t.l, best.l);
    }
    part_to(s->k + at, k_best);
    part_to(s->m + at, m_best);
    part_to(s->xl + at, best.xl);
    part_to(s->ll + at, best.ll);
    part_to(s->l + at, best.l);
}

/* d and dmin that are best for all levels and integers of the block at lanes j .. j + n. */
INLINE void resolve(const struct super *f, const struct subs *s, int j, int n, float *d,
                    float *dmin)
{
    double kk = 0, km = 0, mm = 0, xk = 0, xm = 0;
    for (int i = j; i < j + n; i++) {
        const double k = (double)s->k[i], m = (double)s->m[i];
        kk += k * k * (double)s->ll[i];
        xk += k * (double)s->xl[i];
        km += k * m * (double)s->l[i];
        mm += m * m * (double)s->w[i];
        xm += m * (double)s->x[i];
    }
    const double det = kk * mm - km * km;
    if (!f->minima || mm == 0) {
        if (kk > 0)
            *d = (float)(xk / kk);
    } else if (det > 1e-9 * kk * mm) { /* of x = d k l - dmin m */
        const double a = (xk * mm - xm * km) / det, b = (km * xk - kk * xm) / det;
        if (a > 0 && b >= 0) {
            *d = (float)a;
            *dmin = (float)b;
        }
    }
}

/* The best scale (and offset) of each lane by itself. */
INLINE void fit_subs(const struct super *f, const struct group *g, bool weighted, struct subs *s)
{
    EACH_LANES {
        const struct extent e = extent_of(g, weighted, f->sub, at);
        part_to(s->x + at, e.wx);
        part_to(s->w + at, e.w);
        if (f->minima) {
            const struct fit b =
                best_affine(g, &e, weighted, true, f->sub, at, f->high, f->tries);
            part_to(s->scale + at, b.scale);
            part_to(s->offset + at, b.offset);
            part_to(s->ll + at, e.w); /* all levels count about alike */
        } else {
            const struct sums b =
                best_scale(g, weighted, f->kind, f->sub, at, f->low, f->high, f->tries);
            part_to(s->scale + at, over(b.xl, b.ll));
            part_to(s->offset + at, all(0));
            part_to(s->ll + at, b.ll);
        }
    }
}

/* Is every sub-block of the block at lanes j .. one level? */
INLINE bool is_flat(const struct super *f, uint8_t code[][GROUP], int j, int subs)
{
    for (int i = 1; i < f->sub; i++)
        for (int lane = j; lane < j + subs; lane++)
            if (code[i][lane] != code[0][lane])
                return false;
    return true;
}

/* Such a block once more, from the means of its sub-blocks: those below 0 are minima alone, the
 * others scales alone. Many levels, scales and minima can give about the same numbers; these can be
 * found again. */
INLINE void flatten(const struct super *f, float unit, uint8_t code[][GROUP], struct subs *s, int j,
                    int subs)
{
    for (int i = j; i < j + subs; i++) {
        const float mean = s->x[i] / s->w[i];
        s->scale[i] = mean > 0 ? mean / f->high : 0;
        s->offset[i] = mean < 0 ? -mean : 0;
        for (int k = 0; k < f->sub; k++)
            code[k][i] = mean > 0 ? (uint8_t)f->high : 0;
    }
    float d = step_of(s->scale + j, s->w + j, subs, 0, f->scale_most);
    float dmin = step_of(s->offset + j, s->w + j, subs, 0, f->scale_most);
    block_halves(f, unit, &d, &dmin);
    for (int i = j; i < j + subs; i++) {
        const float k = d > 0 ? s->scale[i] / d : 0, m = dmin > 0 ? s->offset[i] / dmin : 0;
        s->d[i] = d;
        s->dmin[i] = dmin;
        s->k[i] = fminf((k + 12582912.0f) - 12582912.0f, (float)f->scale_most);
        s->m[i] = fminf((m + 12582912.0f) - 12582912.0f, (float)f->scale_most);
    }
}

/* The first d and dmin of the block at lanes j .. j + n, from the best of each sub-block. */
INLINE void first_steps(const struct super *f, const struct subs *s, int j, int n, float *d,
                        float *dmin)
{
    *d = step_of(s->scale + j, s->ll + j, n, f->scale_least, f->scale_most);
    *dmin = f->minima ? step_of(s->offset + j, s->w + j, n, 0, f->scale_most) : 0;
}

/* The scales of blocks, then the integers of their sub-blocks; then the same once more, the scales
 * being the best for what was found. */
INLINE void search_scales(const struct super *f, const struct group *g, bool weighted, int subs,
                          struct subs *s)
{
    for (int round = 0; round < 2; round++) {
        for (int j = 0; j < GROUP; j += subs) {
            float d = s->d[j], dmin = s->dmin[j];
            if (round)
                resolve(f, s, j, subs, &d, &dmin);
            else
                first_steps(f, s, j, subs, &d, &dmin);
            block_halves(f, g->unit[j], &d, &dmin);
            for (int i = j; i < j + subs; i++) {
                s->d[i] = d;
                s->dmin[i] = dmin;
            }
        }
        EACH_LANES {
            if (!round) {
                part_to(s->k + at, integer(over(part_at(s->scale + at), part_at(s->d + at)),
                                          (float)f->scale_least, (float)f->scale_most));
                part_to(s->m + at, integer(over(part_at(s->offset + at), part_at(s->dmin + at)), 0,
                                          (float)f->scale_most));
            }
            settle(f, g, weighted, at, s);
        }
    }
}

/* The codes of what is nearest to x. */
INLINE void super_codes(const struct super *f, const struct group *g, const struct subs *s,
                        uint8_t code[][GROUP])
{
    EACH_LANES {
        const part scale = part_at(s->d + at) * part_at(s->k + at);
        const part offset = part_at(s->dmin + at) * part_at(s->m + at);
        const part inverse = over(all(1), scale);
        for (int i = 0; i < f->sub; i++) {
            const part l =
                nearest(f->kind, (part_at(&g->x[i][at]) + offset) * inverse, f->low, f->high);
            put_codes(code_of(f->kind, l, f->low), &code[i][at]);
        }
    }
}

/* What was found for the block at lanes j .. j + n. */
INLINE void put_scales(const struct subs *s, float unit, int j, int n, struct block_codes *out)
{
    out->d = s->d[j] * unit;
    out->m = s->dmin[j] * unit;
    for (int i = 0; i < n; i++) {
        out->scale[i] = (int16_t)s->k[j + i];
        out->min[i] = (int16_t)s->m[j + i];
    }
}

/* Of each lane: can the format say its block exactly, as far as a quick look tells? */
INLINE void suspect_blocks(const struct super *f, const struct group *g, int subs,
                           int32_t maybe[GROUP])
{
    EACH_LANES {
        const part least = part_at(g->low + at), most = part_at(g->high + at);
        const part top = f->minima ? most - least : part_max(most, -least);
        const whole_part m =
            suspects(g, at, f->minima ? least : all(0), top, (float)f->most) | (top == all(0));
        memcpy(maybe + at, &m, sizeof m);
    }
    for (int j = 0; j < GROUP; j += subs)
        for (int i = 1; i < subs; i++)
            maybe[j] &= maybe[j + i];
}

INLINE void encode_super_group(const struct super *f, bool weighted, const float *x, const float *w,
                               int count, uint8_t *out)
{
    const int subs = ENCODE_BLOCK / f->sub;
    const struct exact_shape exact = { subs, f->sub, f->most, f->scale_least, f->scale_most,
                                       f->code };
    struct group g;
    struct subs s;
    struct block_codes b[GROUP];
    uint8_t code[32][GROUP];
    int32_t maybe[GROUP];
    group_load(&g, x, weighted ? w : NULL, f->sub, count * subs, subs);
    fit_subs(f, &g, weighted, &s);
    search_scales(f, &g, weighted, subs, &s);
    super_codes(f, &g, &s, code);
    suspect_blocks(f, &g, subs, maybe);
    for (int k = 0; k < count && f->minima; k++)
        if (is_flat(f, code, k * subs, subs))
            flatten(f, g.unit[k * subs], code, &s, k * subs, subs);
    codes_out(code, f->sub, b, subs);
    for (int k = 0; k < count; k++) {
        const float *from = x + k * ENCODE_BLOCK;
        const int j = k * subs;
        if (!maybe[j]
            || !(f->minima ? exact_minima(&exact, from, &b[k]) : exact_levels(&exact, from, &b[k])))
            put_scales(&s, g.unit[j], j, subs, &b[k]);
        f->pack(&b[k], out + k * f->bytes);
    }
}

INLINE void encode_super(const struct super *f, const float *x, const float *w, int64_t n,
                         uint8_t *out)
{
    const int most = GROUP * f->sub / ENCODE_BLOCK;
    for (int64_t k = 0; k < n; k += most) {
        const int count = n - k < most ? (int)(n - k) : most;
        if (w)
            encode_super_group(f, true, x + k * ENCODE_BLOCK, w + k * ENCODE_BLOCK, count,
                               out + k * f->bytes);
        else
            encode_super_group(f, false, x + k * ENCODE_BLOCK, NULL, count, out + k * f->bytes);
    }
}

static int super_code_3(int level) { return level >= -4 && level <= 3 ? level + 4 : -1; }
static int super_code_6(int level) { return level >= -32 && level <= 31 ? level + 32 : -1; }

static const struct tries tries_q3_k = { 7, { -4, -4.6f, -4.3f, -3.7f, -3.4f, 3, 3.4f }, 2, false };
static const struct tries tries_q6_k = {
    7, { -32, -32.6f, -32.3f, -31.7f, -31.4f, -31.1f, 31 }, 2, false
};
static const struct tries tries_q2_k = {
    8, { -0.9f, -0.6f, -0.3f, 0, 0.3f, 0.6f, 0.9f, 1.3f }, 2, false
};
static const struct tries tries_q4_k = {
    9, { -1, -0.7f, -0.4f, -0.1f, 0, 0.2f, 0.5f, 0.8f, 1.1f }, 2, false
};

/* name; sub, bytes, levels, low, high, scales, minima, tries, most, code */
#define SUPER(name, ...) \
    static void encode_##name(const float *x, const float *w, int64_t n, uint8_t *out) \
    { \
        static const struct super f = { __VA_ARGS__, pack_##name }; \
        encode_super(&f, x, w, n, out); \
    }
SUPER(q2_k, 16, 84, LEVELS_EVEN, 0, 3, 0, 15, true, &tries_q2_k, 3, NULL)
SUPER(q3_k, 16, 110, LEVELS_EVEN, -4, 3, -32, 31, false, &tries_q3_k, 4, super_code_3)
SUPER(q4_k, 32, 144, LEVELS_EVEN, 0, 15, 0, 63, true, &tries_q4_k, 15, NULL)
SUPER(q5_k, 32, 176, LEVELS_EVEN, 0, 31, 0, 63, true, &tries_q4_k, 31, NULL)
SUPER(q6_k, 16, 210, LEVELS_EVEN, -32, 31, -128, 127, false, &tries_q6_k, 32, super_code_6)
SUPER(iq4_xs, 32, 136, LEVELS_IQ4, -127, 113, -32, 31, false, tries_iq4, 127, code_of_iq4)

#endif
