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

static void check_perplexity(const char *path, const char *text, double want)
{
    const double got = models_perplexity(path, text, COMPUTE_NATIVE, 64, 0);
    if (!(fabs(got / want - 1) < 0.003))
        fail_msg("%s: perplexity %.5f, not %.5f", path, got, want);
}

static void random_models_have_the_engine_s_perplexity(void **state)
{
    (void)state;
    check_perplexity(golden_path("models/llama-gqa-tied-q4_0.gguf"), golden_path("text/prose.txt"),
                     2604.8976);
    check_perplexity(golden_path("models/llama-gqa-tied-q8_0.gguf"), golden_path("text/prose.txt"),
                     2657.2683);
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
          CASE(keys_and_values_are_kept_in_half))
