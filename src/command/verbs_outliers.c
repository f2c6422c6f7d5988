/* SPDX-License-Identifier: MIT */
/* `outliers`: channels and tokens that stand out at a set of points, ranked over all of them. */
#include "command/verbs_outliers.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "command/cells.h"
#include "session/lookup.h"
#include "study/outliers.h"

struct found_channel {
    struct outlier_channel o;
    struct str point;
};

struct found_token {
    struct outlier_token o;
    struct str point;
};

struct survey {
    double k;
    int64_t show; /* rows of each ranking */
    struct table *points;
    struct found_channel *channels;
    struct found_token *tokens;
    size_t n_channels, cap_channels, n_tokens, cap_tokens;
    int missing; /* points that have not been computed yet */
};

static void begin_points(struct survey *v, struct result *out)
{
    struct table *t = v->points = result_table(out, "points", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_ADDRESS, "point" }, { COL_FLOAT, "rms", "", 4 },
                  { COL_FLOAT, "ratio", "", 4 }, { COL_INT, "chan" }, { COL_INT, "tok" },
                  { COL_FLOAT, "rest", "", 4 }, { COL_INT, "persistent" }, { COL_INT, "massive" });
}

/* One point: a row of its own, its channels and tokens to the rankings. */
static void add_point(struct survey *v, const struct view *x, struct str name)
{
    struct outlier_scan scan;
    const int64_t rows = x->shape.d[0].n;
    outlier_scan_of(x->data, rows, view_count(x) / rows, v->k, &scan);
    table_row(v->points);
    table_strn(v->points, name);
    put_number(v->points, scan.rest.rms);
    put_number(v->points, scan.all.ratio);
    put_index(v->points, scan.all.absmax_col);
    put_index(v->points, scan.all.absmax_row);
    put_number(v->points, scan.rest.ratio);
    table_int(v->points, scan.persistent);
    table_int(v->points, scan.massive);
    for (int64_t c = 0; c < scan.cols; c++) {
        if (scan.channels[c].kind == OUTLIER_NONE)
            continue;
        x_grow(&v->channels, &v->cap_channels, v->n_channels + 1, sizeof *v->channels);
        v->channels[v->n_channels++] = (struct found_channel){ scan.channels[c], name };
    }
    for (int64_t r = 0; r < scan.rows; r++) {
        if (!scan.tokens[r].hits)
            continue;
        x_grow(&v->tokens, &v->cap_tokens, v->n_tokens + 1, sizeof *v->tokens);
        v->tokens[v->n_tokens++] = (struct found_token){ scan.tokens[r], name };
    }
    outlier_scan_free(&scan);
}

static bool has_channels(const struct shape *s)
{
    return s->rank >= 2 && s->d[0].axis == AXIS_TOK && s->d[s->rank - 1].axis == AXIS_CHAN;
}

/* Points of the address; of several those that have been computed. */
static enum st add_points(struct session *s, struct survey *v, const struct address *a,
                          struct err *e)
{
    struct match *list;
    size_t n;
    enum st st = lookup_names(s, a, &list, &n, e);
    if (st)
        return st;
    int fit = 0;
    for (size_t i = 0; i < n && !st; i++) {
        struct view x;
        if (list[i].weight || !has_channels(&list[i].shape))
            continue;
        fit++;
        if (!progress_tick(s->progress, "outliers", (double)i, (double)n)) {
            st = st_fail(e, ST_CANCELLED, "interrupted");
            break;
        }
        struct err why = ERR_INIT;
        st = lookup_read(s, a, &list[i], &x, &why);
        if (st == ST_STATE && n > 1) {
            v->missing++;
            st = ST_OK;
            continue;
        }
        if (st) {
            if (e)
                *e = why;
            break;
        }
        add_point(v, &x, list[i].name);
        view_free(&x);
    }
    free(list);
    if (!st && !fit) {
        st_fail(e, ST_UNSUPPORTED, "no activation with tokens and channels is named `%.*s`",
                (int)a->name.n, a->name.p);
        st = st_hint(e, "`info points` shows the axes");
    }
    return st;
}

/* The residual stream and what each down projection reads, in the order of the graph. */
static enum st add_default(struct session *s, struct session_run *r, struct survey *v,
                           struct err *e)
{
    const struct graph *g = run_graph(r->run);
    for (int b = 0; b < g->n_blocks; b++) {
        static const char *const parts[] = { "mid", "ffn_down.in", "out" };
        for (int i = 0; i < 3; i++) {
            char name[40];
            struct shape shape;
            struct address a;
            snprintf(name, sizeof name, "blk.%d.%s", b, parts[i]);
            const int value = graph_point(g, str_from(name), &shape, NULL);
            if (value < 0)
                continue;
            if (!run_has(r->run, 0, value)) {
                v->missing++;
                continue;
            }
            enum st st = address_parse(str_from(name), &a, e);
            if (!st)
                st = add_points(s, v, &a, e);
            if (st)
                return st;
        }
    }
    if (v->points->n_rows)
        return ST_OK;
    st_fail(e, ST_STATE, "no block has been computed yet");
    return st_hint(e, "`run` first, or `step block`");
}

static int by_channel(const void *a, const void *b)
{
    const struct found_channel *x = a, *y = b;
    return x->o.ratio != y->o.ratio ? (x->o.ratio < y->o.ratio ? 1 : -1) : (x > y) - (x < y);
}

static int by_token(const void *a, const void *b)
{
    const struct found_token *x = a, *y = b;
    return x->o.ratio != y->o.ratio ? (x->o.ratio < y->o.ratio ? 1 : -1) : (x > y) - (x < y);
}

