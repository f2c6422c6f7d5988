/* SPDX-License-Identifier: MIT */
/* Intervals: how far a figure from a sample may lie from what it estimates. All are 95 %. */
#ifndef QDB_STUDY_INTERVAL_H
#define QDB_STUDY_INTERVAL_H

#include <stddef.h>
#include <stdint.h>

/* A share of `hits` among n independent trials with Wilson's score interval (Wilson 1927). All NaN
 * for n = 0. */
struct share {
    int64_t hits, n;
    double value, low, high;
};
struct share share_of(int64_t hits, int64_t n);

/* A ratio of sums over independent clusters: a mean, when the second counts. */
struct clustered_mean {
    int64_t clusters, n;
    double value;
    double low, high; /* NaN below 20 clusters; both value where every cluster says the same */
};
enum { MIN_CLUSTERS = 20 };
/* Cluster i has n[i] values that add up to sum[i]. The interval is a bootstrap of the studentised
 * ratio over clusters (Efron and Tibshirani 1993, chapter 12.5): of 1999 draws of as many clusters,
 * t = (ratio* - ratio) / error*, and the bounds are ratio - error * (97.5 % and 2.5 % quantiles of
 * t); error = sqrt(c / (c - 1) * sum of (sum - ratio n)^2) / total n. Always the same draws. */
struct clustered_mean clustered_mean_of(const double *sum, const int64_t *n, size_t clusters);
/* The same of sum(num) / sum(den); n counts nothing. */
struct clustered_mean clustered_ratio_of(const double *num, const double *den, size_t clusters);

#endif
