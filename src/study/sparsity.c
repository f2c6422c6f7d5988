/* SPDX-License-Identifier: MIT */
#include "study/sparsity.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "kernels/statistics.h"
#include "study/points.h"

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

/* What the down projections read, block by block; want[value] is set for each. */
static size_t find_layers(const struct graph *g, struct layer *layers, bool *want, int64_t *most)
{
    size_t n = 0;
    for (int b = 0; b < g->n_blocks; b++) {
        char name[40];
        struct shape s;
        snprintf(name, sizeof name, "blk.%d.ffn_down.in", b);
        const int v = graph_point(g, str_from(name), &s, NULL);
        if (v < 0 || s.rank != 2 || s.d[0].axis != AXIS_TOK)
            continue;
        want[v] = true;
        layers[n++].s = (struct layer_sparsity){
            .value = v, .block = b, .neurons = s.d[1].n, .first = NAN
        };
        *most = s.d[1].n > *most ? s.d[1].n : *most;
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
                     : st_fail(e, ST_UNSUPPORTED, "the model has no dense feed-forward layer");
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
