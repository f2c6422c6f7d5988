/* SPDX-License-Identifier: MIT */
/* quant: weights in other formats as changes, with what they cost; taken back, nothing is left. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "command/command.h"
#include "kernels/encode.h"
#include "kernels/statistics.h"
#include "session/control.h"
#include "session/export.h"
#include "session/quantize.h"
#include "tests/harness/gguf_build.h"
#include "tests/harness/scratch.h"

static const int32_t ids[] = { 1, 262, 269, 264, 270 };

struct fixture {
    struct session *s;
    struct session_model *m;
    struct err e;
};

static struct fixture begin(const char *path)
{
    struct fixture f = { .s = session_new(), .e = ERR_INIT };
    assert_ok(session_open(f.s, path, NULL, &f.m, &f.e), &f.e);
    return f;
}

/* The result is the caller's. */
static struct result result(struct fixture *f, const char *line)
{
    struct result out = { 0 };
    assert_ok(command_run(f->s, str_from(line), false, &out, &f->e), &f->e);
    return out;
}

static void command(struct fixture *f, const char *line)
{
    struct result out = result(f, line);
    result_free(&out);
}

static void refused(struct fixture *f, const char *line, enum st want, int column, const char *says)
{
    struct result out = { 0 };
    const size_t n = f->s->changes.n;
    f->e = (struct err)ERR_INIT;
    assert_fails(command_run(f->s, str_from(line), false, &out, &f->e), want, &f->e);
    assert_int_equal(f->e.column, column);
    assert_int_equal(f->s->changes.n, n);
    if (!strstr(f->e.msg, says) && !strstr(f->e.hint, says))
        fail_msg("%s: \"%s\" (%s) does not say \"%s\"", line, f->e.msg, f->e.hint, says);
    result_free(&out);
}

static const struct weight *weight(const struct fixture *f, const char *name)
{
    const struct weight *w = weights_find(f->m->model->weights, str_from(name));
    assert_non_null(w);
    return w;
}

static float *floats(const struct weight *w)
{
    struct err e = ERR_INIT;
    float *x = malloc((size_t)(w->rows * w->cols) * sizeof *x);
    assert_ok(weight_decode(w, 0, w->rows, x, &e), &e);
    return x;
}

/* A cell of the table that a command gave, by its name. */
static const struct cell *cell(const struct result *r, const char *table, const char *column)
{
    for (size_t i = 0; i < r->n_tables; i++)
        if (!strcmp(r->tables[i]->name, table)) {
            const int c = table_find(r->tables[i], column);
            assert_true(c >= 0);
            return table_cell(r->tables[i], 0, (size_t)c);
        }
    fail_msg("no table %s", table);
    return NULL;
}

static bool noted(const struct result *r, const char *part)
{
    for (size_t i = 0; i < r->n_notes; i++)
        if (strstr(r->notes[i], part))
            return true;
    return false;
}

static float *logits(struct fixture *f, size_t *bytes)
{
    struct session_run *r;
    struct tensor x;
    if (f->s->models.run)
        r = f->s->models.run;
    else
        assert_ok(session_prompt(f->s, ids, 5, NULL, &r, &f->e), &f->e);
    assert_ok(run_forward(r->run, run_end(r->run), NULL, NULL, &f->e), &f->e);
    assert_ok(run_read(r->run, 0, run_graph(r->run)->logits, &x, &f->e), &f->e);
    *bytes = (size_t)shape_count(&x.shape) * sizeof(float);
    float *y = malloc(*bytes);
    memcpy(y, x.data, *bytes);
    return y;
}

static void what_is_undone_leaves_nothing_and_what_is_redone_is_the_same(void **unused)
{
    (void)unused;
    static const char *const lines[] = { "quant ** q4_0", "quant blk.*.attn_q.weight int3:g32:asym",
                                         "quant blk.0.** q8_0", "quant output.weight bits 0" };
    struct fixture f = begin("--demo=add");
    size_t bytes;
    float *before = logits(&f, &bytes), *last = NULL;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        command(&f, lines[i]);
        free(last);
        last = logits(&f, &bytes);
        assert_memory_not_equal(before, last, bytes);
    }
    command(&f, "undo 4");
    float *now = logits(&f, &bytes);
    assert_memory_equal(before, now, bytes);
    free(now);
    command(&f, "redo 3");
    command(&f, "redo");
    now = logits(&f, &bytes);
    assert_memory_equal(last, now, bytes);
    assert_int_equal(f.s->changes.list[3]->number, 4);
    refused(&f, "redo", ST_STATE, 0, "taken back");
    command(&f, "undo");
    command(&f, "quant blk.1.ffn_up.weight q8_0"); /* a new change forgets what was undone */
    refused(&f, "redo", ST_STATE, 0, "taken back");
    command(&f, "quant ** orig");
    free(now);
    now = logits(&f, &bytes);
    assert_memory_equal(before, now, bytes);
    free(before);
    free(last);
    free(now);
    session_free(f.s);
}

