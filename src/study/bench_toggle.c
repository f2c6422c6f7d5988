/* SPDX-License-Identifier: MIT */
/* How long it takes to know what a change costs: an encoding, and the evaluation of what it
 * touches. */
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "quant/provider.h"
#include "study/bench.h"
#include "study/evaluator.h"
#include "study/sample.h"

struct toggling {
    const struct model *m;
    struct evaluation what;
    struct evaluation_set set;
    struct evaluator *ev;
    struct progress *front;
    struct progress quiet;
};

static const struct evaluation_part all = { .from = 0, .step = 1 };

static enum st random_text(struct toggling *t, uint64_t seed, struct err *e)
{
    const int64_t n = EVALUATION_SEGMENTS / 2 * EVALUATION_TOKENS;
    int32_t *ids = x_alloc((size_t)n * sizeof *ids);
    for (int64_t i = 0; i < n; i++)
        ids[i] = (int32_t)(sample_uniform(&seed) * (double)t->m->graph->vocab);
    enum st st = evaluation_cut(ids, n, EVALUATION_SEGMENTS / 2, EVALUATION_TOKENS,
                                EVALUATION_FIRST, -1, &t->set, e);
    free(ids);
    return st;
}

/* The first matrix that the block multiplies with. */
static const struct weight *first_matrix(const struct graph *g, int block)
{
    for (int i = g->blocks[block].first; i < g->blocks[block].end; i++)
        if (g->nodes[i].op == OP_LINEAR && g->nodes[i].w[0] && g->nodes[i].w[0]->rank == 2)
            return g->nodes[i].w[0];
    return NULL;
}

/* Operations of the matrices from a node on, to what the head reads, and of the head. */
static double ops_from(const struct toggling *t, int node)
{
    const struct graph *g = t->m->graph;
    const int head = g->values[g->logits].node;
    double n = 0;
    for (int i = node; i < g->n_nodes; i++) {
        const struct weight *w = op_info(g->nodes[i].op)->matrix ? g->nodes[i].w[0] : NULL;
        const int64_t tokens = i == head ? evaluation_scored(&t->set) : t->set.tokens;
        if (w)
            n += w->rank > 2 ? (double)NAN
                             : 2.0 * (double)(t->set.segments * tokens)
                                   * (double)(w->rows * w->cols);
    }
    return n;
}

static enum st measure(struct toggling *t, struct evaluator *ev, const struct plan *plan,
                       struct err *e)
{
    struct measurement m;
    measurement_begin(ev, all, 0, &m);
    enum st st = evaluator_measure(ev, plan, &m, &t->quiet, e);
    measurement_free(&m);
    return st;
}

static enum st whole(struct toggling *t, struct err *e)
{
    struct evaluation what = t->what;
    struct evaluator *ev;
    what.memory = 0;
    what.once = true;
    enum st st = evaluator_new(&what, &ev, e);
    if (st)
        return st;
    st = measure(t, ev, NULL, e);
    evaluator_free(ev);
    return st;
}

static enum st toggle(struct toggling *t, const struct weight *w, int round, struct err *e)
{
    struct quant_request q = { .model = t->m, .of = w, .from = w,
                               .method = quant_method_at(0), .pool = t->what.options.pool,
                               .progress = &t->quiet };
    struct quant_note note;
    struct form *f;
    struct plan plan = { 0 };
    q.format = numeric_storage(format_by_name(round % 2 ? "q5_0" : "q4_0"));
    enum st st = quant_make(NULL, &q, &f, &note, e);
    if (st)
        return st;
    plan_set(&plan, t->m, w, f);
    form_drop(f);
    st = measure(t, t->ev, &plan, e);
    plan_free(&plan);
    return st;
}

static enum st one_round(struct toggling *t, int round, int rounds, struct bench_toggles *r,
                         struct err *e)
{
    for (int k = 0; k < TOGGLE__COUNT; k++) {
        if (!progress_tick(t->front, "bench", (round + 1) * TOGGLE__COUNT + k,
                           (rounds + 1) * TOGGLE__COUNT))
            return st_fail(e, ST_CANCELLED, "interrupted");
        const double start = bench_now();
        enum st st = k == TOGGLE_WHOLE ? whole(t, e) : toggle(t, r->w[k], round + 1, e);
        if (st)
            return st;
        if (round >= 0)
            r->seconds[k][round] = bench_now() - start;
        /* What came before is not part of it: back to the model as it is. */
        if (k != TOGGLE_WHOLE && (st = measure(t, t->ev, NULL, e)))
            return st;
    }
    return ST_OK;
}

static enum st subjects(struct toggling *t, struct bench_toggles *r, struct err *e)
{
    const struct graph *g = t->m->graph;
    const int block[] = { -1, g->n_blocks - (g->n_blocks + 9) / 10, 0 };
    for (int k = 0; k < TOGGLE__COUNT; k++) {
        r->block[k] = block[k];
        r->w[k] = k == TOGGLE_WHOLE || !g->n_blocks ? NULL : first_matrix(g, block[k]);
        if (k != TOGGLE_WHOLE && !r->w[k])
            return st_fail(e, ST_UNSUPPORTED, "the model has no block with a matrix to change");
        r->ops[k] = k == TOGGLE_WHOLE ? ops_from(t, 0) : ops_from(t, g->blocks[block[k]].first);
    }
    r->segments = t->set.segments;
    r->tokens = t->set.tokens;
    r->scored = evaluation_scored(&t->set);
    return ST_OK;
}

enum st bench_toggle_of(const struct model *m, const struct run_options *o, size_t memory,
                        int rounds, uint64_t seed, struct progress *p, struct bench_toggles *out,
                        struct err *e)
{
    struct toggling t = { .m = m, .front = p, .quiet = { .cancel = p ? p->cancel : NULL } };
    *out = (struct bench_toggles){ .rounds = 0 };
    if (m->graph->logits < 0)
        return st_fail(e, ST_UNSUPPORTED, "the model has no output head");
    enum st st = random_text(&t, seed, e);
    t.what = (struct evaluation){ .ref = m, .model = m, .options = *o, .set = &t.set,
                                  .memory = memory };
    if (!st)
        st = subjects(&t, out, e);
    if (!st)
        st = evaluator_new(&t.what, &t.ev, e);
    for (int round = -1; round < rounds && !st; round++) {
        st = one_round(&t, round, rounds, out, e);
        out->rounds = st ? out->rounds : round + 1;
    }
    evaluator_free(t.ev);
    evaluation_free(&t.set);
    return st;
}
