/* SPDX-License-Identifier: MIT */
/* Time to open a model file: bench_open [FILE]. Without FILE, a header made in memory with a
 * vocabulary of 128,000 tokens, their scores and types, 280,000 merges and 300 tensors. Prints the
 * best and the median of 21 runs, and the ratio to reading the same bytes once. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/memory.h"
#include "file/weights.h"
#include "tests/harness/gguf_build.h"

enum { RUNS = 21, TOKENS = 128000, MERGES = 280000, TENSORS = 300 };

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void words(struct build *b, const char *key, int n, const char *fmt)
{
    char word[32];
    build_array(b, key, GGUF_STRING, (uint64_t)n);
    for (int i = 0; i < n; i++) {
        build_put_string(&b->kvs,
                         str_of(word, (size_t)snprintf(word, sizeof word, "%s%d", fmt, i)));
    }
}

static uint8_t *make(size_t *n)
{
    static const uint64_t ne[2] = { 32, 1 };
    struct build b = BUILD_INIT;
    words(&b, "tokenizer.ggml.tokens", TOKENS, "token");
    words(&b, "tokenizer.ggml.merges", MERGES, "a b");
    build_array(&b, "tokenizer.ggml.scores", GGUF_F32, TOKENS);
    build_put(&b.kvs, 0, 4 * TOKENS);
    build_array(&b, "tokenizer.ggml.token_type", GGUF_I32, TOKENS);
    build_put(&b.kvs, 0, 4 * TOKENS);
    for (int i = 0; i < TENSORS; i++) {
        char name[32];
        snprintf(name, sizeof name, "blk.%d.attn_q.weight", i);
        build_record(&b, name, 0, 2, ne, (uint64_t)i * 128);
    }
    build_put(&b.data, 0, TENSORS * 128);
    uint8_t *image = build_image(&b, n);
    build_free(&b);
    return image;
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static uint64_t touch(const uint8_t *p, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += p[i];
    return sum;
}

int main(int argc, char **argv)
{
    size_t n = 0, used = 0;
    uint8_t *image = argc > 1 ? NULL : make(&n);
    double times[RUNS], read = 0;
    uint64_t sum = 0;
    for (int i = 0; i < RUNS; i++) {
        struct weights *w;
        struct err e = ERR_INIT;
        double start = now_ms();
        enum st st = image ? weights_borrow(image, n, "made", &w, &e)
                           : weights_open(argv[1], &w, &e);
        times[i] = now_ms() - start;
        if (st) {
            fprintf(stderr, "%s: %s\n", e.where, e.msg);
            return 1;
        }
        const struct gguf *g = w->files[0];
        used = mem_used();
        start = now_ms();
        sum += touch(g->map.p, g->data_offset < g->map.size ? g->data_offset : g->map.size);
        double t = now_ms() - start;
        read = i && read < t ? read : t;
        weights_close(w);
    }
    qsort(times, RUNS, sizeof *times, by_value);
    printf("open: best %.3f ms, median %.3f ms; index %zu bytes; %.2f x one pass over the header "
           "(checksum %llu)\n",
           times[0], times[RUNS / 2], used, times[0] / read, (unsigned long long)sum);
    free(image);
    return 0;
}
