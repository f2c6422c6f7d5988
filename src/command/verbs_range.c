/* SPDX-License-Identifier: MIT */
/* The verbs that ask what narrower numbers, or fewer of them, would lose: overflow, sparsity. */
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "command/cells.h"
#include "command/points.h"
#include "command/verbs_analyse.h"
#include "command/verbs_attention.h"
#include "session/region.h"
#include "study/overflow.h"
#include "study/sparsity.h"

/* ---- overflow ---- */

static const struct {
    const char *name;
    double largest;
} narrow[] = { { "f16", F16_LARGEST }, { "bf16", BF16_LARGEST }, { "q8", Q8_LARGEST } };

enum { NARROW = sizeof narrow / sizeof *narrow, SHOWN = 10 };

static double share(int64_t some, int64_t n)
{
    return n ? (double)some / (double)n : (double)NAN;
}

static void put_place(struct table *t, const struct run *r, int value, const struct point_range *p)
{
    struct buf b = { 0 };
    if (p->at >= 0) {
        const struct span span = run_span(r, p->span);
        const struct shape *shape = &run_graph(r)->values[value].shape;
        const struct region all = { .shape = shape_resolve(*shape, span.n, span.first + span.n),
                                    .first_token = span.first };
        region_place(&all, p->at, &b);
    }
    table_str(t, b.n ? b.p : NULL);
    buf_free(&b);
}

static struct table *range_table(struct result *out)
{
    struct table *t = result_table(out, "overflow", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_ADDRESS, "point" }, { COL_FLOAT, "absmax", "", 4 }, { COL_STRING, "at" },
                  { COL_FLOAT, "f16", "bit", 3 }, { COL_FLOAT, "bf16", "bit", 3 },
                  { COL_FLOAT, "q8", "bit", 3 }, { COL_FLOAT, "f16_small", "", 3 },
                  { COL_FLOAT, "f16_zero", "", 3 }, { COL_FLOAT, "bf16_zero", "", 3 },
                  { COL_FLOAT, "q8_zero", "", 3 }, { COL_INT, "nonfinite" });
    return t;
}

static void range_row(struct table *t, const struct run *r, int value, const struct point_range *p)
{
    const struct range_use *u = &p->use;
    table_row(t);
    table_str(t, run_graph(r)->values[value].name);
    table_float(t, p->absmax);
    put_place(t, r, value, p);
    for (int k = 0; k < NARROW; k++)
        table_float(t, headroom_bits(narrow[k].largest, p->absmax));
    put_number(t, share(u->f16_small, u->n));
    put_number(t, share(u->f16_zero, u->n));
    put_number(t, share(u->bf16_zero, u->n));
    put_number(t, share(u->q8_zero, u->n));
    table_int(t, u->nonfinite);
}

static bool seen(const struct point_range *p) { return p->use.n || p->use.nonfinite; }

struct ranked {
    double absmax;
    int value;
};

static int by_size(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return x->absmax != y->absmax ? (x->absmax < y->absmax ? 1 : -1)
                                  : (x->value > y->value) - (x->value < y->value);
}

/* Which point comes nearest to the end of each format: where it is largest, and where most of the
 * values go under. */
static void show_nearest(const struct run *r, const struct point_range *p, int n,
                         struct result *out)
{
    struct table *t = result_table(out, "nearest", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "format" }, { COL_FLOAT, "headroom", "bit", 3 },
                  { COL_ADDRESS, "point" }, { COL_STRING, "at" }, { COL_FLOAT, "zero", "", 3 },
                  { COL_ADDRESS, "point_zero" });
    for (int k = 0; k < NARROW; k++) {
        int top = -1, low = -1;
        double most = 0;
        for (int v = 0; v < n; v++) {
            const struct range_use *u = &p[v].use;
            const int64_t zero[] = { u->f16_zero, u->bf16_zero, u->q8_zero };
            if (!seen(&p[v]))
                continue;
            if (top < 0 || p[v].absmax > p[top].absmax)
                top = v;
            if (u->n && (low < 0 || share(zero[k], u->n) > most)) {
                low = v;
                most = share(zero[k], u->n);
            }
        }
        table_row(t);
        table_str(t, narrow[k].name);
        table_float(t, headroom_bits(narrow[k].largest, p[top].absmax));
        table_str(t, run_graph(r)->values[top].name);
        put_place(t, r, top, &p[top]);
        if (low >= 0 && most > 0) {
            table_float(t, most);
            table_str(t, run_graph(r)->values[low].name);
        }
    }
}

