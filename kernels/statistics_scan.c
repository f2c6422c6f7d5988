/* SPDX-License-Identifier: MIT */
/* The one pass that conditions make over every point of a run: as fast as memory gives the data. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/statistics.h"

enum { WIDTH = 16, RUN = 64 /* vectors between two sums in double */, CHUNK = 1 << 15 };

typedef float floats __attribute__((vector_size(4 * WIDTH)));
typedef int32_t ints __attribute__((vector_size(4 * WIDTH)));

enum { MAGNITUDE = 0x7fffffff, INFINITE = 0x7f800000 };

struct part {
    double squares;
    int32_t top; /* bits of the largest magnitude; NaN and infinity are above all numbers */
};

static struct part part_of(const float *x, int64_t n)
{
    struct part p = { 0, 0 };
    ints top = { 0 };
    int64_t i = 0;
    while (i + WIDTH <= n) {
        const int64_t end = n - i > RUN * WIDTH ? i + RUN * WIDTH : i + (n - i) / WIDTH * WIDTH;
        floats sum = { 0 };
        for (; i < end; i += WIDTH) {
            floats v;
            ints bits;
            memcpy(&v, x + i, sizeof v);
            bits = (ints)v & MAGNITUDE;
            const ints above = bits > top;
            top = (bits & above) | (top & ~above);
            sum += v * v;
        }
        for (int l = 0; l < WIDTH; l++)
            p.squares += (double)sum[l];
    }
    for (int l = 0; l < WIDTH; l++)
        p.top = top[l] > p.top ? top[l] : p.top;
    for (; i < n; i++) {
        int32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= MAGNITUDE;
        p.top = bits > p.top ? bits : p.top;
        p.squares += (double)x[i] * (double)x[i];
    }
    return p;
}

struct job {
    const float *x;
    int64_t n;
    struct part *parts;
};

static void chunk_of(void *data, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = data;
    const int64_t from = chunk * CHUNK, left = j->n - from;
    j->parts[chunk] = part_of(j->x + from, left < CHUNK ? left : CHUNK);
}

void scan_of(struct pool *pool, const float *x, int64_t n, struct scan *out)
{
    struct part one;
    const int64_t chunks = pool_chunks(n, CHUNK);
    struct job j = { x, n, chunks > 1 ? x_alloc((size_t)chunks * sizeof *j.parts) : &one };
    if (chunks)
        pool_for(pool, chunks, chunk_of, &j, NULL);
    struct part all = { 0, 0 };
    for (int64_t i = 0; i < chunks; i++) {
        all.squares += j.parts[i].squares;
        all.top = j.parts[i].top > all.top ? j.parts[i].top : all.top;
    }
    if (j.parts != &one)
        free(j.parts);
    out->finite = all.top < INFINITE;
    out->squares = all.squares;
    memcpy(&out->absmax, &all.top, sizeof out->absmax);
}
