/* SPDX-License-Identifier: MIT */
/* Against a file of log-probabilities: a model against its own differs by what 16 bits lose;
 * against another's every figure is that of a plain sum over the rows. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "kernels/statistics.h"
#include "study/base_kl.h"
#include "study/perplexity.h"
#include "tests/harness/models.h"
#include "tests/harness/scratch.h"

enum { CTX = 8, CHUNKS = 3, N = CTX * CHUNKS, SCORED = CTX - 1 - CTX / 2 };
static const char llama[] = "models/llama-gqa-tied.gguf";

static void ids_of(int32_t *ids, int64_t vocab)
{
    uint64_t random = 5;
    for (int i = 0; i < N; i++)
        ids[i] = (int32_t)(unit_random(&random) % (uint64_t)vocab);
}

/* The base file of a model; its perplexity. */
static double save(const struct model *m, const char *path)
{
    const struct run_options o = { .mode = COMPUTE_EXACT };
    struct err e = ERR_INIT;
    struct logits_writer w;
    struct perplexity p;
    int32_t ids[N];
    ids_of(ids, m->graph->vocab);
    assert_ok(logits_create(&w, path, CTX, m->graph->vocab, CHUNKS, ids, &e), &e);
    const struct perplexity_options how = { .context = CTX, .save = &w };
    assert_ok(perplexity_of(m, &o, ids, N, &how, NULL, &p, &e), &e);
    assert_ok(logits_finish(&w, &e), &e);
    return p.nll;
}

static void a_model_is_near_its_own_file(void **state)
{
    (void)state;
    scratch_begin();
    struct model *m = models_open(golden_path(llama));
    const double nll = save(m, scratch_path("base"));
    const struct run_options o = { .mode = COMPUTE_EXACT };
    struct logits_base *base;
    struct base_divergence d;
    struct err e = ERR_INIT;
    assert_ok(logits_open(scratch_path("base"), &base, &e), &e);
    assert_ok(base_divergence_of(m, &o, base, NULL, &d, &e), &e);
    assert_int_equal(d.chunks, CHUNKS);
    assert_int_equal(d.scored, CHUNKS * SCORED);
    assert_true(fabs(d.nll.value - nll) < 1e-6);
    assert_true(fabs(d.base_nll.value - nll) < 1e-3);
    assert_true(fabs(d.kl.value) < 1e-4 && d.kl_at[BASE_QUANTILES - 1] < 1e-3);
    assert_true(d.same_top.value == 1 && d.same_top.error == 0);
    assert_true(d.correlation > 0.9999 && fabs(d.log_ratio.value) < 1e-3);
    logits_free(base);
    model_free(m);
    assert_int_equal(mem_used(), 0);
    scratch_end();
}

/* A file of log-probabilities that are drawn at random. */
static void write_drawn(const int32_t *ids, int64_t vocab)
{
    struct logits_writer w;
    struct err e = ERR_INIT;
    uint64_t random = 9;
    float *made = x_alloc((size_t)vocab * sizeof *made);
    assert_ok(logits_create(&w, scratch_path("base"), CTX, vocab, CHUNKS, ids, &e), &e);
    for (int i = 0; i < CHUNKS * SCORED; i++) {
        for (int64_t k = 0; k < vocab; k++)
            made[k] = (float)(unit_random(&random) % 2000) / 100 - 10;
        logits_put(&w, made);
    }
    assert_ok(logits_finish(&w, &e), &e);
    free(made);
}

/* Logits of the model under forms are not needed: rows that are not the model's own serve as well.
 */
static void figures_are_plain_sums(void **state)
{
    (void)state;
    scratch_begin();
    struct model *m = models_open(golden_path(llama));
    const int64_t vocab = m->graph->vocab;
    const struct run_options o = { .mode = COMPUTE_EXACT };
    struct err e = ERR_INIT;
    int32_t ids[N];
    float *row = x_alloc((size_t)vocab * sizeof *row);
    ids_of(ids, vocab);
    write_drawn(ids, vocab);
    struct logits_base *base;
    struct base_divergence d;
    assert_ok(logits_open(scratch_path("base"), &base, &e), &e);
    assert_ok(base_divergence_of(m, &o, base, NULL, &d, &e), &e);
    double kl = 0, dp = 0, dp2 = 0, nll = 0, most = 0;
    for (int c = 0; c < CHUNKS; c++) {
        int32_t chunk[CTX];
        for (int i = 0; i < CTX; i++)
            chunk[i] = i || !m->tokenizer || !tokenizer_adds_bos(m->tokenizer)
                           ? ids[c * CTX + i]
                           : tokenizer_bos(m->tokenizer);
        struct run *r = models_run(m, &o, chunk, CTX);
        models_finish(r);
        float *logits = models_output(r, "output.out", NULL);
        for (int i = 0; i < SCORED; i++) {
            const float *x = logits + (CTX / 2 + i) * vocab;
            const int32_t next = ids[c * CTX + CTX / 2 + i + 1];
            const double sum = log_sum_exp(x, vocab);
            double of = 0;
            assert_ok(logits_row(base, c, i, row, &e), &e);
            for (int64_t k = 0; k < vocab; k++)
                if (row[k] > -16)
                    of += exp((double)row[k]) * ((double)row[k] - ((double)x[k] - sum));
            const double diff = exp((double)x[next] - sum) - exp((double)row[next]);
            kl += of, dp += diff, dp2 += diff * diff, nll -= (double)row[next];
            most = fmax(most, of);
        }
        free(logits);
        run_free(r);
    }
    const double n = CHUNKS * SCORED;
    assert_true(fabs(d.kl.value - kl / n) < 1e-6 && d.kl.value > 0.1);
    assert_true(fabs(d.kl_at[BASE_QUANTILES - 1] - most) < 1e-5);
    assert_true(fabs(d.dp.value - dp / n) < 1e-7);
    assert_true(fabs(d.rms_dp.value - sqrt(dp2 / n)) < 1e-7);
    assert_true(fabs(d.base_nll.value - nll / n) < 1e-6);
    logits_free(base);
    free(row);
    model_free(m);
    assert_int_equal(mem_used(), 0);
    scratch_end();
}

static void another_vocabulary_is_refused(void **state)
{
    (void)state;
    scratch_begin();
    struct model *m = models_open(golden_path(llama));
    const struct run_options o = { .mode = COMPUTE_EXACT };
    static const int32_t ids[4] = { 0, 1, 2, 1 };
    static const float row[3] = { 0, 1, 2 };
    struct err e = ERR_INIT;
    struct logits_writer w;
    struct logits_base *base;
    struct base_divergence d;
    assert_ok(logits_create(&w, scratch_path("base"), 4, 3, 1, ids, &e), &e);
    logits_put(&w, row);
    assert_ok(logits_finish(&w, &e), &e);
    assert_ok(logits_open(scratch_path("base"), &base, &e), &e);
    assert_fails(base_divergence_of(m, &o, base, NULL, &d, &e), ST_UNSUPPORTED, &e);
    logits_free(base);
    model_free(m);
    scratch_end();
}

UNIT_MAIN(CASE(a_model_is_near_its_own_file), CASE(figures_are_plain_sums),
          CASE(another_vocabulary_is_refused))
