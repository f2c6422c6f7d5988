/* SPDX-License-Identifier: MIT */
#include "graph/op_terms.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"

struct terms {
    struct op_term *list;
    int64_t n;
};

static void reserve(struct terms *t, int64_t n) { t->list = x_alloc((size_t)n * sizeof *t->list); }

static struct op_term *put(struct terms *t, int in, int64_t token, int64_t at, double x,
                           double factor)
{
    struct op_term *one = &t->list[t->n++];
    *one = (struct op_term){ .in = in,
                             .token = token,
                             .at = at,
                             .x = x,
                             .factor = factor,
                             .product = x * factor,
                             .slot = -1,
                             .row = -1,
                             .col = -1 };
    return one;
}

static struct op_term *weighted(struct op_term *one, int slot, int64_t row, int64_t col)
{
    one->slot = slot;
    one->row = row;
    one->col = col;
    return one;
}

/* Weight row r, decoded; the caller frees. */
static float *decoded(const struct matrix *w, int64_t r)
{
    float *row = x_alloc((size_t)w->cols * sizeof *row);
    matrix_row(w, r, row);
    return row;
}

/* Element `at` of the output as its token of the span, and what is left. */
static int64_t token_of(const struct term_call *c, int64_t at, int64_t *rest)
{
    const int64_t per = shape_per_token(&c->out);
    *rest = at % per;
    return at / per;
}

static int64_t in_run(const struct term_call *c, int64_t t) { return c->batch->past + t; }

/* A row of a table of weights, and x when there is one. */
static enum term_kind terms_table(const struct term_call *c, int64_t at, struct terms *out)
{
    int64_t col;
    const int64_t t = token_of(c, at, &col);
    const int64_t row = c->node->op == OP_EMBED      ? c->batch->ids[t]
                        : c->node->op == OP_POSITION ? c->batch->pos[t] + c->node->p.offset
                                                     : 0;
    reserve(out, 2);
    if (c->node->n_in) {
        const float *x = c->row(c->data, 0, in_run(c, t));
        if (!x)
            return TERMS_NONE;
        put(out, 0, in_run(c, t), col, (double)x[col], 1);
    }
    float *w = decoded(&c->w[0], row);
    weighted(put(out, -1, -1, -1, 1, (double)w[col]), 0, row, col);
    free(w);
    return TERMS_SUM;
}

/* y[i] = (x[i] - mean) * factor; every other element of the row has a part in both. */
static enum term_kind terms_norm(const struct term_call *c, int64_t at, struct terms *out)
{
    int64_t rest;
    const int64_t t = token_of(c, at, &rest), n = c->out.d[c->out.rank - 1].n, i = rest % n;
    const float *x = c->row(c->data, 0, in_run(c, t));
    if (!x)
        return TERMS_NONE;
    const int64_t first = rest - i;
    const bool centred = c->node->op == OP_LAYER_NORM;
    double mean = 0, square = 0;
    for (int64_t k = 0; centred && k < n; k++)
        mean += (double)x[first + k] / (double)n;
    for (int64_t k = 0; k < n; k++)
        square += ((double)x[first + k] - mean) * ((double)x[first + k] - mean);
    const double gain = c->v[0] ? (double)c->v[0][i] : 1;
    reserve(out, n + 2);
    struct op_term *own = put(out, 0, in_run(c, t), rest, (double)x[rest],
                              gain / sqrt(square / (double)n + (double)c->node->p.eps));
    own->product = (own->x - mean) * own->factor;
    if (c->v[0])
        weighted(own, 0, 0, i);
    for (int64_t k = 0; k < n; k++)
        if (k != i)
            put(out, 0, in_run(c, t), first + k, (double)x[first + k], 0)->product = 0;
    if (centred && c->v[1])
        weighted(put(out, -1, -1, -1, 1, (double)c->v[1][i]), 1, 0, i);
    return TERMS_OTHER;
}

static enum term_kind terms_linear(const struct term_call *c, int64_t at, struct terms *out)
{
    int64_t r;
    const int64_t t = token_of(c, at, &r), n = c->w[0].cols;
    const float *x = c->row(c->data, 0, in_run(c, t));
    if (!x)
        return TERMS_NONE;
    float *w = decoded(&c->w[0], r);
    reserve(out, n + 1);
    for (int64_t i = 0; i < n; i++)
        weighted(put(out, 0, in_run(c, t), i, (double)x[i], (double)w[i]), 0, r, i);
    free(w);
    if (c->v[1])
        weighted(put(out, -1, -1, -1, 1, (double)c->v[1][r]), 1, 0, r);
    return TERMS_SUM;
}

