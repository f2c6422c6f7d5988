/* SPDX-License-Identifier: MIT */
#include "graph/op.h"

#include <inttypes.h>

#include "graph/graph.h"
#include "graph/op_forward.h"
#include "graph/op_reference.h"

/* Rows of a weight are its outputs: [rows][cols]. */
static int64_t rows_of(const struct node *n) { return n->w[0] ? (int64_t)n->w[0]->rows : 0; }
static int64_t cols_of(const struct node *n) { return n->w[0] ? (int64_t)n->w[0]->cols : 0; }

static enum st mismatch(const struct node *n, int64_t have, const char *what, int64_t want,
                        struct err *e)
{
    return st_fail(e, ST_FORMAT, "%s: %s is %" PRId64 ", expected %" PRId64, n->name, what, have,
                   want);
}

static enum st shape_embed(const struct node *n, const struct shape *in, struct shape *out,
                           struct err *e)
{
    (void)in, (void)e;
    *out = shape2(dim(AXIS_TOK, DIM_TOKENS), dim(AXIS_CHAN, cols_of(n)));
    return ST_OK;
}

static enum st shape_same(const struct node *n, const struct shape *in, struct shape *out,
                          struct err *e)
{
    (void)n, (void)e;
    *out = in[0];
    return ST_OK;
}

/* Rows are added to the input: widths must agree. */
static enum st shape_row_table(const struct node *n, const struct shape *in, struct shape *out,
                               struct err *e)
{
    if (cols_of(n) != shape_per_token(&in[0]))
        return mismatch(n, cols_of(n), "row length", shape_per_token(&in[0]), e);
    if (in[0].d[0].axis == AXIS_PATCH && rows_of(n) < in[0].d[0].n)
        return mismatch(n, rows_of(n), "rows of the table", in[0].d[0].n, e);
    *out = in[0];
    return ST_OK;
}

static enum st shape_norm(const struct node *n, const struct shape *in, struct shape *out,
                          struct err *e)
{
    *out = in[0];
    int64_t width = in[0].d[in[0].rank - 1].n;
    for (int i = 0; i < 2; i++)
        if (n->w[i] && (int64_t)(n->w[i]->rows * n->w[i]->cols) != width)
            return mismatch(n, (int64_t)(n->w[i]->rows * n->w[i]->cols),
                            "length of the gain or bias", width, e);
    return ST_OK;
}

static struct shape per_token(struct dim first, const struct op_params *p, int64_t n,
                              enum axis axis)
{
    return p->heads ? shape3(first, dim(AXIS_HEAD, p->heads), dim(AXIS_CHAN, p->head_size))
                    : shape2(first, dim(axis, n));
}

static enum st shape_linear(const struct node *n, const struct shape *in, struct shape *out,
                            struct err *e)
{
    if (cols_of(n) != shape_per_token(&in[0]))
        return mismatch(n, cols_of(n), "row length of the weight", shape_per_token(&in[0]), e);
    if (n->p.heads && n->p.heads * n->p.head_size != rows_of(n))
        return mismatch(n, rows_of(n), "rows of the weight", n->p.heads * n->p.head_size, e);
    if (n->w[1] && (int64_t)(n->w[1]->rows * n->w[1]->cols) != rows_of(n))
        return mismatch(n, (int64_t)(n->w[1]->rows * n->w[1]->cols), "length of the bias",
                        rows_of(n), e);
    *out = per_token(in[0].d[0], &n->p, rows_of(n), n->p.axis);
    return ST_OK;
}

static enum st shape_slice(const struct node *n, const struct shape *in, struct shape *out,
                           struct err *e)
{
    if (n->p.offset < 0 || n->p.n < 1 || n->p.offset + n->p.n > shape_per_token(&in[0]))
        return mismatch(n, shape_per_token(&in[0]), "channels to slice from", n->p.offset + n->p.n,
                        e);
    if (n->p.heads && n->p.heads * n->p.head_size != n->p.n)
        return mismatch(n, n->p.n, "channels of the slice", n->p.heads * n->p.head_size, e);
    *out = per_token(in[0].d[0], &n->p, n->p.n, n->p.axis);
    return ST_OK;
}

