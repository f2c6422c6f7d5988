/* SPDX-License-Identifier: MIT */
/* quant: weights in other formats as changes, with what they cost; taken back, nothing is left. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "file/temporary.h"
#include "kernels/encode.h"
#include "kernels/statistics.h"
#include "session/control.h"
#include "session/export.h"
#include "session/quantize.h"
#include "tests/harness/commands.h"
#include "tests/harness/gguf_build.h"
#include "tests/harness/scratch.h"

static const int32_t ids[] = { 1, 262, 269, 264, 270 };

static const struct weight *weight(const struct sitting *f, const char *name)
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

static float *logits(struct sitting *f, size_t *bytes)
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
    struct sitting f = sitting_begin("--demo=add");
    size_t bytes;
    float *before = logits(&f, &bytes), *last = NULL;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        command(f.s, "%s", lines[i]);
        free(last);
        last = logits(&f, &bytes);
        assert_memory_not_equal(before, last, bytes);
    }
    command(f.s, "undo 4");
    float *now = logits(&f, &bytes);
    assert_memory_equal(before, now, bytes);
    free(now);
    command(f.s, "redo 3");
    command(f.s, "redo");
    now = logits(&f, &bytes);
    assert_memory_equal(last, now, bytes);
    assert_int_equal(f.s->changes.list[3]->number, 4);
    refused(f.s, ST_STATE, 0, "taken back", "redo");
    command(f.s, "undo");
    command(f.s, "quant blk.1.ffn_up.weight q8_0"); /* a new change forgets what was undone */
    refused(f.s, ST_STATE, 0, "taken back", "redo");
    command(f.s, "quant ** orig");
    free(now);
    now = logits(&f, &bytes);
    assert_memory_equal(before, now, bytes);
    free(before);
    free(last);
    free(now);
    sitting_end(&f);
}

/* What was measured before a change is known when it is taken back, and made again. */
static void taking_back_shows_what_is_known(void **unused)
{
    (void)unused;
    struct sitting f = sitting_begin("--demo=add");
    struct result out = answer(f.s, "quant blk.0.attn_q.weight q4_0");
    const int64_t file = cell_named(&out, "quant", "file")->i,
                  whole = cell_named(&out, "quant", "file_before")->i;
    result_free(&out);
    out = answer(f.s, "undo"); /* nothing was measured */
    assert_int_equal(cell_named(&out, "size", "file")->i, whole);
    assert_int_equal(cell_named(&out, "size", "file_before")->i, file);
    assert_int_equal(out.n_tables, 2);
    result_free(&out);
    command(f.s, "data add");
    out = answer(f.s, "quant blk.0.attn_q.weight q4_0");
    const double kl = cell_named(&out, "measured", "kl")->f;
    assert_true(kl > 0);
    result_free(&out);
    command(f.s, "quant blk.1.attn_q.weight q4_0");
    out = answer(f.s, "undo");
    assert_true(cell_named(&out, "measured", "kl")->f == kl);
    assert_true(cell_named(&out, "measured", "kl_before")->f > 0);
    result_free(&out);
    out = answer(f.s, "reset");
    assert_true(cell_named(&out, "measured", "kl")->f == 0);
    assert_true(cell_named(&out, "measured", "kl_change")->f == -kl);
    result_free(&out);
    out = answer(f.s, "redo");
    assert_true(cell_named(&out, "measured", "kl")->f == kl);
    assert_int_equal(cell_named(&out, "size", "file")->i, file);
    result_free(&out);
    command(f.s, "skip blk.1.ffn"); /* is not measured when it is made */
    out = answer(f.s, "undo");
    assert_true(cell_named(&out, "measured", "kl")->f == kl);
    assert_true(cell_named(&out, "measured", "kl_change")->absent);
    result_free(&out);
    command(f.s, "set compute exact"); /* what is known is of another mode */
    out = answer(f.s, "undo");
    for (size_t i = 0; i < out.n_tables; i++)
        assert_string_not_equal(out.tables[i]->name, "measured");
    result_free(&out);
    sitting_end(&f);
}

