/* SPDX-License-Identifier: MIT */
/* Slices: which entries of an axis an index of an address stands for. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/memory.h"
#include "graph/address.h"

static enum st out_of_range(const struct index *i, enum axis axis, int64_t v, int64_t n,
                            struct err *e)
{
    st_fail(e, ST_RANGE, "axis %s has %" PRId64 " %s%s", axis_info(axis)->name, n,
            text_plural((uint64_t)n, "entry", "entries"), n ? "" : ": there is nothing");
    if (n && i->kind == INDEX_RANGE)
        st_hint(e, "0:%" PRId64 " is all of it; %" PRId64 " is outside", n, v);
    else if (n)
        st_hint(e, "0..%" PRId64 ", or %" PRId64 "..-1 from the end; %" PRId64 " is outside", n - 1,
                -n, v);
    return st_at(e, i->column, i->length);
}

static enum st one(const struct index *i, enum axis axis, int64_t v, int64_t n, int64_t *out,
                   struct err *e)
{
    if (v >= n || v < -n)
        return out_of_range(i, axis, v, n, e);
    *out = v < 0 ? v + n : v;
    return ST_OK;
}

static enum st empty_range(const struct index *i, enum axis axis, int64_t n, struct err *e)
{
    st_fail(e, ST_RANGE, "no entry of axis %s is in this range", axis_info(axis)->name);
    st_hint(e, "it has %" PRId64 " %s, and FROM:TO ends before TO", n,
            text_plural((uint64_t)n, "entry", "entries"));
    return st_at(e, i->column, i->length);
}

/* The entries of from:to:step. What is written must lie on the axis: an entry, or for `to` the
 * place behind the last one. */
static enum st range(const struct index *i, enum axis axis, int64_t n, int64_t *list,
                     int64_t *count, struct err *e)
{
    const bool up = i->step > 0;
    int64_t from = up ? 0 : n - 1, to = up ? n : -1;
    if (i->has_from && (i->from < -n || i->from >= n))
        return out_of_range(i, axis, i->from, n, e);
    if (i->has_to && (i->to < -n || i->to > n))
        return out_of_range(i, axis, i->to, n, e);
    if (i->has_from)
        from = i->from < 0 ? i->from + n : i->from;
    if (i->has_to)
        to = i->to < 0 ? i->to + n : i->to;
    *count = 0;
    for (int64_t v = from; up ? v < to : v > to;) {
        list[(*count)++] = v;
        if (__builtin_add_overflow(v, i->step, &v))
            break;
    }
    return *count ? ST_OK : empty_range(i, axis, n, e);
}

enum st index_resolve(const struct index *i, enum axis axis, int64_t n, int64_t **list,
                      int64_t *count, struct err *e)
{
    static const struct index all = { .kind = INDEX_ALL };
    i = i ? i : &all;
    if (i->kind >= INDEX_TOP)
        return st_fail(e, ST_STATE, "this index needs the data");
    int64_t *l = x_alloc((size_t)(n > ADDRESS_MAX_LIST ? n : ADDRESS_MAX_LIST) * sizeof *l);
    enum st st = ST_OK;
    *count = 0;
    if (i->kind == INDEX_ONE) {
        st = one(i, axis, i->from, n, l, e);
        *count = 1;
    } else if (i->kind == INDEX_LIST) {
        for (int k = 0; k < i->n_list && !st; k++)
            st = one(i, axis, i->list[k], n, &l[(*count)++], e);
    } else if (i->kind == INDEX_RANGE)
        st = range(i, axis, n, l, count, e);
    else
        for (int64_t v = 0; v < n; v++)
            l[(*count)++] = v;
    if (st) {
        free(l);
        return st;
    }
    *list = l;
    return ST_OK;
}

enum st address_item(const struct address *a, const struct shape *s, int d,
                     const struct index **out, struct err *e)
{
    enum st st = address_check(a, s, e);
    if (st)
        return st;
    *out = NULL;
    for (int i = 0; i < a->n_items; i++)
        if (a->items[i].axis == AXIS__COUNT ? i == d : a->items[i].axis == s->d[d].axis)
            *out = &a->items[i];
    return ST_OK;
}

enum st address_check(const struct address *a, const struct shape *s, struct err *e)
{
    for (int i = 0; i < a->n_items; i++) {
        const struct index *x = &a->items[i];
        if (x->axis == AXIS__COUNT ? i < s->rank : shape_axis(s, x->axis) >= 0)
            continue;
        struct buf b = { 0 };
        shape_print(s, &b);
        if (x->axis == AXIS__COUNT)
            st_fail(e, ST_SYNTAX, "%d indices, but there are only %d axes", a->n_items, s->rank);
        else
            st_fail(e, ST_SYNTAX, "%.*s has no axis %s", (int)(a->name.n > 100 ? 100 : a->name.n),
                    a->name.p, axis_info(x->axis)->name);
        st_hint(e, "its axes: %s", buf_str(&b));
        buf_free(&b);
        return st_at(e, x->column, x->length);
    }
    return ST_OK;
}