static enum term_kind terms_slice(const struct term_call *c, int64_t at, struct terms *out)
{
    int64_t i;
    const int64_t t = token_of(c, at, &i);
    const float *x = c->row(c->data, 0, in_run(c, t));
    if (!x)
        return TERMS_NONE;
    i += c->node->p.offset;
    reserve(out, 1);
    put(out, 0, in_run(c, t), i, (double)x[i], 1);
    return TERMS_SUM;
}

static enum term_kind terms_rope(const struct term_call *c, int64_t at, struct terms *out)
{
    int64_t rest;
    const struct rope *r = c->rope;
    const int64_t t = token_of(c, at, &rest), n = c->out.d[2].n, i = rest % n, half = r->n_rot / 2;
    const float *x = c->row(c->data, 0, in_run(c, t));
    if (!x)
        return TERMS_NONE;
    const int64_t first = rest - i;
    reserve(out, 2);
    if (i >= r->n_rot) {
        put(out, 0, in_run(c, t), rest, (double)x[rest], 1);
        return TERMS_SUM;
    }
    const bool second = r->half_split ? i >= half : i % 2;
    const int64_t pair = r->half_split ? i % half : i / 2;
    const int64_t a = r->half_split ? pair : 2 * pair, b = r->half_split ? pair + half : a + 1;
    float *cosine = x_alloc((size_t)r->n_rot * sizeof *cosine), *sine = cosine + half;
    rope_angles(r, c->batch->pos[t], cosine, sine);
    put(out, 0, in_run(c, t), first + a, (double)x[first + a],
        (double)(second ? sine[pair] : cosine[pair]));
    put(out, 0, in_run(c, t), first + b, (double)x[first + b],
        (double)(second ? cosine[pair] : -sine[pair]));
    free(cosine);
    return TERMS_SUM;
}

/* Elements of heads-first outputs: [head][tok][key]. */
static void head_token_key(const struct term_call *c, int64_t at, int64_t *h, int64_t *t,
                           int64_t *j)
{
    *j = at % c->out.d[2].n;
    *t = at / c->out.d[2].n % c->out.d[1].n;
    *h = at / c->out.d[2].n / c->out.d[1].n;
}

/* Which head of the keys or values a query head reads. */
static int64_t kv_head(const struct term_call *c, int64_t h)
{
    return h / (c->node->p.heads / c->in[1].d[1].n);
}

static enum term_kind terms_score(const struct term_call *c, int64_t at, struct terms *out)
{
    int64_t h, t, j;
    head_token_key(c, at, &h, &t, &j);
    const int64_t n = c->in[0].d[2].n;
    if (j >= c->batch->visible[t])
        return TERMS_NONE;
    const int64_t key = c->batch->keys[t][j], from = kv_head(c, h) * n;
    const float *row = c->row(c->data, 0, in_run(c, t));
    if (!row)
        return TERMS_NONE;
    reserve(out, 2 * n);
    for (int64_t i = 0; i < n; i++)
        put(out, 0, in_run(c, t), h * n + i, (double)row[h * n + i], 0);
    const float *k = c->row(c->data, 1, key);
    if (!k)
        return TERMS_NONE;
    const double scale = (double)c->node->p.scale;
    for (int64_t i = 0; i < n; i++) {
        struct op_term *q = &out->list[i];
        q->factor = (double)k[from + i] * scale;
        q->product = q->x * q->factor;
        /* The other half of the product: the same number, so that a bad key is found as well. */
        put(out, 1, key, from + i, (double)k[from + i], q->x * scale)->product = 0;
    }
    return TERMS_SUM;
}

