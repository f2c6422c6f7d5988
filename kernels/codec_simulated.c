/* SPDX-License-Identifier: MIT */
/* Simulated formats: values rounded to what a format can say, and kept as float. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/numeric.h"

/* Quantiles of a normal distribution, scaled to -1..1 (Dettmers et al. 2023, appendix E). */
static const double nf4[16] = {
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
};

static double clamp(double x, double lo, double hi) { return x < lo ? lo : x > hi ? hi : x; }

static double float_largest(int exponent, int mantissa)
{
    const int bias = (1 << (exponent - 1)) - 1;
    return (2 - ldexp(1, -mantissa)) * ldexp(1, (1 << exponent) - 1 - bias);
}

/* The nearest value with that many bits of exponent and mantissa, ties to the even code. */
static double float_nearest(double x, int exponent, int mantissa, double largest)
{
    const int bias = (1 << (exponent - 1)) - 1;
    int e;
    if (x == 0)
        return 0;
    frexp(x, &e); /* abs(x) in 2^(e-1) .. 2^e */
    const int code = e - 1 + bias < 1 ? 1 : e - 1 + bias;
    const double step = ldexp(1, code - bias - mantissa);
    return clamp(rint(x / step) * step, -largest, largest);
}

static double nf4_nearest(double x)
{
    int i = 0;
    while (i < 15 && x > (nf4[i] + nf4[i + 1]) / 2)
        i++;
    return nf4[i];
}

static double shift_nearest(double x, int bits)
{
    const double size = fabs(x);
    const int last = (1 << (bits - 1)) - 1;
    double level = 1;
    for (int p = 0; p < last && size >= 1.5 * level; p++)
        level *= 2;
    return x < 0 ? -level : level;
}

static double power_of_two_not_below(double s)
{
    int e;
    const double m = frexp(s, &e); /* s = m 2^e, m in 0.5 .. 1 */
    return ldexp(1, (int)clamp(m == 0.5 ? e - 1 : e, -127, 127));
}

/* 2^(floor(log2 absmax) - largest exponent of the elements) */
static double mx_scale(double absmax, int largest_exponent)
{
    int e;
    frexp(absmax, &e);
    return ldexp(1, (int)clamp(e - 1 - largest_exponent, -127, 127));
}

/* `tensor` is the scale of scales of SCALE_UE4M3. */
static double scale_as(enum numeric_scale how, double s, double tensor)
{
    if (!(s > 0))
        return 0;
    if (how == SCALE_F16)
        return clamp((double)f16_to_f32(f32_to_f16((float)clamp(s, 0, 65504))), ldexp(1, -24),
                     65504);
    if (how == SCALE_BF16)
        return fmax((double)bf16_to_f32(f32_to_bf16((float)s)), ldexp(1, -133));
    if (how == SCALE_E8M0)
        return power_of_two_not_below(s);
    if (how == SCALE_UE4M3 && tensor > 0)
        return fmax(float_nearest(s / tensor, 4, 3, 448), ldexp(1, -9)) * tensor;
    return fmax((double)(float)s, (double)FLT_TRUE_MIN);
}

bool numeric_ranged(const struct numeric *f)
{
    return (f->base == NUMERIC_INT && (f->bits > 1 || f->asym)) || f->base == NUMERIC_FLOAT
           || f->base == NUMERIC_NF4 || f->base == NUMERIC_MXFP6 || f->base == NUMERIC_MXFP8
           || f->base == NUMERIC_SHIFT;
}

