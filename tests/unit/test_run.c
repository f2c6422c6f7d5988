/* SPDX-License-Identifier: MIT */
/* Same bits: a run's values depend on model, prompt and mode, and on nothing else. */
#include "tests/harness/unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tests/harness/outcome.h"

static void threads(void **state)
{
    (void)state;
    static const int counts[] = { 2, 3, 16 };
    for (int f = 0; f < FILES; f++) {
        struct model *m = open_file(f);
        int32_t ids[TOKENS];
        make_ids(1, ids);
        struct outcome want = plain_outcome(m, ids, TOKENS);
        for (int i = 0; i < 3; i++) {
            struct pool *pool = pool_new(counts[i]);
            struct run_options o = { .pool = pool };
            assert_outcome(models_run(m, &o, ids, TOKENS), want, "threads", counts[i]);
            pool_free(pool);
        }
        outcome_free(want);
        model_free(m);
    }
}

static void spans_of_equal_length(void **state)
{
    (void)state;
    for (int f = 0; f < FILES; f++) {
        struct model *m = open_file(f);
        int32_t ids[TOKENS];
        make_ids(2, ids);
        struct outcome want = plain_outcome(m, ids, TOKENS);
        for (int span = 1; span < 9; span++) {
            struct run_options o = { .span = span };
            struct run *r = models_run(m, &o, ids, TOKENS);
            assert_int_equal(run_n_spans(r), (TOKENS + span - 1) / span);
            assert_outcome(r, want, "span", span);
        }
        outcome_free(want);
        model_free(m);
    }
}

/* A prompt that arrives in pieces, the run moving on between some of them. */
static struct run *run_in_pieces(const struct model *m, const int32_t *ids, uint64_t *seed)
{
    struct err e = ERR_INIT;
    struct run_options o = { .span = (int64_t)(unit_random(seed) % 6) };
    int64_t n = 1 + (int64_t)(unit_random(seed) % TOKENS);
    struct run *r = models_run(m, &o, ids, n);
    if (unit_random(seed) % 2)
        run_want_all(r, 1);
    while (n < TOKENS) {
        if (unit_random(seed) % 2)
            models_finish(r);
        int64_t more = 1 + (int64_t)(unit_random(seed) % (uint64_t)(TOKENS - n));
        assert_ok(run_append(r, ids + n, more, &e), &e);
        n += more;
    }
    return r;
}

static void random_divisions(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (int f = 0; f < FILES; f++) {
        struct model *m = open_file(f);
        int32_t ids[TOKENS];
        make_ids(3, ids);
        struct outcome want = plain_outcome(m, ids, TOKENS);
        for (int i = 0; i < 25; i++)
            assert_outcome(run_in_pieces(m, ids, &seed), want, "division", i);
        outcome_free(want);
        model_free(m);
    }
}

static void token_by_token(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct model *m = open_file(0);
    int32_t ids[TOKENS];
    make_ids(4, ids);
    struct outcome want = plain_outcome(m, ids, TOKENS);
    struct run *r = models_run(m, NULL, ids, 1);
    for (int t = 1; t < TOKENS; t++) {
        models_finish(r);
        assert_ok(run_append(r, ids + t, 1, &e), &e);
    }
    assert_int_equal(run_n_spans(r), TOKENS);
    assert_outcome(r, want, "token by token", 0);
    outcome_free(want);
    model_free(m);
}

