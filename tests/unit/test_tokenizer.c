/* SPDX-License-Identifier: MIT */
/* Tokenizers: every byte string comes back as it was, and costs no more than any other. */
#include "tests/harness/unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "text/tokenizer.h"

struct model {
    struct weights *w;
    struct tokenizer *t;
};

static const char *const names[] = { "bpe-gpt2", "bpe-llama3", "bpe-qwen2", "spm", "spm-noprefix" };
enum { BPE_GPT2, BPE_LLAMA3, BPE_QWEN2, SPM, SPM_NOPREFIX, N_NAMES };

static struct model open_model(int k)
{
    struct model m;
    struct err e = ERR_INIT;
    char file[64];
    snprintf(file, sizeof file, "tokenizers/%s.gguf", names[k]);
    assert_ok(weights_open(golden_path(file), &m.w, &e), &e);
    assert_ok(tokenizer_new(m.w, &m.t, &e), &e);
    return m;
}

static void close_model(struct model m)
{
    tokenizer_free(m.t);
    weights_close(m.w);
    assert_int_equal(mem_used(), 0);
}

struct ids {
    int32_t *p;
    size_t n, cap;
};

static struct ids encode(const struct tokenizer *t, struct str text, int flags)
{
    struct ids ids = { 0 };
    struct err e = ERR_INIT;
    assert_ok(tokenizer_encode(t, text, flags, &ids.p, &ids.n, &ids.cap, &e), &e);
    return ids;
}

static void comes_back(const struct tokenizer *t, struct str text, int flags)
{
    struct ids ids = encode(t, text, flags | TOKENIZE_NO_BOS);
    struct buf b = { 0 };
    struct err e = ERR_INIT;
    bool start = !(flags & TOKENIZE_NO_SPACE), special = flags & TOKENIZE_SPECIAL;
    assert_ok(tokenizer_decode(t, ids.p, ids.n, start, special, &b, &e), &e);
    if (!str_eq(str_of(b.p, b.n), text)) {
        struct buf want = { 0 }, got = { 0 };
        buf_visible(&want, text);
        buf_visible(&got, str_of(b.p, b.n));
        fail_msg("flags %d: \"%s\" came back as \"%s\"", flags, buf_str(&want), buf_str(&got));
    }
    buf_free(&b);
    free(ids.p);
}

/* Bits of text that tokenizers treat in a way of their own. */
static const char *const bits[] = {
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "a",
    "the",
    "I'm",
    "'LL",
    "12345",
    "!?",
    "\xc3\xa9",
    "e\xcc\x81",
    "\xe2\x96\x81",
    "\xe2\x96",
    "\x81",
    "\xc2\xa0",
    "\xe2\x80\xa8",
    "\xe1\xa0\x8e",
    "\xf0\x9f\x98\x80",
    "\xf0\x9f\x98",
    "\xff",
    "\xc0\x80",
    "\xed\xa0\x80",
    "\xe4\xbd\xa0\xe5\xa5\xbd",
    "\xd9\xa3",
    "<s>",
    "</s>",
    "<unk>",
    "<0x41>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<tool_call>",
    "<sep>",
    "@@",
    "\xc4\xa0",
};

static struct str random_text(uint64_t *seed, struct buf *b)
{
    buf_clear(b);
    size_t n = unit_random(seed) % 40, kind = unit_random(seed) % 3;
    for (size_t i = 0; i < n; i++) {
        uint64_t r = unit_random(seed);
        char out[4];
        if (kind == 0)
            buf_addc(b, (char)r);
        else if (kind == 1)
            buf_add(b, out,
                    (size_t)utf8_encode(out, (uint32_t)(r % (r >> 60 ? 0x3000 : 0x110000))));
        else
            buf_adds(b, bits[r % (sizeof bits / sizeof *bits)]);
    }
    return str_of(b->p, b->n);
}

static void every_byte_string_comes_back(void **state)
{
    (void)state;
    struct buf b = { 0 };
    uint64_t seed = 1;
    for (int k = 0; k < N_NAMES; k++) {
        struct model m = open_model(k);
        for (int i = 0; i < 3000; i++) {
            struct str text = random_text(&seed, &b);
            comes_back(m.t, text, 0);
            comes_back(m.t, text, TOKENIZE_NO_SPACE);
            comes_back(m.t, text, TOKENIZE_SPECIAL);
        }
        close_model(m);
    }
    buf_free(&b);
}

