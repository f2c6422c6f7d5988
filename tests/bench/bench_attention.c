/* SPDX-License-Identifier: MIT */
/* Speed of attention at each level: GFLOP/s of a prompt, whose token t sees t + 1 keys, and GB/s of
 * keys and values of one token behind them. Only the time of this process counts with -c.
 *
 * usage: bench_attention [-c] [-t THREADS] [-h HEADS] [-g KEY_HEADS] [-n CHANNELS] [-k KEYS] */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/memory.h"
#include "kernels/attention.h"
#include "kernels/format.h"
#include "kernels/level.h"

enum { ROUNDS = 7 };

static clockid_t clock_used = CLOCK_MONOTONIC;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(clock_used, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The best of some rounds, seconds. */
static double best(const struct attention *a, float *z, struct pool *pool)
{
    double least = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        const double start = seconds();
        attention_fused(a, z, pool, NULL);
        const double took = seconds() - start;
        least = took < least ? took : least;
    }
    return least;
}

static void measure(struct attention a, float *z, struct pool *pool)
{
    const double keys = (double)a.tokens, pairs = keys * (keys + 1) / 2;
    const double prompt = best(&a, z, pool);
    a.keys += a.tokens - 1;
    a.visible += a.tokens - 1;
    a.tokens = 1;
    const double one = best(&a, z, pool);
    printf("%-7s %-6s  prompt %8.3f ms %7.1f GFLOP/s   one token %8.4f ms %6.1f GB/s\n",
           level_now()->name, a.half ? "half" : "float", prompt * 1e3,
           4 * pairs * (double)(a.heads * a.n) / prompt * 1e-9, one * 1e3,
           2 * keys * (double)(a.kv * a.n) * (a.half ? 2 : 4) / one * 1e-9);
}

int main(int argc, char **argv)
{
    int64_t heads = 9, kv = 3, n = 64, keys = 512;
    int threads = pool_cpus(), option;
    while ((option = getopt(argc, argv, "ct:h:g:n:k:")) != -1)
        switch (option) {
        case 'c': clock_used = CLOCK_PROCESS_CPUTIME_ID; break;
        case 't': threads = (int)strtol(optarg, NULL, 10); break;
        case 'h': heads = strtol(optarg, NULL, 10); break;
        case 'g': kv = strtol(optarg, NULL, 10); break;
        case 'n': n = strtol(optarg, NULL, 10); break;
        case 'k': keys = strtol(optarg, NULL, 10); break;
        default: return 2;
        }
    if (heads < 1 || kv < 1 || heads % kv || n < 1 || keys < 1 || keys > 1 << 20)
        return 2;
    struct pool *pool = pool_new(threads);
    float *q = x_alloc((size_t)(keys * heads * n) * sizeof *q);
    float *z = x_alloc((size_t)(keys * heads * n) * sizeof *z);
    float *cache = x_alloc((size_t)(keys * kv * n) * sizeof *cache);
    uint16_t *half = x_alloc((size_t)(keys * kv * n) * sizeof *half);
    for (int64_t i = 0; i < keys * heads * n; i++)
        q[i] = (float)(i * 7919 % 201 - 100) * 0.01f;
    for (int64_t i = 0; i < keys * kv * n; i++)
        half[i] = f32_to_f16(cache[i] = (float)(i * 104729 % 201 - 100) * 0.01f);
    int32_t *rows = x_alloc((size_t)keys * sizeof *rows);
    int32_t *visible = x_alloc((size_t)keys * sizeof *visible);
    const int32_t **seen = x_alloc((size_t)keys * sizeof *seen);
    for (int64_t t = 0; t < keys; t++) {
        rows[t] = (int32_t)t;
        visible[t] = (int32_t)t + 1;
        seen[t] = rows;
    }
    for (size_t l = 0; level_at(l); l++)
        for (int f = 0; level_supported(level_at(l)) && f < 2; f++) {
            struct attention a = { keys, heads, kv, n, 0.125f, f != 0, q, f ? (void *)half : cache,
                                   f ? (void *)half : cache, seen, visible, keys };
            level_force(level_at(l));
            measure(a, z, pool);
        }
    free(q), free(z), free(cache), free(half), free(rows), free(visible), free((void *)seen);
    pool_free(pool);
    return 0;
}
