/* SPDX-License-Identifier: MIT */
#include "session/changes_parts.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "session/session.h"

const struct change_target *changes_rounding(const struct session *s,
                                             const struct session_model *m,
                                             const struct session_run *r, int value)
{
    for (size_t i = s->changes.n; i-- > 0;) {
        const struct change *c = s->changes.list[i];
        if (c->model != m || c->splice || (r ? !change_holds_for(c, r) : c->only || c->but))
            continue;
        for (size_t k = c->n_targets; k-- > 0;)
            if (c->targets[k].value == value && c->targets[k].edit.op == EDIT_ROUND)
                return &c->targets[k];
    }
    return NULL;
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

void changes_new_reference(struct session *s)
{
    for (size_t i = 0; i < s->changes.n; i++) {
        struct change *c = s->changes.list[i];
        if (!c->splice)
            continue;
        change_detach(c, NULL, true);
        for (size_t k = 0; k < s->models.n_runs; k++)
            change_attach(s, c, s->models.runs[k]);
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
        change_attach(s, c, s->models.runs[i]);
    set_forms(s, c);
    change_attach_anywhere(c);
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
            change_detach(c, NULL, true);
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
        n += change_holds_for(c, s->models.runs[i]);
    return n;
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
        change_attach(s, s->changes.list[i], r);
        for (size_t k = 0; c->model == r->model && k < c->n_forms; k++)
            run_set_form(r->run, c->forms[k].w, c->forms[k].by);
    }
}

void changes_forget_run(struct session *s, const struct session_run *r)
{
    for (size_t i = s->changes.n; i-- > 0;) {
        struct change *c = s->changes.list[i];
        change_detach(c, r, false);
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
        if (before && change_holds_for(c, r))
            hash = (hash ^ (uint64_t)c->number) * 1099511628211u;
    }
    return hash;
}
