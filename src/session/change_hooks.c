/* SPDX-License-Identifier: MIT */
/* What changes do in runs: the transforms of their points, and the plans of evaluations. */
#include <stdlib.h>

#include "base/memory.h"
#include "session/changes_parts.h"
#include "session/reference.h"
#include "session/round.h"
#include "session/session.h"

struct change_hook {
    struct session *session;
    struct session_run *run; /* NULL in evaluations */
    const struct change_target *target;
    struct chosen chosen;
    int handle;
};

static void transform(void *data, const struct event *ev, float *x)
{
    const struct change_hook *h = data;
    if (h->target->edit.op == EDIT_ROUND && h->run /* evaluations leave out what does not hold */
        && changes_rounding(h->session, h->run->model, h->run, h->target->value) != h->target)
        return;
    const struct span span = run_span(ev->run, ev->at.span);
    const int key = shape_axis(&ev->x->shape, AXIS_KEY);
    const struct shape shape = shape_resolve(h->target->shape, span.n,
                                             key < 0 ? 0 : ev->x->shape.d[key].n);
    if (h->target->edit.op == EDIT_ROUND)
        round_apply(&h->target->edit, &shape, x);
    else
        edit_apply(&h->target->edit, &h->chosen, &shape, span.first, x);
}

/* What the reference has at the same place. A run whose reference cannot be had stays as it is. */
static void splice(void *data, const struct event *ev, float *x)
{
    const struct change_hook *h = data;
    struct run *ref = run_beside(ev->run);
    struct tensor from;
    struct ref_source source;
    if (h->run) {
        if (session_reference(h->session, h->run, ev->at, NULL, &source, NULL)
            || source_read(&source, ev->run, ev->at.span, ev->value, &from, NULL))
            return;
    } else if (!ref
               || (position_compare(run_position(ref), ev->at) < 0
                   && run_forward(ref, ev->at, NULL, NULL, NULL))
               || run_read(ref, ev->at.span, ev->value, &from, NULL))
        return;
    const struct span span = run_span(ev->run, ev->at.span);
    const int key = shape_axis(&ev->x->shape, AXIS_KEY);
    const struct shape shape = shape_resolve(h->target->shape, span.n,
                                             key < 0 ? 0 : ev->x->shape.d[key].n);
    edit_splice(&h->chosen, &shape, span.first, from.data, x);
}

bool change_holds_for(const struct change *c, const struct session_run *r)
{
    return r->model == c->model && r != c->but && (!c->only || r == c->only);
}

/* Does the change mean the same in a run over any tokens? */
static bool anywhere(const struct change *c)
{
    for (size_t i = 0; i < c->n_targets; i++) {
        const struct shape *shape = &c->targets[i].shape;
        const struct view *data = &c->targets[i].edit.data;
        for (int d = 0; d < shape->rank; d++) {
            const enum axis axis = shape->d[d].axis;
            const struct index *item = NULL;
            if (axis != AXIS_TOK && axis != AXIS_KEY && axis != AXIS_SEQ)
                continue;
            const bool copies = c->targets[i].edit.op == EDIT_COPY
                                && data->shape.rank == shape->rank && data->shape.d[d].n != 1;
            if (copies || address_item(&c->address, shape, d, &item, NULL) || item)
                return false;
        }
    }
    return !c->only && !c->but;
}

void change_attach(struct session *s, struct change *c, struct session_run *r)
{
    for (size_t i = 0; change_holds_for(c, r) && i < c->n_targets; i++) {
        const struct change_target *t = &c->targets[i];
        struct change_hook *h = x_alloc(sizeof *h);
        *h = (struct change_hook){ .session = s, .run = r, .target = t };
        chosen_of(&c->address, &t->shape, run_n_tokens(r->run), &h->chosen);
        h->handle = run_transform(r->run, t->value, c->splice ? splice : transform, h);
        x_grow(&c->hooks, &c->cap_hooks, c->n_hooks + 1, sizeof *c->hooks);
        c->hooks[c->n_hooks++] = h;
    }
}

void change_detach(struct change *c, const struct session_run *r, bool remove)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->n_hooks; i++) {
        struct change_hook *h = c->hooks[i];
        if (r && h->run != r) {
            c->hooks[kept++] = h;
            continue;
        }
        if (remove)
            run_untransform(h->run->run, h->handle);
        free(h);
    }
    c->n_hooks = kept;
}

void change_attach_anywhere(struct change *c)
{
    if (!anywhere(c))
        return;
    c->anywhere = x_alloc((c->n_targets + 1) * sizeof *c->anywhere);
    for (size_t i = 0; i < c->n_targets; i++) {
        c->anywhere[i].target = &c->targets[i];
        chosen_of(&c->address, &c->targets[i].shape, 0, &c->anywhere[i].chosen);
    }
}

