/* SPDX-License-Identifier: MIT */
/* Plans: mixes become changes, plans are written, read, compared, and read off other files. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "quant/mix.h"
#include "quant/plan_file.h"
#include "tests/harness/commands.h"
#include "tests/harness/scratch.h"

static enum format format_now(const struct sitting *f, size_t i)
{
    const struct weight *w = &f->m->model->weights->list[i];
    const struct form *by = changes_form(f->s, f->m, w);
    return by ? by->w.format : w->format;
}

static void a_mix_is_what_its_table_says_and_is_read_off_its_file(void **unused)
{
    (void)unused;
    struct sitting f = sitting_begin("--demo=add");
    const struct weights *w = f.m->model->weights;
    enum format *want = x_alloc((w->n + 1) * sizeof *want);
    struct result out = answer(f.s, "plan stock q4_k_m");
    assert_ok(mix_formats(mix_find(STR("Q4_K_M")), w, false, want, NULL, &f.e), &f.e);
    uint64_t bytes = 0;
    for (size_t i = 0; i < w->n; i++) {
        assert_int_equal(format_now(&f, i), want[i] == FORMAT_NONE ? w->list[i].format : want[i]);
        size_t row;
        assert_true(format_row_bytes(format_now(&f, i), w->list[i].cols, &row));
        bytes += row * w->list[i].rows;
    }
    result_free(&out);
    out = answer(f.s, "info plan");
    assert_int_equal(cell_named(&out, "plan", "bytes")->i, bytes);
    assert_true(fabs(cell_named(&out, "plan", "bpw")->f - 8.0 * (double)bytes / (double)w->n_params)
                < 1e-12);
    assert_true(cell_named(&out, "plan", "bpw_inner")->f < cell_named(&out, "plan", "bpw")->f);
    const int64_t file = cell_named(&out, "plan", "file")->i;
    result_free(&out);
    command(f.s, "export gguf %s", scratch_path("mix.gguf"));
    size_t size;
    free(unit_read(scratch_path("mix.gguf"), &size));
    assert_int_equal(size, file);
    command(f.s, "undo");
    out = answer(f.s, "plan infer %s", scratch_path("mix.gguf"));
    assert_string_equal(cell_named(&out, "mixes", "mix")->s, "Q4_K_M");
    assert_int_equal(cell_named(&out, "mixes", "deviations")->i, 0);
    result_free(&out);
    for (size_t i = 0; i < w->n; i++)
        assert_int_equal(format_now(&f, i), want[i] == FORMAT_NONE ? w->list[i].format : want[i]);
    free(want);
    sitting_end(&f);
}

static void what_is_saved_is_loaded_as_the_same(void **unused)
{
    (void)unused;
    struct sitting f = sitting_begin("--demo=add");
    command(f.s, "quant ** q4_0");
    command(f.s, "quant blk.0.** int4:g32:asym:s=f16");
    command(f.s, "quant blk.1.attn_q.weight bits 0");
    command(f.s, "plan save %s", scratch_path("a.plan"));
    command(f.s, "plan save first");
    size_t n;
    char *before = unit_read(scratch_path("a.plan"), &n);
    command(f.s, "quant blk.2.** q8_0");
    command(f.s, "quant blk.3.** orig");
    command(f.s, "quant output.weight f32");
    struct result out = answer(f.s, "plan diff first");
    assert_int_equal(out.status, RESULT_FOUND);
    assert_int_equal(table_named(&out, "differences")->n_rows, 7 + 7 + 1);
    result_free(&out);
    command(f.s, "plan load %s", scratch_path("a.plan"));
    command(f.s, "plan save %s", scratch_path("b.plan"));
    char *after = unit_read(scratch_path("b.plan"), &n);
    assert_string_equal(before, after);
    out = answer(f.s, "plan diff first now");
    assert_int_equal(out.status, RESULT_OK);
    result_free(&out);
    command(f.s, "plan save none"); /* a plan of nothing takes everything back */
    command(f.s, "reset");
    command(f.s, "plan save nothing");
    command(f.s, "plan load first");
    command(f.s, "plan load nothing");
    for (size_t i = 0; i < f.m->model->weights->n; i++)
        assert_null(changes_form(f.s, f.m, &f.m->model->weights->list[i]));
    free(before);
    free(after);
    sitting_end(&f);
}

static void first_logits(struct sitting *f, float out[8])
{
    struct tensor x;
    struct run *r = f->s->models.run->run;
    assert_ok(run_read(r, 0, run_graph(r)->logits, &x, &f->e), &f->e);
    memcpy(out, x.data, 8 * sizeof *out);
}

