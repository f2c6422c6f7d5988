/* SPDX-License-Identifier: MIT */
#include "kernels/rows.h"

#include <math.h>
#include <string.h>

static inline float power_of_two(int32_t k)
{
    const uint32_t bits = (uint32_t)(k + 127) << 23;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* e^x to 1 unit in the last place, down to the smallest denormal; NaN for NaN. Written without
 * branches, so that loops over it vectorise and give the same bits with every C library: x = k ln 2
 * + r, a polynomial of e^r for abs(r) < 0.35, and 2^k in two steps, because one would leave the
 * range. */
static inline float exp_float(float x)
{
    const float round =
        12582912.0f; /* 1.5 * 2^23: what is added to it is rounded to a whole number */
    float c = x > -104.0f ? x : -104.0f;
    c = c < 89.0f ? c : 89.0f;
    const float k = (c * 1.44269504f + round) - round;
    const float r = (c - k * 0.693359375f) - k * -2.12194440e-4f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = (p * r * r + r) + 1.0f;
    const int32_t whole = (int32_t)k, half = whole >> 1;
    p = p * power_of_two(half) * power_of_two(whole - half);
    return x != x ? x : p;
}

void row_rms_norm(const float *x, const float *gain, int64_t n, float eps, float *y)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    const float scale = (float)(1 / sqrt(sum / (double)n + eps));
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] * scale * (gain ? gain[i] : 1.0f);
}

void row_layer_norm(const float *x, const float *gain, const float *bias, int64_t n, float eps,
                    float *y)
{
    double sum = 0, square = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    const double mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++)
        square += (x[i] - mean) * (x[i] - mean);
    const double scale = 1 / sqrt(square / (double)n + eps);
    for (int64_t i = 0; i < n; i++)
        y[i] = (float)((x[i] - mean) * scale) * (gain ? gain[i] : 1.0f) + (bias ? bias[i] : 0.0f);
}

/* Sums and maxima run in this many parts side by side, part i taking elements i, i + PARTS, ... */
enum { PARTS = 8 };

/* NaN if any is. */
static float row_max(const float *x, int64_t n)
{
    float part[PARTS], bad[PARTS] = { 0 };
    for (int k = 0; k < PARTS; k++)
        part[k] = -INFINITY;
    int64_t i = 0;
    for (; i + PARTS <= n; i += PARTS)
        for (int k = 0; k < PARTS; k++) {
            part[k] = x[i + k] > part[k] ? x[i + k] : part[k];
            bad[k] += x[i + k] - x[i + k]; /* NaN for NaN and infinities */
        }
    float max = -INFINITY, any = 0;
    for (int k = 0; k < PARTS; k++) {
        max = part[k] > max ? part[k] : max;
        any += bad[k];
    }
    for (; i < n; i++) {
        max = x[i] > max ? x[i] : max;
        any += x[i] - x[i];
    }
    for (i = 0; any != 0 && i < n; i++) /* rare: which of the two it was */
        if (isnan(x[i]))
            return NAN;
    return max;
}

static double row_sum(const float *x, int64_t n)
{
    double part[PARTS] = { 0 };
    int64_t i = 0;
    for (; i + PARTS <= n; i += PARTS)
        for (int k = 0; k < PARTS; k++)
            part[k] += x[i + k];
    for (int k = 0; i + k < n; k++)
        part[k] += x[i + k];
    double sum = 0;
    for (int k = 0; k < PARTS; k++)
        sum += part[k];
    return sum;
}

void row_softmax(const float *x, int64_t visible, int64_t n, float *p)
{
    const float max = row_max(x, visible);
    if (!(max > -INFINITY)) {
        for (int64_t i = 0; i < n; i++)
            p[i] = i < visible ? NAN : 0.0f;
        return;
    }
    for (int64_t i = 0; i < visible; i++)
        p[i] = exp_float(x[i] - max);
    const float scale = (float)(1 / row_sum(p, visible));
    for (int64_t i = 0; i < visible; i++)
        p[i] *= scale;
    if (visible < n)
        memset(p + visible, 0, (size_t)(n - visible) * sizeof *p);
}

