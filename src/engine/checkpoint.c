/* SPDX-License-Identifier: MIT */
/* What a run keeps at the borders of its segments, and going on from there. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/execute.h"

const float *checkpoint_find(const struct run *r, int span, int segment)
{
    size_t i = (size_t)span * (size_t)r->n_segments + (size_t)segment;
    return i < r->cap_checkpoints ? r->checkpoints[i] : NULL;
}

static size_t checkpoint_bytes(const struct run *r, int span, int segment)
{
    return (size_t)(r->segments[segment].per_token * r->spans[span].n) * sizeof(float);
}

static void checkpoint_drop(struct run *r, int span, int segment)
{
    float **p = &r->checkpoints[(size_t)span * (size_t)r->n_segments + (size_t)segment];
    if (*p) {
        mem_free(*p);
        *p = NULL;
        r->checkpoint_used -= checkpoint_bytes(r, span, segment);
    }
}

void checkpoints_drop(struct run *r)
{
    for (size_t i = 0; i < r->cap_checkpoints; i++)
        mem_free(r->checkpoints[i]);
    free(r->checkpoints);
    r->checkpoints = NULL;
    r->cap_checkpoints = r->checkpoint_used = 0;
    r->checkpoint_stride = 1;
}

void checkpoints_drop_after(struct run *r, int node)
{
    for (size_t i = 0; i < r->cap_checkpoints; i++) {
        int segment = (int)(i % (size_t)r->n_segments);
        if (r->checkpoints[i] && r->segments[segment].first > node)
            checkpoint_drop(r, (int)(i / (size_t)r->n_segments), segment);
    }
}

/* Memory is short: keep every second of the checkpoints that are left. */
static void thin_out(struct run *r)
{
    r->checkpoint_stride *= 2;
    for (size_t i = 0; i < r->cap_checkpoints; i++) {
        int segment = (int)(i % (size_t)r->n_segments);
        if (r->checkpoints[i] && segment % r->checkpoint_stride)
            checkpoint_drop(r, (int)(i / (size_t)r->n_segments), segment);
    }
}

void checkpoint_save(struct run *r, const struct frame *f, int segment)
{
    const struct segment *s = &r->segments[segment];
    size_t i = (size_t)f->span * (size_t)r->n_segments + (size_t)segment;
    size_t bytes = checkpoint_bytes(r, f->span, segment);
    if (!segment || !s->n_carry || checkpoint_find(r, f->span, segment))
        return;
    while (r->checkpoint_used + bytes > r->o.checkpoint_bytes
           && r->checkpoint_stride <= r->n_segments)
        thin_out(r);
    if (segment % r->checkpoint_stride || r->checkpoint_stride > r->n_segments)
        return;
    void *p;
    if (mem_alloc(&p, bytes, "a checkpoint", NULL))
        return; /* not an error: the place can be computed again */
    x_grow(&r->checkpoints, &r->cap_checkpoints, i + 1, sizeof *r->checkpoints);
    float *out = r->checkpoints[i] = p;
    r->checkpoint_used += bytes;
    for (int c = 0; c < s->n_carry; c++) {
        size_t n = value_bytes(r, f->span, s->carry[c]);
        memcpy(out, f->data[s->carry[c]], n);
        out += n / sizeof *out;
    }
}

enum st frame_restore(struct run *r, struct frame *f, int span, int done, int target,
                      struct progress *p, struct err *e)
{
    int s = segment_of(r, done ? done - 1 : 0);
    const float *saved = NULL;
    while (s > 0 && !(saved = checkpoint_find(r, span, s)))
        s--;
    frame_clear(r, f);
    f->span = span;
    f->segment = s;
    enum st st;
    for (int c = 0; saved && c < r->segments[s].n_carry; c++) {
        int v = r->segments[s].carry[c];
        if ((st = frame_hold(r, f, v, e)))
            return st;
        struct shape shape = value_shape(r, span, v);
        size_t n = (size_t)shape_count(&shape);
        memcpy(f->data[v], saved, n * sizeof *saved);
        saved += n;
    }
    for (int i = r->segments[s].first; i < done; i++) {
        if (!progress_tick(p, "recompute", i, done))
            return st_fail(e, ST_CANCELLED, "interrupted");
        frame_enter(r, f, i);
        if ((st = execute_node(r, f, i, target, e)))
            return st;
    }
    return ST_OK;
}