static enum st shape_rope(const struct node *n, const struct shape *in, struct shape *out,
                          struct err *e)
{
    if (in[0].rank != 3 || n->p.n > in[0].d[2].n || n->p.n < 2 || n->p.n % 2)
        return mismatch(n, n->p.n, "channels turned (even, at most a head)",
                        in[0].d[in[0].rank - 1].n, e);
    *out = in[0];
    return ST_OK;
}

static enum st shape_score(const struct node *n, const struct shape *in, struct shape *out,
                           struct err *e)
{
    if (in[0].rank != 3 || in[1].rank != 3 || in[0].d[2].n != in[1].d[2].n)
        return st_fail(e, ST_FORMAT, "%s: queries and keys are not heads of one size", n->name);
    if (in[1].d[1].n <= 0 || in[0].d[1].n % in[1].d[1].n)
        return mismatch(n, in[0].d[1].n, "query heads (to be a multiple of the key heads)",
                        in[1].d[1].n, e);
    *out = shape3(in[0].d[1], in[0].d[0], dim(AXIS_KEY, DIM_KEYS));
    return ST_OK;
}

static enum st shape_mix(const struct node *n, const struct shape *in, struct shape *out,
                         struct err *e)
{
    if (in[1].rank != 3 || in[0].d[0].n % in[1].d[1].n)
        return st_fail(e, ST_FORMAT, "%s: values are not heads", n->name);
    *out = shape3(in[0].d[1], in[0].d[0], in[1].d[2]);
    return ST_OK;
}

static enum st shape_both(const struct node *n, const struct shape *in, struct shape *out,
                          struct err *e)
{
    if (shape_per_token(&in[0]) != shape_per_token(&in[1]))
        return mismatch(n, shape_per_token(&in[1]), "width of the second input",
                        shape_per_token(&in[0]), e);
    *out = in[0];
    return ST_OK;
}

static enum st shape_route(const struct node *n, const struct shape *in, struct shape *out,
                           struct err *e)
{
    if (cols_of(n) != shape_per_token(&in[0]))
        return mismatch(n, cols_of(n), "row length of the router", shape_per_token(&in[0]), e);
    if (rows_of(n) != n->p.n_experts)
        return mismatch(n, rows_of(n), "experts of the router", n->p.n_experts, e);
    *out = shape2(in[0].d[0], dim(AXIS_EXP, n->p.n_experts));
    return ST_OK;
}

/* One slot for each expert that a token uses. */
static enum st shape_expert_linear(const struct node *n, const struct shape *in, struct shape *out,
                                   struct err *e)
{
    const struct weight *w = n->w[0];
    const int64_t width = in[0].d[in[0].rank - 1].n,
                  slots = in[0].rank == 3 ? in[0].d[1].n : n->p.used_experts;
    if (!w || w->rank != 3 || (int64_t)w->ne[2] != n->p.n_experts)
        return mismatch(n, w && w->rank == 3 ? (int64_t)w->ne[2] : 1,
                        "matrices of the weight, one per expert,", n->p.n_experts, e);
    if (cols_of(n) != width)
        return mismatch(n, cols_of(n), "row length of the experts", width, e);
    if (slots != n->p.used_experts || in[1].d[in[1].rank - 1].n != n->p.n_experts)
        return mismatch(n, slots, "experts per token", n->p.used_experts, e);
    *out = shape3(in[0].d[0], dim(AXIS_EXP, slots), dim(AXIS_CHAN, (int64_t)w->ne[1]));
    return ST_OK;
}

static enum st shape_combine(const struct node *n, const struct shape *in, struct shape *out,
                             struct err *e)
{
    if (in[0].rank != 3 || in[0].d[1].n != n->p.used_experts)
        return mismatch(n, in[0].rank == 3 ? in[0].d[1].n : 1, "experts per token",
                        n->p.used_experts, e);
    *out = shape2(in[0].d[0], in[0].d[2]);
    return ST_OK;
}

