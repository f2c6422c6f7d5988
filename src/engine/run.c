/* SPDX-License-Identifier: MIT */
#include "engine/run.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/execute.h"
#include "kernels/level.h"

/* Cut the graph: before the blocks, each block, after them. */
static void cut(struct run *r)
{
    const struct graph *g = r->g;
    r->n_segments = g->n_blocks + 2;
    r->segments = x_alloc((size_t)r->n_segments * sizeof *r->segments);
    for (int s = 0; s < r->n_segments; s++) {
        struct segment *seg = &r->segments[s];
        seg->first = s ? r->segments[s - 1].end : 0;
        seg->end = s == r->n_segments - 1 ? g->n_nodes
                   : s < g->n_blocks      ? g->blocks[s].first
                   : s == 0               ? g->n_nodes
                                          : g->blocks[s - 1].end;
        seg->carry = x_alloc((size_t)g->n_values * sizeof *seg->carry);
        for (int v = 0; v < g->n_values; v++)
            if (g->values[v].node < seg->first && g->values[v].last_use >= seg->first) {
                seg->carry[seg->n_carry++] = v;
                seg->per_token += shape_per_token(&g->values[v].shape);
            }
    }
}

struct run *run_new(const struct model *m, const struct run_options *o)
{
    struct run *r = x_alloc(sizeof *r);
    r->model = m;
    r->g = m->graph;
    r->o = *o;
    r->level = level_now();
    if (!r->o.checkpoint_bytes)
        r->o.checkpoint_bytes = mem_budget() ? mem_budget() / 4 : (size_t)1 << 30;
    if (!r->g)
        return r;
    cut(r);
    r->state = x_alloc((size_t)r->g->n_nodes * sizeof *r->state);
    r->wants = x_alloc((size_t)r->g->n_values * sizeof *r->wants);
    r->turns = x_alloc((r->g->n_ropes + 1) * sizeof *r->turns);
    r->checkpoint_stride = 1;
    frame_init(r, &r->frame);
    frame_init(r, &r->scratch);
    r->o.plan = NULL;
    if (o->plan) {
        plan_copy(o->plan, &r->plan);
        for (size_t i = 0; i < o->plan->n_transforms; i++) {
            const struct plan_transform *t = &o->plan->transforms[i];
            run_transform(r, t->value, t->fn, t->data);
        }
    }
    return r;
}

static void forget(struct run *r)
{
    frame_clear(r, &r->frame);
    frame_clear(r, &r->scratch);
    checkpoints_drop(r);
    record_forget_after(r, 0);
    for (size_t i = 0; i < r->n_sequences; i++)
        free(r->sequences[i].rows);
    if (r->n_sequences)
        memset(r->sequences, 0, r->n_sequences * sizeof *r->sequences);
    for (size_t i = 0; i < r->g->n_ropes; i++)
        r->turns[i].span = -1;
    r->n_sequences = r->n_spans = r->n_tokens = 0;
    r->at = r->reached = (struct position){ 0, 0 };
}

void run_free(struct run *r)
{
    if (!r)
        return;
    if (r->g) {
        if (r->n_sequences)
            forget(r);
        frame_free(r, &r->frame);
        frame_free(r, &r->scratch);
        for (int i = 0; i < r->g->n_nodes; i++)
            mem_free(r->state[i]);
        for (int s = 0; s < r->n_segments; s++)
            free(r->segments[s].carry);
        for (size_t i = 0; i < r->g->n_ropes; i++)
            mem_free(r->turns[i].data);
    }
    for (size_t i = 0; i < r->spare.n; i++)
        mem_free(r->spare.list[i].p);
    checkpoints_drop(r);
    record_free(r);
    free(r->spare.list);
    free(r->state);
    free(r->turns);
    free(r->segments);
    free(r->wants);
    free(r->sequences);
    free(r->ids);
    free(r->seq);
    free(r->pos);
    free(r->ordinal);
    free(r->spans);
    free(r->probes);
    free(r->transforms);
    plan_free(&r->plan);
    free(r);
}

