/* SPDX-License-Identifier: MIT */
#include "engine/execute.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/level.h"

int segment_of(const struct run *r, int node)
{
    for (int s = 0; s < r->n_segments; s++)
        if (node < r->segments[s].end)
            return s;
    return r->n_segments - 1;
}

void node_weight(const struct model *m, const struct plan *plan, const struct node *n, int slot,
                 struct matrix *out, const float **v)
{
    const struct form *f = plan_form(plan, m, n->w[slot]);
    const struct weight *w = f ? &f->w : n->w[slot];
    *out = (struct matrix){ .format = FORMAT_NONE };
    if (w)
        *out = weight_matrix(w, 0, w->rows);
    *v = f && n->v[slot] ? f->v : n->v[slot];
}

enum st check_tokens(const struct graph *g, int first, int end, const int32_t *ids,
                     const int32_t *pos, int64_t n, struct err *e)
{
    for (int i = first; i < end; i++) {
        const struct node *node = &g->nodes[i];
        if (node->op != OP_EMBED && node->op != OP_POSITION)
            continue;
        const bool embed = node->op == OP_EMBED;
        const int64_t rows = (int64_t)node->w[0]->rows - (embed ? 0 : node->p.offset);
        for (int64_t t = 0; t < n; t++) {
            const int64_t row = embed ? ids[t] : pos[t];
            if (row < 0 || row >= rows)
                return st_fail(e, ST_RANGE, "%s %" PRId64 " is not in 0..%" PRId64,
                               embed ? "token" : "position", row, rows - 1);
        }
    }
    return ST_OK;
}

void rope_turns(const struct rope *rope, const int32_t *pos, int64_t n, float *out)
{
    for (int64_t t = 0; t < n; t++, out += rope->n_rot)
        rope_angles(rope, pos[t], out, out + rope->n_rot / 2);
}

/* The angles of the span, computed once for all nodes that turn alike. */
static enum st turns_of(struct run *r, int rope, int span, struct err *e)
{
    struct turns *t = &r->turns[rope];
    const struct span s = r->spans[span];
    const size_t bytes = (size_t)(s.n * r->g->ropes[rope].n_rot) * sizeof(float);
    if (t->span == span)
        return ST_OK;
    if (t->bytes < bytes) {
        void *p;
        enum st st = mem_alloc(&p, bytes, "the angles of the positions", e);
        if (st)
            return st;
        mem_free(t->data);
        t->data = p;
        t->bytes = bytes;
    }
    rope_turns(&r->g->ropes[rope], r->pos + s.first, s.n, t->data);
    t->span = span;
    return ST_OK;
}

void batch_begin(const struct run *r, int span, struct batch *b)
{
    const struct span s = r->spans[span];
    const int32_t **keys = x_alloc((size_t)s.n * sizeof *keys);
    int32_t *visible = x_alloc((size_t)s.n * sizeof *visible);
    int32_t *last = x_alloc(r->n_sequences
                            * sizeof *last); /* rows of each sequence at the span's end */
    for (int64_t t = 0; t < s.n; t++)
        last[r->seq[s.first + t]] = r->ordinal[s.first + t] + 1;
    *b = (struct batch){ .n = s.n,
                         .past = s.first,
                         .ids = r->ids + s.first,
                         .seq = r->seq + s.first,
                         .pos = r->pos + s.first,
                         .keys = keys,
                         .visible = visible };
    for (int64_t t = 0; t < s.n; t++) {
        const int32_t q = r->seq[s.first + t];
        keys[t] = r->sequences[q].rows;
        visible[t] = r->g->causal ? r->ordinal[s.first + t] + 1 : last[q];
        b->max_keys = visible[t] > b->max_keys ? visible[t] : b->max_keys;
    }
    free(last);
}

void batch_free(struct batch *b)
{
    free((void *)b->keys);
    free((void *)b->visible);
}

static int64_t max_keys(const struct run *r, int span)
{
    struct batch b;
    batch_begin(r, span, &b);
    int64_t n = b.max_keys;
    batch_free(&b);
    return n;
}

struct shape value_shape(const struct run *r, int span, int v)
{
    struct shape s = r->g->values[v].shape;
    bool keys = false;
    for (int i = 0; i < s.rank; i++)
        keys |= s.d[i].n == DIM_KEYS;
    return shape_resolve(s, r->spans[span].n, keys ? max_keys(r, span) : 0);
}

void frame_init(struct run *r, struct frame *f)
{
    f->span = -1;
    f->segment = 0;
    f->data = x_alloc((size_t)r->g->n_values * sizeof *f->data);
}

