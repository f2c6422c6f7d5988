/* SPDX-License-Identifier: MIT */
#include "study/worst.h"

#include <math.h>
#include <string.h>

#include "kernels/logits.h"
#include "kernels/statistics.h"

static const double parted = 0.25;

/* NaN is the worst. */
static bool worse(double a, double b) { return isnan(a) ? !isnan(b) : a > b; }

void worst_collect(void *worst, const struct scored_token *t)
{
    struct worst *w = worst;
    const double kl = t->pair->kl;
    int64_t at = w->n;
    while (at > 0 && worse(kl, w->list[at - 1].kl))
        at--;
    if (at == w->most)
        return;
    w->n += w->n < w->most;
    memmove(&w->list[at + 1], &w->list[at], (size_t)(w->n - 1 - at) * sizeof *w->list);
    struct worst_token *x = &w->list[at];
    *x = (struct worst_token){ .segment = t->segment, .at = t->at, .next = t->next, .kl = kl };
    for (int i = 0; i < 2; i++) {
        const int64_t n = logits_top(t->logits[i], t->vocab, WORST_TOP, x->top[i]);
        for (int64_t k = 0; k < WORST_TOP; k++) {
            x->top[i][k] = k < n ? x->top[i][k] : -1;
            x->prob[i][k] = k < n ? exp((double)t->logits[i][x->top[i][k]] - t->pair->log_sum[i])
                                  : NAN;
        }
        x->prob_next[i] = exp(t->pair->log_prob[i]);
    }
}

static enum st forward(struct run *r, const int32_t *ids, int64_t n, struct progress *p,
                       struct err *e)
{
    const struct graph *g = run_graph(r);
    const struct position to = { 0, g->values[g->hidden].node + 1 };
    enum st st = run_input(r, ids, NULL, NULL, n, e);
    return st ? st : run_forward(r, to, p, NULL, e);
}

enum st worst_parts(const struct evaluation *what, const struct plan *plan,
                    const struct worst_token *t, struct progress *p, int *block, double *last,
                    struct err *e)
{
    struct progress silent = { NULL, p ? p->cancel : NULL, NULL };
    struct run_options o = what->options;
    const struct graph *g = what->model->graph, *gr = what->ref->graph;
    const int32_t *ids = what->set->ids + t->segment * what->set->tokens;
    struct run *ref = run_new(what->ref, &o);
    o.plan = plan;
    struct run *r = run_new(what->model, &o);
    run_set_beside(r, ref);
    enum st st = forward(ref, ids, what->set->tokens, &silent, e);
    if (!st)
        st = forward(r, ids, what->set->tokens, &silent, e);
    *block = -1;
    *last = NAN;
    for (int b = 0; b < g->n_blocks && b < gr->n_blocks && !st; b++) {
        struct tensor x, y;
        struct pair_error d;
        st = run_read(r, 0, g->blocks[b].output, &x, e);
        if (!st)
            st = run_read(ref, 0, gr->blocks[b].output, &y, e);
        const int64_t n = st ? 0 : shape_per_token(&x.shape);
        if (st || n != shape_per_token(&y.shape))
            break;
        pair_error_of(y.data + t->at * n, x.data + t->at * n, n, &d);
        *last = d.relerr;
        if (*block < 0 && !(d.relerr <= parted))
            *block = b;
    }
    run_free(r);
    run_free(ref);
    return st;
}
