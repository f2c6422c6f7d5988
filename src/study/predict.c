/* SPDX-License-Identifier: MIT */
#include "study/predict.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "kernels/logits.h"
#include "kernels/statistics.h"

static struct prediction figures(const float *logits, double total, int32_t id, int64_t rank)
{
    const double log_prob = (double)logits[id] - total;
    return (struct prediction){ id, (double)logits[id], log_prob, exp(log_prob), rank };
}

void prediction_of(const float *logits, int64_t n, int32_t id, struct prediction *out)
{
    int64_t rank = 1;
    for (int32_t i = 0; i < n; i++)
        rank += logits_before(logits, i, id);
    *out = figures(logits, log_sum_exp(logits, n), id, rank);
}

int64_t prediction_top(const float *logits, int64_t n, int64_t k, struct prediction *out)
{
    if (k <= 0 || n <= 0)
        return 0;
    int32_t *id = x_alloc((size_t)(k < n ? k : n) * sizeof *id);
    const int64_t have = logits_top(logits, n, k, id);
    const double total = log_sum_exp(logits, n);
    for (int64_t i = 0; i < have; i++)
        out[i] = figures(logits, total, id[i], i + 1);
    free(id);
    return have;
}
