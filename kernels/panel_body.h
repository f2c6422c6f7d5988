/* SPDX-License-Identifier: MIT */
/* Products of many tokens in floats: a panel of weights times a block of tokens, laid out as
 * kernels/panel.h says. docs/modes.md fixes the order of sums. Included once per level, after its
 * LEVEL_VECTOR; with LEVEL_PAIRS vectors hold pairs of brain floats. */
#ifndef QDB_KERNELS_PANEL_BODY_H
#define QDB_KERNELS_PANEL_BODY_H

#include "kernels/brains_body.h"
#include "kernels/lanes_body.h"
#include "kernels/panel.h"
#include "kernels/parts_body.h"

enum {
    PANEL_ABREAST = LEVEL_VECTOR == 64 ? 6 : 3, /* tokens whose sums with a group fit registers */
    /* Vectors of a group and a block that stay in the first cache. Wide vectors take whole lines,
     * which the second one delivers in time. */
    PANEL_STRETCH = LEVEL_VECTOR == 64 ? 512 : 32
};

#define EACH_SIDE  UNROLL for (int r = 0; r < PANEL_SIDE; r++)
#define EACH_TOKEN UNROLL for (int t = 0; t < tokens; t++)

#ifdef LEVEL_PAIRS
enum { PANEL_COLUMNS = 2 * PANEL_LANES };
INLINE void add_panel_product(part *sum, part a, part b) { add_pairs(sum, a, b); }
#else
enum { PANEL_COLUMNS = PANEL_LANES };
INLINE void add_panel_product(part *sum, part a, part b) { add_exact_product(sum, a, b); }
#endif

/* The sums of lanes of all rows, as lanes_sum makes them. */
INLINE void panel_harvest(const struct lanes sum[PANEL_ROWS], int rows, float *y)
{
    float out[PANEL_ROWS];
    UNROLL for (int first = 0; first < PANEL_ROWS; first += WIDE)
    {
        part v[WIDE];
        _Pragma("GCC unroll 16") for (int k = 0; k < WIDE; k++)
        {
            struct lanes of = sum[first + k];
            UNROLL for (int half = PARTS / 2; half; half /= 2) UNROLL for (int i = 0; i < half; i++)
                of.p[i] += of.p[i + half];
            v[k] = of.p[0];
        }
        UNROLL for (int half = WIDE / 2; half; half /= 2) UNROLL for (int k = 0; k < half; k++)
        {
            part low, high;
            zip_parts(v[k], v[k + half], &low, &high);
            v[k] = low + high;
        }
        part_to(out + first, v[0]);
    }
    memcpy(y, out, (size_t)rows * sizeof *y);
}

/* Vectors of a group times those of some tokens, which stand `step` floats apart; the number of
 * tokens is a constant after inlining. */
INLINE void halves_group(const float *w, const float *x, int64_t step, int tokens, int64_t vectors,
                         bool first, struct lanes sum[][PANEL_ROWS])
{
    EACH_PART
    {
        const float *a = w + i * WIDE, *b = x + i * WIDE;
        part s[PANEL_SIDE][PANEL_ABREAST];
        EACH_SIDE EACH_TOKEN s[r][t] = first ? (part){ 0 } : sum[t][r].p[i];
        for (int64_t v = 0; v < vectors; v++, a += PANEL_SIDE * PANEL_LANES, b += step) {
            part of[PANEL_ABREAST];
            EACH_TOKEN of[t] = part_at(b + t * PANEL_LANES);
            EACH_SIDE
            {
                const part weights = part_at(a + r * PANEL_LANES);
                EACH_TOKEN add_panel_product(&s[r][t], weights, of[t]);
            }
        }
        EACH_SIDE EACH_TOKEN sum[t][r].p[i] = s[r][t];
    }
}

static void halves_some(const float *w, const float *x, int64_t step, int tokens, int64_t vectors,
                        bool first, struct lanes sum[][PANEL_ROWS])
{
    switch (tokens) {
    case 1: halves_group(w, x, step, 1, vectors, first, sum); break;
    case 2: halves_group(w, x, step, 2, vectors, first, sum); break;
    case 3: halves_group(w, x, step, 3, vectors, first, sum); break;
#if LEVEL_VECTOR == 64
    case 4: halves_group(w, x, step, 4, vectors, first, sum); break;
    case 5: halves_group(w, x, step, 5, vectors, first, sum); break;
    case 6: halves_group(w, x, step, 6, vectors, first, sum); break;
#endif
    }
}

static void halves_block_of(const float *w, int rows, const float *x, int tokens, int64_t vectors,
                            float *y, int64_t stride)
{
    const int64_t step = tokens * PANEL_LANES;
    struct lanes sum[PANEL_TOKENS][PANEL_ROWS];
    for (int64_t v = 0; v < vectors; v += PANEL_STRETCH) {
        const int64_t some = vectors - v < PANEL_STRETCH ? vectors - v : PANEL_STRETCH;
        for (int r = 0; r < rows; r += PANEL_SIDE)
            for (int t = 0; t < tokens; t += PANEL_ABREAST)
                halves_some(w + (r * vectors + v * PANEL_SIDE) * PANEL_LANES,
                            x + v * step + t * PANEL_LANES, step,
                            tokens - t < PANEL_ABREAST ? tokens - t : PANEL_ABREAST, some, !v,
                            (struct lanes(*)[PANEL_ROWS]) & sum[t][r]);
    }
    for (int t = 0; t < tokens; t++)
        panel_harvest(sum[t], rows, y + t * stride);
}

/* 2 * PANEL_LANES brain floats to vectors; returns the place of the next ones. */
INLINE float *put_brains(const uint8_t *from, float *to)
{
    const bool apart = (int)PANEL_COLUMNS == (int)PANEL_LANES;
    EACH_PART
    {
        part v;
        memcpy(&v, from + i * LEVEL_VECTOR, sizeof v);
        v = brains_in_range(v);
        part_to(to + i * WIDE, apart ? brains_second(v) : v);
        if (apart)
            part_to(to + PANEL_LANES + i * WIDE, brains_first(v));
    }
    return to + (apart ? 2 : 1) * PANEL_LANES;
}

/* See panel_ops. */
static void panel_of_brains(const uint8_t *from, int64_t n, float *to)
{
    enum { STEP = 2 * PANEL_LANES };
    int64_t c = 0;
    for (; c + STEP <= n; c += STEP)
        to = put_brains(from + 2 * c, to);
    for (; c % PANEL_LEAF || c < n; c += STEP) {
        uint8_t rest[2 * STEP] = { 0 };
        if (c < n)
            memcpy(rest, from + 2 * c, (size_t)(2 * (n - c)));
        to = put_brains(rest, to);
    }
}

#ifdef LEVEL_PAIRS
const struct panel_ops panel_pairs = { halves_block_of, PANEL_COLUMNS, panel_of_brains };
#else
static const struct panel_ops panel_halves = { halves_block_of, PANEL_COLUMNS, NULL };
static const struct panel_ops panel_brains = { halves_block_of, PANEL_COLUMNS, panel_of_brains };
#endif

#endif
