/* SPDX-License-Identifier: MIT */
/* The evaluator: the same bits whatever it keeps and whatever it measured before; what is
 * chosen by its figures. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "session/measure.h"
#include "study/evaluator.h"
#include "study/scorer.h"
#include "tests/harness/models.h"

enum { TEXT = 700, TOKENS = 12, FIRST = 4, SEGMENTS = 44 };
static const struct evaluation_part odd = { .from = 1, .step = 2 };

struct fixed {
    struct model *ref, *m;
    struct evaluation_set set;
    struct err e;
};

static void begin(struct fixed *f)
{
    int32_t ids[TEXT];
    uint64_t state = 7;
    *f = (struct fixed){ .e = ERR_INIT };
    f->ref = models_open(golden_path("models/llama-gqa-tied.gguf"));
    f->m = models_open(golden_path("models/llama-gqa-tied-q4_0.gguf"));
    for (int i = 0; i < TEXT; i++)
        ids[i] = (int32_t)(unit_random(&state) % (uint64_t)f->ref->graph->vocab);
    assert_ok(evaluation_cut(ids, TEXT, SEGMENTS, TOKENS, FIRST, -1, &f->set, &f->e), &f->e);
}

static void end(struct fixed *f)
{
    evaluation_free(&f->set);
    model_free(f->ref);
    model_free(f->m);
}

static struct evaluator *evaluator(struct fixed *f, enum compute mode, size_t memory)
{
    struct evaluator *ev;
    const struct evaluation what = {
        .ref = f->ref, .model = f->m, .options = { .mode = mode }, .set = &f->set, .memory = memory
    };
    assert_ok(evaluator_new(&what, &ev, &f->e), &f->e);
    return ev;
}

static struct measurement measure(struct fixed *f, struct evaluator *ev, const struct plan *plan)
{
    struct measurement m;
    measurement_begin(ev, odd, 0, &m);
    assert_ok(evaluator_measure(ev, plan, &m, NULL, &f->e), &f->e);
    assert_int_equal(m.segments, SEGMENTS / 2);
    return m;
}

static void assert_same(const struct measurement *a, const struct measurement *b)
{
    assert_memory_equal(a->sums, b->sums, (size_t)a->segments * sizeof *a->sums);
    assert_memory_equal(a->kl, b->kl, (size_t)(a->segments * a->scored) * sizeof *a->kl);
}

/* A plan that gives a weight the numbers of the reference. */
static void mend(struct fixed *f, struct plan *p, const char *name)
{
    struct form *form;
    const struct weight *w = weights_find(f->m->weights, str_from(name));
    assert_ok(form_borrow(f->m, w, weights_find(f->ref->weights, str_from(name)), &form, &f->e),
              &f->e);
    plan_set(p, f->m, w, form);
    form_drop(form);
}

static void negate(void *data, const struct event *ev, float *x)
{
    const int64_t n = shape_count(&ev->x->shape);
    for (int64_t i = 0; i < n; i++)
        x[i] = *(const float *)data * x[i];
}

/* Plans one after the other give what each gives to an evaluator that has seen nothing, and keeps
 * nothing. */
static void check_history(enum compute mode, size_t memory)
{
    struct fixed f;
    begin(&f);
    float minus = -1;
    struct plan plans[5] = { 0 };
    mend(&f, &plans[1], "blk.1.ffn_down.weight");
    mend(&f, &plans[2], "blk.0.attn_q.weight");
    mend(&f, &plans[2], "blk.1.ffn_down.weight");
    mend(&f, &plans[3], "token_embd.weight"); /* of the head too */
    const int point = graph_point(f.m->graph, STR("blk.1.attn_q.out"), NULL, NULL);
    plan_transform(&plans[4],
                   (struct plan_transform){ .value = point, .fn = negate, .data = &minus });
    struct measurement want[5];
    for (int i = 0; i < 5; i++) {
        struct evaluator *fresh = evaluator(&f, mode, 0);
        want[i] = measure(&f, fresh, &plans[i]);
        evaluator_free(fresh);
        assert_true(!i || memcmp(want[i].kl, want[0].kl, 100 * sizeof(double)));
    }
    struct evaluator *ev = evaluator(&f, mode, memory);
    static const int order[] = { 0, 1, 0, 3, 2, 4, 1, 4, 2, 0, 3, 3 };
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        struct measurement got = measure(&f, ev, &plans[order[i]]);
        assert_same(&got, &want[order[i]]);
        measurement_free(&got);
        if (i % 3 == 0)
            evaluator_settle(ev);
    }
    evaluator_free(ev);
    for (int i = 0; i < 5; i++) {
        measurement_free(&want[i]);
        plan_free(&plans[i]);
    }
    end(&f);
}

