/* SPDX-License-Identifier: MIT */
#include "session/changes.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
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

static bool holds_for(const struct change *c, const struct session_run *r)
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

const struct change_target *changes_rounding(const struct session *s,
                                             const struct session_model *m,
                                             const struct session_run *r, int value)
{
    for (size_t i = s->changes.n; i-- > 0;) {
        const struct change *c = s->changes.list[i];
        if (c->model != m || c->splice || (r ? !holds_for(c, r) : c->only || c->but))
            continue;
        for (size_t k = c->n_targets; k-- > 0;)
            if (c->targets[k].value == value && c->targets[k].edit.op == EDIT_ROUND)
                return &c->targets[k];
    }
    return NULL;
}

static void hook(struct session *s, struct change *c, struct session_run *r)
{
    for (size_t i = 0; holds_for(c, r) && i < c->n_targets; i++) {
        const struct change_target *t = &c->targets[i];
        struct change_hook *h = x_alloc(sizeof *h);
        *h = (struct change_hook){ .session = s, .run = r, .target = t };
        chosen_of(&c->address, &t->shape, run_n_tokens(r->run), &h->chosen);
        h->handle = run_transform(r->run, t->value, c->splice ? splice : transform, h);
        x_grow(&c->hooks, &c->cap_hooks, c->n_hooks + 1, sizeof *c->hooks);
        c->hooks[c->n_hooks++] = h;
    }
}

/* Forget the hooks of a run (NULL = of all); `remove` them from the run, unless it goes anyway. */
static void unhook(struct change *c, const struct session_run *r, bool remove)
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

void change_imatrix_free(struct change_imatrix *x)
{
    if (!x)
        return;
    free(x->file);
    free(x->dataset);
    shingles_drop(x->text);
    free(x);
}

void change_free(struct change *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n_targets; i++)
        view_free(&c->targets[i].edit.data);
    for (size_t i = 0; i < c->n_forms; i++)
        form_drop(c->forms[i].by);
    change_imatrix_free(c->imatrix);
    free(c->targets);
    free(c->forms);
    free(c->hooks);
    free(c->anywhere);
    free(c->address_text);
    free(c->text);
    free(c);
}

bool changes_hold(const struct session *s, const struct session_model *m)
{
    for (size_t i = 0; i < s->changes.n; i++)
        if (s->changes.list[i]->model == m)
            return true;
    return false;
}

const struct change_form *changes_entry(const struct session *s, const struct session_model *m,
                                        const struct weight *w)
{
    for (size_t i = s->changes.n; i-- > 0;) {
        const struct change *c = s->changes.list[i];
        for (size_t k = c->model == m ? c->n_forms : 0; k-- > 0;)
            if (c->forms[k].w == w)
                return &c->forms[k];
    }
    return NULL;
}

struct form *changes_form(const struct session *s, const struct session_model *m,
                          const struct weight *w)
{
    const struct change_form *f = changes_entry(s, m, w);
    return f ? f->by : NULL;
}

const struct change_imatrix *changes_imatrix(const struct session *s, const struct session_model *m)
{
    for (size_t i = s->changes.n; i-- > 0;) {
        const struct change *c = s->changes.list[i];
        for (size_t k = c->model == m && c->imatrix ? c->n_forms : 0; k-- > 0;)
            if (c->forms[k].note.weighted && changes_entry(s, m, c->forms[k].w) == &c->forms[k])
                return c->imatrix;
    }
    return NULL;
}

