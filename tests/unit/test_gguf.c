/* SPDX-License-Identifier: MIT */
/* GGUF headers: every value type, every lie, every cut. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "file/gguf.h"
#include "tests/harness/gguf_build.h"

/* Parse what was built; the image must outlive *g. */
static enum st open_build(struct build *b, uint8_t **image, struct gguf **g, struct err *e)
{
    size_t n;
    *image = build_image(b, &n);
    return gguf_parse(map_borrow(*image, n, "test.gguf"), g, e);
}

/* The build must be refused with this status; the message must contain `says`, name the file. */
static void refused(struct build *b, enum st want, const char *says)
{
    uint8_t *image;
    struct gguf *g = NULL;
    struct err e = ERR_INIT;
    assert_fails(open_build(b, &image, &g, &e), want, &e);
    assert_null(g);
    assert_string_equal(e.where, "test.gguf");
    if (!strstr(e.msg, says) || strncmp(e.msg, "byte ", 5))
        fail_msg("\"%s\" does not say \"%s\"", e.msg, says);
    free(image);
    build_free(b);
    assert_int_equal(mem_used(), 0);
}

/* One bad tensor with this problem; the other one stays readable. */
static void half_bad(struct build *b, const char *problem)
{
    uint8_t *image;
    struct gguf *g = NULL;
    struct err e = ERR_INIT;
    assert_ok(open_build(b, &image, &g, &e), &e);
    size_t last = g->n_tensors - 1;
    const char *said = g->tensors[last].problem ? g->tensors[last].problem : "";
    if (!strstr(said, problem))
        fail_msg("\"%s\" does not say \"%s\"", said, problem);
    assert_null(g->tensors[last].data);
    assert_null(g->tensors[0].problem);
    assert_non_null(g->tensors[0].data);
    gguf_free(g);
    free(image);
    build_free(b);
}

static const int64_t extremes[][3] = {
    { GGUF_U8, 0, 255 },         { GGUF_I8, -128, 127 },
    { GGUF_U16, 0, 65535 },      { GGUF_I16, -32768, 32767 },
    { GGUF_U32, 0, UINT32_MAX }, { GGUF_I32, INT32_MIN, INT32_MAX },
    { GGUF_U64, 0, INT64_MAX },  { GGUF_I64, INT64_MIN, INT64_MAX },
    { GGUF_BOOL, 0, 1 },
};

static void reads_every_scalar_type(void **state)
{
    (void)state;
    enum { N = sizeof extremes / sizeof *extremes };
    struct build b = BUILD_INIT;
    char key[32];
    for (int i = 0; i < 2 * N; i++) {
        snprintf(key, sizeof key, "test.%d", i);
        build_integer(&b, key, (enum gguf_type)extremes[i / 2][0], extremes[i / 2][1 + i % 2]);
    }
    build_float(&b, "test.f32", GGUF_F32, -1.5);
    build_float(&b, "test.f64", GGUF_F64, 0.1);
    build_integer(&b, "test.huge", GGUF_U64, -1);
    build_string(&b, "test.empty", "");
    build_string(&b, "test.string", "h\xc3\xa9");
    uint8_t *image;
    struct gguf *g = NULL;
    struct err e = ERR_INIT;
    assert_ok(open_build(&b, &image, &g, &e), &e);
    for (int i = 0; i < 2 * N; i++) {
        snprintf(key, sizeof key, "test.%d", i);
        const struct gguf_kv *kv = gguf_find(g, key);
        assert_int_equal(kv->type, extremes[i / 2][0]);
        assert_true(gguf_integer(kv, 0) == extremes[i / 2][1 + i % 2]);
        assert_true(gguf_number(kv, 0) == (double)extremes[i / 2][1 + i % 2]);
    }
    assert_true(gguf_number(gguf_find(g, "test.f32"), 0) == -1.5);
    assert_true(gguf_number(gguf_find(g, "test.f64"), 0) == 0.1);
    assert_true(gguf_integer(gguf_find(g, "test.huge"), 0) == INT64_MAX);
    assert_true(gguf_number(gguf_find(g, "test.huge"), 0) == 0x1p64);
    assert_int_equal(gguf_string(g, gguf_find(g, "test.empty"), 0).n, 0);
    assert_true(str_is(gguf_string(g, gguf_find(g, "test.string"), 0), "h\xc3\xa9"));
    assert_null(gguf_find(g, "test.absent"));
    gguf_free(g);
    free(image);
    build_free(&b);
}

