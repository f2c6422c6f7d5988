/* SPDX-License-Identifier: MIT */
/* How fast a model runs: prompts, single tokens, and the memory that it took. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "study/bench.h"
#include "study/sample.h"

uint64_t bench_process_peak(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[128];
    unsigned long long kb = 0;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %llu kB", &kb) == 1)
            break;
    if (f)
        fclose(f);
    return kb * 1024;
}

/* All weights, without the embedding where an output matrix of its own exists. */
static uint64_t bytes_per_token(const struct model *m)
{
    const struct weight *in = weights_find(m->weights, STR("token_embd.weight"));
    const bool untied = in && weights_find(m->weights, STR("output.weight"));
    return m->weights->n_bytes - (untied ? in->bytes : 0);
}

struct timing {
    const struct model *model;
    const struct run_options *options;
    struct progress *progress;
    uint64_t state; /* of the random tokens */
    int64_t vocab;
    int32_t *ids;
    float *hidden;   /* one row of what the head reads */
    float *logits;   /* the same, NULL when the model has none */
    double done, of; /* tokens, for the progress */
};

static void draw(struct timing *t, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        t->ids[i] = (int32_t)(sample_uniform(&t->state) * (double)t->vocab);
}

static bool tick(struct timing *t, double tokens)
{
    t->done += tokens;
    return progress_tick(t->progress, "bench", t->done, t->of);
}

/* What a run tells while it works, as part of the whole. */
struct inner {
    struct timing *t;
    double tokens; /* of this run */
};

static void show_inner(struct progress *p, const char *label, double done, double total)
{
    (void)label;
    const struct inner *in = p->data;
    progress_tick(in->t->progress, "bench", in->t->done + in->tokens * done / total, in->t->of);
}

/* All tokens as far as the last one needs them, then the head for that one. */
static enum st to_logits(struct timing *t, struct run *r, struct err *e)
{
    struct inner in = { t, (double)run_n_tokens(r) };
    struct progress inner = { show_inner, t->progress ? t->progress->cancel : NULL, &in };
    enum st st = run_tail(r, 1, t->hidden, &inner, e);
    return st || !t->logits ? st : run_head(r, t->hidden, 1, t->logits, e);
}

/* Seconds of one prompt of n random tokens, from making the run to the logits. */
static enum st prompt_once(struct timing *t, int64_t n, double *seconds, struct err *e)
{
    draw(t, n);
    const double start = bench_now();
    struct run *r = run_new(t->model, t->options);
    enum st st = run_input(r, t->ids, NULL, NULL, n, e);
    if (!st)
        st = to_logits(t, r, e);
    *seconds = bench_now() - start;
    run_free(r);
    if (!st && !tick(t, (double)n))
        st = st_fail(e, ST_CANCELLED, "interrupted");
    return st;
}

/* Seconds of n tokens, each passing by itself; the first of them is the whole prompt. */
static enum st generate_once(struct timing *t, int64_t n, double *seconds, struct err *e)
{
    draw(t, n);
    struct run *r = run_new(t->model, t->options);
    const double start = bench_now();
    enum st st = ST_OK;
    for (int64_t i = 0; i < n && !st; i++) {
        st = i ? run_append(r, t->ids + i, 1, e) : run_input(r, t->ids, NULL, NULL, 1, e);
        struct progress quiet = { .cancel = t->progress ? t->progress->cancel : NULL };
        if (!st)
            st = run_forward(r, run_end(r), &quiet, NULL, e);
        if (!st && !tick(t, 1))
            st = st_fail(e, ST_CANCELLED, "interrupted");
    }
    *seconds = bench_now() - start;
    run_free(r);
    return st;
}

static enum st repeat(struct timing *t, const struct bench_model *b, bool prompt,
                      struct bench_samples *out, struct err *e)
{
    double v[BENCH_MAX_SAMPLES], seconds;
    const int64_t n = prompt ? b->prompt : b->generate;
    int done = 0;
    enum st st = ST_OK;
    while (done < b->repetitions && done < BENCH_MAX_SAMPLES) {
        st = prompt ? prompt_once(t, n, &seconds, e) : generate_once(t, n, &seconds, e);
        if (st)
            break;
        v[done++] = (double)n / seconds;
    }
    *out = bench_samples_of(v, done);
    return st;
}

enum st bench_model_of(const struct model *m, const struct run_options *o,
                       const struct bench_model *b, struct progress *p,
                       struct bench_model_result *out, struct err *e)
{
    const struct weight *embedding = weights_find(m->weights, STR("token_embd.weight"));
    const struct graph *g = m->graph;
    const int64_t most = b->prompt > b->generate ? b->prompt : b->generate;
    const bool generates = g->logits >= 0 && g->causal && b->generate > 0;
    const int64_t first_tokens = b->prompt > 0 ? b->prompt : generates; /* touch all pages */
    *out = (struct bench_model_result){ bench_samples_of(NULL, 0), bench_samples_of(NULL, 0), NAN,
                                        bytes_per_token(m) };
    if (!embedding)
        return st_fail(e, ST_UNSUPPORTED, "the model reads no tokens");
    struct run_options options = *o;
    options.checkpoint_bytes = RUN_NO_CHECKPOINTS;
    struct timing t = { m, &options, p, b->seed, (int64_t)embedding->rows, NULL, NULL, NULL, 0, 0 };
    t.of = (double)(first_tokens + b->prompt * b->repetitions);
    t.of += generates ? (double)b->generate * b->repetitions : 0;
    t.ids = x_alloc((size_t)(most > 0 ? most : 1) * sizeof *t.ids);
    t.hidden = x_alloc((size_t)shape_per_token(&g->values[g->hidden].shape) * sizeof *t.hidden);
    t.logits = g->logits < 0 ? NULL : x_alloc((size_t)g->vocab * sizeof *t.logits);
    double first;
    enum st st = ST_OK;
    if (first_tokens > 0 && !(st = prompt_once(&t, first_tokens, &first, e)))
        out->first_token = first;
    if (!st && b->prompt > 0)
        st = repeat(&t, b, true, &out->prompt, e);
    if (!st && generates)
        st = repeat(&t, b, false, &out->generate, e);
    free(t.ids);
    free(t.hidden);
    free(t.logits);
    return st;
}
