/* SPDX-License-Identifier: MIT */
/* quant: weights in other formats as changes, with what they cost; taken back, nothing is left. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kernels/encode.h"
#include "kernels/statistics.h"
#include "tests/harness/commands.h"
#include "tests/harness/gguf_build.h"
#include "tests/harness/models.h"
#include "tests/harness/scratch.h"

static void what_is_undone_leaves_nothing_and_what_is_redone_is_the_same(void **unused)
{
    (void)unused;
    static const char *const lines[] = { "quant ** q4_0", "quant blk.*.attn_q.weight int3:g32:asym",
                                         "quant blk.0.** q8_0", "quant output.weight bits 0" };
    struct sitting f = sitting_begin("--demo=add");
    size_t bytes;
    float *before = sitting_logits(&f, &bytes), *last = NULL;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        command(f.s, "%s", lines[i]);
        free(last);
        last = sitting_logits(&f, &bytes);
        assert_memory_not_equal(before, last, bytes);
    }
    command(f.s, "undo 4");
    float *now = sitting_logits(&f, &bytes);
    assert_memory_equal(before, now, bytes);
    free(now);
    command(f.s, "redo 3");
    command(f.s, "redo");
    now = sitting_logits(&f, &bytes);
    assert_memory_equal(last, now, bytes);
    assert_int_equal(f.s->changes.list[3]->number, 4);
    refused(f.s, ST_STATE, 0, "taken back", "redo");
    command(f.s, "undo");
    command(f.s, "quant blk.1.ffn_up.weight q8_0"); /* a new change forgets what was undone */
    refused(f.s, ST_STATE, 0, "taken back", "redo");
    command(f.s, "quant ** orig");
    free(now);
    now = sitting_logits(&f, &bytes);
    assert_memory_equal(before, now, bytes);
    free(before);
    free(last);
    free(now);
    sitting_end(&f);
}

/* The form is what the encoder makes of the file's numbers, and the figures are those of both. */
static void figures_are_those_of_the_numbers(void **unused)
{
    (void)unused;
    struct sitting f = sitting_begin("--demo=add");
    struct result out = answer(f.s, "quant blk.2.ffn_down.weight q4_0");
    const struct weight *w = models_weight(f.m->model, "blk.2.ffn_down.weight");
    const struct form *form = changes_form(f.s, f.m, w);
    float *x = models_decoded(w), *y = models_decoded(&form->w);
    uint8_t *by_hand = malloc(form->w.bytes);
    assert_ok(encode_rows(form->w.format, x, w->rows, w->cols, NULL, by_hand, &f.e), &f.e);
    assert_memory_equal(by_hand, form->w.data, form->w.bytes);
    struct pair_error p;
    pair_error_of(x, y, (int64_t)(w->rows * w->cols), &p);
    assert_true(fabs(cell_named(&out, "quant", "sqnr")->f - p.sqnr) < 1e-9);
    assert_int_equal(cell_named(&out, "quant", "bytes")->i, 256 * 256 / 32 * 18);
    assert_int_equal(cell_named(&out, "quant", "bytes_before")->i, 256 * 256 * 2);
    assert_int_equal(cell_named(&out, "quant", "file_before")->i
                         - cell_named(&out, "quant", "file")->i,
                     256 * 256 * 2 - 256 * 256 / 32 * 18 - 160); /* keys say how it was made */
    assert_true(noted(&out, "its own loss is not seen"));
    for (size_t i = 0; i < out.n_tables; i++) /* there is nothing it was run on */
        assert_string_not_equal(out.tables[i]->name, "local");
    result_free(&out);
    out = answer(f.s, "quant blk.2.ffn_down.weight q8_0");
    assert_true(cell_named(&out, "quant", "sqnr")->f > 40); /* from the file, not from the form */
    result_free(&out);
    command(f.s, "undo");
    command(f.s, "undo");
    command(f.s, "quant blk.2.ffn_down.weight q4_0");
    assert_ptr_equal(changes_form(f.s, f.m, w), form); /* it was kept */
    free(x);
    free(y);
    free(by_hand);
    sitting_end(&f);
}

