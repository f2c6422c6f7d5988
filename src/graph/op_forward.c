/* SPDX-License-Identifier: MIT */
#include "graph/op_forward.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "graph/graph.h"
#include "kernels/attention.h"
#include "kernels/level.h"

enum { CHUNK_ROWS = 8, CHUNK_ELEMENTS = 16384 };

/* Call fn(c, row) for every row of [0, rows), a few rows per task of the pool. */
struct each {
    const struct op_call *c;
    void (*fn)(const struct op_call *c, int64_t row);
    int64_t rows;
};

static void chunk_of_rows(void *data, int64_t chunk, int worker)
{
    (void)worker;
    const struct each *j = data;
    int64_t end = (chunk + 1) * CHUNK_ROWS < j->rows ? (chunk + 1) * CHUNK_ROWS : j->rows;
    for (int64_t r = chunk * CHUNK_ROWS; r < end; r++)
        j->fn(j->c, r);
}

static void each_row(const struct op_call *c, int64_t rows,
                     void (*fn)(const struct op_call *c, int64_t row))
{
    struct each j = { c, fn, rows };
    pool_for(c->pool, pool_chunks(rows, CHUNK_ROWS), chunk_of_rows, &j, c->cancel);
}

static void embed_row(const struct op_call *c, int64_t t)
{
    matrix_row(&c->w[0], c->batch->ids[t], c->out->data + t * c->w[0].cols);
}

void forward_embed(const struct op_call *c) { each_row(c, c->batch->n, embed_row); }

static void add_table_row(const struct op_call *c, int64_t t, int64_t row)
{
    const int64_t n = c->w[0].cols;
    const float *x = c->in[0]->data + t * n;
    float *y = c->out->data + t * n;
    matrix_row(&c->w[0], row, y);
    for (int64_t i = 0; i < n; i++)
        y[i] += x[i];
}

static void position_row(const struct op_call *c, int64_t t)
{
    add_table_row(c, t, c->batch->pos[t] + c->node->p.offset);
}

void forward_position(const struct op_call *c) { each_row(c, c->batch->n, position_row); }

static void type_row(const struct op_call *c, int64_t t) { add_table_row(c, t, 0); }

void forward_type(const struct op_call *c) { each_row(c, c->batch->n, type_row); }

/* Norms work on the last axis; a tensor of heads has several rows per token. */
static int64_t width(const struct op_call *c) { return c->out->shape.d[c->out->shape.rank - 1].n; }
static int64_t rows(const struct op_call *c) { return shape_count(&c->out->shape) / width(c); }

static void rms_norm_row(const struct op_call *c, int64_t r)
{
    const int64_t n = width(c);
    row_rms_norm(c->in[0]->data + r * n, c->v[0], n, c->node->p.eps, c->out->data + r * n);
}

void forward_rms_norm(const struct op_call *c) { each_row(c, rows(c), rms_norm_row); }

static void layer_norm_row(const struct op_call *c, int64_t r)
{
    const int64_t n = width(c);
    row_layer_norm(c->in[0]->data + r * n, c->v[0], c->v[1], n, c->node->p.eps,
                   c->out->data + r * n);
}

void forward_layer_norm(const struct op_call *c) { each_row(c, rows(c), layer_norm_row); }

void op_linear(const struct op_call *c, int n)
{
    struct matrix_product p[PRODUCTS_MOST];
    for (int i = 0; i < n; i++)
        p[i] = (struct matrix_product){ &c[i].w[0], c[i].v[1], c[i].out->data };
    matrix_mul_all(p, n, c->in[0]->data, c->batch->n, c->mode, c->pool, c->cancel);
}

void forward_linear(const struct op_call *c) { op_linear(c, 1); }

void forward_slice(const struct op_call *c)
{
    const int64_t from = shape_per_token(&c->in[0]->shape), n = c->node->p.n;
    for (int64_t t = 0; t < c->batch->n; t++)
        memcpy(c->out->data + t * n, c->in[0]->data + t * from + c->node->p.offset,
               (size_t)n * sizeof(float));
}

static void rope_token(const struct op_call *c, int64_t t)
{
    const int64_t heads = c->out->shape.d[1].n, n = c->out->shape.d[2].n;
    const float *angles = c->angles + t * c->rope->n_rot;
    for (int64_t h = 0; h < heads; h++)
        row_rope(c->rope, angles, angles + c->rope->n_rot / 2, c->in[0]->data + (t * heads + h) * n,
                 n, c->out->data + (t * heads + h) * n);
}

void forward_rope(const struct op_call *c) { each_row(c, c->batch->n, rope_token); }

/* A piece of the new rows of a cache. */
enum { CACHED = 4096 };
struct cached {
    const float *x;
    void *to;
    int64_t n;
    bool half;
};

static void cache_piece(void *data, int64_t i, int worker)
{
    (void)worker;
    const struct cached *c = data;
    const int64_t first = i * CACHED, n = c->n - first < CACHED ? c->n - first : CACHED;
    if (c->half)
        level_now()->to_halves(c->x + first, n, (uint16_t *)c->to + first);
    else
        memcpy((float *)c->to + first, c->x + first, (size_t)n * sizeof(float));
}

