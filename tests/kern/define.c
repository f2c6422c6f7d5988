/* SPDX-License-Identifier: MIT */
/* Sums in the orders of docs/modes.md, written from that page, without a kernel's help. */
#include "tests/kern/checks.h"

enum { LANES = 16, LEAF = 64 };

/* Leaves are added pairwise: of n terms, more than a leaf, the first branch has so many, a leaf
 * doubled as often as something is left for the second. */
static int64_t first_branch(int64_t n, int64_t leaf)
{
    while (2 * leaf < n)
        leaf *= 2;
    return leaf;
}

static float exact_lane(const float *w, const float *x, int64_t n, int lane)
{
    if (n > LEAF) {
        const int64_t first = first_branch(n, LEAF);
        return exact_lane(w, x, first, lane) + exact_lane(w + first, x + first, n - first, lane);
    }
    float p[LEAF / LANES] = { 0 };
    for (int64_t i = lane; i < n; i += LANES)
        p[i / LANES] = w[i] * x[i];
    return n == LEAF ? (p[0] + p[1]) + (p[2] + p[3]) : ((p[0] + p[1]) + p[2]) + p[3];
}

float define_lanes(float lane[16])
{
    for (int apart = LANES / 2; apart; apart /= 2)
        for (int i = 0; i < apart; i++)
            lane[i] += lane[i + apart];
    return lane[0];
}

float define_exact(const float *w, const float *x, int64_t n)
{
    float lane[LANES];
    for (int i = 0; i < LANES; i++)
        lane[i] = exact_lane(w, x, n, i) + 0.0f; /* a sum begins at zero: never at -0 */
    return define_lanes(lane);
}

float define_tree(const float *product, int64_t n, int64_t leaf)
{
    if (n > leaf) {
        const int64_t first = first_branch(n, leaf);
        return define_tree(product, first, leaf) + define_tree(product + first, n - first, leaf);
    }
    float sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += product[i];
    return sum;
}

double define_doubles(const double *term, int64_t n)
{
    double lane[LANES] = { 0 };
    for (int64_t i = 0; i < n; i++)
        lane[i % LANES] += term[i];
    for (int apart = LANES / 2; apart; apart /= 2)
        for (int i = 0; i < apart; i++)
            lane[i] += lane[i + apart];
    return lane[0];
}