/* Is the element one of those that the hook's slice chooses? */
static bool hook_sets(const struct change_hook *h, int span, int64_t at)
{
    const struct span tokens = run_span(h->run->run, span);
    struct tensor x;
    if (run_read(h->run->run, span, h->target->value, &x, NULL))
        return false;
    const int key = shape_axis(&x.shape, AXIS_KEY);
    const struct shape s = shape_resolve(h->target->shape, tokens.n,
                                         key < 0 ? 0 : x.shape.d[key].n);
    int64_t inner = shape_count(&s);
    for (int d = 0; d < s.rank && inner > 0; d++) {
        inner /= s.d[d].n;
        const int64_t entry = at / inner + (s.d[d].axis == AXIS_TOK ? tokens.first : 0);
        if (chosen_ordinal(&h->chosen, d, entry) < 0)
            return false;
        at %= inner;
    }
    return true;
}

const struct change *changes_setting(const struct session *s, const struct session_run *r, int span,
                                     int value, int64_t at)
{
    for (size_t i = s->changes.n; i-- > 0;) {
        const struct change *c = s->changes.list[i];
        for (size_t k = 0; k < c->n_hooks; k++)
            if (c->hooks[k]->run == r && c->hooks[k]->target->value == value
                && hook_sets(c->hooks[k], span, at))
                return c;
    }
    return NULL;
}

/* Does the point come after what evaluations take from a model? They compute the head. */
static bool in_head(const struct change *c, size_t i)
{
    const struct graph *g = c->model->model->graph;
    return g->hidden >= 0 && g->values[c->targets[i].value].node > g->values[g->hidden].node;
}

/* The hook of target i in an evaluation; over the tokens of run r (NULL: any), the run's own where
 * there is no other. NULL: it cannot hold there. */
static struct change_hook *hook_of(const struct change *c, const struct session_run *r, size_t i,
                                   bool beside)
{
    if (in_head(c, i))
        return NULL;
    if (c->anywhere && (beside || !c->splice))
        return &c->anywhere[i];
    for (size_t k = 0; k < (c->splice ? 0 : c->n_hooks); k++)
        if (c->hooks[k]->run == r && c->hooks[k]->target == &c->targets[i])
            return c->hooks[k];
    return NULL;
}

/* plan_transform.same: roundings are alike wherever they come from. */
static uint64_t same_of(const struct change *c, size_t i, const struct change_hook *h)
{
    if (!c->splice && c->targets[i].edit.op == EDIT_ROUND)
        return round_same(&c->targets[i]);
    return c->anywhere && h == &c->anywhere[i] ? (uint64_t)c->number << 32 | (uint64_t)i : 0;
}

static void plan_of(const struct session *s, const struct session_model *m,
                    const struct session_run *r, bool beside, struct plan *out,
                    struct changes_left *left)
{
    *out = (struct plan){ 0 };
    *left = (struct changes_left){ 0 };
    for (size_t i = 0; i < s->changes.n; i++) {
        const struct change *c = s->changes.list[i];
        if (c->model != m || (r && !change_holds_for(c, r)))
            continue;
        for (size_t k = 0; k < c->n_forms; k++)
            plan_set(out, m->model, c->forms[k].w, c->forms[k].by);
        bool holds = true;
        for (size_t k = 0; k < c->n_targets; k++) {
            struct change_hook *h = hook_of(c, r, k, beside);
            if (!h && in_head(c, k))
                left->logits = m->model->graph->values[c->targets[k].value].name;
            else
                holds &= h != NULL;
            if (h
                && (c->splice || c->targets[k].edit.op != EDIT_ROUND
                    || changes_rounding(s, m, r, c->targets[k].value) == &c->targets[k]))
                plan_transform(out, (struct plan_transform){ c->targets[k].value,
                                                             c->splice ? splice : transform, h,
                                                             c->splice, same_of(c, k, h) });
        }
        if (!holds && !left->n++)
            left->first = c;
    }
}

void changes_plan(const struct session *s, const struct session_model *m, struct plan *out,
                  struct changes_left *left)
{
    plan_of(s, m, NULL, false, out, left);
}

void changes_plan_beside(const struct session *s, const struct session_model *m, struct plan *out,
                         struct changes_left *left)
{
    plan_of(s, m, NULL, true, out, left);
}

void changes_plan_run(const struct session *s, const struct session_run *r, struct plan *out,
                      struct changes_left *left)
{
    plan_of(s, r->model, r, true, out, left);
}

const struct change *changes_behind(const struct session *s, const struct plan_transform *t)
{
    for (size_t i = 0; i < s->changes.n; i++) {
        const struct change *c = s->changes.list[i];
        for (size_t k = 0; k < c->n_hooks; k++)
            if (c->hooks[k] == t->data)
                return c;
        for (size_t k = 0; c->anywhere && k < c->n_targets; k++)
            if (&c->anywhere[k] == t->data)
                return c;
    }
    return NULL;
}