/* New rows of a cache: x [tok][head][chan] goes to the rows up to past + n. There are more of them
 * than queries where these are of the last tokens alone. */
static void remember(const struct op_call *c, const struct tensor *x)
{
    const int64_t row = shape_per_token(&x->shape), size = op_state_element(c->mode);
    const int64_t n = x->shape.d[0].n, first = c->batch->past + c->batch->n - n;
    struct cached new = { x->data, (char *)c->state + first * row * size, n * row, size == 2 };
    pool_for(c->batch->n == 1 ? NULL : c->pool, pool_chunks(new.n, CACHED), cache_piece, &new,
             c->cancel);
}

/* What the kernels want to know of a call of score or mix; heads are those of `x`. */
static struct attention attention_of(const struct op_call *c, const struct shape *x)
{
    const struct batch *b = c->batch;
    return (struct attention){ .tokens = b->n,
                               .heads = x->d[1].n,
                               .kv = c->in[1]->shape.d[1].n,
                               .n = x->d[2].n,
                               .scale = c->node->p.scale,
                               .half = op_state_element(c->mode) == 2,
                               .keys = b->keys,
                               .visible = b->visible,
                               .max_keys = b->max_keys };
}

void forward_score(const struct op_call *c)
{
    remember(c, c->in[1]);
    struct attention a = attention_of(c, &c->in[0]->shape);
    a.q = c->in[0]->data;
    a.k = c->state;
    attention_scores(&a, c->out->data, c->pool, c->cancel);
}

void op_score_rows(const struct op_call *c, int64_t first, int64_t n, float *out)
{
    remember(c, c->in[1]);
    struct attention a = attention_of(c, &c->in[0]->shape);
    a.q = c->in[0]->data + first * shape_per_token(&c->in[0]->shape);
    a.k = c->state;
    a.keys += first;
    a.visible += first;
    a.tokens = n;
    attention_scores(&a, out, c->pool, c->cancel);
}

static void softmax_item(const struct op_call *c, int64_t item)
{
    const int64_t max = c->batch->max_keys;
    row_softmax(c->in[0]->data + item * max, c->batch->visible[item % c->batch->n], max,
                c->out->data + item * max);
}

void forward_softmax(const struct op_call *c)
{
    each_row(c, c->in[0]->shape.d[0].n * c->batch->n, softmax_item);
}

void forward_mix(const struct op_call *c)
{
    remember(c, c->in[1]);
    struct attention a = attention_of(c, &c->out->shape);
    a.v = c->state;
    attention_mix(&a, c->in[0]->data, c->out->data, c->pool, c->cancel);
}

void op_attention(const struct op_call *c, const struct op_call *score)
{
    remember(score, score->in[1]);
    remember(c, c->in[1]);
    struct attention a = attention_of(score, &score->in[0]->shape);
    a.q = score->in[0]->data;
    a.k = score->state;
    a.v = c->state;
    attention_fused(&a, c->out->data, c->pool, c->cancel);
}

/* Element-wise ops: fixed pieces of the whole array. */
static int64_t piece(const struct op_call *c, int64_t i, int64_t *first)
{
    const int64_t n = shape_count(&c->out->shape);
    *first = i * CHUNK_ELEMENTS;
    return n - *first < CHUNK_ELEMENTS ? n - *first : CHUNK_ELEMENTS;
}

static void act_piece(void *data, int64_t i, int worker)
{
    (void)worker;
    const struct op_call *c = data;
    int64_t first, n = piece(c, i, &first);
    row_activate(c->node->p.act, c->in[0]->data + first, n, c->out->data + first);
}

static void mul_piece(void *data, int64_t i, int worker)
{
    (void)worker;
    const struct op_call *c = data;
    int64_t first, n = piece(c, i, &first);
    row_multiply(c->in[0]->data + first, c->in[1]->data + first, n, c->out->data + first);
}

static void add_piece(void *data, int64_t i, int worker)
{
    (void)worker;
    const struct op_call *c = data;
    int64_t first, n = piece(c, i, &first);
    row_add(c->in[0]->data + first, c->in[1]->data + first, n, c->out->data + first);
}

static void scale_piece(void *data, int64_t i, int worker)
{
    (void)worker;
    const struct op_call *c = data;
    int64_t first, n = piece(c, i, &first);
    for (int64_t j = 0; j < n; j++)
        c->out->data[first + j] = c->in[0]->data[first + j] * c->node->p.scale;
}

static void each_piece(const struct op_call *c, pool_fn *fn)
{
    struct op_call copy = *c;
    pool_for(c->pool, pool_chunks(shape_count(&c->out->shape), CHUNK_ELEMENTS), fn, &copy,
             c->cancel);
}

void forward_act(const struct op_call *c) { each_piece(c, act_piece); }
void forward_mul(const struct op_call *c) { each_piece(c, mul_piece); }
void forward_add(const struct op_call *c) { each_piece(c, add_piece); }
void forward_scale(const struct op_call *c) { each_piece(c, scale_piece); }
