/* SPDX-License-Identifier: MIT */
#include "tests/harness/graphs.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tests/harness/unit.h"

/* A tensor of any rank, values made up; ne[0] is the row length, 0 ends. */
void graphs_tensor(struct build *b, const char *name, uint64_t n0, uint64_t n1, uint64_t n2,
                   uint64_t n3)
{
    const uint64_t ne[4] = { n0, n1, n2, n3 };
    int rank = 0;
    size_t n = 1;
    for (; rank < 4 && ne[rank]; rank++)
        n *= (size_t)ne[rank];
    float *v = x_alloc(n * sizeof *v);
    for (size_t i = 0; i < n; i++)
        v[i] = 0.02f * (float)((i * 7 + 3 * b->n_tensors) % 41) - 0.4f;
    build_tensor(b, name, 0, rank, ne, v, n * sizeof *v);
    free(v);
}

void graphs_block_tensor(struct build *b, const char *prefix, int block, const char *name,
                         uint64_t n0, uint64_t n1, uint64_t n2)
{
    char full[96];
    snprintf(full, sizeof full, "%sblk.%d.%s", prefix, block, name);
    graphs_tensor(b, full, n0, n1, n2, 0);
}

void graphs_u32(struct build *b, const char *key, int64_t v) { build_integer(b, key, GGUF_U32, v); }

void graphs_check_brief(const char *name, const char *brief)
{
    if (!brief || !*brief || strchr(brief, '\n') || strlen(brief) > 90)
        fail_msg("%s has no meaning in one line", name);
}

static void check_points(const struct graph *g)
{
    const int n = graph_n_points(g);
    assert_null(graph_point_name(g, n));
    for (int i = 0; i < n; i++) {
        const char *name = graph_point_name(g, i), *brief = NULL;
        const struct str s = str_from(name);
        struct shape shape;
        const int v = graph_point(g, s, &shape, &brief);
        assert_true(v >= 0);
        graphs_check_brief(name, brief);
        assert_false(str_ends(s, ".weight") || str_ends(s, ".bias"));
        const struct shape own = shape_resolve(g->values[v].shape, 3, 5),
                           seen = shape_resolve(shape, 3, 5);
        if (i < g->n_values || !g->aliases[i - g->n_values].derive)
            assert_int_equal(shape_count(&own), shape_count(&seen));
        for (int k = i + 1; k < n; k++)
            if (!strcmp(name, graph_point_name(g, k)))
                fail_msg("two points are called %s", name);
    }
}

static void check_blocks(const struct graph *g, int blocks)
{
    assert_int_equal(g->n_blocks, blocks);
    assert_int_equal(g->embedding, g->blocks[0].input);
    for (int i = 0; i < blocks; i++) {
        const struct block *b = &g->blocks[i];
        assert_true(b->first < b->end);
        assert_int_equal(g->values[b->output].node, b->end - 1);
        if (i) {
            assert_int_equal(b->first, g->blocks[i - 1].end);
            assert_int_equal(b->input, g->blocks[i - 1].output);
        }
    }
    for (int i = 0; i < g->n_nodes; i++) {
        const struct node *n = &g->nodes[i];
        assert_true(n->sub && *n->sub);
        for (int k = 0; k < n->n_in; k++)
            assert_true(g->values[n->in[k]].node < i);
        int block = -1;
        for (int k = 0; k < blocks; k++)
            if (i >= g->blocks[k].first && i < g->blocks[k].end)
                block = k;
        assert_int_equal(n->block, block);
    }
}

void graphs_check(const struct model *m, int blocks)
{
    if (!m->graph)
        fail_msg("no graph: %s", m->no_graph.msg);
    check_points(m->graph);
    check_blocks(m->graph, blocks);
}

void graphs_assert_shape(const struct model *m, const char *point, const char *want)
{
    struct shape shape;
    struct buf text = { 0 };
    if (graph_point(m->graph, str_from(point), &shape, NULL) < 0)
        fail_msg("there is no point %s", point);
    shape_print(&shape, &text);
    assert_string_equal(buf_str(&text), want);
    buf_free(&text);
}

void graphs_assert_refused(const struct model *m, const char *op, const char *point)
{
    struct err e = ERR_INIT;
    const struct run_options o = { 0 };
    struct run *r = run_new(m, &o);
    const int32_t id = 0;
    assert_fails(run_input(r, &id, NULL, NULL, 1, &e), ST_UNSUPPORTED, &e);
    assert_non_null(strstr(e.msg, op));
    assert_non_null(strstr(e.msg, point));
    run_free(r);
}
