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

/* Count the finite values by the upper half of their keys; false: cancelled. */
static bool count_upper(const float *x, int64_t n, int64_t *count,
                        const volatile sig_atomic_t *cancel)
{
    for (int64_t i = 0; i < n; i += PIECE) {
        const int64_t end = n - i < PIECE ? n : i + PIECE;
        if (stopped(cancel))
            return false;
        for (int64_t j = i; j < end; j++) {
            const uint32_t key = key_of(x[j]);
            count[key >> 16] += is_finite_key(key);
        }
    }
    return true;
}

/* Of each upper half that a rank lies in, count the lower halves: list[slot[upper] - 1]. */
static bool count_lower(const float *x, int64_t n, const uint8_t *slot, int64_t (*list)[HALF],
                        const volatile sig_atomic_t *cancel)
{
    for (int64_t i = 0; i < n; i += PIECE) {
        const int64_t end = n - i < PIECE ? n : i + PIECE;
        if (stopped(cancel))
            return false;
        for (int64_t j = i; j < end; j++) {
            const uint32_t key = key_of(x[j]);
            const int s = slot[key >> 16];
            if (s && is_finite_key(key))
                list[s - 1][key & (HALF - 1)]++;
        }
    }
    return true;
}

/* The entry in which the rank lies; *rank becomes that within it. */
static uint32_t descend(const int64_t *count, int64_t *rank)
{
    uint32_t i = 0;
    while (*rank >= count[i])
        *rank -= count[i++];
    return i;
}

static bool find_keys(const float *x, int64_t n, const int64_t *upper, struct ranks *r,
                      const volatile sig_atomic_t *cancel)
{
    uint8_t *slot = x_alloc(HALF);
    int slots = 0;
    for (int i = 0; i < r->n; i++) {
        const uint32_t u = descend(upper, &r->rank[i]);
        r->key[i] = u << 16;
        if (!slot[u])
            slot[u] = (uint8_t)++slots;
    }
    int64_t(*lower)[HALF] = x_alloc((size_t)slots * sizeof *lower);
    const bool done = count_lower(x, n, slot, lower, cancel);
    for (int i = 0; i < r->n && done; i++)
        r->key[i] |= descend(lower[slot[r->key[i] >> 16] - 1], &r->rank[i]);
    free(lower);
    free(slot);
    return done;
}

static bool by_counting(const float *x, int64_t n, const double *p, int k, double *out,
                        const volatile sig_atomic_t *cancel)
{
    int64_t *upper = x_alloc(HALF * sizeof *upper), m = 0;
    bool done = count_upper(x, n, upper, cancel);
    for (int i = 0; i < HALF; i++)
        m += upper[i];
    struct ranks r = { .n = 0 };
    for (int i = 0; i < k && m; i++) {
        const double place = p[i] * (double)(m - 1);
        const int64_t low = (int64_t)floor(place);
        r.rank[r.n++] = low;
        r.rank[r.n++] = low + (place > floor(place));
    }
    if (done && r.n)
        done = find_keys(x, n, upper, &r, cancel);
    for (int i = 0; i < k && done; i++) {
        const double place = p[i] * (double)(m - 1);
        out[i] = NAN;
        if (!m)
            continue;
        const double low = (double)value_of(r.key[2 * i]),
                     high = (double)value_of(r.key[2 * i + 1]);
        out[i] = place > floor(place) ? low + (place - floor(place)) * (high - low) : low;
    }
    free(upper);
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