static enum st shape_conv1d(const struct node *n, const struct shape *in, struct shape *out,
                            struct err *e)
{
    if (rows_of(n) != shape_per_token(&in[0]))
        return mismatch(n, rows_of(n), "channels of the convolution", shape_per_token(&in[0]), e);
    if (n->w[1] && (int64_t)(n->w[1]->rows * n->w[1]->cols) != rows_of(n))
        return mismatch(n, (int64_t)(n->w[1]->rows * n->w[1]->cols), "length of the bias",
                        rows_of(n), e);
    *out = in[0];
    return ST_OK;
}

/* x and dt [tok][chan], B and C [tok][state]; A [chan][state], D [chan]. */
static enum st shape_scan(const struct node *n, const struct shape *in, struct shape *out,
                          struct err *e)
{
    const int64_t width = shape_per_token(&in[0]);
    if (shape_per_token(&in[1]) != width)
        return mismatch(n, shape_per_token(&in[1]), "width of the steps", width, e);
    if (rows_of(n) != width)
        return mismatch(n, rows_of(n), "channels of the decay", width, e);
    for (int i = 2; i < 4; i++)
        if (shape_per_token(&in[i]) != cols_of(n))
            return mismatch(n, shape_per_token(&in[i]), "elements of the state", cols_of(n), e);
    if (n->w[1] && (int64_t)(n->w[1]->rows * n->w[1]->cols) != width)
        return mismatch(n, (int64_t)(n->w[1]->rows * n->w[1]->cols), "length of the skip", width,
                        e);
    *out = in[0];
    return ST_OK;
}

static enum st shape_patches(const struct node *n, const struct shape *in, struct shape *out,
                             struct err *e)
{
    (void)in;
    const struct weight *w = n->w[0];
    if (!w || w->rank != 4 || w->ne[2] != 3)
        return mismatch(n, w ? (int64_t)w->ne[2] : 0, "colours of the patch projection", 3, e);
    if ((int64_t)w->ne[0] != n->p.patch_size || w->ne[0] != w->ne[1])
        return mismatch(n, (int64_t)w->ne[0], "side of the patches", n->p.patch_size, e);
    for (int i = 1; i < 3; i++)
        if (n->w[i] && n->w[i]->rows * n->w[i]->cols != w->ne[3])
            return mismatch(n, (int64_t)(n->w[i]->rows * n->w[i]->cols),
                            i == 1 ? "length of the bias" : "length of the row in front",
                            (int64_t)w->ne[3], e);
    *out = shape2(dim(AXIS_PATCH, n->p.n), dim(AXIS_CHAN, (int64_t)w->ne[3]));
    return ST_OK;
}

static enum st shape_pool(const struct node *n, const struct shape *in, struct shape *out,
                          struct err *e)
{
    (void)n, (void)e;
    *out = shape1(in[0].d[in[0].rank - 1]);
    return ST_OK;
}

static double flops_elements(const struct op_call *c)
{
    return (double)shape_count(&c->out->shape);
}

static double flops_linear(const struct op_call *c)
{
    return 2.0 * (double)c->batch->n * (double)c->w[0].rows * (double)c->w[0].cols;
}

/* Scores and mixing: two operations per head, visible key and channel. */
static double flops_attention(const struct op_call *c)
{
    double keys = 0;
    for (int64_t t = 0; t < c->batch->n; t++)
        keys += c->batch->visible[t];
    return 2.0 * keys * (double)c->node->p.heads * (double)c->node->p.head_size;
}

/* name, brief, inputs, weights, w0 is a matrix, state, shape, forward,
 * reference, backward, flops */
