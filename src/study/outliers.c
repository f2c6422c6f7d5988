/* SPDX-License-Identifier: MIT */
#include "study/outliers.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"

const char *outlier_kind_name(enum outlier_kind kind)
{
    static const char *const names[] = { "", "massive", "persistent" };
    return names[kind];
}

void outlier_scan_free(struct outlier_scan *s)
{
    free(s->channels);
    free(s->tokens);
    *s = (struct outlier_scan){ 0 };
}

struct channels {
    struct channel_table t;
    float *scratch;
};

static struct channels channels_new(int64_t rows, int64_t cols)
{
    struct channels c;
    c.t.absmax = x_alloc((size_t)cols * sizeof *c.t.absmax);
    c.t.absmax_row = x_alloc((size_t)cols * sizeof *c.t.absmax_row);
    c.t.hits = x_alloc((size_t)cols * sizeof *c.t.hits);
    c.t.squares = x_alloc((size_t)cols * sizeof *c.t.squares);
    c.t.row_hits = x_alloc((size_t)rows * sizeof *c.t.row_hits);
    c.scratch = x_alloc((size_t)cols * sizeof *c.scratch);
    return c;
}

static void channels_free(struct channels *c)
{
    free(c->t.absmax);
    free(c->t.absmax_row);
    free(c->t.hits);
    free(c->t.squares);
    free(c->t.row_hits);
    free(c->scratch);
}

static double magnitude(float v) { return isfinite(v) ? fabs((double)v) : 0; }

/* Channels as ranked with (all) and without (rest) the first token. */
static void fill_channels(const float *x, const struct channels *all, const struct channels *rest,
                          struct outlier_scan *s)
{
    for (int64_t c = 0; c < s->cols; c++) {
        struct outlier_channel *o = &s->channels[c];
        const int32_t tok = all->t.absmax_row[c];
        *o = (struct outlier_channel){
            .chan = c, .tok = tok, .hits = rest->t.hits[c], .ratio_rest = NAN
        };
        o->value = tok < 0 ? 0 : x[tok * s->cols + c];
        o->ratio = (double)all->t.absmax[c] / s->all.median_absmax;
        if (rest->t.absmax_row[c] >= 0)
            o->ratio_rest = (double)rest->t.absmax[c] / s->rest.median_absmax;
        o->first = magnitude(x[c]) > s->rest.threshold; /* false when there is no threshold */
        o->kind = outlier_kind(o->hits, s->rest.rows);
        if (o->kind == OUTLIER_NONE && o->first)
            o->kind = OUTLIER_FEW_TOKENS;
        s->persistent += o->kind == OUTLIER_PERSISTENT;
        s->massive += o->kind == OUTLIER_FEW_TOKENS;
    }
}

static void fill_tokens(const float *x, struct outlier_scan *s)
{
    double *sizes = x_alloc((size_t)s->rows * sizeof *sizes);
    for (int64_t r = 0; r < s->rows; r++) {
        struct outlier_token *o = &s->tokens[r];
        *o = (struct outlier_token){ .tok = r };
        double squares = 0, most = -1;
        for (int64_t c = 0; c < s->cols; c++) {
            const double a = magnitude(x[r * s->cols + c]);
            squares += a * a;
            if (a > most) {
                most = a;
                o->chan = c;
            }
            const bool hit = a > s->rest.threshold;
            o->hits += hit;
            o->massive += hit && s->channels[c].kind == OUTLIER_FEW_TOKENS;
        }
        o->value = x[r * s->cols + o->chan];
        o->ratio = sqrt(squares / (double)s->cols);
        sizes[r] = o->ratio;
    }
    const double middle = median_f64(sizes + 1, s->rows - 1);
    for (int64_t r = 0; r < s->rows; r++)
        s->tokens[r].ratio /= middle;
    free(sizes);
}

void outlier_scan_of(const float *x, int64_t rows, int64_t cols, double k, struct outlier_scan *out)
{
    struct outlier_scan s = { .rows = rows, .cols = cols };
    struct channels all = channels_new(rows, cols), rest = channels_new(rows, cols);
    outliers_of(x, rows, cols, 0, k, &all.t, all.scratch, &s.all);
    outliers_of(x, rows, cols, 1, k, &rest.t, rest.scratch, &s.rest);
    s.channels = x_alloc((size_t)cols * sizeof *s.channels);
    s.tokens = x_alloc((size_t)rows * sizeof *s.tokens);
    fill_channels(x, &all, &rest, &s);
    fill_tokens(x, &s);
    channels_free(&all);
    channels_free(&rest);
    *out = s;
}
