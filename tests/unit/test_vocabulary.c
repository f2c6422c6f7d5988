/* SPDX-License-Identifier: MIT */
/* Vocabularies made up for the purpose: the order of merges, what files leave out, what they lie
 * about. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tests/harness/gguf_build.h"
#include "text/tokenizer.h"

#define KEY "tokenizer.ggml."

struct model {
    uint8_t *image;
    struct weights *w;
    struct tokenizer *t;
};

static enum st open_build(struct build *b, struct model *m, struct err *e)
{
    size_t n;
    *m = (struct model){ build_image(b, &n), NULL, NULL };
    build_free(b);
    enum st st = weights_borrow(m->image, n, "test.gguf", &m->w, e);
    return st ? st : tokenizer_new(m->w, &m->t, e);
}

static void close_model(struct model *m)
{
    tokenizer_free(m->t);
    weights_close(m->w);
    free(m->image);
    assert_int_equal(mem_used(), 0);
}

static struct model sound(struct build *b)
{
    struct model m;
    struct err e = ERR_INIT;
    assert_ok(open_build(b, &m, &e), &e);
    return m;
}

static void refused(struct build *b, enum st want, const char *says)
{
    struct model m;
    struct err e = ERR_INIT;
    assert_fails(open_build(b, &m, &e), want, &e);
    assert_null(m.t);
    if (!strstr(e.msg, says))
        fail_msg("\"%s\" does not say \"%s\"", e.msg, says);
    close_model(&m);
}

static void begin(struct build *b, const char *model, const char *const *tokens, size_t n)
{
    *b = (struct build)BUILD_INIT;
    build_string(b, KEY "model", model);
    build_strings(b, KEY "tokens", tokens, n);
}

static void types(struct build *b, const int *list, size_t n)
{
    build_array(b, KEY "token_type", GGUF_I32, n);
    for (size_t i = 0; i < n; i++)
        build_put(&b->kvs, (uint64_t)list[i], 4);
}

static void scores(struct build *b, const float *list, size_t n)
{
    build_array(b, KEY "scores", GGUF_F32, n);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, list + i, 4);
        build_put(&b->kvs, bits, 4);
    }
}

/* The ids as text, "3 4 4". */
static char *ids_of(const struct tokenizer *t, struct str text, int flags)
{
    int32_t *ids = NULL;
    size_t n = 0, cap = 0;
    struct err e = ERR_INIT;
    assert_ok(tokenizer_encode(t, text, flags, &ids, &n, &cap, &e), &e);
    struct buf b = { 0 };
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, i ? " %d" : "%d", ids[i]);
    free(ids);
    return buf_take(&b);
}

#define assert_ids(t, text, flags, want) \
    do { \
        char *got = ids_of(t, STR(text), flags); \
        assert_string_equal(got, want); \
        free(got); \
    } while (0)

/* ---- merging, against the definition ---- */

enum { MOST = 64, PIECES = 24 };

/* Of all neighbours whose text together is a piece, merge those of the best score, the leftmost of
 * several, until there are none. */
static size_t merge_slowly(const struct tokenizer *t, struct str text, int32_t *ids)
{
    struct str parts[MOST];
    size_t n = 0;
    for (; n < text.n; n++)
        parts[n] = str_of(text.p + n, 1);
    for (;;) {
        size_t best = n;
        float score = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            int32_t id = tokenizer_find(t, str_of(parts[i].p, parts[i].n + parts[i + 1].n));
            if (id >= 0 && (best == n || tokenizer_score(t, id) > score)) {
                best = i;
                score = tokenizer_score(t, id);
            }
        }
        if (best == n)
            break;
        parts[best].n += parts[best + 1].n;
        memmove(parts + best + 1, parts + best + 2, (n - best - 2) * sizeof *parts);
        n--;
    }
    for (size_t i = 0; i < n; i++)
        ids[i] = tokenizer_find(t, parts[i]);
    return n;
}

/* Unknown, the letters a to c, and random words of them with scores that often tie. */
static struct model random_spm(uint64_t *seed)
{
    char words[PIECES][8];
    const char *tokens[PIECES] = { "<unk>", "a", "b", "c" };
    float values[PIECES] = { 0 };
    struct build b;
    for (size_t i = 4; i < PIECES; i++) {
        size_t n = 2 + unit_random(seed) % 5;
        for (size_t j = 0; j < n; j++)
            words[i][j] = (char)('a' + unit_random(seed) % 3);
        words[i][n] = '\0';
        tokens[i] = words[i];
        values[i] = -(float)(unit_random(seed) % 6);
    }
    begin(&b, "llama", tokens, PIECES);
    scores(&b, values, PIECES);
    build_integer(&b, KEY "add_space_prefix", GGUF_BOOL, 0);
    return sound(&b);
}