/* A control token in ids that were not asked for would end a generation, or begin a text. */
static void text_never_becomes_a_control_token(void **state)
{
    (void)state;
    struct buf b = { 0 };
    uint64_t seed = 2;
    for (int k = 0; k < N_NAMES; k++) {
        struct model m = open_model(k);
        for (int i = 0; i < 1000; i++) {
            struct ids ids = encode(m.t, random_text(&seed, &b), TOKENIZE_NO_BOS);
            for (size_t j = 0; j < ids.n; j++) {
                assert_int_not_equal(tokenizer_type(m.t, ids.p[j]), TOKEN_CONTROL);
                assert_int_not_equal(tokenizer_type(m.t, ids.p[j]), TOKEN_UNKNOWN);
                assert_false(tokenizer_ends(m.t, ids.p[j]));
            }
            free(ids.p);
        }
        close_model(m);
    }
    buf_free(&b);
}

/* Quadratic merging of these would take minutes. */
static void long_runs_take_no_longer_than_other_text(void **state)
{
    (void)state;
    static const char *const units[] = { "a",    " ",  "\n",          "7", "\xe4\xbd\xa0",
                                         "\xff", "' ", "\xe2\x96\x81" };
    for (int k = 0; k < N_NAMES; k++) {
        struct model m = open_model(k);
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            struct buf b = { 0 };
            while (b.n < 300000)
                buf_adds(&b, units[u]);
            buf_addc(&b, 'x');
            comes_back(m.t, str_of(b.p, b.n), 0);
            buf_free(&b);
        }
        close_model(m);
    }
}

static void encode_appends_and_leaves_alone_what_was_there(void **state)
{
    (void)state;
    struct model m = open_model(SPM);
    struct ids once = encode(m.t, STR("one word"), 0), twice = { 0 };
    struct err e = ERR_INIT;
    assert_true(tokenizer_adds_bos(m.t));
    assert_int_equal(once.p[0], tokenizer_bos(m.t));
    for (int i = 0; i < 2; i++)
        assert_ok(tokenizer_encode(m.t, STR("one word"), 0, &twice.p, &twice.n, &twice.cap, &e),
                  &e);
    assert_int_equal(twice.n, 2 * once.n);
    assert_memory_equal(twice.p, once.p, once.n * sizeof *once.p);
    assert_memory_equal(twice.p + once.n, once.p, once.n * sizeof *once.p);
    struct ids none = encode(m.t, STR(""), TOKENIZE_NO_BOS);
    assert_int_equal(none.n, 0);
    free(once.p);
    free(twice.p);
    close_model(m);
}

static void decode_refuses_ids_that_do_not_exist(void **state)
{
    (void)state;
    struct model m = open_model(BPE_GPT2);
    struct err e = ERR_INIT;
    struct buf b = { 0 };
    int32_t ids[] = { 64, tokenizer_size(m.t) };
    assert_fails(tokenizer_decode(m.t, ids, 2, true, false, &b, &e), ST_RANGE, &e);
    ids[1] = -1;
    assert_fails(tokenizer_decode(m.t, ids, 2, true, false, &b, &e), ST_RANGE, &e);
    assert_int_equal(b.n, 0);
    assert_int_equal(tokenizer_piece(m.t, -1).n, 0);
    assert_int_equal(tokenizer_piece(m.t, INT32_MAX).n, 0);
    tokenizer_bytes(m.t, tokenizer_size(m.t), &b);
    assert_int_equal(b.n, 0);
    close_model(m);
}

/* Token by token, as generation does, the text is the same. */
static void tokens_decode_one_by_one(void **state)
{
    (void)state;
    struct str text = STR(" Two  words,\n\xf0\x9f\x98\x80 caf\xc3\xa9");
    for (int k = 0; k < N_NAMES; k++) {
        struct model m = open_model(k);
        struct ids ids = encode(m.t, text, TOKENIZE_NO_BOS | TOKENIZE_NO_SPACE);
        struct buf whole = { 0 };
        struct err e = ERR_INIT;
        for (size_t i = 0; i < ids.n; i++)
            assert_ok(tokenizer_decode(m.t, ids.p + i, 1, false, false, &whole, &e), &e);
        assert_true(str_eq(str_of(whole.p, whole.n), text));
        buf_free(&whole);
        free(ids.p);
        close_model(m);
    }
}

UNIT_MAIN(CASE(every_byte_string_comes_back), CASE(text_never_becomes_a_control_token),
          CASE(long_runs_take_no_longer_than_other_text),
          CASE(encode_appends_and_leaves_alone_what_was_there),
          CASE(decode_refuses_ids_that_do_not_exist), CASE(tokens_decode_one_by_one))
