/* SPDX-License-Identifier: MIT */
/* The verb that traces a value back: which op, which element, which weight made it. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/look.h"
#include "command/why.h"
#include "session/control.h"
#include "session/reference.h"
#include "session/region.h"
#include "study/why.h"
#include "study/why_error.h"
#include "study/writer.h"

void why_put_place(struct run *r, int span, int value, int64_t at, struct table *t)
{
    struct tensor x;
    struct buf b = { 0 };
    if (!run_read(r, span, value, &x, NULL)) {
        const struct region all = { .shape = x.shape,
                                    .data = x.data,
                                    .first_token = run_span(r, span).first };
        region_place(&all, at, &b);
    }
    table_str(t, buf_str(&b));
    buf_free(&b);
}

void why_put_position(struct run *r, int span, int value, struct table *t)
{
    struct buf b = { 0 };
    position_print(r, (struct position){ span, run_graph(r)->values[value].node + 1 }, &b);
    table_str(t, b.p);
    buf_free(&b);
}

void why_put_source(struct run *r, int span, int value, const struct op_term *term, struct table *t)
{
    const struct graph *g = run_graph(r);
    if (term->in >= 0) {
        int64_t at;
        run_term_place(r, span, value, term, &span, &value, &at);
        table_str(t, g->values[value].name);
        why_put_place(r, span, value, at, t);
    } else {
        const struct node *node = &g->nodes[g->values[value].node];
        table_strn(t, term->slot >= 0 ? node->w[term->slot]->name : STR("constant"));
        table_fmt(t, "row=%" PRId64 ", col=%" PRId64, term->row, term->col);
    }
}

static void show_steps(struct run *r, const struct why *w, struct result *out)
{
    const struct graph *g = run_graph(r);
    struct table *t = result_table(out, "why", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_ADDRESS, "position" }, { COL_STRING, "at" }, { COL_STRING, "op" },
                  { COL_FLOAT, "value" }, { COL_STRING, "verdict" });
    for (size_t i = 0; i < w->n; i++) {
        const struct why_step *s = &w->steps[i];
        const struct node *node = &g->nodes[g->values[s->value].node];
        table_row(t);
        why_put_position(r, s->span, s->value, t);
        why_put_place(r, s->span, s->value, s->at, t);
        table_str(t, op_info(node->op)->name);
        table_float(t, s->x);
        table_str(t, why_verdict_name(s->verdict));
    }
}

/* What the last step is made of, the largest first. */
static void show_terms(struct run *r, const struct why_step *s, struct result *out)
{
    if (!s->n_top)
        return;
    struct table *t = result_table(out, "terms", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "of" }, { COL_STRING, "at" }, { COL_FLOAT, "activation" },
                  { COL_FLOAT, "factor" }, { COL_FLOAT, "product" }, { COL_FLOAT, "share", "", 3 });
    for (int64_t i = 0; i < s->n_top; i++) {
        const struct op_term *term = &s->top[i];
        table_row(t);
        why_put_source(r, s->span, s->value, term, t);
        if (term->in >= 0)
            table_float(t, term->x);
        else
            table_skip(t);
        table_float(t, term->factor);
        table_float(t, term->product);
        if (s->kind == TERMS_SUM && isfinite(s->x) && s->x != 0)
            table_float(t, term->product / s->x);
    }
    if (s->n_terms > s->n_top)
        result_note(out, "%" PRId64 " of %" PRId64 " terms", s->n_top, s->n_terms);
}