/* The form is what the encoder makes of the file's numbers, and the figures are those of both. */
static void figures_are_those_of_the_numbers(void **unused)
{
    (void)unused;
    struct fixture f = begin("--demo=add");
    struct result out = result(&f, "quant blk.2.ffn_down.weight q4_0");
    const struct weight *w = weight(&f, "blk.2.ffn_down.weight");
    const struct form *form = changes_form(f.s, f.m, w);
    float *x = floats(w), *y = floats(&form->w);
    uint8_t *by_hand = malloc(form->w.bytes);
    assert_ok(encode_rows(form->w.format, x, w->rows, w->cols, NULL, by_hand, &f.e), &f.e);
    assert_memory_equal(by_hand, form->w.data, form->w.bytes);
    struct pair_error p;
    pair_error_of(x, y, (int64_t)(w->rows * w->cols), &p);
    assert_true(fabs(cell(&out, "quant", "sqnr")->f - p.sqnr) < 1e-9);
    assert_int_equal(cell(&out, "quant", "bytes")->i, 256 * 256 / 32 * 18);
    assert_int_equal(cell(&out, "quant", "bytes_before")->i, 256 * 256 * 2);
    assert_int_equal(cell(&out, "quant", "file_before")->i - cell(&out, "quant", "file")->i,
                     256 * 256 * 2 - 256 * 256 / 32 * 18 - 160); /* keys say how it was made */
    assert_true(noted(&out, "its own loss is not seen"));
    assert_true(cell(&out, "quant", "layer_sqnr")->absent); /* there is nothing it was run on */
    result_free(&out);
    out = result(&f, "quant blk.2.ffn_down.weight q8_0");
    assert_true(cell(&out, "quant", "sqnr")->f > 40); /* from the file, not from the form */
    result_free(&out);
    command(&f, "undo");
    command(&f, "undo");
    command(&f, "quant blk.2.ffn_down.weight q4_0");
    assert_ptr_equal(changes_form(f.s, f.m, w), form); /* it was kept */
    free(x);
    free(y);
    free(by_hand);
    session_free(f.s);
}

/* With importances that are resident the encoder gets them; with others it is done anew. */
static void importances_weight_the_errors(void **unused)
{
    (void)unused;
    struct fixture f = begin("--demo=add");
    const struct weight *w = weight(&f, "blk.2.ffn_down.weight");
    struct imatrix *m = imatrix_new();
    struct imatrix_entry *x;
    float importance[256], *plain = floats(w);
    assert_ok(imatrix_add(m, w->name, 256, 1, &x, &f.e), &f.e);
    x->count[0] = 4;
    for (int i = 0; i < 256; i++)
        x->sum[i] = (float)(1 + i % 11 * (i % 11));
    assert_true(imatrix_importance(x, 256, 1, 0, importance));
    command(&f, "quant blk.2.ffn_down.weight q4_k");
    const struct form *form = changes_form(f.s, f.m, w);
    uint8_t *by_hand = malloc(form->w.bytes);
    assert_ok(encode_rows(form->w.format, plain, 256, 256, NULL, by_hand, &f.e), &f.e);
    assert_memory_equal(by_hand, form->w.data, form->w.bytes);
    session_imatrix(f.s, "by hand", m);
    struct result out = result(&f, "quant blk.2.ffn_*.weight q4_k");
    assert_true(noted(&out, "weighted by by hand in 1 of 3 weights"));
    result_free(&out);
    form = changes_form(f.s, f.m, w);
    assert_memory_not_equal(by_hand, form->w.data, form->w.bytes);
    assert_ok(encode_rows(form->w.format, plain, 256, 256, importance, by_hand, &f.e), &f.e);
    assert_memory_equal(by_hand, form->w.data, form->w.bytes);
    free(by_hand);
    free(plain);
    session_free(f.s);
}

