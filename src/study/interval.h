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

/* Mean of values that come in independent clusters. */
struct clustered_mean {
    int64_t clusters, n;
    double value;
    /* value +- 1.96 standard errors of the ratio sum / n over clusters; NaN below 20 clusters. */
    double low, high;
};
enum { MIN_CLUSTERS = 20 };
/* Cluster i has n[i] values that add up to sum[i]. */
struct clustered_mean clustered_mean_of(const double *sum, const int64_t *n, size_t clusters);

#endif
