/* SPDX-License-Identifier: MIT */
#include "kernels/attention.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "kernels/level.h"
#include "kernels/rows.h"

enum {
    SCORES_MAX = 1 << 17, /* of a fused part: they should stay in the second-level cache */
    ROWS_MIN = 32,        /* but unpacking a key must pay for itself */
    KEYS = 512,           /* of a task, where there are few tokens */
    CHANNELS = 32,        /* likewise */
    FEW = 4,              /* tokens */
    SMALL = 1 << 16       /* products that are not worth waking somebody */
};

int64_t attention_scratch(const struct attention *a, int64_t count)
{
    const int64_t rows = count * (a->heads / a->kv), width = attention_width(a->n);
    int64_t levels = 1;
    while ((int64_t)ATTENTION_PANEL << levels <= a->max_keys)
        levels++;
    return attention_width(ATTENTION_ROW_FLOATS * rows) + (rows + ATTENTION_PANEL) * width
           + rows * (ATTENTION_PANEL + levels * width);
}

static int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }

/* Tokens that are taken together. */
static int64_t part_tokens(const struct attention *a)
{
    const int64_t group = a->heads / a->kv;
    const int64_t fit = SCORES_MAX / attention_width(a->max_keys);
    const int64_t rows = max(ROWS_MIN, min(ATTENTION_ROWS, fit));
    return min(a->tokens, max(1, rows / group));
}

/* The work: parts in order of tokens, and what each of them is cut into. */
struct job {
    const struct attention *a;
    const struct level *level;
    struct {
        int64_t first, count;
    } *parts;
    int64_t n_parts, slices;
    float *score; /* [heads][tok][stride] */
    int64_t stride;
    bool all; /* what a token does not see is filled in, too */
    float *z;
    float *scratch; /* [worker][scratch_size] */
    int64_t scratch_size;
};

static void job_begin(struct job *j, const struct attention *a)
{
    const int64_t most = part_tokens(a);
    *j = (struct job){ .a = a, .level = level_now(), .slices = 1 };
    j->parts = x_alloc((size_t)a->tokens * sizeof *j->parts);
    for (int64_t t = 0, n; t < a->tokens; t += n) {
        for (n = 1; n < most && t + n < a->tokens && a->keys[t + n] == a->keys[t];)
            n++;
        j->parts[j->n_parts].first = t;
        j->parts[j->n_parts++].count = n;
    }
    j->scratch_size = attention_scratch(a, most);
}

static void job_run(struct job *j, pool_fn *fn, struct pool *pool,
                    const volatile sig_atomic_t *cancel)
{
    const int64_t products = j->a->tokens * j->a->max_keys * j->a->heads * j->a->n;
    struct pool *who = products > SMALL ? pool : NULL;
    const size_t bytes = (size_t)(j->scratch_size * pool_threads(who)) * sizeof *j->scratch;
    j->scratch = x_scratch(bytes);
    pool_for(who, j->n_parts * j->a->kv * j->slices, fn, j, cancel);
    free(j->scratch);
    j->scratch = NULL;
}

static void job_end(struct job *j) { free(j->parts); }

static float *scratch_of(const struct job *j, int worker)
{
    return j->scratch + worker * j->scratch_size;
}

/* The last parts see most keys: they come first. Returns the slice. */
static int64_t part_at(const struct job *j, int64_t chunk, struct attention_part *p)
{
    const int64_t groups = j->a->kv, i = j->n_parts - 1 - chunk / (groups * j->slices);
    *p = (struct attention_part){ .group = chunk / j->slices % groups,
                                  .first = j->parts[i].first,
                                  .count = j->parts[i].count };
    return chunk % j->slices;
}

/* Where the part finds its scores in an array [heads][tok][stride]. */
static void in_whole(const struct job *j, struct attention_part *p)
{
    const int64_t head = p->group * (j->a->heads / j->a->kv);
    p->token_stride = j->stride;
    p->head_stride = j->a->tokens * j->stride;
    p->score = j->score + head * p->head_stride + p->first * p->token_stride;
}

