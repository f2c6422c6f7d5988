/* SPDX-License-Identifier: MIT */
/* `bench model`: how fast a model runs, beside what other engines call pp and tg. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/cells.h"
#include "command/command.h"
#include "command/verbs_bench.h"
#include "kernels/level.h"
#include "study/bench.h"

static enum st parse_mode(const struct call *c, int i, enum compute *out, struct err *e)
{
    for (int m = 0; m < COMPUTE__COUNT; m++)
        if (str_is(c->words[i].text, compute_name((enum compute)m))) {
            *out = (enum compute)m;
            return ST_OK;
        }
    return call_fail(c, i, e, ST_SYNTAX, "a compute mode is exact, native or fast");
}

enum st bench_parse(const struct call *c, int first, const char *accepts, struct bench_wanted *w,
                    struct err *e)
{
    int64_t repetitions = w->what.repetitions;
    const struct setting *threads = setting_info(SETTING_THREADS);
    const bool generates = strstr(accepts, "-n"); /* without, a prompt is all there is */
    const struct {
        const char *flag;
        int64_t least, most, *value; /* NULL: a mode */
    } options[] = {
        { "-p", generates ? 0 : 1, 1 << 20, &w->what.prompt },
        { "-n", 0, 1 << 20, &w->what.generate },
        { "-r", 1, BENCH_MAX_SAMPLES, &repetitions },
        { "-t", threads->lo, threads->hi, &w->threads },
        { "-c", 0, 0, NULL },
    };
    enum { OPTIONS = sizeof options / sizeof *options };
    for (int i = first; i < c->n_words; i += 2) {
        int k = 0;
        while (k < OPTIONS
               && !(str_is(c->words[i].text, options[k].flag) && strstr(accepts, options[k].flag)))
            k++;
        if (k == OPTIONS)
            return call_fail(c, i, e, ST_SYNTAX, "expected %s", accepts);
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

bool bench_names_file(const struct call *c)
{
    return c->n_words > 1 && !str_starts(c->words[1].text, "-");
}

enum st bench_subject_open(struct session *s, const struct call *c, struct bench_subject *out,
                           struct err *e)
{
    struct session_model *active;
    if (!bench_names_file(c)) {
        enum st st = session_need_graph(s, &active, e);
        if (!st)
            *out = (struct bench_subject){ active->model, NULL, NAN };
        return st;
    }
    char *path = x_strndup(c->words[1].text.p, c->words[1].text.n);
    const double start = bench_now();
    struct weights *w;
    enum st st = weights_open(path, &w, e);
    free(path);
    if (st)
        return st_at(e, c->words[1].column, c->words[1].length);
    struct model *m = model_new(w);
    if (!m->graph) {
        st = m->no_graph.st;
        *e = m->no_graph;
        model_free(m);
        return st;
    }
    *out = (struct bench_subject){ m, m, bench_now() - start };
    return ST_OK;
}

void bench_subject_close(struct bench_subject *b)
{
    if (b->own)
        model_free(b->own);
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
    put_number(t, open);
    put_number(t, r->first_token);
    put_number(t, (double)r->bytes_per_token * r->generate.median * 1e-9);
    table_str(t, compute_name(o->mode));
    table_str(t, level_now()->name);
    table_int(t, pool_threads(o->pool));
    table_int(t, (int64_t)m->weights->n_bytes);
    table_int(t, (int64_t)r->bytes_per_token);
    table_int(t, (int64_t)mem_peak());
    put_positive(t, (int64_t)bench_process_peak());
}

enum st run_bench_model(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct bench_wanted w = { { 512, 128, 3, (uint64_t)setting_int(&s->settings, SETTING_SEED) },
                              BENCH_AS_SET,
                              COMPUTE__COUNT };
    struct bench_subject b;
    struct bench_model_result r;
    const int first = 1 + bench_names_file(c);
    enum st st = bench_parse(c, first, "-p N, -n N, -r N, -t N or -c MODE", &w, e);
    if (!st && !w.what.prompt && !w.what.generate)
        st = call_fail(c, 0, e, ST_RANGE, "-p 0 and -n 0 leave nothing to measure");
    if (!st)
        st = bench_subject_open(s, c, &b, e);
    if (st)
        return st;
    struct run_options o = session_measure_options(s);
    const int threads = w.threads ? (int)w.threads : pool_cpus();
    struct pool *own = threads > 1 ? pool_new(threads) : NULL;
    if (w.threads != BENCH_AS_SET)
        o.pool = own;
    if (w.mode < COMPUTE__COUNT)
        o.mode = w.mode;
    st = bench_model_of(b.model, &o, &w.what, s->progress, &r, e);
    if (!st || st == ST_CANCELLED) {
        speed_table(&w.what, &r, out);
        model_table(b.model, &o, b.open, &r, out);
    }
    pool_free(own);
    bench_subject_close(&b);
    return st;
}
