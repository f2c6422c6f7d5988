/* SPDX-License-Identifier: MIT */
/* Expressions over figures, and verdicts that wait for the interval. */
#include "tests/harness/unit.h"

#include <math.h>
#include <string.h>

#include "study/anytime.h"
#include "study/figures.h"

enum { SEGMENTS = 24, SCORED = 10 };

static struct comparison parsed(const char *text)
{
    struct err e = ERR_INIT;
    struct comparison c;
    assert_ok(comparison_parse(str_from(text), &c, &e), &e);
    return c;
}

static struct compared judged(const char *text, const struct measurement *m, double floor)
{
    const struct figures fixed = { NAN, NAN, NAN, NAN, NAN, 2, 0 };
    const struct comparison c = parsed(text);
    struct compared out;
    comparison_of(&c, m, &fixed, floor, &out);
    return out;
}

static void expressions_are_arithmetic(void **unused)
{
    (void)unused;
    struct compared x = judged("2 * (3 + -1) / 4 - 1e-1 < exp(0) + log(1)", NULL, NAN);
    assert_true(fabs(x.left - 0.9) < 1e-15 && x.right == 1 && x.verdict == VERDICT_HOLDS);
    assert_int_equal(judged("lint_errors>1", NULL, NAN).verdict, VERDICT_HOLDS);
    assert_int_equal(judged("lint_errors <= 1", NULL, NAN).verdict, VERDICT_FAILS);
    assert_int_equal(judged("lint_warnings <= 0", NULL, NAN).verdict, VERDICT_HOLDS);
    assert_int_equal(judged("lint_warnings < 0", NULL, NAN).verdict, VERDICT_FAILS);
    assert_true(parsed("kl<1").measures && !parsed("kl<1").lints);
    assert_true(parsed("lint_errors<1").lints && !parsed("lint_errors<1").measures);
    static const struct {
        const char *text;
        enum st st;
        int column;
    } bad[] = { { "kl", ST_SYNTAX, 0 },         { "kl < ", ST_SYNTAX, 5 },
                { "kx < 1", ST_NOTFOUND, 0 },   { "kl < (1", ST_SYNTAX, 7 },
                { "kl < 1 < 2", ST_SYNTAX, 7 }, { "kl 2 < 1", ST_SYNTAX, 3 },
                { "1 < exp 2", ST_SYNTAX, 8 },  { "kl < 1e", ST_SYNTAX, 5 } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = ERR_INIT;
        struct comparison c;
        assert_fails(comparison_parse(str_from(bad[i].text), &c, &e), bad[i].st, &e);
        if (e.column != bad[i].column)
            fail_msg("%s: column %d, expected %d", bad[i].text, e.column, bad[i].column);
    }
    char deep[300];
    memset(deep, '(', 200);
    memcpy(deep + 200, "1<2", 4);
    struct err e = ERR_INIT;
    struct comparison c;
    assert_fails(comparison_parse(str_from(deep), &c, &e), ST_SYNTAX, &e);
}

static struct measurement measured(struct segment_sums *sums)
{
    uint64_t state = 9;
    for (int i = 0; i < SEGMENTS; i++) {
        const double u = (double)(unit_random(&state) >> 11) * 0x1p-53;
        sums[i] = (struct segment_sums){ .kl = SCORED * (0.01 + 0.002 * u),
                                         .top1 = 9,
                                         .nll = SCORED * (2 + u),
                                         .ref_nll = SCORED * (1.9 + u),
                                         .log_ratio = SCORED * 0.1 };
    }
    return (struct measurement){
        .segments = SEGMENTS, .segments_of = SEGMENTS, .scored = SCORED, .sums = sums
    };
}

static void a_verdict_needs_the_whole_interval(void **unused)
{
    (void)unused;
    struct segment_sums sums[SEGMENTS];
    struct measurement m = measured(sums);
    const struct clustered_mean kl = measurement_mean(&m, offsetof(struct segment_sums, kl));
    struct compared x = judged("kl < 0.012", &m, NAN);
    assert_int_equal(x.verdict, VERDICT_HOLDS);
    assert_true(fabs(x.left - kl.value) < 1e-12); /* a mean has the interval that `kl` shows */
    assert_true(fabs(x.low - kl.low) < 1e-9 && fabs(x.high - kl.high) < 1e-9);
    assert_int_equal(judged("kl < 0.0101", &m, NAN).verdict, VERDICT_FAILS);
    assert_int_equal(judged("kl > 0.0101", &m, NAN).verdict, VERDICT_HOLDS);
    char text[64];
    snprintf(text, sizeof text, "kl < %.17g", (kl.value + kl.high) / 2);
    assert_int_equal(judged(text, &m, NAN).verdict, VERDICT_UNDECIDED);
    snprintf(text, sizeof text, "%.17g >= kl", (kl.value + kl.low) / 2);
    assert_int_equal(judged(text, &m, NAN).verdict, VERDICT_UNDECIDED);
    assert_int_equal(judged("top1 > 0.85", &m, NAN).verdict, VERDICT_HOLDS);
    x = judged("ppl / ref_ppl < 1.2", &m, NAN); /* e^0.1 in every segment */
    assert_true(fabs(x.left - exp(0.1)) < 1e-12 && x.high - x.low < 1e-9);
    assert_int_equal(x.verdict, VERDICT_HOLDS);
    assert_int_equal(judged("logratio >= 0.2", &m, NAN).verdict, VERDICT_FAILS);
    m.segments = 19;
    assert_int_equal(judged("kl < 5", &m, NAN).verdict, VERDICT_UNDECIDED);
    assert_int_equal(judged("kl < 5", NULL, NAN).verdict, VERDICT_UNDECIDED);
}

