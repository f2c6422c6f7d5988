/* SPDX-License-Identifier: MIT */
#include "kernels/rows.h"

#include <math.h>
#include <string.h>

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

void row_softmax(const float *x, int64_t visible, int64_t n, float *p)
{
    float max = -INFINITY;
    bool bad = false;
    for (int64_t i = 0; i < visible; i++) {
        bad |= isnan(x[i]);
        max = x[i] > max ? x[i] : max;
    }
    if (bad || !(max > -INFINITY)) {
        for (int64_t i = 0; i < n; i++)
            p[i] = i < visible ? NAN : 0.0f;
        return;
    }
    double sum = 0;
    for (int64_t i = 0; i < visible; i++) {
        p[i] = expf(x[i] - max);
        sum += p[i];
    }
    const float scale = (float)(1 / sum);
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

float activate(enum activation a, float x)
{
    switch (a) {
    case ACT_SILU:
        return x / (1.0f + expf(-x));
    case ACT_GELU_TANH: /* 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
        return 0.5f * x * (1.0f + tanhf(0.79788456080286535588f * x * (1.0f + 0.044715f * x * x)));
    case ACT_GELU_ERF:
        return 0.5f * x * (1.0f + erff(x * 0.70710678118654752440f));
    case ACT_RELU:
        return x > 0 || isnan(x) ? x : 0.0f;
    case ACT_GELU_QUICK:
        return x / (1.0f + expf(-1.702f * x));
    case ACT_SOFTPLUS: /* log(1 + e^x), which is x to float rounding from 20 on */
        return x > 20 ? x : log1pf(expf(x));
    case ACT__COUNT:
        break;
    }
    return x;
}

void row_activate(enum activation a, const float *x, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = activate(a, x[i]);
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
