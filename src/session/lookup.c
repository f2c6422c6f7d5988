/* SPDX-License-Identifier: MIT */
#include "session/lookup.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "session/lookup_points.h"
#include "session/session.h"
#include "session/slice.h"

/* --- weights -----------------------------------------------------------------------------------
 */

static enum st read_weight(const struct weight *w, int64_t *const *lists, struct view *v,
                           struct progress *p, struct err *e)
{
    const struct shape *s = &v->shape;
    const int last = s->rank - 1;
    float *row = x_alloc((size_t)w->cols * sizeof *row);
    const int64_t n = s->d[last].n, rows = n ? view_count(v) / n : 0;
    enum st st = ST_OK;
    for (int64_t r = 0; r < rows && !st; r++) {
        int64_t at = s->rank == 1 ? 0
                     : s->rank == 2
                         ? lists[0][r]
                         : lists[0][r / s->d[1].n] * (int64_t)w->ne[1] + lists[1][r % s->d[1].n];
        st = progress_tick(p, "reading", (double)r, (double)rows)
                 ? weight_decode(w, (uint64_t)at, 1, row, e)
                 : st_fail(e, ST_CANCELLED, "interrupted");
        for (int64_t c = 0; c < n && !st; c++)
            v->data[r * n + c] = row[lists[last][c]];
    }
    free(row);
    return st;
}

/* A point is too large for what memory is left: what would fit. */
static enum st say_what_fits(const struct shape *s, int64_t *const *lists, struct err *e)
{
    const int d = shape_axis(s, AXIS_TOK);
    if (d < 0 || !s->d[d].n || mem_used() >= mem_budget())
        return ST_NOMEM;
    /* half for the values, the rest for what is done with them */
    const double token = 4.0 * (double)shape_count(s) / (double)s->d[d].n,
                 tokens = (double)(mem_budget() - mem_used()) / 2 / token;
    const int64_t n = tokens < (double)s->d[d].n ? (int64_t)tokens : s->d[d].n;
    if (n)
        return st_hint(e,
                       "%" PRId64 " of its %" PRId64 " tokens fit: a slice [tok=%" PRId64
                       ":%" PRId64 "], or a larger `set mem-budget`",
                       n, s->d[d].n, lists[d][0], lists[d][0] + n);
    return st_hint(e, "not even one token fits: a larger `set mem-budget`");
}

/* --- both --------------------------------------------------------------------------------------
 */

static enum st need_run(struct session_run *r, const struct match *m, struct err *e)
{
    if (!r) {
        st_fail(e, ST_STATE, "%.*s is an activation: there is no run", (int)m->name.n, m->name.p);
        return st_hint(e, "`prompt \"TEXT\"`, then `run`");
    }
    return ST_OK;
}

/* `point@s1` without an index of tokens: that span's tokens. */
static void only_span(struct address *a, const struct shape *full, struct span span)
{
    if (shape_axis(full, AXIS_TOK) < 0 || a->n_items == ADDRESS_MAX_ITEMS)
        return;
    for (int i = 0; i < a->n_items; i++)
        if (a->items[i].axis == AXIS_TOK || a->items[i].axis == AXIS__COUNT)
            return;
    a->items[a->n_items++] = (struct index){
        .axis = AXIS_TOK, .kind = INDEX_RANGE, .step = 1, .has_from = true, .from = span.first
    };
}

/* Tokens of other spans are not at that position. */
static enum st check_span(const struct address *a, const struct shape *full,
                          const struct shape *shape, int64_t *const *lists, struct span span,
                          struct err *e)
{
    const int d = shape_axis(full, AXIS_TOK);
    for (int64_t i = 0; d >= 0 && i < shape->d[d].n; i++) {
        const struct index *x = NULL;
        if (lists[d][i] >= span.first && lists[d][i] < span.first + span.n)
            continue;
        enum st st = address_item(a, full, d, &x, e);
        if (st)
            return st;
        st_fail(e, ST_RANGE, "token %" PRId64 " is not in the span that @ names", lists[d][i]);
        st_hint(e, "it has the tokens %" PRId64 "..%" PRId64, span.first, span.first + span.n - 1);
        return x ? st_at(e, x->column, x->length) : ST_RANGE;
    }
    return ST_OK;
}

/* The first and the last entries of a list, `keep` in all. */
static void keep_ends(int64_t *list, int64_t *n, int64_t keep)
{
    if (*n <= keep)
        return;
    memmove(list + keep - keep / 2, list + *n - keep / 2, (size_t)(keep / 2) * sizeof *list);
    *n = keep;
}

static bool has_selector(const struct address *a)
{
    for (int i = 0; i < a->n_items; i++)
        if (a->items[i].kind == INDEX_TOP || a->items[i].kind == INDEX_BOTTOM)
            return true;
    return false;
}

const struct weight *lookup_stored(struct session *s, const struct address *a,
                                   const struct weight *w)
{
    struct session_model *model;
    struct session_run *r;
    const struct form *f = lookup_who(s, a, &model, &r, NULL) ? NULL : changes_form(s, model, w);
    return f ? &f->w : w;
}

/* Where the numbers of a match are. */
struct place {
    struct session_run *run; /* NULL: a weight, or captured */
    struct point_spans from;
    struct ref_source ref;       /* may be borrowed by `from` */
    const struct weight *stored; /* NULL: no weight */
    struct shape full;
};