/* The layer's own error, against its output computed by hand. */
static void layers_are_compared_on_what_they_read(void **unused)
{
    (void)unused;
    struct fixture f = begin("--demo=add");
    size_t bytes;
    free(logits(&f, &bytes));
    struct run *r = f.s->models.run->run;
    const struct weight *w = weight(&f, "blk.1.ffn_down.weight");
    struct tensor x;
    int in = -1;
    for (int i = 0; i < run_graph(r)->n_nodes; i++)
        if (run_graph(r)->nodes[i].w[0] == w)
            in = run_graph(r)->nodes[i].in[0];
    assert_ok(run_read(r, 0, in, &x, &f.e), &f.e);
    float *input = malloc(5 * 256 * sizeof *input);
    memcpy(input, x.data, 5 * 256 * sizeof *input);
    struct result out = result(&f, "quant blk.1.ffn_down.weight q4_0");
    float *a = floats(w), *b = floats(&changes_form(f.s, f.m, w)->w);
    double signal = 0, noise = 0;
    for (int t = 0; t < 5; t++)
        for (int i = 0; i < 256; i++) {
            double y = 0, z = 0;
            for (int k = 0; k < 256; k++) {
                y += (double)a[i * 256 + k] * (double)input[t * 256 + k];
                z += (double)b[i * 256 + k] * (double)input[t * 256 + k];
            }
            signal += y * y;
            noise += (y - z) * (y - z);
        }
    assert_true(fabs(cell(&out, "quant", "layer_sqnr")->f - 10 * log10(signal / noise)) < 1e-3);
    assert_int_equal(cell(&out, "quant", "layers")->i, 1);
    assert_int_equal(cell(&out, "quant", "layer_tokens")->i, 5);
    result_free(&out);
    free(input);
    free(a);
    free(b);
    session_free(f.s);
}

static void numbers_come_from_the_reference_where_there_is_one(void **unused)
{
    (void)unused;
    struct fixture f = begin(golden_path("models/llama-gqa-tied.gguf")); /* the original: a */
    struct session_model *q4;
    assert_ok(session_open(f.s, golden_path("models/llama-gqa-tied-q4_0.gguf"), NULL, &q4, &f.e),
              &f.e);
    struct result out = result(&f, "quant blk.0.ffn_down.weight q8_0");
    assert_true(noted(&out, "loses twice"));
    result_free(&out);
    command(&f, "undo");
    command(&f, "ref a");
    out = result(&f, "quant blk.0.ffn_down.weight q8_0");
    assert_false(noted(&out, "loses twice"));
    assert_string_equal(cell(&out, "quant", "from")->s, "the reference");
    result_free(&out);
    const struct weight *w = weights_find(q4->model->weights, STR("blk.0.ffn_down.weight"));
    float *x = floats(weight(&f, "blk.0.ffn_down.weight")),
          *y = floats(&changes_form(f.s, q4, w)->w);
    struct pair_error p;
    pair_error_of(x, y, (int64_t)(w->rows * w->cols), &p);
    assert_true(p.sqnr > 35);
    free(x);
    free(y);
    session_free(f.s);
}

/* Dropping a layer's weight drops its bias as well. */
static void what_is_dropped_gives_out_zero(void **unused)
{
    (void)unused;
    struct fixture f = begin(golden_path("models/llama-untied-bias.gguf"));
    struct session_run *r;
    struct tensor x;
    const int32_t some[] = { 3, 5, 7 };
    command(&f, "quant blk.0.attn_q.weight bits 0");
    assert_ok(session_prompt(f.s, some, 3, NULL, &r, &f.e), &f.e);
    assert_ok(run_forward(r->run, run_end(r->run), NULL, NULL, &f.e), &f.e);
    const int v = graph_point(run_graph(r->run), STR("blk.0.attn_q.out"), NULL, NULL);
    assert_true(v >= 0);
    assert_ok(run_read(r->run, 0, v, &x, &f.e), &f.e);
    for (int64_t i = 0; i < shape_count(&x.shape); i++)
        assert_true(x.data[i] == 0 && !signbit(x.data[i]));
    refused(&f, "export gguf x.gguf", ST_STATE, 0, "no file holds");
    session_free(f.s);
}

