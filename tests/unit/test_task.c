/* SPDX-License-Identifier: MIT */
/* The task `add`: its sums, its intervals, and the demo model's answers as other programs compute
 * them. */
#include "tests/harness/unit.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "study/task_add.h"
#include "tests/harness/commands.h"
#include "tests/harness/models.h"

/* --- intervals ---------------------------------------------------------------------------------
 */

static void shares_have_intervals(void **state)
{
    (void)state;
    struct share s = share_of(8, 10);
    assert_true(s.value == 0.8);
    assert_within(s.low, 0.490162, 1e-6);
    assert_within(s.high, 0.943318, 1e-6);
    s = share_of(0, 10);
    assert_true(s.low == 0);
    assert_within(s.high, 0.277533, 1e-6);
    s = share_of(500, 500);
    assert_true(s.high == 1);
    assert_within(s.low, 0.992376, 1e-6);
    assert_true(isnan(share_of(0, 0).value) && isnan(share_of(0, 0).low));
}

static void clusters_have_intervals(void **state)
{
    (void)state;
    double sum[24];
    int64_t n[24];
    for (int i = 0; i < 24; i++) {
        n[i] = 1;
        sum[i] = i % 2 ? 1 : 3;
    }
    struct clustered_mean m = clustered_mean_of(sum, n, 24), twice;
    assert_true(m.value == 2 && m.n == 24);
    const double normal = 2 * 1.959963985 * sqrt(24.0 / 23 / 24);
    assert_true(m.high - m.low > 0.95 * normal && m.high - m.low < 1.2 * normal);
    for (int i = 0; i < 24; i++) { /* every value twice in its cluster says nothing new */
        n[i] = 2;
        sum[i] *= 2;
    }
    twice = clustered_mean_of(sum, n, 24);
    assert_within(twice.low, m.low, 1e-12);
    assert_within(twice.value, m.value, 1e-12);
    assert_true(isnan(clustered_mean_of(sum, n, 19).low)
                && clustered_mean_of(sum, n, 19).value > 0);
    assert_true(isnan(clustered_mean_of(sum, n, 0).value));
}

/* --- sums --------------------------------------------------------------------------------------
 */

static int carry(int64_t a, int64_t b) { return add_carry_length((struct add_sum){ a, b }, 5); }

static void carries_have_a_length(void **state)
{
    (void)state;
    assert_int_equal(carry(11111, 22222), 0);
    assert_int_equal(carry(12345, 54654), 0); /* nines pass on only what comes */
    assert_int_equal(carry(5, 5), 1);
    assert_int_equal(carry(95, 5), 2);
    assert_int_equal(carry(99999, 1), 5);
    assert_int_equal(carry(55555, 55555), 1); /* each place begins its own */
    assert_int_equal(carry(10945, 10155), 2);
    assert_int_equal(carry(49955, 50045), 5);
    assert_true(add_held_out((struct add_sum){ 0, 0 }));
    int held = 0;
    for (int64_t i = 0; i < 16000; i++)
        held += add_held_out((struct add_sum){ 10000 + i, 99999 - 3 * i });
    assert_in_range(held, 900, 1100); /* one in 16 */
}

static void sums_are_held_out_and_balanced(void **state)
{
    (void)state;
    const struct add_task t = { .digits = 5, .held_out = true };
    struct add_sum *s, *again, *other;
    struct err e = ERR_INIT;
    assert_ok(add_draw(&t, 1, 600, NULL, &s, &e), &e);
    assert_ok(add_draw(&t, 1, 60, NULL, &again, &e), &e);
    assert_ok(add_draw(&t, 2, 60, NULL, &other, &e), &e);
    assert_memory_equal(s, again, 60 * sizeof *s);
    assert_memory_not_equal(s, other, 60 * sizeof *s);
    for (int i = 0; i < 600; i++) {
        assert_in_range(s[i].a, 10000, 99999);
        assert_in_range(s[i].b, 10000, 99999);
        assert_true(add_held_out(s[i]));
        assert_int_equal(add_carry_length(s[i], 5), i % 6);
    }
    mem_free(s);
    mem_free(again);
    mem_free(other);
}

/* Within a carry length every pair is as likely as every other: means of a and of a * b agree with
 * counting. */