static void reads_arrays_of_every_type(void **state)
{
    (void)state;
    static const char *const words[] = { "", "one", "a longer string", "\x01" };
    struct build b = BUILD_INIT;
    build_strings(&b, "s", words, 4);
    build_strings(&b, "none", words, 0);
    static const enum gguf_type plain[] = { GGUF_U8,  GGUF_I8,  GGUF_U16, GGUF_I16,
                                            GGUF_U32, GGUF_I32, GGUF_U64, GGUF_I64 };
    static const int width[] = { 1, 1, 2, 2, 4, 4, 8, 8 };
    for (int t = 0; t < 8; t++) {
        build_array(&b, gguf_type_name(plain[t]), plain[t], 3);
        for (int i = 0; i < 3; i++)
            build_put(&b.kvs, (uint64_t)(i + 5), width[t]);
    }
    build_array(&b, "bools", GGUF_BOOL, 2);
    build_put(&b.kvs, 0x0001, 2);
    build_array(&b, "floats", GGUF_F32, 2);
    build_put(&b.kvs, 0xc0000000bf800000u, 8); /* -1, -2 */
    uint8_t *image;
    struct gguf *g = NULL;
    struct err e = ERR_INIT;
    assert_ok(open_build(&b, &image, &g, &e), &e);
    const struct gguf_kv *s = gguf_find(g, "s");
    assert_true(s->type == GGUF_ARRAY && s->elem == GGUF_STRING && s->n == 4);
    for (int i = 0; i < 4; i++)
        assert_true(str_is(gguf_string(g, s, (uint64_t)i), words[i]));
    assert_int_equal(gguf_find(g, "none")->n, 0);
    for (int t = 0; t < 8; t++)
        for (uint64_t i = 0; i < 3; i++)
            assert_int_equal(gguf_integer(gguf_find(g, gguf_type_name(plain[t])), i), i + 5);
    assert_int_equal(gguf_integer(gguf_find(g, "bools"), 0), 1);
    assert_int_equal(gguf_integer(gguf_find(g, "bools"), 1), 0);
    assert_true(gguf_number(gguf_find(g, "floats"), 1) == -2.0);
    gguf_free(g);
    free(image);
    build_free(&b);
}

static void print_is(struct gguf *g, const char *key, const char *want)
{
    struct buf out = { 0 };
    gguf_print(g, gguf_find(g, key), 2, 8, &out);
    assert_string_equal(buf_str(&out), want);
    buf_free(&out);
}

static void prints_values_for_people(void **state)
{
    (void)state;
    static const char *const words[] = { "<s>", "\n", "x" };
    struct build b = BUILD_INIT;
    build_float(&b, "eps", GGUF_F32, 1e-5);
    build_float(&b, "nan", GGUF_F64, (double)NAN);
    build_integer(&b, "yes", GGUF_BOOL, 1);
    build_integer(&b, "big", GGUF_U64, -1);
    build_string(&b, "long", "abcdefg\xc3\xa9hij");
    build_strings(&b, "words", words, 3);
    uint8_t *image;
    struct gguf *g = NULL;
    struct err e = ERR_INIT;
    assert_ok(open_build(&b, &image, &g, &e), &e);
    print_is(g, "eps", "1e-05");
    print_is(g, "nan", "nan");
    print_is(g, "yes", "true");
    print_is(g, "big", "18446744073709551615");
    print_is(g, "long", "\"abcdefg...\" (12 bytes)");
    print_is(g, "words", "[\"<s>\", \"\\n\", ...] (3 x string)");
    gguf_free(g);
    free(image);
    build_free(&b);
}

/* Every prefix of a sound file: inside the header an error, after it an open with bad tensors. */
static void survives_a_cut_at_every_byte(void **state)
{
    (void)state;
    struct build b = BUILD_INIT;
    build_llama(&b);
    size_t n;
    uint8_t *image = build_image(&b, &n);
    for (size_t cut = 0; cut < n; cut += cut < b.header + 40 ? 1 : 97) {
        uint8_t *part = malloc(cut ? cut : 1); /* its own: a sanitizer sees every overrun */
        memcpy(part, image, cut);
        struct gguf *g = NULL;
        struct err e = ERR_INIT;
        enum st st = gguf_parse(map_borrow(part, cut, "cut.gguf"), &g, &e);
        if (cut < b.header) {
            assert_int_equal(st, ST_FORMAT);
            assert_int_equal(strncmp(e.msg, "byte ", 5), 0);
        } else {
            assert_int_equal(st, ST_OK);
            size_t bad = 0;
            for (size_t i = 0; i < g->n_tensors; i++) {
                const struct gguf_tensor *t = &g->tensors[i];
                assert_true(!t->problem == !!t->data);
                assert_true(!t->data || t->data + t->bytes <= part + cut);
                bad += t->problem != NULL;
            }
            assert_true(bad > 0);
            gguf_free(g);
        }
        free(part);
    }
    free(image);
    build_free(&b);
}

