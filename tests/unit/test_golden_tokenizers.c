/* SPDX-License-Identifier: MIT */
/* Tokenizers give the ids that independent implementations give, and their texts back. */
#include "tests/harness/unit.h"

#include <stdlib.h>
#include <string.h>

#include "file/weights.h"
#include "tests/harness/json.h"
#include "text/tokenizer.h"

static void check_case(const struct tokenizer *t, const struct json *c)
{
    struct err e = ERR_INIT;
    const struct json *text = json_get(c, "text"), *want = json_list(c, "ids");
    struct str s = { text->text, text->n };
    bool special = json_find(c, "special") != NULL;
    int32_t *ids = NULL;
    size_t n = 0, cap = 0;
    int flags = TOKENIZE_NO_BOS | (special ? TOKENIZE_SPECIAL : 0);
    assert_ok(tokenizer_encode(t, s, flags, &ids, &n, &cap, &e), &e);
    for (size_t i = 0; i < n || i < want->n; i++)
        if (i >= n || i >= want->n || ids[i] != (int32_t)json_number(want, i))
            fail_msg("\"%.60s\": id %zu of %zu (of %zu expected) differs", s.p, i, n, want->n);

    struct buf back = { 0 };
    assert_ok(tokenizer_decode(t, ids, n, true, special, &back, &e), &e);
    if (back.n != s.n || (s.n && memcmp(back.p, s.p, s.n)))
        fail_msg("\"%.60s\" comes back as \"%.*s\"", s.p, (int)back.n, back.p);
    free(back.p);
    free(ids);
}

static void check_file(const char *cases, const char *vocabulary)
{
    struct err e = ERR_INIT;
    struct weights *w = NULL;
    struct tokenizer *t = NULL;
    assert_ok(weights_open(vocabulary, &w, &e), &e);
    assert_ok(tokenizer_new(w, &t, &e), &e);
    struct json *j = json_read(cases);
    const struct json *list = json_list(j, "cases");
    assert_true(list->n > 60);
    for (size_t i = 0; i < list->n; i++)
        check_case(t, &list->items[i]);
    json_free(j);
    tokenizer_free(t);
    weights_close(w);
}

static void bpe_gpt2(void **state)
{
    (void)state;
    check_file(golden_path("tokenizers/bpe-gpt2.json"), golden_path("tokenizers/bpe-gpt2.gguf"));
}

static void bpe_llama3(void **state)
{
    (void)state;
    check_file(golden_path("tokenizers/bpe-llama3.json"),
               golden_path("tokenizers/bpe-llama3.gguf"));
}

static void bpe_qwen2(void **state)
{
    (void)state;
    check_file(golden_path("tokenizers/bpe-qwen2.json"), golden_path("tokenizers/bpe-qwen2.gguf"));
}

static void spm(void **state)
{
    (void)state;
    check_file(golden_path("tokenizers/spm.json"), golden_path("tokenizers/spm.gguf"));
}

static void spm_without_space_prefix(void **state)
{
    (void)state;
    check_file(golden_path("tokenizers/spm-noprefix.json"),
               golden_path("tokenizers/spm-noprefix.gguf"));
}

static void stories(void **state)
{
    (void)state;
    const char *model = need_data("stories260K/stories260K-f32.gguf");
    check_file(golden_path("tokenizers/stories260K.json"), model);
}

/* The ids of a whole text, BOS included, as the perplexities were computed on. */
static void whole_text(void **state)
{
    (void)state;
    struct json *j = json_read(golden_path("perplexity.json"));
    size_t n_text;
    char *text = unit_read(golden_path("text/prose.txt"), &n_text);
    for (size_t i = 0; i < j->n; i++) {
        struct err e = ERR_INIT;
        char path[128];
        struct weights *w = NULL;
        struct tokenizer *t = NULL;
        int32_t *ids = NULL;
        size_t n = 0, cap = 0;
        snprintf(path, sizeof path, "models/%s", json_text(&j->items[i], "model"));
        assert_ok(weights_open(golden_path(path), &w, &e), &e);
        assert_ok(tokenizer_new(w, &t, &e), &e);
        assert_ok(tokenizer_encode(t, (struct str){ text, n_text }, 0, &ids, &n, &cap, &e), &e);
        const struct json *want = json_list(&j->items[i], "ids");
        assert_int_equal(n, want->n);
        for (size_t k = 0; k < n; k++)
            assert_int_equal(ids[k], (int)json_number(want, k));
        free(ids);
        tokenizer_free(t);
        weights_close(w);
    }
    free(text);
    json_free(j);
}

UNIT_MAIN(CASE(bpe_gpt2), CASE(bpe_llama3), CASE(bpe_qwen2), CASE(spm),
          CASE(spm_without_space_prefix), CASE(stories), CASE(whole_text))
