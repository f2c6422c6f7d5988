/* SPDX-License-Identifier: MIT */
#include "study/collect.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* An activation that enters one linear or several. */
struct input {
    int64_t n_in, rows; /* channels; tokens seen */
    double *sum;        /* [n_in] squares */
};

struct collecting {
    const struct graph *g;
    struct input *inputs; /* [values]; sum NULL: enters none */
    bool head;
    struct progress *front;
    struct collected_text *out;
};

static bool wanted(const struct collecting *c, const struct node *n)
{
    return n->op == OP_LINEAR && n->w[0] && (n->block >= 0 || (c->head && n->out == c->g->logits));
}

static bool add_squares(void *data, const struct event *ev)
{
    const struct collecting *c = data;
    struct input *in = &c->inputs[ev->value];
    if (!in->sum)
        return false;
    const int64_t rows = shape_count(&ev->x->shape) / in->n_in;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < in->n_in; i++) {
            const double x = (double)ev->x->data[r * in->n_in + i];
            in->sum[i] += x * x;
        }
    in->rows += rows;
    return false;
}

static enum st begin(struct collecting *c, struct err *e)
{
    c->inputs = x_alloc((size_t)c->g->n_values * sizeof *c->inputs);
    for (int i = 0; i < c->g->n_nodes; i++) {
        const struct node *n = &c->g->nodes[i];
        struct input *in = &c->inputs[n->in[0] < 0 ? 0 : n->in[0]];
        void *p;
        if (!wanted(c, n) || in->sum)
            continue;
        const size_t bytes = (size_t)n->w[0]->cols * sizeof *in->sum;
        enum st st = mem_alloc(&p, bytes, "sums of squares", e);
        if (st)
            return st;
        memset(p, 0, bytes);
        *in = (struct input){ .n_in = (int64_t)n->w[0]->cols, .sum = p };
    }
    return ST_OK;
}

/* Add what each linear has seen to its entry. */
static enum st finish(const struct collecting *c, struct imatrix *into, struct err *e)
{
    for (int i = 0; i < c->g->n_nodes; i++) {
        const struct node *n = &c->g->nodes[i];
        if (!wanted(c, n) || !c->inputs[n->in[0]].rows)
            continue;
        const struct input *in = &c->inputs[n->in[0]];
        struct imatrix_entry *x = (struct imatrix_entry *)imatrix_find(into, n->w[0]->name);
        enum st st = x ? ST_OK : imatrix_add(into, n->w[0]->name, (uint64_t)in->n_in, 1, &x, e);
        if (!st && (int64_t)x->n_in != in->n_in)
            st = st_fail(e, ST_RANGE, "%.*s has another width", (int)x->name.n, x->name.p);
        if (st)
            return st;
        for (int64_t k = 0; k < in->n_in; k++)
            x->sum[k] = (float)((double)x->sum[k] + in->sum[k]);
        x->count[0] += (float)in->rows;
    }
    return ST_OK;
}

static bool show(const struct collecting *c, double part)
{
    return progress_tick(c->front, "imatrix", (double)c->out->chunks + part,
                         (double)c->out->chunks_of);
}

static void show_part(struct progress *p, const char *label, double done, double total)
{
    if (total > 0 && !strcmp(label, "run"))
        show(p->data, done / total);
}

static enum st all_chunks(struct collecting *c, struct run *r, const int32_t *ids, int64_t context,
                          int32_t bos, int32_t *input, struct err *e)
{
    struct progress inside = { show_part, c->front ? c->front->cancel : NULL, c };
    for (; c->out->chunks < c->out->chunks_of; c->out->chunks++) {
        if (!show(c, 0))
            return st_fail(e, ST_CANCELLED, "interrupted");
        memcpy(input, ids + c->out->chunks * context, (size_t)context * sizeof *input);
        if (bos >= 0)
            input[0] = bos;
        enum st st = run_input(r, input, NULL, NULL, context, e);
        for (int s = 0; !st && s < run_n_spans(r); s++) {
            const struct position to = { s, c->g->values[c->g->hidden].node + 1 };
            st = run_forward(r, to, &inside, NULL, e);
        }
        if (st)
            return st;
        c->out->tokens += context;
    }
    return ST_OK;
}

enum st imatrix_collect(const struct model *m, const struct run_options *o, const int32_t *ids,
                        int64_t n, int64_t context, int64_t limit, bool head, struct imatrix *into,
                        struct progress *p, struct collected_text *out, struct err *e)
{
    if (!m->graph) {
        if (e)
            *e = m->no_graph;
        return m->no_graph.st;
    }
    if (n < context)
        return st_fail(e, ST_RANGE, "the text has %d %s, less than one chunk of %d", (int)n,
                       text_plural((uint64_t)n, "token", "tokens"), (int)context);
    struct collected_text text = { .chunks_of = n / context };
    if (limit > 0 && limit < text.chunks_of)
        text.chunks_of = limit;
    struct collecting c = { .g = m->graph, .head = head, .front = p, .out = &text };
    enum st st = begin(&c, e);
    if (!st) {
        const bool bos = m->tokenizer && tokenizer_adds_bos(m->tokenizer);
        struct run_options options = *o;
        options.checkpoint_bytes = RUN_NO_CHECKPOINTS;
        struct run *r = run_new(m, &options);
        int32_t *input = x_alloc((size_t)context * sizeof *input);
        run_probe(r, add_squares, &c);
        st = all_chunks(&c, r, ids, context, bos ? tokenizer_bos(m->tokenizer) : -1, input, e);
        free(input);
        run_free(r);
    }
    if (!st || st == ST_CANCELLED) {
        enum st added = finish(&c, into, st ? NULL : e);
        st = st ? st : added;
        into->chunks += text.chunks;
        into->chunk_size = context;
    }
    for (int i = 0; c.inputs && i < m->graph->n_values; i++)
        mem_free(c.inputs[i].sum);
    free(c.inputs);
    *out = text;
    return st;
}