static void a_measurement_does_not_depend_on_what_was_measured_before(void **unused)
{
    (void)unused;
    check_history(COMPUTE_EXACT, (size_t)1 << 30);
    check_history(COMPUTE_NATIVE, (size_t)1 << 30);
    check_history(COMPUTE_FAST, (size_t)1 << 30);
    check_history(COMPUTE_EXACT, 300000); /* a run for some batches, a part of the reference */
    check_history(COMPUTE_EXACT, 20000);
}

/* Hidden states of the first segments, scored with so many rows of logits at a time. */
static void score_with(struct fixed *f, struct run *const runs[2], const struct scorer_batch *b,
                       int64_t rows, struct measurement *m)
{
    struct scorer *sc;
    assert_ok(scorer_new(&f->set, f->ref, rows, (size_t)1 << 20, &sc, &f->e), &f->e);
    for (int again = 0; again < 2; again++) { /* with nothing kept, then with what was kept */
        m->segments = 0;
        assert_ok(scorer_score(sc, runs, b, 0, NULL, m, NULL, &f->e), &f->e);
        scorer_keep(sc, b);
    }
    scorer_free(sc);
}

static void rows_of_logits_are_shared_in_any_way(void **unused)
{
    (void)unused;
    struct fixed f;
    begin(&f);
    enum { N = 3 };
    const struct model *models[] = { f.ref, f.m };
    const int64_t rows[] = { 0, 3, 7, 2 * (TOKENS - FIRST - 1), 1000 };
    struct run *runs[2];
    struct scorer_batch b = { .n = N, .segment = { 0, 1, 2 } };
    double *was = NULL;
    int32_t seq[N * TOKENS];
    for (int i = 0; i < N * TOKENS; i++)
        seq[i] = i / TOKENS;
    for (int k = 0; k < 2; k++) {
        struct tensor x;
        runs[k] = run_new(models[k], &(struct run_options){ .mode = COMPUTE_EXACT });
        assert_ok(run_input(runs[k], f.set.ids, seq, NULL, N * TOKENS, &f.e), &f.e);
        assert_ok(run_forward(runs[k], run_end(runs[k]), NULL, NULL, &f.e), &f.e);
        const struct graph *g = run_graph(runs[k]);
        assert_ok(run_read(runs[k], 0, g->hidden, &x, &f.e), &f.e);
        for (int i = 0; i < N; i++)
            (k ? b.x : b.ref)[i] = x.data
                                   + i * TOKENS * shape_per_token(&g->values[g->hidden].shape);
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const int64_t scored = evaluation_scored(&f.set);
        struct measurement m = { .segments_of = N, .scored = scored };
        m.sums = x_alloc(N * sizeof *m.sums);
        m.kl = x_alloc((size_t)(N * scored) * sizeof *m.kl);
        score_with(&f, runs, &b, rows[i], &m);
        assert_int_equal(m.segments, N);
        assert_true(m.sums[2].kl > 0);
        if (was)
            assert_memory_equal(m.kl, was, (size_t)(N * scored) * sizeof *was);
        free(was);
        was = m.kl;
        free(m.sums);
    }
    free(was);
    run_free(runs[0]);
    run_free(runs[1]);
    end(&f);
}

/* A model that is its own reference passes once for both, and gives the same as when its changes
 * were there from the beginning. */
static void a_model_beside_itself(void **unused)
{
    (void)unused;
    struct fixed f;
    begin(&f);
    struct model *ref = f.ref;
    struct plan plan = { 0 };
    mend(&f, &plan, "blk.1.ffn_down.weight");
    f.ref = f.m;
    struct evaluator *ev = evaluator(&f, COMPUTE_EXACT, (size_t)1 << 30);
    struct evaluator *fresh = evaluator(&f, COMPUTE_EXACT, 0);
    struct measurement nothing = measure(&f, ev, NULL), a = measure(&f, ev, &plan),
                       b = measure(&f, fresh, &plan);
    assert_float_equal(nothing.sums[1].kl, 0, 1e-9);
    assert_true(a.sums[1].kl > 1e-6);
    assert_same(&a, &b);
    measurement_free(&nothing);
    measurement_free(&a);
    measurement_free(&b);
    evaluator_free(ev);
    evaluator_free(fresh);
    plan_free(&plan);
    f.ref = ref;
    end(&f);
}

