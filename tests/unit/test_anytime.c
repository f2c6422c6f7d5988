/* SPDX-License-Identifier: MIT */
/* Intervals: how often they hold the truth; those for who looks while a mean grows, and what the
 * ordinary ones do when they are looked at so. */
#include "tests/harness/unit.h"

#include <math.h>

#include "study/anytime.h"

static void the_order_has_each_once(void **state)
{
    (void)state;
    static const int64_t sizes[] = { 1, 2, 3, 16, 17, 100, 257 };
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        bool seen[257] = { false };
        int64_t fixed = 0;
        for (int64_t i = 0; i < sizes[k]; i++) {
            const int64_t at = anytime_at(i, sizes[k]);
            assert_true(at >= 0 && at < sizes[k] && !seen[at]);
            seen[at] = true;
            fixed += at == i;
        }
        assert_true(sizes[k] < 16 || fixed <= 4);
    }
    /* the first quarter comes from everywhere */
    double sum = 0;
    for (int64_t i = 0; i < 64; i++)
        sum += (double)anytime_at(i, 256) / 64;
    assert_true(fabs(sum - 127.5) < 25);
}

/* Tokens of a segment are alike: an interval that took each for an observation would be a third as
 * wide. The values are skewed, as KL is. */
static void intervals_hold_the_truth_95_times_in_100(void **unused)
{
    (void)unused;
    enum { TRIALS = 2000, CLUSTERS = 32, EACH = 63 };
    uint64_t state = 5;
    int mean = 0, ratio = 0;
    for (int k = 0; k < TRIALS; k++) {
        double sum[CLUSTERS], before[CLUSTERS];
        int64_t n[CLUSTERS];
        for (int i = 0; i < CLUSTERS; i++) {
            const double level = exp(0.5 * unit_normal(&state)); /* mean e^(1/8) */
            sum[i] = before[i] = 0;
            n[i] = EACH;
            for (int t = 0; t < EACH; t++) {
                const double x = exp(0.5 * unit_normal(&state));
                before[i] += level * x;
                sum[i] += 0.1 * level * exp(0.3 * unit_normal(&state));
            }
        }
        const struct clustered_mean m = clustered_mean_of(before, n, CLUSTERS);
        const struct clustered_mean r = clustered_ratio_of(sum, before, CLUSTERS);
        mean += m.low <= exp(0.25) && exp(0.25) <= m.high;
        const double truth = 0.1 * exp(0.045) / exp(0.125);
        ratio += r.low <= truth && truth <= r.high;
    }
    print_message("# 95 %% intervals hold the mean in %.1f %%, the ratio in %.1f %% of %d trials\n",
                  100.0 * mean / TRIALS, 100.0 * ratio / TRIALS, TRIALS);
    assert_true(mean > 0.93 * TRIALS && mean < 0.97 * TRIALS);
    assert_true(ratio > 0.93 * TRIALS && ratio < 0.97 * TRIALS);
}

enum { CLUSTERS = 160, TOKENS = 63 };

/* Sum of the tokens of a segment: the exponential of a sequence whose neighbours are alike, with a
 * correlation of 0.9. The mean of a token is e^(1/2). */
static double segment(uint64_t *state)
{
    double x = unit_normal(state), sum = 0;
    for (int t = 0; t < TOKENS; t++) {
        sum += exp(x);
        x = 0.9 * x + sqrt(1 - 0.81) * unit_normal(state);
    }
    return sum;
}

/* How often one look at least missed the truth, and the look at which one stops. */
struct missed {
    int any, stopped, early, one_look_any;
};

static void look_on(const double *sum, const int64_t *n, struct missed *m)
{
    const double truth = exp(0.5), z = 1.959963984540054;
    bool any = false, stopped = false, other = false;
    double total = 0, squares = 0;
    for (int t = 1; t <= CLUSTERS; t++) {
        total += sum[t - 1];
        squares += sum[t - 1] * sum[t - 1];
        const struct clustered_mean c = anytime_mean_of(sum, n, (size_t)t);
        assert_int_equal(isnan(c.low), t < ANYTIME_FIRST);
        const double mean = total / t, sd = sqrt((squares - t * mean * mean) / (t - 1));
        if (t < ANYTIME_FIRST)
            continue;
        const bool wrong = c.low > truth || c.high < truth;
        any |= wrong;
        other |= fabs(mean - TOKENS * truth) > z * sd / sqrt(t);
        if (!stopped && (c.high - c.low < 0.5 * c.value || t == CLUSTERS)) {
            stopped = true;
            m->stopped += wrong;
            m->early += t < CLUSTERS;
        }
    }
    m->any += any;
    m->one_look_any += other;
}

static void all_looks_together_hold_the_truth_95_times_in_100(void **state)
{
    (void)state;
    enum { TRIALS = 1000 };
    uint64_t random = 11;
    struct missed m = { 0 };
    double sum[CLUSTERS];
    int64_t n[CLUSTERS];
    for (int i = 0; i < CLUSTERS; i++)
        n[i] = TOKENS;
    for (int k = 0; k < TRIALS; k++) {
        for (int i = 0; i < CLUSTERS; i++)
            sum[i] = segment(&random);
        look_on(sum, n, &m);
    }
    print_message(
        "# of %d trials, %d stopped early; missed: %d at the stop, %d at any look; by the "
        "interval for one look %d\n",
        TRIALS, m.early, m.stopped, m.any, m.one_look_any);
    assert_true(m.early > TRIALS / 4 && m.early <= TRIALS);
    assert_true(m.any <= 50 && m.any >= 5); /* kept, and not by being useless */
    assert_true(m.stopped <= m.any);
    assert_true(m.one_look_any > 150); /* what it is for */
}

static void unequal_clusters_are_weighed(void **state)
{
    (void)state;
    double sum[ANYTIME_FIRST];
    int64_t n[ANYTIME_FIRST];
    for (int i = 0; i < ANYTIME_FIRST; i++) {
        n[i] = 1 + i % 5;
        sum[i] = 3.0 * (double)n[i];
    }
    const struct clustered_mean same = anytime_mean_of(sum, n, ANYTIME_FIRST);
    assert_true(same.value == 3 && same.low == 3 && same.high == 3);
    assert_int_equal(same.n, 93);
    sum[0] += 10; /* skewed to the right: the bound above is farther */
    const struct clustered_mean m = anytime_mean_of(sum, n, ANYTIME_FIRST);
    assert_true(m.high - m.value > 1.5 * (m.value - m.low) && m.low < m.value);
}

UNIT_MAIN(CASE(intervals_hold_the_truth_95_times_in_100), CASE(the_order_has_each_once),
          CASE(all_looks_together_hold_the_truth_95_times_in_100),
          CASE(unequal_clusters_are_weighed))
