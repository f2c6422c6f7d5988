/* SPDX-License-Identifier: MIT */
#include "kernels/rows.h"

#include <math.h>

#include "kernels/level.h"

void row_rms_norm(const float *x, const float *gain, int64_t n, float eps, float *y)
{
    level_now()->row.rms_norm(x, gain, n, eps, y);
}

void row_layer_norm(const float *x, const float *gain, const float *bias, int64_t n, float eps,
                    float *y)
{
    level_now()->row.layer_norm(x, gain, bias, n, eps, y);
}

void row_softmax(const float *x, int64_t visible, int64_t n, float *p)
{
    level_now()->row.softmax(x, visible, n, p);
}

void row_activate(enum activation a, const float *x, int64_t n, float *y)
{
    level_now()->row.activate(a, x, n, y);
}

void row_rope(const struct rope *r, const float *cosine, const float *sine, const float *x,
              int64_t n, float *y)
{
    level_now()->row.rope(r, cosine, sine, x, n, y);
}

void row_add(const float *a, const float *b, int64_t n, float *y)
{
    level_now()->row.add(a, b, n, y);
}

void row_multiply(const float *a, const float *b, int64_t n, float *y)
{
    level_now()->row.multiply(a, b, n, y);
}

const char *activation_name(enum activation a)
{
    static const char *const names[ACT__COUNT] = { "silu",       "gelu_tanh", "gelu_erf",
                                                   "gelu_quick", "relu",      "softplus" };
    return (unsigned)a < ACT__COUNT ? names[a] : "?";
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
