/* SPDX-License-Identifier: MIT */
/* Matrix products: every level gives the bits of the plain one, and all stay within the bound. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/level.h"
#include "kernels/matrix.h"

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
    struct matrix m = { format_by_name("f32"), w, (size_t)sizes[i].cols * sizeof *w, sizes[i].rows,
                        sizes[i].cols, NULL };
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

UNIT_MAIN(CASE(levels_agree_bit_for_bit),
          CASE(products_stay_within_the_bound),
          CASE(a_token_does_not_depend_on_its_neighbours))