/* Tokens of three sequences, mixed and in any number of spans, against each sequence alone. */
static void check_sequences(const struct model *m, uint64_t *seed)
{
    enum { SEQUENCES = 3 };
    struct err e = ERR_INIT;
    int32_t ids[TOKENS], seq[TOKENS], alone[SEQUENCES][TOKENS], place[SEQUENCES][TOKENS];
    int64_t n[SEQUENCES] = { 0 };
    make_ids(*seed, ids);
    for (int t = 0; t < TOKENS; t++) {
        seq[t] = (int32_t)(t < SEQUENCES ? (uint64_t)t : unit_random(seed) % SEQUENCES);
        place[seq[t]][n[seq[t]]] = t;
        alone[seq[t]][n[seq[t]]++] = ids[t];
    }
    struct run_options o = { .span = (int64_t)(unit_random(seed) % 20) };
    struct run *r = run_new(m, &o);
    assert_ok(run_input(r, ids, seq, NULL, TOKENS, &e), &e);
    struct outcome all = outcome_of(r);
    for (int s = 0; s < SEQUENCES; s++) {
        struct outcome one = plain_outcome(m, alone[s], n[s]);
        for (int64_t t = 0; t < n[s]; t++)
            assert_same(all.logits + place[s][t] * VOCAB, one.logits + t * VOCAB, VOCAB, "sequence",
                        s);
        outcome_free(one);
    }
    outcome_free(all);
    run_free(r);
}

static void sequences(void **state)
{
    (void)state;
    uint64_t seed = 5;
    for (int f = 0; f < FILES; f++) {
        struct model *m = open_file(f);
        for (int i = 0; i < 6; i++)
            check_sequences(m, &seed);
        model_free(m);
    }
}

/* Go to and fro, sometimes on, sometimes looking, then on to the end. */
static void walk(struct run *r, uint64_t *seed)
{
    struct err e = ERR_INIT;
    for (int i = 0; i < 30; i++) {
        if (unit_random(seed) % 2) {
            assert_ok(run_goto(r, random_position(r, run_reached(r), seed), NULL, &e), &e);
        } else {
            struct position to = random_position(r, run_end(r), seed);
            assert_ok(run_forward(r, to, NULL, NULL, &e), &e);
        }
        const struct position at = run_position(r);
        const int value = (int)(unit_random(seed) % (uint64_t)run_graph(r)->n_values);
        struct tensor x;
        if (run_graph(r)->values[value].node < at.node)
            assert_ok(run_read(r, at.span, value, &x, &e), &e);
        else
            assert_fails(run_read(r, at.span, value, &x, &e), ST_STATE, &e);
    }
}

static void walks(void **state)
{
    (void)state;
    uint64_t seed = 8;
    for (int f = 0; f < FILES; f++) {
        struct model *m = open_file(f);
        int32_t ids[TOKENS];
        make_ids(8, ids);
        struct outcome want = plain_outcome(m, ids, TOKENS);
        for (int i = 0; i < 12; i++) {
            static const size_t checkpoints[] = { 6000, 0, RUN_NO_CHECKPOINTS };
            struct run_options o = { .span = (int64_t)(unit_random(&seed) % 12),
                                     .checkpoint_bytes = checkpoints[i % 3] };
            struct run *r = models_run(m, &o, ids, TOKENS);
            walk(r, &seed);
            assert_outcome(r, want, "walk", i);
        }
        outcome_free(want);
        model_free(m);
    }
}

static bool look_only(void *data, const struct event *ev)
{
    (void)ev;
    *(int *)data += 1;
    return false;
}

/* The last tokens alone have the bits that they have among all. The run goes on afterwards, and to
 * ask again, or while somebody looks, gives the same. */