static void show_ranges(const struct run *r, const struct point_range *p, int n, bool all,
                        struct result *out)
{
    struct table *t = range_table(out);
    struct ranked *list = x_alloc(((size_t)n + 1) * sizeof *list);
    int found = 0;
    for (int v = 0; v < n; v++)
        if (seen(&p[v]))
            list[found++] = (struct ranked){ p[v].absmax, v };
    if (!all)
        qsort(list, (size_t)found, sizeof *list, by_size);
    for (int i = 0; i < found && (all || i < SHOWN); i++)
        range_row(t, r, list[i].value, &p[list[i].value]);
    if (!all && found > SHOWN)
        result_note(out, "the %d of %d points that are largest; a glob shows those it names", SHOWN,
                    found);
    free(list);
    if (found)
        show_nearest(r, p, n, out);
}

static enum st run_overflow(struct session *s, const struct call *c, struct result *out,
                            struct err *e)
{
    struct session_run *r;
    int *values;
    size_t n;
    if (c->n_words > 1)
        return call_fail(c, 1, e, ST_SYNTAX, "expected one name or glob of points");
    enum st st = points_named(s, c, 0, &r, &values, &n, e);
    if (st)
        return st;
    const struct graph *g = run_graph(r->run);
    bool *want = x_alloc((size_t)g->n_values * sizeof *want), any = false;
    struct point_range *list = x_alloc((size_t)g->n_values * sizeof *list);
    struct tensor x;
    for (size_t i = 0; i < n; i++)
        want[values[i]] = true;
    for (int v = 0; v < g->n_values; v++) {
        if (!values) /* fused kernels stay closed */
            want[v] = !run_skips(r->run, v);
        any |= want[v] && run_has(r->run, 0, v);
    }
    if (!any)
        st = run_read(r->run, 0, values ? values[0] : 0, &x, e); /* says where the run stands */
    if (!st)
        st = overflow_of(r->run, want, s->progress, list, e);
    if (!st || st == ST_CANCELLED)
        show_ranges(r->run, list, any ? g->n_values : 0, values != NULL, out);
    free(list);
    free(want);
    free(values);
    return st;
}

/* ---- sparsity ---- */

static enum st show_tokens(struct session *s, struct session_run *r, int block, struct result *out,
                           struct err *e)
{
    struct token_sparsity *list;
    size_t n;
    enum st st = token_sparsity_of(r->run, block, s->progress, &list, &n, e);
    if (st)
        return st;
    struct table *t = result_table(out, "tokens", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_INT, "tok" }, { COL_STRING, "text" }, { COL_FLOAT, "nonzero", "", 4 },
                  { COL_FLOAT, "active", "", 3 });
    for (size_t i = 0; i < n; i++) {
        struct buf text = { 0 };
        session_token_text(r, run_tokens(r->run)[list[i].tok], &text);
        table_row(t);
        table_int(t, list[i].tok);
        table_str(t, buf_str(&text));
        table_float(t, list[i].nonzero);
        table_float(t, list[i].active);
        buf_free(&text);
    }
    free(list);
    return ST_OK;
}