void run_set_pool(struct run *r, struct pool *pool) { r->o.pool = pool; }

/* --- input ----------------------------------------------------------------------------------- */

static enum st runnable(const struct run *r, struct err *e)
{
    if (!r->g) {
        if (e)
            *e = r->model->no_graph;
        return r->model->no_graph.st;
    }
    for (int i = 0; i < r->g->n_nodes; i++)
        if (!op_info(r->g->nodes[i].op)->forward)
            return st_fail(e, ST_UNSUPPORTED, "the op `%s` of %s cannot be computed yet",
                           op_info(r->g->nodes[i].op)->name, r->g->nodes[i].name);
    return ST_OK;
}

static enum st reserve_state(struct run *r, int64_t rows, struct err *e)
{
    if (rows <= r->cap_rows)
        return ST_OK;
    int64_t cap = r->cap_rows ? rows + rows / 2 : rows;
    for (int i = 0; i < r->g->n_nodes; i++) {
        const struct node *n = &r->g->nodes[i];
        struct shape in[NODE_MAX_IN];
        for (int k = 0; k < n->n_in; k++)
            in[k] = r->g->values[n->in[k]].shape;
        size_t row = (size_t)(op_state_row(n, in) * op_state_element(r->o.mode)), bytes;
        if (!row)
            continue;
        void *p;
        if (!mul_ok(row, (size_t)cap, &bytes))
            return st_fail(e, ST_NOMEM, "the cache of %s overflows", n->name);
        enum st st = mem_alloc(&p, bytes, "the K/V cache", e);
        if (st)
            return st;
        if (r->state[i] && r->n_tokens)
            memcpy(p, r->state[i], row * r->n_tokens);
        mem_free(r->state[i]);
        r->state[i] = p;
    }
    r->cap_rows = cap;
    return ST_OK;
}

static void add_token(struct run *r, int32_t id, int32_t seq, int32_t pos)
{
    size_t t = r->n_tokens++;
    x_grow(&r->ids, &r->cap_ids, t + 1, sizeof *r->ids);
    x_grow(&r->seq, &r->cap_seq, t + 1, sizeof *r->seq);
    x_grow(&r->pos, &r->cap_pos, t + 1, sizeof *r->pos);
    x_grow(&r->ordinal, &r->cap_ordinal, t + 1, sizeof *r->ordinal);
    struct sequence *q = &r->sequences[seq];
    x_grow(&q->rows, &q->cap, q->n + 1, sizeof *q->rows);
    r->ids[t] = id;
    r->seq[t] = seq;
    r->pos[t] = pos;
    r->ordinal[t] = (int32_t)q->n;
    q->rows[q->n++] = (int32_t)t;
}

static enum st add_tokens(struct run *r, const int32_t *ids, const int32_t *seq, const int32_t *pos,
                          int64_t n, struct err *e)
{
    enum { SEQUENCES_MAX = 1 << 16 };
    if (n <= 0 || (int64_t)r->n_tokens + n > INT32_MAX)
        return st_fail(e, ST_RANGE, n <= 0 ? "the prompt has no tokens" : "the prompt is too long");
    int32_t *where = x_alloc((size_t)n * sizeof *where);
    int32_t highest = 0;
    enum st st = ST_OK;
    for (int64_t t = 0; t < n && !st; t++) {
        int32_t q = seq ? seq[t] : 0;
        if (q < 0 || q >= SEQUENCES_MAX)
            st = st_fail(e, ST_RANGE, "sequence %d is not in 0..%d", q, SEQUENCES_MAX - 1);
        else if (pos && pos[t] < 0)
            st = st_fail(e, ST_RANGE, "position %d of token %" PRId64 " is negative", pos[t], t);
        highest = q > highest ? q : highest;
    }
    if (!st) {
        x_grow(&r->sequences, &r->cap_sequences, (size_t)highest + 1, sizeof *r->sequences);
        if (r->n_sequences <= (size_t)highest)
            r->n_sequences = (size_t)highest + 1;
        int32_t *count = x_alloc(r->n_sequences * sizeof *count);
        for (int64_t t = 0; t < n; t++) {
            int32_t q = seq ? seq[t] : 0;
            where[t] = pos ? pos[t] : (int32_t)r->sequences[q].n + count[q]++;
        }
        free(count);
        st = check_tokens(r->g, 0, r->g->n_nodes, ids, where, n, e);
    }
    if (!st)
        st = reserve_state(r, (int64_t)r->n_tokens + n, e);
    for (int64_t t = 0; t < n && !st; t++) {
        int64_t first = r->n_spans ? r->spans[r->n_spans - 1].first : 0;
        if (t == 0 || (r->o.span && r->g->causal && (int64_t)r->n_tokens - first >= r->o.span)) {
            x_grow(&r->spans, &r->cap_spans, r->n_spans + 1, sizeof *r->spans);
            r->spans[r->n_spans++] = (struct span){ (int64_t)r->n_tokens, 0 };
        }
        add_token(r, ids[t], seq ? seq[t] : 0, where[t]);
        r->spans[r->n_spans - 1].n++;
    }
    free(where);
    return st;
}

