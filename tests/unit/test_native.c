/* SPDX-License-Identifier: MIT */
/* Native mode: integer sums against a direct specification, float results against double, and the
 * same bits for every level, number of tokens and number of threads. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/level.h"
#include "kernels/matrix.h"
#include "kernels/native.h"

static uint64_t seed = 1;

static uint64_t draw(void) { return unit_random(&seed); }
static float uniform(void) { return (float)((double)(draw() >> 11) * 0x1p-52 - 1); }

/* Where each format keeps its scale and minimum as halves (-1: none, -2: elsewhere). */
static const struct layout {
    const char *name;
    int d, m;
} layouts[] = {
    { "q1_0", 0, -1 },   { "q2_0", 0, -1 },   { "q4_0", 0, -1 },    { "q4_1", 0, 2 },
    { "q5_0", 0, -1 },   { "q5_1", 0, 2 },    { "q8_0", 0, -1 },    { "iq4_nl", 0, -1 },
    { "mxfp4", -2, -1 }, { "nvfp4", -2, -1 }, { "q2_k", 80, 82 },   { "q3_k", 108, -1 },
    { "q4_k", 0, 2 },    { "q5_k", 0, 2 },    { "q6_k", 208, -1 },  { "tq1_0", 52, -1 },
    { "tq2_0", 64, -1 }, { "iq1_s", 0, -1 },  { "iq1_m", -2, -1 },  { "iq2_xxs", 0, -1 },
    { "iq2_xs", 0, -1 }, { "iq2_s", 0, -1 },  { "iq3_xxs", 0, -1 }, { "iq3_s", 0, -1 },
    { "iq4_xs", 0, -1 },
};

enum { N_LAYOUTS = sizeof layouts / sizeof *layouts };

static void put_half(uint8_t *p, uint16_t h)
{
    p[0] = (uint8_t)h;
    p[1] = (uint8_t)(h >> 8);
}

/* Give a block the scale and minimum of these halves; the microscaling formats something of their
 * own. */
static void set_scales(const struct layout *l, uint8_t *p, uint16_t d, uint16_t m)
{
    if (l->d >= 0)
        put_half(p + l->d, d);
    if (l->m >= 0)
        put_half(p + l->m, m);
    if (!strcmp(l->name, "mxfp4"))
        p[0] = d == 0x3c00 ? 128 : (uint8_t)(120 + d % 16);
    for (int i = 0; i < 4 && !strcmp(l->name, "nvfp4"); i++)
        p[i] = d == 0x3c00 ? 0x40 : (uint8_t)(0x30 + (d + i) % 32);
    for (int i = 0; i < 4 && !strcmp(l->name, "iq1_m"); i++)
        p[49 + 2 * i] = (uint8_t)((p[49 + 2 * i] & 15) | (d >> 4 * i & 15) << 4);
}

enum fill { FILL_RANDOM, FILL_ZEROS, FILL_ONES, FILL_LOW, FILL_HIGH, N_FILLS };

static struct matrix make_weights(const struct layout *l, int64_t rows, int64_t cols,
                                  enum fill fill, bool unit)
{
    static const uint8_t byte[N_FILLS] = { 0, 0, 0xff, 0x7f, 0x80 };
    const enum format f = format_by_name(l->name);
    const struct format_info *info = format_info(f);
    struct matrix w = { f, NULL, 0, rows, cols, NULL };
    assert_true(format_row_bytes(f, (uint64_t)cols, &w.row_bytes));
    uint8_t *p = x_alloc(w.row_bytes * (size_t)rows + 1);
    w.data = p + 1; /* aligned to nothing */
    for (size_t i = 0; i < w.row_bytes * (size_t)rows; i++)
        p[1 + i] = fill == FILL_RANDOM ? (uint8_t)draw() : byte[fill];
    for (size_t i = 0; i < w.row_bytes * (size_t)rows; i += (size_t)info->bytes)
        set_scales(l, p + 1 + i, unit ? 0x3c00 : (uint16_t)(0x2000 + draw() % 0x1000),
                   unit ? 0x3c00 : (uint16_t)(0x2000 + draw() % 0x1000));
    return w;
}