/* The runs of the model read what stands for the weights of the change now. */
static void set_forms(struct session *s, const struct change *c)
{
    for (size_t i = 0; i < c->n_forms; i++) {
        struct form *now = changes_form(s, c->model, c->forms[i].w);
        for (size_t k = 0; k < s->models.n_runs; k++) {
            const struct session_run *r = s->models.runs[k];
            const struct weight *w = c->forms[i].w;
            if (r->model == c->model && plan_form(run_plan(r->run), c->model->model, w) != now)
                run_set_form(r->run, w, now);
        }
    }
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
        if (c->model != m || (r && !holds_for(c, r)))
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
            if (h && (c->splice || c->targets[k].edit.op != EDIT_ROUND
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

void changes_new_reference(struct session *s)
{
    for (size_t i = 0; i < s->changes.n; i++) {
        struct change *c = s->changes.list[i];
        if (!c->splice)
            continue;
        unhook(c, NULL, true);
        for (size_t k = 0; k < s->models.n_runs; k++)
            hook(s, c, s->models.runs[k]);
    }
}

static void forget_undone(struct changes *all)
{
    while (all->n_undone)
        change_free(all->undone[--all->n_undone]);
}

/* Into the list, and everything that follows from it. */
static void put_in(struct session *s, struct change *c)
{
    struct changes *all = &s->changes;
    x_grow(&all->list, &all->cap, all->n + 1, sizeof *all->list);
    all->list[all->n++] = c;
    for (size_t i = 0; i < s->models.n_runs; i++)
        hook(s, c, s->models.runs[i]);
    set_forms(s, c);
    if (!anywhere(c))
        return;
    c->anywhere = x_alloc((c->n_targets + 1) * sizeof *c->anywhere);
    for (size_t i = 0; i < c->n_targets; i++) {
        c->anywhere[i].target = &c->targets[i];
        chosen_of(&c->address, &c->targets[i].shape, 0, &c->anywhere[i].chosen);
    }
}

void changes_add(struct session *s, struct change *c, const char *text)
{
    forget_undone(&s->changes);
    c->number = ++s->changes.last;
    c->text = x_strdup(text);
    put_in(s, c);
}

struct change *changes_redo(struct session *s)
{
    struct changes *all = &s->changes;
    if (!all->n_undone)
        return NULL;
    struct change *c = all->undone[--all->n_undone];
    put_in(s, c);
    return c;
}

struct change *changes_find(const struct session *s, int number)
{
    for (size_t i = 0; i < s->changes.n; i++)
        if (s->changes.list[i]->number == number)
            return s->changes.list[i];
    return NULL;
}

/* Out of the list; the change is the caller's. */
static struct change *take_out(struct session *s, size_t i)
{
    struct changes *all = &s->changes;
    struct change *c = all->list[i];
    memmove(all->list + i, all->list + i + 1, (all->n - i - 1) * sizeof *all->list);
    all->n--;
    return c;
}

static void drop(struct session *s, size_t i) { change_free(take_out(s, i)); }

void changes_undo(struct session *s, struct change *c)
{
    for (size_t i = 0; i < s->changes.n; i++)
        if (s->changes.list[i] == c) {
            unhook(c, NULL, true);
            take_out(s, i);
            set_forms(s, c);
            free(c->anywhere);
            c->anywhere = NULL;
            x_grow(&s->changes.undone, &s->changes.cap_undone, s->changes.n_undone + 1,
                   sizeof *s->changes.undone);
            s->changes.undone[s->changes.n_undone++] = c;
            return;
        }
}

size_t change_runs(const struct session *s, const struct change *c)
{
    size_t n = 0;
    for (size_t i = 0; i < s->models.n_runs; i++)
        n += holds_for(c, s->models.runs[i]);
    return n;
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

bool change_replaces(const struct change *c)
{
    const enum edit_op op = c->n_targets ? c->targets[0].edit.op : EDIT_ROUND;
    return c->splice || op == EDIT_SET || op == EDIT_COPY;
}

void changes_new_run(struct session *s, struct session_run *r)
{
    for (size_t i = 0; i < s->changes.n; i++) {
        const struct change *c = s->changes.list[i];
        hook(s, s->changes.list[i], r);
        for (size_t k = 0; c->model == r->model && k < c->n_forms; k++)
            run_set_form(r->run, c->forms[k].w, c->forms[k].by);
    }
}

void changes_forget_run(struct session *s, const struct session_run *r)
{
    for (size_t i = s->changes.n; i-- > 0;) {
        struct change *c = s->changes.list[i];
        unhook(c, r, false);
        if (c->only == r)
            drop(s, i);
        else if (c->but == r)
            c->but = NULL;
    }
    for (size_t i = 0; i < s->changes.n_undone; i++)
        if (s->changes.undone[i]->only == r || s->changes.undone[i]->but == r) {
            forget_undone(&s->changes);
            break;
        }
}

void changes_forget_model(struct session *s, const struct session_model *m)
{
    for (size_t i = s->changes.n; i-- > 0;)
        if (s->changes.list[i]->model == m)
            drop(s, i);
    for (size_t i = 0; i < s->changes.n_undone; i++)
        if (s->changes.undone[i]->model == m) {
            forget_undone(&s->changes);
            break;
        }
}

void changes_free(struct session *s)
{
    forget_undone(&s->changes);
    free(s->changes.undone);
    free(s->changes.list);
    s->changes = (struct changes){ 0 };
}

static bool replaces(const struct change *c, const struct node *n)
{
    for (size_t i = 0; i < c->n_forms; i++)
        for (int k = 0; k < NODE_MAX_WEIGHTS; k++)
            if (n->w[k] == c->forms[i].w)
                return true;
    return false;
}

uint64_t changes_before(const struct session *s, const struct session_run *r, struct position at)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    const struct graph *g = run_graph(r->run);
    for (size_t i = 0; i < s->changes.n; i++) {
        const struct change *c = s->changes.list[i];
        bool before = false;
        for (size_t k = 0; k < c->n_targets; k++)
            before |= at.span || g->values[c->targets[k].value].node < at.node;
        for (int n = 0; c->model == r->model && c->n_forms && n < g->n_nodes && !before; n++)
            before = (at.span || n < at.node) && replaces(c, &g->nodes[n]);
        if (before && holds_for(c, r))
            hash = (hash ^ (uint64_t)c->number) * 1099511628211u;
    }
    return hash;
}