/* Nodes that run, counted by a probe's stand-in: the label of progress. */
static void count_nodes(struct progress *p, const char *label, double done, double total)
{
    (void)label;
    (void)done;
    (void)total;
    ++*(int *)p->data;
}

static int nodes_for(struct fixed *f, struct evaluator *ev, const struct plan *plan)
{
    int n = 0;
    struct progress p = { count_nodes, NULL, &n };
    struct measurement m;
    measurement_begin(ev, odd, 0, &m);
    assert_ok(evaluator_measure(ev, plan, &m, &p, &f->e), &f->e);
    measurement_free(&m);
    return n;
}

static void a_late_change_costs_late_blocks_alone(void **unused)
{
    (void)unused;
    struct fixed f;
    begin(&f);
    struct plan early = { 0 }, late = { 0 };
    mend(&f, &early, "blk.0.attn_q.weight");
    mend(&f, &late, "blk.1.ffn_down.weight");
    struct evaluator *ev = evaluator(&f, COMPUTE_EXACT, (size_t)1 << 30);
    const int whole = nodes_for(&f, ev, NULL), again = nodes_for(&f, ev, NULL),
              last = nodes_for(&f, ev, &late);
    nodes_for(&f, ev, NULL);
    const int first = nodes_for(&f, ev, &early);
    assert_true(again * 5 < whole); /* a tick per batch is left */
    assert_true(last * 3 < whole);
    assert_true(first * 3 > whole && first < whole);
    evaluator_free(ev);
    plan_free(&early);
    plan_free(&late);
    end(&f);
}

static void another_model_finds_the_reference_done(void **unused)
{
    (void)unused;
    struct fixed f;
    begin(&f);
    struct model *other = models_open(golden_path("models/llama-gqa-tied-q8_0.gguf"));
    struct model *bert = models_open(golden_path("models/bert.gguf"));
    struct evaluation what = { .ref = f.ref, .model = other, .set = &f.set };
    struct evaluator *ev;
    assert_ok(evaluator_new(&what, &ev, &f.e), &f.e);
    struct measurement want = measure(&f, ev, NULL);
    evaluator_free(ev);
    what.model = f.m;
    what.memory = (size_t)1 << 30;
    what.once = true;
    assert_ok(evaluator_new(&what, &ev, &f.e), &f.e);
    const int first = nodes_for(&f, ev, NULL);
    assert_fails(evaluator_set_model(ev, bert, &f.e), ST_UNSUPPORTED, &f.e);
    assert_ptr_equal(evaluator_of(ev)->model, f.m);
    assert_ok(evaluator_set_model(ev, other, &f.e), &f.e);
    const int second = nodes_for(&f, ev, NULL);
    assert_true(second * 3 < first * 2);
    struct measurement got = measure(&f, ev, NULL);
    assert_same(&got, &want);
    measurement_free(&got);
    measurement_free(&want);
    evaluator_free(ev);
    model_free(other);
    model_free(bert);
    end(&f);
}

static void the_first_segments_are_those_of_the_whole(void **unused)
{
    (void)unused;
    struct fixed f;
    begin(&f);
    struct evaluator *ev = evaluator(&f, COMPUTE_FAST, (size_t)1 << 30);
    struct measurement all = measure(&f, ev, NULL), few;
    measurement_begin(ev, odd, 6, &few);
    assert_ok(evaluator_step(ev, NULL, &few, NULL, &f.e), &f.e);
    assert_int_equal(few.segments, 4);
    assert_ok(evaluator_step(ev, NULL, &few, NULL, &f.e), &f.e);
    assert_int_equal(few.segments, 6);
    assert_memory_equal(few.sums, all.sums, 6 * sizeof *all.sums);
    const struct clustered_mean d = measurement_difference(&all, &few,
                                                           offsetof(struct segment_sums, kl));
    assert_true(d.clusters == 6 && d.value == 0);
    measurement_free(&all);
    measurement_free(&few);
    evaluator_free(ev);
    end(&f);
}

