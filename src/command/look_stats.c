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
#include "session/pieces.h"
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

/* Numbers to be gone through: those of a view, or what a match holds, read in pieces. */
struct source {
    const struct view *v; /* NULL: the match */
    struct session *s;
    const struct address *a;
    const struct match *m;
    struct progress *progress;
};

typedef enum st numbers_fn(void *data, const float *x, int64_t n);
struct passing {
    numbers_fn *fn;
    void *data;
    struct progress *progress;
};

static enum st go_through(void *data, const struct view *v, struct err *e)
{
    const struct passing *p = data;
    for (int64_t i = 0, n = view_count(v); i < n; i += VIEW_PIECE) {
        if (!progress_tick(p->progress, "looking", (double)i, (double)n))
            return st_fail(e, ST_CANCELLED, "interrupted");
        p->fn(p->data, v->data + i, n - i < VIEW_PIECE ? n - i : VIEW_PIECE);
    }
    return ST_OK;
}

static enum st each_number(const struct source *from, numbers_fn *fn, void *data, struct err *e)
{
    struct passing p = { fn, data, from->progress };
    return from->v ? go_through(&p, from->v, e)
                   : lookup_pieces(from->s, from->a, from->m, go_through, &p, e);
}

static enum st add_summary(void *data, const float *x, int64_t n)
{
    summary_add(data, NULL, x, n);
    return ST_OK;
}

static enum st add_quantiles(void *data, const float *x, int64_t n)
{
    quantiles_add(data, x, n);
    return ST_OK;
}

static enum st quantiles_from(const struct source *from, const double *p, int k, double *out,
                              struct err *e)
{
    if (from->v)
        return view_quantiles(from->v, p, k, from->progress, out, e);
    struct quantile_stream *q = quantiles_begin(p, k);
    enum st st = each_number(from, add_quantiles, q, e);
    quantiles_again(q);
    if (!st)
        st = each_number(from, add_quantiles, q, e);
    quantiles_end(q, st ? NULL : out);
    return st;
}

