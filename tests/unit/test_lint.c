/* SPDX-License-Identifier: MIT */
/* Lint: a sound file has nothing but notes; each kind of damage is found, named and placed. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "file/lint.h"
#include "tests/harness/gguf_build.h"

static struct lint lint_build(struct build *b, uint64_t max_elements)
{
    size_t n;
    uint8_t *image = build_image(b, &n);
    struct weights *w = NULL;
    struct lint l;
    struct err e = ERR_INIT;
    assert_ok(weights_borrow(image, n, "test.gguf", &w, &e), &e);
    assert_ok(lint_weights(w, max_elements, NULL, &l, &e), &e);
    weights_close(w);
    free(image);
    build_free(b);
    assert_int_equal(mem_used(), 0);
    return l;
}

static const struct finding *find(const struct lint *l, const char *check, const char *subject)
{
    for (size_t i = 0; i < l->n; i++)
        if (!strcmp(l->list[i].check, check) && !strcmp(l->list[i].subject, subject))
            return &l->list[i];
    return NULL;
}

/* The build has this finding. */
static void found(struct build *b, enum lint_severity severity, const char *check,
                  const char *subject, const char *says)
{
    struct lint l = lint_build(b, 0);
    const struct finding *f = find(&l, check, subject);
    if (!f) {
        for (size_t i = 0; i < l.n; i++)
            print_message("# %s %s: %s\n", l.list[i].check, l.list[i].subject, l.list[i].message);
        fail_msg("no finding `%s` about `%s`", check, subject);
    }
    assert_int_equal(f->severity, severity);
    if (!strstr(f->message, says))
        fail_msg("\"%s\" does not say \"%s\"", f->message, says);
    lint_free(&l);
}

static void finds_nothing_wrong_with_a_sound_file(void **state)
{
    (void)state;
    struct build b = BUILD_INIT;
    build_llama(&b);
    struct lint l = lint_build(&b, 0);
    for (size_t i = 0; i < l.n; i++)
        if (l.list[i].severity != LINT_NOTE)
            fail_msg("%s: %s", l.list[i].subject, l.list[i].message);
    assert_non_null(find(&l, "tied", "token_embd.weight"));
    assert_int_equal(l.count[LINT_NOTE], l.n);
    lint_free(&l);
}

static void finds_values_that_are_no_numbers(void **state)
{
    (void)state;
    float v[4 * 300];
    for (int i = 0; i < 4 * 300; i++)
        v[i] = (float)(i + 1);
    v[2 * 300 + 299] = (float)NAN;
    v[3 * 300] = (float)-INFINITY;
    struct build b = BUILD_INIT;
    build_f32(&b, "x", 300, 4, v);
    found(&b, LINT_ERROR, "nan", "x",
          "1 NaN and 1 infinite values; the first in row 2, column 299");
    v[2 * 300 + 299] = 70000;
    struct build c = BUILD_INIT;
    build_f32(&c, "x", 300, 4, v);
    struct lint l = lint_build(&c, 0);
    assert_non_null(find(&l, "inf", "x"));
    assert_non_null(strstr(find(&l, "range", "x")->message, "70000"));
    lint_free(&l);
}

/* Eight q8_0 blocks, [4][64], all codes 1; a scale of f16 bits each. */
static void quantized(struct build *b, const uint16_t scale[8])
{
    static const uint64_t ne[2] = { 64, 4 };
    uint8_t data[8 * 34];
    for (int i = 0; i < 8; i++) {
        data[34 * i] = (uint8_t)scale[i];
        data[34 * i + 1] = (uint8_t)(scale[i] >> 8);
        for (int k = 0; k < 32; k++)
            data[34 * i + 2 + k] = 1;
    }
    build_tensor(b, "q", 8, 2, ne, data, sizeof data);
}

static void finds_bad_and_dead_scales(void **state)
{
    (void)state;
    struct build b = BUILD_INIT;
    quantized(&b, (uint16_t[]){ 1, 2, 3, 0x7e00, 5, 6, 0x7c00, 8 });
    found(
        &b, LINT_ERROR, "nan", "q",
        "32 NaN and 32 infinite values in 2 of 8 blocks; the first in row 1, block 1 (column 32)");
    struct build c = BUILD_INIT;
    quantized(&c, (uint16_t[]){ 1, 2, 3, 4, 0, 0, 7, 0x8000 });
    struct lint l = lint_build(&c, 0);
    assert_non_null(
        strstr(find(&l, "zero-row", "q")->message, "1 of 4 rows is all zero, the first is row 2"));
    assert_non_null(strstr(find(&l, "zero-block", "q")->message, "3 of 8 blocks"));
    lint_free(&l);
    struct build d = BUILD_INIT;
    quantized(&d, (uint16_t[8]){ 0 });
    found(&d, LINT_WARNING, "zero", "q", "all values are zero");
    static const float zeros[8] = { 0 };
    struct build f = BUILD_INIT;
    build_f32(&f, "x.bias", 8, 1, zeros);
    found(&f, LINT_NOTE, "zero", "x.bias", "all values are zero");
}

