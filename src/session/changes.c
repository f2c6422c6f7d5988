/* SPDX-License-Identifier: MIT */
#include "session/changes.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "session/session.h"

struct change_hook {
    const struct session_run *run;
    const struct change_target *target;
    struct chosen chosen;
    int handle;
};

static void transform(void *data, const struct event *ev, float *x)
{
    const struct change_hook *h = data;
    const struct span span = run_span(ev->run, ev->at.span);
    const int key = shape_axis(&ev->x->shape, AXIS_KEY);
    const struct shape shape = shape_resolve(h->target->shape, span.n,
                                             key < 0 ? 0 : ev->x->shape.d[key].n);
    edit_apply(&h->target->edit, &h->chosen, &shape, span.first, x);
}

static bool holds_for(const struct change *c, const struct session_run *r)
{
    return r->model == c->model && r != c->but && (!c->only || r == c->only);
}

static void hook(struct change *c, const struct session_run *r)
{
    for (size_t i = 0; holds_for(c, r) && i < c->n_targets; i++) {
        const struct change_target *t = &c->targets[i];
        struct change_hook *h = x_alloc(sizeof *h);
        *h = (struct change_hook){ .run = r, .target = t };
        chosen_of(&c->address, &t->shape, run_n_tokens(r->run), &h->chosen);
        h->handle = run_transform(r->run, t->value, transform, h);
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

void change_free(struct change *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n_targets; i++)
        view_free(&c->targets[i].edit.data);
    free(c->targets);
    free(c->hooks);
    free(c->address_text);
    free(c->text);
    free(c);
}

void changes_add(struct session *s, struct change *c, const char *text)
{
    struct changes *all = &s->changes;
    c->number = ++all->last;
    c->text = x_strdup(text);
    x_grow(&all->list, &all->cap, all->n + 1, sizeof *all->list);
    all->list[all->n++] = c;
    for (size_t i = 0; i < s->models.n_runs; i++)
        hook(c, s->models.runs[i]);
}

struct change *changes_find(const struct session *s, int number)
{
    for (size_t i = 0; i < s->changes.n; i++)
        if (s->changes.list[i]->number == number)
            return s->changes.list[i];
    return NULL;
}

static void drop(struct session *s, size_t i)
{
    struct changes *all = &s->changes;
    change_free(all->list[i]);
    memmove(all->list + i, all->list + i + 1, (all->n - i - 1) * sizeof *all->list);
    all->n--;
}

void changes_undo(struct session *s, struct change *c)
{
    for (size_t i = 0; i < s->changes.n; i++)
        if (s->changes.list[i] == c) {
            unhook(c, NULL, true);
            drop(s, i);
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

bool change_touches(const struct change *c, const struct session_run *r, int value)
{
    for (size_t i = 0; i < c->n_targets; i++)
        if (c->targets[i].value == value)
            return holds_for(c, r);
    return false;
}

void changes_new_run(struct session *s, struct session_run *r)
{
    for (size_t i = 0; i < s->changes.n; i++)
        hook(s->changes.list[i], r);
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
}

void changes_forget_model(struct session *s, const struct session_model *m)
{
    for (size_t i = s->changes.n; i-- > 0;)
        if (s->changes.list[i]->model == m)
            drop(s, i);
}

void changes_free(struct session *s)
{
    free(s->changes.list);
    s->changes = (struct changes){ 0 };
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
        if (before && holds_for(c, r))
            hash = (hash ^ (uint64_t)c->number) * 1099511628211u;
    }
    return hash;
}