static void sums_are_uniform(void **state)
{
    (void)state;
    enum { N = 60000 };
    const struct add_task t = { .digits = 2 };
    double want[3][3] = { { 0 } }, got[3][3] = { { 0 } }, square[3] = { 0 };
    for (int64_t a = 10; a < 100; a++)
        for (int64_t b = 10; b < 100; b++) {
            double *w = want[add_carry_length((struct add_sum){ a, b }, 2)];
            w[0]++;
            w[1] += (double)a;
            w[2] += (double)(a * b);
        }
    struct add_sum *s;
    struct err e = ERR_INIT;
    assert_ok(add_draw(&t, 5, N, NULL, &s, &e), &e);
    for (int i = 0; i < N; i++) {
        double *g = got[i % 3];
        g[0]++;
        g[1] += (double)s[i].a;
        g[2] += (double)(s[i].a * s[i].b);
        square[i % 3] += (double)(s[i].a * s[i].a);
    }
    for (int c = 0; c < 3; c++) {
        const double mean = got[c][1] / got[c][0], sd = sqrt(square[c] / got[c][0] - mean * mean);
        assert_within(mean, want[c][1] / want[c][0], 4 * sd / sqrt(got[c][0]));
        assert_within(got[c][2] / got[c][0] / (want[c][2] / want[c][0]), 1, 0.02);
    }
    mem_free(s);
}

/* --- the demo model ----------------------------------------------------------------------------
 */

static const char *demo(void)
{
    struct stat info;
    const char *path = top_path("models/demo/add.gguf");
    if (stat(path, &info))
        SKIP_CASE("models/demo/add.gguf is not here yet");
    return path;
}

/* One sum by itself: the whole line through a run of its own, log-probabilities in plain double. */
static void check_alone(const struct model *m, struct add_sum sum, const struct add_score *s)
{
    char line[64];
    int n_prompt = snprintf(line, sizeof line, "%" PRId64 "+%" PRId64 "=", sum.a, sum.b),
        n = n_prompt;
    for (int64_t v = sum.a + sum.b; v; v /= 10)
        line[n++] = (char)('0' + v % 10);
    line[n++] = '\n';
    int32_t *ids = NULL;
    size_t count = 0, cap = 0;
    struct err e = ERR_INIT;
    assert_ok(tokenizer_encode(m->tokenizer, str_of(line, (size_t)n), 0, &ids, &count, &cap, &e),
              &e);
    assert_int_equal(count, n + 1); /* BOS */
    struct run *r = models_run(m, NULL, ids, (int64_t)count);
    models_finish(r);
    struct tensor x = models_read(r, 0, "output.out");
    assert_int_equal(s->digits, n - n_prompt - 1);
    for (int at = 0; at <= s->digits; at++) {
        const float *row = x.data + (n_prompt + at) * m->graph->vocab;
        const int32_t want = ids[n_prompt + 1 + at];
        double total = 0;
        int32_t best = 0;
        for (int32_t v = 0; v < m->graph->vocab; v++) {
            total += exp((double)row[v] - (double)row[want]);
            best = row[v] > row[best] ? v : best;
        }
        assert_within(s->logp[at], -log(total), 1e-9);
        assert_int_equal(s->right[at], best == want);
    }
    run_free(r);
    free(ids);
}

static void batches_change_nothing(void **state)
{
    (void)state;
    enum { N = 70 };
    struct model *m = models_open(demo());
    struct add_task t;
    struct add_sum *sums;
    struct add_score *s = x_alloc(N * sizeof *s);
    struct err e = ERR_INIT;
    int64_t done;
    const struct run_options o = { .span = 16 };
    assert_ok(add_task_of(m, &t, &e), &e);
    assert_ok(add_draw(&t, 3, N, NULL, &sums, &e), &e);
    sums[1] = (struct add_sum){ 0, 7 }; /* shorter ones in between */
    sums[40] = (struct add_sum){ 12, 98765 };
    assert_ok(add_score(&t, &o, sums, N, NULL, s, &done, &e), &e);
    assert_int_equal(done, N);
    for (int i = 0; i < N; i += i == 0 || i == 39 ? 1 : 13)
        check_alone(m, sums[i], &s[i]);
    volatile sig_atomic_t stop = 1;
    struct progress p = { .cancel = &stop };
    assert_fails(add_score(&t, &o, sums, N, &p, s, &done, &e), ST_CANCELLED, &e);
    assert_int_equal(done, 0);
    mem_free(sums);
    assert_fails(add_draw(&t, 3, N, &p, &sums, &e), ST_CANCELLED, &e);
    free(s);
    model_free(m);
}

/* Lines "a b answer greedy-answer carry logp-of-digits logp-of-newline" of an independent
 * evaluator. */