static void free_weights(struct matrix *w) { free((uint8_t *)w->data - 1); }

/* A row in doubles: value = scale[i] * level[i] + offset[i]. */
struct plain {
    double scaled[4096], offset[4096];
};

static void take_apart(const struct matrix *w, int64_t r, struct plain *out)
{
    const struct format_info *info = format_info(w->format);
    const uint8_t *p = (const uint8_t *)w->data + (size_t)r * w->row_bytes;
    for (int64_t c = 0; c < w->cols; c += info->block, p += info->bytes) {
        struct block_view v;
        info->view(p, &v);
        for (int i = 0; i < v.n; i++) {
            const int s = i / v.sub_size;
            out->scaled[c + i] = (double)v.scale[s] * v.level[i];
            out->offset[c + i] = v.offset[s];
        }
    }
}

/* The product of a row and a token from the specification: terms in double, and the sum of their
 * magnitudes. */
static double specified(const struct native_format *f, const struct plain *w,
                        const struct native_acts *a, int64_t t, double *magnitude)
{
    double sum = 0;
    *magnitude = 0;
    for (int64_t g = 0; g < a->cols / f->group; g++) {
        double dot = 0, minima = 0;
        for (int64_t i = g * f->group; i < (g + 1) * f->group; i++) {
            dot += w->scaled[i] * a->code[t * a->stride + i];
            minima += w->offset[i] * a->code[t * a->stride + i];
        }
        const double dx = a->d[(t * a->stride + g * f->group) / a->block];
        double rest = minima * dx;
        if (a->s)
            rest = w->offset[g * f->group] * a->s[(t * a->stride + g * f->group) / a->block];
        sum += dot * dx + rest;
        *magnitude += fabs(dot * dx) + fabs(rest);
    }
    return sum;
}

static void multiply(const struct level *l, const struct matrix *w, const float *x, int64_t tokens,
                     float *y, struct pool *pool)
{
    level_force(l);
    matrix_mul(w, NULL, x, tokens, y, COMPUTE_NATIVE, pool, NULL);
    level_force(NULL);
}

static struct native_acts quantized(const struct native_format *f, const float *x, int64_t tokens,
                                    int64_t cols)
{
    struct native_acts a;
    native_acts_init(&a, f, tokens, cols);
    for (int64_t t = 0; t < tokens; t++)
        native_acts_set(&a, f, t, x + t * cols);
    return a;
}

static void the_table_covers_what_files_hold(void **state)
{
    (void)state;
    int covered = 0;
    for (int i = 0; i < format_count(); i++) {
        const struct format_info *info = format_info((enum format)i);
        const bool activation = !strcmp(info->name, "q8_1") || !strcmp(info->name, "q8_k");
        const struct native_format *f = native_format((enum format)i);
        assert_int_equal(f != NULL, info->quantized && info->decode && !activation);
        covered += f != NULL;
        if (f) {
            assert_int_equal((f->act == NATIVE_Q8_K), info->block == 256);
            assert_string_equal(matrix_activations((enum format)i), native_act_name(f->act));
        }
    }
    assert_int_equal(covered, NATIVE__COUNT);
    assert_int_equal(covered, N_LAYOUTS);
    assert_string_equal(matrix_activations(format_by_name("f16")), "f16");
    assert_string_equal(matrix_activations(format_by_name("bf16")), "bf16");
    assert_string_equal(matrix_activations(format_by_name("f32")), "f32");
    assert_string_equal(matrix_activations(format_by_name("q8_k")), "f32");
}

/* Integers of magnitude <= top with 127 first in every 256 and every 32: quantized they are
 * themselves. */
