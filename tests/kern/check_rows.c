/* SPDX-License-Identifier: MIT */
/* Row kernels against their formulas in double; norms also bit for bit, with sums in the order of
 * docs/modes.md. */
#include <math.h>
#include <string.h>

#include "kernels/rows.h"
#include "tests/kern/checks.h"

/* A row, and where the result goes: another row, or the same. */
struct row {
    int64_t n;
    enum draw_kind kind;
    float *x, *y, *want; /* want: for level c */
    const float *from; /* x, or y with the same numbers */
};

static struct row draw_row(struct trial *t, int64_t least, int64_t most)
{
    struct row r = { .n = draw_length(t, least, most), .kind = draw_kind(t, DRAW__COUNT) };
    kern_note("%d numbers, %s", (int)r.n, draw_name(r.kind));
    GUARD(t, float, x, r.n, GUARD_IN);
    GUARD(t, float, y, r.n, GUARD_OUT);
    GUARD(t, float, want, r.n, GUARD_OUT);
    draw_floats(t, r.kind, x, r.n);
    r.x = x, r.y = y, r.want = want, r.from = x;
    if (draw(t) & 1) {
        memcpy(y, x, (size_t)r.n * sizeof *x);
        r.from = y;
    }
    return r;
}

/* Numbers much larger than all others, whose sum is nothing: it depends on the order of additions
 * how much of the others is left. */
static void plant_opposites(struct trial *t, struct row *r)
{
    for (int i = 0; r->kind == DRAW_OUTLIER && i < 3; i++) {
        const int64_t a = draw_int(t, 0, r->n - 1), b = draw_int(t, 0, r->n - 1);
        r->x[a] = 0x1p50f;
        r->x[b] = -0x1p50f;
    }
    memcpy(r->y, r->x, (size_t)r->n * sizeof *r->x);
}

/* Factors and offsets that channels have. */
static float *draw_gain(struct trial *t, const char *name, int64_t n)
{
    float *gain = guard(t, name, n, sizeof *gain, sizeof *gain, GUARD_IN);
    draw_floats(t, DRAW_UNIFORM, gain, n);
    return draw(t) & 3 ? gain : NULL;
}

void check_rms_norm(struct trial *t)
{
    const struct row r = draw_row(t, 1, 3000);
    const float *gain = draw_gain(t, "gain", r.n), eps = 1e-5f;
    GUARD(t, double, square, r.n, GUARD_OUT);
    guard_seal();
    for (int64_t i = 0; i < r.n; i++)
        square[i] = (double)r.x[i] * (double)r.x[i];
    const double scale = 1 / sqrt(define_doubles(square, r.n) / (double)r.n + (double)eps);
    for (int64_t i = 0; i < r.n; i++)
        r.want[i] = r.x[i] * (float)scale * (gain ? gain[i] : 1);
    CALL(row_rms_norm, r.from, gain, r.n, eps, r.y);
    expect_bits("y", r.y, r.want, r.n);
    for (int64_t i = 0; i < r.n; i++) {
        const double want = (double)r.x[i] * scale * (gain ? (double)gain[i] : 1);
        /* the scale of numbers next to overflow is denormal */
        expect_near("y", i, (double)r.y[i], want,
                    ldexp(fabs(want), scale < 0x1p-126 ? -18 : -22) + 0x1p-148);
    }
}

/* (x - mean)^power summed, power 1 or 2. */
static double define_moment(const float *x, int64_t n, double mean, int power, double *term)
{
    for (int64_t i = 0; i < n; i++) {
        const double d = (double)x[i] - mean;
        term[i] = power == 2 ? d * d : d;
    }
    return define_doubles(term, n);
}

static void define_layer_norm(const struct row *r, const float *gain, const float *bias, float eps,
                              double *term)
{
    const double n = (double)r->n, mean = define_moment(r->x, r->n, 0, 1, term) / n;
    const double var = define_moment(r->x, r->n, mean, 2, term) / n;
    const double scale = 1 / sqrt(var + (double)eps);
    for (int64_t i = 0; i < r->n; i++) {
        const float norm = (float)(((double)r->x[i] - mean) * scale);
        r->want[i] = norm * (gain ? gain[i] : 1) + (bias ? bias[i] : 0);
    }
}

