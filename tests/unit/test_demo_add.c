/* SPDX-License-Identifier: MIT */
/* The demo model `add` adds in qdb as it did where it was trained. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/statistics.h"
#include "tests/harness/models.h"

/* One line of golden/add_sums.txt: a sum, the right and the greedy answer (lowest digit first), and
 * the log-probabilities of the right answer's digits together and of the newline that ends it. */
struct sum {
    char prompt[16], right[8], greedy[8];
    double digits, newline;
};

static bool parse_sum(const char *line, struct sum *s)
{
    int a, b, carry;
    if (sscanf(line, "%d %d %7s %7s %d %lf %lf", &a, &b, s->right, s->greedy, &carry, &s->digits,
               &s->newline)
        != 7)
        return false;
    snprintf(s->prompt, sizeof s->prompt, "%d+%d=", a, b);
    return true;
}

static size_t encode(const struct model *m, const char *text, int32_t **ids, size_t *cap)
{
    struct err e = ERR_INIT;
    size_t n = 0;
    assert_ok(tokenizer_encode(m->tokenizer, str_from(text), 0, ids, &n, cap, &e), &e);
    return n;
}

static void check_logp(const struct sum *s, const float *logits, int64_t vocab, const int32_t *ids,
                       size_t prompt, size_t n)
{
    double digits = 0, last = 0;
    for (size_t t = prompt; t < n; t++) {
        const float *row = logits + (int64_t)(t - 1) * vocab;
        last = row[ids[t]] - log_sum_exp(row, vocab);
        digits += t + 1 < n ? last : 0;
    }
    if (fabs(digits - s->digits) > 1e-4 + 1e-3 * fabs(s->digits) || fabs(last - s->newline) > 1e-4)
        fail_msg("%s%s: log-probability %.7g and %.7g, expected %.7g and %.7g", s->prompt, s->right,
                 digits, last, s->digits, s->newline);
}

/* Each token of the greedy answer is the most likely one after those before it. */
static void check_greedy(const struct sum *s, const float *logits, int64_t vocab,
                         const int32_t *ids, size_t prompt, size_t n)
{
    for (size_t t = prompt; t < n; t++) {
        const float *row = logits + (int64_t)(t - 1) * vocab;
        for (int64_t i = 0; i < vocab; i++)
            if (row[i] > row[ids[t]])
                fail_msg("%s was answered by %s, but its token %d is another here", s->prompt,
                         s->greedy, (int)(t - prompt));
    }
}

/* One pass over prompt, answer and newline: row t of the logits is for the token after t. */
static void check_answer(const struct model *m, const struct sum *s, const char *answer)
{
    char text[32];
    int32_t *ids = NULL;
    size_t cap = 0;
    const size_t prompt = encode(m, s->prompt, &ids, &cap);
    snprintf(text, sizeof text, "%s%s\n", s->prompt, answer);
    const size_t n = encode(m, text, &ids, &cap);
    assert_int_equal(n, prompt + strlen(answer) + 1);
    assert_true(tokenizer_ends(m->tokenizer, ids[n - 1]));
    struct run *r = models_run(m, NULL, ids, (int64_t)n);
    models_finish(r);
    float *logits = models_output(r, "output.out", NULL);
    const int64_t vocab = tokenizer_size(m->tokenizer);
    if (!strcmp(answer, s->right))
        check_logp(s, logits, vocab, ids, prompt, n);
    if (!strcmp(answer, s->greedy))
        check_greedy(s, logits, vocab, ids, prompt, n);
    run_free(r);
    free(logits);
    free(ids);
}

static void sums_come_out_as_in_training(void **state)
{
    (void)state;
    struct model *m = models_open(top_path("models/demo/add.gguf"));
    char *text = unit_read(golden_path("add_sums.txt"), NULL), *save;
    size_t sums = 0, right = 0;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        struct sum s;
        if (!parse_sum(line, &s))
            continue;
        const bool same = !strcmp(s.right, s.greedy);
        check_answer(m, &s, s.right);
        if (!same)
            check_answer(m, &s, s.greedy);
        sums++;
        right += same;
    }
    assert_int_equal(sums, 200);
    assert_true(right >= 196); /* the model is a good one: 98 % at least, whatever the carries */
    free(text);
    model_free(m);
}

/* Every byte, space included, goes through the vocabulary unchanged. */
static void any_text_comes_back(void **state)
{
    (void)state;
    struct model *m = models_open(top_path("models/demo/add.gguf"));
    char text[256];
    for (int i = 0; i < 256; i++)
        text[i] = (char)i;
    struct err e = ERR_INIT;
    int32_t *ids = NULL;
    size_t n = 0, cap = 0;
    struct buf out = { 0 };
    assert_ok(tokenizer_encode(m->tokenizer, str_of(text, 256), 0, &ids, &n, &cap, &e), &e);
    assert_ok(tokenizer_decode(m->tokenizer, ids, n, true, false, &out, &e), &e);
    assert_int_equal(out.n, 256);
    assert_memory_equal(out.p, text, 256);
    buf_free(&out);
    free(ids);
    model_free(m);
}

UNIT_MAIN(CASE(sums_come_out_as_in_training), CASE(any_text_comes_back))
