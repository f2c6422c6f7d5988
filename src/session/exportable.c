/* SPDX-License-Identifier: MIT */
/* What keeps a model under its changes from being a file. */
#include <string.h>

#include "session/export.h"
#include "session/round.h"

/* Does the change still touch a point? A rounding may have been taken over by a later one. */
static bool touches_points(const struct session *s, const struct change *c)
{
    bool any = false;
    for (size_t i = 0; i < c->n_targets && !any; i++) {
        const struct change_target *t = &c->targets[i];
        any = t->edit.op != EDIT_ROUND
              || (changes_rounding(s, c->model, NULL, t->value) == t
                  && !round_nothing(&t->edit.format));
    }
    return any;
}

static enum st check_changes(const struct session *s, const struct session_model *m, struct err *e)
{
    for (size_t i = 0; i < s->changes.n; i++) {
        const struct change *c = s->changes.list[i];
        if (c->model != m || !touches_points(s, c))
            continue;
        st_fail(e, ST_STATE, "change %d (%s) is about activations, which a file does not hold",
                c->number, c->text);
        return st_hint(e, "`undo change %d` takes it back", c->number);
    }
    return ST_OK;
}

static enum st simulated(const struct form *f, struct err *e)
{
    st_fail(e, ST_STATE, "%.*s is %s%s, which no file holds", (int)f->w.name.n, f->w.name.p,
            strcmp(f->simulates, "drop") ? "rounded to " : "",
            strcmp(f->simulates, "drop") ? f->simulates : "dropped");
    return st_hint(e, "`quant %.*s q8_0` gives it a format of files", (int)f->w.name.n,
                   f->w.name.p);
}

enum st export_allowed(const struct session *s, const struct session_model *m, struct err *e)
{
    const struct weights *all = m->model->weights;
    enum st st = check_changes(s, m, e);
    for (size_t i = 0; i < all->n && !st; i++) {
        const struct form *f = changes_form(s, m, &all->list[i]);
        if (f && f->simulates[0])
            st = simulated(f, e);
    }
    return st;
}
