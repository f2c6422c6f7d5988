/* SPDX-License-Identifier: MIT */
/* Opening model files: real ones, splits, things that are no model; looking up; decoding. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "file/diff.h"
#include "file/lint.h"
#include "file/weights.h"
#include "tests/harness/gguf_build.h"
#include "tests/harness/scratch.h"

static void refuses_what_is_no_file(void **state)
{
    (void)state;
    const char *folder = scratch_begin();
    static const struct {
        const char *name, *says;
    } cases[] = {
        { "missing.gguf", "No such file" },
        { "folder", "is a directory" },
        { "empty.gguf", "is empty" },
        { "pipe", "is not a regular file" },
    };
    assert_int_equal(mkdir(scratch_path("folder"), 0700), 0);
    scratch_write("empty.gguf", "", 0);
    assert_int_equal(mkfifo(scratch_path("pipe"), 0600), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct weights *w = NULL;
        struct err e = ERR_INIT;
        assert_fails(weights_open(scratch_path(cases[i].name), &w, &e), ST_IO, &e);
        assert_non_null(strstr(e.msg, cases[i].says));
        assert_int_equal(strncmp(e.where, folder, strlen(folder)), 0);
        assert_null(w);
    }
    scratch_end();
}

static void finds_tensors_and_metadata(void **state)
{
    (void)state;
    struct build b = BUILD_INIT;
    build_llama(&b);
    size_t n;
    uint8_t *image = build_image(&b, &n);
    struct weights *w = NULL;
    struct err e = ERR_INIT;
    assert_ok(weights_borrow(image, n, "tiny", &w, &e), &e);
    assert_int_equal(w->n, 11);
    assert_int_equal(w->n_params, 32 * 6 + 3 * 32 + 32 * (32 + 16 + 16 + 32) + 3 * 32 * 64);
    assert_int_equal(w->n_bytes, 4 * w->n_params);
    const struct weight *x = weights_find(w, STR("blk.0.ffn_down.weight"));
    assert_non_null(x);
    assert_int_equal(x->cols, 64);
    assert_int_equal(x->rows, 32);
    assert_int_equal(x->row_bytes, 256);
    assert_null(weights_find(w, STR("blk.1.ffn_down.weight")));
    assert_true(str_is(weights_string(w, "general.architecture", ""), "llama"));
    assert_true(
        str_is(weights_string(w, "general.file_type", "other"), "other")); /* not a string */
    assert_int_equal(weights_integer(w, "llama.block_count", -1), 1);
    assert_int_equal(weights_integer(w, "llama.rope.freq_base", -1), -1);  /* not an integer */
    assert_int_equal(weights_integer(w, "tokenizer.ggml.tokens", -1), -1); /* not a scalar */
    assert_true(weights_number(w, "llama.rope.freq_base", 0) == 10000.0);
    assert_true(weights_number(w, "llama.block_count", 0) == 1.0);
    assert_true(isnan(weights_number(w, "absent", (double)NAN)));
    weights_close(w);
    free(image);
    build_free(&b);
    assert_int_equal(mem_used(), 0);
}

