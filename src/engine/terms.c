/* SPDX-License-Identifier: MIT */
#include "engine/terms.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/execute.h"

/* Copies of the rows that are asked for: reading another point takes the place of the one before.
 */
struct reader {
    struct run *r;
    const struct node *node;
    read_point_fn *read;
    void *data;
    int span;
    float *copy[NODE_MAX_IN];
    int held[NODE_MAX_IN]; /* span whose whole input is in copy, -1 = none */
    struct shape shape[NODE_MAX_IN];
};

static bool by_token(const struct shape *s) { return s->rank && s->d[0].axis == AXIS_TOK; }

static const float *row(void *data, int input, int64_t token)
{
    struct reader *q = data;
    const int value = q->node->in[input];
    const bool tokens = by_token(&q->r->g->values[value].shape);
    const int span = tokens ? run_span_of(q->r, token) : q->span;
    if (q->held[input] != span) {
        struct tensor x;
        if (q->read(q->data, span, value, &x, NULL))
            return NULL;
        const size_t bytes = (size_t)shape_count(&x.shape) * sizeof *x.data;
        void *p;
        if (mem_alloc(&p, bytes, "an input", NULL))
            return NULL;
        memcpy(p, x.data, bytes);
        mem_free(q->copy[input]);
        q->copy[input] = p;
        q->held[input] = span;
        q->shape[input] = x.shape;
    }
    const int64_t first = run_span(q->r, span).first;
    return q->copy[input] + (tokens ? (token - first) * shape_per_token(&q->shape[input]) : 0);
}

static enum st read_own(void *data, int span, int value, struct tensor *out, struct err *e)
{
    return run_read(data, span, value, out, e);
}

enum st run_terms(struct run *r, int span, int value, int64_t at, enum term_kind *kind,
                  struct op_term **out, int64_t *n, struct err *e)
{
    return run_terms_on(r, span, value, at, read_own, r, kind, out, n, e);
}

enum st run_terms_on(struct run *r, int span, int value, int64_t at, read_point_fn *read,
                     void *data, enum term_kind *kind, struct op_term **out, int64_t *n,
                     struct err *e)
{
    const struct node *node = &r->g->nodes[r->g->values[value].node];
    if (!run_has(r, span, value))
        return st_fail(e, ST_STATE, "%s has not been computed yet", r->g->values[value].name);
    struct reader q = { .r = r, .node = node, .read = read, .data = data, .span = span };
    struct batch b;
    struct term_call c = { .node = node, .batch = &b, .row = row, .data = &q };
    batch_begin(r, span, &b);
    for (int i = 0; i < NODE_MAX_IN; i++)
        q.held[i] = -1;
    for (int i = 0; i < node->n_in; i++)
        c.in[i] = value_shape(r, span, node->in[i]);
    for (int i = 0; i < op_info(node->op)->weights; i++)
        node_weight(r->model, &r->plan, node, i, &c.w[i], &c.v[i]);
    c.out = value_shape(r, span, value);
    c.rope = node->op == OP_ROPE ? &r->g->ropes[node->p.rope] : NULL;
    *kind = op_terms(&c, at, out, n);
    batch_free(&b);
    for (int i = 0; i < NODE_MAX_IN; i++)
        mem_free(q.copy[i]);
    if (*kind == TERMS_NONE)
        return st_fail(e, ST_UNSUPPORTED, "%s: what a %s gives is not traced", node->name,
                       op_info(node->op)->name);
    return ST_OK;
}

void run_term_place(const struct run *r, int span, int value, const struct op_term *t, int *of_span,
                    int *of_value, int64_t *at)
{
    const struct node *node = &r->g->nodes[r->g->values[value].node];
    *of_value = node->in[t->in];
    *of_span = t->token < 0 ? span : run_span_of(r, t->token);
    *at = t->at;
    if (t->token >= 0) {
        const struct shape s = value_shape(r, *of_span, *of_value);
        *at += (t->token - run_span(r, *of_span).first) * shape_per_token(&s);
    }
}