/* Before the scale is rounded. */
static double raw_scale(const struct numeric *f, double lo, double hi)
{
    const double absmax = fmax(-lo, hi), c = f->clip;
    if (!(absmax > 0))
        return 0;
    switch (f->base) {
    case NUMERIC_INT:
        return f->asym ? c * (fmax(hi, 0) - fmin(lo, 0)) / ((1 << f->bits) - 1)
                       : c * absmax / ((1 << (f->bits - 1)) - 1);
    case NUMERIC_FLOAT: return c * absmax / float_largest(f->exponent, f->mantissa);
    case NUMERIC_NF4: return c * absmax;
    case NUMERIC_MXFP6: return mx_scale(absmax, 2);
    case NUMERIC_MXFP8: return mx_scale(absmax, 8);
    case NUMERIC_SHIFT: return c * absmax / ldexp(1, (1 << (f->bits - 1)) - 1);
    default: return 0;
    }
}

static struct numeric_fit fit_range(const struct numeric *f, double lo, double hi, double tensor)
{
    struct numeric_fit fit = { .scale = scale_as(f->scale, raw_scale(f, lo, hi), tensor) };
    if (f->base == NUMERIC_INT && f->asym && fit.scale > 0)
        fit.zero = clamp(rint(-f->clip * fmin(lo, 0) / fit.scale), 0, (1 << f->bits) - 1);
    return fit;
}

struct numeric_fit numeric_fit_range(const struct numeric *f, double lo, double hi)
{
    const double s = raw_scale(f, lo, hi);
    return fit_range(f, lo, hi, f->scale == SCALE_UE4M3 ? (double)(float)(s / 448) : 0);
}

/* A group: rows x cols values, `stride` apart from row to row. */
struct patch {
    float *x;
    int64_t rows, cols, stride;
};

struct range {
    double lo, hi;
};

static struct range range_of(const struct patch *p)
{
    float lo = INFINITY, hi = -INFINITY;
    for (int64_t r = 0; r < p->rows; r++) {
        const float *x = p->x + r * p->stride;
        for (int64_t c = 0; c < p->cols; c++) {
            lo = x[c] < lo ? x[c] : lo;
            hi = x[c] > hi ? x[c] : hi;
        }
    }
    return (struct range){ (double)lo, (double)hi };
}

/* Mean of abs(x) over those above `least`; 0 if there are none. */
static double mean_size(const struct patch *p, double least)
{
    double sum = 0;
    int64_t n = 0;
    for (int64_t r = 0; r < p->rows; r++)
        for (int64_t c = 0; c < p->cols; c++) {
            const double size = fabs((double)p->x[r * p->stride + c]);
            if (size > least) {
                sum += size;
                n++;
            }
        }
    return n ? sum / (double)n : 0;
}

/* Quarter turn of (re, im): 0 = +1, 1 = +i, 2 = -1, 3 = -i; a quadrant holds its lower edge. */
static int quarter(double re, double im)
{
    if ((re > 0 && -re <= im && im < re) || (re == 0 && im == 0))
        return 0;
    if (im > 0 && -im < re && re <= im)
        return 1;
    return im < 0 && im <= re && re < -im ? 3 : 2;
}

static void cpx_means(const struct patch *p, double mean[2])
{
    double sum[2] = { 0, 0 };
    int64_t n[2] = { 0, 0 };
    for (int64_t r = 0; r < p->rows; r++)
        for (int64_t c = 0; c + 1 < p->cols; c += 2) {
            const double v[] = { (double)p->x[r * p->stride + c],
                                 (double)p->x[r * p->stride + c + 1] };
            const int odd = quarter(v[0], v[1]) % 2;
            sum[odd] += fabs(v[odd]);
            n[odd]++;
        }
    for (int i = 0; i < 2; i++)
        mean[i] = n[i] ? sum[i] / (double)n[i] : 0;
}

/* Mean of abs(x) over all. */
static double mean_all(const struct patch *p) { return mean_size(p, -1); }