static void whole_numbers(float *x, int64_t n, int top)
{
    for (int64_t i = 0; i < n; i++) {
        x[i] = top == 127 ? (float)(draw() & 1 ? 127 : -127)
                          : (float)((int)(draw() % (2 * (uint64_t)top + 1)) - top);
        if (i % 32 == 0)
            x[i] = 127;
    }
}

/* Scales and minima are 1 and activations whole, so that a product of one group shows the integer
 * sum. */
static void check_integers(const struct layout *l, const struct level *level, enum fill fill,
                           int top)
{
    enum { ROWS = 19, TOKENS = 5 };
    const struct native_format *f = native_format(format_by_name(l->name));
    const int64_t cols = 256;
    struct matrix w = make_weights(l, ROWS, cols, fill, true);
    float x[TOKENS * 256], y[TOKENS * ROWS];
    whole_numbers(x, TOKENS * cols, top);
    if (fill == FILL_HIGH) /* all of one sign: the largest sums there are */
        for (int i = 0; i < TOKENS * 256; i++)
            x[i] = 127;
    multiply(level, &w, x, TOKENS, y, NULL);
    struct plain *row = x_alloc(sizeof *row);
    for (int r = 0; r < ROWS; r++) {
        take_apart(&w, r, row);
        for (int t = 0; t < TOKENS; t++) {
            float want = 0;
            for (int64_t g = 0; g < cols / f->group; g++) {
                double dot = 0, minima = 0;
                for (int64_t i = g * f->group; i < (g + 1) * f->group; i++) {
                    dot += row->scaled[i] * x[t * cols + i];
                    minima += row->offset[i] * x[t * cols + i];
                }
                want += f->act == NATIVE_Q8_1 ? (float)dot + f16_to_f32(f32_to_f16((float)minima))
                                              : (float)dot + (float)minima;
            }
            if (y[t * ROWS + r] != want)
                fail_msg("%s at %s, fill %d, codes to %d: %g, not %g", l->name, level->name, fill,
                         top, y[t * ROWS + r], want);
        }
    }
    free(row);
    free_weights(&w);
}

static void integer_sums_are_as_specified(void **state)
{
    (void)state;
    for (size_t k = 0; level_at(k); k++)
        for (int i = 0; i < N_LAYOUTS && level_supported(level_at(k)); i++)
            for (int fill = 0; fill < N_FILLS; fill++) {
                check_integers(&layouts[i], level_at(k), (enum fill)fill, 3);
                check_integers(&layouts[i], level_at(k), (enum fill)fill, 126);
                check_integers(&layouts[i], level_at(k), (enum fill)fill, 127);
            }
}

/* abs(error) <= (groups + 4) * 2^-24 * sum of abs(terms). */
static void check_bound(const struct layout *l, int64_t cols)
{
    enum { ROWS = 17, TOKENS = 3 };
    const struct native_format *f = native_format(format_by_name(l->name));
    struct matrix w = make_weights(l, ROWS, cols, FILL_RANDOM, false);
    float *x = x_alloc((size_t)(TOKENS * cols) * sizeof *x), y[TOKENS * ROWS];
    for (int64_t i = 0; i < TOKENS * cols; i++)
        x[i] = uniform() * (i % 97 ? 1.0f : 30.0f);
    multiply(NULL, &w, x, TOKENS, y, NULL);
    struct native_acts a = quantized(f, x, TOKENS, cols);
    struct plain *row = x_alloc(sizeof *row);
    for (int r = 0; r < ROWS; r++) {
        take_apart(&w, r, row);
        for (int t = 0; t < TOKENS; t++) {
            double magnitude, want = specified(f, row, &a, t, &magnitude);
            const double bound = ldexp(magnitude, -24) * (double)(cols / f->group + 4);
            if (!(fabs(y[t * ROWS + r] - want) <= bound))
                fail_msg("%s: %.9g, not %.9g +- %.3g", l->name, y[t * ROWS + r], want, bound);
        }
    }
    native_acts_free(&a);
    free_weights(&w);
    free(row);
    free(x);
}

