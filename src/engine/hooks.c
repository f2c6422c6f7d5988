/* SPDX-License-Identifier: MIT */
/* Hooks of a run: probes that look at points, transforms that change them, and who wants which. */
#include <string.h>

#include "base/memory.h"
#include "engine/execute.h"

static int add_hook(struct hook **list, size_t *n, size_t *cap, struct hook h)
{
    x_grow(list, cap, *n + 1, sizeof **list);
    (*list)[(*n)++] = h;
    return h.handle;
}

static void remove_hook(struct hook *list, size_t *n, int handle)
{
    for (size_t i = 0; i < *n; i++)
        if (list[i].handle == handle) {
            memmove(list + i, list + i + 1, (*n - i - 1) * sizeof *list);
            (*n)--;
            return;
        }
}

int run_probe(struct run *r, probe_fn fn, void *data)
{
    return add_hook(&r->probes, &r->n_probes, &r->cap_probes,
                    (struct hook){ .handle = r->next_handle++, .probe = fn, .data = data });
}

void run_unprobe(struct run *r, int handle)
{
    for (size_t i = 0; r->announcing && i < r->n_probes; i++)
        if (r->probes[i].handle == handle) {
            r->probes[i].probe = NULL; /* the list must not move under hooks_announce() */
            return;
        }
    remove_hook(r->probes, &r->n_probes, handle);
}

bool hooks_announce(struct run *r, int node)
{
    const int v = r->g->nodes[node].out;
    if (!r->frame.data[v])
        return false;
    const struct tensor x = { value_shape(r, r->frame.span, v), r->frame.data[v] };
    record_note(r, r->frame.span, v, &x);
    const struct event ev = { r, { r->frame.span, node + 1 }, v, &x };
    const size_t n = r->n_probes; /* one that is added now sees the next point */
    bool stop = false;
    r->announcing = true;
    for (size_t i = 0; i < n; i++)
        if (r->probes[i].probe)
            stop |= r->probes[i].probe(r->probes[i].data, &ev);
    r->announcing = false;
    for (size_t i = r->n_probes; i-- > 0;)
        if (!r->probes[i].probe)
            remove_hook(r->probes, &r->n_probes, r->probes[i].handle);
    return stop;
}

/* The output of `node` changes from the first span on: forget what it touches. */
static void rewind_to(struct run *r, int node)
{
    const struct position p = { 0, node };
    frame_clear(r, &r->scratch);
    checkpoints_drop_after(r, node);
    record_forget_after(r, node);
    if (position_compare(r->reached, p) > 0)
        r->reached = p;
    if (position_compare(r->at, p) > 0) {
        r->at = p;
        frame_clear(r, &r->frame);
    }
}

int run_transform(struct run *r, int value, transform_fn fn, void *data)
{
    rewind_to(r, r->g->values[value].node);
    run_want(r, value, 1); /* no fused kernel may skip it */
    return add_hook(
        &r->transforms, &r->n_transforms, &r->cap_transforms,
        (struct hook){ .handle = r->next_handle++, .value = value, .transform = fn, .data = data });
}

void run_untransform(struct run *r, int handle)
{
    for (size_t i = 0; i < r->n_transforms; i++)
        if (r->transforms[i].handle == handle) {
            rewind_to(r, r->g->values[r->transforms[i].value].node);
            run_want(r, r->transforms[i].value, -1);
        }
    remove_hook(r->transforms, &r->n_transforms, handle);
}

void run_retransform(struct run *r, int handle, transform_fn fn, void *data)
{
    for (size_t i = 0; i < r->n_transforms; i++)
        if (r->transforms[i].handle == handle) {
            r->transforms[i].transform = fn;
            r->transforms[i].data = data;
        }
}

void run_set_beside(struct run *r, struct run *beside) { r->beside = beside; }
struct run *run_beside(const struct run *r) { return r->beside; }

static bool reads(const struct node *n, const struct weight *w)
{
    for (int i = 0; i < NODE_MAX_WEIGHTS; i++)
        if (n->w[i] == w)
            return true;
    return false;
}

void run_set_form(struct run *r, const struct weight *w, struct form *f)
{
    plan_set(&r->plan, r->model, w, f);
    for (int i = 0; r->g && i < r->g->n_nodes; i++)
        if (reads(&r->g->nodes[i], w)) {
            rewind_to(r, i);
            return;
        }
}

const struct weight *run_weight(const struct run *r, const struct weight *w)
{
    const struct form *f = plan_form(&r->plan, r->model, w);
    return f ? &f->w : w;
}

const float *run_vector(const struct run *r, const struct node *n, int slot)
{
    struct matrix w;
    const float *v;
    node_weight(r->model, &r->plan, n, slot, &w, &v);
    return v;
}

const struct plan *run_plan(const struct run *r) { return &r->plan; }

void run_want(struct run *r, int value, int delta) { r->wants[value] += delta; }
void run_want_all(struct run *r, int delta) { r->wants_all += delta; }
