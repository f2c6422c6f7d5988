/* SPDX-License-Identifier: MIT */
/* Everything that may take long hears the user: each command is run with the flag set from its
 * first step on, over a value that needs no reading. No clocks. */
#include "tests/harness/unit.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command/command.h"
#include "file/save.h"
#include "session/session.h"
#include "tests/harness/scratch.h"

static enum st command(struct session *s, const char *line, struct err *e)
{
    struct result out = { 0 };
    *e = (struct err)ERR_INIT;
    enum st st = command_run(s, str_from(line), false, &out, e);
    result_free(&out);
    return st;
}

static void long_loops_are_interrupted(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "summary $w",
        "print log($w)",
        "print -$w",
        "print $w+$w",
        "print $w*2",
        "print/t $w",
        "print/s $w",
        "print/i $w",
        "print/m $w",
        "hist $w",
        "hist $w log",
        "heat $w",
        "channels $w",
        "print absmax($w)",
        "print median($w)",
        "print entropy($w)",
        "summary token_embd.weight",
        "summary **",
        "print token_embd.weight[row=top2(absmax)]",
        "print relerr($w, $w)",
        "print cos($w, $w)",
        "print kl($w, $w)",
    };
    volatile sig_atomic_t cancel = 0;
    struct progress progress = { .cancel = &cancel };
    struct session *s = session_new();
    struct session_model *m;
    struct err e = ERR_INIT;
    s->progress = &progress;
    assert_ok(session_open(s, golden_path("models/llama-gqa-tied.gguf"), NULL, &m, &e), &e);
    assert_ok(command(s, "w = token_embd.weight", &e), &e);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        cancel = 1;
        enum st st = command(s, lines[i], &e);
        if (st != ST_CANCELLED)
            fail_msg("%s: %s, %s", lines[i], st_name(st), e.msg);
        cancel = 0;
        assert_ok(command(s, lines[i], &e), &e); /* the session is as it was */
    }
    session_free(s);
}

/* What was there before stays, and nothing else is left. */
static void dumps_are_interrupted(void **state)
{
    (void)state;
    static const char *const suffixes[] = { ".npy", ".bin", ".csv", ".json", ".safetensors" };
    volatile sig_atomic_t cancel = 1;
    struct progress progress = { .cancel = &cancel };
    struct session *s = session_new();
    struct session_model *m;
    struct err e = ERR_INIT;
    assert_ok(session_open(s, golden_path("models/llama-gqa-tied.gguf"), NULL, &m, &e), &e);
    assert_ok(command(s, "w = token_embd.weight", &e), &e);
    s->progress = &progress;
    scratch_begin();
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char name[40], line[600];
        size_t n;
        snprintf(name, sizeof name, "dump%s", suffixes[i]);
        const char *path = scratch_path(name);
        assert_ok(save_bytes(path, "old", 3, &e), &e);
        snprintf(line, sizeof line, "dump $w to \"%s\"", path);
        assert_fails(command(s, line, &e), ST_CANCELLED, &e);
        char *kept = unit_read(path, &n);
        assert_string_equal(kept, "old");
        free(kept);
        cancel = 0;
        assert_ok(command(s, line, &e), &e);
        kept = unit_read(path, &n);
        assert_true(n > 1000);
        free(kept);
        cancel = 1;
    }
    scratch_end();
    session_free(s);
}

/* Whatever walks a run, or weights, stops at once; the run is then where it was, and the command
 * works when it is given again. */
static void analyses_are_interrupted(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "run",
        "reverse-continue",
        "compare **",
        "diverge",
        "lens",
        "entropy",
        "entropy floor",
        "heads",
        "norms",
        "outliers",
        "overflow",
        "sparsity",
        "sparsity blk.1",
        "dla",
        "dla by neuron",
        "qerr",
        "lint",
        "gen 3",
        "bench catch -p 8",
        "bench model -p 8 -n 4",
        "summary blk.*.out",
        "dump blk.*.out /dev/null.safetensors",
    };
    volatile sig_atomic_t cancel = 0;
    struct progress progress = { .cancel = &cancel };
    struct session *s = session_new();
    struct session_model *m;
    struct err e = ERR_INIT;
    char line[600];
    s->progress = &progress;
    assert_ok(session_open(s, golden_path("models/llama-gqa-tied-q4_0.gguf"), NULL, &m, &e), &e);
    snprintf(line, sizeof line, "ref \"%s\"", golden_path("models/llama-gqa-tied.gguf"));
    assert_ok(command(s, line, &e), &e);
    assert_ok(command(s, "prompt -t 5,9,3,7,11,2,8,4", &e), &e);
    assert_ok(command(s, "watch blk.1.out[tok=3,chan=2]", &e), &e);
    assert_ok(command(s, "run", &e), &e);
    for (size_t i = 0; i + 1 < sizeof lines / sizeof *lines; i++) {
        cancel = 1;
        enum st st = command(s, lines[i], &e);
        if (st != ST_CANCELLED)
            fail_msg("%s: %s, %s", lines[i], st_name(st), e.msg);
        cancel = 0;
        st = command(s, lines[i], &e);
        if (st)
            fail_msg("%s again: %s, %s", lines[i], st_name(st), e.msg);
        assert_ok(command(s, "goto end", &e), &e);
    }
    session_free(s);
}

