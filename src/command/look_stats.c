/* SPDX-License-Identifier: MIT */
/* Statistics of what an address names: summary, histogram, heat map. */
#include "command/look.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/statistics.h"
#include "session/expression.h"
#include "session/session.h"

/* --- summary -----------------------------------------------------------------------------------
 */

struct table *look_summary_table(struct result *out)
{
    static const char *const floats[] = { "min",    "p1",   "median", "p99", "max",
                                          "absmax", "mean", "sd",     "rms", "kurt" };
    struct table *t = result_table(out, "summary", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_ADDRESS, "of" }, { COL_STRING, "format" }, { COL_INT, "n" },
                  { COL_INT, "nan" }, { COL_INT, "inf" }, { COL_INT, "zero" });
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++)
        table_column(t, COL_FLOAT, floats[i], "");
    return t;
}

enum st look_summary(const struct view *v, struct progress *progress, struct table *t,
                     struct err *e)
{
    static const double p[] = { 0.01, 0.5, 0.99 };
    double q[3];
    struct summary s;
    enum st st = view_summary(v, progress, &s, e);
    if (!st)
        st = view_quantiles(v, p, 3, progress, q, e);
    if (st)
        return st;
    table_row(t);
    table_str(t, v->name ? v->name : "");
    if (v->weight)
        table_str(t, format_info(v->weight->format)->name);
    else
        table_skip(t);
    table_int(t, s.n);
    table_int(t, s.nan);
    table_int(t, s.inf);
    table_int(t, s.zero);
    const double cells[] = {
        s.min, q[0], q[1], q[2], s.max, s.absmax, s.mean, s.sd, s.rms, s.kurt
    };
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++)
        table_float(t, cells[i]);
    return ST_OK;
}

struct summarizing {
    struct session *s;
    struct table *t;
};

static enum st summarize_view(void *data, struct view *v, struct err *e)
{
    const struct summarizing *to = data;
    return look_summary(v, to->s->progress, to->t, e);
}

/* An address alone, perhaps a glob; else an expression without blanks. */
static enum st summarize_word(struct session *s, const struct word *w, struct table *t,
                              struct look_left *left, struct err *e)
{
    struct address *a = x_alloc(sizeof *a);
    struct err other = ERR_INIT;
    struct view v;
    enum st st = address_parse(w->text, a, e);
    const bool whole = !st && a->used == w->text.n;
    if (whole)
        st = look_each(s, a, left, summarize_view, &(struct summarizing){ s, t }, e);
    if (!whole || st == ST_NOTFOUND) {
        enum st as_expression = expression_eval(s, w->text, &v, &other);
        if (!as_expression) {
            st = look_summary(&v, s->progress, t, e);
            view_free(&v);
        } else if (!whole) {
            *e = other;
            st = as_expression;
        }
    }
    free(a);
    if (st && e->column >= 0)
        st_at(e, e->column + w->column, e->length);
    else if (st)
        st_at(e, w->column, w->length);
    return st;
}

enum st run_summary(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    if (!c->n_words) {
        call_fail(c, 0, e, ST_SYNTAX, "the summary of what?");
        return st_hint(e, "for example blk.*.out, or blk.0.attn_q.weight");
    }
    struct table *t = look_summary_table(out);
    struct look_left left = { 0 };
    enum st st = ST_OK;
    for (int i = 0; i < c->n_words && !st; i++)
        st = summarize_word(s, &c->words[i], t, &left, e);
    look_left_notes(&left, out);
    return st;
}

/* --- histogram ---------------------------------------------------------------------------------
 */

enum { MAX_BINS = 1000, BINS = 20 };

/* The smallest magnitude that is not zero; `most` if there is none below. */
static double least_magnitude(const struct view *v, double most)
{
    double lo = most;
    for (int64_t i = 0, n = view_count(v); i < n; i++)
        if (v->data[i] != 0 && fabs((double)v->data[i]) < lo)
            lo = fabs((double)v->data[i]);
    return lo;
}

/* histogram_of() piece by piece. *any: as it returns. */
static enum st count_bins(const struct view *v, enum histogram_scale scale, double lo, double hi,
                          int bins, struct progress *p, int64_t *count, struct histogram_rest *rest,
                          bool *any, struct err *e)
{
    int64_t *some = x_alloc((size_t)bins * sizeof *some);
    struct histogram_rest r;
    enum st st = ST_OK;
    *rest = (struct histogram_rest){ 0 };
    *any = false;
    for (int64_t i = 0, n = view_count(v); i < n && !st; i += VIEW_PIECE) {
        if (!progress_tick(p, "counting", (double)i, (double)n)) {
            st = st_fail(e, ST_CANCELLED, "interrupted");
            break;
        }
        *any = histogram_of(v->data + i, n - i < VIEW_PIECE ? n - i : VIEW_PIECE, scale, lo, hi,
                            bins, some, &r);
        if (!*any)
            break;
        for (int b = 0; b < bins; b++)
            count[b] += some[b];
        rest->zero += r.zero;
        rest->nonfinite += r.nonfinite;
    }
    free(some);
    return st;
}

