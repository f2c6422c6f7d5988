/* SPDX-License-Identifier: MIT */
#include "study/floor.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "kernels/statistics.h"

enum { ROWS = 16 /* of logits at a time */ };

/* Run the tokens up to what the output head reads; *x is borrowed from the run. */
static enum st hidden_states(struct run *r, const int32_t *ids, int64_t n, struct progress *p,
                             struct tensor *x, struct err *e)
{
    enum st st = run_input(r, ids, NULL, NULL, n, e);
    if (st)
        return st;
    const struct graph *g = run_graph(r);
    const struct position to = { 0, g->values[g->hidden].node + 1 };
    st = run_forward(r, to, p, NULL, e);
    return st ? st : run_read(r, 0, g->hidden, x, e);
}

/* Add the KL of positions from .. to. */
static enum st add_kl(struct run *exact, struct run *fast, const struct tensor *a,
                      const struct tensor *b, int64_t from, int64_t to, double *sum, struct err *e)
{
    const int64_t vocab = run_graph(exact)->vocab, width = shape_per_token(&a->shape);
    float *logits = NULL;
    enum st st = mem_alloc((void **)&logits, (size_t)(2 * ROWS * vocab) * sizeof *logits,
                           "the logits of two modes", e);
    for (int64_t t = from; !st && t < to; t += ROWS) {
        const int64_t n = to - t < ROWS ? to - t : ROWS;
        st = run_head(exact, a->data + t * width, n, logits, e);
        if (!st)
            st = run_head(fast, b->data + t * width, n, logits + ROWS * vocab, e);
        for (int64_t i = 0; !st && i < n; i++)
            *sum += kl_of_logits(logits + i * vocab, logits + (ROWS + i) * vocab, vocab, -INFINITY);
    }
    mem_free(logits);
    return st;
}

enum st fast_floor_of(const struct model *m, const struct run_options *o, const int32_t *ids,
                      int64_t n, struct progress *p, struct fast_floor *out, struct err *e)
{
    struct run_options options = *o;
    struct tensor a, b;
    double sum = 0;
    n = n < FLOOR_TOKENS ? n : FLOOR_TOKENS;
    if (n < 4)
        return st_fail(e, ST_RANGE, "%d tokens score nothing; at least 4", (int)n);
    options.span = 0;
    options.mode = COMPUTE_EXACT;
    struct run *exact = run_new(m, &options);
    options.mode = COMPUTE_FAST;
    struct run *fast = run_new(m, &options);
    enum st st = hidden_states(exact, ids, n, p, &a, e);
    if (!st)
        st = hidden_states(fast, ids, n, p, &b, e);
    if (!st)
        st = add_kl(exact, fast, &a, &b, n / 2, n - 1, &sum, e);
    run_free(exact);
    run_free(fast);
    if (!st)
        *out = (struct fast_floor){ sum / (double)(n - 1 - n / 2), n - 1 - n / 2 };
    return st;
}
