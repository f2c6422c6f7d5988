/* SPDX-License-Identifier: MIT */
/* Benchmarks: tables have the right shape and hold sane figures, ^C keeps what is done, mistakes
 * are refused. Nothing here depends on how fast anything is. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/level.h"
#include "study/bench.h"
#include "tests/harness/commands.h"

struct bench {
    struct session *s;
    struct result r;
    struct err e;
    struct progress progress;
    volatile sig_atomic_t stop;
    int ticks, stop_at; /* cancel at this tick; 0 = never */
    double stop_done;   /* cancel when so much is done; 0 = never */
};

static void show(struct progress *p, const char *label, double done, double total)
{
    struct bench *b = p->data;
    (void)label;
    assert_true(done >= 0 && done <= total);
    b->stop = b->stop || ++b->ticks == b->stop_at || (b->stop_done > 0 && done >= b->stop_done);
}

static void start(struct bench *b)
{
    *b = (struct bench){ .s = session_new(), .e = ERR_INIT };
    b->progress = (struct progress){ show, &b->stop, b };
    b->s->progress = &b->progress;
    assert_ok(settings_set(&b->s->settings, SETTING_THREADS, STR("2"), &b->e), &b->e);
}

static void end(struct bench *b)
{
    result_free(&b->r);
    session_free(b->s);
}

static enum st type(struct bench *b, const char *line)
{
    result_free(&b->r);
    b->e = (struct err)ERR_INIT;
    b->ticks = 0;
    b->stop = 0;
    return command_run(b->s, str_from(line), false, &b->r, &b->e);
}

static void assert_rate(const struct table *t, size_t row, const char *column)
{
    const struct cell *c = cell_at(t, row, column);
    assert_false(c->absent);
    assert_true(c->f > 0 && isfinite(c->f));
}

static void samples_are_summed_up(void **state)
{
    (void)state;
    double odd[] = { 3, 1, 2 }, even[] = { 4, 1, 3, 2 };
    struct bench_samples s = bench_samples_of(odd, 3);
    assert_true(s.median == 2 && s.least == 1 && s.most == 3 && s.n == 3);
    assert_true(bench_samples_of(even, 4).median == 2.5);
    assert_true(bench_samples_of(NULL, 0).n == 0 && isnan(bench_samples_of(NULL, 0).median));
}

static void memory_is_read_whole(void **state)
{
    (void)state;
    enum { N = 4096 };
    uint64_t *p = aligned_alloc(64, N * sizeof *p), want = 0;
    for (int i = 0; i < N; i++)
        want += p[i] = (uint64_t)i * i;
    assert_int_equal(peak_read(p, N * sizeof *p, 0), want);
    assert_int_equal(peak_read(p, N * sizeof *p, 1024), want);
    assert_int_equal(peak_read(p, 0, 0), 0);
    free(p);
}

static void machine_has_limits(void **state)
{
    (void)state;
    struct bench b;
    start(&b);
    for (size_t i = 0; level_at(i); i++) {
        if (!level_supported(level_at(i)))
            continue;
        level_force(level_at(i));
        assert_ok(type(&b, "bench machine size 1M seconds 0.01"), &b.e);
        const struct table *t = table_named(&b.r, "machine");
        assert_string_equal(cell_at(t, 0, "limit")->s, "read");
        assert_string_equal(cell_at(t, 2, "limit")->s, "mul-add");
        for (size_t row = 0; row < t->n_rows; row++) {
            assert_rate(t, row, "one_thread");
            assert_rate(t, row, "all_threads");
        }
        t = table_named(&b.r, "setting");
        assert_string_equal(cell_at(t, 0, "level")->s, level_at(i)->name);
        assert_int_equal(cell_at(t, 0, "threads")->i, pool_threads(session_pool(b.s)));
    }
    level_force(NULL);
    end(&b);
}

static void kernels_have_rates(void **state)
{
    (void)state;
    struct bench b;
    start(&b);
    assert_ok(type(&b, "bench kernels q4_k 3 40 size 1M seconds 0.01"), &b.e);
    const struct table *t = table_named(&b.r, "kernels");
    assert_int_equal(t->n_rows, 7); /* decode, three modes with two numbers of tokens */
    for (size_t row = 0; row < t->n_rows; row++) {
        assert_string_equal(cell_at(t, row, "format")->s, "q4_k");
        assert_rate(t, row, "weights");
        assert_rate(t, row, "share");
        assert_rate(t, row, "to_c");
        if (row) {
            assert_rate(t, row, "rate");
            assert_int_equal(cell_at(t, row, "tokens")->i, row % 2 ? 3 : 40);
        }
    }
    assert_string_equal(cell_at(t, 0, "compute")->s, "decode");
    assert_true(cell_at(t, 0, "rate")->absent);
    assert_string_equal(cell_at(t, 1, "compute")->s, "exact");
    assert_string_equal(cell_at(t, 3, "compute")->s, "native");
    assert_string_equal(cell_at(t, 5, "compute")->s, "fast");
    end(&b);
}