static void a_percentile_needs_ten_scores_beyond(void **unused)
{
    (void)unused;
    struct segment_sums sums[20] = { 0 };
    double kl[20 * 50];
    struct divergence d;
    for (int i = 0; i < 1000; i++)
        kl[i] = i;
    struct measurement m = {
        .segments = 20, .segments_of = 20, .scored = 50, .sums = sums, .kl = kl
    };
    measurement_divergence(&m, &d);
    assert_true(d.kl_median == 499.5 && d.kl_p99 > 988 && d.kl_p99 < 990 && d.kl_max == 999);
    assert_true(isnan(d.kl_p999));
    m.segments = 19;
    measurement_divergence(&m, &d);
    assert_true(isnan(d.kl_p99) && d.kl_p90 > 800);
    m.segments = 1;
    measurement_divergence(&m, &d);
    assert_true(isnan(d.kl_p90) && d.kl_median == 24.5 && d.kl_max == 49);
}

/* ---- a null model ---- */

/* Segments of `tune` have even tokens alone, those of `check` odd ones, and a toggle adds 1 / 2 of
 * the mean magnitude to every embedding of the input, its signs at random. So what a toggle does on
 * the one says nothing about the other, and all toggles are alike: none is better. */
enum { TOGGLES = 200, CHOSEN = 20 };

static void begin_null(struct fixed *f)
{
    int32_t ids[SEGMENTS * TOKENS];
    uint64_t state = 11;
    *f = (struct fixed){ .e = ERR_INIT };
    f->ref = models_open(golden_path("models/llama-untied-bias.gguf"));
    f->m = models_open(golden_path("models/llama-untied-bias.gguf"));
    for (int i = 0; i < SEGMENTS * TOKENS; i++)
        ids[i] = 2 * (int32_t)(unit_random(&state) % (uint64_t)(f->ref->graph->vocab / 2))
                 + i / TOKENS % 2;
    assert_ok(evaluation_cut(ids, SEGMENTS * TOKENS, SEGMENTS, TOKENS, FIRST, -1, &f->set, &f->e),
              &f->e);
    assert_memory_equal(f->set.ids, ids, sizeof ids);
}

static void toggle(struct fixed *f, uint64_t *state, struct plan *p)
{
    const struct weight *w = weights_find(f->m->weights, STR("token_embd.weight"));
    const size_t n = w->rows * w->cols;
    double sum = 0;
    void *data;
    struct form *form;
    assert_ok(mem_alloc(&data, n * sizeof(float), "a form", &f->e), &f->e);
    float *x = data;
    assert_ok(weight_decode(w, 0, w->rows, x, &f->e), &f->e);
    for (size_t i = 0; i < n; i++)
        sum += fabsf(x[i]);
    for (size_t i = 0; i < n; i++)
        x[i] += (float)(unit_random(state) >> 63 ? sum / (double)n / 2 : -sum / (double)n / 2);
    assert_ok(form_new(f->m, w, format_by_name("f32"), data, &form, &f->e), &f->e);
    plan_set(p, f->m, w, form);
    form_drop(form);
}

/* Those who may stop early go through the same segments in another order, and stop when they say;
 * what was kept of the segments in the order of the text is not taken for theirs. */
static bool at_twelve(const void *data, const struct measurement *m)
{
    (void)data;
    return m->segments >= 12;
}

