/* SPDX-License-Identifier: MIT */
/* Questions with known answers: lines read or refused, and flips tested as coin throws. */
#include "tests/harness/unit.h"

#include <math.h>
#include <string.h>

#include "file/questions.h"
#include "study/answers.h"

static void reads_lines(void **state)
{
    (void)state;
    static const char text[] =
        "{\"prompt\": \"The sky is\", \"choices\": [\" blue\", \" green\"], \"answer\": 0}\n\n"
        "{\"answer\": \" \\u00e9t\\u00e9\", \"id\": [1, {\"x\": null}], \"prompt\": \"\"}\r\n"
        "  {\"prompt\": \"p\", \"answer\": \"b\", \"choices\": [\"a\", \"b\"]}";
    struct questions q;
    struct err e = ERR_INIT;
    assert_ok(questions_parse(str_from(text), "q", &q, &e), &e);
    assert_int_equal(q.n, 3);
    assert_string_equal(q.list[0].prompt, "The sky is");
    assert_string_equal(q.list[0].choices[1], " green");
    assert_int_equal(q.list[0].answer, 0);
    assert_false(q.list[0].exact);
    assert_true(q.list[1].exact);
    assert_string_equal(q.list[1].choices[0], " \xc3\xa9t\xc3\xa9");
    assert_int_equal(q.list[1].line, 3);
    assert_int_equal(q.list[2].answer, 1);
    questions_free(&q);
}

static void refuses_what_is_no_question(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        { "", "no question" },
        { "\n \n", "no question" },
        { "{\"prompt\": \"p\"}", "no \"answer\"" },
        { "{\"answer\": \"a\"}", "no \"prompt\"" },
        { "{\"prompt\": \"p\", \"answer\": 1}", "the answer is a text" },
        { "{\"prompt\": \"p\", \"answer\": \"\"}", "the answer is a text" },
        { "{\"prompt\": \"p\", \"choices\": [\"a\"], \"answer\": 0}", "single" },
        { "{\"prompt\": \"p\", \"choices\": [\"a\", \"b\"], \"answer\": 2}", "none of" },
        { "{\"prompt\": \"p\", \"choices\": [\"a\", \"b\"], \"answer\": \"c\"}", "none of" },
        { "{\"prompt\": \"p\", \"choices\": [\"a\", 3], \"answer\": 0}", "byte" },
        { "{\"prompt\": \"p\\u0000\", \"answer\": \"a\"}", "zero byte" },
        { "{\"prompt\": \"p\", \"answer\": \"a\"} x", "byte" },
        { "{\"prompt\": \"p\", \"answer\": \"a\"", "byte" },
        { "[1]", "no questions" },
        { "\xef\xbb\xbf{}", "no questions" }, /* who reads the file takes the mark away */
        { "\xef\xbb{}", "no questions" },
        { "{\"prompt\": \"p\", \"id\": 1, \"prompt\": \"q\"}", "\"prompt\" is there twice" },
        { "{\"choices\": [], \"choices\": []}", "\"choices\" is there twice" },
        { "{\"answer\": \"a\", \"answer\": 0}", "\"answer\" is there twice" },
        { "\n  prompt,answer\n1,2\n", "no questions" },
        { "{\"prompt\": \"p\", \"answer\": \"a\"}\nnonsense", "line 2" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct questions q;
        struct err e = ERR_INIT;
        assert_fails(questions_parse(str_from(bad[i].text), "q", &q, &e), ST_FORMAT, &e);
        if (!strstr(e.msg, bad[i].says))
            fail_msg("%s: %s", bad[i].text, e.msg);
    }
}

/* 2 sum C(n, k) / 2^n by hand: 1 of 6: 2 (1 + 6) / 64; 3 of 12: 2 (1 + 12 + 66 + 220) / 4096. */
static void flips_are_coin_throws(void **state)
{
    (void)state;
    assert_true(mcnemar_p(0, 0) == 1 && mcnemar_p(4, 4) == 1);
    assert_true(fabs(mcnemar_p(1, 5) - 14.0 / 64) < 1e-12);
    assert_true(fabs(mcnemar_p(9, 3) - 598.0 / 4096) < 1e-12);
    assert_true(fabs(mcnemar_p(0, 10) - 2.0 / 1024) < 1e-12);
    assert_true(mcnemar_p(0, 100000) < 1e-300 && mcnemar_p(50000, 50100) > 0.7);
}

UNIT_MAIN(CASE(reads_lines), CASE(refuses_what_is_no_question), CASE(flips_are_coin_throws))
