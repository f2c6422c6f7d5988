/* SPDX-License-Identifier: MIT */
/* Row kernels: the operations of a transformer that are not matrix products. Every function treats
 * one row by itself, so that a token's result does not depend on its neighbours. Sums are in
 * double, element i in lane i % 16; every level gives the same bits. */
#ifndef QDB_KERNELS_ROWS_H
#define QDB_KERNELS_ROWS_H

#include <stdbool.h>
#include <stdint.h>

/* y = x / sqrt(mean(x^2) + eps) * gain; x, y, gain [n]. gain NULL = 1. */
void row_rms_norm(const float *x, const float *gain, int64_t n, float eps, float *y);
/* y = (x - mean) / sqrt(var + eps) * gain + bias, var the biased one. gain, bias NULL = 1, 0. */
void row_layer_norm(const float *x, const float *gain, const float *bias, int64_t n, float eps,
                    float *y);

/* p = exp(x - max) / sum over the first `visible` of n entries; the rest becomes 0. In place is
 * fine. A row whose maximum is -inf or NaN becomes NaN. */
void row_softmax(const float *x, int64_t visible, int64_t n, float *p);

enum activation {
    ACT_SILU, ACT_GELU_TANH, ACT_GELU_ERF, ACT_GELU_QUICK, ACT_RELU, ACT_SOFTPLUS, ACT__COUNT
};
const char *activation_name(enum activation a);
/* e^x is ours, within 1.05 units in the last place. In place is fine. */
void row_activate(enum activation a, const float *x, int64_t n, float *y);

/* y = a + b, a * b; y may be either. */
void row_add(const float *a, const float *b, int64_t n, float *y);
void row_multiply(const float *a, const float *b, int64_t n, float *y);

/* How rotary position embeddings turn pairs of channels. Pairing: adjacent (2i, 2i+1) or half-split
 * (i, i + n/2). Frequency of pair i: base^(-2i/n_rot) / factors[i]. Scaling as YaRN defines it
 * (Peng et al. 2023, arXiv 2309.00071), of which linear scaling is the case ext = 0:
 * angle = (1 - mix) * pos * freq * scale + mix * pos * freq, mix = ramp(i) * ext. */
struct rope {
    bool half_split;
    int64_t n_rot;             /* channels that turn, even, <= head size; the rest is copied */
    double base, scale;        /* scale = 1 / factor */
    double ext;                /* 0 = plain or linear, 1 = YaRN */
    double beta_fast, beta_slow, original_context;
    double magnitude;          /* multiplies sine and cosine (YaRN's attention factor), else 1 */
    const float *factors;      /* [n_rot / 2] or NULL */
};

/* cosine, sine [n_rot / 2] of position pos, in float from double. */
void rope_angles(const struct rope *r, int64_t pos, float *cosine, float *sine);
/* One head: x, y [n]; y may be x. */
void row_rope(const struct rope *r, const float *cosine, const float *sine, const float *x,
              int64_t n, float *y);

#endif