static int files_in_scratch(void)
{
    int n = 0;
    DIR *d = opendir(scratch_path("."));
    assert_non_null(d);
    for (const struct dirent *f; (f = readdir(d));)
        n += f->d_name[0] != '.' || strlen(f->d_name) > 2;
    closedir(d);
    return n;
}

/* A model beside its reference, a set of texts and a run at its end. */
static struct session *measuring(void)
{
    struct session *s = session_new();
    struct session_model *m;
    struct err e = ERR_INIT;
    char line[4200];
    assert_ok(session_open(s, golden_path("models/llama-gqa-tied-q4_0.gguf"), "q", &m, &e), &e);
    snprintf(line, sizeof line, "ref \"%s\"", golden_path("models/llama-gqa-tied.gguf"));
    assert_ok(command(s, line, &e), &e);
    snprintf(line, sizeof line, "data \"%s\" tokens 2560", golden_path("text/prose.txt"));
    assert_ok(command(s, line, &e), &e);
    assert_ok(command(s, "prompt -t 5,9,3,7,11,2,8,4", &e), &e);
    assert_ok(command(s, "run", &e), &e);
    return s;
}

/* What measures, quantizes and writes: nothing is changed and no file lies about, whole or half;
 * the same command then does its work, which leaves `files` behind. */
static void measurements_and_writers_are_interrupted(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int files, changes;
    } cases[] = {
        { "kl", 0, 0 },
        { "verify", 0, 0 },
        { "worst 3", 0, 0 },
        { "bisect 0.5 by sub", 0, 0 },
        { "bisect prompt 0.5", 0, 0 },
        { "ppl \"%s\" ctx 32", 0, 0 },
        { "report q ref ref", 0, 0 },
        { "quant ** q4_1", 0, 1 },
        { "imatrix collect \"%s\"", 0, 0 },
        { "export gguf \"%s/out.gguf\"", 1, 0 },
        { "save capture \"%s/out.capture\"", 1, 0 },
    };
    volatile sig_atomic_t cancel = 0;
    struct progress progress = { .cancel = &cancel };
    struct session *s = measuring();
    struct err e = ERR_INIT;
    char line[4200], folder[2000];
    s->progress = &progress;
    scratch_begin();
    snprintf(folder, sizeof folder, "%s", scratch_path(""));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const bool writes = strstr(cases[i].line, "%s/") != NULL;
        const int files = files_in_scratch();
        const size_t changes = s->changes.n;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(line, sizeof line, cases[i].line, writes ? folder : golden_path("text/prose.txt"));
#pragma GCC diagnostic pop
        cancel = 1;
        enum st st = command(s, line, &e);
        if (st != ST_CANCELLED)
            fail_msg("%s: %s, %s", line, st_name(st), e.msg);
        assert_int_equal(files_in_scratch(), files);
        assert_int_equal(s->changes.n, changes);
        cancel = 0;
        assert_ok(command(s, "print blk.0.out[tok=1,chan=1]", &e), &e);
        st = command(s, line, &e);
        if (st)
            fail_msg("%s again: %s, %s", line, st_name(st), e.msg);
        assert_int_equal(files_in_scratch(), files + cases[i].files);
        assert_int_equal(s->changes.n, changes + (size_t)cases[i].changes);
        assert_ok(command(s, "goto end", &e), &e);
    }
    scratch_end();
    session_free(s);
}

/* The task too, which needs the demo model that can add. */
static void a_task_is_interrupted(void **state)
{
    (void)state;
    volatile sig_atomic_t cancel = 0;
    struct progress progress = { .cancel = &cancel };
    struct session *s = session_new();
    struct err e = ERR_INIT;
    assert_ok(command(s, "open --demo=add", &e), &e);
    s->progress = &progress;
    cancel = 1;
    assert_fails(command(s, "task add", &e), ST_CANCELLED, &e);
    cancel = 0;
    assert_ok(command(s, "task add", &e), &e);
    session_free(s);
}