/* Rows longer than what is decoded at a time, and pieces that end inside a row. */
static void keeps_count_over_long_rows(void **state)
{
    (void)state;
    enum { COLS = 70000, ROWS = 3 };
    float *v = x_alloc(COLS * ROWS * sizeof *v);
    v[COLS - 1] = 1;
    v[2 * COLS] = 1; /* row 1 is dead */
    v[2 * COLS + 69999] = (float)NAN;
    struct build b = BUILD_INIT;
    build_f32(&b, "x", COLS, ROWS, v);
    struct lint l = lint_build(&b, 0);
    assert_non_null(strstr(find(&l, "nan", "x")->message, "row 2, column 69999"));
    assert_non_null(
        strstr(find(&l, "zero-row", "x")->message, "1 of 3 rows is all zero, the first is row 1"));
    assert_null(find(&l, "zero", "x"));
    lint_free(&l);
    free(v);
}

static void finds_the_same_bytes_under_two_names(void **state)
{
    (void)state;
    struct build b = BUILD_INIT;
    build_llama(&b);
    float v[2][512];
    for (int i = 0; i < 512; i++)
        v[0][i] = v[1][i] = (float)i;
    build_f32(&b, "a", 32, 16, v[0]);
    build_f32(&b, "b", 32, 16, v[0]);
    v[1][511] = 0;
    build_f32(&b, "c", 32, 16, v[1]);
    struct lint l = lint_build(&b, 0);
    assert_non_null(strstr(find(&l, "duplicate", "b")->message, "the same 2048 bytes as a"));
    assert_null(find(&l, "duplicate", "a"));
    assert_null(find(&l, "duplicate", "c"));
    assert_int_equal(l.count[LINT_WARNING], 1);
    lint_free(&l);
}

static void finds_bad_places_and_names(void **state)
{
    (void)state;
    static const uint64_t ne[1] = { 32 };
    struct build b = BUILD_INIT;
    build_f32(&b, "a", 32, 1, NULL);
    build_record(&b, "far", 0, 1, ne, 1 << 20);
    found(&b, LINT_ERROR, "tensor", "far",
          "its data lies outside the file (type 0, shape 32, 128 bytes at offset 1048576; the file "
          "has 128 bytes of data)");
    struct build c = BUILD_INIT;
    build_f32(&c, "a", 32, 1, NULL);
    build_record(&c, "old", 31, 1, ne, 0);
    found(&c, LINT_ERROR, "tensor", "old", "removed");
    struct build d = BUILD_INIT;
    build_f32(&d, "a", 32, 1, NULL);
    build_put(&d.data, 0, 64);
    build_f32(&d, "gap", 32, 1, NULL);
    found(&d, LINT_WARNING, "order", "gap", "1 tensor does not lie right behind");
    struct build f = BUILD_INIT;
    build_f32(&f, "a", 32, 1, NULL);
    build_put(&f.data, 0, 100);
    found(&f, LINT_NOTE, "tail", "file", "100 bytes follow");
    struct build g = BUILD_INIT;
    build_f32(&g, "a b", 32, 1, NULL);
    found(&g, LINT_WARNING, "name", "a b", "blanks");
    char name[65];
    memset(name, 'n', 64);
    name[64] = '\0';
    struct build h = BUILD_INIT;
    build_f32(&h, name, 32, 1, NULL);
    found(&h, LINT_WARNING, "name", name, "64 bytes");
}

