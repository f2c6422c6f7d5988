/* SPDX-License-Identifier: MIT */
/* Head-room, underflow and the energy of neurons equal what is computed here. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/format.h"
#include "study/overflow.h"
#include "study/sparsity.h"
#include "tests/harness/models.h"

static const int32_t ids[] = { 1, 17, 4, 9, 30, 2, 17, 4, 11, 8, 23 };
enum { IDS = sizeof ids / sizeof *ids };

/* Numbers of all sizes; the format's own rounding says what goes under. */
static void underflow_is_that_of_the_formats(void **state)
{
    (void)state;
    enum { ROWS = 40, COLS = 80 };
    static float x[ROWS * COLS];
    uint64_t seed = 5;
    struct range_use u = { 0 };
    int64_t n = 0, f16_small = 0, f16_zero = 0, bf16_zero = 0, q8 = 0;
    for (int i = 0; i < ROWS * COLS; i++) {
        const int most = i / COLS % 2 ? 6 : 140; /* rows of numbers of one size, and of all */
        const int tiny = i / COLS % 4 == 3 ? 22 : 0;
        const int power = -(int)(unit_random(&seed) % (uint64_t)most) - tiny;
        x[i] = ldexpf(1 + (float)(unit_random(&seed) % 8) / 8, power);
        x[i] = unit_random(&seed) % 9 ? (i % 2 ? -x[i] : x[i]) : 0;
    }
    x[7] = NAN;
    x[100] = INFINITY;
    range_use_add(x, ROWS, COLS, &u);
    for (int i = 0; i < ROWS * COLS; i++) {
        const int row = i / COLS, from = i % COLS / 32 * 32;
        float most = 0;
        for (int c = from; c < from + 32 && c < COLS; c++)
            if (isfinite(x[row * COLS + c]))
                most = fmaxf(most, fabsf(x[row * COLS + c]));
        if (!isfinite(x[i]) || x[i] == 0)
            continue;
        n++;
        f16_small += fabsf(x[i]) < 0x1p-14f;
        f16_zero += f16_to_f32(f32_to_f16(x[i])) == 0;
        bf16_zero += bf16_to_f32(f32_to_bf16(x[i])) == 0;
        const double d = (double)most / 127;
        q8 += f16_to_f32(f32_to_f16((float)d)) == 0 || fabs((double)x[i]) < d / 2;
    }
    assert_int_equal(u.n, n);
    assert_int_equal(u.nonfinite, 2);
    assert_int_equal(u.f16_small, f16_small);
    assert_int_equal(u.f16_zero, f16_zero);
    assert_int_equal(u.bf16_zero, bf16_zero);
    assert_int_equal(u.q8_zero, q8);
    assert_true(f16_zero > 0 && q8 > f16_zero);
    assert_true(headroom_bits(F16_LARGEST, 65504) == 0);
    assert_true(headroom_bits(F16_LARGEST, 2 * 65504.0) == -1);
    assert_true(headroom_bits(F16_LARGEST, 0) == INFINITY);
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* The smallest set, from a full sort. */
static int64_t plain_count(const float *x, int64_t n, double share)
{
    double *squares = x_alloc((size_t)n * sizeof *squares), all = 0, sum = 0;
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++)
        all += squares[i] = (double)x[i] * (double)x[i];
    qsort(squares, (size_t)n, sizeof *squares, by_size);
    while (sum < share * all)
        sum += squares[count++];
    free(squares);
    return count;
}

static void few_values_carry_the_energy(void **state)
{
    (void)state;
    enum { MOST = 300 };
    float x[MOST];
    int32_t scratch[MOST];
    bool in_set[MOST];
    uint64_t seed = 8;
    for (int round = 0; round < 400; round++) {
        const int64_t n = 1 + (int64_t)(unit_random(&seed) % MOST);
        const int kind = round % 4;
        for (int64_t i = 0; i < n; i++) /* integers: sums are exact in any order */
            x[i] = kind == 0 ? (float)(unit_random(&seed) % 1000) - 500
                   : kind == 1 ? (float)(unit_random(&seed) % 3)
                   : kind == 2 ? (float)i
                               : (i % 50 == 7 ? 1000 : 1);
        if (!plain_count(x, n, 0.99))
            continue;
        const int64_t count = energy_count(x, n, 0.99, scratch, in_set);
        assert_int_equal(count, plain_count(x, n, 0.99));
        int64_t set = 0;
        float least = INFINITY, most_outside = 0;
        for (int64_t i = 0; i < n; i++) {
            set += in_set[i];
            if (in_set[i])
                least = fminf(least, fabsf(x[i]));
            else
                most_outside = fmaxf(most_outside, fabsf(x[i]));
        }
        assert_int_equal(set, count);
        assert_true(least >= most_outside);
    }
    memset(x, 0, sizeof x);
    assert_int_equal(energy_count(x, MOST, 0.99, scratch, in_set), 0);
    assert_false(in_set[0]);
}