static void products_stay_within_the_bound(void **state)
{
    (void)state;
    for (int i = 0; i < N_LAYOUTS; i++)
        for (int64_t cols = 256; cols <= 2304; cols += 1024)
            check_bound(&layouts[i], cols);
}

/* Levels, numbers of tokens and of threads, for one format; two and a half pieces of columns. */
static void check_same_bits(const struct layout *l)
{
    enum { ROWS = 37, TOKENS = 19 };
    const int64_t cols = 2 * NATIVE_COLS + 256;
    struct matrix w = make_weights(l, ROWS, cols, FILL_RANDOM, false);
    float *x = x_alloc((size_t)(TOKENS * cols) * sizeof *x);
    for (int64_t i = 0; i < TOKENS * cols; i++)
        x[i] = uniform();
    float want[TOKENS * ROWS], got[TOKENS * ROWS];
    multiply(&level_c, &w, x, TOKENS, want, NULL);
    for (size_t k = 0; level_at(k); k++)
        for (int64_t n = 1; n <= TOKENS && level_supported(level_at(k)); n += n < 9 ? 1 : 5) {
            multiply(level_at(k), &w, x, n, got, NULL);
            if (memcmp(want, got, (size_t)(n * ROWS) * sizeof *got) != 0)
                fail_msg("%s: other bits for %d tokens at %s", l->name, (int)n, level_at(k)->name);
            multiply(level_at(k), &w, x + (TOKENS - n) * cols, n, got, NULL);
            assert_memory_equal(want + (TOKENS - n) * ROWS, got, (size_t)(n * ROWS) * sizeof *got);
        }
    for (int threads = 1; threads <= 3; threads++) {
        struct pool *pool = pool_new(threads);
        multiply(NULL, &w, x, TOKENS, got, pool);
        assert_memory_equal(want, got, sizeof got);
        pool_free(pool);
    }
    free_weights(&w);
    free(x);
}

/* Every number of tokens of a prompt up to 40 and some beyond, with a bias, a number of rows that
 * is no multiple of anything, and `cols` columns; all of one format. */
static void check_prompts(const struct layout *l, int64_t cols)
{
    enum { ROWS = 43, TOKENS = 131 };
    struct matrix w = make_weights(l, ROWS, cols, FILL_RANDOM, false);
    float *x = x_alloc((size_t)(TOKENS * cols) * sizeof *x), bias[ROWS];
    float *want = x_alloc(2 * TOKENS * ROWS * sizeof *want), *got = want + TOKENS * ROWS;
    for (int64_t i = 0; i < TOKENS * cols; i++)
        x[i] = uniform();
    for (int r = 0; r < ROWS; r++)
        bias[r] = uniform();
    level_force(&level_c);
    matrix_mul(&w, bias, x, TOKENS, want, COMPUTE_NATIVE, NULL, NULL);
    struct pool *pool = pool_new(2);
    for (size_t k = 1; level_at(k); k++)
        for (int64_t n = 16; n <= TOKENS && level_supported(level_at(k)); n += n < 40 ? 1 : 13) {
            memset(got, 0xff, TOKENS * ROWS * sizeof *got);
            level_force(level_at(k));
            matrix_mul(&w, bias, x, n, got, COMPUTE_NATIVE, n & 1 ? pool : NULL, NULL);
            if (memcmp(want, got, (size_t)(n * ROWS) * sizeof *got) != 0)
                fail_msg("%s: other bits for %d tokens of %d columns at %s", l->name, (int)n,
                         (int)cols, level_at(k)->name);
        }
    level_force(NULL);
    pool_free(pool);
    free_weights(&w);
    free(want);
    free(x);
}

