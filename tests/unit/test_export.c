/* SPDX-License-Identifier: MIT */
/* Export of a model under its changes: the same bits as in memory, sizes foretold, and what a file
 * cannot hold refused by name. */
#include "tests/harness/unit.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "file/diff.h"
#include "session/export.h"
#include "tests/harness/commands.h"
#include "tests/harness/gguf_build.h"
#include "tests/harness/models.h"
#include "tests/harness/scratch.h"

static const char llama[] = "models/llama-gqa-tied.gguf";

/* Write to NAME, check the predicted size, and give the size. */
static uint64_t export(struct sitting *f, const char *name, uint64_t split, size_t *parts)
{
    struct export x;
    struct gguf_exported done;
    struct stat st;
    assert_ok(export_plan(f->s, f->m, NULL, scratch_path(name), split, &x, &f->e), &f->e);
    assert_ok(export_write(f->s, &x, NULL, &done, &f->e), &f->e);
    assert_int_equal(done.bytes, x.bytes);
    *parts = x.n_parts;
    if (x.n_parts == 1) {
        const struct export_size foretold = export_size(f->s, f->m);
        assert_true(foretold.known && !foretold.no_file);
        assert_int_equal(foretold.bytes, x.bytes);
    }
    uint64_t all = 0;
    for (size_t i = 0; i < x.n_parts; i++) {
        assert_int_equal(stat(x.parts[i].path, &st), 0);
        assert_int_equal(st.st_size, x.files[i].size);
        all += x.files[i].size;
    }
    assert_int_equal(all, x.bytes);
    export_free(&x);
    return all;
}

/* Files that differ in nothing. */
static void same(const char *a, const char *b, size_t keys)
{
    struct weights *w[2];
    struct err e = ERR_INIT;
    struct diff d;
    assert_ok(weights_open(a, &w[0], &e), &e);
    assert_ok(weights_open(b, &w[1], &e), &e);
    assert_ok(diff_weights(w[0], w[1], NULL, &d, &e), &e);
    assert_int_equal(d.n_keys, keys);
    assert_int_equal(d.n_changed, 0);
    for (size_t i = 0; i < d.n_tensors; i++)
        assert_true(d.tensors[i].identical);
    diff_free(&d);
    weights_close(w[0]);
    weights_close(w[1]);
}

static void without_changes_nothing_changes(void **state)
{
    (void)state;
    struct sitting f = sitting_begin(golden_path(llama));
    size_t parts;
    export(&f, "out.gguf", 0, &parts);
    assert_int_equal(parts, 1);
    same(golden_path(llama), scratch_path("out.gguf"), 0);
    /* again, over itself */
    export(&f, "out.gguf", 0, &parts);
    same(golden_path(llama), scratch_path("out.gguf"), 0);
    sitting_end(&f);
}

static void splits_and_joins(void **state)
{
    (void)state;
    struct sitting f = sitting_begin(golden_path(llama));
    size_t parts, one;
    char first[64], *whole, *joined;
    export(&f, "out.gguf", 0, &one);
    export(&f, "cut.gguf", 9000, &parts);
    assert_true(parts > 2);
    snprintf(first, sizeof first, "cut-00001-of-%05zu.gguf", parts);
    same(scratch_path(first), scratch_path("out.gguf"), 3);
    snprintf(first, sizeof first, "cut-00002-of-%05zu.gguf", parts);
    command(f.s, "close");
    sitting_open(&f, scratch_path(first));
    export(&f, "joined.gguf", 0, &one);
    assert_int_equal(one, 1);
    size_t n[2];
    whole = unit_read(scratch_path("out.gguf"), &n[0]);
    joined = unit_read(scratch_path("joined.gguf"), &n[1]);
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(whole, joined, n[0]);
    free(whole);
    free(joined);
    sitting_end(&f);
}

/* Every matrix of the model in q8_0, made here: scales of 1/64, codes at random. */
static size_t change_all(struct sitting *f)
{
    struct change *c = change_of_weights(f->m);
    const struct weights *w = f->m->model->weights;
    uint64_t random = 7;
    size_t n = 0;
    for (size_t i = 0; i < w->n; i++) {
        const struct weight *of = &w->list[i];
        size_t row;
        struct form *form;
        if (of->rows < 2 || !format_row_bytes(format_by_name("q8_0"), of->cols, &row))
            continue;
        void *p;
        assert_ok(mem_alloc(&p, row * of->rows, "a form", &f->e), &f->e);
        uint8_t *bytes = p;
        for (size_t k = 0; k < row * of->rows; k++)
            bytes[k] = k % 34 == 0 ? 0x00 : k % 34 == 1 ? 0x24 : (uint8_t)unit_random(&random);
        assert_ok(form_new(f->m->model, of, format_by_name("q8_0"), p, &form, &f->e), &f->e);
        change_form(c, of, form);
        form_drop(form);
        n++;
    }
    changes_add(f->s, c, "quant ** q8_0");
    return n;
}