/* As files spell them, in patterns too. */
static void formats_in_capitals(void **state)
{
    (void)state;
    struct bench b;
    start(&b);
    assert_ok(type(&b, "bench kernels Q4_K \"IQ4*\" decode size 64K seconds 0.01"), &b.e);
    const struct table *t = table_named(&b.r, "kernels");
    assert_int_equal(t->n_rows, 3);
    assert_string_equal(cell_at(t, 0, "format")->s, "q4_k");
    end(&b);
}

/* Every format that is decodable has a benchmark: nothing is left at zero. */
static void every_format_has_kernels(void **state)
{
    (void)state;
    struct bench b;
    start(&b);
    int formats = 0;
    for (int f = 0; f < format_count(); f++)
        formats += bench_has(f, COMPUTE_EXACT);
    assert_true(formats > 20);
    assert_ok(type(&b, "bench kernels \"*\" native 1 size 64K seconds 0.01"), &b.e);
    const struct table *t = table_named(&b.r, "kernels");
    assert_int_equal(t->n_rows, formats);
    for (size_t row = 0; row < t->n_rows; row++)
        assert_rate(t, row, "rate");
    end(&b);
}

static void the_level_in_use_stays(void **state)
{
    (void)state;
    struct bench b;
    start(&b);
    const struct level *before = level_now();
    b.stop_at = 2;
    assert_fails(type(&b, "bench kernels q8_0 exact size 64K seconds 0.01"), ST_CANCELLED, &b.e);
    assert_ptr_equal(level_now(), before);
    end(&b);
}

/* The memory that reading walks through is a large part of the time. */
static void nothing_is_filled_after_an_interrupt(void **state)
{
    (void)state;
    volatile sig_atomic_t stop = 1;
    struct progress progress = { .cancel = &stop };
    struct err e = ERR_INIT;
    double rate;
    const size_t size = (size_t)256 << 20, before = bench_process_peak();
    assert_fails(bench_limit_of(LIMIT_READ, NULL, size, 0.1, &progress, &rate, &e), ST_CANCELLED,
                 &e);
    assert_true(bench_process_peak() - before < size / 2);
}

static void interrupted_kernels_are_kept(void **state)
{
    (void)state;
    struct bench b;
    start(&b);
    b.stop_at = 4; /* before the fourth figure */
    assert_fails(type(&b, "bench kernels size 64K seconds 0.01"), ST_CANCELLED, &b.e);
    assert_int_equal(b.r.status, RESULT_PARTIAL);
    assert_int_equal(table_named(&b.r, "kernels")->n_rows, 3);
    end(&b);
}

static void mistakes_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        enum st st;
        int column;
    } bad[] = {
        { "bench", ST_SYNTAX, 5 },
        { "bench nothing", ST_SYNTAX, 6 },
        { "bench machine q4_k", ST_SYNTAX, 14 },
        { "bench machine size 1", ST_RANGE, 19 },
        { "bench machine seconds nan", ST_RANGE, 22 },
        { "bench kernels q9_9", ST_NOTFOUND, 14 },
        { "bench kernels q4_k 0", ST_NOTFOUND, 19 },
        { "bench model -p", ST_SYNTAX, 14 },
        { "bench model -r 0", ST_RANGE, 15 },
        { "bench model -x 1", ST_SYNTAX, 12 },
        { "bench model -p 4 -p 8", ST_SYNTAX, 17 },
        { "bench machine size 1M size 2M", ST_SYNTAX, 22 },
        { "bench model -t -1", ST_RANGE, 15 },
        { "bench model -t 257", ST_RANGE, 15 },
        { "bench kernels q4_0 summary", ST_UNSUPPORTED, 19 },
        { "bench kernels summary 1 native q4_0", ST_UNSUPPORTED, 14 },
        { "bench model -c slow", ST_SYNTAX, 15 },
        { "bench model -p 0 -n 0", ST_RANGE, 6 },
        { "bench model", ST_STATE, 0 },
        { "bench model /nowhere.gguf", ST_IO, 12 },
        { "bench catch", ST_STATE, 0 },
        { "bench catch -n 3", ST_SYNTAX, 12 },
        { "bench catch -p", ST_SYNTAX, 14 },
        { "bench catch -p 0", ST_RANGE, 15 },
        { "set threads 257", ST_RANGE, 12 },
    };
    struct bench b;
    start(&b);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_fails(type(&b, bad[i].line), bad[i].st, &b.e);
        if (b.e.column != bad[i].column)
            fail_msg("%s: column %d", bad[i].line, b.e.column);
        assert_int_equal(b.r.n_tables, 0);
    }
    end(&b);
}

