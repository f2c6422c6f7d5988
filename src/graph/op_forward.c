/* SPDX-License-Identifier: MIT */
#include "graph/op_forward.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "graph/graph.h"
#include "kernels/native.h"

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

/* Decode row r of w into out [cols]. */
static void weight_row(const struct matrix *w, int64_t r, float *out)
{
    const struct format_info *f = format_info(w->format);
    f->decode((const char *)w->data + (size_t)r * w->row_bytes + f->row_header, out, w->cols);
}

static void embed_row(const struct op_call *c, int64_t t)
{
    weight_row(&c->w[0], c->batch->ids[t], c->out->data + t * c->w[0].cols);
}

void forward_embed(const struct op_call *c) { each_row(c, c->batch->n, embed_row); }

static void add_table_row(const struct op_call *c, int64_t t, int64_t row)
{
    const int64_t n = c->w[0].cols;
    const float *x = c->in[0]->data + t * n;
    float *y = c->out->data + t * n;
    weight_row(&c->w[0], row, y);
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

void forward_linear(const struct op_call *c)
{
    matrix_mul(&c->w[0], c->v[1], c->in[0]->data, c->batch->n, c->out->data, c->mode, c->pool,
               c->cancel);
}

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

/* New rows of a cache: x [tok][head][chan] goes to rows past .. past + n, in native mode rounded to
 * half. */
static void remember(const struct op_call *c, const struct tensor *x)
{
    int64_t row = shape_per_token(&x->shape);
    float *to = c->state + c->batch->past * row;
    if (c->mode == COMPUTE_NATIVE)
        round_to_f16(x->data, c->batch->n * row, to);
    else
        memcpy(to, x->data, (size_t)(c->batch->n * row) * sizeof(float));
}

/* Scores of one query with the visible keys; the rest of the row is -inf. */
static void score_row(const struct op_call *c, int64_t h, int64_t t, float *out, int64_t max_keys)
{
    const struct tensor *q = c->in[0], *k = c->in[1];
    const int64_t heads = q->shape.d[1].n, kv = k->shape.d[1].n, n = q->shape.d[2].n;
    const float *query = q->data + (t * heads + h) * n;
    const float *keys = c->state + h / (heads / kv) * n;
    const int64_t visible = c->batch->visible[t];
    score_keys(query, keys, kv * n, c->batch->keys[t], visible, n, c->node->p.scale, out);
    for (int64_t j = visible; j < max_keys; j++)
        out[j] = -INFINITY;
}

static void score_item(const struct op_call *c, int64_t item)
{
    const int64_t max = c->batch->max_keys;
    score_row(c, item / c->batch->n, item % c->batch->n, c->out->data + item * max, max);
}

void forward_score(const struct op_call *c)
{
    remember(c, c->in[1]);
    each_row(c, c->in[0]->shape.d[1].n * c->batch->n, score_item);
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

/* z = sum over keys of p * v. */
static void mix_row(const struct op_call *c, int64_t h, int64_t t, const float *p)
{
    const int64_t heads = c->out->shape.d[1].n, kv = c->in[1]->shape.d[1].n;
    const int64_t n = c->out->shape.d[2].n;
    mix_keys(p, c->state + h / (heads / kv) * n, kv * n, c->batch->keys[t], c->batch->visible[t], n,
             c->out->data + (t * heads + h) * n);
}

static void mix_item(const struct op_call *c, int64_t item)
{
    mix_row(c, item / c->batch->n, item % c->batch->n, c->in[0]->data + item * c->batch->max_keys);
}

void forward_mix(const struct op_call *c)
{
    remember(c, c->in[1]);
    each_row(c, c->out->shape.d[1].n * c->batch->n, mix_item);
}

struct fused {
    const struct op_call *mix, *score;
};

static void attention_chunk(void *data, int64_t chunk, int worker)
{
    (void)worker;
    const struct fused *f = data;
    const struct batch *b = f->mix->batch;
    const int64_t items = f->mix->out->shape.d[1].n * b->n;
    float *row = x_alloc((size_t)b->max_keys * sizeof *row);
    for (int64_t i = chunk * CHUNK_ROWS; i < items && i < (chunk + 1) * CHUNK_ROWS; i++) {
        const int64_t h = i / b->n, t = i % b->n;
        score_row(f->score, h, t, row, b->visible[t]);
        row_softmax(row, b->visible[t], b->visible[t], row);
        mix_row(f->mix, h, t, row);
    }
    free(row);
}

void op_attention(const struct op_call *c, const struct op_call *score)
{
    remember(score, score->in[1]);
    remember(c, c->in[1]);
    struct fused f = { c, score };
    pool_for(c->pool, pool_chunks(c->out->shape.d[1].n * c->batch->n, CHUNK_ROWS), attention_chunk,
             &f, c->cancel);
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
    const float *a = c->in[0]->data + first, *b = c->in[1]->data + first;
    float *y = c->out->data + first;
    for (int64_t j = 0; j < n; j++)
        y[j] = a[j] * b[j];
}

static void add_piece(void *data, int64_t i, int worker)
{
    (void)worker;
    const struct op_call *c = data;
    int64_t first, n = piece(c, i, &first);
    const float *a = c->in[0]->data + first, *b = c->in[1]->data + first;
    float *y = c->out->data + first;
    for (int64_t j = 0; j < n; j++)
        y[j] = a[j] + b[j];
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