static void the_size_that_is_foretold_is_that_of_the_file(void **unused)
{
    (void)unused;
    struct fixture f = begin("--demo=add");
    struct stat st;
    scratch_begin();
    command(&f, "quant ** q4_0");
    command(&f, "quant blk.*.attn_v.weight q8_0");
    struct result out = result(&f, "quant token_embd.weight f16");
    struct buf line = { 0 };
    buf_printf(&line, "export gguf %s", scratch_path("x.gguf"));
    command(&f, buf_str(&line));
    assert_int_equal(stat(scratch_path("x.gguf"), &st), 0);
    assert_int_equal(st.st_size, cell(&out, "quant", "file")->i);
    result_free(&out);
    buf_free(&line);
    scratch_end();
    session_free(f.s);
}

static void what_cannot_be_is_refused(void **unused)
{
    (void)unused;
    struct fixture f = begin("--demo=add");
    refused(&f, "quant", ST_SYNTAX, 5, "which weights");
    refused(&f, "quant **", ST_SYNTAX, 8, "which format");
    refused(&f, "quant ** q9_k", ST_NOTFOUND, 9, "no format");
    refused(&f, "quant ** Q4_K_M", ST_NOTFOUND, 9, "plan stock Q4_K_M");
    refused(&f, "quant ** int4:g64:x", ST_SYNTAX, 18, "no option");
    refused(&f, "quant ** iq1_s", ST_UNSUPPORTED, -1, "cannot be written");
    refused(&f, "quant ** q8_k", ST_UNSUPPORTED, -1, "cannot be written");
    refused(&f, "quant ** int8:tensor:static", ST_UNSUPPORTED, -1, "activations");
    refused(&f, "quant ** bits 7", ST_RANGE, 14, "bits are");
    refused(&f, "quant ** bits", ST_SYNTAX, 13, "how many");
    refused(&f, "quant ** q8_0 gptq", ST_SYNTAX, 14, "method=NAME");
    refused(&f, "quant ** q8_0 method=magic", ST_NOTFOUND, 21, "rtn");
    refused(&f, "quant blk.0.attn_norm.weight q8_0", ST_UNSUPPORTED, 6, "vector");
    refused(&f, "quant blk.0.attn_norm.w* q8_0", ST_NOTFOUND, 6, "can be quantized");
    refused(&f, "quant blk.9.attn_q.weight q8_0", ST_NOTFOUND, 6, "no ");
    refused(&f, "quant blk.0.attn_q.weight[row=1] q8_0", ST_SYNTAX, 6, "whole");
    refused(&f, "quant ** int4:g100", ST_RANGE, -1, "no multiple of 100");
    session_free(f.s);
    f = (struct fixture){ .s = session_new(), .e = ERR_INIT };
    refused(&f, "quant ** q8_0", ST_STATE, 0, "no model");
    session_free(f.s);
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
    scratch_begin();
    scratch_write("x.gguf", image, size);
    struct fixture f = begin(scratch_path("x.gguf"));
    struct result out = result(&f, "quant a.weight q8_0");
    assert_true(cell(&out, "quant", "sqnr")->f > 30);
    result_free(&out);
    float *z = floats(&changes_form(f.s, f.m, weight(&f, "a.weight"))->w);
    for (int i = 0; i < 64; i++)
        assert_true(z[i] == 0);
    free(z);
    out = result(&f, "quant odd.weight q4_k"); /* 80 is no multiple of 32 either */
    assert_true(noted(&out, "q4_k: f16 instead"));
    assert_int_equal(cell(&out, "quant", "bytes")->i, 2 * 160);
    result_free(&out);
    refused(&f, "quant bad.weight q8_0", ST_RANGE, 6, "row 1, column 5");
    assert_string_equal(f.e.where, "bad.weight");
    refused(&f, "quant bad.weight int4", ST_RANGE, 6, "row 1, column 5");
    refused(&f, "quant ** q8_0", ST_RANGE, -1, "column 5");
    session_free(f.s);
    scratch_end();
    free(image);
    build_free(&b);
}

/* ^C as soon as anything is under way. */
static void interrupt(struct progress *p, const char *label, double done, double total)
{
    (void)label, (void)done, (void)total;
    *(volatile sig_atomic_t *)p->data = 1;
}

static void interrupted_it_leaves_no_change(void **unused)
{
    (void)unused;
    struct fixture f = begin("--demo=add");
    volatile sig_atomic_t cancel = 0;
    struct progress p = { interrupt, &cancel, (void *)&cancel };
    struct result out = { 0 };
    f.s->progress = &p;
    assert_fails(command_run(f.s, STR("quant ** q4_0"), false, &out, &f.e), ST_CANCELLED, &f.e);
    assert_int_equal(f.s->changes.n, 0);
    result_free(&out);
    session_free(f.s);
}