/* Three files and the reference are four steps: stop within the second file. */
static void cancel_later(struct progress *p, const char *label, double done, double total)
{
    (void)label;
    assert_true(done <= total);
    if (total == 4 && done > 2)
        *(volatile sig_atomic_t *)p->data = 1;
}

static void a_report_keeps_the_rows_that_are_done(void **state)
{
    (void)state;
    volatile sig_atomic_t cancel = 0;
    struct progress progress = { cancel_later, &cancel, (void *)&cancel };
    struct session *s = session_new();
    struct session_model *m;
    struct result out = { 0 };
    struct err e = ERR_INIT;
    char line[600];
    assert_ok(session_open(s, golden_path("models/llama-gqa-tied.gguf"), "f", &m, &e), &e);
    assert_ok(session_open(s, golden_path("models/llama-gqa-tied-q8_0.gguf"), "q", &m, &e), &e);
    snprintf(line, sizeof line, "data \"%s\"", golden_path("text/prose.txt"));
    assert_ok(command(s, line, &e), &e);
    s->progress = &progress;
    enum st st = command_run(s, str_from("report q f q ref f"), false, &out, &e);
    assert_int_equal(st, ST_CANCELLED);
    assert_int_equal(out.status, RESULT_PARTIAL);
    assert_int_equal(out.n_tables, 2);
    assert_int_equal(out.tables[0]->n_rows, 1);
    assert_true(table_cell(out.tables[0], 0, (size_t)table_find(out.tables[0], "kl"))->f > 0);
    assert_string_equal(out.notes[out.n_notes - 1], "interrupted: 1 of 3 files");
    result_free(&out);
    session_free(s);
}

/* Stop in the third of four batches of segments, whatever is measured. */
static void cancel_half_way(struct progress *p, const char *label, double done, double total)
{
    (void)label;
    if (done / total > 0.6)
        *(volatile sig_atomic_t *)p->data = 1;
}

static const struct table *part_of(const struct result *r, const char *name)
{
    for (size_t i = 0; i < r->n_tables; i++)
        if (!strcmp(r->tables[i]->name, name))
            return r->tables[i];
    fail_msg("no table %s", name);
    return NULL;
}

/* worst has no time left to find where the runs part, bisect none to mend anything. */
static void first_measurements_keep_what_is_done(void **state)
{
    (void)state;
    volatile sig_atomic_t cancel = 0;
    struct progress progress = { cancel_half_way, &cancel, (void *)&cancel };
    struct session *s = session_new();
    struct session_model *m;
    struct result out = { 0 };
    struct err e = ERR_INIT;
    char line[600];
    assert_ok(session_open(s, golden_path("models/llama-gqa-tied-q4_0.gguf"), NULL, &m, &e), &e);
    snprintf(line, sizeof line, "ref \"%s\"", golden_path("models/llama-gqa-tied.gguf"));
    assert_ok(command(s, line, &e), &e);
    snprintf(line, sizeof line, "data \"%s\" tokens 2560", golden_path("text/prose.txt"));
    assert_ok(command(s, line, &e), &e);
    s->progress = &progress;
    assert_int_equal(command_run(s, str_from("worst 5"), false, &out, &e), ST_CANCELLED);
    assert_int_equal(out.status, RESULT_PARTIAL);
    const struct table *t = part_of(&out, "worst");
    assert_int_equal(t->n_rows, 5);
    assert_true(table_cell(t, 0, (size_t)table_find(t, "kl"))->f > 0);
    assert_true(table_cell(t, 0, (size_t)table_find(t, "parts"))->absent);
    result_free(&out);
    cancel = 0;
    assert_int_equal(command_run(s, str_from("bisect"), false, &out, &e), ST_CANCELLED);
    assert_int_equal(out.status, RESULT_PARTIAL);
    t = part_of(&out, "verdict");
    assert_true(table_cell(t, 0, (size_t)table_find(t, "before"))->f > 0);
    const int64_t segments = table_cell(t, 0, (size_t)table_find(t, "segments"))->i;
    assert_true(segments > 0 && segments < 16);
    result_free(&out);
    session_free(s);
}

UNIT_MAIN(CASE(analyses_are_interrupted), CASE(first_measurements_keep_what_is_done),
          CASE(long_loops_are_interrupted), CASE(dumps_are_interrupted),
          CASE(measurements_and_writers_are_interrupted), CASE(a_task_is_interrupted),
          CASE(a_report_keeps_the_rows_that_are_done))
