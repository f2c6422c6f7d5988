/* SPDX-License-Identifier: MIT */
/* A capture holds what was saved, elsewhere too; it answers what it can and refuses the rest. */
#include "tests/harness/unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "session/capture.h"
#include "session/lookup.h"
#include "tests/harness/commands.h"
#include "tests/harness/scratch.h"

static struct session *s;

static void begin(void)
{
    struct err e = ERR_INIT;
    struct session_model *m;
    scratch_begin();
    s = session_new();
    assert_ok(session_open(s, golden_path("models/llama-gqa-tied.gguf"), NULL, &m, &e), &e);
    command(s, "set seed 7");
    command(s, "prompt -t 3,70,5,9,200");
    command(s, "set tensor blk.1.mid[tok=2] = *2");
    command(s, "run");
}

static void end(void)
{
    session_free(s);
    scratch_end();
}

static struct view read_point(const char *address)
{
    struct view v;
    struct err e = ERR_INIT;
    if (lookup_text(s, str_from(address), &v, &e))
        fail_msg("%s: %s", address, e.msg);
    return v;
}

static void holds_the_same_numbers(void **state)
{
    (void)state;
    static const char *const points[] = { "blk.0.out", "blk.1.attn_q.out", "blk.1.attn.prob",
                                          "output.out" };
    struct view was[4];
    begin();
    for (int i = 0; i < 4; i++)
        was[i] = read_point(points[i]);
    command(s, "save capture '%s' **", scratch_path("c"));
    session_free(s);
    s = session_new();
    command(s, "open '%s'", scratch_path("c"));
    for (int i = 0; i < 4; i++) {
        struct view now = read_point(points[i]);
        assert_true(shape_equal(&now.shape, &was[i].shape));
        assert_memory_equal(now.data, was[i].data, (size_t)view_count(&now) * sizeof(float));
        view_free(&now);
        view_free(&was[i]);
    }
    struct view part = read_point("blk.1.attn_q.out[tok=-1, head={1,3}, chan=0:2]");
    assert_int_equal(view_count(&part), 4);
    struct view whole = read_point("blk.1.attn_q.out");
    assert_true(part.data[2] == whole.data[(4 * 4 + 3) * 8]);
    view_free(&part);
    view_free(&whole);
    struct result out = answer(s, "info capture");
    const struct table *t = out.tables[0];
    static const char *const facts[] = { "1", NULL, "llama-gqa-tied.gguf", NULL, "3,70,5,9,200",
                                         NULL, "set seed 7", "set tensor blk.1.mid[tok=2] = *2" };
    for (int i = 0; i < 8; i++)
        if (facts[i])
            assert_string_equal(table_cell(t, 0, (size_t)i)->s, facts[i]);
    assert_int_equal(strlen(table_cell(t, 0, 3)->s), 16);
    assert_int_equal(out.tables[1]->n_rows, 39);
    result_free(&out);
    end();
}

static void answers_or_refuses(void **state)
{
    (void)state;
    static const char *const good[] = {
        "print blk.0.out[tok=1]", "summary **",          "hist blk.1.out",
        "channels blk.0.out",     "outliers blk.*.out", "print rms(blk.1.out - blk.0.out)",
        "heat blk.0.out",         "info model",         "info models",
        "info capture",           "help save",          "x blk.0.out",
    };
    static const char *const bad[] = {
        "prompt -t 1,2", "run",     "step",           "goto start",     "info points", "lens",
        "diverge",       "norms",   "set tensor blk.0.out = zero",      "break blk.0.out",
        "gen 3",         "ppl x",   "why",            "record blk.0.out", "kl",        "qerr",
        "overflow",      "heads",   "entropy",        "watch rms(blk.0.out)", "list",  "where",
        "lint",          "compare blk.0.out", "block blk.0.out", "quant ** q4_0",
        "save capture /dev/null", "bisect", "tokens \"a\"", "dla", "sparsity", "attn blk.0",
    };
    begin();
    command(s, "save capture '%s' blk.*.out", scratch_path("c"));
    session_free(s);
    s = session_new();
    command(s, "open '%s'", scratch_path("c"));
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        command(s, "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct result out = { 0 };
        struct err e = ERR_INIT;
        const enum st st = command_run(s, str_from(bad[i]), false, &out, &e);
        if (st && !e.msg[0])
            fail_msg("%s is refused without a word", bad[i]);
        if (!st && strcmp(bad[i], "lint") != 0 && strcmp(bad[i], "list") != 0
            && strcmp(bad[i], "record blk.0.out") != 0)
            fail_msg("%s works", bad[i]);
        result_free(&out);
    }
    end();
}

/* As a reference it is a trace of one file, for the model and for another capture. */
static void is_a_reference(void **state)
{
    (void)state;
    begin();
    command(s, "save capture '%s' blk.*.{mid,out}", scratch_path("c"));
    command(s, "undo");
    command(s, "run");
    command(s, "save capture '%s' blk.*.out", scratch_path("d"));
    command(s, "ref trace '%s'", scratch_path("c"));
    struct result out = answer(s, "diverge maxerr 0.01");
    assert_int_equal(out.status, RESULT_FOUND);
    result_free(&out);
    command(s, "open '%s'", scratch_path("d"));
    out = answer(s, "compare blk.*.out");
    assert_int_equal(out.tables[0]->n_rows, 2);
    assert_true(table_cell(out.tables[0], 0, 2)->f == 0);
    assert_true(table_cell(out.tables[0], 1, 6)->f > 0.01); /* of the token that was changed */
    result_free(&out);
    end();
}

static void refuse(const char *header, size_t bytes, const char *text)
{
    struct session_model *m;
    struct err e = ERR_INIT;
    scratch_tensors("bad", header, bytes);
    assert_true(session_open(s, scratch_path("bad"), NULL, &m, &e) != ST_OK);
    if (!strstr(e.msg, text))
        fail_msg("%s: %s", header, e.msg);
}

#define NOTE "{\"__metadata__\":{\"qdb.capture\":\"1\",\"blk.0.out\":"
#define ARRAY "\"blk.0.out\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}"

static void bad_files_are_refused(void **state)
{
    (void)state;
    begin();
    refuse("{" ARRAY, 24, "no capture of qdb");
    refuse("{\"__metadata__\":{\"qdb.capture\":\"2\"}}", 0, "version 2 of captures");
    refuse(NOTE "\"tok 2, chan 4\"}," ARRAY, 24, "the axes `tok 2, chan 4` are not those");
    refuse(NOTE "\"tok 2\"}," ARRAY, 24, "are not those");
    refuse(NOTE "\"tok 2, chan 3, key 1\"}," ARRAY, 24, "are not those");
    refuse(NOTE "\"tok 2, chin 3\"}," ARRAY, 24, "are not those");
    refuse(NOTE "\"\"}," ARRAY, 24, "are not those");
    refuse(NOTE "\"tok 2, chan 3\"}," ARRAY, 20, "offsets outside the file");
    refuse("{\"__metadata__\":{\"qdb.capture\":1}}", 0, "expected a string");
    refuse("{", 0, "byte 9");
    assert_int_equal(s->models.n_models, 1);
    end();
}

UNIT_MAIN(CASE(holds_the_same_numbers), CASE(answers_or_refuses), CASE(is_a_reference),
          CASE(bad_files_are_refused))