/* The form is what the encoder makes of the file's numbers, and the figures are those of both. */
static void figures_are_those_of_the_numbers(void **unused)
{
    (void)unused;
    struct sitting f = sitting_begin("--demo=add");
    struct result out = answer(f.s, "quant blk.2.ffn_down.weight q4_0");
    const struct weight *w = weight(&f, "blk.2.ffn_down.weight");
    const struct form *form = changes_form(f.s, f.m, w);
    float *x = floats(w), *y = floats(&form->w);
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
    const struct weight *w = weight(&f, "blk.2.ffn_down.weight");
    struct imatrix *m = imatrix_new();
    struct imatrix_entry *x;
    float importance[256], *plain = floats(w);
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

/* The layer's own error, against its output computed by hand. */
static void layers_are_compared_on_what_they_read(void **unused)
{
    (void)unused;
    struct sitting f = sitting_begin("--demo=add");
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
    struct result out = answer(f.s, "quant blk.1.ffn_down.weight q4_0");
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
    assert_true(fabs(cell_named(&out, "local", "layer_sqnr")->f - 10 * log10(signal / noise))
                < 1e-3);
    assert_int_equal(cell_named(&out, "local", "layers")->i, 1);
    assert_int_equal(cell_named(&out, "local", "layer_tokens")->i, 5);
    result_free(&out);
    free(input);
    free(a);
    free(b);
    sitting_end(&f);
}

/* A change sends the run back: what the next one reads then comes from the evaluation set, or it is
 * said that there is nothing. */
static void layers_that_a_run_has_not_come_to_are_not_passed_over(void **unused)
{
    (void)unused;
    struct sitting f = sitting_begin("--demo=add");
    size_t bytes;
    free(logits(&f, &bytes));
    command(f.s, "quant blk.0.attn_q.weight q4_0");
    struct result out = answer(f.s, "quant blk.2.ffn_down.weight q4_0");
    for (size_t i = 0; i < out.n_tables; i++)
        assert_string_not_equal(out.tables[i]->name, "local");
    assert_true(noted(&out, "no stage local"));
    result_free(&out);
    out = answer(f.s, "quant blk.*.attn_q.weight q5_0"); /* of block 0 it has the input */
    assert_int_equal(cell_named(&out, "local", "layers")->i, 1);
    assert_true(noted(&out, "local leaves layers out that"));
    result_free(&out);
    command(f.s, "data add");
    out = answer(f.s, "quant blk.*.attn_q.weight q4_1");
    assert_true(cell_named(&out, "local", "layers")->i > 1);
    assert_true(cell_named(&out, "local", "layer_tokens")->i > 5); /* not those of the prompt */
    assert_true(!noted(&out, "stage local") && !noted(&out, "local leaves"));
    result_free(&out);
    command(f.s, "continue");
    out = answer(f.s, "quant blk.2.ffn_down.weight q5_1");
    assert_int_equal(cell_named(&out, "local", "layer_tokens")->i, 5);
    result_free(&out);
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
    float *x = floats(weight(&f, "blk.0.ffn_down.weight")),
          *y = floats(&changes_form(f.s, q4, w)->w);
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

/* Beyond half of the budget encodings are mapped from the disk: the model runs as from memory. */
static void what_memory_cannot_hold_lies_on_the_disk(void **unused)
{
    (void)unused;
    float *x[2];
    size_t bytes;
    void *p;
    struct err e = ERR_INIT;
    if (temporary_alloc(&p, 1, "a byte", &e))
        SKIP_CASE("%s", e.msg);
    mem_free(p);
    for (int small = 0; small < 2; small++) {
        struct sitting f = sitting_begin("--demo=add");
        if (small)
            mem_set_budget(2 * (mem_used() + 100000));
        command(f.s, "plan stock Q4_K_M");
        assert_true(small ? mem_mapped() > 500000 : mem_mapped() == 0);
        x[small] = logits(&f, &bytes);
        command(f.s, "undo");
        mem_set_budget(0);
        sitting_end(&f);
        assert_int_equal(mem_mapped(), 0);
    }
    assert_memory_equal(x[0], x[1], bytes);
    free(x[0]);
    free(x[1]);
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
            assert_int_equal(
                cell_named(&out, "quant", before ? "size_before" : "file_before")->i, was);
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
    float *z = floats(&changes_form(f.s, f.m, weight(&f, "a.weight"))->w);
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

/* ^C as soon as anything is under way. */
static void interrupt(struct progress *p, const char *label, double done, double total)
{
    (void)label, (void)done, (void)total;
    *(volatile sig_atomic_t *)p->data = 1;
}

static void interrupted_it_leaves_no_change(void **unused)
{
    (void)unused;
    struct sitting f = sitting_begin("--demo=add");
    volatile sig_atomic_t cancel = 0;
    struct progress p = { interrupt, &cancel, (void *)&cancel };
    f.s->progress = &p;
    refused(f.s, ST_CANCELLED, ANYWHERE, "", "quant ** q4_0");
    sitting_end(&f);
}

/* A person who sees what there is, and stops the measurement in its middle. */
struct person {
    struct front front;
    bool key, watched; /* stops by a key, else by ^C; keys are looked for */
    int shown;         /* tables that were there before anything was measured */
    volatile sig_atomic_t cancel;
};

static void see(struct front *f, struct result *out)
{
    struct person *p = f->data;
    p->shown = (int)out->n_tables;
    for (size_t i = 0; i < out->n_tables; i++)
        assert_string_not_equal(out->tables[i]->name, "measured");
    result_free(out);
}

static bool look_for_keys(struct front *f, bool on)
{
    struct person *p = f->data;
    p->watched = on;
    if (on || !p->key)
        return false;
    p->cancel = 0;
    return true;
}

static void stop_half_way(struct progress *p, const char *label, double done, double total)
{
    struct person *who = p->data;
    if (!str_starts(str_from(label), "measured"))
        return;
    assert_true(who->watched && done <= total);
    if (done > total / 2) {
        assert_true(str_starts(str_from(label), "measured\tkl "));
        who->cancel = 1;
    }
}

static void a_key_ends_the_measurement_and_keeps_the_change(void **unused)
{
    (void)unused;
    for (int key = 0; key < 2; key++) {
        struct sitting f = sitting_begin("--demo=add");
        struct person who = { .front = { .so_far = see, .keys = look_for_keys }, .key = key };
        struct progress p = { stop_half_way, &who.cancel, &who };
        struct result out = { 0 };
        command(f.s, "data add tokens 4000");
        who.front.data = &who;
        f.s->front = &who.front;
        f.s->progress = &p;
        const enum st st = command_run(f.s, STR("quant blk.0.** q4_0"), false, &out, &f.e);
        assert_int_equal(st, key ? ST_OK : ST_CANCELLED);
        assert_int_equal(out.status, RESULT_PARTIAL);
        assert_int_equal(who.shown, 3); /* change, now, local */
        const int64_t done = cell_named(&out, "measured", "segments")->i,
                      of = cell_named(&out, "measured", "segments_of")->i;
        assert_true(0 < done && done < of);
        assert_int_equal(cell_named(&out, "measured", "scored")->i % done, 0);
        assert_true(cell_named(&out, "measured", "kl_before")->f == 0);
        assert_true(cell_named(&out, "measured", "kl")->f > 0);
        assert_true(noted(&out, key ? "ended by a key" : "interrupted before all"));
        result_free(&out);
        assert_int_equal(f.s->changes.n, 1);
        who.cancel = 0;
        f.s->front = NULL;
        f.s->progress = NULL;
        command(f.s, "undo");
        assert_int_equal(f.s->changes.n, 0);
        sitting_end(&f);
    }
}

/* A point of the active run, copied. */
static float *point(struct sitting *f, const char *name, int64_t *n)
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
        struct sitting f = sitting_begin("--demo=add");
        struct numeric as;
        size_t bytes;
        int64_t n;
        free(logits(&f, &bytes));
        float *want = point(&f, cases[i].point, &n);
        struct buf line = { 0 };
        buf_printf(&line, "quant %s %s", cases[i].point, cases[i].format);
        command(f.s, "%s", buf_str(&line));
        float *got = point(&f, cases[i].point, &n);
        buf_free(&line);
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
        command(f.s, "undo");
        free(want);
        free(got);
        sitting_end(&f);
    }
    struct sitting f = sitting_begin("--demo=add");
    refused(f.s, ST_STATE, 6, "prompt", "quant blk.0.ffn_norm.out int8:chan:static");
    size_t bytes;
    free(logits(&f, &bytes));
    struct result out = answer(f.s, "quant blk.0.ffn_*.weight q4_0 act=int8");
    assert_int_equal(f.s->changes.list[0]->n_targets, 2); /* gate and up read the same */
    assert_int_equal(f.s->changes.list[0]->n_forms, 3);
    result_free(&out);
    refused(f.s, ST_SYNTAX, 30, "activations", "quant blk.0.ffn_norm.out int8 act=int8");
    refused(f.s, ST_SYNTAX, 9, "a format comes first", "quant ** act=orig");
    refused(f.s, ST_SYNTAX, 23, "said already", "quant ** q8_0 act=orig act=int8");
    refused(f.s, ST_SYNTAX, 6, "whole", "quant blk.0.ffn_norm.out[tok=1] int8");
    refused(f.s, ST_UNSUPPORTED, 6, "keys", "quant blk.0.attn.prob int8:g8");
    refused(f.s, ST_RANGE, 6, "multiple", "quant blk.0.ffn_norm.out int8:g100");
    refused(f.s, ST_SYNTAX, 35, "int has", "quant blk.0.ffn_up.weight q8_0 act=int9");
    sitting_end(&f);
}

/* One form from the cache, or a new one if `may_make`; the status tells which. */
static enum st make(struct quant_cache *c, const struct model *m, const struct weight *of,
                    const struct weight *from, const struct imatrix_entry *importance,
                    bool may_make, struct form **out)
{
    static const volatile sig_atomic_t stop = 1, go_on = 0;
    struct progress progress = { .cancel = may_make ? &go_on : &stop };
    struct quant_request q = { .model = m, .of = of, .from = from,
                               .format = numeric_storage(format_by_name("q4_0")),
                               .method = quant_method_at(0), .importance = importance,
                               .progress = &progress };
    struct quant_note note;
    struct err e = ERR_INIT;
    return quant_make(c, &q, out, &note, &e);
}

/* A weight like w over other bytes: its own, with the lowest bit of one number turned. */
static struct weight turned(const struct weight *w)
{
    struct weight copy = *w;
    uint8_t *bytes = malloc(w->bytes);
    memcpy(bytes, w->data, w->bytes);
    bytes[w->bytes / 2] ^= 1;
    copy.data = bytes;
    return copy;
}

static void what_is_kept_is_known_by_its_content(void **unused)
{
    (void)unused;
    struct sitting f = sitting_begin("--demo=add");
    const struct model *m = f.m->model, *n;
    const struct weight *a = weight(&f, "blk.0.ffn_up.weight"), *b;
    assert_ok(session_open(f.s, "--demo=add", NULL, &f.m, &f.e), &f.e);
    n = f.m->model;
    b = weight(&f, "blk.0.ffn_up.weight");
    const struct weight other = turned(a);
    float sum[2048], one = 1;
    for (size_t i = 0; i < sizeof sum / sizeof *sum; i++)
        sum[i] = 1 + (float)(i % 7);
    const struct imatrix_entry uneven = { .n_in = a->cols, .n_mat = 1, .sum = sum, .count = &one };
    assert_true(a->cols <= sizeof sum / sizeof *sum);
    struct quant_cache *c = quant_cache_new();
    struct form *plain, *weighted, *form;
    assert_int_equal(make(c, m, a, a, NULL, true, &plain), ST_OK);
    assert_int_equal(make(c, m, a, a, &uneven, false, &form), ST_CANCELLED);
    assert_int_equal(make(c, m, a, a, &uneven, true, &weighted), ST_OK);
    assert_memory_not_equal(plain->w.data, weighted->w.data, plain->w.bytes);
    assert_int_equal(make(c, m, a, a, NULL, false, &form), ST_OK);
    assert_ptr_equal(form, plain);
    form_drop(form);
    assert_int_equal(make(c, m, a, &other, NULL, false, &form), ST_CANCELLED);
    /* the same numbers in another file: its own form, which outlives the first file */
    assert_int_equal(make(c, n, b, b, NULL, false, &form), ST_OK);
    assert_ptr_not_equal(form, plain);
    assert_ptr_equal(form->w.name.p, b->name.p);
    assert_memory_equal(form->w.data, plain->w.data, plain->w.bytes);
    form_drop(plain);
    form_drop(weighted);
    quant_cache_forget(c, m->weights);
    assert_int_equal(make(c, m, a, a, &uneven, false, &plain), ST_CANCELLED);
    assert_int_equal(make(c, n, b, b, NULL, false, &plain), ST_OK);
    assert_ptr_equal(form, plain);
    form_drop(plain);
    form_drop(form);
    quant_cache_free(c);
    free((void *)(uintptr_t)other.data);
    sitting_end(&f);
}

UNIT_MAIN(CASE(a_key_ends_the_measurement_and_keeps_the_change),
          CASE(what_is_undone_leaves_nothing_and_what_is_redone_is_the_same),
          CASE(taking_back_shows_what_is_known),
          CASE(figures_are_those_of_the_numbers), CASE(importances_weight_the_errors),
          CASE(layers_are_compared_on_what_they_read),
          CASE(layers_that_a_run_has_not_come_to_are_not_passed_over),
          CASE(numbers_come_from_the_reference_where_there_is_one),
          CASE(what_is_dropped_gives_out_zero), CASE(the_size_that_is_foretold_is_that_of_the_file),
          CASE(what_no_file_holds_has_a_size_alone),
          CASE(what_memory_cannot_hold_lies_on_the_disk),
          CASE(what_cannot_be_is_refused), CASE(files_that_cannot_run_are_planned_too),
          CASE(what_is_kept_is_known_by_its_content), CASE(interrupted_it_leaves_no_change),
          CASE(activations_are_rounded_as_by_hand))