static void decodes_rows_and_pieces(void **state)
{
    (void)state;
    enum { COLS = 64, ROWS = 5, BLOCK = 34 };
    static const uint64_t ne[3] = { COLS, ROWS - 3, 2 }; /* [2][2][64]: 4 rows */
    uint8_t data[4 * 2 * BLOCK];
    for (int i = 0; i < 8; i++) { /* q8_0: f16 scale 1, then code = block number + column */
        data[i * BLOCK] = 0x00;
        data[i * BLOCK + 1] = 0x3c;
        for (int k = 0; k < 32; k++)
            data[i * BLOCK + 2 + k] = (uint8_t)(i + k);
    }
    struct build b = BUILD_INIT;
    build_tensor(&b, "q", 8, 3, ne, data, sizeof data);
    build_record(&b, "outside", 0, 1, ne, 1 << 20);
    /* IQ4_K of another dialect: named and sized, not decoded. */
    build_record(&b, "opaque", 139, 1, (const uint64_t[]){ 256 }, 512);
    build_put(&b.data, 0, 1024);
    size_t n;
    uint8_t *image = build_image(&b, &n);
    struct weights *w = NULL;
    struct err e = ERR_INIT;
    assert_ok(weights_borrow(image, n, "q", &w, &e), &e);
    const struct weight *q = weights_find(w, STR("q"));
    assert_int_equal(q->rows, 4);
    float row[2 * COLS];
    assert_ok(weight_decode(q, 2, 2, row, &e), &e);
    for (int i = 0; i < 2 * COLS; i++)
        assert_true(row[i] == (float)(4 + i / 32 + i % 32));
    weight_decode_flat(q, 96, 32, row); /* second half of row 1 */
    assert_true(row[0] == 3.0f && row[31] == 34.0f);
    assert_ok(weight_decode(q, 4, 0, row, &e), &e);
    assert_fails(weight_decode(q, 3, 2, row, &e), ST_RANGE, &e);
    assert_fails(weight_decode(q, UINT64_MAX, 2, row, &e), ST_RANGE, &e);
    assert_string_equal(e.where, "q");
    assert_fails(weight_decode(weights_find(w, STR("outside")), 0, 1, row, &e), ST_FORMAT, &e);
    const struct weight *opaque = weights_find(w, STR("opaque"));
    assert_int_equal(opaque->bytes, 144);
    assert_null(opaque->problem);
    assert_fails(weight_decode(opaque, 0, 1, row, &e), ST_UNSUPPORTED, &e);
    weights_close(w);
    free(image);
    build_free(&b);
}

/* Part i of n with one tensor; claims may be made to lie. */
static void write_part(const char *name, int i, int n, int count, int total, const char *tensor)
{
    struct build b = BUILD_INIT;
    if (i == 0)
        build_string(&b, "general.name", "in parts");
    build_integer(&b, "split.no", GGUF_U16, i);
    build_integer(&b, "split.count", GGUF_U16, count);
    build_integer(&b, "split.tensors.count", GGUF_I32, total);
    float v = (float)i;
    build_f32(&b, tensor, 1, 1, &v);
    char file[64];
    snprintf(file, sizeof file, "%s-%05d-of-%05d.gguf", name, i + 1, n);
    size_t size;
    uint8_t *image = build_image(&b, &size);
    scratch_write(file, image, size);
    free(image);
    build_free(&b);
}

static void opens_all_parts_of_a_split(void **state)
{
    (void)state;
    enum { PARTS = 1100 }; /* more than the usual limit of open files */
    scratch_begin();
    for (int i = 0; i < PARTS; i++) {
        char tensor[16];
        snprintf(tensor, sizeof tensor, "t%d", i);
        write_part("m", i, PARTS, PARTS, PARTS, tensor);
    }
    static const char *const given[] = { "m-00001-of-01100.gguf", "m-01000-of-01100.gguf" };
    for (int k = 0; k < 2; k++) {
        struct weights *w = NULL;
        struct err e = ERR_INIT;
        assert_ok(weights_open(scratch_path(given[k]), &w, &e), &e);
        assert_int_equal(w->n_files, PARTS);
        assert_int_equal(w->n, PARTS);
        assert_string_equal(w->path, scratch_path("m-00001-of-01100.gguf"));
        assert_true(str_is(weights_string(w, "general.name", ""), "in parts"));
        const struct weight *t = weights_find(w, STR("t1099"));
        float v;
        assert_ok(weight_decode(t, 0, 1, &v, &e), &e);
        assert_true(v == 1099.0f && t->file == 1099);
        weights_close(w);
    }
    scratch_end();
}

static void split_fails(const char *file, enum st st, const char *says)
{
    struct weights *w = NULL;
    struct err e = ERR_INIT;
    assert_fails(weights_open(scratch_path(file), &w, &e), st, &e);
    if (!strstr(e.msg, says))
        fail_msg("\"%s\" does not say \"%s\"", e.msg, says);
    assert_true(e.where[0]);
    assert_int_equal(mem_used(), 0);
}

