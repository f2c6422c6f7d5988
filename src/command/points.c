/* SPDX-License-Identifier: MIT */
#include "command/points.h"

#include <stdlib.h>

#include "base/memory.h"
#include "session/lookup.h"

static int by_order(const void *a, const void *b)
{
    const int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

/* Values among the matches, sorted, each once. */
static enum st values_of(const struct match *list, size_t n, int **out, size_t *count,
                         struct err *e)
{
    int *values = x_alloc((n + 1) * sizeof *values);
    size_t k = 0, kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!list[i].weight)
            values[k++] = list[i].value;
    if (!k) {
        free(values);
        st_fail(e, ST_NOTFOUND, "these are weights, not points of a run");
        return st_hint(e, "`info points` lists the points");
    }
    qsort(values, k, sizeof *values, by_order);
    for (size_t i = 0; i < k; i++)
        if (!kept || values[kept - 1] != values[i])
            values[kept++] = values[i];
    *out = values;
    *count = kept;
    return ST_OK;
}

enum st points_named(struct session *s, const struct call *c, int i, struct session_run **r,
                     int **values, size_t *n, struct err *e)
{
    struct session_model *m;
    struct match *list = NULL;
    size_t matches = 0;
    *values = NULL;
    *n = 0;
    if (i >= c->n_words)
        return session_need_run(s, r, e);
    const struct word *w = &c->words[i];
    struct address *a = x_alloc(sizeof *a);
    enum st st = address_parse(w->text, a, e);
    if (!st && a->used < w->text.n)
        st = st_fail(e, ST_SYNTAX, "unexpected text after the name");
    if (!st && a->sliced)
        st = st_fail(e, ST_SYNTAX, "names of points only: they are looked at whole");
    if (!st)
        st = lookup_who(s, a, &m, r, e);
    if (!st && !*r) {
        st_fail(e, ST_STATE, "%s has no run", m->name);
        st = st_hint(e, "`prompt \"TEXT\"`, then `run`");
    }
    if (!st)
        st = lookup_names(s, a, &list, &matches, e);
    for (size_t k = 0; k < matches && !st; k++)
        st = match_is_point((*r)->model, &list[k], e);
    if (!st)
        st = values_of(list, matches, values, n, e);
    free(list);
    free(a);
    return st ? st_at(e, w->column, w->length) : ST_OK;
}
