/* SPDX-License-Identifier: MIT */
/* Statistics of each channel of what an address names. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/look.h"
#include "kernels/statistics.h"

/* Axes that count samples; the others make up the channel. */
static bool is_sample(enum axis a)
{
    return a == AXIS_SEQ || a == AXIS_TOK || a == AXIS_ROW || a == AXIS_PATCH || a == AXIS_EXP;
}

struct channel {
    int64_t at[SHAPE_MAX]; /* entries of the channel's axes */
    struct summary sum;
    double ratio, key;
};

static int by_key(const void *a, const void *b)
{
    const struct channel *x = a, *y = b;
    if (isnan(x->key) != isnan(y->key))
        return isnan(x->key) ? 1 : -1;
    return x->key > y->key ? -1 : x->key < y->key ? 1 : memcmp(x->at, y->at, sizeof x->at);
}

/* Gather each channel's samples and summarise them; list [channels]. scratch [samples]. */
static enum st measure(const struct view *v, int64_t channels, int64_t samples,
                       struct progress *p, struct channel *list, float *scratch, struct err *e)
{
    const struct shape *s = &v->shape;
    int64_t stride[SHAPE_MAX], n = 1;
    for (int d = s->rank - 1; d >= 0; n *= s->d[d].n, d--)
        stride[d] = n;
    for (int64_t k = 0; k < channels; k++) {
        int64_t base = 0, rest = k;
        if (!progress_tick(p, "channels", (double)k, (double)channels))
            return st_fail(e, ST_CANCELLED, "interrupted");
        for (int d = s->rank - 1; d >= 0; d--) {
            if (is_sample(s->d[d].axis))
                continue;
            list[k].at[d] = rest % s->d[d].n;
            rest /= s->d[d].n;
            base += list[k].at[d] * stride[d];
        }
        for (int64_t i = 0; i < samples; i++) {
            int64_t offset = base;
            rest = i;
            for (int d = s->rank - 1; d >= 0; d--) {
                if (!is_sample(s->d[d].axis))
                    continue;
                offset += rest % s->d[d].n * stride[d];
                rest /= s->d[d].n;
            }
            scratch[i] = v->data[offset];
        }
        summary_of(NULL, scratch, samples, &list[k].sum);
    }
    return ST_OK;
}

/* absmax over the median absmax of the channels that are not all zero. */
static double add_ratios(struct channel *list, int64_t n)
{
    double *absmax = x_alloc((size_t)n * sizeof *absmax);
    int64_t live = 0;
    for (int64_t i = 0; i < n; i++)
        if (list[i].sum.absmax > 0)
            absmax[live++] = list[i].sum.absmax;
    const double middle = median_f64(absmax, live);
    for (int64_t i = 0; i < n; i++)
        list[i].ratio = list[i].sum.absmax / middle;
    free(absmax);
    return middle;
}

static void channel_table(const struct view *v, const struct channel *list, int64_t n,
                          struct result *out)
{
    struct table *t = result_table(out, "channels", TABLE_ROWS);
    const struct shape *s = &v->shape;
    for (int d = 0; d < s->rank; d++) {
        if (is_sample(s->d[d].axis))
            continue;
        table_column(t, COL_INT, axis_info(s->d[d].axis)->name, "");
        if (look_has_text(v, d))
            table_column(t, COL_STRING, "text", "");
    }
    static const char *const columns[] = { "absmax", "rms", "mean", "sd",
                                           "kurt",   "min", "max",  "ratio" };
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        table_column(t, COL_FLOAT, columns[i], "");
    for (int64_t k = 0; k < n; k++) {
        const struct channel *c = &list[k];
        table_row(t);
        for (int d = 0; d < s->rank; d++) {
            if (is_sample(s->d[d].axis))
                continue;
            table_int(t, v->index[d][c->at[d]]);
            if (!look_has_text(v, d))
                continue;
            struct buf b = { 0 };
            look_text(v, d, c->at[d], &b);
            table_str(t, buf_str(&b));
            buf_free(&b);
        }
        const double cells[] = { c->sum.absmax, c->sum.rms, c->sum.mean, c->sum.sd,
                                 c->sum.kurt,   c->sum.min, c->sum.max,  c->ratio };
        for (size_t i = 0; i < sizeof cells / sizeof *cells; i++)
            table_float(t, cells[i]);
    }
}

enum { CHANNELS_SHOWN = 10 };

static enum st channel_options(const struct call *c, int i, struct str *by, int64_t *shown,
                               struct err *e)
{
    *by = STR("absmax");
    *shown = CHANNELS_SHOWN;
    for (enum st st; i < c->n_words; i++) {
        double ignored;
        if (str_is(c->words[i].text, "by")) {
            if (++i == c->n_words)
                return call_fail(c, i, e, ST_SYNTAX, "by which statistic?");
            *by = c->words[i].text;
            char name[32];
            snprintf(name, sizeof name, "%.*s", (int)(by->n < 31 ? by->n : 31), by->p);
            struct summary none = { 0 };
            if (strcmp(name, "ratio") && strcmp(name, "index")
                && !statistic_of_summary(name, &none, &ignored)) {
                call_fail(c, i, e, ST_NOTFOUND, "channels are not sorted by `%s`", name);
                return st_hint(e, "absmax rms mean sd kurt min max l2 zero ratio, or index");
            }
        } else if ((st = look_number(c, i, 1, 1 << 24, shown, e)))
            return call_fail(c, i, e, ST_SYNTAX, "expected `by STAT` or how many channels");
    }
    return ST_OK;
}

enum st run_channels(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct view v;
    struct str by;
    int64_t shown, channels = 1, samples = 1;
    int i;
    enum st st = look_operand(s, c, &v, &i, e);
    if (st)
        return st;
    st = channel_options(c, i, &by, &shown, e);
    for (int d = 0; d < v.shape.rank; d++)
        *(is_sample(v.shape.d[d].axis) ? &samples : &channels) *= v.shape.d[d].n;
    void *scratch = NULL, *list = NULL;
    if (!st)
        st = mem_alloc(&scratch, (size_t)samples * sizeof(float), "one channel", e);
    if (!st)
        st = mem_alloc(&list, (size_t)channels * sizeof(struct channel), "the channels", e);
    if (!st) {
        memset(list, 0, (size_t)channels * sizeof(struct channel));
        st = measure(&v, channels, samples, s->progress, list, scratch, e);
    }
    if (!st) {
        struct channel *all = list;
        double median = add_ratios(all, channels);
        char name[32];
        snprintf(name, sizeof name, "%.*s", (int)by.n, by.p);
        for (int64_t k = 0; k < channels; k++)
            if (!strcmp(name, "ratio"))
                all[k].key = all[k].ratio;
            else if (!strcmp(name, "index"))
                all[k].key = -(double)k;
            else
                statistic_of_summary(name, &all[k].sum, &all[k].key);
        qsort(all, (size_t)channels, sizeof *all, by_key);
        channel_table(&v, all, shown < channels ? shown : channels, out);
        char text[40];
        result_note(out, "%" PRId64 " %s of %" PRId64 " %s, by %s; median absmax %s", channels,
                    text_plural((uint64_t)channels, "channel", "channels"), samples,
                    text_plural((uint64_t)samples, "value", "values"), name,
                    text_digits(text, sizeof text, median, 5));
    }
    mem_free(scratch);
    mem_free(list);
    view_free(&v);
    return st;
}
