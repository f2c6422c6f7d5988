/* SPDX-License-Identifier: MIT */
/* Traces of other engines as the reference: what they compute is what is compared, one bad point is
 * found, and bad folders are refused. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "file/npy.h"
#include "file/trace.h"
#include "session/lookup.h"
#include "session/session.h"
#include "tests/harness/commands.h"
#include "tests/harness/scratch.h"

static struct session *s;

static void open_model(const char *name)
{
    char path[96];
    struct err e = ERR_INIT;
    struct session_model *m;
    snprintf(path, sizeof path, "models/%s.gguf", name);
    s = session_new();
    assert_ok(session_open(s, golden_path(path), NULL, &m, &e), &e);
}

static void ref_trace(const char *folder) { command(s, "ref trace '%s'", folder); }

/* The first point beyond the tolerance, "" if there is none; made: what it makes itself. */
static void diverge(const char *line, char point[64], double *made)
{
    struct result out = answer(s, "%s", line);
    const struct table *t = out.tables[0];
    point[0] = '\0';
    if (out.status == RESULT_FOUND) {
        snprintf(point, 64, "%s", table_cell(t, t->n_rows - 1, 0)->s);
        *made = table_cell(t, t->n_rows - 1, 2)->f;
    }
    result_free(&out);
}

/* Every point that another engine names under its own names is what we compute. */
static void agree(const char *model, const char *engine, int points, double tolerance)
{
    char folder[96], line[64], point[64], note[64];
    double made;
    open_model(model);
    snprintf(folder, sizeof folder, "traces/%s.%s", model, engine);
    ref_trace(golden_path(folder));
    command(s, "prompt -r");
    snprintf(line, sizeof line, "diverge -all relerr %g", tolerance);
    diverge(line, point, &made);
    assert_string_equal(point, "");
    struct result out = answer(s, "%s", line);
    snprintf(note, sizeof note, "%d points of the trace were compared", points);
    assert_string_equal(out.notes[0], note);
    result_free(&out);
    session_free(s);
}

static void other_engines_agree(void **state)
{
    (void)state;
    agree("llama-gqa-tied", "lens", 37, 2e-6);
    agree("gpt2", "lens", 32, 2e-6);
    agree("qwen2", "lens", 37, 2e-6);
    agree("llama-gqa-tied", "llama.cpp", 31, 2e-6);
    agree("llama-untied-bias", "llama.cpp", 31, 2e-6);
    agree("gpt2", "llama.cpp", 30, 2e-3); /* its GELU is a table of halves */
    agree("qwen2", "llama.cpp", 29, 2e-6);
}

/* One array of a trace of our own is wrong: diverge stops there and says that it was made there. */
static void one_bad_point_is_found(void **state)
{
    (void)state;
    scratch_begin();
    open_model("llama-gqa-tied");
    command(s, "prompt -t 3,70,5,9,200");
    command(s, "run");
    char line[400], point[64];
    const char *folder = scratch_path("good/");
    snprintf(line, sizeof line, "dump ** to '%s'", folder);
    command(s, "%s", line);
    struct err e = ERR_INIT;
    struct trace t;
    assert_ok(trace_open(folder, &t, &e), &e);
    struct safetensor *list = x_alloc(t.n * sizeof *list);
    assert_int_equal(t.n, s->models.model->model->graph->n_values);
    for (size_t i = 0; i < t.n; i++) {
        const struct trace_tensor *x = &t.list[i];
        float *data = x_alloc(x->n * sizeof *data);
        assert_ok(trace_read(&t, x, data, &e), &e);
        list[i] = (struct safetensor){ .name = x->name, .rank = x->rank, .data = data };
        memcpy(list[i].shape, x->shape, sizeof list[i].shape);
    }
    double made = 0;
    ref_trace(folder);
    diverge("diverge relerr 0", point, &made);
    assert_string_equal(point, "");
    for (size_t i = 0; i < t.n; i++) {
        float *data = (float *)list[i].data;
        for (size_t k = 0; k < t.list[i].n; k++)
            data[k] *= 1.5f;
        assert_ok(trace_write(scratch_path("bad"), &t, list, t.n, &e), &e);
        ref_trace(scratch_path("bad"));
        diverge("diverge relerr 0.1", point, &made);
        assert_string_equal(point, list[i].name);
        assert_true(fabs(made - 1.0 / 3) < 1e-4 || !strcmp(point, "embd.out"));
        for (size_t k = 0; k < t.list[i].n; k++)
            data[k] /= 1.5f;
    }
    for (size_t i = 0; i < t.n; i++)
        free((void *)list[i].data);
    free(list);
    trace_close(&t);
    session_free(s);
    scratch_end();
}