void check_layer_norm(struct trial *t)
{
    struct row r = draw_row(t, 1, 3000);
    const float *gain = draw_gain(t, "gain", r.n), *bias = draw_gain(t, "bias", r.n), eps = 1e-5f;
    GUARD(t, double, term, r.n, GUARD_OUT);
    plant_opposites(t, &r);
    long double sum = 0, square = 0, largest = 0;
    guard_seal();
    for (int64_t i = 0; i < r.n; i++)
        sum += (long double)r.x[i];
    const long double mean = sum / r.n;
    for (int64_t i = 0; i < r.n; i++) {
        square += (r.x[i] - mean) * (r.x[i] - mean);
        largest = fmaxl(largest, fabsl((long double)r.x[i]));
    }
    const long double scale = 1 / sqrtl(square / r.n + (long double)eps);
    define_layer_norm(&r, gain, bias, eps, term);
    CALL(row_layer_norm, r.from, gain, bias, r.n, eps, r.y);
    expect_bits("y", r.y, r.want, r.n);
    const double lost = ldexp((double)(largest * scale), -50); /* of the mean, beside the largest */
    for (int64_t i = 0; i < r.n; i++) {
        const double g = gain ? (double)gain[i] : 1, b = bias ? (double)bias[i] : 0;
        const double norm = (double)((r.x[i] - mean) * scale);
        const double size = fabs(norm * g) + fabs(b);
        expect_near("y", i, (double)r.y[i], norm * g + b,
                    ldexp(size, -22) + lost * fabs(g) + 0x1p-148);
    }
}

void check_softmax(struct trial *t)
{
    struct row r = draw_row(t, 1, 3000);
    const int64_t visible = draw_int(t, 0, 3) ? draw_int(t, 1, r.n) : r.n;
    double max = -INFINITY, sum = 0;
    bool nan = false;
    for (int64_t i = 0; r.kind == DRAW_UNIFORM && i < r.n; i++) { /* scores, some of them masked */
        r.x[i] = draw_int(t, 0, 9) ? r.x[i] * 20 : -INFINITY;
        r.y[i] = r.x[i];
    }
    guard_seal();
    for (int64_t i = 0; i < visible; i++) {
        nan = nan || isnan(r.x[i]) || r.x[i] == INFINITY;
        max = fmax(max, (double)r.x[i]);
    }
    for (int64_t i = 0; i < visible; i++)
        sum += exp((double)r.x[i] - max);
    level_c.row.softmax(r.x, visible, r.n, r.want);
    CALL(row_softmax, r.from, visible, r.n, r.y);
    expect_bits("p", r.y, r.want, r.n);
    for (int64_t i = 0; i < r.n; i++) {
        const double away = (double)r.x[i] - max, want = exp(away) / sum;
        if (i >= visible)
            expect_near("hidden p", i, (double)r.y[i], 0, 0);
        else if (nan || max == -INFINITY)
            expect_int("p is NaN", i, isnan(r.y[i]), 1);
        else
            expect_near("p", i, (double)r.y[i], want,
                        ldexp(want * fmin(4 - away, 200), -23) + 0x1p-148);
    }
}

/* e^x within 1.05 units in the last place, as softmax of 0 and x shows it: [0] and [1] of `p` are
 * 1 / (1 + e^x) and that times e^x, rounded. */
static bool is_exp(float x, const float p[2])
{
    const long double exact = expl((long double)x);
    const int exponent = exact < 0x1p-126L ? -126 : ilogbl(exact);
    const float near = (float)exact, all[] = { near, nextafterf(near, 0), nextafterf(near, 2) };
    for (int i = 0; i < 3; i++) {
        const float scale = (float)(1 / (1 + (double)all[i]));
        if (fabsl(all[i] - exact) <= 1.05L * ldexpl(1, exponent - 23) && p[0] == scale
            && p[1] == all[i] * scale)
            return true;
    }
    return false;
}

