/* SPDX-License-Identifier: MIT */
/* Products of the same activations that a run makes as one: nobody can tell. */
#include "tests/harness/unit.h"

#include <stdlib.h>

#include "kernels/pool.h"
#include "tests/harness/outcome.h"

enum { SPAN = 4 };

static bool look_on(void *data, const struct event *ev)
{
    const int *stop_at = data;
    return stop_at && ev->value == *stop_at;
}

static void halve(void *data, const struct event *ev, float *x)
{
    (void)data;
    const int64_t n = shape_count(&ev->x->shape);
    for (int64_t i = 0; i < n; i++)
        x[i] *= 0.5f;
}

static struct model *codes(int32_t ids[TOKENS])
{
    make_ids(21, ids);
    return models_open(golden_path("models/llama-gqa-tied-q8_0.gguf"));
}

static struct run *few_at_a_time(const struct model *m, const int32_t *ids, struct pool *pool)
{
    struct run_options o = { .mode = COMPUTE_NATIVE, .span = SPAN, .pool = pool };
    return models_run(m, &o, ids, TOKENS);
}

static int value_of(const struct run *r, const char *name)
{
    const struct graph *g = run_graph(r);
    for (int v = 0; v < g->n_values; v++)
        if (!strcmp(g->values[v].name, name))
            return v;
    fail_msg("there is no point %s", name);
    return -1;
}

/* The same, node by node. */
static struct outcome watched(const struct model *m, const int32_t *ids, const char *halved)
{
    struct run *r = few_at_a_time(m, ids, NULL);
    run_probe(r, look_on, NULL);
    if (halved)
        run_transform(r, value_of(r, halved), halve, NULL);
    struct outcome o = outcome_of(r);
    run_free(r);
    return o;
}

static void nobody_need_watch(void **state)
{
    (void)state;
    int32_t ids[TOKENS];
    struct model *m = codes(ids);
    struct outcome want = watched(m, ids, NULL);
    for (int threads = 1; threads < 4; threads++) {
        struct pool *pool = pool_new(threads);
        assert_outcome(few_at_a_time(m, ids, pool), want, "threads", threads);
        pool_free(pool);
    }
    outcome_free(want);
    model_free(m);
}

static void changes_are_made(void **state)
{
    (void)state;
    static const char *const points[] = { "blk.0.attn_q.out", "blk.0.attn_k.out",
                                          "blk.1.attn_v.out", "blk.1.ffn_gate.out",
                                          "blk.0.ffn_up.out" };
    int32_t ids[TOKENS];
    struct model *m = codes(ids);
    struct outcome same = watched(m, ids, NULL);
    for (int i = 0; i < 5; i++) {
        struct outcome want = watched(m, ids, points[i]);
        assert_true(memcmp(want.logits, same.logits, VOCAB * TOKENS * sizeof(float)));
        struct run *r = few_at_a_time(m, ids, NULL);
        run_transform(r, value_of(r, points[i]), halve, NULL);
        assert_outcome(r, want, points[i], i);
        outcome_free(want);
    }
    outcome_free(same);
    model_free(m);
}

static void every_place_can_be_reached(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    int32_t ids[TOKENS];
    struct model *m = codes(ids);
    struct outcome want = watched(m, ids, NULL);
    for (int from = 0; from < 3; from++) {
        struct run *r = few_at_a_time(m, ids, NULL);
        for (int node = 1 + from; node <= run_graph(r)->n_nodes; node += 1 + from) {
            const struct position to = { 0, node };
            assert_ok(run_forward(r, to, NULL, NULL, &e), &e);
            assert_int_equal(position_compare(run_position(r), to), 0);
        }
        assert_outcome(r, want, "place by place", from);
    }
    outcome_free(want);
    model_free(m);
}

static void stops_are_where_they_were(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    int32_t ids[TOKENS];
    struct model *m = codes(ids);
    struct run *r = few_at_a_time(m, ids, NULL);
    int v = value_of(r, "blk.1.attn_k.out");
    bool stopped;
    run_probe(r, look_on, &v);
    assert_ok(run_forward(r, run_end(r), NULL, &stopped, &e), &e);
    assert_true(stopped);
    assert_int_equal(run_position(r).span, 0);
    assert_int_equal(run_position(r).node, run_graph(r)->values[v].node + 1);
    run_free(r);
    model_free(m);
}

/* Wherever the other thread strikes, many times. */
static void cancelled_in_the_middle(void **state)
{
    (void)state;
    int32_t ids[TOKENS];
    struct model *m = codes(ids);
    struct outcome want = watched(m, ids, NULL);
    struct pool *pool = pool_new(2);
    for (int k = 0; k < 50; k++) {
        struct run *r = few_at_a_time(m, ids, pool);
        run_under_alarm(r, 1000);
        assert_outcome(r, want, "alarm", k);
    }
    pool_free(pool);
    outcome_free(want);
    model_free(m);
}

UNIT_MAIN(CASE(nobody_need_watch),
          CASE(changes_are_made),
          CASE(every_place_can_be_reached),
          CASE(stops_are_where_they_were),
          CASE(cancelled_in_the_middle))
