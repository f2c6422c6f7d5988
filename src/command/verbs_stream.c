/* SPDX-License-Identifier: MIT */
/* The verbs that measure what flows through a run: heads, norms. */
#include <stdlib.h>

#include "base/memory.h"
#include "command/cells.h"
#include "command/points.h"
#include "command/verbs_attention.h"
#include "command/verbs_analyse.h"
#include "study/norms.h"

/* ---- norms ---- */

static void point_columns(struct table *t, bool growth)
{
    table_column(t, COL_ADDRESS, "point", "");
    TABLE_COLUMNS(t, { COL_FLOAT, "l2", "", 4 });
    if (growth)
        TABLE_COLUMNS(t, { COL_FLOAT, "growth", "", 3 });
    TABLE_COLUMNS(t, { COL_FLOAT, "first", "", 4 }, { COL_FLOAT, "rms", "", 4 },
                  { COL_FLOAT, "kurt", "", 4 }, { COL_FLOAT, "rest", "", 4 },
                  { COL_FLOAT, "infnorm", "", 4 }, { COL_INT, "tok" }, { COL_INT, "chan" },
                  { COL_INT, "nonfinite" });
}

static void point_row(struct table *t, const char *name, const struct point_norms *p,
                      const double *base)
{
    table_row(t);
    table_str(t, name);
    put_number(t, p->l2);
    if (base)
        put_number(t, p->l2 / *base);
    put_number(t, p->first);
    put_number(t, p->rms);
    put_number(t, p->kurt);
    put_number(t, p->absmax_rest);
    put_number(t, p->absmax);
    put_index(t, p->tok);
    put_index(t, p->chan);
    table_int(t, p->nonfinite);
}

/* The named points, as far as they have been computed and have rows of tokens. */
static enum st norms_of_named(struct session *s, struct session_run *r, const int *values, size_t n,
                              struct result *out, struct err *e)
{
    struct table *t = result_table(out, "points", TABLE_ROWS);
    struct err why = ERR_INIT;
    int left = 0;
    point_columns(t, false);
    for (size_t i = 0; i < n; i++) {
        struct point_norms p;
        if (!progress_tick(s->progress, "norms", (double)i, (double)n))
            return st_fail(e, ST_CANCELLED, "interrupted");
        enum st st = norms_of_point(r->run, values[i], &p, &why);
        if (!st)
            point_row(t, run_graph(r->run)->values[values[i]].name, &p, NULL);
        else if (st != ST_STATE && st != ST_UNSUPPORTED) {
            *e = why;
            return st;
        } else
            left++;
    }
    if (!t->n_rows) {
        *e = why;
        return why.st;
    }
    if (left)
        result_note(out, "left out: %d, not computed yet or without rows of tokens", left);
    return ST_OK;
}

static void addition_row(struct table *t, const struct graph *g, const struct addition *a,
                         const struct update_norms *u)
{
    table_row(t);
    table_str(t, g->values[a->update].name);
    table_str(t, g->values[a->sum].name);
    put_number(t, u->gain);
    put_number(t, u->first_gain);
    put_number(t, u->cos);
    put_number(t, u->first_cos);
}

/* The residual stream, sum after sum, and what was added. */
static enum st norms_of_stream(struct session *s, struct session_run *r, struct result *out,
                               struct err *e)
{
    const struct graph *g = run_graph(r->run);
    struct addition *list;
    struct point_norms p;
    size_t n;
    stream_additions(g, &list, &n);
    enum st st = n ? norms_of_point(r->run, list[0].before, &p, e)
                   : st_fail(e, ST_UNSUPPORTED, "the model has no residual stream");
    if (st) {
        free(list);
        return st;
    }
    const double base = p.l2;
    struct table *t = result_table(out, "stream", TABLE_ROWS);
    struct table *u = result_table(out, "updates", TABLE_ROWS);
    point_columns(t, true);
    TABLE_COLUMNS(u, { COL_ADDRESS, "update" }, { COL_ADDRESS, "into" },
                  { COL_FLOAT, "gain", "", 3 }, { COL_FLOAT, "first", "", 3 },
                  { COL_FLOAT, "cos", "", 3 }, { COL_FLOAT, "first_cos", "", 3 });
    point_row(t, g->values[list[0].before].name, &p, &base);
    for (size_t i = 0; i < n && !st && run_has(r->run, 0, list[i].sum); i++) {
        struct update_norms added;
        if (!progress_tick(s->progress, "norms", (double)i, (double)n))
            st = st_fail(e, ST_CANCELLED, "interrupted");
        if (!st)
            st = norms_of_point(r->run, list[i].sum, &p, e);
        if (!st)
            st = norms_of_addition(r->run, &list[i], &added, e);
        if (st)
            break;
        point_row(t, g->values[list[i].sum].name, &p, &base);
        addition_row(u, g, &list[i], &added);
    }
    free(list);
    return st;
}

static enum st run_norms(struct session *s, const struct call *c, struct result *out,
                         struct err *e)
{
    struct session_run *r;
    int *values;
    size_t n;
    if (c->n_words > 1)
        return call_fail(c, 1, e, ST_SYNTAX, "expected one name or glob of points");
    enum st st = points_named(s, c, 0, &r, &values, &n, e);
    if (!st)
        st = values ? norms_of_named(s, r, values, n, out, e) : norms_of_stream(s, r, out, e);
    free(values);
    return st;
}

const struct verb verbs_stream[] = {
    { .name = "norms",
      .class = "analyse",
      .args = "[GLOB]",
      .brief = "growth of the residual stream, what each sub-layer adds, heavy tails",
      .help =
          "stream: the residual stream from the embeddings on, after every addition. l2 is the "
          "median over the tokens after the first of the length of a token's row, growth the same "
          "over that of the embeddings, first the length at the first token, which is apart "
          "because it is often far larger. rms, kurt (excess kurtosis, 0 for a normal "
          "distribution) and rest (largest magnitude) are over all values of the tokens after "
          "the first; infnorm is the largest magnitude of all, at tok and chan. nonfinite counts "
          "NaN and infinities, which are left out of everything.\n"
          "updates: what each sub-layer adds. gain is l2(update) / l2(stream before it), cos the "
          "cosine between the two, both medians over the tokens after the first; first and "
          "first_cos are those of the first token. A cos near -1 takes away what is there.\n"
          "With a glob the figures of the stream for those points.",
      .examples = RUN_FIRST "norms\nnorms blk.*.ffn_down.in",
      .kinds = { ARG_POINT },
      .run = run_norms },
    { .name = "heads",
      .class = "analyse",
      .args = "[blk.N]",
      .brief = "heads that do nothing, and the outlier channels that heads feed",
      .help =
          "Means over the tokens after the first. sink: attention on the first key. value: norm of "
          "the first key's value over the median norm of the other keys' values. update: "
          "l2(W z) / l2(stream), z being the head's output, W its columns of the output "
          "projection (without bias), stream the residual stream before the addition.\n"
          "no_op: sink > 0.8 and value < 0.2 and update < 0.05. Such a head rests on the first "
          "token, finds next to nothing there and adds next to nothing; training makes outliers "
          "to reach this (Bondarenko et al. 2023, Quantizable Transformers). On another prompt it "
          "may have work to do.\n"
          "feeds: what heads add to outlier channels of the residual stream after attention (those "
          "of `outliers` with k 6), at the token where the channel is largest: value is the "
          "stream's there, share = adds / value. The 10 largest shares, from 1 % on.",
      .examples = RUN_FIRST "heads\nheads blk.1",
      .kinds = { ARG_BLOCK },
      .run = run_heads },
    { 0 },
};