void check_exp(struct trial *t)
{
    enum { NUMBERS = 2000 };
    const int64_t n = draw_int(t, 2, 40), zero = draw_int(t, 0, n - 1);
    const int64_t at = (zero + draw_int(t, 1, n - 1)) % n;
    GUARD(t, float, x, n, GUARD_OUT);
    GUARD(t, float, p, n, GUARD_OUT);
    kern_note("%d numbers", (int)n);
    for (int64_t i = 0; i < n; i++)
        x[i] = -INFINITY;
    x[zero] = 0;
    for (int i = 0; i < NUMBERS; i++) {
        /* also where the argument of the polynomial is largest */
        const double part = draw(t) & 1 ? (draw_unit(t) + 1) / 2 : 0.5 + draw_unit(t) / 64;
        x[at] = (float)(-((double)draw_int(t, 0, 150) + part) * M_LN2);
        t->level->row.softmax(x, n, n, p);
        if (!is_exp(x[at], (const float[2]){ p[zero], p[at] }))
            kern_fail("e^%.9g: softmax of 0 and that is %.9g and %.9g", x[at], p[zero], p[at]);
    }
}

/* e^x of the level, x <= -18: beside it, the largest is not less than one. */
static float exp_of(const struct trial *t, float x)
{
    const float row[2] = { 0, x };
    float p[2];
    t->level->row.softmax(row, 2, 2, p);
    if (p[0] != 1)
        kern_fail("e^%.9g is not small", x);
    return p[1];
}

/* Numbers x[at], x[at + 16], ... whose e^x add up to `sum`, or a little less. */
static void put_sum(const struct trial *t, double sum, float *x, int64_t n, int64_t at)
{
    for (; at < n && sum > 0x1p-58; at += 16) {
        float d = (float)log(fmin(sum, 0x1p-27));
        while ((double)exp_of(t, d) > sum)
            d = nextafterf(d, -INFINITY);
        x[at] = d;
        sum -= (double)exp_of(t, d);
    }
}

/* Softmax of a row whose sum, 1 + 2^-25 + 2^-50 and some units in the last place of a double, has
 * an inverse half way between two floats: what is added in another order has another one. */
void check_softmax_sum(struct trial *t)
{
    enum { NUMBERS = 16 * 40 };
    const double half_way = 0x1p-25 + 0x1p-50;
    const int64_t lane = draw_int(t, 0, 15), n = NUMBERS + draw_int(t, 0, 15);
    GUARD(t, float, x, n, GUARD_OUT);
    GUARD(t, float, p, n, GUARD_OUT);
    GUARD(t, float, want, n, GUARD_OUT);
    GUARD(t, double, e, n, GUARD_OUT);
    float other = 0, scale = 0;
    for (int ulps = 0; ulps < 16 && scale == other; ulps++) {
        for (int64_t i = 0; i < n; i++) /* each lane less than half a unit, and 1 in one of them */
            x[i] = i == lane ? 0 : i < 16 ? -36.9f : -INFINITY;
        put_sum(t, half_way - ulps * 0x1p-52, x, n, lane + 16);
        double ascending = 0;
        for (int64_t i = 0; i < n; i++) {
            e[i] = x[i] == 0 ? 1 : isinf(x[i]) ? 0 : (double)exp_of(t, x[i]);
            ascending += i == lane ? 0 : i % 16 == lane ? e[i] : 0;
        }
        ascending += 1; /* beside which each of the others is lost */
        scale = (float)(1 / define_doubles(e, n));
        other = (float)(1 / ascending);
    }
    expect_int("the order does not matter", 0, scale == other, 0);
    for (int64_t i = 0; i < n; i++)
        want[i] = (float)e[i] * scale;
    CALL(row_softmax, x, n, n, p);
    expect_bits("p", p, want, n);
}