enum st run_input(struct run *r, const int32_t *ids, const int32_t *seq, const int32_t *pos,
                  int64_t n, struct err *e)
{
    enum st st = runnable(r, e);
    if (st)
        return st;
    forget(r);
    return add_tokens(r, ids, seq, pos, n, e);
}

enum st run_append(struct run *r, const int32_t *ids, int64_t n, struct err *e)
{
    enum st st = runnable(r, e);
    if (!st && !r->g->causal)
        st = st_fail(e, ST_UNSUPPORTED,
                     "an encoder sees all tokens at once: nothing can be appended");
    return st ? st : add_tokens(r, ids, NULL, NULL, n, e);
}

/* --- facts ----------------------------------------------------------------------------------- */

const struct model *run_model(const struct run *r) { return r->model; }
const struct graph *run_graph(const struct run *r) { return r->g; }
const volatile sig_atomic_t *run_cancel(const struct run *r) { return r->o.cancel; }

enum compute run_mode(const struct run *r) { return r->o.mode; }
const struct level *run_kernels(const struct run *r) { return r->level; }
int64_t run_n_tokens(const struct run *r) { return (int64_t)r->n_tokens; }
const int32_t *run_tokens(const struct run *r) { return r->ids; }
int run_n_spans(const struct run *r) { return (int)r->n_spans; }
struct span run_span(const struct run *r, int span) { return r->spans[span]; }
struct position run_position(const struct run *r) { return r->at; }
struct position run_reached(const struct run *r) { return r->reached; }

int run_span_of(const struct run *r, int64_t token)
{
    for (size_t s = 0; s < r->n_spans; s++)
        if (token < r->spans[s].first + r->spans[s].n)
            return (int)s;
    return (int)r->n_spans - 1;
}

int position_compare(struct position a, struct position b)
{
    return a.span != b.span ? (a.span < b.span ? -1 : 1) : (a.node > b.node) - (a.node < b.node);
}

struct position run_end(const struct run *r)
{
    return r->n_spans ? (struct position){ (int)r->n_spans - 1, r->g->n_nodes }
                      : (struct position){ 0, 0 };
}

bool run_has(const struct run *r, int span, int value)
{
    return span < r->at.span || (span == r->at.span && r->g->values[value].node < r->at.node);
}

bool run_done(const struct run *r) { return position_compare(r->at, run_end(r)) >= 0; }

/* --- moving ---------------------------------------------------------------------------------- */