/* With importances that are resident the encoder gets them; with others it is done anew. */
static void importances_weight_the_errors(void **unused)
{
    (void)unused;
    struct sitting f = sitting_begin("--demo=add");
    const struct weight *w = models_weight(f.m->model, "blk.2.ffn_down.weight");
    struct imatrix *m = imatrix_new();
    struct imatrix_entry *x;
    float importance[256], *plain = models_decoded(w);
    assert_ok(imatrix_add(m, w->name, 256, 1, &x, &f.e), &f.e);
    x->count[0] = 4;
    for (int i = 0; i < 256; i++)
        x->sum[i] = (float)(1 + i % 11 * (i % 11));
    assert_true(imatrix_importance(x, 256, 1, 0, importance));
    command(f.s, "quant blk.2.ffn_down.weight q4_k");
    const struct form *form = changes_form(f.s, f.m, w);
    uint8_t *by_hand = malloc(form->w.bytes);
    assert_ok(encode_rows(form->w.format, plain, 256, 256, NULL, by_hand, &f.e), &f.e);
    assert_memory_equal(by_hand, form->w.data, form->w.bytes);
    session_imatrix(f.s, "by hand", m);
    struct result out = answer(f.s, "quant blk.2.ffn_*.weight q4_k");
    assert_true(noted(&out, "weighted by by hand in 1 of 3 weights"));
    result_free(&out);
    form = changes_form(f.s, f.m, w);
    assert_memory_not_equal(by_hand, form->w.data, form->w.bytes);
    assert_ok(encode_rows(form->w.format, plain, 256, 256, importance, by_hand, &f.e), &f.e);
    assert_memory_equal(by_hand, form->w.data, form->w.bytes);
    free(by_hand);
    free(plain);
    sitting_end(&f);
}

static void numbers_come_from_the_reference_where_there_is_one(void **unused)
{
    (void)unused;
    struct sitting f = sitting_begin(
        golden_path("models/llama-gqa-tied.gguf")); /* the original: a */
    struct session_model *q4;
    assert_ok(session_open(f.s, golden_path("models/llama-gqa-tied-q4_0.gguf"), NULL, &q4, &f.e),
              &f.e);
    struct result out = answer(f.s, "quant blk.0.ffn_down.weight q8_0");
    assert_true(noted(&out, "loses twice"));
    result_free(&out);
    command(f.s, "undo");
    command(f.s, "ref a");
    out = answer(f.s, "quant blk.0.ffn_down.weight q8_0");
    assert_false(noted(&out, "loses twice"));
    assert_string_equal(cell_named(&out, "quant", "from")->s, "the reference");
    result_free(&out);
    const struct weight *w = weights_find(q4->model->weights, STR("blk.0.ffn_down.weight"));
    float *x = models_decoded(models_weight(f.m->model, "blk.0.ffn_down.weight")),
          *y = models_decoded(&changes_form(f.s, q4, w)->w);
    struct pair_error p;
    pair_error_of(x, y, (int64_t)(w->rows * w->cols), &p);
    assert_true(p.sqnr > 35);
    free(x);
    free(y);
    sitting_end(&f);
}

/* Dropping a layer's weight drops its bias as well. */
static void what_is_dropped_gives_out_zero(void **unused)
{
    (void)unused;
    struct sitting f = sitting_begin(golden_path("models/llama-untied-bias.gguf"));
    struct session_run *r;
    struct tensor x;
    const int32_t some[] = { 3, 5, 7 };
    command(f.s, "quant blk.0.attn_q.weight bits 0");
    assert_ok(session_prompt(f.s, some, 3, NULL, &r, &f.e), &f.e);
    assert_ok(run_forward(r->run, run_end(r->run), NULL, NULL, &f.e), &f.e);
    const int v = graph_point(run_graph(r->run), STR("blk.0.attn_q.out"), NULL, NULL);
    assert_true(v >= 0);
    assert_ok(run_read(r->run, 0, v, &x, &f.e), &f.e);
    for (int64_t i = 0; i < shape_count(&x.shape); i++)
        assert_true(x.data[i] == 0 && !signbit(x.data[i]));
    refused(f.s, ST_STATE, 0, "no file holds", "export gguf x.gguf");
    sitting_end(&f);
}

static void the_size_that_is_foretold_is_that_of_the_file(void **unused)
{
    (void)unused;
    struct sitting f = sitting_begin("--demo=add");
    struct stat st;
    command(f.s, "quant ** q4_0");
    command(f.s, "quant blk.*.attn_v.weight q8_0");
    struct result out = answer(f.s, "quant token_embd.weight f16");
    command(f.s, "export gguf %s", scratch_path("x.gguf"));
    assert_int_equal(stat(scratch_path("x.gguf"), &st), 0);
    assert_int_equal(st.st_size, cell_named(&out, "quant", "file")->i);
    result_free(&out);
    sitting_end(&f);
}