static void early_stoppers_see_a_sample(void **unused)
{
    (void)unused;
    struct fixed f;
    struct measurement part, all;
    struct divergence d;
    begin(&f);
    struct evaluator *ev = evaluator(&f, COMPUTE_EXACT, (size_t)1 << 30);
    struct measurement plain = measure(&f, ev, NULL);
    struct evaluation_part random = odd;
    random.anytime = true;
    measurement_begin(ev, random, 0, &part);
    assert_ok(evaluator_until(ev, NULL, &part, at_twelve, NULL, NULL, &f.e), &f.e);
    assert_int_equal(part.segments, 12);
    measurement_begin(ev, random, 0, &all);
    assert_ok(evaluator_measure(ev, NULL, &all, NULL, &f.e), &f.e);
    assert_int_equal(all.segments, SEGMENTS / 2);
    assert_memory_equal(all.sums, part.sums, 12 * sizeof *all.sums);
    bool another_order = false;
    for (int64_t i = 0; i < all.segments; i++) {
        const int64_t at = part_segment(&f.set, random, i);
        assert_memory_equal(&all.sums[i], &plain.sums[(at - 1) / 2], sizeof *all.sums);
        another_order |= at != 2 * i + 1;
    }
    assert_true(another_order);
    measurement_divergence(&all, &d);
    assert_true(isnan(d.kl.low)); /* 22 segments: an interval for one look alone */
    struct measurement again = measure(&f, ev, NULL);
    assert_same(&plain, &again);
    measurement_free(&plain);
    measurement_free(&part);
    measurement_free(&all);
    measurement_free(&again);
    evaluator_free(ev);
    end(&f);
}

static double kl_on(struct fixed *f, struct evaluator *ev, struct evaluation_part part,
                    const struct plan *plan)
{
    struct measurement m;
    struct divergence d;
    measurement_begin(ev, part, 0, &m);
    assert_ok(evaluator_measure(ev, plan, &m, NULL, &f->e), &f->e);
    assert_int_equal(m.segments, SEGMENTS / 2);
    measurement_divergence(&m, &d);
    measurement_free(&m);
    return d.kl.value;
}

static int lower(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (x[0] > y[0]) - (x[0] < y[0]);
}

/* What the toggles with the least KL on `tune` have on `part`, in standard errors of the mean of so
 * many that are drawn without looking; and the share of all that are at most as good as the first.
 */
static void choose(const double (*by)[2], double *z, double *share)
{
    double sum = 0, squares = 0, chosen = 0;
    int beaten = 0;
    for (int i = 0; i < TOGGLES; i++) {
        sum += by[i][1];
        squares += by[i][1] * by[i][1];
        chosen += i < CHOSEN ? by[i][1] : 0;
        beaten += by[i][1] <= by[0][1];
    }
    const double mean = sum / TOGGLES, var = squares / TOGGLES - mean * mean;
    *z = (chosen / CHOSEN - mean)
         / sqrt(var / CHOSEN * (TOGGLES - CHOSEN) / (TOGGLES - 1)); /* without replacement */
    *share = (double)beaten / TOGGLES;
}

static void what_is_chosen_on_tune_gains_nothing_on_check(void **unused)
{
    (void)unused;
    struct fixed f;
    begin_null(&f);
    struct evaluator *ev = evaluator(&f, COMPUTE_EXACT, (size_t)1 << 30);
    double on_check[TOGGLES][2], on_tune[TOGGLES][2], z, share;
    uint64_t state = 17;
    for (int i = 0; i < TOGGLES; i++) {
        struct plan plan = { 0 };
        toggle(&f, &state, &plan);
        on_check[i][0] = on_tune[i][0] = on_tune[i][1] = kl_on(&f, ev, PART_TUNE, &plan);
        on_check[i][1] = kl_on(&f, ev, PART_CHECK, &plan);
        plan_free(&plan);
    }
    qsort(on_check, TOGGLES, sizeof *on_check, lower);
    qsort(on_tune, TOGGLES, sizeof *on_tune, lower);
    choose((const double(*)[2])on_tune, &z, &share);
    assert_true(z < -5 && share < 0.01); /* there was something to be chosen by */
    choose((const double(*)[2])on_check, &z, &share);
    print_message("# chosen on tune: %.2f standard errors on check, %.0f %% are as good\n", z,
                  100 * share);
    assert_true(z > -2.6 && z < 2.6 && share > 0.02);
    evaluator_free(ev);
    end(&f);
}

UNIT_MAIN(CASE(a_measurement_does_not_depend_on_what_was_measured_before),
          CASE(rows_of_logits_are_shared_in_any_way), CASE(a_model_beside_itself),
          CASE(a_late_change_costs_late_blocks_alone), CASE(another_model_finds_the_reference_done),
          CASE(the_first_segments_are_those_of_the_whole), CASE(early_stoppers_see_a_sample),
          CASE(what_is_chosen_on_tune_gains_nothing_on_check),
          CASE(a_percentile_needs_ten_scores_beyond))
