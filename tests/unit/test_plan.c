/* SPDX-License-Identifier: MIT */
/* Plans: mixes become changes, plans are written, read, compared, and read off other files. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/command.h"
#include "quant/mix.h"
#include "quant/plan_file.h"
#include "tests/harness/scratch.h"

struct fixture {
    struct session *s;
    struct session_model *m;
    struct err e;
};

static struct fixture begin(const char *path)
{
    struct fixture f = { .s = session_new(), .e = ERR_INIT };
    scratch_begin();
    assert_ok(session_open(f.s, path, NULL, &f.m, &f.e), &f.e);
    return f;
}

static void end(struct fixture *f)
{
    session_free(f->s);
    scratch_end();
}

/* `line` with %s = a file of the scratch folder; the result is the caller's. */
static struct result result(struct fixture *f, const char *line, const char *file)
{
    struct result out = { 0 };
    struct buf b = { 0 };
    buf_printf(&b, "%s%s", line, file ? scratch_path(file) : "");
    assert_ok(command_run(f->s, str_from(buf_str(&b)), false, &out, &f->e), &f->e);
    buf_free(&b);
    return out;
}

static void command(struct fixture *f, const char *line, const char *file)
{
    struct result out = result(f, line, file);
    result_free(&out);
}

static void refused(struct fixture *f, const char *line, const char *file, enum st want,
                    const char *says)
{
    struct result out = { 0 };
    struct buf b = { 0 };
    const size_t n = f->s->changes.n;
    buf_printf(&b, "%s%s", line, file ? scratch_path(file) : "");
    f->e = (struct err)ERR_INIT;
    assert_fails(command_run(f->s, str_from(buf_str(&b)), false, &out, &f->e), want, &f->e);
    if (!strstr(f->e.msg, says) && !strstr(f->e.hint, says))
        fail_msg("%s: \"%s\" (%s) does not say \"%s\"", line, f->e.msg, f->e.hint, says);
    assert_int_equal(f->s->changes.n, n);
    buf_free(&b);
    result_free(&out);
}

static const struct table *table(const struct result *r, const char *name)
{
    for (size_t i = 0; i < r->n_tables; i++)
        if (!strcmp(r->tables[i]->name, name))
            return r->tables[i];
    return NULL;
}

static const struct cell *cell(const struct result *r, const char *name, const char *column)
{
    const struct table *t = table(r, name);
    assert_non_null(t);
    const int c = table_find(t, column);
    assert_true(c >= 0);
    return table_cell(t, 0, (size_t)c);
}

static enum format format_now(const struct fixture *f, size_t i)
{
    const struct weight *w = &f->m->model->weights->list[i];
    const struct form *by = changes_form(f->s, f->m, w);
    return by ? by->w.format : w->format;
}

static void a_mix_is_what_its_table_says_and_is_read_off_its_file(void **unused)
{
    (void)unused;
    struct fixture f = begin("--demo=add");
    const struct weights *w = f.m->model->weights;
    enum format *want = x_alloc((w->n + 1) * sizeof *want);
    struct result out = result(&f, "plan stock q4_k_m", NULL);
    assert_ok(mix_formats(mix_find(STR("Q4_K_M")), w, false, want, NULL, &f.e), &f.e);
    uint64_t bytes = 0;
    for (size_t i = 0; i < w->n; i++) {
        assert_int_equal(format_now(&f, i), want[i] == FORMAT_NONE ? w->list[i].format : want[i]);
        size_t row;
        assert_true(format_row_bytes(format_now(&f, i), w->list[i].cols, &row));
        bytes += row * w->list[i].rows;
    }
    result_free(&out);
    out = result(&f, "info plan", NULL);
    assert_int_equal(cell(&out, "plan", "bytes")->i, bytes);
    assert_true(fabs(cell(&out, "plan", "bpw")->f - 8.0 * (double)bytes / (double)w->n_params)
                < 1e-12);
    assert_true(cell(&out, "plan", "bpw_inner")->f < cell(&out, "plan", "bpw")->f);
    const int64_t file = cell(&out, "plan", "file")->i;
    result_free(&out);
    command(&f, "export gguf ", "mix.gguf");
    size_t size;
    free(unit_read(scratch_path("mix.gguf"), &size));
    assert_int_equal(size, file);
    command(&f, "undo", NULL);
    out = result(&f, "plan infer ", "mix.gguf");
    assert_string_equal(cell(&out, "mixes", "mix")->s, "Q4_K_M");
    assert_int_equal(cell(&out, "mixes", "deviations")->i, 0);
    result_free(&out);
    for (size_t i = 0; i < w->n; i++)
        assert_int_equal(format_now(&f, i), want[i] == FORMAT_NONE ? w->list[i].format : want[i]);
    free(want);
    end(&f);
}

