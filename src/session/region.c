/* SPDX-License-Identifier: MIT */
#include "session/region.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum st region_check(const struct address *a, const struct shape *s, struct err *e)
{
    enum st st = address_check(a, s, e);
    for (int i = 0; i < a->n_items && !st; i++) {
        const struct index *item = &a->items[i];
        if (item->kind != INDEX_TOP && item->kind != INDEX_BOTTOM && item->kind != INDEX_TEXT)
            continue;
        st = st_fail(e, ST_UNSUPPORTED, "only numbers, ranges and lists can stand here");
        st_hint(e, "[tok=3], [tok=3:7, chan=17], [head={0,2}]");
        st_at(e, item->column, item->length);
    }
    return st;
}

/* Keep of the tokens in list only those of the span. */
static int64_t keep_span(int64_t *list, int64_t n, struct span span)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++)
        if (list[i] >= span.first && list[i] < span.first + span.n)
            list[kept++] = list[i];
    return kept;
}

/* Copy the chosen entries of dimension d and everything inside; returns where the copy ends. */
static float *gather(const struct region *r, const struct shape *from, int d, const float *x,
                     float *out)
{
    int64_t inner = 1;
    for (int i = d + 1; i < from->rank; i++)
        inner *= from->d[i].n;
    const bool tok = d < from->rank && from->d[d].axis == AXIS_TOK;
    for (int64_t i = 0; d < r->shape.rank && i < r->shape.d[d].n; i++) {
        const int64_t entry = r->index[d] ? r->index[d][i] - (tok ? r->first_token : 0) : i;
        if (d + 1 == r->shape.rank)
            *out++ = x[entry];
        else
            out = gather(r, from, d + 1, x + entry * inner, out);
    }
    return out;
}

enum st region_cut(const struct address *a, const struct run *run, int span, const struct tensor *x,
                   struct region *out, struct err *e)
{
    const struct span tokens = run_span(run, span);
    struct region r = { .shape = x->shape, .data = x->data, .first_token = tokens.first };
    bool whole = true;
    enum st st = ST_OK;
    for (int d = 0; a && d < x->shape.rank && !st; d++) {
        const struct index *item;
        const bool tok = x->shape.d[d].axis == AXIS_TOK;
        if ((st = address_item(a, &x->shape, d, &item, e)) || !item || item->kind == INDEX_ALL)
            continue;
        int64_t n;
        st = index_resolve(item, x->shape.d[d].axis, tok ? run_n_tokens(run) : x->shape.d[d].n,
                           &r.index[d], &n, e);
        if (!st)
            r.shape.d[d].n = tok ? keep_span(r.index[d], n, tokens) : n;
        whole = false;
    }
    void *p = NULL;
    if (!st && !whole && region_count(&r) > 0)
        st = mem_alloc(&p, (size_t)region_count(&r) * sizeof(float), "a slice", e);
    if (st) {
        region_free(&r);
        return st;
    }
    if (!whole)
        r.data = r.own = p;
    if (p)
        gather(&r, &x->shape, 0, x->data, p);
    *out = r;
    return ST_OK;
}

void region_free(struct region *r)
{
    mem_free(r->own);
    for (int d = 0; d < SHAPE_MAX; d++)
        free(r->index[d]);
    *r = (struct region){ 0 };
}

int64_t region_count(const struct region *r) { return shape_count(&r->shape); }

int64_t region_entry(const struct region *r, int d, int64_t i)
{
    if (r->index[d])
        return r->index[d][i];
    return i + (r->shape.d[d].axis == AXIS_TOK ? r->first_token : 0);
}

int64_t region_element(const struct region *r, const struct shape *whole, int64_t at)
{
    int64_t inner = region_count(r), out = 0;
    for (int d = 0; d < r->shape.rank; d++) {
        inner /= r->shape.d[d].n;
        const bool tok = whole->d[d].axis == AXIS_TOK;
        const int64_t entry = region_entry(r, d, at / inner) - (tok ? r->first_token : 0);
        out = out * whole->d[d].n + entry;
        at %= inner;
    }
    return out;
}

void region_place(const struct region *r, int64_t at, struct buf *out)
{
    int64_t inner = region_count(r);
    for (int d = 0; d < r->shape.rank && inner > 0; d++) {
        inner /= r->shape.d[d].n;
        buf_printf(out, "%s%s=%" PRId64, d ? ", " : "", axis_info(r->shape.d[d].axis)->name,
                   region_entry(r, d, at / inner));
        at %= inner;
    }
}
