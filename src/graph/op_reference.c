/* SPDX-License-Identifier: MIT */
#include "graph/op_reference.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "graph/graph.h"
#include "kernels/codec.h"

static int64_t elements(const struct op_call *c) { return shape_count(&c->out->shape); }
static int64_t width(const struct op_call *c) { return c->out->shape.d[c->out->shape.rank - 1].n; }

/* Weight row r, decoded; the caller frees. */
static float *row_of(const struct matrix *w, int64_t r)
{
    float *row = x_alloc((size_t)w->cols * sizeof *row);
    matrix_row(w, r, row);
    return row;
}

void reference_embed(const struct op_call *c, double *out)
{
    for (int64_t t = 0; t < c->batch->n; t++) {
        float *row = row_of(&c->w[0], c->batch->ids[t]);
        for (int64_t i = 0; i < c->w[0].cols; i++)
            out[t * c->w[0].cols + i] = row[i];
        free(row);
    }
}

static void add_row(const struct op_call *c, int64_t t, int64_t r, double *out)
{
    float *row = row_of(&c->w[0], r);
    for (int64_t i = 0; i < c->w[0].cols; i++)
        out[t * c->w[0].cols + i] = (double)c->in[0]->data[t * c->w[0].cols + i] + row[i];
    free(row);
}

void reference_position(const struct op_call *c, double *out)
{
    for (int64_t t = 0; t < c->batch->n; t++)
        add_row(c, t, c->batch->pos[t] + c->node->p.offset, out);
}

void reference_type(const struct op_call *c, double *out)
{
    for (int64_t t = 0; t < c->batch->n; t++)
        add_row(c, t, 0, out);
}

void reference_rms_norm(const struct op_call *c, double *out)
{
    const int64_t n = width(c);
    for (int64_t first = 0; first < elements(c); first += n) {
        const float *x = c->in[0]->data + first;
        double square = 0;
        for (int64_t i = 0; i < n; i++)
            square += (double)x[i] * x[i];
        for (int64_t i = 0; i < n; i++)
            out[first + i] = x[i] / sqrt(square / (double)n + c->node->p.eps)
                             * (c->v[0] ? c->v[0][i] : 1);
    }
}

void reference_layer_norm(const struct op_call *c, double *out)
{
    const int64_t n = width(c);
    for (int64_t first = 0; first < elements(c); first += n) {
        const float *x = c->in[0]->data + first;
        double mean = 0, var = 0;
        for (int64_t i = 0; i < n; i++)
            mean += x[i] / (double)n;
        for (int64_t i = 0; i < n; i++)
            var += (x[i] - mean) * (x[i] - mean) / (double)n;
        for (int64_t i = 0; i < n; i++)
            out[first + i] = (x[i] - mean) / sqrt(var + c->node->p.eps) * (c->v[0] ? c->v[0][i] : 1)
                             + (c->v[1] ? c->v[1][i] : 0);
    }
}

void reference_linear(const struct op_call *c, double *out)
{
    struct matrix stored = c->w[0];
    stored.scale = NULL;
    for (int64_t r = 0; r < c->w[0].rows; r++) {
        float *row = row_of(&stored, r);
        for (int64_t t = 0; t < c->batch->n; t++) {
            const float *x = c->in[0]->data + t * c->w[0].cols;
            double sum = 0;
            for (int64_t i = 0; i < c->w[0].cols; i++)
                sum += (double)row[i] * x[i];
            out[t * c->w[0].rows + r] = matrix_scale(&c->w[0]) * sum + (c->v[1] ? c->v[1][r] : 0);
        }
        free(row);
    }
}

void reference_slice(const struct op_call *c, double *out)
{
    const int64_t from = shape_per_token(&c->in[0]->shape), n = c->node->p.n;
    for (int64_t t = 0; t < c->batch->n; t++)
        for (int64_t i = 0; i < n; i++)
            out[t * n + i] = c->in[0]->data[t * from + c->node->p.offset + i];
}

void reference_rope(const struct op_call *c, double *out)
{
    const struct rope *r = c->rope;
    const int64_t n = width(c), heads = c->out->shape.d[1].n, half = r->n_rot / 2;
    float *cosine = x_alloc((size_t)r->n_rot * sizeof *cosine), *sine = cosine + half;
    for (int64_t i = 0; i < elements(c); i++)
        out[i] = c->in[0]->data[i];
    for (int64_t t = 0; t < c->batch->n; t++) {
        rope_angles(r, c->batch->pos[t], cosine, sine);
        for (int64_t h = 0; h < heads; h++)
            for (int64_t i = 0; i < half; i++) {
                double *y = out + (t * heads + h) * n;
                int64_t a = r->half_split ? i : 2 * i, b = r->half_split ? i + half : 2 * i + 1;
                double x0 = y[a], x1 = y[b];
                y[a] = x0 * cosine[i] - x1 * sine[i];
                y[b] = x0 * sine[i] + x1 * cosine[i];
            }
    }
    free(cosine);
}