static void what_is_saved_is_loaded_as_the_same(void **unused)
{
    (void)unused;
    struct fixture f = begin("--demo=add");
    command(&f, "quant ** q4_0", NULL);
    command(&f, "quant blk.0.** int4:g32:asym:s=f16", NULL);
    command(&f, "quant blk.1.attn_q.weight bits 0", NULL);
    command(&f, "plan save ", "a.plan");
    command(&f, "plan save first", NULL);
    size_t n;
    char *before = unit_read(scratch_path("a.plan"), &n);
    command(&f, "quant blk.2.** q8_0", NULL);
    command(&f, "quant blk.3.** orig", NULL);
    command(&f, "quant output.weight f32", NULL);
    struct result out = result(&f, "plan diff first", NULL);
    assert_int_equal(out.status, RESULT_FOUND);
    assert_int_equal(table(&out, "differences")->n_rows, 7 + 7 + 1);
    result_free(&out);
    command(&f, "plan load ", "a.plan");
    command(&f, "plan save ", "b.plan");
    char *after = unit_read(scratch_path("b.plan"), &n);
    assert_string_equal(before, after);
    out = result(&f, "plan diff first now", NULL);
    assert_int_equal(out.status, RESULT_OK);
    result_free(&out);
    command(&f, "plan save none", NULL); /* a plan of nothing takes everything back */
    command(&f, "reset", NULL);
    command(&f, "plan save nothing", NULL);
    command(&f, "plan load first", NULL);
    command(&f, "plan load nothing", NULL);
    for (size_t i = 0; i < f.m->model->weights->n; i++)
        assert_null(changes_form(f.s, f.m, &f.m->model->weights->list[i]));
    free(before);
    free(after);
    end(&f);
}

static void dry_makes_nothing_and_counts_the_same(void **unused)
{
    (void)unused;
    struct fixture f = begin("--demo=add");
    struct result dry = result(&f, "plan stock Q3_K_M dry", NULL);
    assert_int_equal(f.s->changes.n, 0);
    command(&f, "plan stock Q3_K_M", NULL);
    struct result now = result(&f, "info plan", NULL);
    assert_int_equal(cell(&dry, "plan", "bytes")->i, cell(&now, "plan", "bytes")->i);
    assert_int_equal(cell(&dry, "plan", "changed")->i, cell(&now, "plan", "changed")->i);
    result_free(&dry);
    result_free(&now);
    end(&f);
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
        { "qdb plan 1\nq8_k rtn 256x256 blk.0.attn_q.weight\n", ST_UNSUPPORTED, "written" },
    };
    struct fixture f = begin("--demo=add");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        scratch_write("x.plan", bad[i].text, strlen(bad[i].text));
        refused(&f, "plan load ", "x.plan", bad[i].st, bad[i].says);
    }
    refused(&f, "plan load ", "none.plan", ST_IO, "No such file");
    refused(&f, "plan load nobody", NULL, ST_NOTFOUND, "no plan");
    refused(&f, "plan load", NULL, ST_SYNTAX, "which plan");
    refused(&f, "plan stock Q4_K_X", NULL, ST_NOTFOUND, "no mix");
    refused(&f, "plan stock IQ2_XXS", NULL, ST_UNSUPPORTED, "cannot be written");
    refused(&f, "plan magic", NULL, ST_SYNTAX, "expected stock");
    refused(&f, "plan stock Q8_0 wet", NULL, ST_SYNTAX, "dry");
    scratch_write("x.gguf", "GGUF", 4);
    refused(&f, "plan infer ", "x.gguf", ST_FORMAT, "");
    struct buf other = { 0 };
    buf_printf(&other, "plan infer %s", golden_path("models/llama-gqa-tied.gguf"));
    refused(&f, buf_str(&other), NULL, ST_NOTFOUND, "no weight of this model");
    buf_free(&other);
    end(&f);
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
        plan_file_begin(&text);
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

UNIT_MAIN(CASE(a_mix_is_what_its_table_says_and_is_read_off_its_file),
          CASE(what_is_saved_is_loaded_as_the_same), CASE(dry_makes_nothing_and_counts_the_same),
          CASE(plans_that_do_not_fit_are_refused), CASE(text_goes_both_ways))
