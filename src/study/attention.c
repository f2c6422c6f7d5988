/* SPDX-License-Identifier: MIT */
#include "study/attention.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "kernels/statistics.h"

/* Add one query's attention over `seen` keys; `at` is its own place. */
static void add_query(const float *a, int64_t seen, int64_t at, struct head_figures *f)
{
    double max = 0, distance = 0;
    for (int64_t j = 0; j < seen; j++) {
        max = fmax(max, (double)a[j]);
        distance += (double)a[j] * fabs((double)(at - j));
    }
    f->queries++;
    f->entropy += entropy_nats(a, seen);
    f->normalised += entropy_normalised(a, seen);
    f->sink += sink_mass(a, seen);
    f->max += max;
    f->distance += distance;
}

/* The same of one query's logits. */
static void add_logits(const float *z, int64_t seen, int64_t at, struct head_figures *f)
{
    (void)at;
    f->floor += entropy_floor(z, seen);
}

/* The heads of one block, while their queries are counted. */
struct counting {
    const struct run *r;
    const bool *queries;
    struct head_figures *f;
    void (*add)(const float *row, int64_t seen, int64_t at, struct head_figures *f);
};

/* Some rows of a span: probabilities or logits x [head][tok][key]. */
static enum st add_rows(void *data, struct span span, const struct tensor *x, struct err *e)
{
    (void)e;
    const struct counting *c = data;
    const int64_t heads = x->shape.d[0].n, rows = x->shape.d[1].n, keys = x->shape.d[2].n;
    for (int64_t h = 0; h < heads; h++)
        for (int64_t t = 0; t < rows; t++) {
            const int64_t at = span.first + t, seen = run_graph(c->r)->causal ? at + 1 : keys;
            if (at > 0 && seen > 1 && (!c->queries || c->queries[at]))
                c->add(x->data + (h * rows + t) * keys, seen, at, &c->f[h]);
        }
    return ST_OK;
}

/* The node that mixes values by the probabilities `prob`; -1 if there is none. */
static int mix_of(const struct graph *g, int prob)
{
    for (int i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].op == OP_MIX && g->nodes[i].in[0] == prob)
            return i;
    return -1;
}

/* Norms of the values of each K/V head: out [head][token] for tokens [0, n). */
static enum st value_norms(struct run *r, int value, int spans, int64_t n, double *out,
                           struct err *e)
{
    for (int s = 0; s < spans; s++) {
        struct tensor x;
        enum st st = run_read(r, s, value, &x, e);
        if (st)
            return st;
        const int64_t heads = x.shape.d[1].n, size = x.shape.d[2].n, first = run_span(r, s).first;
        for (int64_t t = 0; t < x.shape.d[0].n; t++)
            for (int64_t h = 0; h < heads; h++) {
                const float *v = x.data + (t * heads + h) * size;
                double sum = 0;
                for (int64_t i = 0; i < size; i++)
                    sum += (double)v[i] * (double)v[i];
                out[h * n + first + t] = sqrt(sum);
            }
    }
    return ST_OK;
}

/* Fill in how the first key's value compares, for all heads of a block; f [heads]. */
static enum st compare_values(struct run *r, int prob, int spans, int64_t heads,
                              struct head_figures *f, struct err *e)
{
    const struct graph *g = run_graph(r);
    const int mix = mix_of(g, prob);
    const struct shape *s = mix < 0 ? NULL : &g->values[g->nodes[mix].in[1]].shape;
    for (int64_t h = 0; h < heads; h++)
        f[h].value = NAN;
    if (!s || s->rank != 3 || s->d[1].n < 1 || heads % s->d[1].n)
        return ST_OK;
    const struct span last = run_span(r, spans - 1);
    const int64_t n = last.first + last.n, kv = s->d[1].n;
    double *norms = x_alloc((size_t)(kv * n) * sizeof *norms);
    enum st st = value_norms(r, g->nodes[mix].in[1], spans, n, norms, e);
    for (int64_t h = 0; h < kv && !st && n > 1; h++) {
        const double middle = median_f64(norms + h * n + 1, n - 1);
        for (int64_t q = h * (heads / kv); q < (h + 1) * (heads / kv); q++)
            f[q].value = norms[h * n] / middle;
    }
    free(norms);
    return st;
}

static void divide(struct head_figures *f)
{
    const double n = f->queries ? (double)f->queries : (double)NAN;
    f->entropy /= n;
    f->normalised /= n;
    f->floor /= n;
    f->sink /= n;
    f->max /= n;
    f->distance /= n;
}

/* All heads of the block whose probabilities are value `prob`, over the spans that are computed. */
static enum st one_block(struct run *r, int prob, int64_t heads,
                         const struct attention_options *o, struct head_figures *f, struct err *e)
{
    const struct graph *g = run_graph(r);
    struct counting count = { r, o->queries, f, add_query };
    struct counting logits = { r, o->queries, f, add_logits };
    int spans = 0;
    while (spans < run_n_spans(r) && run_has(r, spans, prob))
        spans++;
    for (int s = 0; s < spans; s++) {
        enum st st = run_read_rows(r, s, prob, run_span(r, s), add_rows, &count, e);
        if (st)
            return st;
        if (o->floor
            && (st = run_read_rows(r, s, g->nodes[g->values[prob].node].in[0], run_span(r, s),
                                   add_rows, &logits, e)))
            return st;
    }
    for (int64_t h = 0; h < heads; h++) {
        divide(&f[h]);
        f[h].floor = o->floor ? f[h].floor : (double)NAN;
    }
    return compare_values(r, prob, spans, heads, f, e);
}

enum st attention_heads(struct run *r, int block, struct progress *p, struct head_figures **list,
                        size_t *n, struct err *e)
{
    return attention_heads_with(r, block, &(struct attention_options){ .progress = p }, list, n, e);
}

enum st attention_heads_with(struct run *r, int block, const struct attention_options *o,
                             struct head_figures **list, size_t *n, struct err *e)
{
    const struct graph *g = run_graph(r);
    struct head_figures *all = NULL;
    size_t cap = 0, have = 0;
    int found = 0;
    enum st st = ST_OK;
    for (int i = 0; i < g->n_nodes && !st; i++) {
        const struct node *node = &g->nodes[i];
        if (node->op != OP_SOFTMAX || (block >= 0 && node->block != block))
            continue;
        if (!found++) /* nothing yet at all: the engine says where the run stands */
            st = run_ready(r, 0, node->out, e);
        if (!st && !progress_tick(o->progress, "attention", i, g->n_nodes))
            st = st_fail(e, ST_CANCELLED, "interrupted");
        if (st || !run_has(r, 0, node->out))
            break;
        const int64_t heads = g->values[node->out].shape.d[0].n;
        x_grow(&all, &cap, have + (size_t)heads, sizeof *all);
        for (int64_t h = 0; h < heads; h++)
            all[have + (size_t)h] = (struct head_figures){ .block = node->block, .head = (int)h };
        st = one_block(r, node->out, heads, o, all + have, e);
        have += st ? 0 : (size_t)heads;
    }
    if (!st && !found)
        st = st_fail(e, ST_UNSUPPORTED,
                     block < 0 ? "the model has no attention" : "block %d has no attention", block);
    if (st && st != ST_CANCELLED) {
        free(all);
        return st;
    }
    *list = all;
    *n = have;
    return st;
}
