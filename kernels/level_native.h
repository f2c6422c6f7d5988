/* SPDX-License-Identifier: MIT */
/* The kernels of a level for native mode, written once: each level_*.c includes this. */
#include "kernels/level.h"
#include "kernels/native_blocks.h"
#include "kernels/native_iq.h"
#include "kernels/native_k.h"

#define NATIVE_UNPACK(name) [NATIVE_##name] = unpack_##name,
static native_unpack *const unpackers[NATIVE__COUNT] = { NATIVE_FORMATS(NATIVE_UNPACK) };

/* Sum of code * x; at most 256 * 255 * 127 in magnitude. */
static inline __attribute__((always_inline)) int32_t code_dot(const uint8_t *code, const int8_t *x,
                                                              int n)
{
    int32_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += (int32_t)code[i] * x[i];
    return sum;
}

/* The term of one group; `unit` and `mins` are constants after inlining. xs: sums of x per unit. */
static inline __attribute__((always_inline)) float group_term(const struct native_format *f,
                                                              int unit, const struct native_row *w,
                                                              int64_t g, const int8_t *x,
                                                              const int16_t *xs, float dx)
{
    const int units = f->group / unit;
    int32_t isum = 0, msum = 0;
    for (int u = 0; u < units; u++) {
        const int64_t at = g * units + u;
        const int32_t dot = code_dot(w->code + at * unit, x + u * unit, unit) - f->zero * xs[u];
        isum += w->scale ? w->scale[at] * dot : dot;
        if (f->mins)
            msum += w->min[at] * xs[u];
    }
    const float term = (float)isum * (w->d[g] * dx);
    return f->mins ? term - (float)msum * (w->m[g] * dx) : term;
}

static float native_dot(const struct native_format *f, const struct native_row *w,
                        const struct native_acts *x, int64_t t, int64_t first, int64_t n, float sum)
{
    const int8_t *code = x->code + t * x->cols + first;
    const int16_t *xs = x->sum + (t * x->cols + first) / f->unit;
    const float *dx = x->d + (t * x->cols + first) / x->block;
    const float *s = x->s ? x->s + (t * x->cols + first) / x->block : NULL;
    for (int64_t g = 0; g < n / f->group; g++) {
        const int64_t at = g * f->group;
        float term;
        if (f->unit == 16)
            term = group_term(f, 16, w, g, code + at, xs + at / 16, dx[at / x->block]);
        else
            term = group_term(f, 32, w, g, code + at, xs + at / 32, dx[at / x->block]);
        sum += s ? term + w->m[g] * s[g] : term;
    }
    return sum;
}

static void native_dots(const struct native_format *f, const struct native_row *w, int rows,
                        const struct native_acts *x, int64_t first, int64_t n, float *y,
                        int64_t stride)
{
    for (int r = 0; r < rows; r++) {
        struct native_row one = *w;
        one.code += r * n;
        one.d += r * (n / f->group);
        one.m += w->m ? r * (n / f->group) : 0;
        one.scale += w->scale ? r * (n / f->unit) : 0;
        one.min += w->min ? r * (n / f->unit) : 0;
        for (int64_t t = 0; t < x->tokens; t++)
            y[t * stride + r] = native_dot(f, &one, x, t, first, n,
                                           first ? y[t * stride + r] : 0.0f);
    }
}
