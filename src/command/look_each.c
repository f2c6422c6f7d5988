/* SPDX-License-Identifier: MIT */
/* Everything that an address names, one after the other. */
#include <stdlib.h>

#include "command/look.h"

/* The name with the slice as typed. */
static void rename_view(struct view *v, const struct address *a)
{
    struct address copy = *a;
    struct buf b = { 0 };
    copy.name = str_from(v->name);
    address_print(&copy, &b);
    free(v->name);
    v->name = buf_take(&b);
}

/* One match; of several, what does not apply to one is counted and no error. */
static enum st visit(struct session *s, const struct address *a, const struct match *m, bool alone,
                     struct look_left *left, look_fn *fn, void *data, struct err *e)
{
    struct view v;
    struct err ignored = ERR_INIT;
    if (!alone && address_check(a, &m->shape, &ignored)) {
        left->axes++;
        return ST_OK;
    }
    enum st st = lookup_read(s, a, m, &v, e);
    if (!alone && (st == ST_STATE || st == ST_UNSUPPORTED || st == ST_FORMAT)) {
        *(st == ST_STATE ? &left->ahead : &left->unreadable) += 1;
        return ST_OK;
    }
    if (st == ST_NOMEM && left->large)
        return left->large(data, a, m, e);
    if (st)
        return st;
    rename_view(&v, a);
    st = fn(data, &v, e);
    view_free(&v);
    return st;
}

enum st look_each(struct session *s, const struct address *a, struct look_left *left, look_fn *fn,
                  void *data, struct err *e)
{
    struct match *list;
    size_t n;
    enum st st = lookup_names(s, a, &list, &n, e);
    if (st)
        return st;
    for (size_t i = 0; i < n && !st && !left->enough; i++) {
        st = visit(s, a, &list[i], n == 1, left, fn, data, e);
        if (!st && n > 1 && !progress_tick(s->progress, "looking", (double)(i + 1), (double)n))
            st = st_fail(e, ST_CANCELLED, "interrupted");
    }
    if (!st && (size_t)(left->axes + left->ahead) == n) { /* nothing was left: an error after all */
        struct view v;
        st = lookup_read(s, a, &list[0], &v, e);
        if (!st)
            view_free(&v);
    }
    free(list);
    return st;
}

void look_left_notes(const struct look_left *left, struct result *out)
{
    if (left->axes)
        result_note(out, "%d left out: %s no such axis", left->axes,
                    text_plural((uint64_t)left->axes, "it has", "they have"));
    if (left->ahead)
        result_note(out, "%d left out: the run has not produced %s yet", left->ahead,
                    text_plural((uint64_t)left->ahead, "it", "them"));
    if (left->unreadable)
        result_note(out, "%d left out: %s cannot be decoded", left->unreadable,
                    text_plural((uint64_t)left->unreadable, "it", "they"));
}