static void refuses_splits_that_do_not_fit(void **state)
{
    (void)state;
    scratch_begin();
    write_part("gap", 0, 3, 3, 3, "a");
    write_part("gap", 2, 3, 3, 3, "c");
    split_fails("gap-00001-of-00003.gguf", ST_IO, "No such file");
    split_fails("gap-00003-of-00003.gguf", ST_IO, "No such file");
    write_part("twice", 0, 2, 2, 2, "same");
    write_part("twice", 1, 2, 2, 2, "same");
    split_fails("twice-00001-of-00002.gguf", ST_FORMAT, "in two parts");
    write_part("total", 0, 2, 2, 5, "a");
    write_part("total", 1, 2, 2, 5, "b");
    split_fails("total-00001-of-00002.gguf", ST_FORMAT, "split.tensors.count is 5; 2 would");
    write_part("count", 0, 2, 2, 2, "a");
    write_part("count", 1, 2, 7, 2, "b");
    split_fails("count-00001-of-00002.gguf", ST_FORMAT, "split.count is 7");
    write_part("name", 0, 2, 3, 2, "a");
    split_fails("name-00001-of-00002.gguf", ST_FORMAT, "its name does not say so");
    assert_int_equal(rename(scratch_path("gap-00001-of-00003.gguf"), scratch_path("a.gguf")), 0);
    split_fails("a.gguf", ST_FORMAT, "its name does not say so");
    scratch_end();
}

/* Every allocation refused in turn: an error, nothing leaked, and then it works. */
static void survives_a_tight_budget(void **state)
{
    (void)state;
    struct build b = BUILD_INIT;
    build_llama(&b);
    size_t n, refusals = 0;
    uint8_t *image = build_image(&b, &n);
    bool done = false;
    for (size_t budget = 64; !done; budget += 64) {
        mem_set_budget(budget);
        struct weights *w = NULL;
        struct lint l = { 0 };
        struct diff d = { 0 };
        struct err e = ERR_INIT;
        enum st st = weights_borrow(image, n, "tiny", &w, &e);
        if (!st)
            st = lint_weights(w, 0, NULL, &l, &e);
        if (!st)
            st = diff_weights(w, w, NULL, &d, &e);
        assert_true(st == ST_OK || st == ST_NOMEM);
        refusals += st != ST_OK;
        done = !st;
        lint_free(&l);
        diff_free(&d);
        weights_close(w);
        assert_int_equal(mem_used(), 0);
    }
    mem_set_budget(0);
    assert_true(refusals > 10);
    free(image);
    build_free(&b);
}

static void opens_real_files(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t params, bytes;
    } files[] = {
        { "stories260K/stories260K-f32.gguf", 260032, 1040128 },
        { "stories260K/stories260K-ffn192-Q8_0.gguf", 279232, 298752 },
        { "stories260K/stories260K-ffn192-Q4_0.gguf", 279232, 159488 },
        { "stories260K/stories260K-pad256-Q4_K.gguf", 2099968, 1190912 },
        { "stories260K/stories260K-pad256-Q6_K.gguf", 2099968, 1731584 },
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct weights *w = NULL;
        struct err e = ERR_INIT;
        assert_ok(weights_open(need_data(files[i].name), &w, &e), &e);
        assert_int_equal(w->n, 47);
        assert_int_equal(w->n_params, files[i].params);
        assert_int_equal(w->n_bytes, files[i].bytes);
        assert_int_equal(weights_integer(w, "llama.block_count", 0), 5);
        for (size_t k = 0; k < w->n; k++)
            assert_ok(weight_check(&w->list[k], &e), &e);
        weights_close(w);
    }
}

UNIT_MAIN(CASE(refuses_what_is_no_file), CASE(finds_tensors_and_metadata),
          CASE(decodes_rows_and_pieces), CASE(opens_all_parts_of_a_split),
          CASE(refuses_splits_that_do_not_fit), CASE(survives_a_tight_budget),
          CASE(opens_real_files))
