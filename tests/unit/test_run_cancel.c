/* SPDX-License-Identifier: MIT */
/* A run that is interrupted, anywhere, goes on later as if nothing had been. */
#include "tests/harness/unit.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tests/harness/outcome.h"

struct stopper {
    volatile sig_atomic_t cancel;
    int left; /* calls of show until the user changes his mind */
};

static void count_down(struct progress *p, const char *label, double done, double total)
{
    (void)label;
    struct stopper *s = p->data;
    assert_true(done >= 0 && done <= total);
    if (s->left-- == 0)
        s->cancel = 1;
}

/* How often a whole run looks whether it is to stop. */
static int looks(struct model *m, const struct run_options *o, const int32_t *ids)
{
    struct err e = ERR_INIT;
    struct stopper s = { 0, INT_MAX };
    struct progress p = { count_down, &s.cancel, &s };
    struct run *r = models_run(m, o, ids, TOKENS);
    assert_ok(run_forward(r, run_end(r), &p, NULL, &e), &e);
    run_free(r);
    return INT_MAX - s.left;
}

static void cancelled_runs_go_on(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    uint64_t seed = 11;
    struct model *m = open_file(0);
    int32_t ids[TOKENS];
    make_ids(11, ids);
    struct outcome want = plain_outcome(m, ids, TOKENS);
    for (int i = 0; i < 20; i++) {
        struct run_options o = { .span = (int64_t)(unit_random(&seed) % 12) };
        struct run *r = models_run(m, &o, ids, TOKENS);
        struct stopper s = { 0, (int)(unit_random(&seed) % (uint64_t)looks(m, &o, ids)) };
        struct progress p = { count_down, &s.cancel, &s };
        assert_fails(run_forward(r, run_end(r), &p, NULL, &e), ST_CANCELLED, &e);
        assert_false(run_done(r));
        s = (struct stopper){ 0, 1 };
        struct position here = run_position(r), back = random_position(r, run_reached(r), &seed);
        if (run_goto(r, back, &p, &e)) { /* a cancelled move leaves the run where it was */
            assert_int_equal(e.st, ST_CANCELLED);
            assert_int_equal(position_compare(run_position(r), here), 0);
        }
        assert_outcome(r, want, "cancelled", i);
    }
    outcome_free(want);
    model_free(m);
}

/* What is computed again only to be looked at hears the user too. */
static void cancelled_reads(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct model *m = open_file(0);
    int32_t ids[TOKENS];
    make_ids(13, ids);
    volatile sig_atomic_t cancel = 0;
    struct run_options o = { .cancel = &cancel };
    struct run *r = models_run(m, &o, ids, TOKENS);
    assert_ok(run_forward(r, run_end(r), NULL, NULL, &e), &e);
    struct tensor x;
    cancel = 1;
    assert_fails(run_read(r, 0, run_graph(r)->nodes[0].out, &x, &e), ST_CANCELLED, &e);
    assert_ok(run_read(r, 0, run_graph(r)->logits, &x, &e), &e); /* is held */
    cancel = 0;
    assert_ok(run_read(r, 0, run_graph(r)->nodes[0].out, &x, &e), &e);
    run_free(r);
    model_free(m);
}

/* Cancelled in the middle of nodes, wherever the other thread strikes. */
static void cancelled_anywhere(void **state)
{
    (void)state;
    struct model *m = open_file(1);
    int32_t ids[TOKENS];
    make_ids(12, ids);
    struct outcome want = plain_outcome(m, ids, TOKENS);
    struct pool *pool = pool_new(2);
    struct run_options o = { .pool = pool };
    struct run *r = models_run(m, &o, ids, TOKENS);
    run_under_alarm(r, 2000);
    assert_outcome(r, want, "alarm", 0);
    pool_free(pool);
    outcome_free(want);
    model_free(m);
}

UNIT_MAIN(CASE(cancelled_runs_go_on), CASE(cancelled_reads), CASE(cancelled_anywhere))