const char *activation_name(enum activation a)
{
    static const char *const names[ACT__COUNT] = { "silu",       "gelu_tanh", "gelu_erf",
                                                   "gelu_quick", "relu",      "softplus" };
    return (unsigned)a < ACT__COUNT ? names[a] : "?";
}

/* Sigmoids of the parts that vectorise; the rest is rare. */
static inline float silu(float x) { return x / (1.0f + exp_float(-x)); }
static inline float gelu_quick(float x) { return x / (1.0f + exp_float(-1.702f * x)); }

/* 0.5 x (1 + tanh(u)) with u = sqrt(2/pi) (x + 0.044715 x^3), which is x / (1 + e^(-2u)). */
static inline float gelu_tanh(float x)
{
    return x / (1.0f + exp_float(-1.59576912160573071f * x * (1.0f + 0.044715f * x * x)));
}

static inline float gelu_erf(float x)
{
    return 0.5f * x * (1.0f + erff(x * 0.70710678118654752440f));
}
static inline float relu(float x) { return x > 0 || x != x ? x : 0.0f; }

/* log(1 + e^x), which is x to float rounding from 20 on. */
static inline float softplus(float x) { return x > 20 ? x : log1pf(expf(x)); }

#define EACH(f) \
    do { \
        for (int64_t i = 0; i < n; i++) \
            y[i] = f(x[i]); \
    } while (0)

void row_activate(enum activation a, const float *x, int64_t n, float *y)
{
    switch (a) {
    case ACT_SILU: EACH(silu); break;
    case ACT_GELU_TANH: EACH(gelu_tanh); break;
    case ACT_GELU_ERF: EACH(gelu_erf); break;
    case ACT_GELU_QUICK: EACH(gelu_quick); break;
    case ACT_RELU: EACH(relu); break;
    case ACT_SOFTPLUS: EACH(softplus); break;
    case ACT__COUNT: break;
    }
}

/* The pair whose wave turns `turns` times within the original context. */
static double pair_of_turns(const struct rope *r, double turns)
{
    return (double)r->n_rot * log(r->original_context / (turns * 2 * M_PI)) / (2 * log(r->base));
}

/* 1 for fast pairs (kept as they are), 0 for slow ones (interpolated), a ramp between. */
static double yarn_mix(const struct rope *r, int64_t pair)
{
    if (r->ext == 0)
        return 0;
    double low = fmax(0, floor(pair_of_turns(r, r->beta_fast)));
    double high = fmin((double)r->n_rot - 1, ceil(pair_of_turns(r, r->beta_slow)));
    double ramp = ((double)pair - low) / fmax(0.001, high - low);
    return (1 - fmin(1, fmax(0, ramp))) * r->ext;
}

void rope_angles(const struct rope *r, int64_t pos, float *cosine, float *sine)
{
    for (int64_t i = 0; i < r->n_rot / 2; i++) {
        double freq = pow(r->base, -2.0 * (double)i / (double)r->n_rot);
        if (r->factors)
            freq /= r->factors[i];
        double mix = yarn_mix(r, i);
        double angle = (double)pos * freq * (r->scale * (1 - mix) + mix);
        cosine[i] = (float)(cos(angle) * r->magnitude);
        sine[i] = (float)(sin(angle) * r->magnitude);
    }
}

void row_rope(const struct rope *r, const float *cosine, const float *sine, const float *x,
              int64_t n, float *y)
{
    const int64_t half = r->n_rot / 2, step = r->half_split ? 1 : 2,
                  other = r->half_split ? half : 1;
    for (int64_t i = 0; i < half; i++) {
        float a = x[i * step], b = x[i * step + other];
        y[i * step] = a * cosine[i] - b * sine[i];
        y[i * step + other] = a * sine[i] + b * cosine[i];
    }
    for (int64_t i = r->n_rot; i < n; i++)
        y[i] = x[i];
}