/* What scripts write: a batch axis, heads and channels in one, doubles, a file per point, spans cut
 * otherwise; points that are missing; names that are none. */
static void shapes_of_other_scripts(void **state)
{
    (void)state;
    scratch_begin();
    open_model("llama-gqa-tied");
    command(s, "prompt -t 3,70,5");
    command(s, "run");
    assert_int_equal(mkdir(scratch_path("t"), 0777), 0);
    static const char manifest[] =
        "{\"tokens\": [3, 70, 5], \"x\": {\"y\": [1, \"]\"]},\n \"version\": 1, \"format\": "
        "\"qdb-trace\"}";
    scratch_write("t/trace.json", manifest, sizeof manifest - 1);
    command(s, "set elements 100");
    struct err e = ERR_INIT;
    struct view q;
    assert_ok(lookup_text(s, STR("blk.1.attn_q.out"), &q, &e), &e);
    assert_ok(npy_write(scratch_path("t/blk.1.attn_q.out.npy"), 3, (uint64_t[]){ 1, 3, 32 }, q.data,
                        NULL, &e),
              &e);
    assert_ok(npy_write(scratch_path("t/blocks.1.attn.hook_q2.npy"), 1, (uint64_t[]){ 96 }, q.data,
                        NULL, &e),
              &e);
    view_free(&q);
    ref_trace(scratch_path("t"));
    command(s, "set span 2");
    command(s, "prompt -r");
    command(s, "run");
    struct result out = answer(s, "compare blk.1.attn_{q,k}.out");
    assert_int_equal(out.tables[0]->n_rows, 2);
    assert_true(table_cell(out.tables[0], 0, 2)->f < 1e-6);
    assert_true(table_cell(out.tables[0], 1, 2)->f < 1e-6);
    assert_string_equal(out.notes[0], "2 left out: they are not in the trace");
    result_free(&out);
    out = answer(s, "ref");
    assert_string_equal(out.notes[1], "1 of its arrays has no name of a point: "
                                      "blocks.1.attn.hook_q2");
    result_free(&out);
    session_free(s);
    scratch_end();
}

/* A catch on divergence reads from the trace. */
static void a_catch_reads_the_trace(void **state)
{
    (void)state;
    open_model("llama-gqa-tied-q4_0");
    ref_trace(golden_path("traces/llama-gqa-tied.lens"));
    command(s, "catch diverge(0.01)");
    command(s, "prompt -r");
    struct result out = answer(s, "run");
    assert_int_equal(out.status, RESULT_FOUND);
    result_free(&out);
    session_free(s);
}

#define GOOD   "{\"format\": \"qdb-trace\", \"version\": 1, \"tokens\": [3, 70]}"
#define TENSOR "{\"dtype\":\"F32\",\"shape\":[2,32],\"data_offsets\":[0,256]}"