static void refuses_other_files(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        enum st st;
        const char *msg, *hint;
    } files[] = {
        { "", 0, ST_FORMAT, "not a GGUF file", "" },
        { "GGU", 3, ST_FORMAT, "not a GGUF file", "" },
        { "GGUF", 4, ST_FORMAT, "ends inside the version", "" },
        { "GGUF\1\0\0\0", 8, ST_UNSUPPORTED, "version 1", "2023" },
        { "GGUF\4\0\0\0", 8, ST_UNSUPPORTED, "version 4", "" },
        { "GGUF\0\0\0\0", 8, ST_UNSUPPORTED, "version 0", "" },
        { "GGUF\0\0\0\3", 8, ST_UNSUPPORTED, "big-endian", "" },
        { "PK\3\4....", 8, ST_FORMAT, "not a GGUF file", "PyTorch" },
        { "version https://git-lfs.github.com/spec/v1", 42, ST_FORMAT, "not a GGUF file", "LFS" },
        { "\2\0\0\0\0\0\0\0{}", 10, ST_FORMAT, "not a GGUF file", "safetensors" },
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct gguf *g = NULL;
        struct err e = ERR_INIT;
        enum st st = gguf_parse(map_borrow(files[i].bytes, files[i].n, "other"), &g, &e);
        assert_int_equal(st, files[i].st);
        assert_non_null(strstr(e.msg, files[i].msg));
        assert_non_null(strstr(e.hint, files[i].hint));
        assert_string_equal(e.where, "other");
    }
}

static void refuses_counts_that_lie(void **state)
{
    (void)state;
    struct build b = BUILD_INIT;
    build_string(&b, "k", "v");
    b.n_kvs = UINT64_MAX;
    refused(&b, ST_FORMAT, "keys cannot fit");
    struct build c = BUILD_INIT;
    build_f32(&c, "t", 4, 4, NULL);
    c.n_tensors = (uint64_t)1 << 40;
    refused(&c, ST_FORMAT, "1099511627776 tensors cannot fit");
    struct build d = BUILD_INIT;
    build_array(&d, "s", GGUF_STRING, (uint64_t)1 << 63);
    build_put_string(&d.kvs, STR("one"));
    refused(&d, ST_FORMAT, "claims 9223372036854775808 strings");
    struct build f = BUILD_INIT;
    build_array(&f, "n", GGUF_U64, ((uint64_t)1 << 61) + 1); /* times 8 is 8 */
    build_put(&f.kvs, 0, 8);
    refused(&f, ST_FORMAT, "`n` claims");
    struct build g = BUILD_INIT;
    build_key(&g, "s", GGUF_STRING);
    build_put(&g.kvs, (uint64_t)1 << 63, 8);
    refused(&g, ST_FORMAT, "a string of 9223372036854775808 bytes");
    struct build h = BUILD_INIT;
    build_string(&h, "k", "v");
    h.n_kvs = 2;
    build_put(&h.kvs, 0, 40);
    refused(&h, ST_FORMAT, "key 2 of 2 is 0 bytes long");
}