void why_show_block(const char *table, struct session *s, const struct session_model *m,
                    const struct weight *w, int64_t row, int64_t col, struct result *out)
{
    const struct format_info *f = format_info(w->format);
    int64_t inside;
    const int64_t element = row * (int64_t)w->cols + col;
    const uint8_t *bytes = look_block_at(w, element, &inside);
    struct buf hex = { 0 };
    for (int i = 0; i < f->bytes; i++)
        buf_printf(&hex, "%02x", bytes[i]);
    struct table *t = result_table(out, table, TABLE_RECORD);
    TABLE_COLUMNS(t, { COL_ADDRESS, "weight" }, { COL_STRING, "format" }, { COL_INT, "row" },
                  { COL_INT, "col" }, { COL_INT, "blkq" }, { COL_FLOAT, "value" },
                  { COL_STRING, "bytes" });
    float *values = x_alloc((size_t)f->block * sizeof *values);
    f->decode(bytes, values, f->block);
    table_row(t);
    table_strn(t, w->name);
    table_str(t, f->name);
    table_int(t, row);
    table_int(t, col);
    table_int(t, col / f->block);
    table_float(t, (double)(values[inside] * weight_scale(w, (uint64_t)row)));
    table_str(t, buf_str(&hex));
    buf_free(&hex);
    free(values);
    if (m && changes_form(s, m, w))
        result_note(out, "a change stands for %.*s; the block is the file's", (int)w->name.n,
                    w->name.p);
    if (!f->view)
        return;
    struct block_view *v = x_alloc(sizeof *v);
    char fields[40];
    snprintf(fields, sizeof fields, "%s_fields", table);
    look_view(w, element, &inside, v);
    t = result_table(out, strcmp(table, "weight") ? fields : "fields", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "field" }, { COL_STRING, "stored" });
    for (int i = 0; i < v->n_fields; i++) {
        table_row(t);
        table_str(t, v->fields[i].name);
        table_str(t, v->fields[i].text);
    }
    free(v);
}

bool why_note_change(const struct session *s, const struct session_run *r, int span, int value,
                     int64_t at, struct result *out)
{
    const struct change *c = changes_setting(s, r, span, value, at);
    if (c)
        result_note(out, "%s is set there by change %d: %s", run_graph(r->run)->values[value].name,
                    c->number, c->text);
    return c && change_replaces(c);
}

/* What the heads add to an element of an output projection; nothing for other points. */
static enum st show_heads(struct run *r, int span, int value, int64_t at, struct result *out,
                          struct err *e)
{
    double *heads;
    size_t n;
    enum st st = head_writes_of(r, span, value, at, &heads, &n, e);
    if (st || !n)
        return st;
    struct table *t = result_table(out, "heads", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_ADDRESS, "point" }, { COL_INT, "head" }, { COL_FLOAT, "adds" });
    for (size_t h = 0; h < n; h++) {
        table_row(t);
        table_str(t, run_graph(r)->values[value].name);
        table_int(t, (int64_t)h);
        table_float(t, heads[h]);
    }
    free(heads);
    return ST_OK;
}

/* The additions that an element of the residual stream is the sum of, and the heads of the largest.
 */
static enum st show_writes(struct run *r, const struct element *x, struct result *out,
                           struct err *e)
{
    struct write *list;
    size_t n, most = 0;
    double sum = 0;
    enum st st = writes_of(r, x->span, x->value, x->at, &list, &n, e);
    if (st)
        return st;
    struct table *t = n > 1 ? result_table(out, "writes", TABLE_ROWS) : NULL;
    if (t) {
        TABLE_COLUMNS(t, { COL_ADDRESS, "point" }, { COL_FLOAT, "adds" }, { COL_FLOAT, "sum" });
    }
    for (size_t i = 0; i < n; i++) {
        sum += list[i].x;
        most = fabs(list[i].x) > fabs(list[most].x) ? i : most;
        if (!t)
            break;
        table_row(t);
        table_str(t, run_graph(r)->values[list[i].value].name);
        table_float(t, list[i].x);
        table_float(t, sum);
    }
    const int value = list[most].value;
    free(list);
    return show_heads(r, x->span, value, x->at, out, e);
}

static void put_unit(const struct writer *w, struct table *t)
{
    static const char *const names[] = { "", "head", "neuron" };
    if (w->unit == WRITER_NONE)
        table_str(t, w->made_by < 0 ? "not traced" : w->units ? "bias" : "row of a table");
    else
        table_fmt(t, "%s %" PRId64, names[w->unit], w->number);
}

