/* SPDX-License-Identifier: MIT */
/* Perplexities of a real model, in both modes, against those that llama.cpp printed (CPU, native
 * build, context 512, second half of each chunk scored). */
#include "tests/harness/unit.h"

#include <math.h>

#include "study/perplexity.h"
#include "tests/harness/models.h"

enum { CONTEXT = 512 };

/* `tolerance` is absolute. */
static void check(const char *model, const char *text, enum compute mode, int64_t chunks,
                  double want, double tolerance)
{
#ifdef __SANITIZE_ADDRESS__
    SKIP_CASE("%s: takes minutes under the sanitizers; the plain build runs it", model);
#endif
    const char *path = need_data(model), *words = need_data(text);
    const double got = models_perplexity(path, words, mode, CONTEXT, chunks);
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%s: perplexity %.5f, not %.5f within %g", model, got, want, tolerance);
}

#define STORIES(file, mode, want, tolerance) \
    check("stories260K/stories260K-" file ".gguf", "text/ts_40k.txt", mode, 0, want, tolerance)

static void exact_equals_float(void **state)
{
    (void)state;
    STORIES("f32", COMPUTE_EXACT, 3.8319, 0.0005);
    STORIES("ffn192-f32", COMPUTE_EXACT, 3.8319, 0.0005);
}

static void exact_equals_float_on_a_foreign_text(void **state)
{
    (void)state;
    check("stories260K/stories260K-f32.gguf", "text/wiki.test.raw", COMPUTE_EXACT, 100, 160.45,
          0.05);
}

/* The figures are of 8-bit activations, which exact mode does not have. */
static void exact_is_near_native(void **state)
{
    (void)state;
    STORIES("ffn192-Q8_0", COMPUTE_EXACT, 3.8351, 0.003 * 3.8351);
    STORIES("pad256-Q6_K", COMPUTE_EXACT, 3.8608, 0.003 * 3.8608);
    STORIES("ffn192-Q4_0", COMPUTE_EXACT, 4.3837, 0.015 * 4.3837);
    STORIES("pad256-Q4_K", COMPUTE_EXACT, 4.2081, 0.015 * 4.2081);
}

static void native_equals_the_deployed_engine(void **state)
{
    (void)state;
    STORIES("f32", COMPUTE_NATIVE, 3.8319, 0.003 * 3.8319);
    STORIES("ffn192-Q8_0", COMPUTE_NATIVE, 3.8351, 0.003 * 3.8351);
    STORIES("pad256-Q6_K", COMPUTE_NATIVE, 3.8608, 0.003 * 3.8608);
    STORIES("ffn192-Q4_0", COMPUTE_NATIVE, 4.3837, 0.003 * 4.3837);
    STORIES("pad256-Q4_K", COMPUTE_NATIVE, 4.2081, 0.003 * 4.2081);
}

struct seen {
    double last;
    int parts; /* reports from within a chunk */
    bool back;
};

static void look(struct progress *p, const char *label, double done, double total)
{
    struct seen *s = p->data;
    assert_string_equal(label, "perplexity");
    assert_true(total == 3 && done >= 0 && done <= total);
    s->back |= done < s->last;
    s->parts += done != floor(done);
    s->last = done;
}

/* A chunk of a large model takes a minute: progress must not wait for its end. */
static void progress_goes_on_within_a_chunk(void **state)
{
    (void)state;
    struct model *m = models_open(golden_path("models/llama-gqa-tied.gguf"));
    int32_t ids[48];
    for (int i = 0; i < 48; i++)
        ids[i] = i % 7;
    struct seen seen = { 0 };
    struct progress p = { look, NULL, &seen };
    struct run_options o = { .mode = COMPUTE_EXACT };
    struct perplexity out;
    struct err e = ERR_INIT;
    const struct perplexity_options how = { .context = 16 };
    assert_ok(perplexity_of(m, &o, ids, 48, &how, &p, &out, &e), &e);
    assert_int_equal(out.chunks, 3);
    assert_true(seen.parts > 6);
    assert_false(seen.back);
    model_free(m);
}

static void fast_is_near_exact(void **state)
{
    (void)state;
    STORIES("f32", COMPUTE_FAST, 3.8319, 0.002 * 3.8319);
    STORIES("pad256-Q4_K", COMPUTE_FAST, 4.2081, 0.015 * 4.2081);
}

UNIT_MAIN(CASE(progress_goes_on_within_a_chunk), CASE(exact_equals_float),
          CASE(exact_equals_float_on_a_foreign_text), CASE(exact_is_near_native),
          CASE(native_equals_the_deployed_engine),
          CASE(fast_is_near_exact))
