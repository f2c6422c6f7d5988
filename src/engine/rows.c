/* SPDX-License-Identifier: MIT */
/* Points that are too large to hold, read by blocks of tokens. */
#include "base/memory.h"
#include "engine/execute.h"

enum { BLOCK_BYTES = 32 << 20 }; /* of a block, if the budget is not small */

/* The node that makes the scores behind a point of attention; NULL for other points. */
static const struct node *score_of(const struct graph *g, int value)
{
    const struct node *n = &g->nodes[g->values[value].node];
    if (n->op == OP_SOFTMAX)
        n = &g->nodes[g->values[n->in[0]].node];
    return n->op == OP_SCORE ? n : NULL;
}

static bool transformed(const struct run *r, int value)
{
    for (size_t i = 0; i < r->n_transforms; i++)
        if (r->transforms[i].value == value)
            return true;
    return false;
}

static bool holds(const struct frame *f, int span, int value)
{
    return f->span == span && f->data[value];
}

/* A frame that holds what the scores are made of. */
static enum st frame_of(struct run *r, int span, const struct node *score, struct frame **out,
                        struct err *e)
{
    struct frame *const frames[] = { &r->frame, &r->scratch };
    for (int i = 0; i < 2; i++)
        if (holds(frames[i], span, score->in[0]) && holds(frames[i], span, score->in[1])) {
            *out = frames[i];
            return ST_OK;
        }
    const int node = r->g->values[score->out].node;
    enum st st = frame_restore(r, &r->scratch, span, node, -1, NULL, e);
    if (st)
        frame_clear(r, &r->scratch);
    else
        *out = &r->scratch;
    return st;
}

/* Tokens of a block: a quarter of the memory that is left at most. */
static int64_t block_tokens(int64_t heads, int64_t keys)
{
    const size_t left = mem_budget() > mem_used() ? mem_budget() - mem_used() : 0;
    const int64_t token = heads * keys * (int64_t)sizeof(float),
                  most = mem_budget() && left / 4 < BLOCK_BYTES ? (int64_t)(left / 4)
                                                                : BLOCK_BYTES;
    return most > token ? most / token : 1;
}

static enum st by_blocks(struct run *r, struct frame *f, int value, struct span rows, rows_fn *fn,
                         void *data, struct err *e)
{
    struct shape shape = value_shape(r, f->span, value);
    const int64_t from = r->spans[f->span].first, end = rows.first + rows.n,
                  heads = shape.d[0].n, keys = shape.d[2].n;
    int64_t most = block_tokens(heads, keys);
    most = most < rows.n ? most : rows.n;
    void *p;
    enum st st = mem_alloc(&p, (size_t)(heads * most * keys) * sizeof(float),
                           r->g->values[value].name, e);
    if (st)
        return st;
    for (int64_t t = rows.first; t < end && !st; t += most) {
        const struct span some = { t, end - t < most ? end - t : most };
        shape.d[1].n = some.n;
        const struct tensor x = { shape, p };
        st = execute_rows(r, f, value, t - from, some.n, p, e);
        if (!st)
            st = fn(data, some, &x, e);
    }
    mem_free(p);
    return st;
}

enum st run_read_rows(struct run *r, int span, int value, struct span rows, rows_fn *fn, void *data,
                      struct err *e)
{
    enum st st = run_ready(r, span, value, e);
    if (st)
        return st;
    const struct node *score = score_of(r->g, value);
    if (!score || transformed(r, value) || transformed(r, score->out)
        || holds(&r->frame, span, value) || holds(&r->scratch, span, value)
        || record_data(r, span, value)) {
        struct tensor x;
        st = run_read(r, span, value, &x, e);
        return st ? st : fn(data, r->spans[span], &x, e);
    }
    const volatile sig_atomic_t *cancel = r->cancel; /* of the move that a probe may be part of */
    struct frame *f;
    r->cancel = r->o.cancel;
    st = frame_of(r, span, score, &f, e);
    if (!st)
        st = by_blocks(r, f, value, rows, fn, data, e);
    r->cancel = cancel;
    return st;
}