static void with_forms_gives_the_bits_of_the_run(void **state)
{
    (void)state;
    static const int32_t ids[] = { 5, 9, 3, 7, 11, 2, 8, 4 };
    struct sitting f = sitting_begin(golden_path(llama));
    size_t parts, changed = change_all(&f);
    assert_true(changed > 5);
    struct session_run *r;
    assert_ok(session_prompt(f.s, ids, 8, NULL, &r, &f.e), &f.e);
    models_finish(r->run);
    int64_t n, other_n;
    float *want = models_output(r->run, "output.out", &n);
    export(&f, "out.gguf", 0, &parts);
    struct model *m = models_open(scratch_path("out.gguf"));
    struct run_options o = session_run_options(f.s);
    struct run *run = models_run(m, &o, ids, 8);
    models_finish(run);
    float *got = models_output(run, "output.out", &other_n);
    assert_int_equal(n, other_n);
    assert_memory_equal(got, want, (size_t)n * sizeof *got);
    assert_int_equal(weights_integer(m->weights, "general.file_type", -1), 7);
    assert_int_equal(weights_integer(m->weights, "general.quantization_version", -1), 2);
    assert_true(str_is(weights_string(m->weights, "qdb.source", ""), "llama-gqa-tied.gguf"));
    const struct gguf_kv *how = weights_kv(m->weights, "qdb.changes");
    assert_int_equal(how->n, 1);
    assert_true(str_is(gguf_string(m->weights->files[0], how, 0), "quant ** q8_0"));
    free(got);
    free(want);
    run_free(run);
    model_free(m);
    sitting_end(&f);
}

static void refuses_changes_of_activations_by_name(void **state)
{
    (void)state;
    struct sitting f = sitting_begin(golden_path(llama));
    command(f.s, "prompt \"a\"");
    command(f.s, "skip blk.0");
    struct export x;
    assert_fails(export_plan(f.s, f.m, NULL, scratch_path("x"), 0, &x, &f.e), ST_STATE, &f.e);
    assert_non_null(strstr(f.e.msg, "skip blk.0"));
    assert_non_null(strstr(f.e.hint, "undo change 1"));
    command(f.s, "undo");
    assert_ok(export_plan(f.s, f.m, NULL, scratch_path("x"), 0, &x, &f.e), &f.e);
    export_free(&x);
    sitting_end(&f);
}

/* A file of an architecture that nobody knows, with a tensor of a type that nobody knows, parted
 * by nothing from the next. */
static void passes_through_what_it_does_not_know(void **state)
{
    (void)state;
    static const uint64_t ne[] = { 5, 3 };
    uint8_t odd[96];
    struct build b = BUILD_INIT;
    struct sitting f = sitting_begin(NULL);
    size_t n, parts, m;
    memset(odd, 0x5a, sizeof odd);
    build_string(&b, "general.architecture", "never-seen");
    build_f32(&b, "first", 4, 4, NULL);
    build_tensor(&b, "odd", 9999, 2, ne, odd, sizeof odd);
    build_f32(&b, "last", 8, 2, NULL);
    uint8_t *image = build_image(&b, &n);
    build_free(&b);
    scratch_write("in.gguf", image, n);
    sitting_open(&f, scratch_path("in.gguf"));
    assert_null(f.m->model->graph);
    export(&f, "out.gguf", 0, &parts);
    char *out = unit_read(scratch_path("out.gguf"), &m);
    assert_int_equal(m, n);
    assert_memory_equal(out, image, n);
    free(out);
    free(image);
    sitting_end(&f);
}

static void refuses_damaged_tensors_by_name(void **state)
{
    (void)state;
    static const uint64_t ne[] = { 32, 4 };
    struct build b = BUILD_INIT;
    struct sitting f = sitting_begin(NULL);
    size_t n;
    build_string(&b, "general.architecture", "llama");
    build_f32(&b, "sound", 4, 4, NULL);
    build_record(&b, "lost", 0, 2, ne, 1 << 20);
    uint8_t *image = build_image(&b, &n);
    build_free(&b);
    scratch_write("in.gguf", image, n);
    free(image);
    sitting_open(&f, scratch_path("in.gguf"));
    struct export x;
    assert_fails(export_plan(f.s, f.m, NULL, scratch_path("x"), 0, &x, &f.e), ST_FORMAT, &f.e);
    assert_non_null(strstr(f.e.msg, "lost"));
    sitting_end(&f);
}

UNIT_MAIN(CASE(without_changes_nothing_changes), CASE(splits_and_joins),
          CASE(with_forms_gives_the_bits_of_the_run), CASE(refuses_changes_of_activations_by_name),
          CASE(passes_through_what_it_does_not_know), CASE(refuses_damaged_tensors_by_name))