enum st why_show_writer(struct session *s, const struct element *x, struct result *out,
                        struct err *e)
{
    struct run *r = x->run->run;
    const struct graph *g = run_graph(r);
    struct writer w;
    struct tensor v;
    enum st st = writer_of(r, x->span, x->value, x->at, &w, e);
    if (!st)
        st = run_read(r, x->span, x->value, &v, e);
    if (st)
        return st;
    struct table *t = result_table(out, "writer", TABLE_RECORD);
    TABLE_COLUMNS(t, { COL_ADDRESS, "point" }, { COL_STRING, "sub" }, { COL_FLOAT, "adds" },
                  { COL_STRING, "most_by" }, { COL_FLOAT, "gives" }, { COL_FLOAT, "share", "", 4 },
                  { COL_FLOAT, "activation" }, { COL_FLOAT, "factor" }, { COL_FLOAT, "product" });
    table_row(t);
    table_str(t, g->values[x->value].name);
    table_str(t, g->nodes[g->values[x->value].node].sub);
    table_float(t, (double)v.data[x->at]);
    put_unit(&w, t);
    if (w.made_by < 0)
        return ST_OK;
    table_float(t, w.gave);
    table_float(t, w.share);
    w.term.in < 0 ? table_skip(t) : table_float(t, w.term.x);
    table_float(t, w.term.factor);
    table_float(t, w.term.product);
    const struct weight *weight = g->nodes[g->values[w.made_by].node].w[w.term.slot];
    if (w.factor != 1)
        result_note(out, "%s goes through a factor of %.6g on its way there",
                    g->values[w.made_by].name, w.factor);
    why_show_block("weight", s, x->run->model, weight, w.term.row, w.term.col, out);
    return ST_OK;
}

enum st why_show(struct session *s, const struct element *x, struct result *out, struct err *e)
{
    struct run *r = x->run->run;
    struct tensor v;
    struct why w;
    enum st st = run_read(r, x->span, x->value, &v, e);
    if (!st && x->error && isfinite(v.data[x->at]))
        return why_show_error(s, x, out, e);
    if (!st)
        st = why_of(r, x->span, x->value, x->at, &w, e);
    if (st)
        return st;
    for (size_t i = 0; i < w.n; i++)
        if (why_note_change(s, x->run, w.steps[i].span, w.steps[i].value, w.steps[i].at, out))
            why_end_at(&w, i);
    show_steps(r, &w, out);
    const bool finite = isfinite(w.steps[0].x);
    st = finite ? show_writes(r, x, out, e) : ST_OK;
    if (!st) {
        const struct why_step *last = &w.steps[w.n - 1];
        const struct node *node = &run_graph(r)->nodes[run_graph(r)->values[last->value].node];
        show_terms(r, last, out);
        if (last->cause.slot >= 0 && node->w[last->cause.slot])
            why_show_block("weight", s, x->run->model, node->w[last->cause.slot], last->cause.row,
                           last->cause.col, out);
    }
    why_free(&w);
    return st;
}

/* Element i of a view, in the run. */
static enum st place_of(const struct view *v, int64_t i, struct element *out, struct err *e)
{
    struct run *r = v->run->run;
    struct tensor x;
    const struct shape *named = &v->shape;
    const int tok = shape_axis(named, AXIS_TOK);
    int64_t at = 0, inner = view_count(v), left = i, entry[SHAPE_MAX];
    for (int d = 0; d < named->rank; d++) {
        inner /= named->d[d].n;
        entry[d] = v->index[d][left / inner];
        left %= inner;
    }
    const int span = tok < 0 ? run_position(r).span : run_span_of(r, entry[tok]);
    enum st st = run_read(r, span, v->value, &x, e);
    if (st)
        return st;
    const struct shape *whole = &x.shape;
    for (int d = 0; d < named->rank; d++) /* an alias may split the channels another way */
        at = at * (d == tok || whole->rank != named->rank ? named->d[d].n : whole->d[d].n)
             + (d == tok ? entry[d] - run_span(r, span).first : entry[d]);
    *out = (struct element){ v->run, span, v->value, at, false };
    return ST_OK;
}

/* The element of an activation that is meant: the first bad one, else the largest. */
static enum st largest_of(const struct view *v, struct element *out, struct err *e)
{
    int64_t best = -1;
    const int64_t n = view_count(v);
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(v->data[i])) {
            best = i;
            break;
        }
        if (best < 0 || fabsf(v->data[i]) > fabsf(v->data[best]))
            best = i;
    }
    return best < 0 ? st_fail(e, ST_RANGE, "there is nothing there") : place_of(v, best, out, e);
}

/* The one whose difference to the reference is largest. */
static enum st largest_error_of(struct session *s, const struct view *v, struct element *out,
                                struct err *e)
{
    struct session_run *sr = session_run_of(s, v->run);
    const int64_t n = view_count(v);
    float *theirs = x_alloc((size_t)(n + 1) * sizeof *theirs);
    struct ref_source ref;
    struct element at;
    enum st st = sr ? session_reference(s, sr, run_position(sr->run), s->progress, &ref, e)
                    : st_fail(e, ST_STATE, "the run is gone");
    for (int64_t i = 0; i < n && !st; i++) {
        struct tensor y;
        if (!(st = place_of(v, i, &at, e))
            && !(st = source_read(&ref, v->run->run, at.span, at.value, &y, e)))
            theirs[i] = y.data[at.at];
    }
    const int64_t best = st ? -1 : largest_error(v->data, theirs, n);
    free(theirs);
    if (!st)
        st = best < 0 ? st_fail(e, ST_RANGE, "there is no error there: the reference has the same")
                      : place_of(v, best, out, e);
    if (!st)
        out->error = true;
    return st;
}

