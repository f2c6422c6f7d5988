/* SPDX-License-Identifier: MIT */
/* Searches of the formats with one scale per block of 32 or more and levels around zero, written
 * once, after encode_body.h. */
#ifndef QDB_KERNELS_ENCODE_EVEN_BODY_H
#define QDB_KERNELS_ENCODE_EVEN_BODY_H

#include "kernels/encode_body.h"

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
    float size[GROUP], d[GROUP], half[GROUP];
    int32_t maybe[GROUP];
    group_load(&g, x, weighted ? w : NULL, f->n, count, 1);
    tops_of(g.low, g.high, 1, size);
    EACH_LANES {
        const struct sums s =
            best_scale(&g, weighted, f->kind, f->n, at, f->low, f->high, f->tries + weighted);
        part_to(d + at, over(s.xl, s.ll));
        const whole_part m = suspects(&g, at, all(0), part_at(size + at), (float)f->exact.most);
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

#endif