/* First and second scale before they are rounded. */
static void raw_fit(const struct numeric *f, const struct patch *p, double s[2])
{
    const struct range r = range_of(p);
    s[0] = raw_scale(f, r.lo, r.hi);
    s[1] = 0;
    if (f->base == NUMERIC_BINARY || (f->base == NUMERIC_INT && !numeric_ranged(f)))
        s[0] = mean_all(p);
    else if (f->base == NUMERIC_TERNARY)
        s[0] = mean_all(p) * 4 / 3;
    else if (f->base == NUMERIC_TWN)
        s[0] = mean_size(p, s[1] = 0.7 * mean_all(p));
    else if (f->base == NUMERIC_CPX)
        cpx_means(p, s);
}

static struct numeric_fit fit_patch(const struct numeric *f, const struct patch *p, double tensor)
{
    double s[2];
    if (numeric_ranged(f)) {
        const struct range r = range_of(p);
        return fit_range(f, r.lo, r.hi, tensor);
    }
    raw_fit(f, p, s);
    return (struct numeric_fit){ .scale = scale_as(f->scale, s[0], tensor),
                                 .second = f->base == NUMERIC_CPX ? scale_as(f->scale, s[1], tensor)
                                                                  : s[1] };
}

static double round_one(const struct numeric *f, const struct numeric_fit *fit, double x)
{
    const double s = fit->scale;
    switch (f->base) {
    case NUMERIC_INT: {
        const int n = f->asym ? (1 << f->bits) - 1 : (1 << (f->bits - 1)) - 1;
        if (f->asym)
            return (clamp(rint(x / s) + fit->zero, 0, n) - fit->zero) * s;
        return n ? clamp(rint(x / s), -n, n) * s : x < 0 ? -s : s;
    }
    case NUMERIC_FLOAT:
        return float_nearest(x / s, f->exponent, f->mantissa,
                             float_largest(f->exponent, f->mantissa))
               * s;
    case NUMERIC_NF4: return nf4_nearest(x / s) * s;
    case NUMERIC_MXFP6: return float_nearest(x / s, 2, 3, 7.5) * s;
    case NUMERIC_MXFP8: return float_nearest(x / s, 4, 3, 448) * s;
    case NUMERIC_SHIFT: return shift_nearest(x / s, f->bits) * s;
    case NUMERIC_BINARY: return x < 0 ? -s : s;
    case NUMERIC_TERNARY: return rint(clamp(x / s, -1, 1)) * s;
    case NUMERIC_TWN: return fabs(x) <= fit->second ? 0 : x < 0 ? -s : s;
    default: return 0;
    }
}

static void round_pairs(const struct numeric_fit *fit, float *x, int64_t cols)
{
    for (int64_t c = 0; c + 1 < cols; c += 2) {
        const int q = quarter((double)x[c], (double)x[c + 1]);
        const double s = q % 2 ? fit->second : fit->scale;
        x[c + q % 2] = (float)(q < 2 ? s : -s);
        x[c + 1 - q % 2] = 0;
    }
}

void numeric_round(const struct numeric *f, const struct numeric_fit *fit, float *x, int64_t rows,
                   int64_t cols, int64_t stride)
{
    for (int64_t r = 0; r < rows; r++, x += stride) {
        if (f->base == NUMERIC_CPX)
            round_pairs(fit, x, cols);
        else if (!(fit->scale > 0))
            memset(x, 0, (size_t)cols * sizeof *x);
        else
            for (int64_t c = 0; c < cols; c++)
                x[c] = (float)round_one(f, fit, (double)x[c]) + 0.0f; /* no negative zero */
    }
}

/* ---- whole tensors ---- */

struct job {
    const struct numeric *f;
    float *x;
    int64_t rows, cols, down, across; /* groups: from top to bottom, from left to right */
    int64_t group_rows, group_cols;
    double tensor;   /* scale of scales */
    double *largest; /* [down] scale of the groups of a stripe */
    int64_t *bad;    /* [down] first element that is not finite, -1 if none */
    enum { JOB_CHECK, JOB_LARGEST, JOB_ROUND } what;
};