enum { SPARE_MAX = 64 };

static void release(struct run *r, float *p, size_t bytes)
{
    if (r->spare.n >= SPARE_MAX) {
        mem_free(p);
        return;
    }
    x_grow(&r->spare.list, &r->spare.cap, r->spare.n + 1, sizeof *r->spare.list);
    r->spare.list[r->spare.n].p = p;
    r->spare.list[r->spare.n++].bytes = bytes;
}

size_t value_bytes(const struct run *r, int span, int v)
{
    struct shape s = value_shape(r, span, v);
    int64_t n = shape_count(&s);
    return n < 0 || n > (int64_t)(SIZE_MAX / 16) ? SIZE_MAX / 2 : (size_t)n * sizeof(float);
}

static void drop(struct run *r, struct frame *f, int v)
{
    if (f->data[v])
        release(r, f->data[v], value_bytes(r, f->span, v));
    f->data[v] = NULL;
}

/* Scores and probabilities are not made where the three ops of attention run as one. */
static bool in_attention(const struct run *r, int node)
{
    const enum op op = r->g->nodes[node].op;
    return op == OP_SCORE || op == OP_SOFTMAX;
}

/* The last node to read a value, which for queries and keys may be the mixture. */
static int last_reader(const struct run *r, int v)
{
    int node = -1, next = r->g->values[v].last_use;
    while (next != node && in_attention(r, next)) {
        node = next;
        next = r->g->values[r->g->nodes[node].out].last_use;
    }
    return next;
}

static void shed_inputs(struct run *r, struct frame *f, const struct node *n, int done)
{
    for (int i = 0; i < n->n_in; i++) {
        const int v = n->in[i], from = r->g->values[v].node;
        if (!f->data[v] && in_attention(r, from))
            shed_inputs(r, f, &r->g->nodes[from], done);
        else if (!r->wants_all && !r->wants[v] && last_reader(r, v) <= done)
            drop(r, f, v);
    }
}

void frame_shed(struct run *r, struct frame *f, int node)
{
    shed_inputs(r, f, &r->g->nodes[node], node);
}

void frame_clear(struct run *r, struct frame *f)
{
    for (int v = 0; v < r->g->n_values; v++)
        drop(r, f, v);
    f->span = -1;
}

void frame_drop_from(struct run *r, struct frame *f, int node)
{
    for (int v = 0; v < r->g->n_values; v++)
        if (r->g->values[v].node >= node)
            drop(r, f, v);
}

void frame_free(struct run *r, struct frame *f)
{
    for (int v = 0; f->data && v < r->g->n_values; v++)
        mem_free(f->data[v]);
    free(f->data);
    f->data = NULL;
}

void frame_enter(struct run *r, struct frame *f, int node)
{
    int s = segment_of(r, node);
    if (s == f->segment)
        return;
    f->segment = s;
    for (int v = 0; v < r->g->n_values; v++)
        if (f->data[v] && r->g->values[v].last_use < node)
            drop(r, f, v);
}

enum st frame_hold(struct run *r, struct frame *f, int v, struct err *e)
{
    size_t bytes = value_bytes(r, f->span, v), best = r->spare.n;
    if (f->data[v])
        return ST_OK;
    for (size_t i = 0; i < r->spare.n; i++)
        if (r->spare.list[i].bytes >= bytes && r->spare.list[i].bytes / 2 <= bytes
            && (best == r->spare.n || r->spare.list[i].bytes < r->spare.list[best].bytes))
            best = i;
    if (best < r->spare.n) {
        f->data[v] = r->spare.list[best].p;
        r->spare.list[best] = r->spare.list[--r->spare.n];
        return ST_OK;
    }
    void *p;
    enum st st = mem_alloc(&p, bytes, r->g->values[v].name, e);
    if (st && r->spare.n) { /* buffers of other sizes may be in the way */
        while (r->spare.n)
            mem_free(r->spare.list[--r->spare.n].p);
        st = mem_alloc(&p, bytes, r->g->values[v].name, e);
    }
    if (!st)
        f->data[v] = p;
    return st;
}

static bool wanted(const struct run *r, int v, int target)
{
    return v == target || r->wants_all || r->wants[v];
}

/* The scores need not exist when the three attention nodes can run as one and nobody looks. */
static bool skips(const struct run *r, int node, int target)
{
    const struct node *n = &r->g->nodes[node];
    if (n->op == OP_SOFTMAX)
        return !wanted(r, n->out, target) && !wanted(r, n->in[0], target);
    if (n->op != OP_SCORE)
        return false;
    const struct node *softmax = &r->g->nodes[r->g->values[n->out].last_use];
    return softmax->op == OP_SOFTMAX && !wanted(r, n->out, target)
           && !wanted(r, softmax->out, target);
}

