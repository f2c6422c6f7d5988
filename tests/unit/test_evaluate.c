/* SPDX-License-Identifier: MIT */
/* Evaluation sets, and the divergence of a quantized model from its original. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/statistics.h"
#include "study/evaluate.h"
#include "tests/harness/models.h"

enum { TEXT = 700, TOKENS = 12, FIRST = 4, SEGMENTS = 44 };

static void draw_text(int32_t *ids, int64_t vocab)
{
    uint64_t state = 7;
    for (int i = 0; i < TEXT; i++)
        ids[i] = (int32_t)(unit_random(&state) % (uint64_t)vocab);
}

static void segments_come_from_different_places(void **state)
{
    (void)state;
    int32_t ids[1000];
    struct evaluation_set set;
    struct err e = ERR_INIT;
    for (int i = 0; i < 1000; i++)
        ids[i] = i;
    assert_ok(evaluation_cut(ids, 1000, 4, 80, 16, -1, &set, &e), &e);
    assert_int_equal(set.segments, 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(set.ids[i * 80], 250 * i);
        assert_int_equal(set.ids[i * 80 + 79], 250 * i + 79);
    }
    evaluation_free(&set);
    assert_ok(evaluation_cut(ids, 1000, 64, 80, 16, 5, &set, &e), &e);
    assert_int_equal(set.segments, 12); /* as many as do not overlap */
    assert_int_equal(set.ids[11 * 80], 5);
    assert_int_equal(set.ids[11 * 80 + 1], 83 * 11 + 1);
    evaluation_free(&set);
    assert_fails(evaluation_cut(ids, 79, 64, 80, 16, -1, &set, &e), ST_RANGE, &e);
    assert_fails(evaluation_cut(ids, 1000, 64, 17, 16, -1, &set, &e), ST_RANGE, &e);
}

/* The figures over again, a segment at a time from all its logits. */
struct direct {
    double kl, top1, ratio, sum[SEGMENTS];
    int64_t n;
};

static int64_t largest(const float *x, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        best = x[i] > x[best] ? i : best;
    return best;
}

static void add_directly(const struct model *a, const struct model *b, const struct run_options *o,
                         const int32_t *ids, struct direct *d, double *sum)
{
    int64_t n;
    const int64_t vocab = a->graph->vocab;
    struct run *ra = models_run(a, o, ids, TOKENS), *rb = models_run(b, o, ids, TOKENS);
    models_finish(ra);
    models_finish(rb);
    float *all_p = models_output(ra, "output.out", &n);
    float *all_q = models_output(rb, "output.out", &n);
    *sum = 0;
    for (int t = FIRST; t < TOKENS - 1; t++) {
        const float *p = all_p + t * vocab, *q = all_q + t * vocab;
        *sum += kl_of_logits(p, q, vocab, -INFINITY);
        d->top1 += largest(p, vocab) == largest(q, vocab);
        d->ratio += (double)p[ids[t + 1]] - log_sum_exp(p, vocab) - (double)q[ids[t + 1]]
                    + log_sum_exp(q, vocab);
        d->n++;
    }
    d->kl += *sum;
    free(all_p);
    free(all_q);
    run_free(ra);
    run_free(rb);
}

static void check_against_logits(enum compute mode)
{
    struct model *ref = models_open(golden_path("models/llama-gqa-tied.gguf"));
    struct model *m = models_open(golden_path("models/llama-gqa-tied-q4_0.gguf"));
    const struct run_options o = { .mode = mode };
    int32_t ids[TEXT];
    struct evaluation_set set;
    struct divergence got;
    struct direct want = { 0 };
    struct err e = ERR_INIT;
    draw_text(ids, ref->graph->vocab);
    assert_ok(evaluation_cut(ids, TEXT, SEGMENTS, TOKENS, FIRST, -1, &set, &e), &e);
    assert_int_equal(set.segments, SEGMENTS);
    assert_ok(divergence_of(ref, &o, m, &o, &set, (struct evaluation_part){ .from = 1, .step = 2 },
                            NULL, &got, &e),
              &e);
    int64_t counts[SEGMENTS];
    for (int i = 0; i < SEGMENTS / 2; i++) {
        counts[i] = TOKENS - 1 - FIRST;
        add_directly(ref, m, &o, set.ids + (2 * i + 1) * TOKENS, &want, &want.sum[i]);
    }
    const struct clustered_mean kl = clustered_mean_of(want.sum, counts, SEGMENTS / 2);
    assert_int_equal(got.segments, SEGMENTS / 2);
    assert_int_equal(got.scored, want.n);
    assert_true(got.kl.value > 1e-6);
    assert_within(got.kl.value, want.kl / (double)want.n, 1e-12);
    assert_within(got.kl.low, kl.low, 1e-12);
    assert_within(got.kl.high, kl.high, 1e-12);
    assert_within(got.top1.value, want.top1 / (double)want.n, 1e-12);
    assert_within(got.log_ratio.value, want.ratio / (double)want.n, 1e-12);
    assert_within(got.nll - got.ref_nll, got.log_ratio.value, 1e-12);
    assert_true(got.kl_median <= got.kl_p90 && got.kl_p90 <= got.kl_max && isnan(got.kl_p99));
    assert_true(got.log_ratio.low < got.log_ratio.value);
    evaluation_free(&set);
    model_free(ref);
    model_free(m);
}

static void divergence_equals_that_of_all_logits(void **state)
{
    (void)state;
    check_against_logits(COMPUTE_EXACT);
    check_against_logits(COMPUTE_NATIVE);
}

static void cancel_after(struct progress *p, const char *label, double done, double total)
{
    assert_string_equal(label, "kl");
    assert_true(total == SEGMENTS && done >= 0 && done <= total);
    if (done >= 24)
        *(volatile sig_atomic_t *)p->data = 1;
}

static void a_model_is_its_own_equal(void **state)
{
    (void)state;
    struct model *m = models_open(golden_path("models/llama-gqa-tied-q8_0.gguf"));
    const struct run_options o = { .mode = COMPUTE_NATIVE };
    const struct evaluation_part all = { .from = 0, .step = 1 };
    int32_t ids[TEXT];
    struct evaluation_set set;
    struct divergence d;
    struct err e = ERR_INIT;
    draw_text(ids, m->graph->vocab);
    assert_ok(evaluation_cut(ids, TEXT, SEGMENTS, TOKENS, FIRST, 1, &set, &e), &e);
    assert_ok(divergence_of(m, &o, m, &o, &set, all, NULL, &d, &e), &e);
    assert_true(d.kl.value == 0 && d.kl_max == 0 && d.top1.value == 1);
    assert_true(d.log_ratio.value == 0 && d.log_ratio.low == 0 && d.log_ratio.high == 0);

    volatile sig_atomic_t cancel = 0;
    struct progress p = { cancel_after, &cancel, (void *)&cancel };
    assert_fails(divergence_of(m, &o, m, &o, &set, all, &p, &d, &e), ST_CANCELLED, &e);
    assert_true(d.segments >= 20 && d.segments < SEGMENTS && d.segments_of == SEGMENTS);
    assert_true(d.kl.value == 0 && d.top1.value == 1);

    set.ids[3] = (int32_t)m->graph->vocab;
    assert_fails(divergence_of(m, &o, m, &o, &set, all, NULL, &d, &e), ST_FORMAT, &e);
    evaluation_free(&set);
    model_free(m);
}

UNIT_MAIN(CASE(segments_come_from_different_places), CASE(divergence_equals_that_of_all_logits),
          CASE(a_model_is_its_own_equal))
