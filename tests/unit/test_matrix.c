/* SPDX-License-Identifier: MIT */
/* Matrix products: every level gives the bits of the plain one, and all stay within the bound. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/level.h"
#include "kernels/matrix.h"
#include "kernels/pool.h"

static uint64_t state = 1;

/* Numbers of both signs over many magnitudes, so that the order of additions shows. */
static float number(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    int exponent = (int)(state >> 33) % 24 - 12;
    return ldexpf((float)(int32_t)(state >> 32) / 2147483648.0f, exponent);
}

static float *numbers(int64_t n)
{
    float *x = x_alloc((size_t)(n ? n : 1) * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = number();
    return x;
}

static const struct {
    int64_t rows, cols, tokens;
} sizes[] = { { 1, 1, 1 },    { 3, 7, 2 },    { 5, 16, 5 },  { 2, 17, 3 },
              { 17, 63, 9 },  { 16, 64, 4 },  { 33, 65, 6 }, { 7, 130, 13 },
              { 4, 576, 11 }, { 9, 2048, 5 }, { 3, 5632, 4 } };

enum { N_SIZES = sizeof sizes / sizeof *sizes };

static void multiply(const struct level *l, int i, const float *w, const float *bias,
                     const float *x, float *y)
{
    struct matrix m = {
        format_by_name("f32"), w,   (size_t)sizes[i].cols * sizeof *w, sizes[i].rows,
        sizes[i].cols,         NULL
    };
    level_force(l);
    matrix_mul(&m, bias, x, sizes[i].tokens, y, COMPUTE_EXACT, NULL, NULL);
    level_force(NULL);
}

static void levels_agree_bit_for_bit(void **unused)
{
    (void)unused;
    int tried = 0;
    for (size_t k = 1; level_at(k); k++) {
        if (!level_supported(level_at(k)))
            continue;
        tried++;
        for (int i = 0; i < N_SIZES; i++) {
            float *w = numbers(sizes[i].rows * sizes[i].cols),
                  *x = numbers(sizes[i].tokens * sizes[i].cols);
            float *bias = numbers(sizes[i].rows);
            size_t bytes = (size_t)(sizes[i].rows * sizes[i].tokens) * sizeof(float);
            float *plain = x_alloc(bytes), *fast = x_alloc(bytes);
            multiply(&level_c, i, w, bias, x, plain);
            multiply(level_at(k), i, w, bias, x, fast);
            assert_memory_equal(plain, fast, bytes);
            free(w), free(x), free(bias), free(plain), free(fast);
        }
    }
    if (!tried)
        SKIP_CASE("this CPU has no level above c");
}

static void products_stay_within_the_bound(void **unused)
{
    (void)unused;
    for (int i = 0; i < N_SIZES; i++) {
        const int64_t n = sizes[i].cols;
        float *w = numbers(sizes[i].rows * n), *x = numbers(sizes[i].tokens * n);
        float *y = x_alloc((size_t)(sizes[i].rows * sizes[i].tokens) * sizeof *y);
        multiply(NULL, i, w, NULL, x, y);
        for (int64_t t = 0; t < sizes[i].tokens; t++)
            for (int64_t r = 0; r < sizes[i].rows; r++) {
                double sum = 0, size = 0;
                for (int64_t c = 0; c < n; c++) {
                    sum += (double)w[r * n + c] * x[t * n + c];
                    size += fabs((double)w[r * n + c] * x[t * n + c]);
                }
                assert_true(fabs(y[t * sizes[i].rows + r] - sum) <= ldexp(size, -20));
            }
        free(w), free(x), free(y);
    }
}

static void a_token_does_not_depend_on_its_neighbours(void **unused)
{
    (void)unused;
    for (size_t k = 0; level_at(k); k++) {
        if (!level_supported(level_at(k)))
            continue;
        for (int i = 0; i < N_SIZES; i++) {
            const int64_t rows = sizes[i].rows, n = sizes[i].cols;
            float *w = numbers(rows * n), *x = numbers(sizes[i].tokens * n);
            float *all = x_alloc((size_t)(rows * sizes[i].tokens) * sizeof *all),
                  *one = x_alloc((size_t)rows * 4);
            multiply(level_at(k), i, w, NULL, x, all);
            struct matrix m = { format_by_name("f32"), w, (size_t)n * sizeof *w, rows, n, NULL };
            level_force(level_at(k));
            for (int64_t t = 0; t < sizes[i].tokens; t++) {
                matrix_mul(&m, NULL, x + t * n, 1, one, COMPUTE_EXACT, NULL, NULL);
                assert_memory_equal(one, all + t * rows, (size_t)rows * sizeof *one);
            }
            level_force(NULL);
            free(w), free(x), free(all), free(one);
        }
    }
}

/* y against double; the bound of exact mode: 2^-20 of the sum of absolute products. */
static void check_product(const struct matrix *w, const float *bias, const float *x, int64_t tokens)
{
    const struct format_info *f = format_info(w->format);
    const double scale = (double)matrix_scale(w);
    float *y = numbers(w->rows * tokens), *one = numbers(w->rows), *row = numbers(w->cols);
    matrix_mul(w, bias, x, tokens, y, COMPUTE_EXACT, NULL, NULL);
    for (int64_t t = 0; t < tokens; t++) { /* a token by itself: the same bits */
        matrix_mul(w, bias, x + t * w->cols, 1, one, COMPUTE_EXACT, NULL, NULL);
        assert_memory_equal(one, y + t * w->rows, (size_t)w->rows * sizeof *one);
    }
    for (int64_t r = 0; r < w->rows; r++) {
        f->decode((const char *)w->data + (size_t)r * w->row_bytes, row, w->cols);
        for (int64_t t = 0; t < tokens; t++) {
            double sum = bias ? bias[r] : 0, size = fabs(sum);
            for (int64_t i = 0; i < w->cols; i++) {
                const double product = scale * row[i] * x[t * w->cols + i];
                sum += product;
                size += fabs(product);
            }
            if (!(fabs(y[t * w->rows + r] - sum) <= ldexp(size, -20)))
                fail_msg("%s, %d columns: row %d of token %d is %.9g, expected %.9g", f->name,
                         (int)w->cols, (int)r, (int)t, (double)y[t * w->rows + r], sum);
        }
    }
    free(y), free(one), free(row);
}

static void products_of_floats(void **unused)
{
    (void)unused;
    for (int64_t n = 1; n <= 131; n++) {
        const int64_t cols = n == 131 ? 11008 : n, rows = 1 + n % 7, tokens = 1 + n % 6;
        float *w = numbers(rows * cols), *x = numbers(tokens * cols), *bias = numbers(rows);
        const float scale = 0.37f;
        const struct matrix m = { format_by_name("f32"), w, (size_t)cols * 4, rows, cols,
                                  n % 3 ? NULL : &scale };
        check_product(&m, n % 2 ? bias : NULL, x, tokens);
        free(w), free(x), free(bias);
    }
}

/* Large terms that cancel, so that only small ones are left. */
static void products_that_cancel(void **unused)
{
    (void)unused;
    enum { COLS = 4096 };
    float *w = numbers(COLS), *x = numbers(4 * COLS);
    for (int i = 0; i < 4 * COLS; i++) {
        const int c = i % COLS;
        if (c % 2)
            x[i] = -x[i - 1] * 1e6f, w[c] = w[c - 1];
        else
            x[i] = number();
    }
    for (int i = 0; i < 4 * COLS; i += 2)
        x[i] = -x[i + 1];
    const struct matrix m = { format_by_name("f32"), w, COLS * 4, 1, COLS, NULL };
    check_product(&m, NULL, x, 4);
    free(w), free(x);
}

/* Random codes under sensible scales: the half at `scale_at` of each block is set. The caller frees
 * the data. */
static struct matrix random_matrix(const char *name, int scale_at, int64_t rows, int64_t cols)
{
    const enum format f = format_by_name(name);
    struct matrix m = { .format = f, .rows = rows, .cols = cols };
    assert_true(format_row_bytes(f, (uint64_t)cols, &m.row_bytes));
    const size_t bytes = m.row_bytes * (size_t)rows;
    uint8_t *w = x_alloc(bytes);
    for (size_t i = 0; i < bytes; i++)
        w[i] = (uint8_t)unit_random(&state);
    for (size_t i = 0; i < bytes; i += (size_t)format_info(f)->bytes) {
        const uint16_t half = f32_to_f16(number() * 0.01f);
        memcpy(w + i + scale_at, &half, sizeof half);
    }
    m.data = w;
    return m;
}

static void check_format(const char *name, int scale_at)
{
    const int64_t block = format_info(format_by_name(name))->block;
    for (int64_t cols = block; cols <= 3 * block; cols += block) {
        const struct matrix m = random_matrix(name, scale_at, 5, cols);
        float *x = numbers(6 * cols);
        check_product(&m, NULL, x, 6);
        free((void *)m.data), free(x);
    }
}

static void products_of_formats(void **unused)
{
    (void)unused;
    check_format("q4_0", 0);
    check_format("q8_0", 0);
    check_format("q6_k", 208);
    check_format("f16", 0);
}

enum { TOGETHER = PRODUCTS_MOST, MIXED_COLS = 512 };

static void products_with(const struct matrix *w, const float *bias, const float *x, int64_t tokens,
                          enum compute mode, struct pool *pool)
{
    struct matrix_product p[TOGETHER];
    float *one[TOGETHER];
    for (int i = 0; i < TOGETHER; i++) {
        p[i] = (struct matrix_product){ &w[i], i % 2 ? bias : NULL,
                                        numbers(tokens * w[i].rows) };
        one[i] = numbers(tokens * w[i].rows);
        matrix_mul(&w[i], p[i].bias, x, tokens, one[i], mode, pool, NULL);
    }
    matrix_mul_all(p, TOGETHER, x, tokens, mode, pool, NULL);
    for (int i = 0; i < TOGETHER; i++) {
        assert_memory_equal(p[i].y, one[i], (size_t)(tokens * w[i].rows) * sizeof *one[i]);
        free(p[i].y), free(one[i]);
    }
}

/* Formats that round activations alike, and others, with their own numbers of rows. */
static void products_together_are_products(void **unused)
{
    (void)unused;
    static const struct {
        const char *name;
        int scale_at;
    } formats[][TOGETHER] = { { { "q4_0", 0 }, { "q4_0", 0 }, { "q8_0", 0 }, { "q4_0", 0 } },
                              { { "q6_k", 208 }, { "q4_0", 0 }, { "q6_k", 208 }, { "q8_0", 0 } },
                              { { "q8_0", 0 }, { "f16", 0 }, { "q6_k", 208 }, { "q8_0", 0 } } };
    struct pool *pool = pool_new(3);
    float *x = numbers(20 * MIXED_COLS), *bias = numbers(100);
    for (size_t k = 0; k < sizeof formats / sizeof *formats; k++) {
        struct matrix w[TOGETHER];
        for (int i = 0; i < TOGETHER; i++)
            w[i] = random_matrix(formats[k][i].name, formats[k][i].scale_at, 17 + 23 * i,
                                 MIXED_COLS);
        static const int64_t tokens[] = { 1, 2, 7, 20 };
        for (int i = 0; i < COMPUTE__COUNT * 4; i++)
            products_with(w, bias, x, tokens[i % 4], (enum compute)(i / 4), i % 3 ? pool : NULL);
        for (int i = 0; i < TOGETHER; i++)
            free((void *)w[i].data);
    }
    free(x), free(bias);
    pool_free(pool);
}

UNIT_MAIN(CASE(levels_agree_bit_for_bit), CASE(products_stay_within_the_bound),
          CASE(a_token_does_not_depend_on_its_neighbours), CASE(products_of_floats),
          CASE(products_that_cancel), CASE(products_of_formats),
          CASE(products_together_are_products))