static enum st run_sparsity(struct session *s, const struct call *c, struct result *out,
                            struct err *e)
{
    struct session_run *r;
    struct layer_sparsity *list;
    size_t n;
    int64_t block;
    enum st st = session_need_run(s, &r, e);
    if (!st && c->n_words > 1)
        st = call_fail(c, 1, e, ST_SYNTAX, "one block at a time");
    if (!st && c->n_words) {
        st = block_word(c, 0, run_graph(r->run), &block, e);
        return st ? st : show_tokens(s, r, (int)block, out, e);
    }
    if (!st)
        st = sparsity_of(r->run, s->progress, &list, &n, e);
    if (st)
        return st;
    struct table *t = result_table(out, "sparsity", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_ADDRESS, "point" }, { COL_INT, "neurons" },
                  { COL_FLOAT, "nonzero", "", 4 }, { COL_FLOAT, "active", "", 3 },
                  { COL_FLOAT, "first", "", 3 }, { COL_INT, "dead" }, { COL_INT, "always" },
                  { COL_INT, "zero" });
    for (size_t i = 0; i < n; i++) {
        const bool measured = list[i].tokens > 0;
        table_row(t);
        table_fmt(t, "blk.%d.ffn_down.in", list[i].block);
        table_int(t, list[i].neurons);
        put_number(t, list[i].nonzero);
        put_number(t, list[i].active);
        put_number(t, list[i].first);
        put_index(t, measured ? list[i].dead : -1);
        put_index(t, measured ? list[i].always : -1);
        put_index(t, measured ? list[i].zero : -1);
    }
    if (n && list[0].tokens < 1)
        result_note(out, "the figures are those of the tokens after the first: there are none");
    else if (n)
        result_note(out, "over %d tokens", (int)list[0].tokens);
    free(list);
    return ST_OK;
}

const struct verb verbs_range[] = {
    { .name = "overflow",
      .class = "analyse",
      .args = "[GLOB]",
      .brief = "head-room of every point against f16, bf16 and 8-bit blocks",
      .help =
          "Looks at the points that the glob names; without it at all that a run computes, and "
          "shows the 10 largest. f16, bf16, q8: bits by which the point may grow, "
          "log2(largest / absmax), largest being 65504, 3.39e38 and, for blocks of 32 signed "
          "bytes with a half as scale, 127 * 65504; below 0 it has overflowed. at: where absmax "
          "is.\n"
          "Underflow, as shares of the values that are finite and not 0: f16_small below 2^-14 "
          "(held with fewer digits), f16_zero at most 2^-25 and bf16_zero at most 2^-134 (rounded "
          "to 0), q8_zero less than half a step of their block of 32 along the row, absmax of the "
          "block / 254, or in a block whose scale rounds to 0. A q8_zero of one half says that "
          "few values drown the others.\n"
          "nearest: per format the point with the least head-room, and that with the largest "
          "share of values brought to 0.",
      .examples = RUN_FIRST "overflow\noverflow blk.*.ffn_down.in",
      .kinds = { ARG_POINT },
      .run = run_overflow },
    { .name = "sparsity",
      .class = "analyse",
      .args = "[blk.N]",
      .brief = "feed-forward neurons: how few are active, which never, which always",
      .help =
          "Of what the down projection of each block reads, over the tokens after the first. "
          "nonzero: mean share of neurons that are not exactly 0, which says something of ReLU "
          "and its kin. active: mean share of neurons in the smallest set that has 99 % of the "
          "energy (sum of squares) of the token; first: that of the first token. dead, always: "
          "neurons that are active at none, at all of these tokens; zero: exactly 0 at all of "
          "them. Few tokens make many dead ones (Li et al. 2023, the lazy neuron phenomenon). With "
          "blk.N nonzero and active of that block token by token. Of a mixture of experts there "
          "is nothing: such a model opens, but cannot be run yet.",
      .examples = RUN_FIRST "sparsity\nsparsity blk.1",
      .kinds = { ARG_BLOCK },
      .run = run_sparsity },
    { 0 },
};
