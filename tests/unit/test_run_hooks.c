/* SPDX-License-Identifier: MIT */
/* Probes change nothing and see what is read later; transforms change what comes after them. */
#include "tests/harness/unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tests/harness/outcome.h"

struct record {
    float **copy;
    int64_t *count;
    int n_values, calls;
    int stop_at; /* value at which to stop, -1 = none */
};

static bool look(void *data, const struct event *ev)
{
    struct record *rec = data;
    const size_t i = (size_t)(ev->at.span * rec->n_values + ev->value);
    const size_t n = (size_t)shape_count(&ev->x->shape);
    free(rec->copy[i]);
    rec->copy[i] = x_alloc(n * sizeof(float));
    memcpy(rec->copy[i], ev->x->data, n * sizeof(float));
    rec->count[i] = (int64_t)n;
    rec->calls++;
    return ev->value == rec->stop_at;
}

static struct record record_new(const struct run *r)
{
    const int values = run_graph(r)->n_values;
    const size_t n = (size_t)(values * run_n_spans(r));
    return (struct record){ x_alloc(n * sizeof(float *)), x_alloc(n * sizeof(int64_t)), values, 0,
                            -1 };
}

static void record_free(struct record *rec, int spans)
{
    for (int i = 0; i < spans * rec->n_values; i++)
        free(rec->copy[i]);
    free(rec->copy);
    free(rec->count);
}

static void probes_change_nothing(void **state)
{
    (void)state;
    for (int f = 0; f < FILES; f++) {
        struct model *m = open_file(f);
        int32_t ids[TOKENS];
        make_ids(6, ids);
        struct outcome want = plain_outcome(m, ids, TOKENS);
        for (int all = 0; all < 2; all++) {
            struct run *r = models_run(m, NULL, ids, TOKENS);
            struct record rec = record_new(r);
            run_probe(r, look, &rec);
            run_want_all(r, all);
            models_finish(r);
            const int hidden = 2 * run_graph(r)->n_blocks; /* scores and probabilities */
            assert_int_equal(rec.calls, rec.n_values - (all ? 0 : hidden));
            record_free(&rec, 1);
            assert_outcome(r, want, "probes", all);
        }
        outcome_free(want);
        model_free(m);
    }
}

/* Points read after the run, in random order, equal what probes saw while it ran. */
static void check_reading(const struct model *m, int64_t span, size_t checkpoint_bytes,
                          uint64_t *seed)
{
    struct err e = ERR_INIT;
    int32_t ids[TOKENS];
    make_ids(7, ids);
    struct run_options o = { .span = span, .checkpoint_bytes = checkpoint_bytes };
    struct run *r = models_run(m, &o, ids, TOKENS);
    struct record rec = record_new(r);
    int probe = run_probe(r, look, &rec);
    run_want_all(r, 1);
    models_finish(r);
    run_unprobe(r, probe);
    run_want_all(r, -1);
    const int n = rec.n_values * run_n_spans(r), calls = rec.calls;
    assert_int_equal(calls, n);
    assert_true(run_memory(r).checkpoints <= run_memory(r).checkpoint_limit);
    for (int i = 0; i < 150; i++) {
        const int at = (int)(unit_random(seed) % (uint64_t)n);
        struct tensor x;
        assert_ok(run_read(r, at / rec.n_values, at % rec.n_values, &x, &e), &e);
        assert_int_equal(shape_count(&x.shape), rec.count[at]);
        assert_same(x.data, rec.copy[at], rec.count[at],
                    run_graph(r)->values[at % rec.n_values].name, at);
    }
    assert_int_equal(rec.calls, calls);
    record_free(&rec, run_n_spans(r));
    run_free(r);
}

static void reading_gives_what_probes_saw(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (int f = 0; f < FILES; f++) {
        struct model *m = open_file(f);
        check_reading(m, 0, 0, &seed);
        check_reading(m, 7, 0, &seed);
        check_reading(m, 7, 1, &seed);     /* no checkpoint fits */
        check_reading(m, 5, 12000, &seed); /* some do */
        model_free(m);
    }
}

struct leaver {
    struct run *run;
    int handle, calls, heir_calls;
};

static bool inherit(void *data, const struct event *ev)
{
    (void)ev;
    ((struct leaver *)data)->heir_calls++;
    return false;
}

static bool leave(void *data, const struct event *ev)
{
    struct leaver *l = data;
    if (++l->calls == 3) {
        run_unprobe(ev->run, l->handle);
        for (int i = 0; i < 9; i++) /* the list of probes is moved, too */
            run_unprobe(ev->run, run_probe(ev->run, inherit, l));
        run_probe(ev->run, inherit, l);
    }
    return false;
}