static void best_score_merges_first_then_leftmost(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (int round = 0; round < 300; round++) {
        struct model m = random_spm(&seed);
        for (int k = 0; k < 10; k++) {
            char text[MOST];
            size_t n = 1 + unit_random(&seed) % (MOST - 1);
            for (size_t i = 0; i < n; i++)
                text[i] = (char)('a' + unit_random(&seed) % 3);
            int32_t want[MOST], *got = NULL;
            size_t n_want = merge_slowly(m.t, str_of(text, n), want), n_got = 0, cap = 0;
            struct err e = ERR_INIT;
            assert_ok(
                tokenizer_encode(m.t, str_of(text, n), TOKENIZE_NO_BOS, &got, &n_got, &cap, &e),
                &e);
            assert_int_equal(n_got, n_want);
            assert_memory_equal(got, want, n_want * sizeof *want);
            free(got);
        }
        close_model(&m);
    }
}

/* ---- what files leave out ---- */

static void no_byte_tokens_means_unknown_tokens(void **state)
{
    (void)state;
    static const char *const tokens[] = { "<unk>",
                                          "<s>",
                                          "</s>",
                                          "\xe2\x96\x81",
                                          "a",
                                          ("\xe2\x96\x81"
                                           "a") };
    static const int kinds[] = { 2, 3, 3, 1, 1, 1 };
    static const float values[] = { 0, 0, 0, -2, -3, -1 };
    struct build b;
    begin(&b, "llama", tokens, 6);
    types(&b, kinds, 6);
    scores(&b, values, 6);
    struct model m = sound(&b);
    assert_ids(m.t, "a a", 0, "1 5 5");
    assert_ids(m.t, "a", TOKENIZE_NO_BOS | TOKENIZE_NO_SPACE, "4");
    assert_ids(m.t, "\xc3\xa9z\xff", TOKENIZE_NO_BOS, "3 0 0 0");
    assert_ids(m.t, "<s>", TOKENIZE_NO_BOS | TOKENIZE_SPECIAL, "1");
    assert_ids(m.t, "<s>", TOKENIZE_NO_BOS, "3 0 0 0");
    assert_ids(m.t, "a</s>a", TOKENIZE_NO_BOS | TOKENIZE_SPECIAL, "5 2 5");
    assert_true(tokenizer_ends(m.t, 2));
    assert_false(tokenizer_ends(m.t, 1));
    assert_string_equal(tokenizer_model(m.t), "llama");
    close_model(&m);
}

static void defaults_are_the_models_own(void **state)
{
    (void)state;
    static const char *const tokens[] = { "<unk>", "<s>", "</s>" };
    struct build b;
    begin(&b, "llama", tokens, 3);
    struct model m = sound(&b);
    assert_int_equal(tokenizer_bos(m.t), 1);
    assert_int_equal(tokenizer_eos(m.t), 2);
    assert_int_equal(tokenizer_unk(m.t), 0);
    assert_true(tokenizer_adds_bos(m.t));
    assert_int_equal(tokenizer_type(m.t, 1), TOKEN_CONTROL); /* although the file has no types */
    close_model(&m);

    begin(&b, "llama", tokens, 3);
    build_integer(&b, KEY "bos_token_id", GGUF_U32, 4000000000u);
    build_integer(&b, KEY "eos_token_id", GGUF_I32, -5);
    build_integer(&b, KEY "add_bos_token", GGUF_BOOL, 0);
    m = sound(&b);
    assert_int_equal(tokenizer_bos(m.t), 1); /* no such token: the default */
    assert_int_equal(tokenizer_eos(m.t), 2);
    assert_false(tokenizer_adds_bos(m.t));
    close_model(&m);

    begin(&b, "gpt2", tokens, 3);
    build_strings(&b, KEY "merges", NULL, 0);
    build_string(&b, KEY "pre", "llama-bpe");
    m = sound(&b);
    assert_int_equal(tokenizer_bos(m.t), -1); /* the default, 11, does not exist */
    assert_int_equal(tokenizer_unk(m.t), -1);
    assert_false(tokenizer_adds_bos(m.t));
    assert_string_equal(tokenizer_pre(m.t), "llama-bpe");
    close_model(&m);
}

