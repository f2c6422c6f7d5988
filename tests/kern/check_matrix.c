/* SPDX-License-Identifier: MIT */
/* Whole products: every mode at every level, with any number of tokens and threads. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/codec.h"
#include "tests/kern/checks.h"

struct product {
    struct matrix w;
    int64_t tokens;
    float *x, *bias, *y, *want;
};

/* Counts on both sides of where a mode changes its ways; many in every fifth trial, the second
 * among them. */
static int64_t draw_tokens(struct trial *t)
{
    static const int64_t some[] = { 1, 1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 33, -1 };
    static const int64_t many[] = { 33, 64, 47, 130 };
    return t->number % 5 == 1 ? many[t->number / 5 % 4] : draw_of(t, some);
}

/* Bytes from one row to the next: floats may stay aligned. */
static int64_t draw_gap(struct trial *t)
{
    return t->number / 2 % 3 != 1 ? 0 : draw(t) & 1 ? 4 * draw_int(t, 1, 40) : draw_int(t, 1, 70);
}

static struct product draw_product(struct trial *t, const char *name, int64_t tokens)
{
    const enum format f = format_of(name);
    const struct format_info *info = format_info(f);
    const enum scales scales = (enum scales)(t->number % SCALES__COUNT);
    const enum draw_kind kind = t->number < DRAW__COUNT ? (enum draw_kind)t->number
                                                        : DRAW_UNIFORM;
    struct product p = { .w = { .format = f, .rows = draw_int(t, 1, 40) },
                         .tokens = tokens };
    const int64_t most = p.tokens > 33 ? 300 : 1500; /* of columns: emulated tiles are slow */
    p.w.cols = info->block > 1 ? info->block * draw_int(t, 1, most / info->block)
                               : draw_length(t, 1, most);
    if (!format_row_bytes(f, (uint64_t)p.w.cols, &p.w.row_bytes))
        kern_fail("no such row");
    const bool scaled = t->number % 4 == 1;
    const int64_t used = (int64_t)p.w.row_bytes, gap = draw_gap(t);
    kern_note("%d rows, %d columns, %d tokens, %s, kind %d of scales%s, %d bytes between rows",
              (int)p.w.rows, (int)p.w.cols, (int)p.tokens, draw_name(kind), (int)scales,
              scaled ? ", one beside the weight" : "", (int)gap);
    p.w.row_bytes += (size_t)gap;
    GUARD(t, uint8_t, data, (p.w.rows - 1) * (used + gap) + used, GUARD_IN);
    GUARD(t, uint8_t, scale, sizeof(float), GUARD_IN);
    GUARD(t, float, x, p.tokens * p.w.cols, GUARD_IN);
    GUARD(t, float, bias, p.w.rows, GUARD_IN);
    GUARD(t, float, y, p.tokens * p.w.rows, GUARD_OUT);
    GUARD(t, float, want, p.tokens * p.w.rows, GUARD_OUT);
    for (int64_t r = 0; r < p.w.rows; r++)
        draw_blocks(t, f, scales, data + r * (used + gap), used);
    draw_blocks(t, format_of("f32"), SCALES_USUAL, scale, sizeof(float));
    draw_floats(t, kind, x, p.tokens * p.w.cols);
    draw_floats(t, DRAW_UNIFORM, bias, p.w.rows);
    p.w.data = data;
    p.w.scale = scaled ? scale : NULL;
    p.x = x, p.bias = draw(t) & 1 ? bias : NULL, p.y = y, p.want = want;
    guard_seal();
    return p;
}

static void all_at_once(struct trial *t, const struct product *p, enum compute mode)
{
    struct pool *pool = pool_new((int)draw_int(t, 1, 3));
    CALL(matrix_mul, &p->w, p->bias, p->x, p->tokens, p->y, mode, pool, NULL);
    pool_free(pool);
}

/* How a format without integers is multiplied. */
struct way {
    const char *format;
    float (*round)(float x); /* activations */
    float (*sum)(const float *w, const float *x, int64_t n);
};

static float halves_sum(const float *w, const float *x, int64_t n)
{
    return define_sixteen(false, w, x, n);
}

static float brains_sum(const float *w, const float *x, int64_t n)
{
    return define_sixteen(true, w, x, n);
}

static float to_half(float x) { return f16_to_f32(f32_to_f16(x)); }
static float to_brain(float x) { return bf16_to_f32(f32_to_bf16(x)); }
static float as_it_is(float x) { return x; }

static const struct way exact_way = { NULL, as_it_is, define_exact };

static const struct way *native_way(enum format f)
{
    static const struct way ways[] = { { "f16", to_half, halves_sum },
                                       { "bf16", to_brain, brains_sum } };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (!strcmp(ways[i].format, format_info(f)->name))
            return &ways[i];
    return &exact_way;
}

