/* SPDX-License-Identifier: MIT */
/* Searches of MXFP4 and NVFP4, written once, after encode_body.h: their few scales are tried one by
 * one, and the error of each is summed up. */
#ifndef QDB_KERNELS_ENCODE_FP4_BODY_H
#define QDB_KERNELS_ENCODE_FP4_BODY_H

#include "kernels/encode_body.h"

INLINE part error_at(const struct group *g, bool weighted, int n, int at, part d)
{
    const part inverse = over(all(1), d);
    part error = all(0);
    EACH_FOUR for (int i = 0; i < n; i++)
    {
        const part x = part_at(&g->x[i][at]);
        const part e = x - d * nearest(LEVELS_E2M1, x * inverse, 0, 0);
        error += weighted ? part_at(&g->w[i][at]) * e * e : e * e;
    }
    return error;
}

/* The best of `tries` scales of each lane, given as bytes and as numbers in units. */
INLINE void best_byte(const struct group *g, bool weighted, int n, int tries,
                      const float scale[][GROUP], int16_t byte[][GROUP], float d[GROUP],
                      int16_t best[GROUP])
{
    EACH_LANES {
        part least = error_at(g, weighted, n, at, part_at(&scale[0][at]));
        part chosen = all(0);
        for (int k = 1; k < tries; k++) {
            const part error = error_at(g, weighted, n, at, part_at(&scale[k][at]));
            chosen = part_choose(error < least, all((float)k), chosen);
            least = part_min(error, least);
        }
        float of[WIDE];
        memcpy(of, &chosen, sizeof of);
        for (int k = 0; k < WIDE; k++) {
            d[at + k] = scale[(int)of[k]][at + k];
            best[at + k] = byte[(int)of[k]][at + k];
        }
    }
}

INLINE void fp4_codes(const struct group *g, int n, const float d[GROUP], struct block_codes *out,
                      int per)
{
    uint8_t code[32][GROUP];
    EACH_LANES {
        const part inverse = over(all(1), part_at(d + at));
        for (int i = 0; i < n; i++) {
            const part l = nearest(LEVELS_E2M1, part_at(&g->x[i][at]) * inverse, 0, 0);
            put_codes(code_of(LEVELS_E2M1, l, 0), &code[i][at]);
        }
    }
    codes_out(code, n, out, per);
}

/* Largest element at levels 8 .. 16, 4 .. 8, 16 .. 32. */
INLINE void mxfp4_group(bool weighted, const float *x, const float *w, int count, uint8_t *out)
{
    enum { N = 32, TRIES = 3 };
    struct group g;
    struct block_codes b[GROUP];
    float scale[TRIES][GROUP], d[GROUP];
    int16_t byte[TRIES][GROUP], best[GROUP];
    group_load(&g, x, weighted ? w : NULL, N, count, 1);
    for (int k = 0; k < TRIES; k++)
        for (int lane = 0; lane < GROUP; lane++) {
            const int exponent = (int)(bits_of_float(g.top[lane]) >> 23) - 127;
            const int e = exponent + 125 + (k == 1 ? 1 : k == 2 ? -1 : 0);
            byte[k][lane] = (int16_t)(e < 0 ? 0 : e);
            /* of nothing but zeros: any; the least one has no inverse */
            scale[k][lane] =
                g.top[lane] > 0 ? e8m0_half((uint8_t)byte[k][lane]) / g.unit[lane] : 1;
        }
    best_byte(&g, weighted, N, TRIES, scale, byte, d, best);
    fp4_codes(&g, N, d, b, 1);
    for (int k = 0; k < count; k++) {
        b[k].scale[0] = best[k];
        pack_mxfp4(&b[k], out + k * 17);
    }
}

/* The last scale that is not above v. */
INLINE int ue4m3_below(float v)
{
    int low = 0, high = 126;
    while (low < high) {
        const int mid = (low + high + 1) / 2;
        if (ue4m3_half((uint8_t)mid) <= v)
            low = mid;
        else
            high = mid - 1;
    }
    return low;
}

/* `count` sub-blocks of 16, four to a block: scales around that which makes the largest element 12.
 * Levels up to 6 are as well said with half the scale, but for the first 16 scales, of which not
 * all have a half: there all are tried that the largest element can have come from. */
INLINE void nvfp4_group(bool weighted, const float *x, const float *w, int count, uint8_t *out)
{
    enum { N = 16, TRIES = 18, TRIES_ABOVE = 11 };
    struct group g;
    struct block_codes b[GROUP];
    float scale[TRIES][GROUP], d[GROUP];
    int16_t byte[TRIES][GROUP], best[GROUP];
    int tries = TRIES_ABOVE;
    group_load(&g, x, weighted ? w : NULL, N, count, 1);
    for (int lane = 0; lane < GROUP; lane++) {
        const int from = ue4m3_below(g.top[lane] / 12);
        tries = from < 16 && lane < count ? TRIES : tries;
        for (int k = 0; k < TRIES; k++) {
            const int e = from - 2 + k;
            byte[k][lane] = (int16_t)(e < 0 ? 0 : e > 126 ? 126 : e);
            scale[k][lane] = ue4m3_half((uint8_t)byte[k][lane]) / g.unit[lane];
        }
    }
    best_byte(&g, weighted, N, tries, scale, byte, d, best);
    fp4_codes(&g, N, d, b, 4);
    for (int k = 0; k < count / 4; k++) {
        for (int s = 0; s < 4; s++)
            b[k].scale[s] = best[4 * k + s];
        pack_nvfp4(&b[k], out + k * 36);
    }
}

static void encode_mxfp4(const float *x, const float *w, int64_t n, uint8_t *out)
{
    for (int64_t k = 0; k < n; k += GROUP, x += 32 * GROUP, out += 17 * GROUP) {
        const int count = n - k < GROUP ? (int)(n - k) : GROUP;
        if (w)
            mxfp4_group(true, x, w + 32 * k, count, out);
        else
            mxfp4_group(false, x, NULL, count, out);
    }
}

static void encode_nvfp4(const float *x, const float *w, int64_t n, uint8_t *out)
{
    for (int64_t k = 0; k < n; k += 4, x += 256, out += 36 * 4) {
        const int count = n - k < 4 ? (int)(n - k) * 4 : GROUP;
        if (w)
            nvfp4_group(true, x, w + 64 * k, count, out);
        else
            nvfp4_group(false, x, NULL, count, out);
    }
}

#endif