static const struct op_info ops[OP__COUNT] = {
    [OP_EMBED] = { "embed", "the row of each token", 0, 1, true, STATE_NONE, shape_embed,
                   forward_embed, reference_embed, NULL, flops_elements },
    [OP_POSITION] = { "position", "add the row of each position", 1, 1, true, STATE_NONE,
                      shape_row_table, forward_position, reference_position, NULL, flops_elements },
    [OP_TYPE] = { "type", "add the row of token type 0", 1, 1, true, STATE_NONE, shape_row_table,
                  forward_type, reference_type, NULL, flops_elements },
    [OP_RMS_NORM] = { "rms_norm", "divide by the root mean square, times a gain", 1, 1, false,
                      STATE_NONE, shape_norm, forward_rms_norm, reference_rms_norm, NULL,
                      flops_elements },
    [OP_LAYER_NORM] = { "layer_norm", "subtract the mean, divide by the deviation, gain and bias",
                        1, 2, false, STATE_NONE, shape_norm, forward_layer_norm,
                        reference_layer_norm, NULL, flops_elements },
    [OP_LINEAR] = { "linear", "matrix product, plus a bias if there is one", 1, 2, true, STATE_NONE,
                    shape_linear, forward_linear, reference_linear, NULL, flops_linear },
    [OP_SLICE] = { "slice", "some of the channels", 1, 0, false, STATE_NONE, shape_slice,
                   forward_slice, reference_slice, NULL, flops_elements },
    [OP_ROPE] = { "rope", "turn pairs of channels by an angle that grows with the position", 1, 0,
                  false, STATE_NONE, shape_rope, forward_rope, reference_rope, NULL,
                  flops_elements },
    [OP_SCORE] = { "score", "scaled products of queries with the keys of visible tokens", 2, 0,
                   false, STATE_KEYS, shape_score, forward_score, reference_score, NULL,
                   flops_attention },
    [OP_SOFTMAX] = { "softmax", "scores to probabilities that sum to 1 over the keys", 1, 0, false,
                     STATE_NONE, shape_same, forward_softmax, reference_softmax, NULL,
                     flops_elements },
    [OP_MIX] = { "mix", "values of the visible tokens, weighted by the probabilities", 2, 0, false,
                 STATE_VALUES, shape_mix, forward_mix, reference_mix, NULL, flops_attention },
    [OP_ACT] = { "act", "element-wise non-linearity", 1, 0, false, STATE_NONE, shape_same,
                 forward_act, reference_act, NULL, flops_elements },
    [OP_MUL] = { "mul", "element-wise product", 2, 0, false, STATE_NONE, shape_both, forward_mul,
                 reference_mul, NULL, flops_elements },
    [OP_ADD] = { "add", "element-wise sum", 2, 0, false, STATE_NONE, shape_both, forward_add,
                 reference_add, NULL, flops_elements },
    [OP_SCALE] = { "scale", "times a constant", 1, 0, false, STATE_NONE, shape_same, forward_scale,
                   reference_scale, NULL, flops_elements },
    [OP_ROUTE] = { "route", "which experts a token uses, and how much of each", 1, 1, true,
                   STATE_NONE, shape_route, NULL, NULL, NULL, NULL },
    [OP_EXPERT_LINEAR] = { "expert_linear", "matrix products with the used experts of each token",
                           2, 1, true, STATE_NONE, shape_expert_linear, NULL, NULL, NULL, NULL },
    [OP_COMBINE] = { "combine", "outputs of the used experts, weighted by the router and summed", 2,
                     0, false, STATE_NONE, shape_combine, NULL, NULL, NULL, NULL },
    [OP_CONV1D] = { "conv1d", "causal convolution over the last tokens, per channel", 1, 2, false,
                    STATE_CONV, shape_conv1d, NULL, NULL, NULL, NULL },
    [OP_SCAN] = { "scan", "selective state-space recurrence over the tokens", 4, 2, false,
                  STATE_SSM, shape_scan, NULL, NULL, NULL, NULL },
    [OP_PATCHES] = { "patches", "an image cut into patches, each projected", 0, 3, true, STATE_NONE,
                     shape_patches, NULL, NULL, NULL, NULL },
    [OP_POOL] = { "pool", "one row out of all tokens", 1, 0, false, STATE_NONE, shape_pool, NULL,
                  NULL, NULL, NULL },
};

const struct op_info *op_info(enum op op) { return (unsigned)op < OP__COUNT ? &ops[op] : NULL; }

int64_t op_state_row(const struct node *n, const struct shape *in)
{
    enum op_state s = ops[n->op].state;
    return s == STATE_KEYS || s == STATE_VALUES ? shape_per_token(&in[1]) : 0;
}

int64_t op_state_element(enum compute mode) { return mode == COMPUTE_EXACT ? 4 : 2; }