static void ends_are_known_by_name_and_by_key(void **state)
{
    (void)state;
    static const char *const tokens[] = { "<unk>", "<s>", "</s>",   "<|im_end|>",
                                          "stop",  "go",  "<|end|>" };
    struct build b;
    begin(&b, "llama", tokens, 7);
    build_integer(&b, KEY "eot_token_id", GGUF_U32, 4);
    struct model m = sound(&b);
    for (int32_t id = 0; id < 7; id++)
        assert_int_equal(tokenizer_ends(m.t, id), id == 2 || id == 3 || id == 4 || id == 6);
    assert_false(tokenizer_ends(m.t, -1));
    assert_false(tokenizer_ends(m.t, 7));
    close_model(&m);

    static const char *const harmony[] = { "<unk>", "<s>", "<|return|>", "<|call|>", "<|end|>" };
    begin(&b, "llama", harmony, 5);
    build_integer(&b, KEY "eos_token_id", GGUF_U32, 2);
    m = sound(&b);
    for (int32_t id = 0; id < 5; id++)
        assert_int_equal(tokenizer_ends(m.t, id), id == 2 || id == 3);
    close_model(&m);
}

static void users_tokens_win_leftmost_then_longest(void **state)
{
    (void)state;
    static const char *const tokens[] = { "<unk>",        "<s>", "</s>", "a",
                                          "ab",           "abc", "bcde", "\xe2\x96\x81\xe2\x96\x81",
                                          "\xe2\x96\x81", "b",   "<x>" };
    static const int kinds[] = { 2, 3, 3, 1, 4, 4, 4, 4, 1, 1, 3 };
    struct build b;
    begin(&b, "llama", tokens, 11);
    types(&b, kinds, 11);
    build_integer(&b, KEY "add_space_prefix", GGUF_BOOL, 0);
    struct model m = sound(&b);
    assert_ids(m.t, "abcde", TOKENIZE_NO_BOS, "5 0 0");
    assert_ids(m.t, "aab", TOKENIZE_NO_BOS, "3 4");
    assert_ids(m.t, "bcdea", TOKENIZE_NO_BOS, "6 3");
    assert_ids(m.t, "a   a", TOKENIZE_NO_BOS, "3 7 8 3"); /* two spaces, as the file writes them */
    assert_ids(m.t, "ab<x>", TOKENIZE_NO_BOS | TOKENIZE_SPECIAL, "4 10");
    close_model(&m);
}

/* ---- byte-level BPE ---- */

static void useless_merges_are_left_out(void **state)
{
    (void)state;
    static const char *const tokens[] = { "a",   "b", "c", "ab", "bc", "abc",
                                          "<s>", "<", "s", ">",  "<s", "" };
    static const char *const merges[] = {
        "a z", "zz y", "a",    "",    " ",    "a ",  " b",      "b c",  "a b",
        "b c", "ab c", "a bc", "< s", "<s >", "b b", "abc abc", "a  b", "ab c d",
    };
    static const int kinds[] = { 1, 1, 1, 1, 1, 1, 3, 1, 1, 1, 1, 1 };
    struct build b;
    begin(&b, "gpt2", tokens, 12);
    types(&b, kinds, 12);
    build_strings(&b, KEY "merges", merges, sizeof merges / sizeof *merges);
    build_string(&b, KEY "pre", "gpt-2");
    struct model m = sound(&b);
    assert_ids(m.t, "abc", 0, "5"); /* b c comes first, then a bc */
    assert_ids(m.t, "ab", 0, "3");
    assert_ids(m.t, "abbcab", 0, "3 4 3");
    assert_ids(m.t, "<s>", 0, "7 8 9"); /* the pattern cuts it, and <s> is no text */
    assert_ids(m.t, "ab d", 0, "3"); /* no token for these, and no unknown token */
    close_model(&m);
}

static void an_unknown_token_stands_for_missing_bytes(void **state)
{
    (void)state;
    static const char *const tokens[] = { "?", "a" };
    static const int kinds[] = { 2, 1 };
    struct build b;
    begin(&b, "gpt2", tokens, 2);
    types(&b, kinds, 2);
    build_strings(&b, KEY "merges", NULL, 0);
    build_integer(&b, KEY "unknown_token_id", GGUF_U32, 0);
    struct model m = sound(&b);
    assert_ids(m.t, "aba", 0, "1 0 1");
    assert_string_equal(tokenizer_pre(m.t), "default");
    close_model(&m);

    begin(&b, "gpt2", tokens, 2);
    types(&b, kinds, 2);
    build_strings(&b, KEY "merges", NULL, 0);
    build_integer(&b, KEY "unknown_token_id", GGUF_U32, 0);
    build_integer(&b, KEY "eos_token_id", GGUF_U32, 0);
    m = sound(&b);
    assert_ids(m.t, "aba", 0, "1 1"); /* the end of a generation does not belong into text */
    close_model(&m);
}

/* ---- lies ---- */

