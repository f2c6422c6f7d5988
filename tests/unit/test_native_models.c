/* SPDX-License-Identifier: MIT */
/* Native mode on whole models: perplexities of the deployed engine, and the same bits however a run
 * is cut. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model.h"
#include "study/perplexity.h"
#include "tests/harness/models.h"
#include "text/tokenizer.h"

/* Perplexity in native mode of a text in chunks of `context` tokens, within 0.3 % of `want`. */
static void check_perplexity(const char *path, const char *text_path, int64_t context, double want)
{
    struct err e = ERR_INIT;
    struct model *m = models_open(path);
    size_t bytes, n = 0, cap = 0;
    int32_t *ids = NULL;
    char *text = unit_read(text_path, &bytes);
    assert_ok(tokenizer_encode(m->tokenizer, str_of(text, bytes), 0, &ids, &n, &cap, &e), &e);
    struct pool *pool = pool_new(pool_cpus());
    struct run_options o = { .mode = COMPUTE_NATIVE, .pool = pool };
    struct perplexity p;
    assert_ok(perplexity_of(m, &o, ids, (int64_t)n, context, 0, NULL, &p, &e), &e);
    if (!(fabs(p.value / want - 1) < 0.003))
        fail_msg("%s: perplexity %.5f, not %.5f", path, p.value, want);
    pool_free(pool);
    free(text);
    free(ids);
    model_free(m);
}

/* Figures of llama.cpp with its 8-bit activations; see tests/golden/README.md. */
static void random_models_have_the_engine_s_perplexity(void **state)
{
    (void)state;
    check_perplexity(golden_path("models/llama-gqa-tied-q4_0.gguf"), golden_path("text/prose.txt"),
                     64, 2604.8976);
    check_perplexity(golden_path("models/llama-gqa-tied-q8_0.gguf"), golden_path("text/prose.txt"),
                     64, 2657.2683);
}

static void check_stories(const char *format, double want)
{
    char name[64];
    snprintf(name, sizeof name, "stories260K/stories260K-%s.gguf", format);
    check_perplexity(need_data(name), need_data("text/ts_40k.txt"), 512, want);
}

static void q8_0_has_the_engine_s_perplexity(void **state)
{
    (void)state;
    check_stories("ffn192-Q8_0", 3.8351);
}
static void q4_0_has_the_engine_s_perplexity(void **state)
{
    (void)state;
    check_stories("ffn192-Q4_0", 4.3837);
}
static void q6_k_has_the_engine_s_perplexity(void **state)
{
    (void)state;
    check_stories("pad256-Q6_K", 3.8608);
}
static void q4_k_has_the_engine_s_perplexity(void **state)
{
    (void)state;
    check_stories("pad256-Q4_K", 4.2081);
}

static void bits_do_not_depend_on_spans(void **state)
{
    (void)state;
    static const char *const files[] = { "q4_0", "q8_0" };
    enum { N = 24 };
    int32_t ids[N];
    for (int i = 0; i < N; i++)
        ids[i] = 3 + i * 11 % 300;
    for (int k = 0; k < 2; k++) {
        char name[64];
        snprintf(name, sizeof name, "models/llama-gqa-tied-%s.gguf", files[k]);
        struct model *m = models_open(golden_path(name));
        float *whole = NULL;
        int64_t count = 0;
        static const int64_t spans[] = { 0, 1, 7 };
        for (int i = 0; i < 3; i++) {
            struct run_options o = { .mode = COMPUTE_NATIVE, .span = spans[i] };
            struct run *r = models_run(m, &o, ids, N);
            models_finish(r);
            float *out = models_output(r, "output.out", &count);
            if (whole)
                assert_memory_equal(out, whole, (size_t)count * sizeof *out);
            else
                whole = out;
            if (i)
                free(out);
            run_free(r);
        }
        free(whole);
        model_free(m);
    }
}

static void keys_and_values_are_kept_in_half(void **state)
{
    (void)state;
    struct model *m = models_open(
        golden_path("models/llama-gqa-tied.gguf")); /* f32: nothing else is rounded */
    const int32_t ids[] = { 5, 17, 33, 60, 99 };
    float *out[2];
    int64_t count = 0;
    for (int i = 0; i < 2; i++) {
        struct run_options o = { .mode = i ? COMPUTE_NATIVE : COMPUTE_EXACT };
        struct run *r = models_run(m, &o, ids, 5);
        models_finish(r);
        out[i] = models_output(r, "output.out", &count);
        run_free(r);
    }
    double most = 0, size = 0;
    for (int64_t i = 0; i < count; i++) {
        most = fmax(most, fabs((double)out[0][i] - out[1][i]));
        size = fmax(size, fabs((double)out[0][i]));
    }
    assert_true(most > 0 && most < size * 2e-3);
    free(out[0]);
    free(out[1]);
    model_free(m);
}

UNIT_MAIN(CASE(random_models_have_the_engine_s_perplexity), CASE(bits_do_not_depend_on_spans),
          CASE(keys_and_values_are_kept_in_half), CASE(q8_0_has_the_engine_s_perplexity),
          CASE(q4_0_has_the_engine_s_perplexity), CASE(q6_k_has_the_engine_s_perplexity),
          CASE(q4_k_has_the_engine_s_perplexity))
