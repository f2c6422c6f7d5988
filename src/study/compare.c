/* SPDX-License-Identifier: MIT */
#include "study/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/statistics.h"

enum {
    MASSIVE = 20, /* k of outlier(k) */
    NEAR = 40     /* ops between points of a reference, about two blocks */
};

/* Which channels of ref [rows][cols] hold outliers; false: none does. */
static bool massive_channels(const float *ref, int64_t rows, int64_t cols, int64_t apart,
                             bool *massive, int64_t *count)
{
    struct outlier_report report;
    float *absmax = x_alloc((size_t)cols * 2 * sizeof *absmax);
    int32_t *row = x_alloc((size_t)cols * 2 * sizeof *row);
    double *squares = x_alloc((size_t)cols * sizeof *squares);
    struct channel_table t = { absmax, row, row + cols, squares, NULL };
    outliers_of(ref, rows, cols, apart, MASSIVE, &t, absmax + cols, &report);
    *count = 0;
    for (int64_t c = 0; c < cols; c++)
        *count += massive[c] = t.hits[c] > 0;
    free(absmax);
    free(row);
    free(squares);
    return *count > 0;
}

/* The chosen channels of a row, side by side. */
static int64_t gather(const float *x, const bool *massive, bool which, int64_t cols, float *out)
{
    int64_t n = 0;
    for (int64_t c = 0; c < cols; c++)
        if (massive[c] == which)
            out[n++] = x[c];
    return n;
}

/* Where both are the same infinity nothing differs: scores of masked keys. */
static int64_t same_infinities(const float *ref, const float *x, int64_t n)
{
    int64_t same = 0;
    for (int64_t i = 0; i < n; i++)
        same += isinf(ref[i]) && ref[i] == x[i];
    return same;
}

void point_error_of(const struct shape *s, const float *ref, const float *x, int64_t first_token,
                    struct point_error *out)
{
    const int64_t n = shape_count(s);
    const bool tokens = s->rank > 1 && s->d[0].axis == AXIS_TOK && n > 0;
    const int64_t rows = tokens ? s->d[0].n : 1, cols = rows ? n / rows : 0;
    int64_t apart = tokens && rows > 1 && first_token == 0;
    struct pair_error all, one;
    pair_error_of(ref, x, n, &all);
    *out = (struct point_error){ .tokens = rows - apart,
                                 .first = NAN,
                                 .massive_relerr = NAN,
                                 .maxerr = all.maxerr,
                                 .maxerr_at = all.maxerr > 0 ? all.maxerr_at : -1,
                                 .nonfinite = all.nonfinite };
    if (out->nonfinite)
        out->nonfinite -= same_infinities(ref, x, n);
    bool *massive = x_alloc((size_t)(cols + 1) * sizeof *massive);
    float *a = x_alloc((size_t)(2 * cols + 1) * sizeof *a), *b = a + cols;
    double *relerr = x_alloc((size_t)(3 * rows) * sizeof *relerr);
    double *cosine = relerr + rows, *large = cosine + rows;
    memset(massive, 0, (size_t)cols + 1);
    if (tokens)
        massive_channels(ref, rows, cols, apart, massive, &out->massive);
    for (int64_t r = 0; r < rows; r++) {
        const int64_t m = gather(ref + r * cols, massive, false, cols, a);
        gather(x + r * cols, massive, false, cols, b);
        pair_error_of(a, b, m, &one);
        if (apart && r == 0) {
            pair_error_of(ref, x, cols, &one);
            out->first = one.relerr;
            continue;
        }
        relerr[r - apart] = one.relerr;
        cosine[r - apart] = one.cos;
        const int64_t k = gather(ref + r * cols, massive, true, cols, a);
        gather(x + r * cols, massive, true, cols, b);
        pair_error_of(a, b, k, &one);
        large[r - apart] = one.relerr;
    }
    out->relerr = median_f64(relerr, rows - apart);
    out->sqnr = out->relerr > 0 ? -20 * log10(out->relerr) : INFINITY;
    out->cos = median_f64(cosine, rows - apart);
    if (out->massive)
        out->massive_relerr = median_f64(large, rows - apart);
    free(massive);
    free(a);
    free(relerr);
}

enum st compare_point(struct run *r, struct ref_source *ref, int span, int value,
                      struct point_error *out, struct err *e)
{
    struct tensor x, y;
    enum st st = run_read(r, span, value, &x, e);
    if (!st)
        st = source_read(ref, r, span, value, &y, e);
    if (st)
        return st;
    if (!shape_equal(&x.shape, &y.shape))
        return st_fail(e, ST_RANGE, "the shapes of the point differ");
    point_error_of(&x.shape, y.data, x.data, run_span(r, span).first, out);
    return ST_OK;
}