static void refuses_bad_keys(void **state)
{
    (void)state;
    struct build b = BUILD_INIT;
    build_string(&b, "twice", "1");
    build_string(&b, "other", "1");
    build_string(&b, "twice", "2");
    refused(&b, ST_FORMAT, "the key `twice` occurs twice");
    struct build c = BUILD_INIT;
    build_string(&c, "", "empty");
    refused(&c, ST_FORMAT, "key 1 of 1 is 0 bytes long");
    struct build d = BUILD_INIT;
    build_key(&d, "new", (enum gguf_type)13);
    build_put(&d.kvs, 0, 8);
    refused(&d, ST_FORMAT, "`new` has the unknown value type 13");
    struct build f = BUILD_INIT;
    build_integer(&f, "flag", GGUF_BOOL, 2);
    refused(&f, ST_FORMAT, "bool `flag` is 2");
    struct build g = BUILD_INIT;
    build_array(&g, "nested", GGUF_ARRAY, 1);
    build_put(&g.kvs, 0, 12);
    refused(&g, ST_UNSUPPORTED, "`nested` is an array of arrays");
    struct build h = BUILD_INIT;
    struct buf name = { 0 };
    for (int i = 0; i <= GGUF_MAX_KEY; i++)
        buf_addc(&name, 'k');
    build_string(&h, buf_str(&name), "v");
    buf_free(&name);
    refused(&h, ST_FORMAT, "65536 bytes long");
}

static void checks_the_alignment(void **state)
{
    (void)state;
    static const uint32_t bad[] = { 0, 3, 48, UINT32_MAX };
    for (int i = 0; i < 4; i++) {
        struct build b = BUILD_INIT;
        build_integer(&b, "general.alignment", GGUF_U32, bad[i]);
        refused(&b, ST_FORMAT, "not a power of two");
    }
    struct build c = BUILD_INIT;
    build_integer(&c, "general.alignment", GGUF_U64, 64);
    refused(&c, ST_FORMAT, "general.alignment is of type u64");
    struct build d = BUILD_INIT;
    d.alignment = 4096;
    build_integer(&d, "general.alignment", GGUF_U32, 4096);
    build_f32(&d, "a", 3, 1, NULL);
    build_f32(&d, "b", 3, 1, NULL);
    uint8_t *image;
    struct gguf *g = NULL;
    struct err e = ERR_INIT;
    assert_ok(open_build(&d, &image, &g, &e), &e);
    assert_int_equal(g->data_offset, 4096);
    assert_ptr_equal(g->tensors[1].data, image + 8192);
    gguf_free(g);
    free(image);
    build_free(&d);
}

static void refuses_bad_directories(void **state)
{
    (void)state;
    static const uint64_t ne[5] = { 4, 1, 1, 1, 1 };
    char name[201];
    memset(name, 'n', 200);
    name[200] = '\0';
    struct build b = BUILD_INIT;
    build_record(&b, name, 0, 1, ne, 0);
    refused(&b, ST_FORMAT, "the name of tensor 1 of 1 is 200 bytes long");
    struct build c = BUILD_INIT;
    build_record(&c, "", 0, 1, ne, 0);
    refused(&c, ST_FORMAT, "is 0 bytes long");
    struct build d = BUILD_INIT;
    build_record(&d, "five", 0, 5, ne, 0);
    refused(&d, ST_FORMAT, "tensor `five` has 5 dimensions");
    struct build f = BUILD_INIT;
    build_record(&f, "same", 0, 1, ne, 0);
    build_record(&f, "same", 0, 1, ne, 32);
    refused(&f, ST_FORMAT, "the tensor name `same` occurs twice");
    struct build g = BUILD_INIT;
    static const uint64_t negative[1] = { (uint64_t)-4 };
    build_record(&g, "minus", 0, 1, negative, 0);
    refused(&g, ST_FORMAT, "dimension 0 of tensor `minus`");
}

