/* SPDX-License-Identifier: MIT */
/* What narrower formats can hold of an array, and how few of its values carry its energy. */
#include <math.h>

#include "kernels/statistics.h"

double headroom_bits(double largest, double absmax) { return log2(largest / absmax); }

/* Values that an 8-bit block brings to 0. */
static void add_block(const float *x, int64_t n, struct range_use *out)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(x[i]) && fabs((double)x[i]) > most)
            most = fabs((double)x[i]);
    const bool no_scale = most / 127 <= 0x1p-25;
    for (int64_t i = 0; i < n; i++) {
        const double a = fabs((double)x[i]);
        if (!isfinite(a)) {
            out->nonfinite++;
            continue;
        }
        if (a == 0)
            continue;
        out->n++;
        out->f16_small += a < 0x1p-14;
        out->f16_zero += a <= 0x1p-25;
        out->bf16_small += a < 0x1p-126;
        out->bf16_zero += a <= 0x1p-134;
        out->q8_zero += no_scale || 254 * a < most;
    }
}

void range_use_add(const float *x, int64_t rows, int64_t cols, struct range_use *out)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c += RANGE_BLOCK)
            add_block(x + r * cols + c, cols - c < RANGE_BLOCK ? cols - c : RANGE_BLOCK, out);
}

/* ---- energy ---- */

static double square(float v) { return isfinite(v) ? (double)v * (double)v : 0; }

/* Does value a come before value b, by size, then by place? */
static bool before(const float *x, int32_t a, int32_t b)
{
    const double p = square(x[a]), q = square(x[b]);
    return p != q ? p > q : a < b;
}

static void swap(int32_t *a, int32_t *b)
{
    const int32_t t = *a;
    *a = *b;
    *b = t;
}

/* Bring the values of order[from, end) that come before `pivot` to the front; returns where the
 * others begin. */
static int64_t part(const float *x, int32_t *order, int64_t from, int64_t end, int32_t pivot)
{
    for (int64_t i = from; i < end; i++)
        if (before(x, order[i], pivot))
            swap(&order[i], &order[from++]);
    return from;
}

/* Quickselect by weight: [0, from) is in the set and adds up to `have`, less than the goal; the
 * value that reaches the goal is in [from, end). */
int64_t energy_count(const float *x, int64_t n, double share, int32_t *scratch, bool *in_set)
{
    double all = 0, have = 0;
    int64_t from = 0, end = n;
    for (int64_t i = 0; i < n; i++) {
        scratch[i] = (int32_t)i;
        all += square(x[i]);
        if (in_set)
            in_set[i] = false;
    }
    if (!(all > 0))
        return 0;
    const double goal = share * all;
    while (end - from > 1) {
        const int32_t pivot = scratch[from + (end - from) / 2];
        double sum = 0;
        const int64_t at = part(x, scratch, from, end, pivot);
        for (int64_t i = from; i < at; i++)
            sum += square(x[scratch[i]]);
        if (have + sum >= goal && at > from) {
            end = at;
            continue;
        }
        /* the pivot is the first of those that remain */
        for (int64_t i = at; i < end; i++)
            if (scratch[i] == pivot)
                swap(&scratch[i], &scratch[at]);
        have += sum + square(x[pivot]);
        from = at + 1;
        if (have >= goal)
            break;
    }
    const int64_t count = have >= goal || from == end ? from : from + 1;
    for (int64_t i = 0; in_set && i < count; i++)
        in_set[scratch[i]] = true;
    return count;
}
