/* SPDX-License-Identifier: MIT */
/* Blocks that a format can hold without any error, such as those decoded from it: their scales are
 * common divisors, found by Euclid's algorithm in doubles, where all steps are exact. Other blocks
 * are told after a few elements. */
#include <math.h>

#include "kernels/encoder.h"
#include "kernels/format.h"

/* Of values that are multiples of one number, to less than 2^29 times it; b > 0. */
static double divisor(double a, double b)
{
    while (b > 0) {
        double r = a - floor(a / b) * b;
        if (r < 0)
            r += b;
        a = b;
        b = r;
    }
    return a;
}

static bool is_half(double v) { return v < 65505 && (double)encode_half((float)v) == v; }

/* Scale s of sub-block x with steps of d: all codes, or false. */
static bool codes_at(const struct exact_shape *s, const float *x, double step, uint8_t *code)
{
    for (int i = 0; i < s->sub; i++) {
        const double level = (double)x[i] / step;
        const int c = fabs(level) <= s->most ? s->code((int)level) : -1;
        if (c < 0 || (double)(int)level != level)
            return false;
        code[i] = (uint8_t)c;
    }
    return true;
}

/* A scale for a sub-block whose elements are multiples of n * d, and no larger one of d. */
static bool scale_at(const struct exact_shape *s, const float *x, double d, int64_t n,
                     int16_t *scale, uint8_t *code)
{
    if (n == 0) {
        const int zero = s->code(0);
        *scale = 0;
        if (s->scale_least == 1 && zero < 0)
            return false;
        for (int i = 0; i < s->sub; i++)
            code[i] = (uint8_t)(zero < 0 ? 0 : zero);
        return true;
    }
    for (int k = s->scale_most > -s->scale_least ? s->scale_most : -s->scale_least; k >= 1; k--) {
        if (n % k)
            continue;
        *scale = (int16_t)k;
        if (k <= s->scale_most && codes_at(s, x, d * k, code))
            return true;
        *scale = (int16_t)-k;
        if (-k >= s->scale_least && codes_at(s, x, d * -k, code))
            return true;
    }
    return false;
}

static bool find_levels(const struct exact_shape *s, const float *x, struct block_codes *out)
{
    double of[ENCODE_SUBS], all = 0, top = 0;
    const int scales = s->scale_most > -s->scale_least ? s->scale_most : -s->scale_least;
    for (int j = 0; j < s->subs; j++) {
        double most = 0;
        of[j] = 0;
        for (int i = 0; i < s->sub; i++)
            most = fmax(most, fabs((double)x[j * s->sub + i]));
        for (int i = 0; i < s->sub; i++) {
            const double v = fabs((double)x[j * s->sub + i]);
            of[j] = v > 0 ? divisor(v, of[j]) : of[j];
            if (of[j] > 0 && of[j] * (s->most + 0.5) < most)
                return false;
        }
        top = fmax(top, most);
        all = of[j] > 0 ? divisor(of[j], all) : all;
        if (all > 0 && all * (s->most * scales + 0.5) < top)
            return false;
    }
    if (top == 0)
        return false;
    for (int t = 1; all / t * (s->most * scales + 0.5) >= top; t++)
        for (int sign = 1; sign >= -1; sign -= 2) {
            const double d = sign * all / t;
            bool fits = is_half(fabs(d));
            for (int j = 0; j < s->subs && fits; j++)
                fits = scale_at(s, x + j * s->sub, d, (int64_t)(of[j] / fabs(d)), &out->scale[j],
                                out->code + j * s->sub);
            if (fits) {
                out->d = (float)d;
                return true;
            }
        }
    return false;
}

/* Largest divisor of all differences to the least element, 0 if there are none; false when the
 * least and the largest are then more than `most` apart. */