static enum st element_of(struct session *s, const struct view *v, bool error, struct element *out,
                          struct err *e)
{
    if (v->value < 0 || !v->run) {
        st_fail(e, ST_UNSUPPORTED, "only values of a run can be traced");
        return st_hint(e, "why blk.1.out[tok=3, chan=17]");
    }
    return error ? largest_error_of(s, v, out, e) : largest_of(v, out, e);
}

static enum st run_why(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_run *r;
    struct element x = s->hit;
    struct str what = c->rest;
    int column = c->rest_column;
    const bool error = c->n_words && !c->words[0].quoted && str_is(c->words[0].text, "-error");
    enum st st = session_need_run(s, &r, e);
    if (st)
        return st;
    if (error) {
        const int after = c->n_words > 1 ? c->words[1].column - column : (int)what.n;
        what = str_of(what.p + after, what.n - (size_t)after);
        column += after;
    }
    if (what.n) {
        struct view v;
        if ((st = lookup_text(s, what, &v, e)))
            return e->column >= 0 ? st_at(e, e->column + column, e->length) : st;
        st = element_of(s, &v, error, &x, e);
        view_free(&v);
        if (st)
            return st_at(e, column, (int)what.n);
    } else if (!x.run) {
        st_fail(e, ST_STATE, "no stop has named an element");
        return st_hint(e, "why ADDR, for example why blk.1.out[tok=0, chan=17]");
    }
    x.error |= error;
    return why_show(s, &x, out, e);
}

const struct verb verbs_why[] = {
    { .name = "why",
      .class = "analyse",
      .args = "[-error] [ADDR]",
      .brief = "trace a value, or its error, back to the op, element and weight that made it",
      .help =
          "Without an address: the element that the last catch, watchpoint, condition or `diverge` "
          "stopped at; with one: the first element there that is NaN or infinite, else the "
          "largest.\n\n"
          "A bad value is followed to the first bad element that it is made of, until it was born: "
          "from a bad weight, or by overflow of finite numbers. A finite value is followed while "
          "one element of an input stands out of its row (4 times its rms) and gives 30 % of the "
          "value; where none does it was made. The terms are those of the last step, exactly: "
          "activation * factor = product, share = product / value. Of the residual stream, writes "
          "are the additions it is the sum of, and the heads of the largest of them. The block of "
          "the weight that is at fault, or that has the largest term, is shown as it is stored.\n\n"
          "After `diverge` or a condition that knows the reference, and with -error, the error is "
          "followed: the difference to the reference, of the element where it is largest. Term by "
          "term it is w x - w_ref x_ref = (w - w_ref) x_ref, the error of the weights, + w (x - "
          "x_ref), inherited (of a norm also what comes with the scale of the row); rest is in no "
          "term: activations are rounded in mode native. It is followed while one element of an "
          "input has 80 % of it, or 30 % and stands out with its own (4 times their rms in the "
          "row), to the term whose weight is furthest off: its block is shown as both files have "
          "it. An element that a change has set is named with the change; a value put in the "
          "place of another ends the trace: set by a change. Against a trace, which has no "
          "weights, inherited is the difference of the op here on the two inputs (a point that "
          "the trace lacks is made from those before), and what is left is made here. Where the "
          "op is a product with a weight, blocks of its row are ranked by the share of that error, "
          "over the tokens of the span, that multiplying the block by one factor explains: "
          "share = (sum e p)^2 / (sum e^2 sum p^2), e the error, p what the block gives. A wrong "
          "scale has share 1, and factor mends it.",
      .examples = "prompt \" memi nade ditto nade Tom pola\"\nrun\nwhy blk.1.out[tok=0]\n"
                  "open --demo as b\nref a\nprompt \"kalo\"\n"
                  "set tensor blk.0.out[tok=0,chan=3] = 4\nrun\n"
                  "why -error blk.1.out\nundo\nref off",
      .kinds = { ARG_ADDRESS },
      .words = "-error",
      .run = run_why },
    { 0 },
};