bool run_skips(const struct run *r, int value) { return skips(r, r->g->values[value].node, -1); }

/* The tokens of the batch within a value of the frame's span; all tokens of keys and values. */
static struct tensor rows_of(const struct run *r, const struct frame *f, const struct node *n,
                             int value, const struct batch *b)
{
    const struct shape *s = &r->g->values[value].shape;
    const int64_t skipped = b->past - r->spans[f->span].first;
    const bool cached = (n->op == OP_SCORE || n->op == OP_MIX) && value == n->in[1];
    if (!skipped || cached || !f->data[value])
        return (struct tensor){ shape_resolve(*s, b->n + skipped, b->max_keys), f->data[value] };
    return (struct tensor){ shape_resolve(*s, b->n, b->max_keys),
                            f->data[value] + skipped * shape_per_token(s) };
}

static void fill_call(const struct run *r, struct frame *f, const struct node *n,
                      const struct batch *b, struct tensor *in, struct tensor *out,
                      struct op_call *c)
{
    const struct op_info *op = op_info(n->op);
    *c = (struct op_call){ .node = n,
                           .batch = b,
                           .mode = r->o.mode,
                           .pool = r->o.pool,
                           .cancel = r->cancel,
                           .out = out,
                           .state = r->state[r->g->values[n->out].node] };
    for (int i = 0; i < n->n_in; i++) {
        in[i] = rows_of(r, f, n, n->in[i], b);
        c->in[i] = &in[i];
    }
    for (int i = 0; i < op->weights; i++)
        node_weight(r->model, &r->plan, n, i, &c->w[i], &c->v[i]);
    if (n->op == OP_ROPE) {
        c->rope = &r->g->ropes[n->p.rope];
        c->angles = r->turns[n->p.rope].data
                    + (b->past - r->spans[f->span].first) * c->rope->n_rot;
    }
    *out = rows_of(r, f, n, n->out, b);
}

void ahead_begin(struct run *r) { r->ahead = true; }

void ahead_end(struct run *r)
{
    r->ahead = false;
    pool_expect_nothing(r->o.pool);
}

/* Products from a node on, before `end`, that are made as one; their weights alone, in w. */
static int gather_products(const struct run *r, int node, int end, int64_t tokens,
                           struct matrix w[PRODUCTS_MOST], struct matrix_product p[PRODUCTS_MOST])
{
    const struct node *const first = &r->g->nodes[node];
    const bool watched = r->n_probes || r->n_transforms;
    const int most = watched || tokens > MATRIX_FEW ? 1 : PRODUCTS_MOST;
    int n = 0;
    do {
        const float *none;
        node_weight(r->model, &r->plan, &first[n], 0, &w[n], &none);
        p[n] = (struct matrix_product){ .w = &w[n] };
        n++;
    } while (n < most && node + n < end && first[n].op == OP_LINEAR
             && first[n].in[0] == first->in[0]);
    while (n > 1 && !matrix_in_one(p, n, tokens, r->o.mode))
        n--;
    return n;
}

int products_together(const struct run *r, int node, int end, int64_t tokens)
{
    struct matrix w[PRODUCTS_MOST];
    struct matrix_product p[PRODUCTS_MOST];
    return r->g->nodes[node].op == OP_LINEAR ? gather_products(r, node, end, tokens, w, p) : 1;
}

/* The product of the node before n is about to begin, or that of the last of several: say which is
 * the next. */
static void expect_next(const struct run *r, const struct node *n, const struct batch *b)
{
    const struct node *const end = r->g->nodes + r->g->n_nodes;
    struct matrix w[PRODUCTS_MOST];
    struct matrix_product p[PRODUCTS_MOST];
    if (!r->ahead || b->n > MATRIX_FEW)
        return;
    while (n < end && n->op != OP_LINEAR)
        n++;
    if (n == end)
        return;
    const int some = gather_products(r, (int)(n - r->g->nodes), r->g->n_nodes, b->n, w, p);
    matrix_expect(p, some, b->n, r->o.mode, r->o.pool);
}

