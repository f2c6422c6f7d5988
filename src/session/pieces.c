/* SPDX-License-Identifier: MIT */
#include "session/pieces.h"

#include <stdlib.h>

#include "base/memory.h"
#include "session/session.h"

/* May a slice of this axis be added to the address? */
static bool can_cut(const struct address *a, enum axis axis)
{
    for (int i = 0; i < a->n_items; i++)
        if (a->items[i].axis == axis || a->items[i].axis == AXIS__COUNT
            || a->items[i].kind == INDEX_TOP || a->items[i].kind == INDEX_BOTTOM)
            return false;
    return !a->position.n && a->n_items < ADDRESS_MAX_ITEMS;
}

/* Entries of the axis: rows of the weight, tokens that the run has produced the point for. */
static int64_t entries(struct session *s, const struct address *a, const struct match *m,
                       enum axis axis)
{
    struct session_model *model;
    struct session_run *r;
    if (m->weight) {
        const int d = shape_axis(&m->shape, axis);
        return d < 0 ? 0 : m->shape.d[d].n;
    }
    if (shape_axis(&m->shape, axis) < 0 || lookup_who(s, a, &model, &r, NULL) || !r)
        return 0;
    const struct position at = run_position(r->run);
    const int end = at.span + (at.node > run_graph(r->run)->values[m->value].node);
    return end ? run_span(r->run, end - 1).first + run_span(r->run, end - 1).n : 0;
}

enum st lookup_pieces(struct session *s, const struct address *a, const struct match *m,
                      piece_fn *fn, void *data, struct err *e)
{
    const enum axis axis = m->weight ? AXIS_ROW : AXIS_TOK;
    struct view v;
    enum st st = lookup_read(s, a, m, &v, e);
    if (!st) {
        st = fn(data, &v, e);
        view_free(&v);
        return st;
    }
    const int64_t all = entries(s, a, m, axis);
    if (st != ST_NOMEM || !can_cut(a, axis) || all < 2)
        return st;
    struct address *cut = x_alloc(sizeof *cut);
    *cut = *a;
    cut->n_items++;
    int64_t at = 0, n = (all + 1) / 2;
    while (at < all && n) {
        cut->items[cut->n_items - 1] = (struct index){ .axis = axis, .kind = INDEX_RANGE, .step = 1,
                                                       .has_from = true, .has_to = true,
                                                       .from = at,
                                                       .to = at + n < all ? at + n : all };
        if (!progress_tick(s->progress, "looking", (double)at, (double)all))
            st = st_fail(e, ST_CANCELLED, "interrupted");
        else if ((st = lookup_read(s, cut, m, &v, e)) == ST_NOMEM) {
            n /= 2;
            continue;
        }
        if (st)
            break;
        st = fn(data, &v, e);
        view_free(&v);
        if (st)
            break;
        at += n;
    }
    free(cut);
    return st;
}