/* What an op is evaluated on: copies, since reading one point takes the place of another, each made
 * once however many ops read it. */
struct inputs {
    struct run *r;
    struct ref_source *ref;
    int span;
    int block; /* none of whose points is taken from ref, -1 = no such block */
    struct pool *pool;
    struct tensor *x; /* [n_values], data NULL: not there yet */
    int ops;          /* that may still be evaluated */
};

static enum st take(struct inputs *in, int value, struct err *e)
{
    struct tensor x;
    void *p;
    enum st st = source_read(in->ref, in->r, in->span, value, &x, e);
    if (st)
        return st;
    const size_t bytes = (size_t)shape_count(&x.shape) * sizeof *x.data;
    if ((st = mem_alloc(&p, bytes, "a point", e)))
        return st;
    memcpy(p, x.data, bytes);
    in->x[value] = (struct tensor){ x.shape, p };
    return ST_OK;
}

static enum st evaluate(struct inputs *in, int value, struct err *e);

/* An input as the reference has it; what it does not have, or a fused kernel hides, is made from
 * its own inputs. */
static enum st need(struct inputs *in, int value, struct err *e)
{
    if (in->x[value].data)
        return ST_OK;
    const struct graph *g = run_graph(in->r);
    if (in->block >= 0 && g->nodes[g->values[value].node].block == in->block)
        return evaluate(in, value, e);
    const bool has = in->ref->run ? !run_skips(in->r, value)
                                  : source_has(in->ref, in->r, in->span, value);
    return has ? take(in, value, e) : evaluate(in, value, e);
}

/* The node of the value, with the weights of r. */
static enum st evaluate(struct inputs *in, int value, struct err *e)
{
    const struct graph *g = run_graph(in->r);
    const struct node *n = &g->nodes[g->values[value].node];
    const struct span s = run_span(in->r, in->span);
    const float *data[NODE_MAX_IN] = { 0 };
    if (!in->ops--)
        return st_fail(e, ST_UNSUPPORTED, "the reference has no point that lies near");
    if (s.first > 0
        && (op_info(n->op)->state != STATE_NONE || n->op == OP_SOFTMAX || n->op == OP_ROPE
            || n->op == OP_POSITION))
        return st_fail(e, ST_UNSUPPORTED, "the op sees tokens of spans before");
    enum st st = ST_OK;
    for (int i = 0; i < n->n_in && !st; i++)
        st = need(in, n->in[i], e);
    for (int i = 0; i < n->n_in && !st; i++)
        data[i] = in->x[n->in[i]].data;
    if (!st)
        st = node_evaluate(run_model(in->r), run_plan(in->r), g->values[value].node, data,
                           run_tokens(in->r) + s.first, s.n, run_mode(in->r), in->pool,
                           &in->x[value], e);
    return st;
}

/* block: see compare_made_here. */
static struct inputs inputs_of(struct run *r, struct ref_source *ref, int span, int block,
                               struct pool *pool)
{
    const struct graph *g = run_graph(r);
    return (struct inputs){ .r = r,
                            .ref = ref,
                            .span = span,
                            .block = block,
                            .pool = pool,
                            .x = x_alloc((size_t)g->n_values * sizeof(struct tensor)),
                            .ops = block < 0 ? NEAR : g->n_nodes };
}

static void inputs_free(struct inputs *in)
{
    for (int v = 0; v < run_graph(in->r)->n_values; v++)
        mem_free(in->x[v].data);
    free(in->x);
}

enum st compare_input(struct run *r, struct ref_source *ref, int span, int value,
                      struct tensor *out, struct err *e)
{
    struct inputs in = inputs_of(r, ref, span, -1, NULL);
    const enum st st = need(&in, value, e);
    if (!st) {
        *out = in.x[value];
        in.x[value].data = NULL;
    }
    inputs_free(&in);
    return st;
}

enum st compare_made_here(struct run *r, struct ref_source *ref, int span, int value, int block,
                          struct pool *pool, struct point_error *out, struct err *e)
{
    struct inputs in = inputs_of(r, ref, span, block, pool);
    struct tensor y;
    enum st st = evaluate(&in, value, e);
    if (!st)
        st = source_read(ref, r, span, value, &y, e);
    if (!st)
        point_error_of(&y.shape, y.data, in.x[value].data, run_span(r, span).first, out);
    inputs_free(&in);
    return st;
}
