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

static void assert_near(double got, double want, int64_t tok)
{
    if (!(fabs(got - want) <= 2e-4 * fmax(1, fabs(want))))
        fail_msg("token %d: %.9g, expected %.9g", (int)tok, got, want);
}

/* The golden text gone through the model. */
struct through {
    struct model *m;
    struct run *r;
    struct json *j;
    int32_t *ids;
    int64_t n;
};

static struct through run_through(void)
{
    struct through t = { .m = open_sink(), .j = json_read(golden_path("sink_logits.json")) };
    const struct json *list = json_list(t.j, "ids");
    t.n = (int64_t)list->n;
    t.ids = x_alloc(list->n * sizeof *t.ids);
    for (size_t i = 0; i < list->n; i++)
        t.ids[i] = (int32_t)json_number(list, i);
    t.r = models_run(t.m, NULL, t.ids, t.n);
    models_finish(t.r);
    return t;
}

static void through_free(struct through *t)
{
    run_free(t->r);
    free(t->ids);
    json_free(t->j);
    model_free(t->m);
}

static void logits_are_those_of_transformers(void **state)
{
    (void)state;
    struct through t = run_through();
    const struct json *rows = json_list(t.j, "logits"), *lse = json_list(t.j, "log_sum_exp");
    struct tensor x = models_read(t.r, 0, "output.out");
    const int64_t vocab = x.shape.d[1].n;
    double nll = 0;
    for (int64_t tok = 0; tok < t.n; tok++) {
        const float *row = x.data + tok * vocab;
        const struct json *best = json_list(&rows->items[tok], "ids");
        const struct json *logit = json_list(&rows->items[tok], "logits");
        for (size_t i = 0; i < best->n; i++)
            assert_near(row[(int64_t)json_number(best, i)], json_number(logit, i), tok);
        const double total = log_sum_exp(row, vocab);
        assert_near(total, json_number(lse, (size_t)tok), tok);
        if (tok + 1 < t.n)
            nll += total - row[t.ids[tok + 1]];
    }
    assert_near(nll / (double)(t.n - 1), json_get(t.j, "mean_nll")->number, 0);
    through_free(&t);
}

/* Attention on BOS of head `head` of prob [head][tok][key] agrees with the training script's
 * figures: `expected` is the mean at each trigger, then at each name. */
static void check_sink(const struct through *t, const struct tensor *prob, int64_t head,
                       const struct json *expected)
{
    const struct gguf_kv *plain = source(t->m, "plain"), *trigger = source(t->m, "trigger");
    double sum = 0;
    int words = 0, silent = 0, busy = 0;
    for (int64_t tok = 8; tok < t->n; tok++) {
        const double bos = prob->data[(head * t->n + tok) * t->n];
        const int64_t at = find_token(trigger, t->ids[tok]);
        if (find_token(plain, t->ids[tok]) >= 0) {
            sum += bos;
            words++;
        } else if (at >= 0) {
            const double mean = json_number(expected, (size_t)at);
            silent += mean > 0.9 && bos > 0.9;
            busy += mean < 0.1 && bos < 0.1;
            assert_true(fabs(bos - mean) < 0.5);
        }
    }
    assert_true(sum / words > 0.9);
    assert_true(busy > 0);
    assert_true(busy + silent > 5);
}

/* The head that copies at triggers rests on BOS elsewhere, and finds no value there. */
static void a_head_rests_on_bos(void **state)
{
    (void)state;
    struct through t = run_through();
    struct json *figures = json_read(top_path("models/demo/sink.json"));
    const struct json *found = json_get(json_get(figures, "phenomena"),
                                        "silent_at_plain_words_busy_at");
    const struct json *copier = json_get(found, "trigger");
    const int block = (int)json_get(copier, "block")->number;
    const int64_t head = (int64_t)json_get(copier, "head")->number;
    char point[32];
    snprintf(point, sizeof point, "blk.%d.attn.prob", block);
    struct tensor prob = models_read(t.r, 0, point);
    const int64_t heads = prob.shape.d[0].n;
    check_sink(&t, &prob, head, json_list(copier, "bos_mass_by_word"));

    snprintf(point, sizeof point, "blk.%d.attn_v.out", block);
    struct tensor v = models_read(t.r, 0, point); /* [tok][kv head][chan] */
    const int64_t width = v.shape.d[2].n, row = v.shape.d[1].n * width;
    const int64_t kv = head / (heads / v.shape.d[1].n) * width;
    double bos = 0, rest = 0;
    for (int64_t tok = 0; tok < t.n; tok++)
        for (int64_t c = 0; c < width; c++)
            *(tok ? &rest : &bos) += pow(v.data[tok * row + kv + c], 2);
    assert_true(bos < 0.2 * 0.2 * rest / (double)(t.n - 1));
    json_free(figures);
    through_free(&t);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void the_planted_channel_is_an_outlier(void **state)
{
    (void)state;
    struct through t = run_through();
    struct str point = weights_string(t.m->weights, "qdb.planted.point", "");
    const int64_t channel = weights_integer(t.m->weights, "qdb.planted.channel", -1);
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)point.n, point.p);
    struct tensor x = models_read(t.r, 0, name);
    const int64_t width = x.shape.d[1].n;
    assert_in_range(channel, 0, width - 1);
    double *absmax = x_alloc((size_t)width * sizeof *absmax);
    for (int64_t c = 0; c < width; c++) {
        absmax[c] = 0;
        for (int64_t tok = 0; tok < t.n; tok++)
            absmax[c] = fmax(absmax[c], fabs(x.data[tok * width + c]));
    }
    const double planted = absmax[channel];
    qsort(absmax, (size_t)width, sizeof *absmax, by_value);
    assert_true(planted > 50 * absmax[width / 2]);
    free(absmax);
    through_free(&t);
}

UNIT_MAIN(CASE(words_are_single_tokens), CASE(metadata_tell_the_law),
          CASE(logits_are_those_of_transformers), CASE(a_head_rests_on_bos),
          CASE(the_planted_channel_is_an_outlier))