static void put_token(struct table *t, const struct session_run *r, int64_t tok)
{
    struct buf b = { 0 };
    if (r && tok >= 0 && tok < run_n_tokens(r->run))
        session_token_text(r, run_tokens(r->run)[tok], &b);
    put_index(t, tok);
    table_str(t, buf_str(&b));
    buf_free(&b);
}

static void show_channels(struct survey *v, const struct session_run *r, struct result *out)
{
    struct table *t = result_table(out, "channels", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_ADDRESS, "point" }, { COL_INT, "chan" }, { COL_STRING, "kind" },
                  { COL_FLOAT, "ratio", "", 4 }, { COL_FLOAT, "rest", "", 4 }, { COL_INT, "hits" },
                  { COL_FLOAT, "value", "", 4 }, { COL_INT, "tok" }, { COL_STRING, "text" });
    if (v->n_channels)
        qsort(v->channels, v->n_channels, sizeof *v->channels, by_channel);
    for (size_t i = 0; i < v->n_channels && (int64_t)i < v->show; i++) {
        const struct outlier_channel *o = &v->channels[i].o;
        table_row(t);
        table_strn(t, v->channels[i].point);
        table_int(t, o->chan);
        table_str(t, outlier_kind_name(o->kind));
        put_number(t, o->ratio);
        put_number(t, o->ratio_rest);
        table_int(t, o->hits + o->first);
        table_float(t, (double)o->value);
        put_token(t, r, o->tok);
    }
}

static void show_tokens(struct survey *v, const struct session_run *r, struct result *out)
{
    struct table *t = result_table(out, "tokens", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_ADDRESS, "point" }, { COL_INT, "tok" }, { COL_STRING, "text" },
                  { COL_FLOAT, "ratio", "", 4 }, { COL_INT, "hits" }, { COL_INT, "massive" },
                  { COL_FLOAT, "value", "", 4 }, { COL_INT, "chan" });
    if (v->n_tokens)
        qsort(v->tokens, v->n_tokens, sizeof *v->tokens, by_token);
    for (size_t i = 0; i < v->n_tokens && (int64_t)i < v->show; i++) {
        const struct outlier_token *o = &v->tokens[i].o;
        table_row(t);
        table_strn(t, v->tokens[i].point);
        put_token(t, r, o->tok);
        put_number(t, o->ratio);
        table_int(t, o->hits);
        table_int(t, o->massive);
        table_float(t, (double)o->value);
        table_int(t, o->chan);
    }
}

/* [GLOB] [k K] [N] */
static enum st parse(const struct call *c, struct survey *v, int *glob, struct err *e)
{
    *glob = -1;
    v->k = 6;
    v->show = 10;
    for (int i = 0; i < c->n_words; i++) {
        const struct word *w = &c->words[i];
        if (str_is(w->text, "k") && !w->quoted) {
            if (++i >= c->n_words)
                return call_fail(c, i, e, ST_SYNTAX, "a number is missing");
            if (parse_f64(c->words[i].text, &v->k, e) || !(v->k > 0))
                return call_fail(c, i, e, ST_RANGE,
                                 "k is how many times the rms: a number above 0");
        } else if (w->text.n && w->text.p[0] >= '0' && w->text.p[0] <= '9') {
            enum st st = parse_i64(w->text, 1, 1 << 24, &v->show, e);
            if (st)
                return st_at(e, w->column, w->length);
        } else if (*glob < 0)
            *glob = i;
        else
            return call_fail(c, i, e, ST_SYNTAX, "expected k K or a number of rows");
    }
    return ST_OK;
}

static enum st survey_of(struct session *s, const struct call *c, int glob, struct session_run **r,
                         struct survey *v, struct err *e)
{
    if (glob < 0)
        return add_default(s, *r, v, e);
    struct address a;
    struct session_model *m;
    const struct word *w = &c->words[glob];
    enum st st = address_parse(w->text, &a, e);
    if (!st && a.used < w->text.n)
        st = st_fail(e, ST_SYNTAX, "unexpected text after the name");
    if (!st && a.sliced)
        st = st_fail(e, ST_SYNTAX, "names of points only: all tokens and channels count here");
    if (!st)
        st = lookup_who(s, &a, &m, r, e);
    if (!st && !*r && !m->capture) {
        st_fail(e, ST_STATE, "%s has no run", m->name);
        st = st_hint(e, "`prompt \"TEXT\"`, then `run`");
    }
    if (!st)
        st = add_points(s, v, &a, e);
    return st && st != ST_CANCELLED ? st_at(e, w->column, w->length) : st;
}

enum st run_outliers(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_run *r = NULL;
    struct survey v = { 0 };
    int glob;
    const bool captured = s->models.model && s->models.model->capture;
    enum st st = captured ? ST_OK : session_need_run(s, &r, e);
    if (!st)
        st = parse(c, &v, &glob, e);
    if (st)
        return st;
    if (captured && glob < 0)
        return call_fail(c, 0, e, ST_SYNTAX, "expected points of the capture: blk.*.out");
    begin_points(&v, out);
    st = survey_of(s, c, glob, &r, &v, e);
    if (!st || (st == ST_CANCELLED && v.points->n_rows)) {
        show_channels(&v, r, out);
        show_tokens(&v, r, out);
        if (v.missing)
            result_note(out, "not computed yet: %d of the points", v.missing);
        if (r && run_n_tokens(r->run) < 2)
            result_note(out,
                        "outliers are measured against the tokens after the first: there are none");
    }
    free(v.channels);
    free(v.tokens);
    return st;
}