static void bits_do_not_depend_on_how_it_is_cut(void **state)
{
    (void)state;
    for (int i = 0; i < N_LAYOUTS; i++) {
        const int block = format_info(format_by_name(layouts[i].name))->block;
        check_same_bits(&layouts[i]);
        check_prompts(&layouts[i], block); /* the fewest there can be */
        check_prompts(&layouts[i], NATIVE_COLS + (block < 256 ? 5 * block : 256));
    }
}

static void eight_bit_activations_are_as_specified(void **state)
{
    (void)state;
    const struct native_format *f = native_format(format_by_name("q4_1"));
    float x[256];
    for (int round = 0; round < 200; round++) {
        float top = 0;
        const float size = ldexpf(1.0f, (int)(draw() % 60) - 30);
        for (int i = 0; i < 32; i++) {
            x[i] = uniform() * size;
            top = fmaxf(top, fabsf(x[i]));
        }
        struct native_acts a = quantized(f, x, 1, 32);
        int sum = 0;
        for (int i = 0; i < 32; i++) {
            assert_true(fabs(x[i] / (top / 127.0) - a.code[i]) <= 0.5 + 1e-4);
            sum += a.code[i];
        }
        assert_int_equal(a.sum[0], sum);
        assert_true(a.d[0] == f16_to_f32(f32_to_f16(top / 127.0f)));
        assert_true(a.s[0] == f16_to_f32(f32_to_f16(top / 127.0f * (float)sum)));
        native_acts_free(&a);
    }
    /* With a scale of 1 halves go to the even neighbour. */
    static const float ties[] = { 127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 126.5f };
    static const int even[] = { 127, 0, 2, 2, 0, -2, -2, 126 };
    memset(x, 0, sizeof x);
    memcpy(x, ties, sizeof ties);
    struct native_acts a = quantized(f, x, 1, 32);
    for (int i = 0; i < 8; i++)
        assert_int_equal(a.code[i], even[i]);
    native_acts_free(&a);
}

static void super_blocks_take_the_sign_of_the_largest(void **state)
{
    (void)state;
    const struct native_format *f = native_format(format_by_name("q6_k"));
    for (int sign = -1; sign <= 1; sign += 2) {
        float x[256] = { 0 };
        x[7] = (float)sign * 2.54f;
        x[9] = (float)-sign * 2.54f; /* as large, but later */
        x[20] = (float)sign * 0.02f;
        struct native_acts a = quantized(f, x, 1, 256);
        assert_int_equal(a.code[7], -127);
        assert_int_equal(a.code[9], 127);
        assert_int_equal(a.code[20], -1);
        assert_true(a.d[0] == 1.0f / (-127.0f / x[7]));
        assert_int_equal(a.sum[0], 0);
        assert_int_equal(a.sum[1], -1);
        native_acts_free(&a);
    }
}

/* Token 1 has an odd value; the result of tokens 0 and 2 is not touched by it. */
static void check_odd_value(const struct layout *l, float value, bool is_nan)
{
    enum { ROWS = 3, COLS = 512 };
    struct matrix w = make_weights(l, ROWS, COLS, FILL_RANDOM, true);
    float *x = x_alloc(3 * COLS * sizeof *x), clean[3 * ROWS], y[3 * ROWS];
    for (int i = 0; i < 3 * COLS; i++)
        x[i] = uniform();
    multiply(NULL, &w, x, 3, clean, NULL);
    x[COLS + 300] = value;
    multiply(NULL, &w, x, 3, y, NULL);
    assert_memory_equal(y, clean, ROWS * sizeof *y);
    assert_memory_equal(y + 2 * ROWS, clean + 2 * ROWS, ROWS * sizeof *y);
    for (int r = 0; r < ROWS; r++)
        assert_int_equal(isnan(y[ROWS + r]), is_nan);
    free_weights(&w);
    free(x);
}