/* Execute the node at the position, and those after it that go with it on the way to `to`. */
static enum st advance(struct run *r, struct position to, struct err *e)
{
    if (r->at.node == r->g->n_nodes)
        r->at = (struct position){ r->at.span + 1, 0 };
    enum st st;
    if (r->frame.span != r->at.span) {
        frame_clear(r, &r->frame);
        if (r->at.node && (st = frame_restore(r, &r->frame, r->at.span, r->at.node, -1, NULL, e))) {
            frame_clear(r, &r->frame);
            return st;
        }
        r->frame.span = r->at.span;
        r->frame.segment = segment_of(r, r->at.node ? r->at.node - 1 : 0);
    }
    frame_enter(r, &r->frame, r->at.node);
    if (r->at.node == r->segments[r->frame.segment].first)
        checkpoint_save(r, &r->frame, r->frame.segment);
    const int end = to.span > r->at.span ? r->g->n_nodes : to.node;
    const int n = products_together(r, r->at.node, end, r->spans[r->at.span].n);
    st = n > 1 ? execute_products(r, &r->frame, r->at.node, n, e)
               : execute_node(r, &r->frame, r->at.node, -1, e);
    if (st)
        return st;
    for (int i = 0; i < n; i++, r->at.node++)
        if (r->o.checkpoint_bytes == RUN_NO_CHECKPOINTS)
            frame_shed(r, &r->frame, r->at.node);
    if (position_compare(r->at, r->reached) > 0)
        r->reached = r->at;
    return ST_OK;
}

/* To a position after that of the run. */
static enum st forward_to(struct run *r, struct position to, struct progress *p, bool *stopped,
                          struct err *e)
{
    const double total = (double)r->n_spans * r->g->n_nodes;
    while (position_compare(r->at, to) < 0) {
        if (r->at.node == r->g->n_nodes && to.span == r->at.span + 1 && !to.node)
            break; /* the end of a span is the start of the next */
        if (!progress_tick(p, "run", (double)r->at.span * r->g->n_nodes + r->at.node, total))
            return st_fail(e, ST_CANCELLED, "interrupted");
        const int before = r->at.node < r->g->n_nodes ? r->at.node : 0;
        enum st st = advance(r, to, e);
        if (st)
            return st;
        for (int node = before; node < r->at.node; node++)
            *stopped |= hooks_announce(r, node);
        if (*stopped)
            break;
    }
    return ST_OK;
}

enum st run_forward(struct run *r, struct position to, struct progress *p, bool *stopped,
                    struct err *e)
{
    bool unused;
    stopped = stopped ? stopped : &unused;
    *stopped = false;
    r->cancel = p ? p->cancel : NULL;
    if (!r->n_spans)
        return st_fail(e, ST_STATE, "there is no prompt");
    if (position_compare(to, run_end(r)) > 0)
        to = run_end(r);
    frame_clear(r, &r->scratch);
    ahead_begin(r);
    const enum st st = forward_to(r, to, p, stopped, e);
    ahead_end(r);
    return st;
}

enum st run_goto(struct run *r, struct position to, struct progress *p, struct err *e)
{
    if (to.span < 0 || to.node < 0 || position_compare(to, r->reached) > 0)
        return st_fail(e, ST_STATE, "the position has not been reached yet");
    if (to.node > r->g->n_nodes)
        to.node = r->g->n_nodes;
    if (to.node == 0 && to.span > 0)
        to = (struct position){ to.span - 1, r->g->n_nodes };
    r->cancel = p ? p->cancel : NULL;
    enum st st = frame_restore(r, &r->frame, to.span, to.node, -1, p, e);
    r->cancel = NULL;
    if (st)
        frame_clear(r,
                    &r->frame); /* the run stays where it was; moving on restores what it needs */
    else
        r->at = to;
    return st;
}

enum st run_ready(const struct run *r, int span, int value, struct err *e)
{
    if (!r->n_spans || span < 0 || span >= (int)r->n_spans || value < 0 || value >= r->g->n_values)
        return st_fail(e, ST_RANGE, "there is no such point");
    if (run_has(r, span, value))
        return ST_OK;
    const char *name = r->g->values[value].name;
    st_fail(e, ST_STATE, "%s has not been computed yet: the run stands at s%d:%s", name, r->at.span,
            r->at.node ? r->g->nodes[r->at.node - 1].name : "start");
    return st_hint(e, "`run`, `continue` or `until s%d:%s` first", span, name);
}