/* Points that are rounded are part of the plan; the last format that a point got holds. */
static void activations_are_part_of_a_plan(void **unused)
{
    (void)unused;
    struct sitting f = sitting_begin("--demo=add");
    command(f.s, "plan save nothing");
    command(f.s, "quant blk.0.ffn_*.weight q4_0 act=int8");
    command(f.s, "quant blk.1.attn_k.out int4:g32:asym");
    command(f.s, "quant blk.1.attn_k.out int5:g16"); /* in its place, not on top of it */
    command(f.s, "quant blk.2.attn_v.out q8_0");
    command(f.s, "plan save %s", scratch_path("acts.plan"));
    command(f.s, "plan save acts");
    size_t n;
    char *before = unit_read(scratch_path("acts.plan"), &n);
    assert_non_null(strstr(before, "qdb plan 2\n"));
    assert_non_null(strstr(before, "\nact int5:g16 blk.1.attn_k.out\n"));
    assert_null(strstr(before, "int4"));
    assert_non_null(strstr(before, "\nact q8_0 blk.2.attn_v.out\n"));
    struct result out = answer(f.s, "info plan");
    assert_int_equal(table_named(&out, "points")->n_rows, 4); /* two of ffn, K, V */
    result_free(&out);
    out = answer(f.s, "plan diff nothing acts");
    assert_int_equal(out.status, RESULT_FOUND);
    assert_int_equal(table_named(&out, "differences")->n_rows, 3 + 4);
    result_free(&out);
    command(f.s, "prompt \"12+34=\"");
    command(f.s, "run");
    float with[8], got[8];
    first_logits(&f, with);
    command(f.s, "plan load nothing"); /* takes the points back too */
    command(f.s, "run");
    first_logits(&f, got);
    assert_memory_not_equal(with, got, sizeof got);
    out = answer(f.s, "info plan");
    for (size_t i = 0; i < out.n_tables; i++)
        assert_string_not_equal(out.tables[i]->name, "points");
    result_free(&out);
    command(f.s, "plan save %s", scratch_path("none.plan"));
    char *none = unit_read(scratch_path("none.plan"), &n);
    assert_string_equal(none, "qdb plan 1\n");
    free(none);
    command(f.s, "undo");
    command(f.s, "redo");
    command(f.s, "plan load %s", scratch_path("acts.plan"));
    command(f.s, "plan save %s", scratch_path("again.plan"));
    char *after = unit_read(scratch_path("again.plan"), &n);
    assert_string_equal(before, after);
    command(f.s, "run");
    first_logits(&f, got);
    assert_memory_equal(with, got, sizeof got);
    free(before);
    free(after);
    sitting_end(&f);
}

/* Points that are as they were, by undo or by `orig`, are no difference. */
static void activations_taken_back_are_no_difference(void **unused)
{
    (void)unused;
    static const char *const lines[][2] = {
        { "plan load acts", "undo" },
        { "quant blk.0.attn_k.out int4", "quant blk.0.attn_k.out orig" },
    };
    struct sitting f = sitting_begin("--demo=add");
    command(f.s, "plan save nothing");
    command(f.s, "quant blk.1.attn_k.out int5:g16");
    command(f.s, "plan save acts");
    command(f.s, "undo");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        for (int k = 0; k < 2; k++) {
            command(f.s, "%s", lines[i][k]);
            struct result out = answer(f.s, "plan diff nothing");
            assert_int_equal(out.status, k ? RESULT_OK : RESULT_FOUND);
            result_free(&out);
        }
    sitting_end(&f);
}

static void dry_makes_nothing_and_counts_the_same(void **unused)
{
    (void)unused;
    struct sitting f = sitting_begin("--demo=add");
    struct result dry = answer(f.s, "plan stock Q3_K_M dry");
    assert_int_equal(f.s->changes.n, 0);
    command(f.s, "plan stock Q3_K_M");
    struct result now = answer(f.s, "info plan");
    assert_int_equal(cell_named(&dry, "plan", "bytes")->i, cell_named(&now, "plan", "bytes")->i);
    assert_int_equal(cell_named(&dry, "plan", "changed")->i,
                     cell_named(&now, "plan", "changed")->i);
    result_free(&dry);
    result_free(&now);
    sitting_end(&f);
}

