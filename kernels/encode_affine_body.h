/* SPDX-License-Identifier: MIT */
/* Searches of the formats with a scale and a minimum per block of 32, written once, after
 * encode_body.h. */
#ifndef QDB_KERNELS_ENCODE_AFFINE_BODY_H
#define QDB_KERNELS_ENCODE_AFFINE_BODY_H

#include "kernels/encode_super_body.h"

enum { AFFINE = 32 };

struct affine_format {
    int bytes, most; /* levels 0 .. most */
    pack_fn *pack;
};

/* Without importances, and with. */
static const struct tries tries_affine[2] = {
    { 2, { 0, -0.4f }, 1, false },
    { 9, { 0, -1, -0.7f, -0.4f, -0.1f, 0.2f, 0.5f, 0.8f, 1.1f }, 2, false },
};

/* d and m of each lane to halves, whose sums need no rounding; then in units. */
INLINE void affine_halves(const struct group *g, int most, float d[GROUP], float m[GROUP],
                          float half_d[GROUP], float half_m[GROUP])
{
    halves(g, d, half_d, d);
    halves(g, m, half_m, m);
    EACH_LANES {
        part a = part_at(half_d + at), b = part_at(half_m + at);
        trim_halves((float)most * size_of(a) + size_of(b), &a, &b);
        part_to(half_d + at, a);
        part_to(half_m + at, b);
        part_to(d + at, a * per_unit(g->unit, at));
        part_to(m + at, b * per_unit(g->unit, at));
    }
}

INLINE part affine_level(const struct group *g, int i, int at, part m, part inverse, int most)
{
    return nearest(LEVELS_EVEN, (part_at(&g->x[i][at]) - m) * inverse, 0, (float)most);
}

INLINE void encode_affine_group(const struct affine_format *f, bool weighted, const float *x,
                                const float *w, int count, uint8_t *out)
{
    struct group g;
    struct block_codes b[GROUP];
    uint8_t code[AFFINE][GROUP];
    float d[GROUP], m[GROUP], half_d[GROUP], half_m[GROUP];
    int32_t maybe[GROUP];
    group_load(&g, x, weighted ? w : NULL, AFFINE, count, 1);
    EACH_LANES {
        const part low = part_at(g.low + at), range = part_at(g.high + at) - low;
        const struct extent e = extent_of(&g, weighted, AFFINE, at);
        const struct fit fit = best_affine(&g, &e, weighted, false, AFFINE, at, (float)f->most,
                                           &tries_affine[weighted]);
        const part scale = half_part(fit.scale * part_at(g.unit + at)) * per_unit(g.unit, at);
        part_to(d + at, scale);
        part_to(m + at, over(e.wx - scale * fit.sl, e.w)); /* the best for that scale */
        const whole_part s = suspects(&g, at, low, range, (float)f->most);
        memcpy(maybe + at, &s, sizeof s);
    }
    affine_halves(&g, f->most, d, m, half_d, half_m);
    EACH_LANES {
        const part low = part_at(m + at), inverse = over(all(1), part_at(d + at));
        for (int i = 0; i < AFFINE; i++)
            put_codes(code_of(LEVELS_EVEN, affine_level(&g, i, at, low, inverse, f->most), 0),
                      &code[i][at]);
    }
    codes_out(code, AFFINE, b, 1);
    for (int k = 0; k < count; k++) {
        b[k].d = half_d[k];
        b[k].m = half_m[k];
        if (maybe[k])
            exact_affine(AFFINE, f->most, x + k * AFFINE, &b[k]);
        f->pack(&b[k], out + k * f->bytes);
    }
}

INLINE void encode_affine(const struct affine_format *f, const float *x, const float *w, int64_t n,
                          uint8_t *out)
{
    for (int64_t k = 0; k < n; k += GROUP) {
        const int count = n - k < GROUP ? (int)(n - k) : GROUP;
        if (w)
            encode_affine_group(f, true, x + k * AFFINE, w + k * AFFINE, count,
                                out + k * f->bytes);
        else
            encode_affine_group(f, false, x + k * AFFINE, NULL, count, out + k * f->bytes);
    }
}

static void encode_q4_1(const float *x, const float *w, int64_t n, uint8_t *out)
{
    static const struct affine_format f = { 20, 15, pack_q4_1 };
    encode_affine(&f, x, w, n, out);
}

static void encode_q5_1(const float *x, const float *w, int64_t n, uint8_t *out)
{
    static const struct affine_format f = { 24, 31, pack_q5_1 };
    encode_affine(&f, x, w, n, out);
}

#endif
