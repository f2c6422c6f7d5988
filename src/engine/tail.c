/* SPDX-License-Identifier: MIT */
/* The last tokens alone: of the last block, what only other tokens would read is not computed. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/execute.h"

/* The nodes of a span from the last block on. */
struct tail {
    struct run *r;
    int span, first, end; /* nodes [first, end) */
    int64_t n;            /* the tokens that are wanted */
    bool *all;            /* [n_values]: values that all tokens are needed of */
};

/* Somebody may look at a point or change it, or an op mixes tokens in its own way. */
static bool watched(const struct tail *t)
{
    const struct run *r = t->r;
    bool any = r->n_probes || r->n_transforms || r->records;
    for (int i = t->first; i < t->end; i++) {
        const struct node *n = &r->g->nodes[i];
        const enum op_state state = op_info(n->op)->state;
        any |= n->op == OP_POOL || state == STATE_SSM || state == STATE_CONV;
        any |= (n->op == OP_SCORE || n->op == OP_SOFTMAX) && !run_skips(r, n->out);
    }
    return any;
}

/* Keys and values are needed of all tokens, and so is what they are made of. */
static void find_needs(const struct tail *t)
{
    const struct graph *g = t->r->g;
    for (int i = t->end - 1; i >= t->first; i--) {
        const struct node *n = &g->nodes[i];
        for (int k = 0; k < n->n_in; k++)
            t->all[n->in[k]] |= t->all[n->out]
                                || (k == 1 && (n->op == OP_SCORE || n->op == OP_MIX));
    }
}

static enum st execute_some(const struct tail *t, int node, struct err *e)
{
    struct run *r = t->r;
    struct batch b;
    batch_begin(r, t->span, &b);
    const int64_t skipped = t->all[r->g->nodes[node].out] ? 0 : b.n - t->n;
    struct batch some = b;
    some.n -= skipped;
    some.past += skipped;
    some.ids += skipped;
    some.seq += skipped;
    some.pos += skipped;
    some.keys += skipped;
    some.visible += skipped;
    enum st st = execute_batch(r, &r->frame, node, &some, e);
    batch_free(&b);
    return st;
}

/* The frame holds what the last block reads, and does so again afterwards. */
static enum st execute_tail(const struct tail *t, float *out, struct err *e)
{
    struct run *r = t->r;
    const struct graph *g = r->g;
    enum st st = ST_OK;
    find_needs(t);
    for (int i = t->first; i < t->end && !st; i++)
        if (!run_skips(r, g->nodes[i].out))
            st = execute_some(t, i, e);
    if (!st) {
        const int64_t width = shape_per_token(&g->values[g->hidden].shape);
        memcpy(out, r->frame.data[g->hidden] + (r->spans[t->span].n - t->n) * width,
               (size_t)(t->n * width) * sizeof *out);
    }
    frame_drop_from(r, &r->frame, t->first);
    return st;
}

static enum st whole(const struct tail *t, float *out, struct progress *p, struct err *e)
{
    struct run *r = t->r;
    const struct position to = { t->span, t->end };
    struct tensor x;
    enum st st = position_compare(r->at, to) < 0 ? run_forward(r, to, p, NULL, e) : ST_OK;
    if (!st)
        st = run_read(r, t->span, r->g->hidden, &x, e);
    if (st)
        return st;
    const int64_t width = shape_per_token(&x.shape);
    memcpy(out, x.data + (x.shape.d[0].n - t->n) * width, (size_t)(t->n * width) * sizeof *out);
    return ST_OK;
}

/* Move to where the last block begins; the frame holds what it reads. */
static enum st begin(const struct tail *t, struct progress *p, struct err *e)
{
    struct run *r = t->r;
    enum st st = run_forward(r, (struct position){ t->span, t->first }, p, NULL, e);
    if (!st && r->frame.span != t->span)
        st = frame_restore(r, &r->frame, t->span, t->first, -1, p, e);
    if (!st)
        frame_enter(r, &r->frame, t->first);
    return st;
}

enum st run_tail(struct run *r, int64_t n, float *out, struct progress *p, struct err *e)
{
    if (!r->n_spans || n < 1 || n > r->spans[r->n_spans - 1].n)
        return st_fail(e, ST_RANGE, "the last span has no %lld tokens", (long long)n);
    const struct graph *g = r->g;
    const int blocks = g->n_blocks;
    struct tail t = { .r = r,
                      .span = (int)r->n_spans - 1,
                      .first = blocks ? g->blocks[blocks - 1].first : 0,
                      .end = g->values[g->hidden].node + 1,
                      .n = n };
    const bool past = position_compare(r->at, (struct position){ t.span, t.first }) > 0;
    if (past || !t.first || watched(&t))
        return whole(&t, out, p, e);
    enum st st = begin(&t, p, e);
    if (st)
        return st;
    t.all = x_alloc((size_t)g->n_values * sizeof *t.all);
    st = execute_tail(&t, out, e);
    free(t.all);
    return st;
}
