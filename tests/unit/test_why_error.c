/* SPDX-License-Identifier: MIT */
/* Errors against a reference are traced back: to the weight and block that was planted, and what
 * the terms say adds up. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/codec.h"
#include "study/compare.h"
#include "study/why_error.h"
#include "tests/harness/plant.h"

enum { PLANTS = 200, N_IDS = 8 };
static const int32_t ids[N_IDS] = { 5, 9, 3, 7, 11, 2, 8, 4 };

/* A scale with the wrong sign, or 16 times too large; false where it is 0. */
static bool spoil(uint8_t *block, uint64_t *seed)
{
    uint16_t scale;
    memcpy(&scale, block, sizeof scale);
    if (!(scale & 0x7fff))
        return false;
    scale = unit_random(seed) % 2 ? scale ^ 0x8000 : (uint16_t)(scale + (4 << 10));
    memcpy(block, &scale, sizeof scale);
    return true;
}

static int64_t worst(struct run *r, struct run *ref, int value)
{
    struct err e = ERR_INIT;
    struct tensor x, y;
    assert_ok(run_read(r, 0, value, &x, &e), &e);
    assert_ok(run_read(ref, 0, value, &y, &e), &e);
    return largest_error(x.data, y.data, shape_count(&x.shape));
}

/* The first point with an error; -1 without. */
static int first_error(struct run *r, struct run *ref)
{
    const struct graph *g = run_graph(r);
    for (int i = 0; i < g->n_nodes; i++)
        if (worst(r, ref, g->nodes[i].out) >= 0)
            return g->nodes[i].out;
    return -1;
}

/* The parts of every step add up to its error. */
static void expect_sums(const struct error_trace *t)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct error_step *s = &t->steps[i];
        const double error = s->x - s->ref;
        if (s->n_terms)
            assert_float_equal(s->weight + s->inherited + s->scale + s->rest, error,
                               1e-9 * (1 + fabs(error)));
    }
}

struct truth {
    const struct weight *w;
    int64_t row, block;
};

static bool right(struct run *r, const struct error_trace *t, const struct truth *is)
{
    const struct error_step *last = &t->steps[t->n - 1];
    const struct graph *g = run_graph(r);
    const struct op_term *c = &last->cause.run;
    const struct node *node = &g->nodes[g->values[last->value].node];
    return last->verdict == ERROR_WEIGHT && c->slot >= 0
           && str_eq(node->w[c->slot]->name, is->w->name) && c->row == is->row
           && c->col / format_info(is->w->format)->block == is->block;
}

static void a_wrong_scale_is_named(void **unused)
{
    (void)unused;
    struct original o = original_open(golden_path("models/llama-gqa-tied-q8_0.gguf"));
    struct run *ref = plant_run(o.m, COMPUTE_EXACT, ids, N_IDS);
    struct err e = ERR_INIT;
    uint64_t seed = 31;
    int first = 0, claims = 0, true_claims = 0;
    for (int i = 0; i < PLANTS;) {
        struct truth is = { .w = plant_draw(&o, "q8_0", &seed) };
        is.row = (int64_t)(unit_random(&seed) % is.w->rows);
        is.block = (int64_t)(unit_random(&seed) % (is.w->cols / 32));
        char *copy = original_copy(&o);
        if (spoil(plant_at(&o, copy, is.w, is.row, is.block), &seed)) {
            struct model *m = plant_model(&o, copy);
            struct run *r = plant_run(m, COMPUTE_EXACT, ids, N_IDS);
            const int v = first_error(r, ref), out = run_graph(r)->hidden;
            struct error_trace t;
            assert_true(v >= 0);
            assert_ok(why_error_of(r, ref, 0, v, worst(r, ref, v), NULL, NULL, &t, &e), &e);
            first += t.n == 1 && right(r, &t, &is);
            expect_sums(&t);
            error_trace_free(&t);
            const int64_t at = worst(r, ref, out);
            if (at >= 0) { /* from the far end: it may not get there, but must not be wrong */
                assert_ok(why_error_of(r, ref, 0, out, at, NULL, NULL, &t, &e), &e);
                claims += t.steps[t.n - 1].verdict == ERROR_WEIGHT;
                true_claims += right(r, &t, &is);
                expect_sums(&t);
                error_trace_free(&t);
            }
            run_free(r);
            model_free(m);
            i++;
        }
        free(copy);
    }
    print_message("# wrong scales: %d of %d named at the first point; from the last one %d of %d "
                  "claims right\n",
                  first, PLANTS, true_claims, claims);
    assert_int_equal(first, PLANTS);
    assert_true(true_claims >= 0.95 * claims && claims > PLANTS / 4);
    run_free(ref);
    original_free(&o);
}

static bool always(void *data, int span, int value, int64_t at)
{
    (void)span;
    (void)at;
    return value == *(int *)data;
}

static void other_ends_of_a_trace(void **unused)
{
    (void)unused;
    struct original o = original_open(golden_path("models/llama-gqa-tied-q8_0.gguf"));
    struct run *ref = plant_run(o.m, COMPUTE_EXACT, ids, N_IDS);
    struct run *native = plant_run(o.m, COMPUTE_NATIVE, ids, N_IDS);
    const struct graph *g = run_graph(ref);
    struct err e = ERR_INIT;
    struct error_trace t;
    int v = g->embedding;
    assert_int_equal(worst(native, ref, v), -1);
    assert_ok(why_error_of(native, ref, 0, v, 0, NULL, NULL, &t, &e), &e);
    assert_int_equal(t.steps[0].verdict, ERROR_NONE);
    error_trace_free(&t);
    v = first_error(native, ref); /* the same weights, rounded activations */
    assert_ok(why_error_of(native, ref, 0, v, worst(native, ref, v), NULL, NULL, &t, &e), &e);
    assert_int_equal(t.steps[0].verdict, ERROR_ROUNDED);
    error_trace_free(&t);
    v = g->blocks[0].output;
    const int64_t at = worst(native, ref, v);
    assert_ok(why_error_of(native, ref, 0, v, at, always, &v, &t, &e), &e);
    assert_int_equal(t.n, 1);
    assert_int_equal(t.steps[0].verdict, ERROR_CHANGED);
    error_trace_free(&t);
    assert_fails(why_error_of(native, ref, 0, v, 1 << 20, NULL, NULL, &t, &e), ST_RANGE, &e);
    run_free(native);
    run_free(ref);
    original_free(&o);
}

static void the_largest_error(void **unused)
{
    (void)unused;
    const float ref[] = { 1, 2, INFINITY, 4 }, x[] = { 1, 3, 0, 2 };
    const float bad[] = { 9, NAN, 3, INFINITY };
    assert_int_equal(largest_error(x, ref, 4), 3);
    assert_int_equal(largest_error(bad, ref, 4), 1);
    assert_int_equal(largest_error(ref, ref, 4), -1);
}

UNIT_MAIN(CASE(a_wrong_scale_is_named), CASE(other_ends_of_a_trace), CASE(the_largest_error))
