/* SPDX-License-Identifier: MIT */
/* `attn` and `entropy`: what heads look at. */
#include "command/verbs_attention.h"

#include <stdlib.h>
#include <string.h>

#include "session/lookup.h"
#include "study/attention.h"

/* The N of N, blk.N, or of the name of a point in block N. */
static enum st block_word(const struct call *c, int i, const struct graph *g, int64_t *block,
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

static void show_heads(const struct head_figures *list, size_t n, struct result *out)
{
    static const char *const names[] = {
        "entropy", "normalised", "sink", "max", "distance", "value"
    };
    static const char *const units[] = { "nat", "", "", "", "tok", "" };
    struct table *t = result_table(out, "heads", TABLE_ROWS);
    table_column(t, COL_INT, "block", "");
    table_column(t, COL_INT, "head", "");
    for (int i = 0; i < 6; i++) {
        table_column(t, COL_FLOAT, names[i], units[i]);
        table_digits(t, 4);
    }
    for (size_t i = 0; i < n; i++) {
        const struct head_figures *h = &list[i];
        const double figures[] = {
            h->entropy, h->normalised, h->sink, h->max, h->distance, h->value
        };
        table_row(t);
        table_int(t, h->block);
        table_int(t, h->head);
        for (int k = 0; k < 6; k++)
            table_float(t, figures[k]);
    }
}

enum st run_entropy(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_run *r;
    int64_t block = -1;
    struct head_figures *list = NULL;
    size_t n = 0;
    enum st st = session_need_run(s, &r, e);
    if (!st && c->n_words > 1)
        st = call_fail(c, 1, e, ST_SYNTAX, "too many words");
    if (!st && c->n_words)
        st = block_word(c, 0, run_graph(r->run), &block, e);
    if (!st)
        st = attention_heads(r->run, (int)block, s->progress, &list, &n, e);
    if (n)
        show_heads(list, n, out);
    if (!st && list[0].queries == 0)
        result_note(out, "one token sees only itself: there is nothing to measure");
    free(list);
    return st;
}

/* "3 word" */
static void label(const struct session_run *r, int64_t tok, struct buf *out)
{
    buf_clear(out);
    buf_printf(out, "%d ", (int)tok);
    if (tok < run_n_tokens(r->run))
        session_token_text(r, run_tokens(r->run)[tok], out);
}

/* v is [head 1][tok][key]. */
static void show_pattern(const struct session_run *r, const struct view *v, struct result *out)
{
    const int td = shape_axis(&v->shape, AXIS_TOK), kd = shape_axis(&v->shape, AXIS_KEY);
    const int64_t rows = v->shape.d[td].n, keys = v->shape.d[kd].n;
    struct table *t = result_table(out, "attention", TABLE_HEAT);
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
        for (int64_t k = 0; k < keys; k++)
            table_float(t, (double)v->data[i * keys + k]);
    }
    buf_free(&b);
}

enum st run_attn(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_run *r;
    int64_t block;
    bool head = false;
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
        head |= str_starts(w, "head=");
        if (str_starts(w, "head=")
            && parse_i64(str_of(w.p + 5, w.n - 5), INT32_MIN, INT32_MAX, &n, e))
            st = call_fail(c, i, e, ST_SYNTAX, "one head at a time: head=N");
        else if (!str_starts(w, "head=") && !str_starts(w, "tok=") && !str_starts(w, "key="))
            st = call_fail(c, i, e, ST_SYNTAX, "expected head=H, tok=FIRST:END or key=FIRST:END");
        buf_printf(&address, "%s%.*s", i > 1 ? "," : "", (int)w.n, w.p);
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
    show_pattern(r, &v, out);
    view_free(&v);
    return ST_OK;
}