enum st run_read(struct run *r, int span, int value, struct tensor *out, struct err *e)
{
    enum st st = run_ready(r, span, value, e);
    if (st)
        return st;
    const float *data = r->frame.span == span ? r->frame.data[value] : NULL;
    if (!data && r->scratch.span == span)
        data = r->scratch.data[value];
    if (!data)
        data = record_data(r, span, value);
    if (!data) {
        const volatile sig_atomic_t *cancel =
            r->cancel; /* of the move that a probe may be part of */
        r->cancel = r->o.cancel;
        st = frame_restore(r, &r->scratch, span, r->g->values[value].node + 1, value, NULL, e);
        r->cancel = cancel;
        if (st) {
            frame_clear(r, &r->scratch);
            return st;
        }
        data = r->scratch.data[value];
    }
    *out = (struct tensor){ value_shape(r, span, value), (float *)data };
    return ST_OK;
}

enum st run_head(struct run *r, const float *hidden, int64_t n, float *out, struct err *e)
{
    if (!r->g || r->g->logits < 0)
        return st_fail(e, ST_UNSUPPORTED, "the model has no output head");
    const struct node *head = &r->g->nodes[r->g->values[r->g->logits].node];
    struct matrix w, none;
    const float *bias, *no;
    node_weight(r->model, &r->plan, head, 0, &w, &no);
    node_weight(r->model, &r->plan, head, 1, &none, &bias);
    const struct level *before = level_now();
    level_force(r->level);
    matrix_mul(&w, bias, hidden, n, out, r->o.mode, r->o.pool, NULL);
    level_force(before);
    return ST_OK;
}

/* --- memory ---------------------------------------------------------------------------------- */

struct run_memory run_memory(const struct run *r)
{
    struct run_memory m = { .checkpoint_limit = r->o.checkpoint_bytes,
                            .checkpoints = r->checkpoint_used };
    for (size_t i = 0; i < r->cap_checkpoints; i++)
        m.n_checkpoints += r->checkpoints[i] != NULL;
    for (int i = 0; r->g && i < r->g->n_nodes; i++) {
        const struct node *n = &r->g->nodes[i];
        struct shape in[NODE_MAX_IN];
        for (int k = 0; k < n->n_in; k++)
            in[k] = r->g->values[n->in[k]].shape;
        m.state += (size_t)(op_state_row(n, in) * r->cap_rows * op_state_element(r->o.mode));
    }
    const struct frame *frames[] = { &r->frame, &r->scratch };
    for (int f = 0; r->g && f < 2; f++)
        for (int v = 0; v < r->g->n_values; v++)
            if (frames[f]->data[v]) {
                struct shape s = value_shape(r, frames[f]->span, v);
                m.values += (size_t)shape_count(&s) * sizeof(float);
            }
    return m;
}

struct run_memory run_predict(const struct model *m, enum compute mode, int64_t n, int64_t span)
{
    struct run_memory p = { 0 };
    struct run_options o = { .mode = mode, .span = span };
    struct run *r = run_new(m, &o);
    const int64_t rows = span && span < n ? span : n;
    p.checkpoint_limit = r->o.checkpoint_bytes;
    for (int s = 0; r->g && s < r->n_segments; s++) {
        size_t held = (size_t)(r->segments[s].per_token * rows) * sizeof(float);
        for (int i = r->segments[s].first; i < r->segments[s].end; i++) {
            const struct node *node = &r->g->nodes[i];
            struct shape in[NODE_MAX_IN];
            for (int k = 0; k < node->n_in; k++)
                in[k] = r->g->values[node->in[k]].shape;
            p.state += (size_t)(op_state_row(node, in) * n * op_state_element(mode));
            struct shape out = shape_resolve(r->g->values[node->out].shape, rows, 0);
            held += (size_t)shape_count(&out)
                    * sizeof(float); /* scores are not held: the kernels fuse */
        }
        p.values = held > p.values ? held : p.values;
        p.checkpoints += (size_t)(r->segments[s].per_token * n) * sizeof(float);
        p.n_checkpoints += s > 0;
    }
    if (p.checkpoints > p.checkpoint_limit)
        p.checkpoints = p.checkpoint_limit;
    run_free(r);
    return p;
}