/* A size that no file will have is not called one of a file, as long as export refuses. */
static void what_no_file_holds_has_a_size_alone(void **unused)
{
    static const struct {
        const char *change, *plan, *why; /* why NULL: a file holds it */
    } steps[] = {
        { "quant blk.0.ffn_up.weight q8_0", "info plan", NULL },
        { "quant blk.1.ffn_up.weight nf4:g64", "info plan blk.0.*.weight", "rounded to nf4, " },
        { "quant blk.1.ffn_up.weight q4_0", "info plan", NULL },
        { "quant blk.1.ffn_down.weight drop", "info plan", "blk.1.ffn_down.weight is dropped" },
        { "quant blk.1.ffn_down.weight orig", "info plan", NULL },
        { "quant blk.2.ffn_down.weight q8_0 act=int8", "info plan", "change 6 (quant blk.2" },
        { "quant blk.2.ffn_down.weight q8_0", "info plan", "change 6 (quant blk.2" },
        { "quant blk.2.ffn_down.weight orig act=orig", "info plan", NULL },
    };
    (void)unused;
    struct sitting f = sitting_begin("--demo=add");
    const char *before = NULL;
    int64_t was = 0;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct result out = answer(f.s, "%s", steps[i].change);
        const bool no_file = steps[i].why != NULL;
        const int64_t is = cell_named(&out, "quant", no_file ? "size" : "file")->i;
        assert_true(cell_named(&out, "quant", no_file ? "file" : "size")->absent);
        assert_int_equal(no_file, noted(&out, "hold"));
        assert_true(!no_file || noted(&out, steps[i].why));
        assert_true(is > 0);
        if (i)
            assert_int_equal(cell_named(&out, "quant", before ? "size_before" : "file_before")->i,
                             was);
        assert_int_equal(!before, cell_named(&out, "quant", "size_before")->absent);
        result_free(&out);
        out = answer(f.s, "%s", steps[i].plan);
        assert_int_equal(cell_named(&out, "plan", no_file ? "size" : "file")->i, is);
        assert_true(cell_named(&out, "plan", no_file ? "file" : "size")->absent);
        assert_true(!no_file || noted(&out, steps[i].why));
        result_free(&out);
        if (no_file)
            refused(f.s, ST_STATE, ANYWHERE, steps[i].why, "export gguf %s",
                    scratch_path("x.gguf"));
        else
            command(f.s, "export gguf %s", scratch_path("x.gguf"));
        before = steps[i].why;
        was = is;
    }
    sitting_end(&f);
}

static void what_cannot_be_is_refused(void **unused)
{
    (void)unused;
    struct sitting f = sitting_begin("--demo=add");
    refused(f.s, ST_SYNTAX, 5, "which weights", "quant");
    refused(f.s, ST_SYNTAX, 8, "which format", "quant **");
    refused(f.s, ST_NOTFOUND, 9, "no format", "quant ** q9_k");
    refused(f.s, ST_NOTFOUND, 9, "plan stock Q4_K_M", "quant ** Q4_K_M");
    refused(f.s, ST_SYNTAX, 18, "no option", "quant ** int4:g64:x");
    refused(f.s, ST_UNSUPPORTED, -1, "cannot be written", "quant ** iq1_s");
    refused(f.s, ST_UNSUPPORTED, -1, "cannot be written", "quant ** q8_k");
    refused(f.s, ST_UNSUPPORTED, -1, "activations", "quant ** int8:tensor:static");
    refused(f.s, ST_RANGE, 14, "bits are", "quant ** bits 7");
    refused(f.s, ST_SYNTAX, 13, "how many", "quant ** bits");
    refused(f.s, ST_SYNTAX, 14, "method=NAME", "quant ** q8_0 gptq");
    refused(f.s, ST_NOTFOUND, 21, "rtn", "quant ** q8_0 method=magic");
    refused(f.s, ST_UNSUPPORTED, 6, "vector", "quant blk.0.attn_norm.weight q8_0");
    refused(f.s, ST_NOTFOUND, 6, "can be quantized", "quant blk.0.attn_norm.w* q8_0");
    refused(f.s, ST_NOTFOUND, 6, "no ", "quant blk.9.attn_q.weight q8_0");
    refused(f.s, ST_SYNTAX, 6, "whole", "quant blk.0.attn_q.weight[row=1] q8_0");
    refused(f.s, ST_RANGE, -1, "no multiple of 100", "quant ** int4:g100");
    sitting_end(&f);
    f = sitting_begin(NULL);
    refused(f.s, ST_STATE, 0, "no model", "quant ** q8_0");
    sitting_end(&f);
}

