/* SPDX-License-Identifier: MIT */
/* Decode speed of every format on one thread: weights per second, GB/s of file, and what
 * share of the time a plain copy of the decoded floats takes.
 *
 * usage: bench_decode [FORMAT...] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "kernels/format.h"
#include "kernels/statistics.h"

enum { WEIGHTS = 1 << 16, ROUNDS = 15 }; /* 256 KB of floats: in the second-level cache */

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct job {
    const struct format_info *info; /* NULL: copy floats */
    const void *src;
    float *dst;
};

static void decode(void *data)
{
    struct job *j = data;
    if (j->info)
        j->info->decode(j->src, j->dst, WEIGHTS);
    else
        memcpy(j->dst, j->src, WEIGHTS * sizeof *j->dst);
}

static void summarise(void *data)
{
    struct job *j = data;
    struct summary s;
    summary_of(NULL, j->src, WEIGHTS, &s);
    j->dst[0] = (float)s.kurt;
}

/* The best of some rounds, seconds per call. */
static double best(void (*call)(void *), void *data)
{
    double least = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        int calls = 0;
        double start = seconds(), now = start;
        for (; now - start < 2e-3; calls++, now = seconds())
            call(data);
        double each = (now - start) / calls;
        least = each < least ? each : least;
    }
    return least;
}

static bool wanted(const struct format_info *info, int argc, char **argv)
{
    bool any = argc < 2;
    for (int i = 1; i < argc; i++)
        any = any || !strcasecmp(argv[i], info->name);
    return any && info->decode;
}

int main(int argc, char **argv)
{
    uint8_t *src = malloc(WEIGHTS * 8);
    float *dst = malloc(WEIGHTS * sizeof *dst);
    if (!src || !dst)
        return 1;
    for (size_t i = 0; i < WEIGHTS * 8; i++) /* no infinities: bytes stay below 0x7c */
        src[i] = (uint8_t)(i * 2654435761u >> 13) % 0x50;
    memset(dst, 0, WEIGHTS * sizeof *dst);
    struct job job = { NULL, src, dst };
    double copy = best(decode, &job);
    printf("%-8s %10s %9s %12s\n", "format", "Gweight/s", "file GB/s", "copy/decode");
    printf("%-8s %10.2f %9.2f %12.2f\n", "copy", WEIGHTS / copy * 1e-9, WEIGHTS * 4 / copy * 1e-9,
           1.0);
    for (int k = 0; k < format_count(); k++) {
        job.info = format_info((enum format)k);
        if (!wanted(job.info, argc, argv))
            continue;
        double t = best(decode, &job), bytes = (double)WEIGHTS / job.info->block * job.info->bytes;
        printf("%-8s %10.2f %9.2f %12.2f\n", job.info->name, WEIGHTS / t * 1e-9, bytes / t * 1e-9,
               copy / t);
    }
    double t = best(summarise, &job);
    printf("%-8s %10.2f %9.2f %12.2f\n", "summary", WEIGHTS / t * 1e-9, WEIGHTS * 4 / t * 1e-9,
           copy / t);
    free(src);
    free(dst);
    return 0;
}