/* All tokens agree, or none does: the interval holds the value, and leaves room for what so many
 * tokens cannot tell. */
static void shares_at_an_end_have_intervals(void **unused)
{
    (void)unused;
    struct segment_sums sums[SEGMENTS];
    struct measurement m = measured(sums);
    const int64_t n = SEGMENTS * SCORED;
    for (int hits = 0; hits <= SCORED; hits += SCORED) {
        for (int i = 0; i < SEGMENTS; i++)
            sums[i].top1 = hits;
        const struct compared x = judged("top1 > 0.9", &m, NAN);
        const struct share want = share_of(hits ? n : 0, n);
        assert_int_equal(x.verdict, hits ? VERDICT_HOLDS : VERDICT_FAILS);
        assert_true(x.left == want.value && x.low <= x.left && x.left <= x.high);
        assert_true(fabs(x.low - want.low) < 1e-12 && fabs(x.high - want.high) < 1e-12);
        const struct clustered_mean top1 = measurement_top1(&m);
        assert_true(fabs(top1.low - want.low) < 1e-12 && fabs(top1.high - want.high) < 1e-12);
        assert_int_equal(judged("top1 > 0.999", &m, NAN).verdict,
                         hits ? VERDICT_UNDECIDED : VERDICT_FAILS);
    }
    const struct compared x = judged("logratio < 0.3", &m, NAN); /* the same in every segment */
    assert_true(x.low == x.left && x.high == x.left);
    assert_true(anytime_none_of(n) > share_of(0, n).high && anytime_none_of(n) < 0.05);
}

static void broken_logits_fail(void **unused)
{
    (void)unused;
    struct segment_sums sums[SEGMENTS];
    struct measurement m = measured(sums);
    sums[3].kl = NAN;
    broken_count(&m.broken, 0, NAN, 3, 20);
    assert_int_equal(judged("kl < 5", &m, NAN).verdict, VERDICT_UNDECIDED); /* the reference's */
    broken_count(&m.broken, 1, NAN, 3, 20);
    broken_count(&m.broken, 1, INFINITY, 4, 17);
    assert_int_equal(judged("kl < 5", &m, NAN).verdict, VERDICT_FAILS);
    assert_int_equal(judged("top1 > 0.1", &m, 0.5).verdict, VERDICT_FAILS);
    assert_int_equal(judged("lint_errors > 1", &m, NAN).verdict, VERDICT_HOLDS);
    assert_true(m.broken.tokens[1] == 2 && m.broken.segment[1] == 3 && m.broken.at[1] == 20);
}

static void below_the_floor_nothing_is_known(void **unused)
{
    (void)unused;
    struct segment_sums sums[SEGMENTS];
    struct measurement m = measured(sums);
    assert_int_equal(judged("kl < 0.02", &m, 0.015).verdict, VERDICT_HOLDS);
    assert_int_equal(judged("kl < 0.012", &m, 0.015).verdict, VERDICT_UNDECIDED);
    assert_int_equal(judged("kl < 0.012", &m, 0.005).verdict, VERDICT_HOLDS);
    struct compared x = judged("kl > 0.005", &m, 0.015); /* it may be 0 */
    assert_true(x.verdict == VERDICT_UNDECIDED && x.below_floor);
    assert_true(x.low == 0 && x.high == 0.015);
    x = judged("1 - kl > 0.5", &m, 0.015);
    assert_true(x.verdict == VERDICT_HOLDS && x.below_floor && x.high == 1);
    x = judged("top1 > 0.5", &m, 0.015);
    assert_true(x.verdict == VERDICT_HOLDS && !x.below_floor);
    assert_true(!judged("kl < 0.012", &m, NAN).below_floor);
}

UNIT_MAIN(CASE(expressions_are_arithmetic), CASE(a_verdict_needs_the_whole_interval),
          CASE(broken_logits_fail), CASE(shares_at_an_end_have_intervals),
          CASE(below_the_floor_nothing_is_known))
