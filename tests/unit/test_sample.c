/* SPDX-License-Identifier: MIT */
#include "tests/harness/unit.h"

#include <math.h>

#include "study/sample.h"

static const float logits[] = { 1.0f, 3.0f, 2.0f, 3.0f, -INFINITY, NAN };
enum { N = sizeof logits / sizeof *logits };

static void greedy_takes_the_lowest_of_equals(void **unused)
{
    (void)unused;
    struct sampler s = { .top_p = 1 };
    assert_int_equal(sample(&s, logits, N), 1);
    static const float none[] = { NAN, -INFINITY };
    assert_int_equal(sample(&s, none, 2), -1);
}

/* Shares of many draws against the probabilities themselves. */
static void draws_follow_the_law(void **unused)
{
    (void)unused;
    enum { DRAWS = 40000 };
    struct sampler s = { .temperature = 1, .top_p = 1, .state = 7 };
    int count[N] = { 0 };
    for (int i = 0; i < DRAWS; i++)
        count[sample(&s, logits, N)]++;
    double total = exp(1) + 2 * exp(3) + exp(2);
    for (int i = 0; i < N; i++) {
        double p = isfinite(logits[i]) ? exp(logits[i]) / total : 0;
        assert_true(fabs(count[i] / (double)DRAWS - p) < 5 * sqrt(p * (1 - p) / DRAWS) + 1e-12);
    }
}

static void cuts_leave_the_rest_out(void **unused)
{
    (void)unused;
    struct sampler k = { .temperature = 1, .top_k = 2, .top_p = 1, .state = 1 };
    struct sampler p = { .temperature = 1,
                         .top_p = 0.5,
                         .state = 1 }; /* one of the two at 3 has 0.43 */
    for (int i = 0; i < 200; i++) {
        int32_t a = sample(&k, logits, N), b = sample(&p, logits, N);
        assert_true(a == 1 || a == 3);
        assert_true(b == 1 || b == 3);
    }
    struct sampler cold = { .temperature = 1e-3, .top_k = 1, .top_p = 1 };
    assert_int_equal(sample(&cold, logits, N), 1);
}

static void seeds_repeat(void **unused)
{
    (void)unused;
    struct sampler a = { .temperature = 2, .top_p = 1, .state = 42 }, b = a, c = a;
    c.state = 43;
    int differ = 0;
    for (int i = 0; i < 100; i++) {
        int32_t x = sample(&a, logits, N);
        assert_int_equal(x, sample(&b, logits, N));
        differ += x != sample(&c, logits, N);
    }
    assert_true(differ > 10);
}

UNIT_MAIN(CASE(greedy_takes_the_lowest_of_equals),
          CASE(draws_follow_the_law),
          CASE(cuts_leave_the_rest_out),
          CASE(seeds_repeat))
