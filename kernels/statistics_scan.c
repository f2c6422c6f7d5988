/* SPDX-License-Identifier: MIT */
/* The one pass that conditions make over every point of a run: as fast as memory gives the data. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/level.h"
#include "kernels/statistics.h"

enum { CHUNK = 1 << 15, FEW = 64 /* chunks whose results need no memory */, INFINITE = 0x7f800000 };

struct job {
    const float *x;
    int64_t n;
    struct scan_part *parts, few[FEW];
    const struct scan_kernels *kernels;
};

static void chunk_of(void *data, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = data;
    const int64_t from = chunk * CHUNK, left = j->n - from;
    j->kernels->scan(j->x + from, left < CHUNK ? left : CHUNK, &j->parts[chunk]);
}

/* The parts are the job's: free with job_end. */
static struct scan_part job_run(struct job *j, struct pool *pool, const float *x, int64_t n)
{
    struct scan_part all = { 0, 0 };
    const int64_t chunks = pool_chunks(n, CHUNK);
    j->x = x;
    j->n = n;
    j->kernels = &level_now()->scan;
    j->parts = chunks > FEW ? x_alloc((size_t)chunks * sizeof *j->parts) : j->few;
    if (chunks)
        pool_for_runs(pool, chunks, chunk_of, j, NULL);
    for (int64_t i = 0; i < chunks; i++) {
        all.squares += j->parts[i].squares;
        all.top = j->parts[i].top > all.top ? j->parts[i].top : all.top;
    }
    return all;
}

static void job_end(struct job *j)
{
    if (j->parts != j->few)
        free(j->parts);
}

static void scan_from(const struct scan_part *all, struct scan *out)
{
    out->finite = all->top < INFINITE;
    out->squares = all->squares;
    memcpy(&out->absmax, &all->top, sizeof out->absmax);
}

void scan_of(struct pool *pool, const float *x, int64_t n, struct scan *out)
{
    struct job j;
    const struct scan_part all = job_run(&j, pool, x, n);
    job_end(&j);
    scan_from(&all, out);
}

void ties_of(struct pool *pool, const float *x, int64_t n, struct ties *out)
{
    struct job j;
    struct ties t = { .first = -1 };
    const struct scan_part all = job_run(&j, pool, x, n);
    scan_from(&all, &t.scan);
    /* Only chunks whose largest is the largest of all hold one. */
    for (int64_t i = 0; t.scan.finite && i < pool_chunks(n, CHUNK); i++) {
        const int64_t from = i * CHUNK, left = n - from;
        if (j.parts[i].top != all.top)
            continue;
        t.count += j.kernels->count(x + from, left < CHUNK ? left : CHUNK, all.top);
        for (int64_t k = from; t.first < 0; k++)
            if (x[k] == t.scan.absmax || x[k] == -t.scan.absmax)
                t.first = k;
    }
    job_end(&j);
    *out = t;
}