static void agrees_with_the_training_script(void **state)
{
    (void)state;
    struct stat info;
    struct model *m = models_open(demo());
    struct add_task t;
    struct err e = ERR_INIT;
    if (stat(golden_path("add_sums.txt"), &info)) {
        model_free(m);
        SKIP_CASE("tests/golden/add_sums.txt is not here yet");
    }
    assert_ok(add_task_of(m, &t, &e), &e);
    char *text = unit_read(golden_path("add_sums.txt"), NULL), *save;
    int checked = 0;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char answer[32], greedy[32];
        int length;
        double digits = 0, want_digits, want_end;
        struct add_sum sum;
        struct add_score s;
        int64_t done;
        const struct run_options o = { 0 };
        if (*line == '#')
            continue;
        assert_int_equal(sscanf(line, "%" SCNd64 " %" SCNd64 " %31s %31s %d %lf %lf", &sum.a,
                                &sum.b, answer, greedy, &length, &want_digits, &want_end),
                         7);
        assert_int_equal(add_carry_length(sum, t.digits), length);
        assert_true(add_held_out(sum));
        assert_ok(add_score(&t, &o, &sum, 1, NULL, &s, &done, &e), &e);
        assert_int_equal(s.digits, strlen(answer));
        for (int i = 0; i < s.digits; i++)
            digits += s.logp[i];
        assert_within(digits, want_digits, 1e-4 + 1e-4 * fabs(want_digits));
        assert_within(s.logp[s.digits], want_end, 1e-4 + 1e-4 * fabs(want_end));
        assert_int_equal(s.wrong < 0, !strcmp(answer, greedy));
        checked++;
    }
    assert_true(checked >= 100);
    free(text);
    model_free(m);
}

static void the_demo_model_adds(void **state)
{
    (void)state;
    const char *path = demo();
    struct session *s = session_new();
    struct session_model *m;
    struct err e = ERR_INIT;
    assert_ok(session_open(s, path, NULL, &m, &e), &e);
    struct result out = answer(s, "task add 240 seed 4");
    const struct table *task = out.tables[0], *carries = out.tables[2];
    assert_int_equal(number_at(task, 0, "sums"), 240);
    assert_true(number_at(task, 0, "exact") >= 0.98);
    assert_true(number_at(task, 0, "digit_logp") < 0 && number_at(task, 0, "digit_logp") > -0.05);
    assert_true(number_at(task, 0, "logp_low") < number_at(task, 0, "digit_logp"));
    assert_int_equal(carries->n_rows, 6);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(number_at(carries, i, "of"), 40);
    result_free(&out);
    refused(s, ST_SYNTAX, ANYWHERE, "", "task");
    refused(s, ST_IO, 5, "a task is add", "task sort");
    refused(s, ST_IO, 5, "a task is add", "task \"add\"");
    refused(s, ST_SYNTAX, ANYWHERE, "", "task add many");
    refused(s, ST_RANGE, ANYWHERE, "", "task add 0");
    refused(s, ST_SYNTAX, ANYWHERE, "", "task add seed");
    refused(s, ST_RANGE, ANYWHERE, "0..9007199254740992", "task add 10 seed -1");
    session_free(s);
}

/* As an evaluation set the sums are scored as they are as a task, up to digits + 1 tokens. */
static void sums_are_segments(void **state)
{
    (void)state;
    enum { N = 24 };
    struct model *m = models_open(demo());
    struct add_task t;
    struct add_sum *sums;
    struct add_score s[N];
    struct evaluation_set set;
    struct divergence d;
    struct err e = ERR_INIT;
    const struct run_options o = { .mode = COMPUTE_EXACT };
    int64_t done;
    double nll = 0;
    assert_ok(add_task_of(m, &t, &e), &e);
    assert_ok(add_draw(&t, 5, N, NULL, &sums, &e), &e);
    assert_ok(add_segments(&t, sums, N, &set, &e), &e);
    assert_int_equal(set.segments, N);
    assert_int_equal(set.tokens - 1 - set.first, t.digits + 1);
    assert_ok(add_score(&t, &o, sums, N, NULL, s, &done, &e), &e);
    for (int i = 0; i < N; i++)
        for (int k = 0; k <= t.digits; k++)
            nll -= s[i].logp[k] / (N * (t.digits + 1));
    const struct evaluation_part all = { .from = 0, .step = 1 };
    assert_ok(divergence_of(m, &o, m, &o, &set, all, NULL, &d, &e), &e);
    assert_within(d.nll, nll, 1e-9);
    evaluation_free(&set);
    sums[3] = (struct add_sum){ 0, 7 };
    assert_fails(add_segments(&t, sums, N, &set, &e), ST_UNSUPPORTED, &e);
    mem_free(sums);
    model_free(m);
}

/* A model that was made for something else says so. */
static void refuses_other_models(void **state)
{
    (void)state;
    struct model *m = models_open(golden_path("models/llama-gqa-tied.gguf"));
    struct add_task t;
    struct err e = ERR_INIT;
    assert_fails(add_task_of(m, &t, &e), ST_UNSUPPORTED, &e);
    assert_non_null(strstr(e.hint, "--demo=add"));
    model_free(m);
}

UNIT_MAIN(CASE(shares_have_intervals), CASE(clusters_have_intervals), CASE(carries_have_a_length),
          CASE(sums_are_held_out_and_balanced), CASE(sums_are_uniform),
          CASE(batches_change_nothing), CASE(agrees_with_the_training_script),
          CASE(the_demo_model_adds), CASE(sums_are_segments),
          CASE(refuses_other_models))