enum st look_histogram(const struct view *v, int bins, bool log, struct progress *p,
                       struct result *out, struct err *e)
{
    const enum histogram_scale scale = log ? HISTOGRAM_LOG : HISTOGRAM_LINEAR;
    struct summary s;
    if (bins < 1 || bins > MAX_BINS)
        return st_fail(e, ST_RANGE, "1..%d bins", MAX_BINS);
    enum st st = view_summary(v, p, &s, e);
    if (st)
        return st;
    double lo = s.min, hi = s.max;
    if (log) { /* magnitudes: from the smallest that is not zero */
        hi = s.absmax;
        lo = least_magnitude(v, hi);
    }
    if (lo == hi) { /* all alike: one bin around it */
        lo = log ? lo / 2 : lo - 0.5;
        hi = log ? hi * 2 : hi + 0.5;
    }
    int64_t *count = x_alloc((size_t)bins * sizeof *count);
    struct histogram_rest rest;
    bool any;
    if ((st = count_bins(v, scale, lo, hi, bins, p, count, &rest, &any, e))) {
        free(count);
        return st;
    }
    struct table *t = result_table(out, "histogram", TABLE_HIST);
    table_column(t, COL_FLOAT, log ? "abs from" : "from", "");
    table_column(t, COL_FLOAT, "to", "");
    table_column(t, COL_INT, "count", "");
    if (any) {
        for (int i = 0; i < bins; i++) {
            table_row(t);
            table_float(t, histogram_edge(scale, lo, hi, bins, i));
            table_float(t, histogram_edge(scale, lo, hi, bins, i + 1));
            table_int(t, count[i]);
        }
        if (rest.zero)
            result_note(out, "%" PRId64 " %s in no bin", rest.zero,
                        text_plural((uint64_t)rest.zero, "zero is", "zeros are"));
        if (rest.nonfinite)
            result_note(out, "%" PRId64 " %s not finite", rest.nonfinite,
                        text_plural((uint64_t)rest.nonfinite, "value is", "values are"));
    } else
        result_note(out, log ? "no value but zeros" : "no finite value");
    free(count);
    return ST_OK;
}

enum st run_hist(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct view v;
    int i;
    int64_t bins = BINS;
    bool log = false;
    enum st st = look_operand(s, c, &v, &i, e);
    if (st)
        return st;
    for (; i < c->n_words && !st; i++) {
        struct str w = c->words[i].text;
        if (str_is(w, "log"))
            log = true;
        else if (str_is(w, "bins"))
            st = look_number(c, ++i, 1, MAX_BINS, &bins, e);
        else
            st = call_fail(c, i, e, ST_SYNTAX, "expected `bins N` or `log`");
    }
    if (!st)
        st = look_histogram(&v, (int)bins, log, s->progress, out, e);
    view_free(&v);
    return st;
}

/* --- heat map ----------------------------------------------------------------------------------
 */

enum { HEAT_ROWS = 64, HEAT_COLUMNS = 512 };

/* The value of largest magnitude in a rectangle; one that is not finite wins. */
static double peak(const struct view *v, int64_t columns, int64_t r0, int64_t r1, int64_t c0,
                   int64_t c1)
{
    double best = 0;
    for (int64_t r = r0; r < r1; r++)
        for (int64_t c = c0; c < c1; c++) {
            double x = v->data[r * columns + c];
            if (!isfinite(x))
                return x;
            if (fabs(x) > fabs(best))
                best = x;
        }
    return best;
}

/* "tok 3 kalo", "head 2 tok 5 kalo": where row r of the leading axes stands. */
static void row_label(const struct view *v, int64_t row, struct buf *out)
{
    int64_t at[SHAPE_MAX];
    const int last = v->shape.rank - 1;
    for (int d = last - 1; d >= 0; d--) {
        at[d] = row % v->shape.d[d].n;
        row /= v->shape.d[d].n;
    }
    for (int d = 0; d < last; d++) {
        buf_printf(out, "%s%s %" PRId64, d ? " " : "", axis_info(v->shape.d[d].axis)->name,
                   v->index[d][at[d]]);
        if (look_has_text(v, d)) {
            buf_addc(out, ' ');
            look_text(v, d, at[d], out);
        }
    }
}

enum st look_heat(const struct view *v, struct progress *p, struct result *out, struct err *e)
{
    struct table *t = result_table(out, "heat", TABLE_HEAT);
    const int last = v->shape.rank - 1;
    const int64_t columns = v->shape.rank ? v->shape.d[last].n : 1,
                  rows = columns ? view_count(v) / columns : 0;
    const int64_t high = (rows + HEAT_ROWS - 1) / HEAT_ROWS,
                  across = (columns + HEAT_COLUMNS - 1) / HEAT_COLUMNS;
    table_column(t, COL_STRING, "row", "");
    for (int64_t c = 0; c < columns; c += across) {
        char name[40];
        snprintf(name, sizeof name, "%s=%" PRId64,
                 v->shape.rank ? axis_info(v->shape.d[last].axis)->name : "value",
                 v->shape.rank ? v->index[last][c] : 0);
        table_column(t, COL_FLOAT, name, "");
    }
    for (int64_t r = 0; r < rows; r += high) {
        struct buf b = { 0 };
        if (!progress_tick(p, "looking", (double)r, (double)rows))
            return st_fail(e, ST_CANCELLED, "interrupted");
        row_label(v, r, &b);
        table_row(t);
        table_str(t, buf_str(&b));
        buf_free(&b);
        for (int64_t c = 0; c < columns; c += across)
            table_float(t, peak(v, columns, r, r + high < rows ? r + high : rows, c,
                                c + across < columns ? c + across : columns));
    }
    if (high > 1 || across > 1)
        result_note(out,
                    "one cell is %" PRId64 " %s by %" PRId64
                    " %s: the value of largest magnitude stands for all",
                    high, text_plural((uint64_t)high, "row", "rows"), across,
                    text_plural((uint64_t)across, "column", "columns"));
    return ST_OK;
}

enum st run_heat(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct view v;
    int i;
    enum st st = look_operand(s, c, &v, &i, e);
    if (st)
        return st;
    if (i < c->n_words)
        st = call_fail(c, i, e, ST_SYNTAX, "one thing at a time");
    else
        st = look_heat(&v, s->progress, out, e);
    view_free(&v);
    return st;
}