/* want = sums of rows and tokens, without scale and bias. */
static void define_sums(struct trial *t, const struct product *p, const struct way *way)
{
    const struct format_info *info = format_info(p->w.format);
    const int64_t cols = p->w.cols;
    GUARD(t, float, row, cols, GUARD_OUT);
    GUARD(t, float, x, p->tokens * cols, GUARD_OUT);
    for (int64_t i = 0; i < p->tokens * cols; i++)
        x[i] = way->round(p->x[i]);
    for (int64_t r = 0; r < p->w.rows; r++) {
        info->decode((const char *)p->w.data + (size_t)r * p->w.row_bytes, row, cols);
        for (int64_t k = 0; k < p->tokens; k++)
            p->want[k * p->w.rows + r] = way->sum(row, x + k * cols, cols);
    }
}

/* The sums of want, times the scale, and the bias added last: every bit. */
static void expect_sums(const struct product *p)
{
    for (int64_t i = 0; i < p->tokens * p->w.rows; i++) {
        if (p->w.scale)
            p->want[i] *= matrix_scale(&p->w);
        if (p->bias)
            p->want[i] += p->bias[i % p->w.rows];
    }
    expect_bits("y", p->y, p->want, p->tokens * p->w.rows);
}

/* Results of mode exact against double. */
static void expect_products(struct trial *t, const struct product *p)
{
    const struct format_info *info = format_info(p->w.format);
    const double scale = (double)matrix_scale(&p->w);
    GUARD(t, float, row, p->w.cols, GUARD_OUT);
    for (int64_t r = 0; r < p->w.rows; r++) {
        info->decode((const char *)p->w.data + (size_t)r * p->w.row_bytes, row, p->w.cols);
        for (int64_t k = 0; k < p->tokens; k++) {
            double sum = 0, size = 0;
            for (int64_t c = 0; c < p->w.cols; c++) {
                const double term = (double)row[c] * (double)p->x[k * p->w.cols + c];
                sum += term;
                size += fabs(term);
            }
            const double bias = p->bias ? (double)p->bias[r] : 0;
            const float got = p->y[k * p->w.rows + r];
            if (isnan(size))
                expect_int("y is NaN", k * p->w.rows + r, isnan(got), 1);
            else if (size < (double)FLT_MAX / 2)
                expect_near("y", k * p->w.rows + r, (double)got, sum * scale + bias,
                            ldexp(size * fabs(scale), -20) + ldexp((double)p->w.cols, -149)
                                + ldexp(fabs(bias), -23));
        }
    }
}

void check_matrix_exact(struct trial *t)
{
    const struct product p = draw_product(t, decoded_name(t->variant), draw_tokens(t));
    all_at_once(t, &p, COMPUTE_EXACT);
    define_sums(t, &p, &exact_way);
    expect_sums(&p);
    expect_products(t, &p);
}

void check_matrix_native(struct trial *t)
{
    const struct product p = draw_product(t, decoded_name(t->variant), draw_tokens(t));
    all_at_once(t, &p, COMPUTE_NATIVE);
    if (native_format(p.w.format))
        define_native_product(t, &p.w, false, p.x, p.tokens, p.want);
    else
        define_sums(t, &p, native_way(p.w.format));
    expect_sums(&p);
}

/* The bound, or the bits of integers; the same bits whatever the threads. */
void check_matrix_fast(struct trial *t)
{
    const struct product p = draw_product(t, decoded_name(t->variant), draw_tokens(t));
    const struct format_info *info = format_info(p.w.format);
    GUARD(t, float, row, p.w.cols, GUARD_OUT);
    matrix_mul(&p.w, p.bias, p.x, p.tokens, p.want, COMPUTE_FAST, NULL, NULL);
    all_at_once(t, &p, COMPUTE_FAST);
    expect_bits("y with threads", p.y, p.want, p.tokens * p.w.rows);
    if (native_format(p.w.format) && p.tokens < FAST_LEAST_TOKENS) {
        define_native_product(t, &p.w, true, p.x, p.tokens, p.want);
        expect_sums(&p);
        return;
    }
    if (native_format(p.w.format) && t->level->words) {
        define_words_product(t, &p.w, p.x, p.tokens, p.want);
        expect_sums(&p);
        return;
    }
    for (int64_t r = 0; r < p.w.rows; r++) {
        info->decode((const char *)p.w.data + (size_t)r * p.w.row_bytes, row, p.w.cols);
        for (int64_t k = 0; k < p.tokens; k++)
            expect_fast(t->level, k * p.w.rows + r, p.y[k * p.w.rows + r], row,
                        p.x + k * p.w.cols, p.w.cols, matrix_scale(&p.w),
                        p.bias ? p.bias[r] : 0);
    }
}

/* What is cancelled beforehand writes nothing: all modes, few tokens and many. */
void check_matrix_cancel(struct trial *t)
{
    static const int64_t counts[] = { 1, 16, 64 };
    const enum compute mode = (enum compute)(t->number / 3 % COMPUTE__COUNT);
    struct product p = draw_product(t, decoded_name(t->variant), counts[t->number % 3]);
    const volatile sig_atomic_t cancel = 1;
    kern_note("mode %s, %d tokens", compute_name(mode), (int)p.tokens);
    struct pool *pool = pool_new((int)draw_int(t, 1, 3));
    CALL(matrix_mul, &p.w, p.bias, p.x, p.tokens, p.y, mode, pool, &cancel);
    pool_free(pool);
    expect_bits("y", p.y, p.want, p.tokens * p.w.rows);
}
