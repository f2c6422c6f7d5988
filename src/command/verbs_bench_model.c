/* SPDX-License-Identifier: MIT */
/* `bench model`: how fast a model runs, beside what other engines call pp and tg. */
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "command/command.h"
#include "command/verbs_bench.h"
#include "kernels/level.h"
#include "study/bench.h"

/* What is wanted; threads 0 and mode COMPUTE__COUNT: as the settings say. */
struct wanted {
    struct bench_model what;
    int64_t threads;
    enum compute mode;
};

static enum st parse_mode(const struct call *c, int i, enum compute *out, struct err *e)
{
    for (int m = 0; m < COMPUTE__COUNT; m++)
        if (str_is(c->words[i].text, compute_name((enum compute)m))) {
            *out = (enum compute)m;
            return ST_OK;
        }
    return call_fail(c, i, e, ST_SYNTAX, "a compute mode is exact, native or fast");
}

/* The words from `first` on. */
static enum st parse_wanted(const struct call *c, int first, struct wanted *w, struct err *e)
{
    int64_t repetitions = w->what.repetitions;
    const struct {
        const char *flag;
        int64_t least, most, *value; /* NULL: a mode */
    } options[] = {
        { "-p", 0, 1 << 20, &w->what.prompt },
        { "-n", 0, 1 << 20, &w->what.generate },
        { "-r", 1, BENCH_MAX_SAMPLES, &repetitions },
        { "-t", 1, POOL_MAX_THREADS, &w->threads },
        { "-c", 0, 0, NULL },
    };
    enum { OPTIONS = sizeof options / sizeof *options };
    for (int i = first; i < c->n_words; i += 2) {
        int k = 0;
        while (k < OPTIONS && !str_is(c->words[i].text, options[k].flag))
            k++;
        if (k == OPTIONS)
            return call_fail(c, i, e, ST_SYNTAX, "expected -p N, -n N, -r N, -t N or -c MODE");
        if (i + 1 >= c->n_words)
            return call_fail(c, i + 1, e, ST_SYNTAX, "a %s is missing",
                             options[k].value ? "number" : "compute mode");
        enum st st = options[k].value ? parse_i64(c->words[i + 1].text, options[k].least,
                                                  options[k].most, options[k].value, e)
                                      : parse_mode(c, i + 1, &w->mode, e);
        if (st)
            return st_at(e, c->words[i + 1].column, c->words[i + 1].length);
    }
    w->what.repetitions = (int)repetitions;
    return ST_OK;
}

static void speed_row(struct table *t, const char *test, int64_t tokens,
                      const struct bench_samples *v)
{
    if (!v->n)
        return;
    table_row(t);
    table_str(t, test);
    table_int(t, tokens);
    table_float(t, v->median);
    table_float(t, v->least);
    table_float(t, v->most);
    table_float(t, 100 * (v->most - v->least) / v->median);
    table_int(t, v->n);
}

static void speed_table(const struct bench_model *b, const struct bench_model_result *r,
                        struct result *out)
{
    struct table *t = result_table(out, "speed", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "test" }, { COL_INT, "tokens" },
                  { COL_FLOAT, "median", "tok/s" }, { COL_FLOAT, "least", "tok/s" },
                  { COL_FLOAT, "most", "tok/s" }, { COL_FLOAT, "spread", "%", 2 },
                  { COL_INT, "of" });
    speed_row(t, "prompt", b->prompt, &r->prompt);
    speed_row(t, "generate", b->generate, &r->generate);
}

static void model_table(const struct model *m, const struct run_options *o, double open,
                        const struct bench_model_result *r, struct result *out)
{
    struct table *t = result_table(out, "model", TABLE_RECORD);
    TABLE_COLUMNS(t, { COL_FLOAT, "open", "s" }, { COL_FLOAT, "first_token", "s" },
                  { COL_FLOAT, "reads", "GB/s", 3 }, { COL_STRING, "compute" },
                  { COL_STRING, "level" }, { COL_INT, "threads" }, { COL_INT, "weights", "B" },
                  { COL_INT, "per_token", "B" }, { COL_INT, "memory_peak", "B" },
                  { COL_INT, "process_peak", "B" });
    table_row(t);
    isnan(open) ? table_skip(t) : table_float(t, open);
    isnan(r->first_token) ? table_skip(t) : table_float(t, r->first_token);
    const double reads = (double)r->bytes_per_token * r->generate.median * 1e-9;
    isnan(reads) ? table_skip(t) : table_float(t, reads);
    table_str(t, compute_name(o->mode));
    table_str(t, level_now()->name);
    table_int(t, pool_threads(o->pool));
    table_int(t, (int64_t)m->weights->n_bytes);
    table_int(t, (int64_t)r->bytes_per_token);
    table_int(t, (int64_t)mem_peak());
    const uint64_t peak = bench_process_peak();
    peak ? table_int(t, (int64_t)peak) : table_skip(t);
}

/* open: seconds that it took to open the model, NAN if it was open. */
static enum st measure_model(struct session *s, const struct model *m, const struct wanted *w,
                             double open, struct result *out, struct err *e)
{
    struct bench_model_result r;
    struct run_options o = session_run_options(s);
    struct pool *own = w->threads > 1 ? pool_new((int)w->threads) : NULL;
    if (w->threads)
        o.pool = own;
    if (w->mode < COMPUTE__COUNT)
        o.mode = w->mode;
    const enum st st = bench_model_of(m, &o, &w->what, s->progress, &r, e);
    if (!st || st == ST_CANCELLED) {
        speed_table(&w->what, &r, out);
        model_table(m, &o, open, &r, out);
    }
    pool_free(own);
    return st;
}

/* A file of its own, which the session does not get to know. */
static enum st measure_file(struct session *s, const struct word *word, const struct wanted *wanted,
                            struct result *out, struct err *e)
{
    char *path = x_strndup(word->text.p, word->text.n);
    const double start = bench_now();
    struct weights *w;
    enum st st = weights_open(path, &w, e);
    free(path);
    if (st)
        return st_at(e, word->column, word->length);
    struct model *m = model_new(w);
    const double open = bench_now() - start;
    if (m->graph) {
        st = measure_model(s, m, wanted, open, out, e);
    } else {
        st = m->no_graph.st;
        *e = m->no_graph;
    }
    model_free(m);
    return st;
}

enum st run_bench_model(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    const bool file = c->n_words > 1 && !str_starts(c->words[1].text, "-");
    struct session_model *m;
    struct wanted w = { { 512, 128, 3, (uint64_t)setting_int(&s->settings, SETTING_SEED) },
                        0,
                        COMPUTE__COUNT };
    enum st st = parse_wanted(c, 1 + file, &w, e);
    if (st)
        return st;
    if (file)
        return measure_file(s, &c->words[1], &w, out, e);
    st = session_need_graph(s, &m, e);
    return st ? st : measure_model(s, m->model, &w, NAN, out, e);
}