static bool differences(const float *x, int n, int most, double *low, double *high, double *step)
{
    double lo = (double)x[0], hi = lo, g = 0;
    for (int i = 1; i < n; i++) {
        lo = fmin(lo, (double)x[i]);
        hi = fmax(hi, (double)x[i]);
    }
    for (int i = 0; i < n; i++) {
        const double v = (double)x[i] - lo;
        g = v > 0 ? divisor(v, g) : g;
        if (g > 0 && g * (most + 0.5) < hi - lo)
            return false;
    }
    *low = lo;
    *high = hi;
    *step = g;
    return true;
}

bool exact_affine(int n, int most, const float *x, struct block_codes *out)
{
    double lo, hi, step;
    if (!differences(x, n, most, &lo, &hi, &step))
        return false;
    for (int t = 1; step / t * (most + 0.5) >= hi - lo && t <= most; t++) {
        const double d = step / t;
        const int spare = step > 0 ? most - (int)((hi - lo) / d) : 0;
        for (int at = 0; at <= spare && is_half(d); at++) {
            const double m = lo - at * d;
            if (!is_half(fabs(m)))
                continue;
            out->d = (float)d;
            out->m = (float)m;
            for (int i = 0; i < n; i++)
                out->code[i] = step > 0 ? (uint8_t)(((double)x[i] - m) / d) : 0;
            return true;
        }
    }
    return false;
}

/* ---- formats with minima ---- */

struct minima {
    const struct exact_shape *s;
    double low[ENCODE_SUBS], high[ENCODE_SUBS], step[ENCODE_SUBS];
};

/* The level of the least element of sub-block j that makes its minimum a multiple of m, at least
 * `from`; -1 if there is none. */
static int level_of_least(const struct minima *a, int j, double step, double m, int *min)
{
    const int range = step > 0 ? (int)((a->high[j] - a->low[j]) / step) : 0;
    for (int at = 0; at <= a->s->most - range; at++) {
        const double offset = at * step - a->low[j];
        if (offset < 0)
            continue;
        const double k = m > 0 ? offset / m : 0;
        if (m > 0 ? k == floor(k) && k <= a->s->scale_most : offset == 0) {
            *min = (int)k;
            return at;
        }
        if (step == 0)
            break;
    }
    return -1;
}

/* The scale of sub-block j, the largest that d, m and its elements allow: the level of its least
 * element, or -1. */
static int scale_at_minimum(const struct minima *a, int j, double d, double m, int16_t *scale,
                            int *min)
{
    const int64_t n = d > 0 ? (int64_t)(a->step[j] / d) : 0;
    const int most = a->s->scale_most;
    if (a->step[j] == 0) { /* all elements alike: the least scale that will do */
        for (int k = 0; k <= (d > 0 ? most : 0); k++) {
            const int at = level_of_least(a, j, d * k, m, min);
            *scale = (int16_t)k;
            if (at >= 0)
                return at;
        }
        return -1;
    }
    for (int k = n < most ? (int)n : most; k >= 1; k--) {
        if (n % k || (a->high[j] - a->low[j]) / (d * k) > a->s->most)
            continue;
        const int at = level_of_least(a, j, d * k, m, min);
        *scale = (int16_t)k;
        if (at >= 0)
            return at;
    }
    return -1;
}

/* All sub-blocks with these d and m. */
static bool minima_at(const struct minima *a, double d, double m, const float *x,
                      struct block_codes *out)
{
    for (int j = 0; j < a->s->subs; j++) {
        const int n = a->s->sub;
        int min = 0;
        int16_t scale = 0;
        const int at = scale_at_minimum(a, j, d, m, &scale, &min);
        if (at < 0)
            return false;
        const double step = d * scale;
        out->scale[j] = scale;
        out->min[j] = (int16_t)min;
        for (int i = j * n; i < j * n + n; i++)
            out->code[i] = (uint8_t)(step > 0 ? ((double)x[i] - a->low[j]) / step + at : 0);
    }
    out->d = (float)d;
    out->m = (float)m;
    return true;
}

