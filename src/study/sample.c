/* SPDX-License-Identifier: MIT */
#include "study/sample.h"

#include <math.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"

double sample_uniform(uint64_t *state) { return (double)(hash_draw(state) >> 11) * 0x1p-53; }

struct candidate {
    double p;
    int32_t id;
};

static int by_probability(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return x->p != y->p ? (x->p < y->p ? 1 : -1) : (x->id > y->id) - (x->id < y->id);
}

static int32_t greedy(const float *logits, int64_t n)
{
    int32_t best = -1;
    for (int64_t i = 0; i < n; i++)
        if (!isnan(logits[i]) && (best < 0 || logits[i] > logits[best]))
            best = (int32_t)i;
    return best;
}

int32_t sample(struct sampler *s, const float *logits, int64_t n)
{
    const int32_t best = greedy(logits, n);
    if (best < 0 || isinf(logits[best]) || !(s->temperature > 0))
        return best >= 0 && !isinf(logits[best]) ? best : -1;
    struct candidate *c = x_alloc((size_t)n * sizeof *c);
    for (int64_t i = 0; i < n; i++) {
        double p = exp((logits[i] - (double)logits[best]) / s->temperature);
        c[i] = (struct candidate){ isnan(p) ? 0 : p, (int32_t)i };
    }
    qsort(c, (size_t)n, sizeof *c, by_probability);
    int64_t kept = s->top_k > 0 && s->top_k < n ? s->top_k : n;
    double total = 0, reached = 0;
    for (int64_t i = 0; i < kept; i++)
        total += c[i].p;
    for (int64_t i = 0; i < kept; i++)
        if ((reached += c[i].p) >= s->top_p * total)
            kept = i + 1;
    double u = sample_uniform(&s->state) * reached;
    int64_t pick = 0;
    while (pick + 1 < kept && u >= c[pick].p)
        u -= c[pick++].p;
    int32_t id = c[pick].id;
    free(c);
    return id;
}