static void tails(void **state)
{
    (void)state;
    static const struct run_options options[] = {
        { .span = 0 },
        { .span = 16 },
        { .span = 0, .checkpoint_bytes = RUN_NO_CHECKPOINTS },
    };
    struct err e = ERR_INIT;
    for (int f = 0; f < FILES; f++) {
        struct model *m = open_file(f);
        const int64_t width = shape_per_token(&m->graph->values[m->graph->hidden].shape);
        const struct block *last = &m->graph->blocks[m->graph->n_blocks - 1];
        float *hidden = x_alloc((size_t)(TOKENS * width) * sizeof *hidden);
        int32_t ids[TOKENS];
        make_ids(19, ids);
        struct outcome want = plain_outcome(m, ids, TOKENS);
        for (int i = 0; i < 3; i++)
            for (int64_t n = 1; n <= 8; n += 7) {
                struct run *r = models_run(m, &options[i], ids, TOKENS);
                int seen = 0;
                for (int again = 0; again < 3; again++) {
                    if (again == 2)
                        run_probe(r, look_only, &seen);
                    memset(hidden, 0xff, (size_t)(n * width) * sizeof *hidden);
                    assert_ok(run_tail(r, n, hidden, NULL, &e), &e);
                    assert_same(hidden, want.hidden + (TOKENS - n) * width, n * width, "tail", n);
                    assert_int_equal(seen > 0, again == 2);
                    assert_int_equal(run_position(r).node == last->first, again < 2);
                }
                assert_fails(run_tail(r, TOKENS + 1, hidden, NULL, &e), ST_RANGE, &e);
                assert_outcome(r, want, "after the tail", n);
            }
        free(hidden);
        outcome_free(want);
        model_free(m);
    }
}

/* Positions that a walk stands at, and what forward and goto make of bounds. */
static void positions(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct model *m = open_file(0);
    int32_t ids[TOKENS];
    make_ids(9, ids);
    struct run_options o = { .span = 16 };
    struct run *r = models_run(m, &o, ids, TOKENS);
    const int nodes = run_graph(r)->n_nodes;
    assert_int_equal(run_n_spans(r), 3);
    assert_int_equal(run_span_of(r, 15), 0);
    assert_int_equal(run_span_of(r, 16), 1);
    assert_fails(run_goto(r, (struct position){ 0, 1 }, NULL, &e), ST_STATE, &e);
    assert_ok(run_forward(r, (struct position){ 1, 0 }, NULL, NULL, &e), &e);
    assert_int_equal(run_position(r).span, 0);
    assert_int_equal(run_position(r).node, nodes);
    assert_ok(run_forward(r, (struct position){ 1, 3 }, NULL, NULL, &e), &e);
    assert_int_equal(run_position(r).node, 3);
    assert_ok(run_goto(r, (struct position){ 0, 5 }, NULL, &e), &e);
    assert_int_equal(run_reached(r).span, 1);
    assert_fails(run_goto(r, (struct position){ 1, 4 }, NULL, &e), ST_STATE, &e);
    assert_fails(run_goto(r, (struct position){ -1, 0 }, NULL, &e), ST_STATE, &e);
    assert_ok(run_forward(r, (struct position){ 99, 0 }, NULL, NULL, &e), &e);
    assert_true(run_done(r));
    assert_int_equal(run_position(r).span, 2);
    run_free(r);
    model_free(m);
}

static void bad_input(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct model *m = open_file(2); /* 64 positions */
    struct run_options o = { 0 };
    struct run *r = run_new(m, &o);
    struct tensor x;
    int32_t ids[100] = { 0 }, seq[100] = { 0 }, pos[100] = { 0 };
    bool stopped;
    assert_fails(run_forward(r, (struct position){ 1, 0 }, NULL, &stopped, &e), ST_STATE, &e);
    assert_fails(run_read(r, 0, 0, &x, &e), ST_RANGE, &e);
    assert_fails(run_input(r, ids, NULL, NULL, 0, &e), ST_RANGE, &e);
    assert_fails(run_input(r, ids, NULL, NULL, 65, &e), ST_RANGE, &e);
    assert_string_equal(e.msg, "position 64 is not in 0..63");
    assert_ok(run_input(r, ids, NULL, NULL, 64, &e), &e);
    assert_fails(run_append(r, ids, 1, &e), ST_RANGE, &e);
    models_finish(r);
    ids[1] = VOCAB;
    assert_fails(run_input(r, ids, NULL, NULL, 2, &e), ST_RANGE, &e);
    assert_string_equal(e.msg, "token 320 is not in 0..319");
    ids[1] = -1;
    assert_fails(run_input(r, ids, NULL, NULL, 2, &e), ST_RANGE, &e);
    ids[1] = 0;
    seq[1] = -1;
    assert_fails(run_input(r, ids, seq, NULL, 2, &e), ST_RANGE, &e);
    seq[1] = 1 << 20;
    assert_fails(run_input(r, ids, seq, NULL, 2, &e), ST_RANGE, &e);
    seq[1] = 0;
    pos[1] = -1;
    assert_fails(run_input(r, ids, seq, pos, 2, &e), ST_RANGE, &e);
    pos[1] = 64;
    assert_fails(run_input(r, ids, seq, pos, 2, &e), ST_RANGE, &e);
    pos[1] = 63;
    assert_ok(run_input(r, ids, seq, pos, 2, &e), &e);
    models_finish(r);
    assert_fails(run_read(r, 1, 0, &x, &e), ST_RANGE, &e);
    assert_fails(run_read(r, 0, 1000, &x, &e), ST_RANGE, &e);
    run_free(r);
    model_free(m);
}

