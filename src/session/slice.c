/* SPDX-License-Identifier: MIT */
#include "session/slice.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "kernels/statistics.h"
#include "session/session.h"

static bool token_is(const struct session_run *r, int32_t id, struct str text)
{
    const struct tokenizer *t = r ? r->model->model->tokenizer : NULL;
    struct buf b = { 0 };
    if (t && id >= 0 && id < tokenizer_size(t))
        tokenizer_bytes(t, id, &b);
    struct str have = str_of(buf_str(&b), b.n);
    bool same = str_eq(have, text);
    if (!same && have.n && have.p[0] == ' ') /* the blank in front of a word need not be typed */
        same = str_eq(str_of(have.p + 1, have.n - 1), text);
    struct buf shown = { 0 };
    if (t && !same) { /* as tables show it: \n, \x91, <s> */
        session_token_text(r, id, &shown);
        same = str_eq(str_of(buf_str(&shown), shown.n), text);
    }
    buf_free(&shown);
    buf_free(&b);
    return same;
}

/* tok="Paris", vocab="Paris": all entries whose text it is. first: the run's token of entry 0. */
static enum st text_index(const struct index *i, enum axis axis, int64_t n,
                          const struct session_run *r, int64_t **list, int64_t *count,
                          struct err *e)
{
    int64_t *l = x_alloc((size_t)n * sizeof *l);
    *count = 0;
    for (int64_t v = 0; v < n && r && (axis == AXIS_TOK || axis == AXIS_KEY || axis == AXIS_VOCAB);
         v++)
        if (token_is(r,
                     axis == AXIS_VOCAB         ? (int32_t)v
                     : v < run_n_tokens(r->run) ? run_tokens(r->run)[v]
                                                : -1,
                     i->text))
            l[(*count)++] = v;
    if (*count) {
        *list = l;
        return ST_OK;
    }
    free(l);
    st_fail(e, ST_NOTFOUND, "no entry of axis %s has the text \"%.*s\"", axis_info(axis)->name,
            (int)(i->text.n > 60 ? 60 : i->text.n), i->text.p);
    return st_at(e, i->column, i->length);
}

enum st slice_entries(const struct address *a, const struct shape *full,
                      const struct session_run *r, struct shape *shape, int64_t *lists[SHAPE_MAX],
                      struct err *e)
{
    enum st st = ST_OK;
    *shape = *full;
    for (int d = 0; d < full->rank && !st; d++) {
        const struct index *i;
        int64_t count = 0;
        if ((st = address_item(a, full, d, &i, e)))
            break;
        if (i && i->kind == INDEX_TEXT)
            st = text_index(i, full->d[d].axis, full->d[d].n, r, &lists[d], &count, e);
        else
            st = index_resolve(i && i->kind < INDEX_TOP ? i : NULL, full->d[d].axis, full->d[d].n,
                               &lists[d], &count, e);
        shape->d[d].n = count;
    }
    return st;
}

struct ranked {
    double key;
    int64_t entry;
};

static int by_key(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return x->key != y->key ? (x->key < y->key ? 1 : -1)
                            : (x->entry > y->entry) - (x->entry < y->entry);
}

/* top8(absmax) along dimension d: the entries ranked by a statistic over all other axes. */
static enum st select_entries(struct view *v, int d, const struct index *i, struct progress *p,
                              struct err *e)
{
    const int64_t n = v->shape.d[d].n, rest = n ? view_count(v) / n : 0;
    int64_t inner = 1;
    for (int k = d + 1; k < v->shape.rank; k++)
        inner *= v->shape.d[k].n;
    char name[32];
    snprintf(name, sizeof name, "%.*s", (int)(i->text.n > 31 ? 31 : i->text.n), i->text.p);
    float *slab = x_alloc((size_t)rest * sizeof *slab);
    struct ranked *rank = x_alloc((size_t)n * sizeof *rank);
    enum st st = ST_OK;
    for (int64_t k = 0; k < n && !st; k++) {
        if (!progress_tick(p, "ranking", (double)k, (double)n)) {
            st = st_fail(e, ST_CANCELLED, "interrupted");
            break;
        }
        for (int64_t j = 0; j < rest; j++)
            slab[j] = v->data[(j / inner * n + k) * inner + j % inner];
        double key;
        if (!statistic_of(name, NULL, slab, rest, &key)) {
            st_fail(e, ST_NOTFOUND, "no statistic `%s`", name);
            st_hint(e, "min max absmax mean sd rms l2 kurt nan inf zero");
            st = st_at(e, i->column, i->length);
        } else
            rank[k] = (struct ranked){ isnan(key)             ? -INFINITY
                                       : i->kind == INDEX_TOP ? key
                                                              : -key,
                                       k };
    }
    if (!st) {
        qsort(rank, (size_t)n, sizeof *rank, by_key);
        int64_t kept = i->from < n ? i->from : n, *keep = x_alloc((size_t)n * sizeof *keep);
        for (int64_t k = 0; k < kept; k++)
            keep[k] = rank[k].entry;
        st = view_narrow(v, d, keep, kept, e);
        free(keep);
    }
    free(slab);
    free(rank);
    return st;
}

enum st slice_select(const struct address *a, const struct shape *full, struct view *v,
                     struct progress *p, struct err *e)
{
    enum st st = ST_OK;
    for (int d = 0; d < full->rank && !st; d++) {
        const struct index *i;
        st = address_item(a, full, d, &i, e);
        if (!st && i && (i->kind == INDEX_TOP || i->kind == INDEX_BOTTOM))
            st = select_entries(v, d, i, p, e);
    }
    return st;
}
