/* SPDX-License-Identifier: MIT */
/* Conditions: what they accept, and that they hold exactly where they should. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "session/condition.h"

enum { TOKENS = 4, CHANNELS = 8, N = TOKENS * CHANNELS };

/* 0, 1, 2, ... with the sign of the channel's parity. */
static void fill(float x[N])
{
    for (int i = 0; i < N; i++)
        x[i] = (float)(i % 2 ? -i : i);
}

static struct region region(const float *x)
{
    return (struct region){ .shape = shape2(dim(AXIS_TOK, TOKENS), dim(AXIS_CHAN, CHANNELS)),
                            .data = x };
}

static bool holds_with(const char *text, const struct condition_input *in,
                       struct condition_hit *hit)
{
    struct condition *c;
    struct err e = ERR_INIT;
    if (condition_parse(str_from(text), &c, &e))
        fail_msg("%s: %s", text, e.msg);
    const bool out = condition_holds(c, in, hit);
    condition_free(c);
    return out;
}

static bool holds(const char *text, const float *x)
{
    const struct region r = region(x);
    const struct condition_input in = { .x = &r };
    return holds_with(text, &in, NULL);
}

static void tests_and_comparisons(void **unused)
{
    (void)unused;
    float x[N];
    fill(x);
    static const struct {
        const char *text;
        bool expected;
    } cases[] = {
        { "absmax > 30", true },
        { "absmax > 31", false },
        { "absmax >= 31", true },
        { "max == 30 and min == -31", true },
        { "max == 30 and min == -30", false },
        { "max == 3 or min == -31", true },
        { "max == 3 || min == 3", false },
        { "not max == 3 && finite", true },
        { "not (max == 30 or nan)", false },
        { "!nan", true },
        { "nan", false },
        { "nan == 0", true },
        { "nan(x) > 0", false },
        { "zero = 1", true },
        { "any(x > 29)", true },
        { "any(x > 30)", false },
        { "any x > 29", true },
        { "any |x| > 30.5", true },
        { "any |x|>1.5 sigma", true },
        { "any |x|>2 sigma", false },
        { "all(abs(x) < 32)", true },
        { "all(abs(x) < 31)", false },
        { "count(x > 20) == 5", true },
        { "count(x > 20) > 5", false },
        { "frac(x < 0) == 0.5", true },
        { "frac(x < 0 and x > -2) > 0.03", true },
        { "frac(x < 0 and x > -2) > 0.04", false },
        { "count(x*x - 2*x == 0) == 2", true }, /* 0 and 2 */
        { "count(-x >= 1 or not (x < 1)) == 31", true },
        { "count((abs(x) + 1) / 2 <= 1) == 2", true },
        { "any(sqrt(abs(x)) == 3 and log(exp(x)) < 0)", true },
        { "any(x == absmax - 1)", true },
        { "dead", false },
        { "sat", false },
        { "sat(0.5)", false },
        { "median > -2 and median < 2", true },
        { "outlier(1.4)", true }, /* rms of 8..31 is 20.7 */
        { "outlier(3)", false },
        { "sink", false }, /* no axis of keys */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (holds(cases[i].text, x) != cases[i].expected)
            fail_msg("%s should be %s", cases[i].text, cases[i].expected ? "true" : "false");
}

static void hits_name_the_element(void **unused)
{
    (void)unused;
    float x[N];
    fill(x);
    const struct region r = region(x);
    const struct condition_input in = { .x = &r };
    struct condition_hit hit;
    struct buf place = { 0 };
    assert_true(holds_with("any(x < -20)", &in, &hit));
    assert_int_equal(hit.at, 21);
    assert_true(hit.value == -21);
    region_place(&r, hit.at, &place);
    assert_string_equal(buf_str(&place), "tok=2, chan=5");
    buf_free(&place);
    assert_true(holds_with("not nan and absmax > 3", &in, &hit));
    assert_string_equal(hit.what, "absmax");
    assert_int_equal(hit.at, 31);
    assert_true(holds_with("min < -30", &in, &hit));
    assert_int_equal(hit.at, 31);
    x[9] = INFINITY;
    assert_true(holds_with("nan or inf", &in, &hit));
    assert_string_equal(hit.what, "inf");
    assert_int_equal(hit.at, 9);
    x[11] = NAN;
    assert_true(holds_with("nan or inf", &in, &hit));
    assert_string_equal(hit.what, "nan");
    assert_int_equal(hit.at, 11);
    assert_false(holds("finite", x));
}

static void the_first_token_and_dead_channels_are_apart(void **unused)
{
    (void)unused;
    float x[N];
    for (int i = 0; i < N; i++)
        x[i] = i % CHANNELS < 2 ? 1.0f : 0.0f;
    x[3] = 1000; /* a massive first token is nobody's outlier, and makes nobody smaller */
    assert_false(holds("outlier(2)", x));
    x[2 * CHANNELS] = 4;
    /* live channels 0 and 1 of tokens 1..3: rms = sqrt((5 + 16) / 6) = 1.87 */
    assert_true(holds("outlier(2.1)", x));
    assert_false(holds("outlier(2.2)", x));
    struct region r = region(x);
    const struct condition_input in = { .x = &r };
    r.first_token = 5; /* not the first token of the run: the massive one counts */
    struct condition_hit hit;
    assert_true(holds_with("outlier(2.2)", &in, &hit));
    assert_int_equal(hit.at, 3);
}

static void saturation_is_a_plateau(void **unused)
{
    (void)unused;
    float x[N];
    for (int i = 0; i < N; i++)
        x[i] = (float)(i % 4 == 0 ? (i % 8 ? 7 : -7) : i % 5);
    assert_true(holds("sat(0.2)", x));
    assert_false(holds("sat(0.25)", x));
    x[1] = INFINITY; /* finite values are looked at beside others too */
    assert_true(holds("sat(0.2)", x));
    memset(x, 0, sizeof x);
    assert_false(holds("sat", x));
    assert_true(holds("dead", x));
}

static void references_and_earlier_tokens(void **unused)
{
    (void)unused;
    float x[N], ref[N], prev[N];
    fill(x);
    for (int i = 0; i < N; i++) {
        ref[i] = x[i] * 1.1f;
        prev[i] = i < CHANNELS ? NAN : x[i - CHANNELS];
    }
    const struct region r = region(x);
    const struct condition_input in = { .x = &r, .ref = ref, .prev = prev };
    assert_true(holds_with("relerr > 0.09 and relerr < 0.0910", &in, NULL));
    assert_true(holds_with("relerr(ref, x) < 0.0910", &in, NULL));
    assert_true(holds_with("diverge(0.09)", &in, NULL));
    assert_false(holds_with("diverge(0.1)", &in, NULL));
    assert_true(holds_with("all(abs(ref) >= abs(x))", &in, NULL));
    assert_true(holds_with("count(abs(x - prev) == 8) == 24", &in, NULL)); /* NaN compares false */
    assert_false(holds("diverge(0)", x));                                  /* no reference */
    struct condition *c;
    assert_int_equal(condition_parse(STR("any(x > prev) or cos < 0.9"), &c, NULL), ST_OK);
    assert_true(condition_needs_ref(c) && condition_needs_prev(c));
    condition_free(c);
}

static void attention_rows_see_their_keys_only(void **unused)
{
    (void)unused;
    /* Two queries, tokens 1 and 2 of the run, over three keys. */
    const float p[] = { 0.5f, 0.5f, 0, 0.5f, 0.25f, 0.25f };
    const struct region r = { .shape = shape2(dim(AXIS_TOK, 2), dim(AXIS_KEY, 3)),
                              .data = p,
                              .first_token = 1 };
    const struct condition_input in = { .x = &r };
    assert_true(holds_with("sink(0.49) and not sink(0.5)", &in, NULL));
    /* ln 2 / ln 2 = 1 and 1.0397 / ln 3 = 0.9464 */
    assert_true(holds_with("entropy_norm > 0.973 and entropy_norm < 0.9735", &in, NULL));
}

static void only_a_near_name_is_suggested(void **unused)
{
    (void)unused;
    struct condition *c;
    struct err e = ERR_INIT;
    assert_fails(condition_parse(STR("foo"), &c, &e), ST_SYNTAX, &e);
    assert_null(strstr(e.hint, "did you mean"));
    assert_fails(condition_parse(STR("outleir(3)"), &c, &e), ST_SYNTAX, &e);
    assert_string_equal(e.hint, "did you mean `outlier`?"); /* a test, not only statistics */
}

static void mistakes_point_at_the_place(void **unused)
{
    (void)unused;
    static const struct {
        const char *text;
        int column;
    } cases[] = {
        { "", 0 },
        { "absmax", 0 },
        { "absmax >", 8 },
        { "absmax > 3 4", 11 },
        { "absmax > 3 and", 14 },
        { "foo > 3", 0 },
        { "any(x)", 3 },
        { "any(y > 3)", 4 },
        { "any(x > 3", 3 },
        { "any(x > 3)) ", 10 },
        { "count(x > 3)", 0 },
        { "outlier(", 8 },
        { "outlier(-1)", 7 },
        { "any |x > 3", 4 },
        { "absmax(ref) > 3", 6 },
        { "absmax > 1e", 10 },
        { "any(log x > 3)", 7 },
        { "ppl > 3", 0 },
        { "sat(2)", 3 },
        { "sink(1)", 4 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct condition *c = NULL;
        struct err e = ERR_INIT;
        if (!condition_parse(str_from(cases[i].text), &c, &e))
            fail_msg("`%s` should not parse", cases[i].text);
        assert_null(c);
        if (e.column != cases[i].column)
            fail_msg("`%s`: caret at %d, not %d (%s)", cases[i].text, e.column, cases[i].column,
                     e.msg);
    }
    char deep[400];
    memset(deep, '(', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    struct condition *c;
    assert_int_equal(condition_parse(str_from(deep), &c, NULL), ST_SYNTAX);
}

UNIT_MAIN(CASE(tests_and_comparisons), CASE(hits_name_the_element),
          CASE(the_first_token_and_dead_channels_are_apart), CASE(saturation_is_a_plateau),
          CASE(references_and_earlier_tokens), CASE(attention_rows_see_their_keys_only),
          CASE(only_a_near_name_is_suggested), CASE(mistakes_point_at_the_place))