static enum st find_place(struct session *s, const struct address *a, const struct match *m,
                          struct place *x, struct err *e)
{
    struct session_model *model;
    struct session_run *r = s->models.run;
    *x = (struct place){ .full = m->shape };
    enum st st = m->beside ? ST_OK : lookup_who(s, a, &model, &r, e);
    if (st || m->captured)
        return st;
    if (m->weight) {
        x->stored = lookup_stored(s, a, m->weight);
        return ST_OK;
    }
    x->run = x->from.r = r;
    st = need_run(r, m, e);
    if (!st)
        st = m->beside ? points_beside(s, a, m, &x->from, &x->ref, e)
                       : points_spans(r, a, m->value, &x->from.first, &x->from.end, e);
    if (!st && x->from.end <= x->from.first) { /* nothing yet: the engine says where the run is */
        struct tensor none;
        st = run_read(r->run, x->from.first, m->value, &none, e);
    }
    if (!st)
        x->full = points_shape(r, m, x->from.end);
    return st;
}

/* The entries that the slice names, and of how many elements; `most` as in read_match. */
static enum st choose(const struct address *a, const struct place *x, int64_t most,
                      struct shape *shape, int64_t **lists, int64_t *all, struct err *e)
{
    struct address narrowed = *a;
    const bool at_span = x->run && a->position.n;
    const struct span span = at_span ? run_span(x->run->run, x->from.first) : (struct span){ 0 };
    if (at_span)
        only_span(&narrowed, &x->full, span);
    enum st st = slice_entries(&narrowed, &x->full, x->run, shape, lists, e);
    if (!st && at_span)
        st = check_span(&narrowed, &x->full, shape, lists, span, e);
    *all = st ? 0 : shape_count(shape);
    if (most && *all > LOOKUP_LARGE)
        for (int d = 0; d < shape->rank; d++)
            keep_ends(lists[d], &shape->d[d].n, d + 1 < shape->rank && most > 8 ? most / 8 : 8);
    return st;
}

/* most: 0, or how many elements are needed of a large weight (see lookup_ends). */
static enum st read_match(struct session *s, const struct address *a, const struct match *m,
                          int64_t most, int64_t *all, struct view *out, struct err *e)
{
    struct place x;
    struct shape shape;
    int64_t *lists[SHAPE_MAX] = { 0 };
    struct view v = { .value = -1 };
    struct buf name = { 0 };
    enum st st = find_place(s, a, m, &x, e);
    if (st)
        return st;
    st = choose(a, &x, most, &shape, lists, all, e);
    buf_add(&name, m->name.p, m->name.n);
    if (!st && (st = view_new(&shape, buf_str(&name), &v, e)) == ST_NOMEM && x.run && e)
        say_what_fits(&shape, lists, e);
    buf_free(&name);
    if (!st)
        st = m->captured ? points_read_captured(m, lists, &v, e)
             : x.stored  ? read_weight(x.stored, lists, &v, s->progress, e)
                         : points_read(&x.from, m, shape_axis(&x.full, AXIS_TOK),
                                       shape_axis(&x.full, AXIS_KEY), lists, &v, e);
    for (int d = 0; !st && d < shape.rank; d++)
        memcpy(v.index[d], lists[d], (size_t)shape.d[d].n * sizeof *lists[d]);
    v.run = x.run;
    v.value = m->derived || m->beside ? -1 : m->value;  /* else one of that run's */
    v.weight = x.stored == m->weight ? x.stored : NULL; /* a form may go before the view does */
    v.format = x.stored ? format_info(x.stored->format) : NULL;
    if (!st)
        st = slice_select(a, &x.full, &v, s->progress, e);
    for (int d = 0; d < SHAPE_MAX; d++)
        free(lists[d]);
    if (st)
        view_free(&v);
    else
        *out = v;
    return st;
}

enum st lookup_read(struct session *s, const struct address *a, const struct match *m,
                    struct view *out, struct err *e)
{
    int64_t all;
    const enum st st = read_match(s, a, m, 0, &all, out, e);
    if (st && st != ST_CANCELLED && e && e->column < 0)
        st_at(e, a->column, a->length);
    return st;
}

bool lookup_ends(struct session *s, struct str text, int64_t most, struct view *out, int64_t *all)
{
    struct address *a = x_alloc(sizeof *a);
    struct match *list = NULL;
    size_t n = 0;
    bool found = !address_parse(text, a, NULL) && a->used == text.n && !has_selector(a)
                 && !lookup_names(s, a, &list, &n, NULL) && n == 1 && list[0].weight
                 && !read_match(s, a, &list[0], most, all, out, NULL);
    if (found) { /* as typed, with its slice */
        free(out->name);
        out->name = x_strndup(text.p, text.n);
    }
    free(list);
    free(a);
    return found;
}

enum st lookup_one(struct session *s, const struct address *a, struct view *out, struct err *e)
{
    struct match *list;
    size_t n;
    enum st st = lookup_names(s, a, &list, &n, e);
    if (st)
        return st;
    if (n > 1) {
        st_fail(e, ST_SYNTAX, "%zu names match; one is needed here", n);
        st_hint(e, "for example %.*s", (int)list[0].name.n, list[0].name.p);
        st = st_at(e, a->column, a->length);
    } else
        st = lookup_read(s, a, &list[0], out, e);
    free(list);
    return st;
}

enum st lookup_text(struct session *s, struct str text, struct view *out, struct err *e)
{
    struct address a;
    enum st st = address_parse(text, &a, e);
    if (!st && a.used < text.n) {
        st = st_fail(e, ST_SYNTAX, "unexpected text after the address");
        st_at(e, (int)a.used, (int)(text.n - a.used));
    }
    return st ? st : lookup_one(s, &a, out, e);
}