static void refuses_what_is_no_vocabulary(void **state)
{
    (void)state;
    static const char *const tokens[] = { "<unk>", "<s>", "</s>" };
    static const float one[] = { 0 }, nans[] = { 0, NAN, 0 };
    static const int kinds[] = { 1, 1, 1, 1 };
    struct build b = BUILD_INIT;
    refused(&b, ST_NOTFOUND, "model");
    b = (struct build)BUILD_INIT;
    build_string(&b, KEY "model", "no_vocab"); /* written by others for "none" */
    refused(&b, ST_NOTFOUND, "the file has no tokenizer");
    b = (struct build)BUILD_INIT;
    build_string(&b, KEY "model", "llama");
    refused(&b, ST_NOTFOUND, "tokens");
    begin(&b, "llama", tokens, 0);
    refused(&b, ST_FORMAT, "0 elements");
    b = (struct build)BUILD_INIT;
    build_string(&b, KEY "model", "llama");
    build_integer(&b, KEY "tokens", GGUF_U32, 3);
    refused(&b, ST_FORMAT, "not an array of strings");
    begin(&b, "llama", tokens, 3);
    scores(&b, one, 1);
    refused(&b, ST_FORMAT, "1 elements for 3 tokens");
    begin(&b, "llama", tokens, 3);
    scores(&b, nans, 3);
    refused(&b, ST_FORMAT, "score of token 1 is nan");
    begin(&b, "llama", tokens, 3);
    types(&b, kinds, 4);
    refused(&b, ST_FORMAT, "4 elements for 3 tokens");
    begin(&b, "llama", tokens, 3);
    build_strings(&b, KEY "scores", tokens, 3);
    refused(&b, ST_FORMAT, "not an array of numbers");
    begin(&b, "gpt2", tokens, 3);
    refused(&b, ST_FORMAT, "merges");
    begin(&b, "gpt2", tokens, 3);
    build_integer(&b, KEY "merges", GGUF_U32, 3);
    refused(&b, ST_FORMAT, "not an array of strings");
}

static void names_what_it_does_not_know(void **state)
{
    (void)state;
    static const char *const tokens[] = { "<unk>" };
    struct build b;
    begin(&b, "t5\n", tokens, 1);
    refused(&b, ST_UNSUPPORTED, "`t5\\n`");
    begin(&b, "gpt2", tokens, 1);
    build_strings(&b, KEY "merges", NULL, 0);
    build_string(&b, KEY "pre", "no-such");
    refused(&b, ST_UNSUPPORTED, "`no-such`");
    begin(&b, "gpt2", tokens, 1);
    build_strings(&b, KEY "merges", NULL, 0);
    build_string(&b, KEY "pre", "gpt-2 mpt"); /* two entries of the table are not a name */
    refused(&b, ST_UNSUPPORTED, "`gpt-2 mpt`");
}

static void odd_vocabularies_do_no_harm(void **state)
{
    (void)state;
    char *longest = x_alloc(5001);
    memset(longest, 'a', 5000);
    const char *tokens[] = { "a",      "a",        "",      "",       "<0x41>",
                             "<0xZZ>", "\xff\xfe", longest, "<0x41>", "<s>" };
    static const int kinds[] = { 1, 1, 1, 3, 6, 6, 1, 3, 6, 99 };
    static const float values[] = { INFINITY, -INFINITY, 0, -0.0f, 1, 1, 1, 1, 1, 1 };
    struct build b;
    begin(&b, "llama", tokens, 10);
    types(&b, kinds, 10);
    scores(&b, values, 10);
    struct model m = sound(&b);
    assert_int_equal(tokenizer_find(m.t, STR("a")), 0); /* of two the first */
    assert_int_equal(tokenizer_find(m.t, STR("")), -1);
    assert_int_equal(tokenizer_type(m.t, 9), TOKEN_UNUSED);
    assert_ids(m.t, "aA\xff\xfe", TOKENIZE_NO_BOS | TOKENIZE_NO_SPACE, "0 4 6");
    struct buf out = { 0 };
    tokenizer_bytes(m.t, 4, &out);
    tokenizer_bytes(m.t, 5, &out);
    tokenizer_bytes(m.t, 6, &out);
    assert_string_equal(buf_str(&out), "A\xff\xfe");
    buf_free(&out);
    close_model(&m);
    free(longest);
}

UNIT_MAIN(CASE(best_score_merges_first_then_leftmost), CASE(no_byte_tokens_means_unknown_tokens),
          CASE(defaults_are_the_models_own), CASE(ends_are_known_by_name_and_by_key),
          CASE(users_tokens_win_leftmost_then_longest), CASE(useless_merges_are_left_out),
          CASE(an_unknown_token_stands_for_missing_bytes), CASE(refuses_what_is_no_vocabulary),
          CASE(names_what_it_does_not_know), CASE(odd_vocabularies_do_no_harm))