/* Keys [from, end) of the rows: -inf for those that the token does not see. */
static void hide(const struct attention *a, const struct attention_part *p, int64_t from,
                 int64_t end)
{
    for (int64_t h = 0; h < a->heads / a->kv; h++)
        for (int64_t t = 0; t < p->count; t++) {
            float *row = p->score + h * p->head_stride + t * p->token_stride;
            for (int64_t k = max(from, a->visible[p->first + t]); k < end; k++)
                row[k] = -INFINITY;
        }
}

static void score_chunk(void *data, int64_t chunk, int worker)
{
    const struct job *j = data;
    struct attention_part p;
    const int64_t from = part_at(j, chunk, &p) * KEYS, end = min(from + KEYS, j->a->max_keys);
    in_whole(j, &p);
    j->level->attention_scores(j->a, &p, from, end, scratch_of(j, worker));
    if (j->all)
        hide(j->a, &p, from, end);
}

static void mix_chunk(void *data, int64_t chunk, int worker)
{
    const struct job *j = data;
    struct attention_part p;
    const int64_t from = part_at(j, chunk, &p) * CHANNELS, end = from + CHANNELS;
    in_whole(j, &p);
    j->level->attention_mix(j->a, &p, from, min(end, j->a->n), j->z, scratch_of(j, worker));
}

/* Softmax of the rows, in place. */
static void soften(const struct attention *a, const struct attention_part *p)
{
    for (int64_t h = 0; h < a->heads / a->kv; h++)
        for (int64_t t = 0; t < p->count; t++) {
            float *row = p->score + h * p->head_stride + t * p->token_stride;
            const int64_t visible = a->visible[p->first + t];
            row_softmax(row, visible, visible, row);
        }
}

static void softmax_chunk(void *data, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = data;
    struct attention_part p;
    part_at(j, chunk, &p);
    in_whole(j, &p);
    soften(j->a, &p);
}

static void fused_chunk(void *data, int64_t chunk, int worker)
{
    const struct job *j = data;
    float *scratch = scratch_of(j, worker);
    struct attention_part p;
    part_at(j, chunk, &p);
    p.token_stride = j->stride;
    p.head_stride = p.count * j->stride;
    p.score = scratch + attention_scratch(j->a, p.count);
    j->level->attention_scores(j->a, &p, 0, j->a->max_keys, scratch);
    soften(j->a, &p);
    j->level->attention_mix(j->a, &p, 0, j->a->n, j->z, scratch);
}

static void run_scores(struct job *j, struct pool *pool, const volatile sig_atomic_t *cancel)
{
    j->slices = pool_chunks(j->a->max_keys, KEYS);
    job_run(j, score_chunk, pool, cancel);
}

static void run_mix(struct job *j, struct pool *pool, const volatile sig_atomic_t *cancel)
{
    j->slices = pool_chunks(j->a->n, CHANNELS);
    job_run(j, mix_chunk, pool, cancel);
}

void attention_scores(const struct attention *a, float *out, struct pool *pool,
                      const volatile sig_atomic_t *cancel)
{
    struct job j;
    job_begin(&j, a);
    j.score = out;
    j.stride = a->max_keys;
    j.all = true;
    run_scores(&j, pool, cancel);
    job_end(&j);
}

void attention_mix(const struct attention *a, const float *p, float *z, struct pool *pool,
                   const volatile sig_atomic_t *cancel)
{
    struct job j;
    job_begin(&j, a);
    j.score = (float *)p; /* only read */
    j.stride = a->max_keys;
    j.z = z;
    run_mix(&j, pool, cancel);
    job_end(&j);
}

void attention_fused(const struct attention *a, float *z, struct pool *pool,
                     const volatile sig_atomic_t *cancel)
{
    struct job j;
    job_begin(&j, a);
    j.z = z;
    j.stride = attention_width(a->max_keys);
    if (a->tokens > FEW || a->max_keys <= KEYS) {
        j.scratch_size += part_tokens(a) * (a->heads / a->kv) * j.stride;
        job_run(&j, fused_chunk, pool, cancel);
    } else { /* few tokens, many keys: each head is work for several */
        j.score = x_scratch((size_t)(a->heads * a->tokens * j.stride) * sizeof *j.score);
        run_scores(&j, pool, cancel);
        j.slices = 1;
        job_run(&j, softmax_chunk, pool, cancel);
        run_mix(&j, pool, cancel);
        free(j.score);
    }
    job_end(&j);
}