/* What a folder is made of and what is said about it. */
static const struct bad_folder {
    const char *manifest, *header;
    size_t bytes;
    enum st st;
    const char *text;
} bad_folders[] = {
    { "", NULL, 0, ST_IO, "" },
    { "[1]", NULL, 0, ST_FORMAT, "byte 0: expected an object" },
    { "{\"tokens\": [1, 2", NULL, 0, ST_FORMAT, "byte 16: " },
    { "{\"tokens\": [1, -2]}", NULL, 0, ST_FORMAT, "a number out of range" },
    { "{\"tokens\": [1.5]}", NULL, 0, ST_FORMAT, "expected a whole number" },
    { "{\"version\": 1, \"tokens\": [1]}", NULL, 0, ST_FORMAT, "qdb-trace" },
    { "{\"format\": \"qdb-trace\", \"version\": 2, \"tokens\": [1]}", NULL, 0, ST_UNSUPPORTED,
      "version 2" },
    { "{\"format\": \"qdb-trace\", \"version\": 1, \"tokens\": []}", NULL, 0, ST_FORMAT, "tokens" },
    { GOOD "x", NULL, 0, ST_FORMAT, "text after the end" },
    { GOOD, NULL, 0, ST_FORMAT, "no .safetensors or .npy" },
    { GOOD, "{", 0, ST_FORMAT, "byte 9: " },
    { GOOD, "{\"l_out-0\":{\"dtype\":\"F32\",\"shape\":[2,32]}}", 256, ST_FORMAT, "each once" },
    { GOOD, "{\"l_out-0\":" TENSOR "}", 252, ST_FORMAT, "offsets outside the file" },
    { GOOD, "{\"l_out-0\":{\"dtype\":\"F32\",\"shape\":[2,31],\"data_offsets\":[0,256]}}", 256,
      ST_FORMAT, "do not fit the shape" },
    { GOOD,
      "{\"l_out-0\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,16],"
      "\"data_offsets\":[0,256]}}",
      256, ST_FORMAT, "a shape too large" },
    { GOOD, "{\"l_out-0\":" TENSOR ",\"l_out-0\":" TENSOR "}", 256, ST_FORMAT,
      "two tensors are named" },
    { GOOD,
      "{\"l_out-0\":" TENSOR ",\"half\":{\"dtype\":\"I8\",\"shape\":[4],"
      "\"data_offsets\":[252,256]}}",
      256, ST_FORMAT, "`l_out-0` and `half` share bytes" },
    { GOOD, "{\"l_out-0\":{\"dtype\":\"F32\",\"shape\":[3,32],\"data_offsets\":[0,384]}}", 384,
      ST_RANGE, "l_out-0 of the trace has 3 x 32 entries; here it is tok 2, chan 32" },
    { GOOD, "{\"l_out-0\":{\"dtype\":\"I32\",\"shape\":[2,32],\"data_offsets\":[0,256]}}", 256,
      ST_FORMAT, "no .safetensors or .npy" },
    { GOOD, "{\"x\":" TENSOR "}", 256, ST_FORMAT,
      "none of its 1 arrays has the name of a point of this model: x" },
};

/* A folder t to hold a trace, and a model. */
static void begin_folder(void)
{
    scratch_begin();
    assert_int_equal(mkdir(scratch_path("t"), 0777), 0);
    open_model("llama-gqa-tied");
}

static void end_folder(void)
{
    session_free(s);
    scratch_end();
}

static void bad_folders_are_refused(void **state)
{
    (void)state;
    begin_folder();
    for (size_t i = 0; i < sizeof bad_folders / sizeof *bad_folders; i++) {
        const struct bad_folder *b = &bad_folders[i];
        if (b->manifest[0])
            scratch_write("t/trace.json", b->manifest, strlen(b->manifest));
        if (b->header)
            scratch_tensors("t/a.safetensors", b->header, b->bytes);
        refused(s, b->st, ANYWHERE, b->text, "ref trace '%s'", scratch_path("t"));
        assert_null(s->models.trace);
    }
    end_folder();
}

static void a_trace_of_other_tokens_is_refused(void **state)
{
    (void)state;
    static const float zeros[64];
    struct err e = ERR_INIT;
    begin_folder();
    scratch_write("t/trace.json", GOOD, strlen(GOOD));
    scratch_tensors("t/a.safetensors", "{\"l_out-0\":" TENSOR "}", 256);
    ref_trace(scratch_path("t"));
    command(s, "prompt -t 3,71");
    command(s, "run");
    refused(s, ST_RANGE, ANYWHERE, "token 1 of the run is 71, of the trace 70",
            "compare blk.0.out");
    command(s, "prompt -t 3,70,5");
    command(s, "run");
    refused(s, ST_RANGE, ANYWHERE, "the run has 3 tokens, the trace 2", "diverge");
    refused(s, ST_RANGE, ANYWHERE, "the run has 3 tokens", "compare blk.0.mid");
    command(s, "prompt -r");
    command(s, "run");
    refused(s, ST_STATE, ANYWHERE, "none of these points is in the trace", "compare blk.0.mid");
    refused(s, ST_STATE, ANYWHERE, "", "kl");
    assert_ok(npy_write(scratch_path("t/l_out-0.npy"), 2, (uint64_t[]){ 2, 32 }, zeros, NULL, &e),
              &e);
    refused(s, ST_FORMAT, ANYWHERE, "l_out-0 is there twice", "ref trace '%s'", scratch_path("t"));
    command(s, "compare blk.0.out"); /* the reference there was stays */
    end_folder();
}

UNIT_MAIN(CASE(other_engines_agree), CASE(one_bad_point_is_found), CASE(shapes_of_other_scripts),
          CASE(a_catch_reads_the_trace), CASE(bad_folders_are_refused),
          CASE(a_trace_of_other_tokens_is_refused))