/* Element i of the state as forward leaves it, of row `key` and the head that head h meets. */
static double state_at(const struct op_call *c, int32_t key, int64_t h, int64_t i)
{
    const int64_t heads = c->node->p.heads, kv = c->in[1]->shape.d[1].n, n = c->in[1]->shape.d[2].n;
    const int64_t at = (key * kv + h / (heads / kv)) * n + i;
    return op_state_element(c->mode) == 4 ? (double)((const float *)c->state)[at]
                                          : (double)load_f16((const uint16_t *)c->state + at);
}

void reference_score(const struct op_call *c, double *out)
{
    const int64_t heads = c->out->shape.d[0].n, tokens = c->batch->n, keys = c->batch->max_keys;
    const int64_t n = c->in[0]->shape.d[2].n;
    for (int64_t h = 0; h < heads; h++)
        for (int64_t t = 0; t < tokens; t++)
            for (int64_t j = 0; j < keys; j++) {
                double sum = -INFINITY;
                if (j < c->batch->visible[t]) {
                    sum = 0;
                    for (int64_t i = 0; i < n; i++)
                        sum += c->in[0]->data[(t * heads + h) * n + i]
                               * state_at(c, c->batch->keys[t][j], h, i);
                    sum *= c->node->p.scale;
                }
                out[(h * tokens + t) * keys + j] = sum;
            }
}

void reference_softmax(const struct op_call *c, double *out)
{
    const int64_t tokens = c->batch->n, keys = c->batch->max_keys;
    for (int64_t i = 0; i < elements(c) / keys; i++) {
        const float *x = c->in[0]->data + i * keys;
        double max = -INFINITY, sum = 0;
        for (int64_t j = 0; j < c->batch->visible[i % tokens]; j++)
            max = fmax(max, x[j]);
        for (int64_t j = 0; j < c->batch->visible[i % tokens]; j++)
            sum += exp(x[j] - max);
        for (int64_t j = 0; j < keys; j++)
            out[i * keys + j] = j < c->batch->visible[i % tokens] ? exp(x[j] - max) / sum : 0;
    }
}

void reference_mix(const struct op_call *c, double *out)
{
    const int64_t heads = c->out->shape.d[1].n, n = c->out->shape.d[2].n;
    const int64_t tokens = c->batch->n, keys = c->batch->max_keys;
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t i = 0; i < n; i++) {
                double sum = 0;
                for (int64_t j = 0; j < c->batch->visible[t]; j++)
                    sum += c->in[0]->data[(h * tokens + t) * keys + j]
                           * state_at(c, c->batch->keys[t][j], h, i);
                out[(t * heads + h) * n + i] = sum;
            }
}

void reference_act(const struct op_call *c, double *out)
{
    for (int64_t i = 0; i < elements(c); i++) {
        double x = c->in[0]->data[i];
        switch (c->node->p.act) {
        case ACT_SILU: out[i] = x / (1 + exp(-x)); break;
        case ACT_GELU_TANH:
            out[i] = 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
            break;
        case ACT_GELU_ERF: out[i] = 0.5 * x * (1 + erf(x / sqrt(2))); break;
        case ACT_GELU_QUICK: out[i] = x / (1 + exp(-1.702 * x)); break;
        case ACT_SOFTPLUS: out[i] = fmax(x, 0) + log1p(exp(-fabs(x))); break;
        case ACT_RELU: out[i] = x > 0 ? x : 0; break;
        case ACT__COUNT: break;
        }
    }
}

void reference_mul(const struct op_call *c, double *out)
{
    for (int64_t i = 0; i < elements(c); i++)
        out[i] = (double)c->in[0]->data[i] * c->in[1]->data[i];
}

void reference_add(const struct op_call *c, double *out)
{
    for (int64_t i = 0; i < elements(c); i++)
        out[i] = (double)c->in[0]->data[i] + c->in[1]->data[i];
}

void reference_scale(const struct op_call *c, double *out)
{
    for (int64_t i = 0; i < elements(c); i++)
        out[i] = (double)c->in[0]->data[i] * c->node->p.scale;
}
