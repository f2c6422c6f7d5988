/* SPDX-License-Identifier: MIT */
/* Tiny models give, at every point, what transformers computes; and their perplexities. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tests/harness/json.h"
#include "tests/harness/models.h"

/* The tolerance that the golden data states. */
static void assert_near(double got, double want, const char *point, int64_t tok, size_t i)
{
    if (!(fabs(got - want) <= 2e-5 * fmax(1, fabs(want))))
        fail_msg("%s[tok=%d] entry %zu is %.9g, expected %.9g", point, (int)tok, i, got, want);
}

static double log_sum_exp(const float *x, int64_t n)
{
    double max = x[0], sum = 0;
    for (int64_t i = 1; i < n; i++)
        max = fmax(max, x[i]);
    for (int64_t i = 0; i < n; i++)
        sum += exp(x[i] - max);
    return max + log(sum);
}

static int32_t *read_ids(const struct json *list)
{
    int32_t *ids = x_alloc(list->n * sizeof *ids);
    for (size_t i = 0; i < list->n; i++)
        ids[i] = (int32_t)json_number(list, i);
    return ids;
}

/* Entry i of a list, or of a list of lists. */
static double entry(const struct json *list, size_t i)
{
    const size_t inner = list->items[0].kind == JSON_LIST ? list->items[0].n : 0;
    return inner ? json_number(&list->items[i / inner], i % inner) : json_number(list, i);
}

static size_t entries(const struct json *list)
{
    return list->items[0].kind == JSON_LIST ? list->n * list->items[0].n : list->n;
}

/* One row of channels, or of head by key for probabilities. */
static void check_row(const struct tensor *x, const struct json *want, const char *name,
                      int64_t tok)
{
    const bool heads = x->shape.d[0].axis == AXIS_HEAD;
    const int64_t tokens = heads ? x->shape.d[1].n : x->shape.d[0].n;
    const int64_t last = x->shape.d[x->shape.rank - 1].n;
    const int64_t per_token = shape_count(&x->shape) / tokens;
    assert_int_equal(entries(want), per_token);
    for (size_t i = 0; i < entries(want); i++) {
        int64_t at = heads ? ((int64_t)i / last * tokens + tok) * last + (int64_t)i % last
                           : tok * per_token + (int64_t)i;
        assert_near(x->data[at], entry(want, i), name, tok, i);
    }
}

static void check_points(struct run *r, const struct json *points)
{
    assert_true(points->n >= 15);
    for (size_t p = 0; p < points->n; p++) {
        const char *name = json_text(&points->items[p], "name");
        const struct json *tok = json_list(&points->items[p], "tok");
        const struct json *data = json_list(&points->items[p], "data");
        struct tensor x = models_read(r, 0, name);
        for (size_t i = 0; i < tok->n; i++)
            check_row(&x, &data->items[i], name, (int64_t)json_number(tok, i));
    }
}

static void check_logits(struct run *r, const struct json *j)
{
    struct tensor x = models_read(r, 0, "output.out");
    const struct json *lse = json_list(j, "logsumexp"), *best = json_list(j, "argmax");
    const int64_t n = x.shape.d[1].n;
    for (size_t t = 0; t < lse->n; t++) {
        const float *row = x.data + (int64_t)t * n;
        assert_near(log_sum_exp(row, n), json_number(lse, t), "logsumexp", (int64_t)t, 0);
        int64_t top = 0;
        for (int64_t i = 1; i < n; i++)
            top = row[i] > row[top] ? i : top;
        assert_int_equal(top, (int64_t)json_number(best, t));
    }
}

static void check_model(const char *name)
{
    char path[96];
    snprintf(path, sizeof path, "models/%s.json", name);
    struct json *j = json_read(golden_path(path));
    snprintf(path, sizeof path, "models/%s", json_text(j, "model"));
    struct model *m = models_open(golden_path(path));
    const struct json *list = json_list(j, "ids");
    int32_t *ids = read_ids(list);
    struct run *r = models_run(m, NULL, ids, (int64_t)list->n);
    models_finish(r);
    check_points(r, json_list(j, "points"));
    if (run_graph(r)->logits >= 0)
        check_logits(r, j);
    run_free(r);
    model_free(m);
    free(ids);
    json_free(j);
}

#define MODEL(function, name)          \
    static void function(void **state) \
    {                                  \
        (void)state;                   \
        check_model(name);             \
    }
MODEL(llama_gqa_tied, "llama-gqa-tied")
MODEL(llama_gqa_tied_q8_0, "llama-gqa-tied-q8_0")
MODEL(llama_gqa_tied_q4_0, "llama-gqa-tied-q4_0")
MODEL(llama_untied_bias, "llama-untied-bias")
MODEL(llama_linear, "llama-linear")
MODEL(llama_yarn, "llama-yarn")
MODEL(llama_yarn_attn, "llama-yarn-attn")
MODEL(llama_freqs, "llama-freqs")
MODEL(qwen2, "qwen2")
MODEL(gpt2, "gpt2")
MODEL(bert, "bert")