static enum st summary_row(const struct source *from, const char *name, const struct format_info *f,
                           struct table *t, struct err *e)
{
    static const double p[] = { 0.01, 0.5, 0.99 };
    double q[3];
    struct summary s;
    struct summary_stream *stream = x_alloc(sizeof *stream);
    summary_begin(stream);
    enum st st = each_number(from, add_summary, stream, e);
    summary_end(stream, &s);
    free(stream);
    if (!st)
        st = quantiles_from(from, p, 3, q, e);
    if (st)
        return st;
    table_row(t);
    table_str(t, name);
    table_str(t, f ? f->name : NULL);
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

enum st look_summary(const struct view *v, struct progress *progress, struct table *t,
                     struct err *e)
{
    const struct source from = { .v = v, .progress = progress };
    return summary_row(&from, v->name ? v->name : "", v->format, t, e);
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

/* What is too large to be read whole. */
static enum st summarize_large(void *data, const struct address *a, const struct match *m,
                               struct err *e)
{
    const struct summarizing *to = data;
    const struct source from = { .s = to->s, .a = a, .m = m, .progress = to->s->progress };
    struct address copy = *a;
    struct buf name = { 0 };
    copy.name = m->name;
    address_print(&copy, &name);
    const struct weight *w = m->weight ? lookup_stored(to->s, a, m->weight) : NULL;
    enum st st = summary_row(&from, buf_str(&name), w ? format_info(w->format) : NULL, to->t, e);
    buf_free(&name);
    return st;
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
    struct look_left left = { .large = summarize_large };
    enum st st = ST_OK;
    for (int i = 0; i < c->n_words && !st; i++)
        st = summarize_word(s, &c->words[i], t, &left, e);
    look_left_notes(&left, out);
    return st;
}

/* --- histogram ---------------------------------------------------------------------------------
 */

enum { MAX_BINS = 1000, BINS = 20 };

/* What the first way through the numbers finds. */
struct extent {
    struct summary_stream stream;
    double least; /* smallest magnitude that is not zero */
};

static enum st add_extent(void *data, const float *x, int64_t n)
{
    struct extent *to = data;
    summary_add(&to->stream, NULL, x, n);
    for (int64_t i = 0; i < n; i++)
        if (x[i] != 0 && fabs((double)x[i]) < to->least)
            to->least = fabs((double)x[i]);
    return ST_OK;
}

/* histogram_of() piece by piece. */
struct bins {
    enum histogram_scale scale;
    double lo, hi;
    int n;
    int64_t *count, *some; /* [n] */
    struct histogram_rest rest;
    bool any; /* the range is one */
};

static enum st add_bins(void *data, const float *x, int64_t n)
{
    struct bins *b = data;
    struct histogram_rest r;
    if (!histogram_of(x, n, b->scale, b->lo, b->hi, b->n, b->some, &r))
        return ST_OK;
    b->any = true;
    for (int i = 0; i < b->n; i++)
        b->count[i] += b->some[i];
    b->rest.zero += r.zero;
    b->rest.nonfinite += r.nonfinite;
    return ST_OK;
}

static void show_bins(const struct bins *b, bool log, struct result *out)
{
    struct table *t = result_table(out, "histogram", TABLE_HIST);
    table_column(t, COL_FLOAT, log ? "abs from" : "from", "");
    TABLE_COLUMNS(t, { COL_FLOAT, "to" }, { COL_INT, "count" });
    if (!b->any) {
        result_note(out, log ? "no value but zeros" : "no finite value");
        return;
    }
    for (int i = 0; i < b->n; i++) {
        table_row(t);
        table_float(t, histogram_edge(b->scale, b->lo, b->hi, b->n, i));
        table_float(t, histogram_edge(b->scale, b->lo, b->hi, b->n, i + 1));
        table_int(t, b->count[i]);
    }
    if (b->rest.zero)
        result_note(out, "%" PRId64 " %s in no bin", b->rest.zero,
                    text_plural((uint64_t)b->rest.zero, "zero is", "zeros are"));
    if (b->rest.nonfinite)
        result_note(out, "%" PRId64 " %s not finite", b->rest.nonfinite,
                    text_plural((uint64_t)b->rest.nonfinite, "value is", "values are"));
}

static enum st histogram_from(const struct source *from, int bins, bool log, struct result *out,
                              struct err *e)
{
    struct bins b = { .scale = log ? HISTOGRAM_LOG : HISTOGRAM_LINEAR, .n = bins };
    struct summary s;
    if (bins < 1 || bins > MAX_BINS)
        return st_fail(e, ST_RANGE, "1..%d bins", MAX_BINS);
    struct extent *extent = x_alloc(sizeof *extent);
    summary_begin(&extent->stream);
    extent->least = INFINITY;
    enum st st = each_number(from, add_extent, extent, e);
    summary_end(&extent->stream, &s);
    b.lo = log ? fmin(extent->least, s.absmax) : s.min;
    b.hi = log ? s.absmax : s.max;
    free(extent);
    if (st)
        return st;
    if (b.lo == b.hi) { /* all alike: one bin around it */
        b.lo = log ? b.lo / 2 : b.lo - 0.5;
        b.hi = log ? b.hi * 2 : b.hi + 0.5;
    }
    b.count = x_alloc((size_t)bins * 2 * sizeof *b.count);
    b.some = b.count + bins;
    st = each_number(from, add_bins, &b, e);
    if (!st)
        show_bins(&b, log, out);
    free(b.count);
    return st;
}

enum st look_histogram(const struct view *v, int bins, bool log, struct progress *p,
                       struct result *out, struct err *e)
{
    const struct source from = { .v = v, .progress = p };
    return histogram_from(&from, bins, log, out, e);
}

/* The words behind the operand. */
static enum st hist_words(const struct call *c, int i, int64_t *bins, bool *log, struct err *e)
{
    enum st st = ST_OK;
    for (; i < c->n_words && !st; i++) {
        struct str w = c->words[i].text;
        if (str_is(w, "log"))
            *log = true;
        else if (str_is(w, "bins"))
            st = look_number(c, ++i, 1, MAX_BINS, bins, e);
        else
            st = call_fail(c, i, e, ST_SYNTAX, "expected `bins N` or `log`");
    }
    return st;
}

/* The operand does not fit into memory: if it is an address alone, it is read in pieces. *tried:
 * whether that could be. */
static enum st large_histogram(struct session *s, const struct call *c, struct result *out,
                               bool *tried, struct err *e)
{
    struct address *a = x_alloc(sizeof *a);
    struct match *list = NULL;
    size_t n = 0;
    int64_t bins = BINS;
    bool log = false;
    enum st st = ST_OK;
    *tried = !address_parse(c->words[0].text, a, NULL) && a->used == c->words[0].text.n
             && !lookup_names(s, a, &list, &n, NULL) && n == 1;
    if (*tried && !(st = hist_words(c, 1, &bins, &log, e))) {
        const struct source from = { .s = s, .a = a, .m = &list[0], .progress = s->progress };
        st = histogram_from(&from, (int)bins, log, out, e);
        if (st && st != ST_CANCELLED)
            st_at(e, c->words[0].column, c->words[0].length);
    }
    free(list);
    free(a);
    return st;
}

enum st run_hist(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct view v;
    int i;
    int64_t bins = BINS;
    bool log = false;
    enum st st = look_operand(s, c, &v, &i, e);
    if (st == ST_NOMEM) {
        struct err large = ERR_INIT;
        bool tried;
        const enum st now = large_histogram(s, c, out, &tried, &large);
        if (tried && now)
            *e = large;
        return tried ? now : st;
    }
    if (st)
        return st;
    st = hist_words(c, i, &bins, &log, e);
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
