/* SPDX-License-Identifier: MIT */
/* `bench encode`: how fast weights are encoded, and how much error is left. */
#include "command/command.h"
#include "command/verbs_bench.h"
#include "kernels/encode.h"

/* The formats that the words name, all without one; how many. */
static enum st parse_encode(const struct call *c, bool chosen[BENCH_FORMATS], int *n,
                            struct bench_effort *o, struct err *e)
{
    bool any = false;
    *n = 0;
    for (int i = 1; i < c->n_words; i++) {
        enum st st = bench_effort_parse(c, &i, o, e);
        if (!st)
            continue;
        if (st != ST_NOTFOUND)
            return st;
        st = bench_formats_parse(c, i, encode_missing, chosen, e);
        if (st)
            return st;
        any = true;
    }
    for (int f = 0; f < format_count() && f < BENCH_FORMATS; f++) {
        chosen[f] = any ? chosen[f] : !encode_missing((enum format)f);
        *n += chosen[f];
    }
    return ST_OK;
}

enum st run_bench_encode(struct session *s, const struct call *c, struct result *out,
                         struct err *e)
{
    bool chosen[BENCH_FORMATS] = { false };
    struct bench_effort o = { (size_t)32 << 20, 5 };
    struct bench_source *source;
    int n, done = 0;
    enum st st = parse_encode(c, chosen, &n, &o, e);
    if (!st)
        st = bench_source_new(o.bytes, &source, e);
    if (st)
        return st;
    struct table *t = result_table(out, "encoders", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "format" }, { COL_FLOAT, "bpw", "", 3 },
                  { COL_FLOAT, "rate", "GB/s", 3 }, { COL_FLOAT, "rate_weighted", "GB/s", 3 },
                  { COL_FLOAT, "relerr", "", 4 }, { COL_FLOAT, "relerr_weighted", "", 4 });
    for (int f = 0; f < format_count() && f < BENCH_FORMATS && !st; f++) {
        struct bench_encoded r;
        if (!chosen[f])
            continue;
        progress_tick(s->progress, format_info((enum format)f)->name, done++, n);
        st = bench_encode_of((enum format)f, source, session_pool(s), o.seconds / n, s->progress,
                             &r, e);
        if (st)
            break;
        table_row(t);
        table_str(t, format_info((enum format)f)->name);
        table_float(t, format_bpw((enum format)f));
        table_float(t, r.bytes[0] * 1e-9);
        table_float(t, r.bytes[1] * 1e-9);
        table_float(t, r.relerr[0]);
        table_float(t, r.relerr[1]);
    }
    bench_source_free(source);
    if (st == ST_CANCELLED)
        result_note(out, "%zu of %d formats", t->n_rows, n);
    return st;
}