static void finds_labels_that_do_not_fit(void **state)
{
    (void)state;
    static const uint16_t ones[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    struct build b = BUILD_INIT;
    build_integer(&b, "general.file_type", GGUF_U32, 15);
    quantized(&b, ones);
    found(&b, LINT_WARNING, "file-type", "general.file_type",
          "the label is Q4_K_M, but no matrix has that type; most weights (100 %) are Q8_0");
    struct build d = BUILD_INIT;
    build_integer(&d, "general.file_type", GGUF_U32, 7 | 1024);
    quantized(&d, ones);
    build_f32(&d, "big", 64, 64, NULL);
    found(&d, LINT_NOTE, "file-type", "general.file_type",
          "the label is Q8_0, but most weights (94 %) are F32");
    struct build f = BUILD_INIT;
    quantized(&f, ones);
    found(&f, LINT_WARNING, "quantization-version", "general.quantization_version", "absent");
    static const uint64_t ne[2] = { 64, 1 };
    static const uint8_t block[36] = { 0x38, 0x38, 0x38, 0x38, 1 };
    struct build g = BUILD_INIT;
    build_tensor(&g, "a.weight", 40, 2, ne, block, sizeof block);
    build_tensor(&g, "b.weight", 40, 2, ne, block, sizeof block);
    build_f32(&g, "b.scale", 1, 1, (const float[]){ 2 });
    found(&g, LINT_NOTE, "nvfp4-scale", "a.weight", "1 of 2 NVFP4 tensors has no .scale");
}

/* Add one key to the sound model; the check about the subject must say so. */
static void hyper(const char *key, enum gguf_type type, double v, enum lint_severity severity,
                  const char *check, const char *says)
{
    struct build b = BUILD_INIT, own = BUILD_INIT;
    build_llama(&b);
    if (type == GGUF_F32)
        build_float(&own, key, type, v);
    else
        build_integer(&own, key, type, (int64_t)v);
    /* The sound model's own key of this name, if any, gets another name of the same length. */
    for (size_t i = 0, n = strlen(key); i + n <= b.kvs.n; i++)
        if (!memcmp(b.kvs.p + i, key, n))
            b.kvs.p[i] = '#';
    buf_add(&b.kvs, own.kvs.p, own.kvs.n);
    b.n_kvs++;
    build_free(&own);
    found(&b, severity, check, key, says);
}

static void finds_bad_hyper_parameters(void **state)
{
    (void)state;
    hyper("llama.rope.freq_base", GGUF_F32, (double)NAN, LINT_ERROR, "metadata-nan", "NaN");
    hyper("llama.rope.freq_base", GGUF_F32, 0, LINT_ERROR, "rope", "not positive");
    hyper("llama.rope.dimension_count", GGUF_U32, 10, LINT_ERROR, "rope", "larger than a head");
    hyper("llama.rope.dimension_count", GGUF_U32, 7, LINT_ERROR, "rope", "odd");
    hyper("llama.block_count", GGUF_U32, 0, LINT_ERROR, "blocks", "no layers");
    hyper("llama.block_count", GGUF_U32, 2, LINT_ERROR, "blocks",
          "2, but the tensors are of 1 block");
    hyper("llama.attention.head_count", GGUF_U32, 0, LINT_ERROR, "heads", "0");
    hyper("llama.attention.head_count", GGUF_U32, 6, LINT_ERROR, "heads",
          "do not divide the width 32");
    hyper("llama.attention.head_count_kv", GGUF_U32, 3, LINT_ERROR, "heads",
          "does not divide the 4 heads");
    hyper("llama.embedding_length", GGUF_U32, 0, LINT_ERROR, "width", "0");
    hyper("llama.context_length", GGUF_U32, 0, LINT_ERROR, "context", "0");
    hyper("llama.attention.layer_norm_rms_epsilon", GGUF_F32, 0.5, LINT_WARNING, "epsilon",
          "small");
}

static void finds_shapes_that_contradict_the_metadata(void **state)
{
    (void)state;
    struct build b = BUILD_INIT;
    build_llama(&b);
    build_f32(&b, "output.weight", 32, 5, NULL);
    found(&b, LINT_ERROR, "shape", "output.weight", "5 rows, token_embd.weight has 6");
    struct build c = BUILD_INIT;
    build_string(&c, "general.architecture", "llama");
    build_integer(&c, "llama.embedding_length", GGUF_U32, 48);
    build_f32(&c, "token_embd.weight", 32, 6, NULL);
    found(&c, LINT_ERROR, "shape", "token_embd.weight",
          "32 columns, but llama.embedding_length is 48");
    struct build d = BUILD_INIT;
    build_f32(&d, "a", 32, 6, NULL);
    found(&d, LINT_ERROR, "architecture", "general.architecture", "absent");
}

static void finds_bad_vocabularies(void **state)
{
    (void)state;
    static const char *const tokens[] = { "a", "b", "a", "" };
    struct build b = BUILD_INIT;
    build_string(&b, "general.architecture", "llama");
    build_strings(&b, "tokenizer.ggml.tokens", tokens, 4);
    build_array(&b, "tokenizer.ggml.scores", GGUF_F32, 3);
    build_put(&b.kvs, 0, 12);
    build_array(&b, "tokenizer.ggml.token_type", GGUF_I32, 4);
    build_put(&b.kvs, 7, 16);
    build_integer(&b, "tokenizer.ggml.bos_token_id", GGUF_U32, 4);
    build_integer(&b, "tokenizer.ggml.eos_token_id", GGUF_U32, 3);
    build_integer(&b, "tokenizer.ggml.padding_token_id", GGUF_U32, UINT32_MAX);
    build_integer(&b, "llama.vocab_size", GGUF_U32, 5);
    static const char *const merges[] = { "a b", "ab" };
    build_strings(&b, "tokenizer.ggml.merges", merges, 2);
    build_f32(&b, "token_embd.weight", 32, 3, NULL);
    struct lint l = lint_build(&b, 0);
    static const struct {
        const char *subject, *says;
    } want[] = {
        { "tokenizer.ggml.tokens", "1 token occurs twice; the first is 2, the same as 0" },
        { "tokenizer.ggml.scores", "3 entries for 4 tokens" },
        { "tokenizer.ggml.token_type", "token 0 has the unknown type 7" },
        { "tokenizer.ggml.bos_token_id", "4 is no token" },
        { "llama.vocab_size", "5, but there are 4 tokens" },
        { "tokenizer.ggml.merges", "merge 1" },
        { "token_embd.weight", "3 rows for 4 tokens" },
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const struct finding *f = find(&l, "tokenizer", want[i].subject);
        if (!f || !strstr(f->message, want[i].says))
            fail_msg("%s: \"%s\", not \"%s\"", want[i].subject, f ? f->message : "none",
                     want[i].says);
    }
    assert_null(find(&l, "tokenizer", "tokenizer.ggml.eos_token_id"));
    assert_null(find(&l, "tokenizer", "tokenizer.ggml.padding_token_id"));
    lint_free(&l);
}

static void stops_when_told_and_keeps_what_it_found(void **state)
{
    (void)state;
    struct build b = BUILD_INIT;
    build_f32(&b, "a b", 32, 1, NULL);
    size_t n;
    uint8_t *image = build_image(&b, &n);
    struct weights *w = NULL;
    struct err e = ERR_INIT;
    assert_ok(weights_borrow(image, n, "test", &w, &e), &e);
    sig_atomic_t stop = 1;
    struct progress p = { .cancel = &stop };
    struct lint l;
    assert_fails(lint_weights(w, 0, &p, &l, &e), ST_CANCELLED, &e);
    assert_non_null(find(&l, "name", "a b"));
    lint_free(&l);
    weights_close(w);
    assert_int_equal(mem_used(), 0);
    free(image);
    build_free(&b);
}

static void reads_no_more_than_asked(void **state)
{
    (void)state;
    float v[600] = { 1 };
    v[599] = (float)NAN;
    struct build b = BUILD_INIT;
    build_f32(&b, "x", 300, 2, v);
    struct lint l = lint_build(&b, 300);
    assert_null(find(&l, "nan", "x"));
    assert_null(find(&l, "zero-row", "x"));
    lint_free(&l);
}

static void finds_nothing_wrong_with_real_files(void **state)
{
    (void)state;
    static const char *const files[] = { "f32", "ffn192-Q8_0", "ffn192-Q4_0", "pad256-Q4_K",
                                         "pad256-Q6_K" };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char name[64];
        snprintf(name, sizeof name, "stories260K/stories260K-%s.gguf", files[i]);
        struct weights *w = NULL;
        struct lint l;
        struct err e = ERR_INIT;
        assert_ok(weights_open(need_data(name), &w, &e), &e);
        assert_ok(lint_weights(w, 0, NULL, &l, &e), &e);
        assert_int_equal(l.count[LINT_ERROR] + l.count[LINT_WARNING], 0);
        assert_non_null(find(&l, "tied", "token_embd.weight"));
        lint_free(&l);
        weights_close(w);
    }
}

UNIT_MAIN(CASE(finds_nothing_wrong_with_a_sound_file), CASE(finds_values_that_are_no_numbers),
          CASE(finds_bad_and_dead_scales), CASE(keeps_count_over_long_rows),
          CASE(finds_the_same_bytes_under_two_names), CASE(finds_bad_places_and_names),
          CASE(finds_labels_that_do_not_fit), CASE(finds_bad_hyper_parameters),
          CASE(finds_shapes_that_contradict_the_metadata), CASE(finds_bad_vocabularies),
          CASE(stops_when_told_and_keeps_what_it_found), CASE(reads_no_more_than_asked),
          CASE(finds_nothing_wrong_with_real_files))