static enum term_kind terms_softmax(const struct term_call *c, int64_t at, struct terms *out)
{
    int64_t h, t, j;
    head_token_key(c, at, &h, &t, &j);
    const float *x = c->row(c->data, 0, in_run(c, t));
    const int64_t n = c->batch->visible[t], first = at - j;
    if (!x || j >= n)
        return TERMS_NONE;
    double max = -INFINITY, sum = 0;
    for (int64_t k = 0; k < n; k++)
        max = fmax(max, (double)x[first + k]);
    for (int64_t k = 0; k < n; k++)
        sum += exp((double)x[first + k] - max);
    reserve(out, n);
    struct op_term *own = put(out, 0, -1, at, (double)x[at], 0);
    own->product = exp(own->x - max) / sum;
    own->factor = own->product / own->x;
    for (int64_t k = 0; k < n; k++)
        if (k != j)
            put(out, 0, -1, first + k, (double)x[first + k], 0)->product = 0;
    return TERMS_OTHER;
}

static enum term_kind terms_mix(const struct term_call *c, int64_t at, struct terms *out)
{
    int64_t rest;
    const int64_t t = token_of(c, at, &rest), n = c->out.d[2].n, h = rest / n, i = rest % n;
    const int64_t keys = c->in[0].d[2].n, tokens = c->in[0].d[1].n, seen = c->batch->visible[t];
    const int64_t first = (h * tokens + t) * keys, from = kv_head(c, h) * n + i;
    const float *p = c->row(c->data, 0, in_run(c, t));
    if (!p)
        return TERMS_NONE;
    reserve(out, 2 * seen);
    for (int64_t j = 0; j < seen; j++)
        put(out, 0, -1, first + j, (double)p[first + j], 0)->product = 0;
    for (int64_t j = 0; j < seen; j++) {
        const float *v = c->row(c->data, 1, c->batch->keys[t][j]);
        if (!v)
            return TERMS_NONE;
        put(out, 1, c->batch->keys[t][j], from, (double)v[from], out->list[j].x);
    }
    return TERMS_SUM;
}

static enum term_kind terms_elements(const struct term_call *c, int64_t at, struct terms *out)
{
    int64_t rest;
    const int64_t t = token_of(c, at, &rest);
    const bool two = c->node->op == OP_ADD || c->node->op == OP_MUL;
    reserve(out, 2);
    for (int i = 0; i < (two ? 2 : 1); i++) {
        const float *x = c->row(c->data, i, in_run(c, t));
        if (!x)
            return TERMS_NONE;
        put(out, i, in_run(c, t), rest, (double)x[rest], 1);
    }
    struct op_term *a = out->list, *b = a + 1;
    if (c->node->op == OP_SCALE) {
        a->factor = (double)c->node->p.scale;
        a->product = a->x * a->factor;
    } else if (c->node->op == OP_ACT) {
        float x = (float)a->x, y;
        row_activate(c->node->p.act, &x, 1, &y);
        a->product = (double)y;
        a->factor = a->product / a->x;
    } else if (c->node->op == OP_MUL) {
        a->factor = b->x;
        b->factor = a->x;
        a->product = b->product = a->x * b->x;
    }
    return c->node->op == OP_MUL ? TERMS_PRODUCT : c->node->op == OP_ACT ? TERMS_OTHER : TERMS_SUM;
}

enum term_kind op_terms(const struct term_call *c, int64_t at, struct op_term **out, int64_t *n)
{
    static enum term_kind (*const table[OP__COUNT])(const struct term_call *c, int64_t at,
                                                    struct terms *out) = {
        [OP_EMBED] = terms_table,     [OP_POSITION] = terms_table,  [OP_TYPE] = terms_table,
        [OP_RMS_NORM] = terms_norm,   [OP_LAYER_NORM] = terms_norm, [OP_LINEAR] = terms_linear,
        [OP_SLICE] = terms_slice,     [OP_ROPE] = terms_rope,       [OP_SCORE] = terms_score,
        [OP_SOFTMAX] = terms_softmax, [OP_MIX] = terms_mix,         [OP_ACT] = terms_elements,
        [OP_MUL] = terms_elements,    [OP_ADD] = terms_elements,    [OP_SCALE] = terms_elements,
    };
    struct terms t = { 0 };
    enum term_kind kind = table[c->node->op] ? table[c->node->op](c, at, &t) : TERMS_NONE;
    if (kind == TERMS_NONE) {
        free(t.list);
        t = (struct terms){ 0 };
    }
    *out = t.list;
    *n = t.n;
    return kind;
}