static void reading_ahead_names_the_position(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct model *m = open_file(0);
    int32_t ids[TOKENS];
    make_ids(15, ids);
    struct run *r = models_run(m, NULL, ids, TOKENS);
    struct tensor x;
    const int v = graph_point(run_graph(r), STR("blk.1.out"), NULL, NULL);
    assert_ok(run_forward(r, (struct position){ 0, 2 }, NULL, NULL, &e), &e);
    assert_fails(run_read(r, 0, v, &x, &e), ST_STATE, &e);
    assert_non_null(strstr(e.msg, "blk.1.out"));
    assert_non_null(strstr(e.msg, "s0:blk.0.attn_norm"));
    run_free(r);
    model_free(m);
}

/* A second prompt finds nothing of the first. */
static void a_new_prompt_forgets_the_old(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct model *m = open_file(0);
    int32_t a[TOKENS], b[TOKENS];
    make_ids(17, a);
    make_ids(18, b);
    struct run *fresh = models_run(m, NULL, b, TOKENS), *used = models_run(m, NULL, a, TOKENS);
    models_finish(fresh);
    models_finish(used);
    models_read(used, 0, "blk.0.attn_q.rope"); /* computed again, so held beside the run */
    assert_ok(run_input(used, b, NULL, NULL, TOKENS, &e), &e);
    models_finish(used);
    struct tensor want = models_read(fresh, 0, "blk.0.attn_q.rope"),
                  got = models_read(used, 0, "blk.0.attn_q.rope");
    assert_same(got.data, want.data, shape_count(&want.shape), "second prompt", 0);
    want = models_read(fresh, 0, "output.out");
    got = models_read(used, 0, "output.out");
    assert_same(got.data, want.data, shape_count(&want.shape), "second prompt", 1);
    run_free(fresh);
    run_free(used);
    model_free(m);
}

/* The budget is too small for the activations: an error, and the run can be freed. */
static void memory_runs_out(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct model *m = open_file(0);
    int32_t ids[TOKENS];
    make_ids(16, ids);
    struct outcome want = plain_outcome(m, ids, TOKENS);
    struct run *r = models_run(m, NULL, ids, TOKENS);
    mem_set_budget(mem_used() + 40000);
    assert_fails(run_forward(r, run_end(r), NULL, NULL, &e), ST_NOMEM, &e);
    assert_false(run_done(r));
    mem_set_budget(0);
    assert_outcome(r, want, "after the budget", 0);
    outcome_free(want);
    model_free(m);
}

UNIT_MAIN(CASE(threads), CASE(spans_of_equal_length), CASE(random_divisions), CASE(token_by_token),
          CASE(sequences), CASE(walks), CASE(tails), CASE(positions),
          CASE(bad_input), CASE(reading_ahead_names_the_position),
          CASE(a_new_prompt_forgets_the_old), CASE(memory_runs_out))