static void models_have_rates(void **state)
{
    (void)state;
    struct bench b;
    char line[512];
    start(&b);
    snprintf(line, sizeof line, "bench model \"%s\" -p 9 -n 5 -r 3",
             golden_path("models/llama-gqa-tied-q4_0.gguf"));
    assert_ok(type(&b, line), &b.e);
    const struct table *t = table_named(&b.r, "speed");
    assert_int_equal(t->n_rows, 2);
    assert_string_equal(cell_at(t, 0, "test")->s, "prompt");
    assert_string_equal(cell_at(t, 1, "test")->s, "generate");
    assert_int_equal(cell_at(t, 0, "tokens")->i, 9);
    assert_int_equal(cell_at(t, 1, "tokens")->i, 5);
    for (size_t row = 0; row < 2; row++) {
        assert_rate(t, row, "least");
        assert_true(cell_at(t, row, "least")->f <= cell_at(t, row, "median")->f);
        assert_true(cell_at(t, row, "median")->f <= cell_at(t, row, "most")->f);
        assert_int_equal(cell_at(t, row, "of")->i, 3);
    }
    t = table_named(&b.r, "model");
    assert_rate(t, 0, "open");
    assert_rate(t, 0, "first_token");
    assert_rate(t, 0, "reads");
    assert_string_equal(cell_at(t, 0, "compute")->s, "native");
    assert_int_equal(cell_at(t, 0, "threads")->i, 2);
    /* The output matrix is the embedding: all is read. */
    assert_int_equal(cell_at(t, 0, "per_token")->i, cell_at(t, 0, "weights")->i);
    assert_true(cell_at(t, 0, "memory_peak")->i > 0);
    assert_true(cell_at(t, 0, "process_peak")->i > cell_at(t, 0, "memory_peak")->i);
    /* The session does not know the file. */
    assert_fails(type(&b, "bench model"), ST_STATE, &b.e);
    /* Without a prompt a token of its own comes first, which is not counted. */
    memcpy(strstr(line, "-p 9"), "-p 0", 4);
    assert_ok(type(&b, line), &b.e);
    assert_int_equal(table_named(&b.r, "speed")->n_rows, 1);
    assert_int_equal(cell_at(table_named(&b.r, "speed"), 0, "tokens")->i, 5);
    assert_rate(table_named(&b.r, "model"), 0, "first_token");
    memcpy(strstr(line, "-p 0"), "-p 9", 4);
    /* Mode and threads of one command, which leaves the settings alone. */
    memcpy(strstr(line, "-n 5"), "-n 0", 4);
    snprintf(line + strlen(line), sizeof line - strlen(line), " -t 3 -c native");
    assert_ok(type(&b, line), &b.e);
    assert_int_equal(table_named(&b.r, "speed")->n_rows, 1);
    t = table_named(&b.r, "model");
    assert_string_equal(cell_at(t, 0, "compute")->s, "native");
    assert_int_equal(cell_at(t, 0, "threads")->i, 3);
    assert_true(cell_at(t, 0, "reads")->absent);
    assert_int_equal(setting_int(&b.s->settings, SETTING_THREADS), 2);
    assert_int_equal(setting_int(&b.s->settings, SETTING_COMPUTE), COMPUTE__COUNT);
    /* 0 is one per core, as it is where threads are set. */
    memcpy(strstr(line, "-t 3"), "-t 0", 4);
    assert_ok(type(&b, line), &b.e);
    assert_int_equal(cell_at(table_named(&b.r, "model"), 0, "threads")->i, pool_cpus());
    end(&b);
}

static void interrupted_models_are_kept(void **state)
{
    (void)state;
    struct bench b;
    char line[512];
    start(&b);
    b.stop_done = 3 * 9 + 2 + 1; /* a warm-up, two prompts, and in the second generation of two */
    snprintf(line, sizeof line, "bench model \"%s\" -p 9 -n 2 -r 2",
             golden_path("models/llama-gqa-tied-q4_0.gguf"));
    assert_fails(type(&b, line), ST_CANCELLED, &b.e);
    assert_int_equal(b.r.status, RESULT_PARTIAL);
    const struct table *t = table_named(&b.r, "speed");
    assert_int_equal(t->n_rows, 2);
    assert_int_equal(cell_at(t, 0, "of")->i, 2);
    assert_int_equal(cell_at(t, 1, "of")->i, 1);
    assert_true(b.ticks > 3 + 2 + 1); /* prompts tell how far they are */
    /* In the middle of the first prompt after the warm-up. */
    b.stop_done = 9 + 4;
    assert_fails(type(&b, line), ST_CANCELLED, &b.e);
    assert_int_equal(b.r.n_tables, 1); /* none without rows */
    assert_rate(table_named(&b.r, "model"), 0, "first_token");
    end(&b);
}

