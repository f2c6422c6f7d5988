/* SPDX-License-Identifier: MIT */
#include "study/sparsity.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "kernels/statistics.h"
#include "study/points.h"

#define NO_LAYER "the model has no dense feed-forward layer"

struct layer {
    struct layer_sparsity s;
    int32_t *active, *nonzero; /* [neurons] at how many tokens */
};

struct count {
    struct run *r;
    struct layer *layers; /* [n] */
    size_t n;
    int32_t *scratch; /* [most neurons] */
    bool *in_set;
};

static void add_token(struct count *k, struct layer *l, const float *x, bool first)
{
    const int64_t n = l->s.neurons;
    const int64_t active = energy_count(x, n, SPARSITY_ENERGY, k->scratch, k->in_set);
    int64_t nonzero = 0;
    if (first) {
        l->s.first = (double)active / (double)n;
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        nonzero += x[i] != 0;
        l->nonzero[i] += x[i] != 0;
        l->active[i] += k->in_set[i];
    }
    l->s.nonzero += (double)nonzero / (double)n;
    l->s.active += (double)active / (double)n;
    l->s.tokens++;
}

static void look(void *data, int span, int value, const struct tensor *x)
{
    struct count *k = data;
    struct layer *l = k->layers;
    while (l->s.value != value)
        l++;
    for (int64_t t = 0; t < x->shape.d[0].n; t++)
        add_token(k, l, x->data + t * l->s.neurons, run_span(k->r, span).first + t == 0);
}

static void finish(struct layer *l)
{
    const double n = l->s.tokens ? (double)l->s.tokens : (double)NAN;
    l->s.nonzero /= n;
    l->s.active /= n;
    for (int64_t i = 0; i < l->s.neurons && l->s.tokens; i++) {
        l->s.dead += l->active[i] == 0;
        l->s.always += l->active[i] == l->s.tokens;
        l->s.zero += l->nonzero[i] == 0;
    }
}

/* What the down projection of a block reads; -1 if it has none, or not by tokens. */
static int neurons_of(const struct graph *g, int block, int64_t *neurons)
{
    char name[40];
    struct shape s;
    snprintf(name, sizeof name, "blk.%d.ffn_down.in", block);
    const int v = graph_point(g, str_from(name), &s, NULL);
    if (v < 0 || s.rank != 2 || s.d[0].axis != AXIS_TOK)
        return -1;
    *neurons = s.d[1].n;
    return v;
}

/* What the down projections read, block by block; want[value] is set for each. */
static size_t find_layers(const struct graph *g, struct layer *layers, bool *want, int64_t *most)
{
    size_t n = 0;
    for (int b = 0; b < g->n_blocks; b++) {
        int64_t neurons;
        const int v = neurons_of(g, b, &neurons);
        if (v < 0)
            continue;
        want[v] = true;
        layers[n++].s = (struct layer_sparsity){
            .value = v, .block = b, .neurons = neurons, .first = NAN
        };
        *most = neurons > *most ? neurons : *most;
    }
    return n;
}

enum st sparsity_of(struct run *r, struct progress *p, struct layer_sparsity **list, size_t *n,
                    struct err *e)
{
    const struct graph *g = run_graph(r);
    int64_t most = 0;
    struct count k = { .r = r };
    struct tensor x;
    bool *want = x_alloc((size_t)g->n_values * sizeof *want);
    *n = 0;
    k.layers = x_alloc(((size_t)g->n_blocks + 1) * sizeof *k.layers);
    k.n = find_layers(g, k.layers, want, &most);
    k.scratch = x_alloc((size_t)most * sizeof *k.scratch + 1);
    k.in_set = x_alloc((size_t)most * sizeof *k.in_set + 1);
    for (size_t i = 0; i < k.n; i++) {
        k.layers[i].active = x_alloc((size_t)k.layers[i].s.neurons * sizeof(int32_t));
        k.layers[i].nonzero = x_alloc((size_t)k.layers[i].s.neurons * sizeof(int32_t));
    }
    enum st st = k.n ? run_read(r, 0, k.layers[0].s.value, &x, e)
                     : st_fail(e, ST_UNSUPPORTED, NO_LAYER);
    if (!st)
        st = points_walk(r, want, p, "sparsity", look, &k, e);
    if (!st) {
        *list = x_alloc(k.n * sizeof **list);
        for (size_t i = 0; i < k.n && run_has(r, 0, k.layers[i].s.value); i++) {
            finish(&k.layers[i]);
            (*list)[(*n)++] = k.layers[i].s;
        }
    }
    for (size_t i = 0; i < k.n; i++) {
        free(k.layers[i].active);
        free(k.layers[i].nonzero);
    }
    free(k.layers);
    free(k.scratch);
    free(k.in_set);
    free(want);
    return st;
}

enum st token_sparsity_of(struct run *r, int block, struct progress *p,
                          struct token_sparsity **list, size_t *n, struct err *e)
{
    int64_t width;
    const int v = neurons_of(run_graph(r), block, &width);
    if (v < 0)
        return st_fail(e, ST_UNSUPPORTED, NO_LAYER);
    int32_t *scratch = x_alloc((size_t)width * sizeof *scratch + 1);
    bool *in_set = x_alloc((size_t)width * sizeof *in_set + 1);
    struct token_sparsity *out = x_alloc((size_t)run_n_tokens(r) * sizeof *out + 1);
    size_t count = 0;
    enum st st = ST_OK;
    for (int span = 0; span < run_n_spans(r) && !st && (!span || run_has(r, span, v)); span++) {
        struct tensor x;
        st = progress_tick(p, "sparsity", span, run_n_spans(r))
                 ? run_read(r, span, v, &x, e)
                 : st_fail(e, ST_CANCELLED, "interrupted");
        for (int64_t t = 0; !st && t < run_span(r, span).n; t++) {
            const float *row = x.data + t * width;
            int64_t nonzero = 0;
            for (int64_t i = 0; i < width; i++)
                nonzero += row[i] != 0;
            const int64_t active = energy_count(row, width, SPARSITY_ENERGY, scratch, in_set);
            out[count++] = (struct token_sparsity){ run_span(r, span).first + t,
                                                    (double)nonzero / (double)width,
                                                    (double)active / (double)width };
        }
    }
    free(scratch);
    free(in_set);
    if (st) {
        free(out);
        return st;
    }
    *list = out;
    *n = count;
    return ST_OK;
}
