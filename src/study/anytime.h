/* SPDX-License-Identifier: MIT */
/* Means that are looked at while they grow, so that one may stop when they are good enough:
 * intervals that hold at every look at once, and the random order that they need. */
#ifndef QDB_STUDY_ANYTIME_H
#define QDB_STUDY_ANYTIME_H

#include "study/interval.h"

/* The i-th of 0 .. n - 1 in a random order, always the same one for n: neighbours in a text are
 * alike, and the first part of it is not a sample of the whole. */
int64_t anytime_at(int64_t i, int64_t n);

enum { ANYTIME_FIRST = 32 }; /* clusters at the first look; before it there is no interval */
/* As clustered_mean_of, of clusters in random order, looked at as often as one likes: with 95 %
 * probability every one of the intervals, from the first look to the last, holds the truth. It is
 * the asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (Annals of
 * Statistics 2024, theorem 2.2), narrowest at 64 clusters, for t clusters of standard deviation sd
 *     mean +- sd sqrt(2 (t r + 1) / (t^2 r) ln(sqrt(t r + 1) / 0.05)),
 *     r = (-2 ln 0.05 + ln(-2 ln 0.05) + 1) / 64,
 * whose bounds go through Hall's inverse transformation for skewness (Hall 1992, Journal of the
 * Royal Statistical Society B 54), of which nothing remains as t grows. About 1.5 times as wide as
 * the interval for one look. */
struct clustered_mean anytime_mean_of(const double *sum, const int64_t *n, size_t clusters);
/* How large a share may be of which none was seen in n independent trials, at every n at once: 1 -
 * (0.05 / (n + 1))^(1/n), the likelihood under a uniform prior against (1 - share)^n (Robbins,
 * Annals of Mathematical Statistics 1970). */
double anytime_none_of(int64_t n);

#endif
