/* SPDX-License-Identifier: MIT */
#include "study/predict.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/statistics.h"

/* Does token a come before token b? */
static bool before(const float *logits, int32_t a, int32_t b)
{
    const float x = logits[a], y = logits[b];
    if (isnan(x) || isnan(y))
        return isnan(x) == isnan(y) ? a < b : isnan(y);
    return x != y ? x > y : a < b;
}

static struct prediction figures(const float *logits, double total, int32_t id, int64_t rank)
{
    const double log_prob = (double)logits[id] - total;
    return (struct prediction){ id, (double)logits[id], log_prob, exp(log_prob), rank };
}

void prediction_of(const float *logits, int64_t n, int32_t id, struct prediction *out)
{
    int64_t rank = 1;
    for (int32_t i = 0; i < n; i++)
        rank += before(logits, i, id);
    *out = figures(logits, log_sum_exp(logits, n), id, rank);
}

/* Where token id belongs among the first `have` of list, which are in order. */
static int64_t place(const float *logits, const struct prediction *list, int64_t have, int32_t id)
{
    int64_t lo = 0, hi = have;
    while (lo < hi) {
        const int64_t mid = lo + (hi - lo) / 2;
        if (before(logits, list[mid].id, id))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

int64_t prediction_top(const float *logits, int64_t n, int64_t k, struct prediction *out)
{
    int64_t have = 0;
    for (int32_t i = 0; i < n && k > 0; i++) {
        if (have == k && !before(logits, i, out[k - 1].id))
            continue;
        const int64_t at = place(logits, out, have, i);
        have += have < k;
        memmove(out + at + 1, out + at, (size_t)(have - 1 - at) * sizeof *out);
        out[at].id = i;
    }
    const double total = log_sum_exp(logits, n);
    for (int64_t i = 0; i < have; i++)
        out[i] = figures(logits, total, out[i].id, i + 1);
    return have;
}
