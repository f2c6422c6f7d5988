/* SPDX-License-Identifier: MIT */
/* `bench catch`: what it costs to watch every point of a run. */
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "command/command.h"
#include "command/verbs_bench.h"
#include "kernels/level.h"
#include "session/control.h"
#include "study/sample.h"

/* The first is the run that the others are measured beside. */
static const char *const conditions[] = { NULL, "nan", "inf", "outlier(20)", "sat(0.01)" };
enum { KINDS = sizeof conditions / sizeof *conditions };

struct round_trip {
    struct session *s;
    const struct model *model;
    struct run_options options;
    const int32_t *ids;
    int64_t n;
    struct breakpoints breaks[KINDS];
};

static enum st catches(struct round_trip *t, struct err *e)
{
    enum st st = ST_OK;
    for (int k = 1; k < KINDS && !st; k++) {
        struct breakpoint *b;
        struct condition *c;
        st = condition_parse(str_from(conditions[k]), &c, e);
        if (!st && (st = breakpoint_add(&t->breaks[k], BREAK_CATCH, NULL, &b, e)))
            condition_free(c);
        if (!st) {
            b->condition = c;
            b->ignore = INT64_MAX; /* what it finds is counted, the run goes on */
        }
    }
    return st;
}

/* Seconds of the whole prompt, every point of it, as `run` would have it. */
static enum st pass(struct round_trip *t, int kind, double *seconds, struct err *e)
{
    struct session *s = t->s;
    struct session_run sr = { .run = run_new(t->model, &t->options) };
    const struct breakpoints kept = s->breaks;
    const struct element hit = s->hit;
    struct stop stop;
    enum st st = run_input(sr.run, t->ids, NULL, NULL, t->n, e);
    s->breaks = t->breaks[kind];
    if (s->breaks.n)
        s->breaks.list[0].hits = 0;
    const double start = bench_now();
    if (!st)
        st = control_forward(s, &sr, run_end(sr.run), STOP_END, &stop, e);
    *seconds = bench_now() - start;
    s->breaks = kept;
    s->hit = hit;
    run_free(sr.run);
    return st;
}

static void cost_table(struct round_trip *t, double (*seconds)[BENCH_MAX_SAMPLES], int rounds,
                       struct result *out)
{
    struct table *table = result_table(out, "catch", TABLE_ROWS);
    TABLE_COLUMNS(table, { COL_STRING, "condition" }, { COL_FLOAT, "median", "s", 4 },
                  { COL_FLOAT, "least", "s", 4 }, { COL_FLOAT, "most", "s", 4 },
                  { COL_FLOAT, "ratio", "", 4 }, { COL_FLOAT, "least_ratio", "", 4 },
                  { COL_FLOAT, "most_ratio", "", 4 }, { COL_INT, "hits" }, { COL_INT, "of" });
    for (int k = 0; k < KINDS; k++) {
        double ratio[BENCH_MAX_SAMPLES], own[BENCH_MAX_SAMPLES];
        for (int i = 0; i < rounds; i++) {
            own[i] = seconds[k][i];
            ratio[i] = seconds[k][i] / seconds[0][i];
        }
        const struct bench_samples v = bench_samples_of(own, rounds),
                                   r = bench_samples_of(ratio, rounds);
        table_row(table);
        table_str(table, k ? conditions[k] : "(none)");
        table_float(table, v.median);
        table_float(table, v.least);
        table_float(table, v.most);
        table_float(table, r.median);
        table_float(table, r.least);
        table_float(table, r.most);
        k ? table_int(table, t->breaks[k].list[0].hits) : table_skip(table);
        table_int(table, rounds);
    }
    struct table *of = result_table(out, "run", TABLE_RECORD);
    TABLE_COLUMNS(of, { COL_INT, "tokens" }, { COL_INT, "points" }, { COL_STRING, "compute" },
                  { COL_STRING, "level" }, { COL_INT, "threads" });
    table_row(of);
    table_int(of, t->n);
    table_int(of, t->model->graph->n_nodes);
    table_str(of, compute_name(t->options.mode));
    table_str(of, level_now()->name);
    table_int(of, pool_threads(t->options.pool));
}

/* Rounds of every kind, each beginning with another, so that what drifts touches all alike; the
 * first round only warms up. */
static enum st rounds_of(struct round_trip *t, int rounds, double (*seconds)[BENCH_MAX_SAMPLES],
                         int *done, struct err *e)
{
    struct session *s = t->s;
    struct progress *p = s->progress, quiet = { .cancel = p ? p->cancel : NULL };
    enum st st = ST_OK;
    s->progress = &quiet;
    for (int round = -1; round < rounds && !st; round++) {
        for (int i = 0; i < KINDS && !st; i++) {
            const int k = (round + 1 + i) % KINDS;
            double one;
            if (!progress_tick(p, "bench", (round + 1) * KINDS + i, (rounds + 1) * KINDS))
                st = st_fail(e, ST_CANCELLED, "interrupted");
            else if (!(st = pass(t, k, &one, e)) && round >= 0)
                seconds[k][round] = one;
        }
        *done = st ? *done : round + 1;
    }
    s->progress = p;
    return st;
}

enum st run_bench_catch(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct bench_wanted w = { { 512, 0, 3, (uint64_t)setting_int(&s->settings, SETTING_SEED) },
                              BENCH_AS_SET,
                              COMPUTE__COUNT };
    struct bench_subject b;
    enum st st = bench_parse(c, 1 + bench_names_file(c), "-p N, -r N or -c MODE", &w, e);
    if (!st)
        st = bench_subject_open(s, c, &b, e);
    if (st)
        return st;
    const struct weight *embedding = weights_find(b.model->weights, STR("token_embd.weight"));
    struct round_trip t = { .s = s, .model = b.model, .options = session_run_options(s),
                            .n = w.what.prompt };
    double(*seconds)[BENCH_MAX_SAMPLES] = x_alloc(KINDS * sizeof *seconds);
    int32_t *ids = x_alloc((size_t)t.n * sizeof *ids);
    int done = 0;
    if (w.mode < COMPUTE__COUNT)
        t.options.mode = w.mode;
    for (int64_t i = 0; embedding && i < t.n; i++)
        ids[i] = (int32_t)(sample_uniform(&w.what.seed) * (double)embedding->rows);
    t.ids = ids;
    st = embedding ? catches(&t, e)
                   : st_fail(e, ST_UNSUPPORTED, "the model reads no tokens");
    if (!st)
        st = rounds_of(&t, w.what.repetitions, seconds, &done, e);
    if (done)
        cost_table(&t, seconds, done, out);
    for (int k = 0; k < KINDS; k++)
        breakpoints_free(&t.breaks[k]);
    free(ids);
    free(seconds);
    bench_subject_close(&b);
    return st;
}
