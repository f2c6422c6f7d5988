/* SPDX-License-Identifier: MIT */
/* Speed of matrix products: for each format and number of tokens, what exact and native mode and
 * the portable level of native mode take, side by side in one run. GB/s are bytes of weights read,
 * GOP/s twice the products of a weight and an activation; the last columns are ratios of time.
 *
 * usage: bench_matrix [-c] [-o] [-t THREADS] [-n ROWS] [-k COLS] [-m TOKENS] [FORMAT...]     (-c:
 * processor time) */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "kernels/level.h"
#include "kernels/matrix.h"

enum { ROUNDS = 5 };

/* Of a machine that does other work too, only the time of this process tells anything. */
static bool only_native;
static clockid_t clock_used = CLOCK_MONOTONIC;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(clock_used, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct job {
    struct matrix w;
    const float *x;
    float *y;
    int64_t tokens;
    struct pool *pool;
};

/* The best of some rounds, seconds per product; NULL = the fastest level. */
static double best(const struct job *j, enum compute mode, const struct level *level)
{
    double least = 1e9, spent = 0;
    level_force(level);
    for (int round = 0; round < ROUNDS && (round < 2 || spent < 1); round++) {
        const double start = seconds();
        matrix_mul(&j->w, NULL, j->x, j->tokens, j->y, mode, j->pool, NULL);
        const double took = seconds() - start;
        spent += took;
        least = took < least ? took : least;
    }
    level_force(NULL);
    return least;
}

/* Bytes that are no NaN wherever a format keeps a scale. */
static void fill(uint8_t *p, size_t n)
{
    uint64_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        p[i] = (uint8_t)(state >> 40 & 0x2f);
    }
}

/* What plain reading of the same bytes reaches, GB/s. */
static uint64_t sink;

static void read_chunk(void *data, int64_t chunk, int worker)
{
    (void)worker;
    const uint64_t *p = (const uint64_t *)data + chunk * 8192;
    uint64_t sum[8] = { 0 };
    for (int i = 0; i < 8192; i += 8)
        for (int k = 0; k < 8; k++)
            sum[k] += p[i + k];
    for (int k = 0; k < 8; k++)
        __atomic_fetch_xor(&sink, sum[k], __ATOMIC_RELAXED);
}

static double read_speed(const struct job *j, size_t bytes)
{
    double least = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        const double start = seconds();
        pool_for(j->pool, (int64_t)(bytes / 65536), read_chunk, (void *)j->w.data, NULL);
        const double took = seconds() - start;
        least = took < least ? took : least;
    }
    return (double)bytes / least * 1e-9;
}

/* The same product in exact mode and at the other levels. */
static void compare(const struct job *j, double ops, double native)
{
    const double exact = best(j, COMPUTE_EXACT, NULL), fast = best(j, COMPUTE_FAST, NULL);
    const double plain = best(j, COMPUTE_NATIVE, level_find("c"));
    const struct level *avx2 = level_find("avx2");
    printf("  exact %6.1f  fast %6.1f  c %5.1f  exact/native %5.2f  exact/fast %5.2f  c/native "
           "%5.2f",
           ops / exact, ops / fast, ops / plain, exact / native, exact / fast, plain / native);
    if (avx2 && level_supported(avx2))
        printf("  avx2 %6.1f fast %6.1f", ops / best(j, COMPUTE_NATIVE, avx2),
               ops / best(j, COMPUTE_FAST, avx2));
    if (level_find("avx512bf16") && level_supported(level_find("avx512")))
        printf("  avx512 fast %6.1f", ops / best(j, COMPUTE_FAST, level_find("avx512")));
}

static void run_format(const char *name, int64_t rows, int64_t cols, int64_t most,
                       struct pool *pool)
{
    static const int64_t tokens[] = { 1, 2, 4, 8, 16, 64, 512 };
    struct job j = { .pool = pool };
    j.w = (struct matrix){ format_by_name(name), NULL, 0, rows, cols, NULL };
    if (!format_row_bytes(j.w.format, (uint64_t)cols, &j.w.row_bytes)) {
        fprintf(stderr, "%s: no such format, or the wrong number of columns\n", name);
        return;
    }
    const size_t bytes = j.w.row_bytes * (size_t)rows;
    uint8_t *data = x_alloc(bytes);
    fill(data, bytes);
    j.w.data = data;
    float *x = aligned_alloc(64, (size_t)(512 * cols) * sizeof *x);
    for (int64_t i = 0; i < 512 * cols; i++)
        x[i] = (float)(i * 2654435761 % 1000) * 1e-3f - 0.5f;
    j.x = x;
    j.y = x_alloc((size_t)(512 * rows) * sizeof *j.y);
    printf("%s %lld x %lld, %.0f MB, plain reading %.1f GB/s\n", name, (long long)rows,
           (long long)cols, (double)bytes * 1e-6, read_speed(&j, bytes));
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens && tokens[i] <= most; i++) {
        j.tokens = tokens[i];
        if (tokens[i] > 16)
            j.w.rows = rows < 2048 ? rows : 2048;
        const double ops = 2e-9 * (double)(j.w.rows * cols * tokens[i]);
        const double gb = 1e-9 * (double)(j.w.row_bytes * (size_t)j.w.rows);
        const double native = best(&j, COMPUTE_NATIVE, NULL);
        printf("%6lld tokens: native %6.1f GB/s %7.1f GOP/s", (long long)tokens[i], gb / native,
               ops / native);
        if (!only_native)
            compare(&j, ops, native);
        putchar('\n');
    }
    free(data);
    free(x);
    free(j.y);
}

int main(int argc, char **argv)
{
    int threads = 1, option;
    int64_t rows = 16384, cols = 4096, most = 512;
    while ((option = getopt(argc, argv, "cot:n:k:m:")) != -1) {
        const int64_t value = optarg ? atoll(optarg) : 0;
        switch (option) {
        case 'o': only_native = true; break;
        case 'c': clock_used = CLOCK_PROCESS_CPUTIME_ID; break;
        case 't': threads = (int)value; break;
        case 'n': rows = value; break;
        case 'k': cols = value; break;
        case 'm': most = value; break;
        default:
            fprintf(stderr,
                    "usage: bench_matrix [-c] [-o] [-t THREADS] [-n ROWS] [-k COLS] [-m TOKENS] "
                    "[FORMAT...]\n");
            return 2;
        }
    }
    static char *usual[] = { "q4_0", "q8_0", "q4_k", "q6_k" };
    struct pool *pool = pool_new(threads);
    for (int i = 0; i < (optind < argc ? argc - optind : 4); i++)
        run_format(optind < argc ? argv[optind + i] : usual[i], rows, cols, most, pool);
    pool_free(pool);
    return 0;
}