static void ranges_of_points(void **state)
{
    (void)state;
    struct model *m = models_open(golden_path("models/llama-gqa-tied.gguf"));
    const struct graph *g = m->graph;
    for (int64_t span = 0; span < 5; span += 4) {
        const struct run_options o = { .span = span };
        struct run *r = models_run(m, &o, ids, IDS), *whole = models_run(m, NULL, ids, IDS);
        bool *want = x_alloc((size_t)g->n_values * sizeof *want);
        struct point_range *list = x_alloc((size_t)g->n_values * sizeof *list);
        struct err e = ERR_INIT;
        models_finish(r);
        models_finish(whole);
        for (int v = 0; v < g->n_values; v++)
            want[v] = shape_axis(&g->values[v].shape, AXIS_KEY) < 0;
        assert_ok(overflow_of(r, want, NULL, list, &e), &e);
        for (int v = 0; v < g->n_values; v++) {
            if (!want[v]) {
                assert_int_equal(list[v].use.n + list[v].use.nonfinite, 0);
                continue;
            }
            struct tensor x = models_read(whole, 0, g->values[v].name);
            double most = 0;
            for (int64_t i = 0; i < shape_count(&x.shape); i++)
                most = fmax(most, fabs((double)x.data[i]));
            assert_true(list[v].absmax == most);
            struct tensor y;
            assert_ok(run_read(r, list[v].span, v, &y, &e), &e);
            assert_true(fabs((double)y.data[list[v].at]) == most);
        }
        free(want);
        free(list);
        run_free(r);
        run_free(whole);
    }
    model_free(m);
}

/* What the definitions give for the rows of a point after the first, without any care for speed. */
struct firing {
    double active;
    int64_t dead, always;
};

static struct firing firing_of(const float *x, int64_t ff)
{
    struct firing f = { 0 };
    int *fired = x_alloc((size_t)ff * sizeof *fired);
    for (int t = 1; t < IDS; t++) {
        const float *row = x + t * ff;
        const int64_t count = plain_count(row, ff, SPARSITY_ENERGY);
        f.active += (double)count / (double)ff / (IDS - 1);
        for (int64_t i = 0; i < ff; i++) { /* how many are larger: those come before it */
            int64_t larger = 0;
            for (int64_t k = 0; k < ff; k++)
                larger += fabsf(row[k]) > fabsf(row[i]);
            fired[i] += larger < count;
        }
    }
    for (int64_t i = 0; i < ff; i++) {
        f.dead += fired[i] == 0;
        f.always += fired[i] == IDS - 1;
    }
    free(fired);
    return f;
}

static void check_tokens(struct run *r, int block, const float *x, int64_t ff)
{
    struct err e = ERR_INIT;
    struct token_sparsity *tokens;
    size_t n;
    assert_ok(token_sparsity_of(r, block, NULL, &tokens, &n, &e), &e);
    assert_int_equal(n, IDS);
    for (int t = 0; t < IDS; t++) {
        const int64_t count = plain_count(x + t * ff, ff, SPARSITY_ENERGY);
        assert_int_equal(tokens[t].tok, t);
        assert_true(fabs(tokens[t].active - (double)count / (double)ff) < 1e-12);
        assert_true(tokens[t].nonzero == 1);
    }
    free(tokens);
}

static void neurons_are_counted(void **state)
{
    (void)state;
    struct model *m = models_open(golden_path("models/llama-gqa-tied.gguf"));
    const struct run_options o = { .span = 4 };
    struct run *r = models_run(m, &o, ids, IDS), *whole = models_run(m, NULL, ids, IDS);
    struct layer_sparsity *list;
    struct err e = ERR_INIT;
    size_t n;
    assert_fails(sparsity_of(r, NULL, &list, &n, &e), ST_STATE, &e);
    models_finish(r);
    models_finish(whole);
    assert_ok(sparsity_of(r, NULL, &list, &n, &e), &e);
    assert_int_equal(n, m->graph->n_blocks);
    for (size_t b = 0; b < n; b++) {
        struct tensor x = models_read(whole, 0, b ? "blk.1.ffn_down.in" : "blk.0.ffn_down.in");
        const int64_t ff = x.shape.d[1].n;
        const struct firing want = firing_of(x.data, ff);
        assert_int_equal(list[b].neurons, ff);
        assert_int_equal(list[b].tokens, IDS - 1);
        assert_true(fabs(list[b].active - want.active) < 1e-12);
        assert_true(fabs(list[b].first - (double)plain_count(x.data, ff, SPARSITY_ENERGY) / ff)
                    < 1e-12);
        assert_int_equal(list[b].dead, want.dead);
        assert_int_equal(list[b].always, want.always);
        assert_true(list[b].nonzero == 1 && list[b].zero == 0);
        check_tokens(r, (int)b, x.data, ff);
    }
    free(list);
    run_free(r);
    run_free(whole);
    model_free(m);
}

UNIT_MAIN(CASE(underflow_is_that_of_the_formats), CASE(few_values_carry_the_energy),
          CASE(ranges_of_points), CASE(neurons_are_counted))