static void odd_activations_are_defined(void **state)
{
    (void)state;
    for (int i = 0; i < N_LAYOUTS; i++) {
        check_odd_value(&layouts[i], NAN, true);
        check_odd_value(&layouts[i], INFINITY, true);
        check_odd_value(&layouts[i], -INFINITY, true);
        check_odd_value(&layouts[i], 1e-42f, false);
        check_odd_value(&layouts[i], 1e6f, false);
        struct matrix w = make_weights(&layouts[i], 2, 256, FILL_RANDOM, false);
        float x[256] = { 0 }, y[2];
        for (int k = 0; k < 3; k++) { /* nothing, and too small to count */
            multiply(NULL, &w, x, 1, y, NULL);
            assert_true(y[0] == 0 && y[1] == 0);
            x[3] = k ? 1e-42f : -0x1p-101f;
        }
        free_weights(&w);
    }
}

static void plain_formats_round_the_activations_alike(void **state)
{
    (void)state;
    enum { ROWS = 5, COLS = 70, TOKENS = 3 };
    float x[TOKENS * COLS], rounded[TOKENS * COLS], native[TOKENS * ROWS], again[TOKENS * ROWS],
          exact[TOKENS * ROWS];
    uint16_t halves[ROWS * COLS];
    for (int i = 0; i < TOKENS * COLS; i++)
        x[i] = uniform();
    for (int kind = 0; kind < 2; kind++) {
        for (int i = 0; i < ROWS * COLS; i++)
            halves[i] = kind ? f32_to_bf16(uniform()) : f32_to_f16(uniform());
        for (int i = 0; i < TOKENS * COLS; i++)
            rounded[i] = kind ? bf16_to_f32(f32_to_bf16(x[i])) : f16_to_f32(f32_to_f16(x[i]));
        struct matrix w = { format_by_name(kind ? "bf16" : "f16"), halves, COLS * 2, ROWS, COLS,
                            NULL };
        matrix_mul(&w, NULL, x, TOKENS, native, COMPUTE_NATIVE, NULL, NULL);
        matrix_mul(&w, NULL, rounded, TOKENS, again, COMPUTE_NATIVE, NULL, NULL);
        assert_memory_equal(native, again, sizeof native);
        matrix_mul(&w, NULL, rounded, TOKENS, exact, COMPUTE_EXACT, NULL, NULL);
        for (int i = 0; i < TOKENS * ROWS; i++) /* added in another order */
            assert_true(fabsf(native[i] - exact[i]) < 1e-5f);
    }
    struct matrix w = { format_by_name("f32"), x, COLS * 4, 2, COLS, NULL };
    matrix_mul(&w, NULL, rounded, 1, native, COMPUTE_NATIVE, NULL, NULL);
    matrix_mul(&w, NULL, rounded, 1, exact, COMPUTE_EXACT, NULL, NULL);
    assert_memory_equal(native, exact, 2 * sizeof *native);
}

static void a_bias_is_added_last(void **state)
{
    (void)state;
    struct matrix w = make_weights(&layouts[2], 20, 64, FILL_RANDOM, false);
    float x[128], bias[20], with[40], without[40];
    for (int i = 0; i < 128; i++)
        x[i] = uniform();
    for (int i = 0; i < 20; i++)
        bias[i] = uniform();
    matrix_mul(&w, NULL, x, 2, without, COMPUTE_NATIVE, NULL, NULL);
    matrix_mul(&w, bias, x, 2, with, COMPUTE_NATIVE, NULL, NULL);
    for (int i = 0; i < 40; i++)
        assert_true(with[i] == without[i] + bias[i % 20]);
    free_weights(&w);
}

UNIT_MAIN(CASE(the_table_covers_what_files_hold), CASE(eight_bit_activations_are_as_specified),
          CASE(super_blocks_take_the_sign_of_the_largest), CASE(integer_sums_are_as_specified),
          CASE(products_stay_within_the_bound), CASE(bits_do_not_depend_on_how_it_is_cut),
          CASE(odd_activations_are_defined), CASE(plain_formats_round_the_activations_alike),
          CASE(a_bias_is_added_last))
