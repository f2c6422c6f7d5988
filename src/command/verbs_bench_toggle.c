/* SPDX-License-Identifier: MIT */
/* `bench toggle`: how long one waits to see what a change of a weight's format costs. */
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "command/command.h"
#include "command/verbs_bench.h"
#include "kernels/level.h"
#include "session/measure.h"

static const char *const names[TOGGLE__COUNT] = { "whole", "late", "first" };

static void toggle_table(const struct bench_toggles *r, double peak, struct result *out)
{
    struct table *t = result_table(out, "toggles", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "change" }, { COL_ADDRESS, "weight" },
                  { COL_FLOAT, "median", "s", 3 }, { COL_FLOAT, "least", "s", 3 },
                  { COL_FLOAT, "most", "s", 3 }, { COL_FLOAT, "ratio", "", 3 },
                  { COL_FLOAT, "work", "GFLOP", 3 }, { COL_FLOAT, "share", "", 2 });
    for (int k = 0; k < TOGGLE__COUNT; k++) {
        double seconds[BENCH_MAX_SAMPLES], ratio[BENCH_MAX_SAMPLES];
        for (int i = 0; i < r->rounds; i++) {
            seconds[i] = r->seconds[k][i];
            ratio[i] = r->seconds[k][i] / r->seconds[TOGGLE_WHOLE][i];
        }
        const struct bench_samples v = bench_samples_of(seconds, r->rounds);
        table_row(t);
        table_str(t, names[k]);
        if (r->w[k])
            table_strn(t, r->w[k]->name);
        else
            table_skip(t);
        table_float(t, v.median);
        table_float(t, v.least);
        table_float(t, v.most);
        table_float(t, bench_samples_of(ratio, r->rounds).median);
        if (isnan(r->ops[k]))
            continue;
        table_float(t, r->ops[k] * 1e-9);
        table_float(t, r->ops[k] / peak / v.median);
    }
}

static void facts_table(const struct bench_toggles *r, const struct run_options *o,
                        enum bench_limit limit, double peak, struct result *out)
{
    struct table *t = result_table(out, "setting", TABLE_RECORD);
    TABLE_COLUMNS(t, { COL_INT, "segments" }, { COL_INT, "tokens", "token/segment" },
                  { COL_INT, "scored", "token/segment" }, { COL_STRING, "compute" },
                  { COL_STRING, "level" }, { COL_INT, "threads" }, { COL_STRING, "limit" },
                  { COL_FLOAT, "peak", "GFLOP/s", 3 }, { COL_INT, "rounds" });
    table_row(t);
    table_int(t, r->segments);
    table_int(t, r->tokens);
    table_int(t, r->scored);
    table_str(t, compute_name(o->mode));
    table_str(t, level_now()->name);
    table_int(t, pool_threads(o->pool));
    table_str(t, bench_limit_name(limit));
    table_float(t, peak * 1e-9);
    table_int(t, r->rounds);
}

enum st run_bench_toggle(struct session *s, const struct call *c, struct result *out,
                         struct err *e)
{
    enum { LINE = 1 << 16 /* bytes: limits of operations walk through no memory */ };
    struct bench_wanted w = { { 0, 0, 3, (uint64_t)setting_int(&s->settings, SETTING_SEED) },
                              BENCH_AS_SET,
                              COMPUTE__COUNT };
    struct bench_subject b;
    enum st st = bench_parse(c, 1 + bench_names_file(c), "-r N or -c MODE", &w, e);
    if (!st)
        st = bench_subject_open(s, c, &b, e);
    if (st)
        return st;
    struct run_options o = session_measure_options(s);
    if (w.mode < COMPUTE__COUNT)
        o.mode = w.mode;
    struct bench_toggles *r = x_alloc(sizeof *r);
    double peak = 0;
    st = bench_toggle_of(b.model, &o, session_measure_memory(), w.what.repetitions, w.what.seed,
                         s->progress, r, e);
    if ((!st || st == ST_CANCELLED) && r->rounds) {
        const enum bench_limit limit = bench_limit_for(r->w[TOGGLE_FIRST]->format, o.mode);
        const enum st none = bench_limit_of(limit, o.pool, LINE, 0.3, NULL, &peak, e);
        toggle_table(r, none ? (double)NAN : peak, out);
        facts_table(r, &o, limit, none ? (double)NAN : peak, out);
    }
    free(r);
    bench_subject_close(&b);
    return st;
}