static void plans_that_do_not_fit_are_refused(void **unused)
{
    (void)unused;
    static const struct {
        const char *text;
        enum st st;
        const char *says;
    } bad[] = {
        { "", ST_FORMAT, "no plan" },
        { "hello\n", ST_FORMAT, "no plan" },
        { "qdb plan 1\nq4_k rtn 256x256 blk.9.attn_q.weight\n", ST_RANGE, "another model" },
        { "qdb plan 1\nq4_k rtn 256x512 blk.0.attn_q.weight\n", ST_RANGE, "another shape" },
        { "qdb plan 1\n\nq9_k rtn 256x256 blk.0.attn_q.weight\n", ST_FORMAT, "line 3" },
        { "qdb plan 1\nq4_k magic 256x256 blk.0.attn_q.weight\n", ST_FORMAT, "line 2" },
        { "qdb plan 1\nq4_k rtn 256x blk.0.attn_q.weight\n", ST_FORMAT, "shape" },
        { "qdb plan 1\nq4_k rtn 1x2x3x4x5 blk.0.attn_q.weight\n", ST_FORMAT, "shape" },
        { "qdb plan 1\nq4_k rtn 256x256\n", ST_FORMAT, "line 2" },
        { "qdb plan 1\nq4_k rtn 256x256 a\nq4_0 rtn 256x256 a\n", ST_FORMAT, "lines 2 and 3" },
        { "qdb plan 1\nact int8 blk.0.attn_k.out\n", ST_FORMAT, "line 2" },
        { "qdb plan 2\nact int8\n", ST_FORMAT, "line 2" },
        { "qdb plan 2\nact int9 blk.0.attn_k.out\n", ST_FORMAT, "line 2" },
        { "qdb plan 2\nact int8 blk.9.attn_k.out\n", ST_RANGE, "another model" },
        { "qdb plan 2\nact int8 blk.0.attn_q.weight\n", ST_RANGE, "no point" },
        { "qdb plan 2\nact int8 a\nact int4 a\n", ST_FORMAT, "same point" },
        { "qdb plan 2\nact int8:g7 blk.0.attn_k.out\n", ST_RANGE, "multiple" },
        { "qdb plan 2\nact int8:tensor:static blk.0.attn_k.out\n", ST_STATE, "prompt" },
        { "qdb plan 3\n", ST_FORMAT, "begin with `qdb plan 1` or `qdb plan 2`" },
        { "qdb plan 1\nq8_k rtn 256x256 blk.0.attn_q.weight\n", ST_UNSUPPORTED, "written" },
    };
    struct sitting f = sitting_begin("--demo=add");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        scratch_write("x.plan", bad[i].text, strlen(bad[i].text));
        refused(f.s, bad[i].st, ANYWHERE, bad[i].says, "plan load %s", scratch_path("x.plan"));
    }
    refused(f.s, ST_IO, ANYWHERE, "No such file", "plan load %s", scratch_path("none.plan"));
    refused(f.s, ST_NOTFOUND, ANYWHERE, "no plan", "plan load nobody");
    refused(f.s, ST_SYNTAX, ANYWHERE, "which plan", "plan load");
    refused(f.s, ST_SYNTAX, ANYWHERE, "is empty", "plan save \"\"");
    refused(f.s, ST_SYNTAX, ANYWHERE, "`now`", "plan save now");
    refused(f.s, ST_NOTFOUND, ANYWHERE, "no mix", "plan stock Q4_K_X");
    refused(f.s, ST_UNSUPPORTED, ANYWHERE, "cannot be written", "plan stock IQ2_XXS");
    refused(f.s, ST_SYNTAX, ANYWHERE, "expected stock", "plan magic");
    refused(f.s, ST_SYNTAX, ANYWHERE, "dry", "plan stock Q8_0 wet");
    scratch_write("x.gguf", "GGUF", 4);
    refused(f.s, ST_FORMAT, ANYWHERE, "", "plan infer %s", scratch_path("x.gguf"));
    refused(f.s, ST_NOTFOUND, ANYWHERE, "no weight of this model", "plan infer %s",
            golden_path("models/llama-gqa-tied.gguf"));
    sitting_end(&f);
}