/* A point of the active run, copied. */
static float *point(struct fixture *f, const char *name, int64_t *n)
{
    struct run *r = f->s->models.run->run;
    struct tensor x;
    const int v = graph_point(run_graph(r), str_from(name), NULL, NULL);
    assert_true(v >= 0);
    assert_ok(run_forward(r, run_end(r), NULL, NULL, &f->e), &f->e);
    assert_ok(run_read(r, 0, v, &x, &f->e), &f->e);
    *n = shape_count(&x.shape);
    float *y = malloc((size_t)*n * sizeof *y);
    memcpy(y, x.data, (size_t)*n * sizeof *y);
    return y;
}

/* What a point becomes under a format is what rounding it by hand gives. */
static void activations_are_rounded_as_by_hand(void **unused)
{
    (void)unused;
    static const struct {
        const char *point, *format;
    } cases[] = {
        { "blk.1.attn_k.out", "int4:g32" },
        { "blk.1.ffn_down.in", "int8" },
        { "blk.1.ffn_down.in", "e4m3:tensor" },
        { "blk.2.attn_v.out", "int3:chan:asym" },
        { "blk.0.attn_norm.out", "q8_0" },
        { "blk.0.attn_norm.out", "q4_k" },
        { "blk.3.ffn_norm.out", "int4:chan:static" },
        { "blk.3.ffn_norm.out", "int8:tensor:asym:static" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f = begin("--demo=add");
        struct numeric as;
        size_t bytes;
        int64_t n;
        free(logits(&f, &bytes));
        float *want = point(&f, cases[i].point, &n);
        struct buf line = { 0 };
        buf_printf(&line, "quant %s %s", cases[i].point, cases[i].format);
        command(&f, buf_str(&line));
        float *got = point(&f, cases[i].point, &n);
        assert_ok(numeric_parse(str_from(cases[i].format), &as, &f.e), &f.e);
        as.fixed = false; /* over the same tokens static ranges are those of the moment */
        if (as.base == NUMERIC_STORAGE) {
            uint8_t *block = malloc(5 * 1024);
            assert_ok(encode_rows(as.storage, want, 5, (size_t)n / 5, NULL, block, &f.e), &f.e);
            format_info(as.storage)->decode(block, want, n);
            free(block);
        } else
            assert_ok(numeric_simulate(&as, want, 5, n / 5, NULL, NULL, &f.e), &f.e);
        assert_memory_equal(want, got, (size_t)n * sizeof *want);
        command(&f, "undo");
        buf_free(&line);
        free(want);
        free(got);
        session_free(f.s);
    }
    struct fixture f = begin("--demo=add");
    refused(&f, "quant blk.0.ffn_norm.out int8:chan:static", ST_STATE, 6, "prompt");
    size_t bytes;
    free(logits(&f, &bytes));
    struct result out = result(&f, "quant blk.0.ffn_*.weight q4_0 act=int8");
    assert_int_equal(f.s->changes.list[0]->n_targets, 2); /* gate and up read the same */
    assert_int_equal(f.s->changes.list[0]->n_forms, 3);
    result_free(&out);
    refused(&f, "quant blk.0.ffn_norm.out orig", ST_SYNTAX, 25, "activations");
    refused(&f, "quant blk.0.ffn_norm.out[tok=1] int8", ST_SYNTAX, 6, "whole");
    refused(&f, "quant blk.0.attn.prob int8:g8", ST_UNSUPPORTED, 6, "keys");
    refused(&f, "quant blk.0.ffn_norm.out int8:g100", ST_RANGE, 6, "multiple");
    refused(&f, "quant blk.0.ffn_up.weight q8_0 act=int9", ST_SYNTAX, 35, "int has");
    session_free(f.s);
}

UNIT_MAIN(CASE(what_is_undone_leaves_nothing_and_what_is_redone_is_the_same),
          CASE(figures_are_those_of_the_numbers), CASE(importances_weight_the_errors),
          CASE(layers_are_compared_on_what_they_read),
          CASE(numbers_come_from_the_reference_where_there_is_one),
          CASE(what_is_dropped_gives_out_zero), CASE(the_size_that_is_foretold_is_that_of_the_file),
          CASE(what_cannot_be_is_refused), CASE(files_that_cannot_run_are_planned_too),
          CASE(interrupted_it_leaves_no_change), CASE(activations_are_rounded_as_by_hand))
