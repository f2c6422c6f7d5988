/* SPDX-License-Identifier: MIT */
/* The demo model `sink`: words are tokens, its metadata tell the law of its text, its logits are
 * those of an independent implementation. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/statistics.h"
#include "tests/harness/json.h"
#include "tests/harness/models.h"

enum { NAMES_MAX = 16 };

static struct model *open_sink(void) { return models_open(top_path("models/demo/sink.gguf")); }

static void words_are_single_tokens(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct model *m = open_sink();
    struct json *j = json_read(golden_path("sink_logits.json"));
    const struct json *want = json_list(j, "ids");
    size_t bytes, n = 0, cap = 0;
    char *text = unit_read(golden_path(json_text(j, "text")), &bytes);
    int32_t *ids = NULL;
    assert_ok(tokenizer_encode(m->tokenizer, (struct str){ text, bytes }, 0, &ids, &n, &cap, &e),
              &e);
    assert_int_equal(n, want->n);
    assert_int_equal(ids[0], tokenizer_bos(m->tokenizer));
    for (size_t i = 0; i < n; i++)
        assert_int_equal(ids[i], (int32_t)json_number(want, i));
    free(ids);
    free(text);
    json_free(j);
    model_free(m);
}

/* The index of a token in a metadata array of token ids, -1 if it is not there. */
static int64_t find_token(const struct gguf_kv *kv, int32_t id)
{
    for (uint64_t i = 0; i < kv->n; i++)
        if (gguf_integer(kv, i) == id)
            return (int64_t)i;
    return -1;
}

static const struct gguf_kv *source(const struct model *m, const char *name)
{
    char key[64];
    snprintf(key, sizeof key, "qdb.source.%s", name);
    const struct gguf_kv *kv = weights_kv(m->weights, key);
    assert_non_null(kv);
    assert_true(kv->type == GGUF_ARRAY && gguf_is_integer(kv->elem));
    return kv;
}

static double entropy_of_weights(const struct gguf_kv *weight)
{
    double h = 0;
    for (uint64_t i = 0; i < weight->n; i++) {
        double p = (double)gguf_integer(weight, i) / 256;
        h -= p * log(p);
    }
    return h;
}

/* The next token of a text of n tokens (BOS first) under the law of qdb.source.law and the
 * generator of qdb.source.generator; r is the draw, known[] what followed each name, *entropy that
 * of the law. */
static int32_t next_token(const struct model *m, const int32_t *ids, size_t n, uint64_t r,
                          int32_t *known, double *entropy)
{
    const struct gguf_kv *plain = source(m, "plain"), *names = source(m, "name");
    const struct gguf_kv *first = source(m, "first"), *weight = source(m, "weight");
    const uint64_t per_name = first->n / names->n;
    const int64_t word = find_token(plain, ids[n - 1]), name = find_token(names, ids[n - 1]);
    *entropy = 0;
    if (n == 1) {
        *entropy = log((double)plain->n);
        return (int32_t)gguf_integer(plain, ((r >> 32) * plain->n) >> 32);
    }
    if (word >= 0) {
        uint64_t slot = 0, sum = (uint64_t)gguf_integer(weight, 0);
        while (sum <= r >> 56)
            sum += (uint64_t)gguf_integer(weight, ++slot);
        *entropy = entropy_of_weights(weight);
        return (int32_t)gguf_integer(source(m, "successor"), (uint64_t)word * weight->n + slot);
    }
    if (name < 0) {
        assert_true(find_token(source(m, "trigger"), ids[n - 1]) >= 0);
        return ids[n - 2];
    }
    if (!known[name]) {
        *entropy = log((double)per_name);
        known[name] = (int32_t)gguf_integer(first, (uint64_t)name * per_name
                                                       + (((r >> 32) * per_name) >> 32));
    }
    return known[name];
}

static void metadata_tell_the_law(void **state)
{
    (void)state;
    struct model *m = open_sink();
    struct json *j = json_read(golden_path("sink_logits.json"));
    const struct json *want = json_list(j, "ids"), *entropies = json_list(j, "entropy");
    int32_t known[NAMES_MAX] = { 0 }, *ids = x_alloc(want->n * sizeof *ids);
    assert_true(source(m, "name")->n <= NAMES_MAX);
    uint64_t random = (uint64_t)json_get(j, "seed")->number << 32; /* text 0 */
    ids[0] = tokenizer_bos(m->tokenizer);
    for (size_t i = 1; i < want->n; i++) {
        double entropy;
        ids[i] = next_token(m, ids, i, unit_random(&random), known, &entropy);
        assert_int_equal(ids[i], (int32_t)json_number(want, i));
        assert_true(fabs(entropy - json_number(entropies, i - 1)) < 1e-5);
    }
    free(ids);
    json_free(j);
    model_free(m);
}

static void assert_near(double got, double want, size_t tok)
{
    if (!(fabs(got - want) <= 2e-4 * fmax(1, fabs(want))))
        fail_msg("token %zu: %.9g, expected %.9g", tok, got, want);
}

static void logits_are_those_of_transformers(void **state)
{
    (void)state;
    struct model *m = open_sink();
    struct json *j = json_read(golden_path("sink_logits.json"));
    const struct json *list = json_list(j, "ids"), *rows = json_list(j, "logits");
    int32_t *ids = x_alloc(list->n * sizeof *ids);
    for (size_t i = 0; i < list->n; i++)
        ids[i] = (int32_t)json_number(list, i);
    struct run *r = models_run(m, NULL, ids, (int64_t)list->n);
    models_finish(r);
    struct tensor x = models_read(r, 0, "output.out");
    const int64_t vocab = x.shape.d[1].n;
    double nll = 0;
    for (size_t t = 0; t < list->n; t++) {
        const float *row = x.data + (int64_t)t * vocab;
        const struct json *best = json_list(&rows->items[t], "ids"),
                          *logit = json_list(&rows->items[t], "logits");
        for (size_t i = 0; i < best->n; i++)
            assert_near(row[(int64_t)json_number(best, i)], json_number(logit, i), t);
        assert_near(log_sum_exp(row, vocab), json_number(json_list(j, "log_sum_exp"), t), t);
        if (t + 1 < list->n)
            nll += log_sum_exp(row, vocab) - row[ids[t + 1]];
    }
    assert_near(nll / (double)(list->n - 1), json_get(j, "mean_nll")->number, 0);
    run_free(r);
    free(ids);
    json_free(j);
    model_free(m);
}

UNIT_MAIN(CASE(words_are_single_tokens), CASE(metadata_tell_the_law),
          CASE(logits_are_those_of_transformers))