static void probes_come_and_go_while_they_are_called(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct model *m = open_file(0);
    int32_t ids[TOKENS];
    make_ids(11, ids);
    struct run *r = models_run(m, NULL, ids, TOKENS);
    struct record before = record_new(r), behind = record_new(r);
    struct leaver l = { .run = r };
    run_probe(r, look, &before);
    l.handle = run_probe(r, leave, &l);
    run_probe(r, look, &behind);
    run_want_all(r, 1);
    assert_ok(run_forward(r, run_end(r), NULL, NULL, &e), &e);
    assert_int_equal(l.calls, 3);
    assert_int_equal(l.heir_calls, before.calls - 3); /* from the next point on */
    assert_int_equal(behind.calls, before.calls);     /* the neighbour misses nothing */
    record_free(&before, run_n_spans(r));
    record_free(&behind, run_n_spans(r));
    run_free(r);
    model_free(m);
}

static void probes_stop_a_run(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct model *m = open_file(0);
    int32_t ids[TOKENS];
    make_ids(10, ids);
    struct run *r = models_run(m, NULL, ids, TOKENS);
    struct record rec = record_new(r);
    bool stopped = false;
    rec.stop_at = graph_point(run_graph(r), STR("blk.1.attn_norm.out"), NULL, NULL);
    run_probe(r, look, &rec);
    assert_ok(run_forward(r, run_end(r), NULL, &stopped, &e), &e);
    assert_true(stopped);
    assert_int_equal(run_position(r).node, run_graph(r)->values[rec.stop_at].node + 1);
    assert_ok(run_forward(r, run_end(r), NULL, &stopped, &e), &e);
    assert_false(stopped);
    assert_true(run_done(r));
    record_free(&rec, 1);
    run_free(r);
    model_free(m);
}

/* --- cancelling ------------------------------------------------------------------------------ */

static void halve(void *data, const struct event *ev, float *x)
{
    ++*(int *)data;
    for (int64_t i = 0; i < shape_count(&ev->x->shape); i++)
        x[i] *= 0.5f;
}

static void add_one(void *data, const struct event *ev, float *x)
{
    (void)data;
    for (int64_t i = 0; i < shape_count(&ev->x->shape); i++)
        x[i] += 1;
}

static float first_of(struct run *r, const char *point) { return models_read(r, 0, point).data[0]; }

static void transforms_come_before_probes(void **state)
{
    (void)state;
    struct model *m = open_file(0);
    int32_t ids[TOKENS];
    make_ids(13, ids);
    struct run *r = models_run(m, NULL, ids, TOKENS);
    models_finish(r);
    const float before = first_of(r, "embd.out");
    run_free(r);

    int calls = 0;
    r = models_run(m, NULL, ids, TOKENS);
    const int v = graph_point(run_graph(r), STR("embd.out"), NULL, NULL);
    struct record rec = record_new(r);
    run_probe(r, look, &rec);
    run_transform(r, v, halve, &calls); /* in the order of registration */
    run_transform(r, v, add_one, NULL);
    models_finish(r);
    assert_int_equal(calls, 1);
    assert_true(rec.copy[v][0] == before * 0.5f + 1);
    assert_true(first_of(r, "blk.0.in") == before * 0.5f + 1);
    assert_int_equal(calls, 2); /* recomputed, so transformed again */
    record_free(&rec, 1);
    run_free(r);
    model_free(m);
}

/* A transform of probabilities opens the fused kernel; one that goes away leaves no trace. */
static void transforms_come_and_go(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    static const char *const points[] = { "blk.1.attn.prob", "blk.0.out", "embd.out",
                                          "blk.0.attn_k.rope" };
    struct model *m = open_file(0);
    int32_t ids[TOKENS];
    make_ids(14, ids);
    struct outcome want = plain_outcome(m, ids, TOKENS);
    for (int i = 0; i < 4; i++) {
        struct run_options o = { .span = 15 };
        struct run *early = models_run(m, &o, ids, TOKENS), *late = models_run(m, &o, ids, TOKENS);
        const int v = graph_point(run_graph(early), str_from(points[i]), NULL, NULL);
        int calls = 0;
        run_transform(early, v, halve, &calls);
        struct outcome changed = outcome_of(early);
        assert_int_equal(calls, 3);
        assert_true(memcmp(changed.logits + (TOKENS - 1) * VOCAB,
                           want.logits + (TOKENS - 1) * VOCAB, VOCAB * sizeof(float)));
        models_finish(late);
        int handle = run_transform(late, v, halve, &calls);
        assert_false(run_done(late));
        assert_int_equal(run_position(late).span, 0);
        assert_int_equal(run_position(late).node, run_graph(late)->values[v].node);
        struct tensor x;
        assert_fails(run_read(late, 0, v, &x, &e), ST_STATE, &e);
        struct outcome again = outcome_of(late);
        assert_same(again.logits, changed.logits, TOKENS * VOCAB, points[i], i);
        run_untransform(late, handle);
        assert_outcome(late, want, "untransformed", i);
        outcome_free(again);
        outcome_free(changed);
        run_free(early);
    }
    outcome_free(want);
    model_free(m);
}

/* --- errors ---------------------------------------------------------------------------------- */

UNIT_MAIN(CASE(probes_change_nothing), CASE(reading_gives_what_probes_saw),
          CASE(probes_come_and_go_while_they_are_called), CASE(probes_stop_a_run),
          CASE(transforms_come_before_probes), CASE(transforms_come_and_go))
