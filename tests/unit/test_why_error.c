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
#include "tests/harness/scratch.h"

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

static struct truth draw(const struct original *o, uint64_t *seed)
{
    struct truth is = { .w = plant_draw(o, "q8_0", seed) };
    is.row = (int64_t)(unit_random(seed) % is.w->rows);
    is.block = (int64_t)(unit_random(seed) % (is.w->cols / 32));
    return is;
}

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
        const struct truth is = draw(&o, &seed);
        char *copy = original_copy(&o);
        if (spoil(plant_at(&o, copy, is.w, is.row, is.block), &seed)) {
            struct model *m = plant_model(&o, copy);
            struct run *r = plant_run(m, COMPUTE_EXACT, ids, N_IDS);
            const int v = first_error(r, ref), out = run_graph(r)->hidden;
            struct error_trace t;
            assert_true(v >= 0);
            assert_ok(why_error_of(r, &(struct ref_source){ .run = ref }, 0, v, worst(r, ref, v),
                                   NULL, NULL, &t, &e),
                      &e);
            first += t.n == 1 && right(r, &t, &is);
            expect_sums(&t);
            error_trace_free(&t);
            const int64_t at = worst(r, ref, out);
            if (at >= 0) { /* from the far end: it may not get there, but must not be wrong */
                assert_ok(why_error_of(r, &(struct ref_source){ .run = ref }, 0, out, at, NULL,
                                       NULL, &t, &e),
                          &e);
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

/* Every point of a run as a trace, bound to its graph. */
static void trace_of(struct run *r, struct trace_points *out)
{
    const struct graph *g = run_graph(r);
    const struct trace about = { .engine = (char *)"",
                                 .model = (char *)"",
                                 .dtype = (char *)"",
                                 .ids = (int32_t *)ids,
                                 .n_ids = N_IDS };
    struct safetensor *list = x_alloc((size_t)g->n_values * sizeof *list);
    struct trace file;
    struct err e = ERR_INIT;
    for (int v = 0; v < g->n_values; v++) {
        struct tensor x;
        assert_ok(run_read(r, 0, v, &x, &e), &e);
        float *data = x_alloc((size_t)shape_count(&x.shape) * sizeof *data);
        memcpy(data, x.data, (size_t)shape_count(&x.shape) * sizeof *data);
        list[v] = (struct safetensor){ .name = g->values[v].name,
                                       .rank = x.shape.rank,
                                       .data = data };
        for (int d = 0; d < x.shape.rank; d++)
            list[v].shape[d] = (uint64_t)x.shape.d[d].n;
    }
    assert_ok(trace_write(scratch_path("trace"), &about, list, (size_t)g->n_values, &e), &e);
    for (int v = 0; v < g->n_values; v++)
        free((void *)list[v].data);
    free(list);
    assert_ok(trace_open(scratch_path("trace"), &file, &e), &e);
    trace_points_init(out, &file);
}

/* How it did against traces: points further on, and how many of them inherit the same. */
struct further {
    int points, same;
};

/* Further on, at the last block's output, what arrived is the same against a run. */
static void look_further(struct run *r, struct run *right_run, struct ref_source *trace,
                         struct further *f)
{
    const struct graph *g = run_graph(r);
    struct ref_source run = { .run = right_run };
    const int out = g->blocks[g->n_blocks - 1].output;
    const int64_t at = worst(r, right_run, out);
    struct error_trace t, whole;
    struct err e = ERR_INIT;
    if (at < 0)
        return;
    assert_ok(why_error_of(r, trace, 0, out, at, NULL, NULL, &t, &e), &e);
    assert_ok(why_error_of(r, &run, 0, out, at, NULL, NULL, &whole, &e), &e);
    f->points++;
    f->same += fabs(t.steps[0].inherited - whole.steps[0].inherited)
               <= 1e-6 * (1 + fabs(whole.steps[0].inherited));
    error_trace_free(&whole);
    error_trace_free(&t);
}

/* Against a trace, which has no weights: what is made here is told from what is inherited, and a
 * wrong scale is named by its row and block. */
static void a_wrong_scale_is_named_against_a_trace(void **unused)
{
    (void)unused;
    enum { TRACED = PLANTS / 4 };
    struct original o = original_open(golden_path("models/llama-gqa-tied-q8_0.gguf"));
    struct run *right_run = plant_run(o.m, COMPUTE_EXACT, ids, N_IDS);
    struct trace_points points;
    struct ref_source trace = { .trace = &points };
    struct further further = { 0 };
    struct err e = ERR_INIT;
    uint64_t seed = 41;
    int made = 0, linear = 0, named = 0;
    scratch_begin();
    trace_of(right_run, &points);
    for (int i = 0; i < TRACED;) {
        const struct truth is = draw(&o, &seed);
        char *copy = original_copy(&o);
        if (spoil(plant_at(&o, copy, is.w, is.row, is.block), &seed)) {
            struct model *m = plant_model(&o, copy);
            struct run *r = plant_run(m, COMPUTE_EXACT, ids, N_IDS);
            const struct graph *g = run_graph(r);
            const int v = first_error(r, right_run);
            struct error_trace t;
            assert_ok(trace_points_bind(&points, g, &e), &e);
            assert_ok(why_error_of(r, &trace, 0, v, worst(r, right_run, v), NULL, NULL, &t, &e),
                      &e);
            made += t.n == 1 && t.steps[0].verdict == ERROR_MADE && t.steps[0].inherited == 0;
            if (g->nodes[g->values[v].node].op == OP_LINEAR) {
                linear++;
                named += t.weight && str_eq(t.weight->name, is.w->name) && t.row == is.row
                         && t.tokens == N_IDS && t.blocks[0].col == is.block * 32
                         && t.blocks[0].cols == 32 && t.blocks[0].share > 0.999;
            }
            expect_sums(&t);
            error_trace_free(&t);
            look_further(r, right_run, &trace, &further);
            run_free(r);
            model_free(m);
            i++;
        }
        free(copy);
    }
    print_message("# against a trace: %d of %d made here, %d of %d named\n", made, TRACED, named,
                  linear);
    assert_int_equal(made, TRACED);
    assert_true(further.points > TRACED / 2 && further.same == further.points);
    assert_true(linear > TRACED / 2 && named == linear);
    trace_points_free(&points);
    scratch_end();
    run_free(right_run);
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
    assert_ok(why_error_of(native, &(struct ref_source){ .run = ref }, 0, v, 0, NULL, NULL, &t, &e),
              &e);
    assert_int_equal(t.steps[0].verdict, ERROR_NONE);
    error_trace_free(&t);
    v = first_error(native, ref); /* the same weights, rounded activations */
    assert_ok(why_error_of(native, &(struct ref_source){ .run = ref }, 0, v, worst(native, ref, v),
                           NULL, NULL, &t, &e),
              &e);
    assert_int_equal(t.steps[0].verdict, ERROR_ROUNDED);
    error_trace_free(&t);
    v = g->blocks[0].output;
    const int64_t at = worst(native, ref, v);
    assert_ok(
        why_error_of(native, &(struct ref_source){ .run = ref }, 0, v, at, always, &v, &t, &e), &e);
    assert_int_equal(t.n, 1);
    assert_int_equal(t.steps[0].verdict, ERROR_CHANGED);
    error_trace_free(&t);
    assert_fails(
        why_error_of(native, &(struct ref_source){ .run = ref }, 0, v, 1 << 20, NULL, NULL, &t, &e),
        ST_RANGE, &e);
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

UNIT_MAIN(CASE(a_wrong_scale_is_named), CASE(a_wrong_scale_is_named_against_a_trace),
          CASE(other_ends_of_a_trace), CASE(the_largest_error))