/* Breakpoints of the session stay as they are, and hits are not stops. */
static void the_cost_of_catches_is_a_ratio(void **state)
{
    (void)state;
    struct bench b;
    char line[512];
    start(&b);
    assert_ok(type(&b, "open --demo"), &b.e);
    assert_ok(type(&b, "catch nan"), &b.e);
    snprintf(line, sizeof line, "bench catch \"%s\" -p 12 -r 2 -c native",
             golden_path("models/llama-gqa-tied-q4_0.gguf"));
    assert_ok(type(&b, line), &b.e);
    const struct table *t = table_named(&b.r, "catch");
    assert_int_equal(t->n_rows, 5);
    assert_string_equal(cell_at(t, 0, "condition")->s, "(none)");
    assert_string_equal(cell_at(t, 3, "condition")->s, "outlier(20)");
    for (size_t row = 0; row < t->n_rows; row++) {
        assert_rate(t, row, "least");
        assert_true(cell_at(t, row, "least_ratio")->f <= cell_at(t, row, "ratio")->f);
        assert_true(cell_at(t, row, "ratio")->f <= cell_at(t, row, "most_ratio")->f);
        assert_int_equal(cell_at(t, row, "of")->i, 2);
    }
    assert_float_equal(cell_at(t, 0, "ratio")->f, 1, 0);
    assert_int_equal(cell_at(t, 1, "hits")->i, 0);
    t = table_named(&b.r, "run");
    assert_int_equal(cell_at(t, 0, "tokens")->i, 12);
    assert_string_equal(cell_at(t, 0, "compute")->s, "native");
    assert_int_equal(b.s->breaks.n, 1);
    assert_int_equal(b.s->breaks.list[0].hits, 0);
    assert_false(b.s->caught);
    assert_null(b.s->hit.run);
    b.stop_at = 2; /* in the round that warms up: nothing to show */
    b.ticks = 0;
    assert_fails(type(&b, line), ST_CANCELLED, &b.e);
    assert_int_equal(b.r.n_tables, 0);
    assert_int_equal(b.s->breaks.n, 1);
    end(&b);
}

static void encoders_have_rates_and_errors(void **state)
{
    (void)state;
    struct bench b;
    start(&b);
    assert_ok(type(&b, "bench encode q4_0 q8_0 \"iq4*\" size 64K seconds 0.01"), &b.e);
    const struct table *t = table_named(&b.r, "encoders");
    assert_int_equal(t->n_rows, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_rate(t, i, "rate");
        assert_rate(t, i, "rate_weighted");
        assert_true(cell_at(t, i, "relerr")->f > 0.001 && cell_at(t, i, "relerr")->f < 0.1);
        assert_true(cell_at(t, i, "relerr_weighted")->f < cell_at(t, i, "relerr")->f);
    }
    assert_fails(type(&b, "bench encode iq2_xs"), ST_UNSUPPORTED, &b.e);
    assert_non_null(strstr(b.e.msg, "decoding only"));
    assert_fails(type(&b, "bench encode IQ2_XS"), ST_UNSUPPORTED, &b.e);
    assert_non_null(strstr(b.e.msg, "decoding only"));
    assert_fails(type(&b, "bench encode q9"), ST_NOTFOUND, &b.e);
    assert_ok(type(&b, "bench encode Q4_K \"IQ4*\" size 64K seconds 0.01"), &b.e);
    assert_int_equal(table_named(&b.r, "encoders")->n_rows, 3);
    b.stop_at = 3;
    assert_int_equal(type(&b, "bench encode size 64K seconds 0.01"), ST_CANCELLED);
    assert_true(table_named(&b.r, "encoders")->n_rows <= 2);
    end(&b);
}

UNIT_MAIN(CASE(encoders_have_rates_and_errors),
          CASE(samples_are_summed_up), CASE(memory_is_read_whole), CASE(machine_has_limits),
          CASE(kernels_have_rates), CASE(formats_in_capitals),
          CASE(every_format_has_kernels), CASE(the_level_in_use_stays),
          CASE(interrupted_kernels_are_kept), CASE(mistakes_are_refused), CASE(models_have_rates),
          CASE(interrupted_models_are_kept), CASE(the_cost_of_catches_is_a_ratio),
          CASE(nothing_is_filled_after_an_interrupt)) /* last: it moves the peak of memory */