/* Any list of lines is read as it was written. */
static void text_goes_both_ways(void **unused)
{
    (void)unused;
    static const char *const formats[] = { "q4_k", "int3:g32:asym:clip=0.75", "drop", "mxfp8",
                                           "e4m3:b128x128:s=bf16" };
    uint64_t seed = 7;
    struct err e = ERR_INIT;
    for (int trial = 0; trial < 200; trial++) {
        struct plan_line lines[6] = { { .line = 0 } }, *got;
        char names[6][32];
        struct buf text = { 0 };
        const size_t n = unit_random(&seed) % 6;
        size_t count;
        plan_file_begin(false, &text);
        buf_adds(&text, "# a remark\n");
        for (size_t i = 0; i < n; i++) {
            struct plan_line *l = &lines[i];
            snprintf(names[i], sizeof names[i], "name %d \"%zu", (int)(unit_random(&seed) % 100),
                     i);
            l->name = str_from(names[i]);
            l->method = quant_method_at(0);
            assert_ok(numeric_parse(str_from(formats[unit_random(&seed) % 5]), &l->format, &e), &e);
            l->rank = 1 + (int)(unit_random(&seed) % 4);
            for (int k = 0; k < l->rank; k++)
                l->ne[k] = 1 + unit_random(&seed) % 1000;
            assert_ok(plan_file_line(l, &text, &e), &e);
            if (trial % 2) { /* as other systems end lines */
                text.n--;
                buf_adds(&text, "\r\n");
            }
        }
        assert_ok(plan_file_parse(str_of(buf_str(&text), text.n), &got, &count, &e), &e);
        assert_int_equal(count, n);
        for (size_t i = 0; i < n; i++) {
            assert_true(str_eq(got[i].name, lines[i].name));
            assert_true(numeric_equal(&got[i].format, &lines[i].format));
            assert_memory_equal(got[i].ne, lines[i].ne, sizeof lines[i].ne);
            assert_int_equal(got[i].line, i + 3);
        }
        free(got);
        buf_free(&text);
    }
    const struct plan_line broken = { .method = quant_method_at(0),
                                      .rank = 2,
                                      .name = STR("a\nb") };
    struct buf text = { 0 };
    assert_fails(plan_file_line(&broken, &text, &e), ST_UNSUPPORTED, &e);
    buf_free(&text);
}

/* plan diff tells nvfp4 from nvfp4:tensor and counts its scales; recipes have no word for them, and
 * say so. */
static void scales_are_in_plans_and_not_in_recipes(void **unused)
{
    (void)unused;
    char note[80];
    struct sitting f = sitting_begin("--demo=add");
    command(f.s, "quant ** nvfp4");
    command(f.s, "plan save %s", scratch_path("plain.plan"));
    struct result r = answer(f.s, "export recipe %s", scratch_path("plain.recipe"));
    assert_false(noted(&r, "nvfp4:tensor"));
    result_free(&r);
    r = answer(f.s, "recipe explain %s", scratch_path("plain.recipe"));
    assert_false(noted(&r, "nvfp4:tensor"));
    result_free(&r);
    command(f.s, "quant blk.** nvfp4:tensor");
    r = answer(f.s, "plan diff %s", scratch_path("plain.plan"));
    assert_int_equal(r.status, RESULT_FOUND);
    const struct table *t = table_named(&r, "differences");
    for (size_t i = 0; i < t->n_rows; i++) {
        assert_string_equal(cell_at(t, i, "a")->s, "nvfp4");
        assert_string_equal(cell_at(t, i, "b")->s, "nvfp4:tensor");
        assert_true(number_at(t, i, "bytes_a") + sizeof(float) == number_at(t, i, "bytes_b"));
    }
    snprintf(note, sizeof note, "%zu weights are nvfp4:tensor: recipes have no word", t->n_rows);
    assert_true(t->n_rows > 6);
    result_free(&r);
    command(f.s, "plan save %s", scratch_path("scaled.plan"));
    r = answer(f.s, "plan diff %s", scratch_path("scaled.plan"));
    assert_int_equal(r.status, RESULT_OK);
    result_free(&r);
    r = answer(f.s, "export recipe %s", scratch_path("scaled.recipe"));
    assert_true(noted(&r, note));
    result_free(&r);
    r = answer(f.s, "recipe explain %s", scratch_path("scaled.recipe"));
    assert_true(noted(&r, note));
    t = table_named(&r, "tensors");
    for (size_t i = 0; i < t->n_rows; i++)
        if (!strcmp(cell_at(t, i, "tensor")->s, "blk.0.attn_q.weight"))
            assert_string_equal(cell_at(t, i, "now")->s, "nvfp4:tensor");
    result_free(&r);
    sitting_end(&f);
}

UNIT_MAIN(CASE(a_mix_is_what_its_table_says_and_is_read_off_its_file),
          CASE(what_is_saved_is_loaded_as_the_same), CASE(activations_are_part_of_a_plan),
          CASE(activations_taken_back_are_no_difference),
          CASE(dry_makes_nothing_and_counts_the_same), CASE(scales_are_in_plans_and_not_in_recipes),
          CASE(plans_that_do_not_fit_are_refused), CASE(text_goes_both_ways))
