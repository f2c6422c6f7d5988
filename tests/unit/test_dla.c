/* SPDX-License-Identifier: MIT */
/* Direct logit attribution: the terms sum to the logit, the heads to their projection. */
#include "tests/harness/unit.h"

#include <math.h>
#include <string.h>

#include "engine/run.h"
#include "study/dla.h"

static const int32_t ids[] = { 5, 9, 3, 7, 11, 2, 8, 4 };
enum { N_IDS = sizeof ids / sizeof *ids };

struct fixture {
    struct model *m;
    struct run *r;
    struct err e;
};

static struct fixture begin(const char *name, int64_t span)
{
    struct fixture f = { .e = ERR_INIT };
    struct weights *w;
    const struct run_options o = { .mode = COMPUTE_EXACT, .span = span };
    assert_ok(weights_open(golden_path(name), &w, &f.e), &f.e);
    f.m = model_new(w);
    f.r = run_new(f.m, &o);
    assert_ok(run_input(f.r, ids, NULL, NULL, N_IDS, &f.e), &f.e);
    return f;
}

static void end(struct fixture *f)
{
    run_free(f->r);
    model_free(f->m);
}

/* Sum of the heads that follow part i, and whether there are any. */
static bool heads_of(const struct dla *d, size_t i, double *sum)
{
    *sum = 0;
    size_t k = i + 1;
    for (; k < d->n && d->parts[k].head >= 0; k++)
        *sum += d->parts[k].x;
    return k > i + 1;
}

static void parts_sum_to_the_logit(void **unused)
{
    (void)unused;
    static const char *const models[] = { "models/llama-gqa-tied.gguf", "models/gpt2.gguf" };
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        struct fixture f = begin(models[m], 3);
        struct dla d;
        assert_fails(dla_of(f.r, N_IDS - 1, 3, -1, 0, NULL, &d, &f.e), ST_STATE, &f.e);
        assert_ok(run_forward(f.r, run_end(f.r), NULL, NULL, &f.e), &f.e);
        for (int64_t tok = 0; tok < N_IDS; tok++)
            for (int32_t b = -1; b < 4; b += 4) {
                assert_ok(dla_of(f.r, tok, 7, b, 0, NULL, &d, &f.e), &f.e);
                struct tensor x;
                const struct graph *g = run_graph(f.r);
                const int span = run_span_of(f.r, tok);
                assert_ok(run_read(f.r, span, g->logits, &x, &f.e), &f.e);
                const float *logits = x.data + (tok - run_span(f.r, span).first) * g->vocab;
                assert_true(d.logit == (double)logits[7] - (b < 0 ? 0 : (double)logits[b]));
                double sum = 0, size = 0;
                int split = 0;
                for (size_t i = 0; i < d.n; i++) {
                    double heads;
                    if (d.parts[i].head >= 0)
                        continue;
                    sum += d.parts[i].x;
                    size += fabs(d.parts[i].x);
                    if (!heads_of(&d, i, &heads))
                        continue;
                    split++;
                    if (m == 0) /* no bias in its projections */
                        assert_true(fabs(heads - d.parts[i].x) < 1e-5 * (1 + fabs(heads)));
                }
                assert_int_equal(split, g->n_blocks);
                assert_true(sum == d.sum);
                assert_true(fabs(d.rest) < 1e-5 * (1 + size));
                assert_true(fabs(d.rest - (d.logit - sum)) == 0);
                dla_free(&d);
            }
        end(&f);
    }
}

/* All neurons of all layers, and the heads, and the rest of the stream, sum to the logit; a shorter
 * list has the largest of them, and its others make up the sum. */
static void neurons_sum_to_the_logit(void **unused)
{
    (void)unused;
    struct fixture f = begin("models/llama-gqa-tied.gguf", 0);
    struct dla all, few;
    assert_ok(run_forward(f.r, run_end(f.r), NULL, NULL, &f.e), &f.e);
    const struct graph *g = run_graph(f.r);
    assert_ok(dla_of(f.r, 5, 7, 3, 100000, NULL, &all, &f.e), &f.e);
    assert_ok(dla_of(f.r, 5, 7, 3, 9, NULL, &few, &f.e), &f.e);
    double sum = 0, size = 0;
    for (size_t i = 0; i < all.n; i++) {
        const struct dla_part *p = &all.parts[i];
        const bool split = p->value >= 0 && strstr(g->values[p->value].name, "ffn_down");
        const bool has_heads = p->head < 0 && i + 1 < all.n && all.parts[i + 1].head >= 0;
        sum += split || has_heads ? 0 : p->x;
    }
    for (size_t i = 0; i < all.n_neurons; i++) {
        sum += all.neurons[i].x;
        size += fabs(all.neurons[i].x);
        if (i)
            assert_true(fabs(all.neurons[i].x) <= fabs(all.neurons[i - 1].x));
    }
    assert_true(all.n_neurons > 100 && all.others == 0);
    assert_int_equal(all.all_neurons, all.n_neurons);
    assert_true(fabs(sum - all.logit) < 1e-5 * (1 + size));
    assert_int_equal(few.n_neurons, 9);
    assert_int_equal(few.all_neurons, all.n_neurons);
    for (size_t i = 0; i < 9; i++) {
        assert_true(few.neurons[i].x == all.neurons[i].x);
        assert_int_equal(few.neurons[i].neuron, all.neurons[i].neuron);
    }
    double rest = 0;
    for (size_t i = 9; i < all.n_neurons; i++)
        rest += all.neurons[i].x;
    assert_true(fabs(rest - few.others) < 1e-9 * (1 + size));
    dla_free(&all);
    dla_free(&few);
    end(&f);
}

UNIT_MAIN(CASE(parts_sum_to_the_logit), CASE(neurons_sum_to_the_logit))