/* The function, and how far rounding of its argument may carry the result. */
static double define_activation(enum activation a, double x, double *bound)
{
    const double u = 1.5957691216057308 * x * (1 + 0.044715 * x * x), tiny = 0x1p-118;
    double y = 0;
    switch (a) {
    case ACT_SILU:
        y = x / (1 + exp(-x));
        *bound = ldexp(fabs(y) * (fabs(x) + 4), -23) + tiny;
        break;
    case ACT_GELU_TANH:
        y = x / (1 + exp(-u));
        *bound = ldexp(fabs(y) * (fmin(fabs(u), 110) + 4), -21) + tiny;
        break;
    case ACT_GELU_ERF:
        y = 0.5 * x * (1 + erf(x * M_SQRT1_2));
        *bound = ldexp(fabs(x), -22) + 0x1p-149;
        break;
    case ACT_GELU_QUICK:
        y = x / (1 + exp(-1.702 * x));
        *bound = ldexp(fabs(y) * (fmin(fabs(2 * x), 110) + 4), -22) + tiny;
        break;
    case ACT_RELU:
        y = x > 0 ? x : 0;
        *bound = 0;
        break;
    case ACT_SOFTPLUS:
        y = x > 40 ? x : log1p(exp(x));
        *bound = ldexp(y * (fmin(fabs(x), 110) + 4), -22) + 0x1p-148;
        break;
    case ACT__COUNT: break;
    }
    return y;
}

const char *row_activation_name(int i)
{
    return i < ACT__COUNT ? activation_name((enum activation)i) : NULL;
}

void check_activation(struct trial *t)
{
    struct row r = draw_row(t, 0, 2000);
    const enum activation a = (enum activation)t->variant;
    for (int64_t i = 0; r.kind == DRAW_WIDE && i < r.n; i++)
        r.y[i] = r.x[i] = r.x[i] * 0.1f;
    guard_seal();
    level_c.row.activate(a, r.x, r.n, r.want);
    CALL(row_activate, a, r.from, r.n, r.y);
    expect_bits("y", r.y, r.want, r.n);
    for (int64_t i = 0; i < r.n; i++) {
        double bound = 0;
        const double want = define_activation(a, (double)r.x[i], &bound);
        if (isnan(r.x[i]))
            expect_int("y is NaN", i, isnan(r.y[i]), 1);
        else if (!isinf(r.x[i]))
            expect_near("y", i, (double)r.y[i], want, bound);
    }
}

void check_rope(struct trial *t)
{
    struct rope rope = { .half_split = draw(t) & 1, .n_rot = 2 * draw_int(t, 1, 70) };
    const int64_t half = rope.n_rot / 2, step = rope.half_split ? 1 : 2;
    const int64_t other = rope.half_split ? half : 1;
    const struct row r = draw_row(t, rope.n_rot, rope.n_rot + draw_int(t, 0, 1) * 40);
    GUARD(t, float, cosine, half, GUARD_IN);
    GUARD(t, float, sine, half, GUARD_IN);
    draw_floats(t, DRAW_UNIFORM, cosine, half);
    draw_floats(t, DRAW_UNIFORM, sine, half);
    guard_seal();
    level_c.row.rope(&rope, cosine, sine, r.x, r.n, r.want);
    CALL(row_rope, &rope, cosine, sine, r.from, r.n, r.y);
    expect_bits("y", r.y, r.want, r.n);
    for (int64_t i = 0; i < half; i++) {
        const double a = (double)r.x[i * step], b = (double)r.x[i * step + other];
        const double c = (double)cosine[i], s = (double)sine[i];
        const double size = ldexp(fabs(a) + fabs(b), -22) + 0x1p-148;
        if (isfinite(a) && isfinite(b)) {
            expect_near("y", i * step, (double)r.y[i * step], a * c - b * s, size);
            expect_near("y", i * step + other, (double)r.y[i * step + other], a * s + b * c, size);
        }
    }
    expect_bits("rest", r.y + rope.n_rot, r.x + rope.n_rot, r.n - rope.n_rot);
}

void check_add_multiply(struct trial *t)
{
    const struct row r = draw_row(t, 0, 3000);
    const bool multiply = draw(t) & 1;
    GUARD(t, float, b, r.n, GUARD_IN);
    draw_floats(t, r.kind, b, r.n);
    guard_seal();
    for (int64_t i = 0; i < r.n; i++)
        r.want[i] = multiply ? r.x[i] * b[i] : r.x[i] + b[i];
    CALL(multiply ? row_multiply : row_add, r.from, b, r.n, r.y);
    expect_bits("y", r.y, r.want, r.n);
}