static struct patch patch_at(const struct job *j, int64_t y, int64_t x)
{
    const int64_t r = y * j->group_rows, c = x * j->group_cols;
    const int64_t rows = j->rows - r < j->group_rows ? j->rows - r : j->group_rows;
    const int64_t cols = j->cols - c < j->group_cols ? j->cols - c : j->group_cols;
    return (struct patch){ j->x + r * j->cols + c, rows, cols, j->cols };
}

static int64_t first_bad(const struct job *j, int64_t y)
{
    const struct patch p = patch_at(j, y, 0);
    const int64_t n = p.rows * j->cols, from = p.x - j->x;
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(p.x[i]))
            return from + i;
    return -1;
}

/* A stripe of groups side by side. */
static void stripe(void *data, int64_t y, int worker)
{
    const struct job *j = data;
    (void)worker;
    if (j->what == JOB_CHECK) {
        j->bad[y] = first_bad(j, y);
        return;
    }
    double most = 0;
    for (int64_t x = 0; x < j->across; x++) {
        const struct patch p = patch_at(j, y, x);
        if (j->what == JOB_LARGEST) {
            double s[2];
            raw_fit(j->f, &p, s);
            most = fmax(most, fmax(s[0], j->f->base == NUMERIC_CPX ? s[1] : 0));
            continue;
        }
        const struct numeric_fit fit = fit_patch(j->f, &p, j->tensor);
        numeric_round(j->f, &fit, p.x, p.rows, p.cols, p.stride);
    }
    if (j->what == JOB_LARGEST)
        j->largest[y] = most;
}

static void cut(const struct numeric *f, struct job *j)
{
    j->group_rows = f->grain == GRAIN_BLOCK                                 ? f->n
                    : f->grain == GRAIN_TENSOR || f->grain == GRAIN_CHANNEL ? j->rows
                                                                            : 1;
    j->group_cols = f->grain == GRAIN_BLOCK     ? f->m
                    : f->grain == GRAIN_GROUP   ? f->n
                    : f->grain == GRAIN_CHANNEL ? 1
                                                : j->cols;
    j->down = pool_chunks(j->rows, j->group_rows);
    j->across = pool_chunks(j->cols, j->group_cols);
}

static enum st run(struct job *j, struct pool *pool, const volatile sig_atomic_t *cancel,
                   struct err *e)
{
    for (j->what = JOB_CHECK; j->what <= JOB_ROUND; j->what++) {
        if (j->what == JOB_LARGEST && j->f->scale != SCALE_UE4M3)
            continue;
        if (!pool_for(pool, j->down, stripe, j, cancel))
            return st_fail(e, ST_CANCELLED, "interrupted");
        double most = 0;
        for (int64_t y = 0; y < j->down; y++)
            if (j->what == JOB_LARGEST)
                most = fmax(most, j->largest[y]);
            else if (j->what == JOB_CHECK && j->bad[y] >= 0)
                return st_fail(e, ST_RANGE, "row %lld, column %lld is %g",
                               (long long)(j->bad[y] / j->cols), (long long)(j->bad[y] % j->cols),
                               (double)j->x[j->bad[y]]);
        j->tensor = (double)(float)(most / 448);
    }
    return ST_OK;
}

enum st numeric_simulate(const struct numeric *f, float *x, int64_t rows, int64_t cols,
                         struct pool *pool, const volatile sig_atomic_t *cancel, struct err *e)
{
    struct job j = { .f = f, .x = x, .rows = rows, .cols = cols };
    void *memory;
    enum st st = numeric_fits(f, (uint64_t)cols, e);
    if (st || !rows || !cols)
        return st;
    cut(f, &j);
    if ((st = mem_alloc(&memory, (size_t)j.down * (sizeof *j.largest + sizeof *j.bad),
                        "scales of groups", e)))
        return st;
    j.largest = memory;
    j.bad = (int64_t *)(void *)(j.largest + j.down);
    st = run(&j, pool, cancel, e);
    mem_free(memory);
    return st;
}