/* A file of an architecture that has no graph, with one NaN, a row of zeros, rows of 80. */
static void files_that_cannot_run_are_planned_too(void **unused)
{
    (void)unused;
    struct build b = BUILD_INIT;
    float x[4 * 64], y[2 * 80];
    size_t size;
    for (int i = 0; i < 4 * 64; i++)
        x[i] = i < 64 ? 0 : (float)(i % 7) - 3;
    for (int i = 0; i < 2 * 80; i++)
        y[i] = (float)(i % 5) - 2;
    build_string(&b, "general.architecture", "nothing-known");
    build_f32(&b, "a.weight", 64, 4, x);
    build_f32(&b, "odd.weight", 80, 2, y);
    x[64 + 5] = NAN;
    build_f32(&b, "bad.weight", 64, 4, x);
    uint8_t *image = build_image(&b, &size);
    struct sitting f = sitting_begin(NULL);
    scratch_write("x.gguf", image, size);
    sitting_open(&f, scratch_path("x.gguf"));
    struct result out = answer(f.s, "quant a.weight q8_0");
    assert_true(cell_named(&out, "quant", "sqnr")->f > 30);
    result_free(&out);
    float *z = models_decoded(&changes_form(f.s, f.m, models_weight(f.m->model, "a.weight"))->w);
    for (int i = 0; i < 64; i++)
        assert_true(z[i] == 0);
    free(z);
    out = answer(f.s, "quant odd.weight q4_k"); /* 80 is no multiple of 32 either */
    assert_true(noted(&out, "q4_k: f16 instead"));
    assert_int_equal(cell_named(&out, "quant", "bytes")->i, 2 * 160);
    result_free(&out);
    const struct err *e = refused(f.s, ST_RANGE, 6, "row 1, column 5", "quant bad.weight q8_0");
    assert_string_equal(e->where, "bad.weight");
    refused(f.s, ST_RANGE, 6, "row 1, column 5", "quant bad.weight int4");
    refused(f.s, ST_RANGE, -1, "column 5", "quant ** q8_0");
    sitting_end(&f);
    free(image);
    build_free(&b);
}

/* Names that would be no addresses, or patterns of other names. */
static void names_are_taken_as_they_stand(void **unused)
{
    (void)unused;
    static const char *const names[] = { "a(1)+b.weight", "x[1].weight",    "x1.weight",
                                         "my w.weight",   "{q,k}*?.weight", "q.weight" };
    enum { N = sizeof names / sizeof *names };
    struct build b = BUILD_INIT;
    struct sitting f = sitting_begin(NULL);
    size_t size;
    build_string(&b, "general.architecture", "nothing-known");
    for (size_t i = 0; i < N; i++)
        build_f32(&b, names[i], 64, 4, NULL);
    uint8_t *image = build_image(&b, &size);
    scratch_write("x.gguf", image, size);
    sitting_open(&f, scratch_path("x.gguf"));
    for (size_t i = 0; i < N; i++) {
        command(f.s, "quant \"%s\" q8_0", names[i]);
        for (size_t k = 0; k < N; k++)
            assert_true(!changes_form(f.s, f.m, models_weight(f.m->model, names[k])) == (i != k));
        command(f.s, "undo");
    }
    command(f.s, "quant x[12].weight q8_0"); /* the pattern that it looks like */
    assert_non_null(changes_form(f.s, f.m, models_weight(f.m->model, "x1.weight")));
    refused(f.s, ST_SYNTAX, 6, "after the name", "quant \"a(2)+b.weight\" q8_0");
    sitting_end(&f);
    free(image);
    build_free(&b);
}

UNIT_MAIN(CASE(what_is_undone_leaves_nothing_and_what_is_redone_is_the_same),
          CASE(figures_are_those_of_the_numbers), CASE(importances_weight_the_errors),
          CASE(numbers_come_from_the_reference_where_there_is_one),
          CASE(what_is_dropped_gives_out_zero), CASE(the_size_that_is_foretold_is_that_of_the_file),
          CASE(what_no_file_holds_has_a_size_alone), CASE(what_cannot_be_is_refused),
          CASE(files_that_cannot_run_are_planned_too), CASE(names_are_taken_as_they_stand))