/* With the largest scales possible: m from the offsets of sub-blocks whose least level is sure or
 * likely to be 0, else from those that a single sub-block can have. */
static bool find_minimum(const struct minima *a, double d, const int scale[ENCODE_SUBS],
                         const float *x, struct block_codes *out)
{
    const struct exact_shape *s = a->s;
    double likely = 0, sure = 0, most = 0;
    int tight = -1, range[ENCODE_SUBS];
    for (int j = 0; j < s->subs; j++) {
        const double step = d * scale[j];
        range[j] = step > 0 ? (int)((a->high[j] - a->low[j]) / step) : 0;
        if (a->low[j] < 0)
            likely = divisor(-a->low[j], likely);
        if (a->low[j] < 0 && range[j] == s->most)
            sure = divisor(-a->low[j], sure);
        if (a->step[j] > 0 && (tight < 0 || range[j] > range[tight]))
            tight = j;
        most = fmax(most, -a->low[j]);
    }
    if (minima_at(a, d, 0, x, out))
        return true;
    const double guess[2] = { likely, sure };
    for (int g = 0; g < 2; g++)
        for (int t = 1; t <= 64 && guess[g] / t * s->scale_most * 1.001 >= most; t++)
            if (guess[g] > 0 && is_half(guess[g] / t) && minima_at(a, d, guess[g] / t, x, out))
                return true;
    if (tight < 0)
        return false;
    const double step = d * scale[tight];
    for (int at = 0; at <= s->most - range[tight]; at++) {
        const double offset = at * step - a->low[tight];
        for (int k = 1; k <= s->scale_most && offset > 0; k++)
            if (is_half(offset / k) && minima_at(a, d, offset / k, x, out))
                return true;
    }
    return false;
}

/* The largest scale that divides n and leaves the range within the levels; 0 if there is none. */
static int scale_of(const struct minima *a, int j, double d)
{
    const int64_t n = (int64_t)(a->step[j] / d);
    for (int k = n < a->s->scale_most ? (int)n : a->s->scale_most; k >= 1; k--)
        if (n % k == 0 && (a->high[j] - a->low[j]) / (d * k) <= a->s->most)
            return k;
    return 0;
}

static bool find_minima(const struct exact_shape *s, const float *x, struct block_codes *out)
{
    struct minima a = { .s = s };
    double all = 0, range = 0, positive = 0;
    for (int j = 0; j < s->subs; j++) {
        if (!differences(x + j * s->sub, s->sub, s->most, &a.low[j], &a.high[j], &a.step[j]))
            return false;
        all = a.step[j] > 0 ? divisor(a.step[j], all) : all;
        range = fmax(range, a.high[j] - a.low[j]);
        if (all > 0 && all * (s->most * s->scale_most + 0.5) < range)
            return false;
        if (a.low[j] > 0)
            positive = divisor(a.low[j], positive);
    }
    if (all == 0) /* every sub-block is a constant; those above zero are multiples of d */
        all = positive;
    int scale[ENCODE_SUBS] = { 0 };
    if (all == 0)
        return find_minimum(&a, 0, scale, x, out);
    for (int t = 1; t <= s->most * s->scale_most; t++) {
        const double d = all / t;
        bool fits = is_half(d);
        for (int j = 0; j < s->subs && fits; j++) {
            scale[j] = a.step[j] > 0 ? scale_of(&a, j, d) : 0;
            fits = a.step[j] == 0 || scale[j] > 0;
        }
        if (fits && find_minimum(&a, d, scale, x, out))
            return true;
    }
    return false;
}

/* What was found is given out only when it is whole. */
bool exact_levels(const struct exact_shape *s, const float *x, struct block_codes *out)
{
    struct block_codes b;
    if (!find_levels(s, x, &b))
        return false;
    *out = b;
    return true;
}

bool exact_minima(const struct exact_shape *s, const float *x, struct block_codes *out)
{
    struct block_codes b;
    if (!find_minima(s, x, &b))
        return false;
    *out = b;
    return true;
}