enum st execute_products(struct run *r, struct frame *f, int node, int n, struct err *e)
{
    const struct node *const first = &r->g->nodes[node];
    struct tensor in[PRODUCTS_MOST][NODE_MAX_IN], out[PRODUCTS_MOST];
    struct op_call c[PRODUCTS_MOST];
    struct batch b;
    enum st st = ST_OK;
    batch_begin(r, f->span, &b);
    for (int i = 0; i < n && !st; i++)
        if (!(st = frame_hold(r, f, first[i].out, e)))
            fill_call(r, f, &first[i], &b, in[i], &out[i], &c[i]);
    if (!st) {
        const struct level *before = level_now();
        expect_next(r, first + n, &b);
        level_force(r->level);
        op_linear(c, n);
        level_force(before);
    }
    if (!st && r->cancel && *r->cancel)
        st = st_fail(e, ST_CANCELLED, "interrupted");
    for (int i = 0; i < n && st; i++)
        drop(r, f, first[i].out);
    batch_free(&b);
    return st;
}

static void forward(struct run *r, struct frame *f, const struct node *n, const struct batch *b)
{
    struct tensor in[NODE_MAX_IN], out;
    struct op_call c;
    fill_call(r, f, n, b, in, &out, &c);
    if (n->op == OP_LINEAR)
        expect_next(r, n + 1, b);
    const struct level *before = level_now();
    level_force(r->level);
    if (n->op == OP_MIX && !f->data[n->in[0]]) {
        const struct node *softmax = &r->g->nodes[r->g->values[n->in[0]].node];
        const struct node *score = &r->g->nodes[r->g->values[softmax->in[0]].node];
        struct tensor score_in[NODE_MAX_IN], score_out;
        struct op_call s;
        fill_call(r, f, score, b, score_in, &score_out, &s);
        op_attention(&c, &s);
    } else
        op_info(n->op)->forward(&c);
    level_force(before);
}

enum st execute_rows(struct run *r, struct frame *f, int value, int64_t first, int64_t n,
                     float *out, struct err *e)
{
    const struct graph *g = r->g;
    const struct node *last = &g->nodes[g->values[value].node];
    const bool soften = last->op == OP_SOFTMAX;
    const struct node *score = soften ? &g->nodes[g->values[last->in[0]].node] : last;
    struct batch b;
    struct tensor in[NODE_MAX_IN], x;
    struct op_call c;
    batch_begin(r, f->span, &b);
    fill_call(r, f, score, &b, in, &x, &c);
    op_score_rows(&c, first, n, out);
    struct batch rows = { .n = n, .visible = b.visible + first, .max_keys = b.max_keys };
    x = (struct tensor){ shape_resolve(g->values[value].shape, n, b.max_keys), out };
    struct op_call s = { .node = last,
                         .batch = &rows,
                         .in = { &x },
                         .out = &x,
                         .mode = r->o.mode,
                         .pool = r->o.pool,
                         .cancel = r->cancel };
    if (soften)
        op_info(OP_SOFTMAX)->forward(&s);
    batch_free(&b);
    return r->cancel && *r->cancel ? st_fail(e, ST_CANCELLED, "interrupted") : ST_OK;
}

enum st execute_batch(struct run *r, struct frame *f, int node, const struct batch *b,
                      struct err *e)
{
    const struct node *n = &r->g->nodes[node];
    enum st st = frame_hold(r, f, n->out, e);
    if (st)
        return st;
    st = n->op == OP_ROPE ? turns_of(r, n->p.rope, f->span, e) : ST_OK;
    if (!st)
        forward(r, f, n, b);
    if (!st && r->cancel && *r->cancel)
        st = st_fail(e, ST_CANCELLED, "interrupted");
    if (st)
        drop(r, f, n->out);
    return st;
}

enum st execute_node(struct run *r, struct frame *f, int node, int target, struct err *e)
{
    const struct node *n = &r->g->nodes[node];
    if (skips(r, node, target))
        return ST_OK;
    enum st st;
    for (int i = 0; i < n->n_in; i++) /* a point that was skipped and is needed after all */
        if (!f->data[n->in[i]] && !skips(r, r->g->values[n->in[i]].node, target)
            && (st = execute_node(r, f, r->g->values[n->in[i]].node, n->in[i], e)))
            return st;
    struct batch b;
    batch_begin(r, f->span, &b);
    st = execute_batch(r, f, node, &b, e);
    struct event ev = { r, { f->span, node + 1 }, n->out, NULL };
    for (size_t i = 0; i < r->n_transforms && !st; i++)
        if (r->transforms[i].value == n->out) {
            struct tensor x = { shape_resolve(r->g->values[n->out].shape, b.n, b.max_keys),
                                f->data[n->out] };
            ev.x = &x;
            r->transforms[i].transform(r->transforms[i].data, &ev, x.data);
        }
    batch_free(&b);
    return st;
}
