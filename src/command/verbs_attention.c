/* SPDX-License-Identifier: MIT */
/* `attn`, `entropy` and `heads`: what heads look at, and what they do. */
#include "command/verbs_attention.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "command/cells.h"
#include "command/command.h"
#include "session/lookup.h"
#include "session/reference.h"
#include "study/attention.h"
#include "study/heads.h"

enum st block_word(const struct call *c, int i, const struct graph *g, int64_t *block,
                   struct err *e)
{
    struct str w = c->words[i].text;
    if (str_starts(w, "blk.")) {
        const char *dot = memchr(w.p + 4, '.', w.n - 4);
        w = str_of(w.p + 4, dot ? (size_t)(dot - w.p - 4) : w.n - 4);
    }
    if (parse_i64(w, 0, g->n_blocks - 1, block, e))
        return call_fail(c, i, e, ST_RANGE, "expected a block, blk.0 to blk.%d", g->n_blocks - 1);
    return ST_OK;
}

/* The change of normalised entropy against the reference from which on it has a name. */
#define ENTROPY_CHANGED 0.1

static const char *verdict(double change)
{
    return change <= -ENTROPY_CHANGED ? "collapsed" : change >= ENTROPY_CHANGED ? "spread" : NULL;
}

static void one_token(struct result *out)
{
    result_note(out, "one token sees only itself: there is nothing to measure");
}

/* ref: the same heads of the reference, or NULL. */
static void show_heads(const struct head_figures *list, size_t n, const struct head_figures *ref,
                       struct result *out)
{
    struct table *t = result_table(out, "heads", TABLE_ROWS);
    const bool floor = n && !isnan(list[0].floor);
    TABLE_COLUMNS(t, { COL_INT, "block" }, { COL_INT, "head" },
                  { COL_FLOAT, "entropy", "nat", 4 }, { COL_FLOAT, "normalised", "", 4 },
                  { COL_FLOAT, "sink", "", 4 }, { COL_FLOAT, "max", "", 4 },
                  { COL_FLOAT, "distance", "tok", 4 }, { COL_FLOAT, "value", "", 4 });
    if (floor)
        TABLE_COLUMNS(t, { COL_FLOAT, "floor", "nat", 4 });
    if (ref)
        TABLE_COLUMNS(t, { COL_FLOAT, "ref", "", 4 }, { COL_FLOAT, "change", "", 3 },
                      { COL_STRING, "verdict" });
    for (size_t i = 0; i < n; i++) {
        const struct head_figures *h = &list[i];
        const double figures[] = {
            h->entropy, h->normalised, h->sink, h->max, h->distance, h->value
        };
        table_row(t);
        table_int(t, h->block);
        table_int(t, h->head);
        for (size_t k = 0; k < sizeof figures / sizeof *figures; k++)
            put_number(t, figures[k]);
        if (floor)
            put_number(t, h->floor);
        if (!ref)
            continue;
        const double change = h->normalised - ref[i].normalised;
        put_number(t, ref[i].normalised);
        put_number(t, change);
        table_str(t, verdict(change));
    }
}

/* The same heads of the reference, [n]; NULL without one. */
static enum st reference_heads(struct session *s, struct session_run *r, int block, size_t n,
                               struct head_figures **out, struct err *e)
{
    struct run *run;
    size_t have = 0;
    *out = NULL;
    if (!s->models.ref)
        return ST_OK;
    enum st st = session_ref_run(s, r, run_position(r->run), s->progress, &run, e);
    if (!st)
        st = attention_heads(run, block, s->progress, out, &have, e);
    if (!st && have < n) /* it stands where the run does, so it has them all */
        st = st_fail(e, ST_INTERNAL, "the reference has fewer heads");
    if (st) {
        free(*out);
        *out = NULL;
    }
    return st;
}

enum st run_entropy(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_run *r;
    int64_t block = -1;
    struct head_figures *list = NULL, *ref = NULL;
    struct attention_options o = { .progress = s->progress };
    size_t n = 0;
    enum st st = session_need_run(s, &r, e);
    for (int i = 0; i < c->n_words && !st; i++)
        if (str_is(c->words[i].text, "floor"))
            o.floor = true;
        else if (block >= 0)
            st = call_fail(c, i, e, ST_SYNTAX, "one block, or none for all");
        else
            st = block_word(c, i, run_graph(r->run), &block, e);
    if (!st)
        st = attention_heads_with(r->run, (int)block, &o, &list, &n, e);
    if (!st)
        st = reference_heads(s, r, (int)block, n, &ref, e);
    if (n)
        show_heads(list, n, ref, out);
    if (!st && list[0].queries == 0)
        one_token(out);
    free(ref);
    free(list);
    return st;
}

/* ---- heads ---- */

enum { FEEDS_SHOWN = 10 };

static void show_works(const struct head_works *w, struct result *out)
{
    struct table *t = result_table(out, "heads", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_INT, "block" }, { COL_INT, "head" }, { COL_FLOAT, "sink", "", 4 },
                  { COL_FLOAT, "value", "", 3 }, { COL_FLOAT, "update", "", 3 },
                  { COL_BOOL, "no_op" });
    for (size_t i = 0; i < w->n; i++) {
        table_row(t);
        table_int(t, w->heads[i].block);
        table_int(t, w->heads[i].head);
        put_number(t, w->heads[i].sink);
        put_number(t, w->heads[i].value);
        put_number(t, w->heads[i].update);
        if (!isnan(w->heads[i].sink))
            table_bool(t, w->heads[i].noop);
    }
}

static double feed_share(const struct head_feed *f) { return fabs(f->adds / f->x); }

