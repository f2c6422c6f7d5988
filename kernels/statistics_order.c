/* SPDX-License-Identifier: MIT */
/* Quantiles of arrays too large to be copied and put in order: counted by their bits instead. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/statistics.h"

enum {
    HALF = 1 << 16,  /* values of one half of the bits */
    SMALL = 1 << 15, /* so few are selected from a copy */
    PIECE = 1 << 20, /* values between two looks at the flag */
    RANKS = 2 * QUANTILES_MAX
};

/* Bits whose order as integers is that of the values; -0 counts as 0. */
static uint32_t key_of(float x)
{
    uint32_t bits;
    x += 0.0f;
    memcpy(&bits, &x, sizeof bits);
    return bits ^ (bits >> 31 ? 0xffffffffu : 0x80000000u);
}

static float value_of(uint32_t key)
{
    const uint32_t bits = key ^ (key >> 31 ? 0x80000000u : 0xffffffffu);
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Keys of what is not finite lie outside. */
static bool is_finite_key(uint32_t key) { return key > 0x007fffff && key < 0xff800000; }

static bool stopped(const volatile sig_atomic_t *cancel) { return cancel && *cancel; }

/* One value per rank wanted: first the upper half of its key, then all of it. */
struct ranks {
    int n;
    int64_t rank[RANKS]; /* within the values of equal upper half, once that is known */
    uint32_t key[RANKS];
};

/* What is counted on either way through the values. */
struct quantile_stream {
    int k;
    double p[QUANTILES_MAX];
    int64_t n;            /* finite values, counted on the first way */
    int64_t *upper;       /* [HALF] of the values by the upper half of their keys */
    struct ranks r;
    uint8_t *slot;        /* [HALF] 1 + which of `lower` an upper half has; NULL on the first way */
    int64_t (*lower)[HALF];
};

struct quantile_stream *quantiles_begin(const double *p, int k)
{
    struct quantile_stream *q = x_alloc(sizeof *q);
    q->k = k;
    memcpy(q->p, p, (size_t)k * sizeof *p);
    q->upper = x_alloc(HALF * sizeof *q->upper);
    return q;
}

void quantiles_add(struct quantile_stream *q, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n && !q->slot; i++) {
        const uint32_t key = key_of(x[i]);
        q->upper[key >> 16] += is_finite_key(key);
    }
    for (int64_t i = 0; i < n && q->slot; i++) {
        const uint32_t key = key_of(x[i]);
        const int s = q->slot[key >> 16];
        if (s && is_finite_key(key))
            q->lower[s - 1][key & (HALF - 1)]++;
    }
}

/* The entry in which the rank lies; *rank becomes that within it. */
static uint32_t descend(const int64_t *count, int64_t *rank)
{
    uint32_t i = 0;
    while (*rank >= count[i])
        *rank -= count[i++];
    return i;
}

void quantiles_again(struct quantile_stream *q)
{
    int slots = 0;
    for (int i = 0; i < HALF; i++)
        q->n += q->upper[i];
    for (int i = 0; i < q->k && q->n; i++) {
        const double place = q->p[i] * (double)(q->n - 1);
        const int64_t low = (int64_t)floor(place);
        q->r.rank[q->r.n++] = low;
        q->r.rank[q->r.n++] = low + (place > floor(place));
    }
    q->slot = x_alloc(HALF);
    for (int i = 0; i < q->r.n; i++) {
        const uint32_t u = descend(q->upper, &q->r.rank[i]);
        q->r.key[i] = u << 16;
        if (!q->slot[u])
            q->slot[u] = (uint8_t)++slots;
    }
    q->lower = x_alloc((size_t)(slots + 1) * sizeof *q->lower);
}

void quantiles_end(struct quantile_stream *q, double *out)
{
    for (int i = 0; out && i < q->r.n; i++)
        q->r.key[i] |= descend(q->lower[q->slot[q->r.key[i] >> 16] - 1], &q->r.rank[i]);
    for (int i = 0; out && i < q->k; i++) {
        const double place = q->p[i] * (double)(q->n - 1);
        out[i] = NAN;
        if (!q->n)
            continue;
        const double low = (double)value_of(q->r.key[2 * i]),
                     high = (double)value_of(q->r.key[2 * i + 1]);
        out[i] = place > floor(place) ? low + (place - floor(place)) * (high - low) : low;
    }
    free(q->upper);
    free(q->slot);
    free(q->lower);
    free(q);
}

static bool by_counting(const float *x, int64_t n, const double *p, int k, double *out,
                        const volatile sig_atomic_t *cancel)
{
    struct quantile_stream *q = quantiles_begin(p, k);
    bool done = true;
    for (int way = 0; way < 2 && done; way++) {
        for (int64_t i = 0; i < n && done; i += PIECE) {
            quantiles_add(q, x + i, n - i < PIECE ? n - i : PIECE);
            done = !stopped(cancel);
        }
        if (!way && done)
            quantiles_again(q);
    }
    quantiles_end(q, done ? out : NULL);
    return done;
}

bool quantiles_of(const float *x, int64_t n, const double *p, int k, double *out,
                  const volatile sig_atomic_t *cancel)
{
    if (stopped(cancel))
        return false;
    if (n > SMALL)
        return by_counting(x, n, p, k, out, cancel);
    float *copy = x_scratch((size_t)n * sizeof *copy);
    memcpy(copy, x, (size_t)n * sizeof *copy);
    quantiles(copy, n, p, k, out);
    free(copy);
    return true;
}