/* Mean negative log-likelihood of the second half of a chunk (evaluation protocol of the golden
 * data). */
static double chunk_nll(const struct model *m, const int32_t *chunk, int64_t n, double *sum)
{
    struct run *r = models_run(m, NULL, chunk, n);
    models_finish(r);
    struct tensor x = models_read(r, 0, "output.out");
    const int64_t vocab = x.shape.d[1].n, first = n / 2;
    double total = 0;
    for (int64_t t = first; t < n - 1; t++) {
        const float *row = x.data + t * vocab;
        total += log_sum_exp(row, vocab) - row[chunk[t + 1]];
    }
    *sum += total;
    run_free(r);
    return total / (double)(n - 1 - first);
}

static void check_perplexity(const struct json *c)
{
    char path[96];
    snprintf(path, sizeof path, "models/%s", json_text(c, "model"));
    struct model *m = models_open(golden_path(path));
    const struct json *list = json_list(c, "ids"), *chunks = json_list(c, "chunks");
    int32_t *ids = read_ids(list);
    const int64_t n = (int64_t)json_get(c, "n_ctx")->number;
    const bool bos = tokenizer_adds_bos(m->tokenizer);
    double sum = 0;
    for (size_t i = 0; i < chunks->n; i++) {
        int32_t *chunk = ids + (int64_t)i * n;
        if (bos)
            chunk[0] = tokenizer_bos(m->tokenizer);
        double nll = chunk_nll(m, chunk, n, &sum);
        assert_near(nll, json_number(chunks, i), json_text(c, "model"), (int64_t)i, 0);
    }
    const double scored = (double)((int64_t)chunks->n * (n - 1 - n / 2));
    const double want = json_get(c, "perplexity")->number;
    assert_true(fabs(exp(sum / scored) / want - 1) < 2e-5);
    free(ids);
    model_free(m);
}

static void perplexities(void **state)
{
    (void)state;
    struct json *j = json_read(golden_path("perplexity.json"));
    assert_int_equal(j->n, 5);
    for (size_t i = 0; i < j->n; i++)
        check_perplexity(&j->items[i]);
    json_free(j);
}

static void check_norms(struct run *r, const struct json *norms)
{
    for (size_t p = 0; p < norms->n; p++) {
        const struct json *want = &norms->items[p];
        struct tensor x = models_read(r, 0, want->key);
        const int64_t n = x.shape.d[1].n;
        for (size_t t = 0; t < want->n; t++) {
            double square = 0;
            for (int64_t i = 0; i < n; i++)
                square += pow(x.data[(int64_t)t * n + i], 2);
            assert_near(sqrt(square), json_number(want, t), want->key, (int64_t)t, 0);
        }
    }
}

/* The most likely token of the last row. */
static int32_t greedy(struct run *r)
{
    struct tensor x = models_read(r, run_n_spans(r) - 1, "output.out");
    const int64_t n = x.shape.d[1].n;
    const float *row = x.data + (x.shape.d[0].n - 1) * n;
    int32_t top = 0;
    for (int32_t i = 1; i < n; i++)
        top = row[i] > row[top] ? i : top;
    return top;
}

static void stories(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct model *m = models_open(need_data("stories260K/stories260K-f32.gguf"));
    struct json *j = json_read(golden_path("stories260K.json"));
    const struct json *list = json_list(j, "ids"), *logits = json_list(j, "last_logits");
    const struct json *after = json_list(j, "greedy");
    int32_t *ids = read_ids(list);
    struct run *r = models_run(m, NULL, ids, (int64_t)list->n);
    models_finish(r);
    check_norms(r, json_get(j, "norms"));
    struct tensor x = models_read(r, 0, "output.out");
    const float *last = x.data + (x.shape.d[0].n - 1) * x.shape.d[1].n;
    for (size_t i = 0; i < logits->n; i++)
        assert_near(last[i], json_number(logits, i), "last_logits", 0, i);
    for (size_t i = 0; i < after->n; i++) {
        int32_t id = greedy(r);
        assert_int_equal(id, (int32_t)json_number(after, i));
        assert_ok(run_append(r, &id, 1, &e), &e);
        models_finish(r);
    }
    run_free(r);
    free(ids);
    json_free(j);
    model_free(m);
}

UNIT_MAIN(CASE(llama_gqa_tied), CASE(llama_gqa_tied_q8_0), CASE(llama_gqa_tied_q4_0),
          CASE(llama_untied_bias), CASE(llama_linear), CASE(llama_yarn), CASE(llama_yarn_attn),
          CASE(llama_freqs), CASE(qwen2), CASE(gpt2), CASE(bert), CASE(perplexities), CASE(stories))