static int by_share(const void *a, const void *b)
{
    const double x = feed_share(a), y = feed_share(b);
    return x != y ? (x < y ? 1 : -1) : (a > b) - (a < b);
}

static void show_feeds(const struct head_works *w, struct result *out)
{
    if (!w->n_feeds)
        return;
    struct table *t = result_table(out, "feeds", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_INT, "block" }, { COL_INT, "head" }, { COL_INT, "chan" },
                  { COL_INT, "tok" }, { COL_FLOAT, "adds", "", 4 }, { COL_FLOAT, "value", "", 4 },
                  { COL_FLOAT, "share", "", 3 });
    qsort(w->feeds, w->n_feeds, sizeof *w->feeds, by_share);
    for (size_t i = 0; i < w->n_feeds && i < FEEDS_SHOWN; i++) {
        const struct head_feed *f = &w->feeds[i];
        table_row(t);
        table_int(t, f->block);
        table_int(t, f->head);
        table_int(t, f->chan);
        table_int(t, f->tok);
        table_float(t, f->adds);
        table_float(t, f->x);
        table_float(t, f->adds / f->x);
    }
}

enum st run_heads(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_run *r;
    int64_t block = -1;
    struct head_works w = { 0 };
    size_t idle = 0;
    enum st st = session_need_run(s, &r, e);
    if (!st && c->n_words > 1)
        st = call_fail(c, 1, e, ST_SYNTAX, "too many words");
    if (!st && c->n_words)
        st = block_word(c, 0, run_graph(r->run), &block, e);
    if (!st)
        st = head_works_of(r->run, (int)block, NULL, session_pool(s), s->progress, &w, e);
    for (size_t i = 0; i < w.n; i++)
        idle += w.heads[i].noop;
    if (w.n) {
        show_works(&w, out);
        show_feeds(&w, out);
        if (run_n_tokens(r->run) < 2)
            one_token(out);
        else
            result_note(out, "%zu of %zu heads do nothing at these tokens", idle, w.n);
    }
    head_works_free(&w);
    return st;
}

/* ---- attn ---- */

/* "3 word" */
static void label(const struct session_run *r, int64_t tok, struct buf *out)
{
    buf_clear(out);
    buf_printf(out, "%d ", (int)tok);
    if (tok < run_n_tokens(r->run))
        session_token_text(r, run_tokens(r->run)[tok], out);
}

/* v is [head 1][tok][key]. */
static void show_pattern(const struct session_run *r, const struct view *v, bool logarithm,
                         struct result *out)
{
    const int td = shape_axis(&v->shape, AXIS_TOK), kd = shape_axis(&v->shape, AXIS_KEY);
    const int64_t rows = v->shape.d[td].n, keys = v->shape.d[kd].n;
    struct table *t = result_table(out, logarithm ? "log_attention" : "attention",
                                   TABLE_HEAT);
    struct buf b = { 0 };
    table_column(t, COL_STRING, "query", "");
    for (int64_t k = 0; k < keys; k++) {
        label(r, v->index[kd][k], &b);
        table_column(t, COL_FLOAT, buf_str(&b), "");
    }
    for (int64_t i = 0; i < rows; i++) {
        label(r, v->index[td][i], &b);
        table_row(t);
        table_str(t, buf_str(&b));
        for (int64_t k = 0; k < keys; k++) {
            const double x = (double)v->data[i * keys + k];
            if (!logarithm)
                table_float(t, x);
            else if (x > 0)
                table_float(t, log(x));
            else
                table_skip(t);
        }
    }
    buf_free(&b);
}

enum st run_attn(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_run *r;
    int64_t block;
    bool head = false, logarithm = false;
    struct buf address = { 0 };
    struct view v;
    enum st st = session_need_run(s, &r, e);
    if (!st && !c->n_words)
        st = call_fail(c, 0, e, ST_SYNTAX, "the attention of which block and head?");
    if (!st)
        st = block_word(c, 0, run_graph(r->run), &block, e);
    if (st)
        return st;
    buf_printf(&address, "blk.%d.attn.prob[", (int)block);
    for (int i = 1; i < c->n_words && !st; i++) {
        const struct str w = c->words[i].text;
        int64_t n;
        if (str_is(w, "log")) {
            logarithm = true;
            continue;
        }
        head |= str_starts(w, "head=");
        if (str_starts(w, "head=")
            && parse_i64(str_of(w.p + 5, w.n - 5), INT32_MIN, INT32_MAX, &n, e))
            st = call_fail(c, i, e, ST_SYNTAX, "one head at a time: head=N");
        else if (!str_starts(w, "head=") && !str_starts(w, "tok=") && !str_starts(w, "key="))
            st = call_fail(c, i, e, ST_SYNTAX,
                           "expected head=H, tok=FIRST:END, key=FIRST:END or log");
        const bool first = buf_str(&address)[address.n - 1] == '[';
        buf_printf(&address, "%s%.*s", first ? "" : ",", (int)w.n, w.p);
    }
    buf_addc(&address, ']');
    if (!st && !head)
        st = call_fail(c, c->n_words, e, ST_SYNTAX, "which head? head=0 to head=%d",
                       (int)run_graph(r->run)->heads - 1);
    if (!st) {
        st = lookup_text(s, str_of(address.p, address.n), &v, e);
        if (st) /* the columns are those of an address that nobody typed */
            st_at(e, c->words[0].column, (int)c->line.n - c->words[0].column);
    }
    buf_free(&address);
    if (st)
        return st;
    show_pattern(r, &v, logarithm, out);
    view_free(&v);
    return ST_OK;
}