static void keeps_the_good_half_of_a_bad_file(void **state)
{
    (void)state;
    static const uint64_t fits[1] = { 32 }, odd[2] = { 33, 2 }, none[2] = { 32, 0 };
    static const uint64_t over[3] = { (uint64_t)1 << 40, (uint64_t)1 << 40, 2 };
    static const uint64_t wide[2] = { (uint64_t)1 << 40, (uint64_t)1 << 22 };
    static const struct {
        uint32_t type;
        int rank;
        const uint64_t *ne;
        uint64_t offset;
        const char *says;
    } bad[] = {
        { 0, 1, fits, 1 << 20, "lies outside the file" },
        { 0, 1, fits, UINT64_MAX - 31, "lies outside the file" },
        { 0, 1, fits, 128, "ends outside the file" },
        { 0, 1, fits, 129, "offset is not a multiple" },
        { 0, 3, over, 128, "dimensions overflow" },
        { 0, 2, wide, 128, "size overflows" },
        { 2, 2, odd, 128, "not a multiple of the block" },
        { 0, 2, none, 128, "dimension of 0" },
        { 4, 1, fits, 128, "removed" },
        { 9999, 1, fits, 128, "type is unknown" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct build b = BUILD_INIT;
        build_f32(&b, "good", 32, 1, NULL); /* bytes 0..127 */
        build_put(&b.data, 0, 40);
        build_record(&b, "bad", bad[i].type, bad[i].rank, bad[i].ne, bad[i].offset);
        half_bad(&b, bad[i].says);
    }
}

static void finds_overlaps_and_allows_gaps(void **state)
{
    (void)state;
    static const uint64_t n64[1] = { 64 }, n32[1] = { 32 };
    struct build b = BUILD_INIT;
    build_record(&b, "last", 0, 1, n32, 896);  /* out of order, alone: fine */
    build_record(&b, "whole", 0, 1, n64, 0);   /* 0..255 */
    build_record(&b, "inside", 0, 1, n32, 64); /* within it */
    build_record(&b, "tail", 0, 1, n32, 224);  /* the end of `whole`, though not of `inside` */
    build_record(&b, "next", 0, 1, n32, 384);  /* after a gap: fine */
    build_put(&b.data, 0, 1024);
    uint8_t *image;
    struct gguf *g = NULL;
    struct err e = ERR_INIT;
    assert_ok(open_build(&b, &image, &g, &e), &e);
    static const bool good[] = { true, false, false, false, true };
    for (int i = 0; i < 5; i++)
        assert_true(good[i] == !g->tensors[i].problem);
    gguf_free(g);
    free(image);
    build_free(&b);
}

/* A vocabulary as large as today's: allocations may not grow with the number of strings. */
static void indexes_strings_with_one_allocation(void **state)
{
    (void)state;
    enum { N = 128000 };
    struct build b = BUILD_INIT;
    build_array(&b, "tokenizer.ggml.tokens", GGUF_STRING, N);
    for (int i = 0; i < N; i++) {
        char word[16];
        build_put_string(&b.kvs, str_of(word, (size_t)snprintf(word, sizeof word, "w%d", i)));
    }
    uint8_t *image;
    struct gguf *g = NULL;
    struct err e = ERR_INIT;
    assert_ok(open_build(&b, &image, &g, &e), &e);
    const struct gguf_kv *kv = gguf_find(g, "tokenizer.ggml.tokens");
    assert_true(str_is(gguf_string(g, kv, 0), "w0"));
    assert_true(str_is(gguf_string(g, kv, N - 1), "w127999"));
    assert_in_range(mem_used(), 8 * N, 8 * N + 4096);
    gguf_free(g);
    assert_int_equal(mem_used(), 0);
    free(image);
    build_free(&b);
}

/* Random damage to a sound header: an error or an open file, never a crash (see sanitizers). */
static void survives_random_damage(void **state)
{
    (void)state;
    struct build b = BUILD_INIT;
    build_llama(&b);
    size_t n;
    uint8_t *image = build_image(&b, &n), *copy = malloc(n);
    uint64_t seed = 1;
    for (int round = 0; round < 3000; round++) {
        memcpy(copy, image, n);
        for (uint64_t k = unit_random(&seed) % 4 + 1; k; k--)
            copy[unit_random(&seed) % b.header] = (uint8_t)unit_random(&seed);
        struct gguf *g = NULL;
        struct err e = ERR_INIT;
        if (gguf_parse(map_borrow(copy, n, "damaged"), &g, &e)) {
            assert_true(e.msg[0] && e.where[0]);
            continue;
        }
        struct buf out = { 0 };
        for (size_t i = 0; i < g->n_kvs; i++)
            gguf_print(g, &g->kvs[i], 100, 100, &out);
        buf_free(&out);
        gguf_free(g);
    }
    assert_int_equal(mem_used(), 0);
    free(copy);
    free(image);
    build_free(&b);
}

UNIT_MAIN(CASE(reads_every_scalar_type), CASE(reads_arrays_of_every_type),
          CASE(prints_values_for_people), CASE(survives_a_cut_at_every_byte),
          CASE(refuses_other_files), CASE(refuses_counts_that_lie), CASE(refuses_bad_keys),
          CASE(checks_the_alignment), CASE(refuses_bad_directories),
          CASE(keeps_the_good_half_of_a_bad_file), CASE(finds_overlaps_and_allows_gaps),
          CASE(indexes_strings_with_one_allocation), CASE(survives_random_damage))
