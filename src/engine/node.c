/* SPDX-License-Identifier: MIT */
/* One node by itself: the whole of a graph is a sequence of such evaluations. */
#include <stdlib.h>

#include "base/memory.h"
#include "engine/execute.h"

/* One sequence of n tokens that see themselves and what came before. */
static void plain_batch(int64_t n, const int32_t *ids, bool causal, struct batch *b,
                        int32_t **numbers)
{
    int32_t *rows = x_alloc((size_t)n * 3 * sizeof *rows), *visible = rows + n,
            *zero = rows + 2 * n;
    const int32_t **keys = x_alloc((size_t)n * sizeof *keys);
    for (int64_t t = 0; t < n; t++) {
        rows[t] = (int32_t)t;
        visible[t] = (int32_t)(causal ? t + 1 : n);
        keys[t] = rows;
    }
    *b = (struct batch){ .n = n,
                         .ids = ids ? ids : zero,
                         .seq = zero,
                         .pos = rows,
                         .keys = keys,
                         .visible = visible,
                         .max_keys = n };
    *numbers = rows;
}

enum st node_evaluate(const struct model *m, const struct plan *plan, int node,
                      const float *const *in, const int32_t *ids, int64_t n, enum compute mode,
                      struct pool *pool, struct tensor *out, struct err *e)
{
    const struct graph *g = m->graph;
    const struct node *nd = &g->nodes[node];
    const struct op_info *op = op_info(nd->op);
    if (!op->forward)
        return st_fail(e, ST_UNSUPPORTED, "the op `%s` cannot be computed yet", op->name);
    if (n <= 0)
        return st_fail(e, ST_RANGE, "there are no tokens");
    struct batch b;
    int32_t *numbers;
    plain_batch(n, ids, g->causal, &b, &numbers);
    struct tensor x[NODE_MAX_IN], y = { shape_resolve(g->values[nd->out].shape, n, n), NULL };
    struct shape shapes[NODE_MAX_IN];
    struct op_call c = { .node = nd, .batch = &b, .out = &y, .mode = mode, .pool = pool };
    for (int i = 0; i < nd->n_in; i++) {
        shapes[i] = g->values[nd->in[i]].shape;
        x[i] = (struct tensor){ shape_resolve(shapes[i], n, n), (float *)in[i] };
        c.in[i] = &x[i];
    }
    for (int i = 0; i < op->weights; i++)
        node_weight(m, plan, nd, i, &c.w[i], &c.v[i]);
    void *data = NULL, *state = NULL, *angles = NULL;
    enum st st = check_tokens(g, node, node + 1, b.ids, b.pos, n, e);
    if (!st && nd->op == OP_ROPE) {
        c.rope = &g->ropes[nd->p.rope];
        st = mem_alloc(&angles, (size_t)(n * c.rope->n_rot) * sizeof(float), "angles", e);
        if (!st)
            rope_turns(c.rope, b.pos, n, angles);
        c.angles = angles;
    }
    if (!st)
        st = mem_alloc(&data, (size_t)shape_count(&y.shape) * sizeof(float), nd->name, e);
    if (!st && op->state)
        st = mem_alloc(&state, (size_t)(op_state_row(nd, shapes) * n * op_state_element(mode)),
                       "state", e);
    if (!st) {
        y.data = data;
        c.state = state;
        op->forward(&c);
        *out = y;
    } else
        mem_free(data);
    mem_free(state);
    mem_free(angles);
    free((void *)b.keys);
    free(numbers);
    return st;
}
