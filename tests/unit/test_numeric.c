/* SPDX-License-Identifier: MIT */
/* Numeric formats: rounding is what the definitions say. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/numeric.h"
#include "kernels/statistics.h"

static uint64_t seed = 88172645463325252u;

static uint64_t draw(uint64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed >> 11) % n;
}

static double uniform(void) { return ((double)draw(1u << 30) + 0.5) / (1u << 30); }

static float normal(void)
{
    return (float)(sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform()));
}

static struct numeric parse(const char *text)
{
    struct numeric f;
    struct err e = ERR_INIT;
    assert_ok(numeric_parse(str_from(text), &f, &e), &e);
    return f;
}

static void simulate(const char *text, float *x, int64_t rows, int64_t cols)
{
    const struct numeric f = parse(text);
    struct err e = ERR_INIT;
    assert_ok(numeric_simulate(&f, x, rows, cols, NULL, NULL, &e), &e);
}

static void becomes(const char *text, int64_t rows, int64_t cols, const float *x, const float *want)
{
    float y[64];
    const size_t n = (size_t)(rows * cols);
    assert_true(n <= 64);
    memcpy(y, x, n * sizeof *y);
    simulate(text, y, rows, cols);
    for (size_t i = 0; i < n; i++)
        if (!(y[i] == want[i]) || signbit(y[i]) != signbit(want[i]))
            fail_msg("%s: element %zu is %g, not %g", text, i, (double)y[i], (double)want[i]);
}
#define V(...) ((const float[]){ __VA_ARGS__ })

static void numbers_worked_by_hand(void **unused)
{
    (void)unused;
    becomes("int4", 1, 4, V(7, 3.5f, 2.5f, -6.6f), V(7, 4, 2, -7));
    becomes("int4:clip=0.5", 1, 4, V(14, 7, 3, -14), V(7, 7, 3, -7));
    becomes("int4:asym", 1, 4, V(15, 0.4f, 1.5f, 2.5f), V(15, 0, 2, 2));
    becomes("int2:asym", 1, 4, V(3, 1, 2.6f, 4),
            V(8.0f / 3, 4.0f / 3, 8.0f / 3, 4)); /* 0 is always a level */
    becomes("int1", 1, 4, V(1, -2, 3, -2), V(2, -2, 2, -2));
    becomes("int1:asym", 1, 3, V(-1, 0.4f, 1), V(0, 0, 0)); /* z = RNE(1 / 2) = 0 */
    becomes("int8:row", 2, 2, V(127, 64, 254, 3), V(127, 64, 254, 4));
    becomes("int8:g2", 1, 4, V(127, 64, 254, 3), V(127, 64, 254, 4));
    becomes("int8:chan", 2, 2, V(127, 254, 64, 3), V(127, 254, 64, 4));
    becomes("int8:tensor", 2, 2, V(127, 64, 254, 3), V(128, 64, 254, 4));
    becomes("int8:b2x2", 2, 3, V(127, 64, 127, 254, 3, 1), V(128, 64, 127, 254, 4, 1));
    becomes("e2m1", 1, 8, V(6, 5, 3.5f, 1.75f, 0.25f, 0.75f, -2.5f, 0.2f),
            V(6, 4, 4, 2, 0, 1, -2, 0));
    becomes("e3m0", 1, 6, V(16, 12, 6, 0.125f, 0.126f, -3), V(16, 16, 8, 0, 0.25f, -4));
    becomes("e1m2", 1, 5, V(3.5f, 3.25f, 0.75f, -0.2f, 1), V(3.5f, 3, 1, 0, 1));
    becomes("shift2", 1, 4, V(2, 1.5f, 1.4f, 0), V(2, 2, 1, 1));
    becomes("binary", 1, 4, V(1, -2, 3, 0), V(1.5f, -1.5f, 1.5f, 1.5f));
    becomes("ternary", 1, 4, V(3, -3, 0, 1.5f), V(2.5f, -2.5f, 0, 2.5f));
    becomes("twn", 1, 4, V(3, -4, 0.7f, 0.3f), V(3.5f, -3.5f, 0, 0));
    becomes("cpx", 1, 8, V(3, 1, -1, 5, -5, 2, 0, -7), V(4, 0, 0, 6, -4, 0, 0, -6));
    becomes("cpx", 1, 8, V(2, 2, -2, 2, -2, -2, 2, -2), V(0, 2, -2, 0, 0, -2, 2, 0));
    becomes("nf4:g4", 1, 4, V(2, -2, 0.07f, -0.4f), V(2, -2, 0, -0.36954686045646667f));
    becomes("e2m1:g2:s=e8m0", 1, 4, V(6, 3, 7, 3), V(6, 3, 8, 3)); /* 7 / 6 goes up to 2 */
    becomes("drop", 1, 2, V(1, -1), V(0, 0));
    for (size_t i = 0; numeric_word(i).n; i++) { /* zeros stay zeros */
        struct str w = numeric_word(i);
        char name[16] = "";
        memcpy(name, w.p, w.n);
        if (parse(name).base != NUMERIC_STORAGE) {
            float zero[64] = { 0 };
            zero[3] = -0.0f;
            becomes(name, 1, 64, zero, (const float[64]){ 0 });
        }
    }
}

/* mxfp8 and mxfp6 on one block each, by the OCP rule. */
static void microscaling_saturates(void **unused)
{
    (void)unused;
    float x[32] = { 500, 460, 1, 0.5f };
    simulate("mxfp8", x, 1, 32); /* scale 2^(8 - 8) = 1 */
    assert_true(x[0] == 448 && x[1] == 448 && x[2] == 1 && x[3] == 0.5f);
    float y[32] = { 7.9f, 0.06f, 0.07f, -5.3f };
    simulate("mxfp6", y, 1, 32); /* scale 1: steps of 1/8 below 2, 1/4 below 4, 1/2 below 8 */
    assert_true(y[0] == 7.5f && y[1] == 0 && y[2] == 0.125f && y[3] == -5.5f);
}

static double sqnr(const char *text, const float *x, int64_t rows, int64_t cols)
{
    const size_t bytes = (size_t)(rows * cols) * sizeof *x;
    float *y = malloc(bytes);
    memcpy(y, x, bytes);
    simulate(text, y, rows, cols);
    struct pair_error p;
    pair_error_of(x, y, rows * cols, &p);
    free(y);
    return p.sqnr;
}

/* Signal to noise of normal values in groups, as figures computed elsewhere have it. */
static void noise_is_that_of_the_literature(void **unused)
{
    (void)unused;
    enum { N = 200000 - 200000 % 128 };
    static const struct {
        const char *format;
        double db;
    } table[] = {
        { "int4:g16", 21.37 },      { "int4:g32", 20.27 },        { "int4:g128", 18.59 },
        { "int4:g16:asym", 23.17 }, { "int4:g64:asym", 20.83 },   { "nf4:g16", 21.85 },
        { "nf4:g64", 20.73 },       { "e2m1:g16", 20.56 },        { "e2m1:g64", 19.50 },
        { "e3m0:g32", 14.9 },       { "e1m2:g32", 20.27 },        { "shift4:g32", 14.9 },
        { "shift3:g32", 14.0 },     { "e2m1:g32:s=e8m0", 18.75 }, { "binary:tensor", 4.396 },
        { "twn:tensor", 7.178 },    { "ternary:tensor", 7.005 },  { "cpx", 4.397 },
    };
    float *x = malloc(N * sizeof *x);
    for (int i = 0; i < N; i++)
        x[i] = normal();
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const double db = sqnr(table[i].format, x, N / 128, 128);
        if (!(fabs(db - table[i].db) < 0.12))
            fail_msg("%s: %.3f dB, not %.3f", table[i].format, db, table[i].db);
    }
    free(x);
}

/* Every output is the level nearest to its input, and no other group changes it. */
static void rounding_takes_the_nearest_level(void **unused)
{
    (void)unused;
    static const char *const formats[] = { "int3:g8", "e2m1:g8", "e3m2:g8", "nf4:g8", "shift3:g8" };
    for (size_t k = 0; k < sizeof formats / sizeof *formats; k++)
        for (int trial = 0; trial < 50; trial++) {
            float x[8], all[8 * 512], lone[8];
            for (int i = 0; i < 8; i++)
                lone[i] = x[i] = i == 7 ? 0 : normal() * (i ? 1 : 5);
            simulate(formats[k], lone, 1, 8);
            for (int t = 0; t < 512; t++) /* the same group with one value moved over the range */
                for (int i = 0; i < 8; i++)
                    all[8 * t + i] = i == 7 ? x[0] * (float)(t - 256) / 256 : x[i];
            simulate(formats[k], all, 512, 8);
            for (int t = 0; t < 512; t++)
                assert_memory_equal(all + 8 * t, lone, 7 * sizeof *lone);
            for (int t = 0; t < 512; t++) /* outputs seen are levels: none is nearer than its own */
                for (int u = 0; u < 512; u++) {
                    const double v = (double)(x[0] * (float)(t - 256) / 256);
                    assert_true(fabs((double)all[8 * u + 7] - v)
                                >= fabs((double)all[8 * t + 7] - v) - 1e-6 * fabs((double)x[0]));
                }
        }
}

static void rounding_twice_is_rounding_once(void **unused)
{
    (void)unused;
    static const char *const formats[] = { "int4:s=f16", "int8:g32:s=e8m0", "e4m3:s=f16",
                                           "mxfp6",      "mxfp8",           "int5:tensor:s=bf16",
                                           "nf4",        "e2m1:g16:s=e8m0" };
    float x[4 * 96], y[4 * 96];
    for (size_t k = 0; k < sizeof formats / sizeof *formats; k++) {
        for (int i = 0; i < 4 * 96; i++)
            x[i] = normal();
        if (parse(formats[k]).n == 64)
            continue;
        simulate(formats[k], x, 4, 96);
        memcpy(y, x, sizeof y);
        simulate(formats[k], y, 4, 96);
        if (memcmp(x, y, sizeof y))
            fail_msg("%s is not idempotent", formats[k]);
    }
}

static void threads_change_nothing_and_bad_numbers_are_refused(void **unused)
{
    (void)unused;
    enum { ROWS = 37, COLS = 192 };
    float *x = malloc(ROWS * COLS * sizeof *x), *y = malloc(ROWS * COLS * sizeof *y);
    struct pool *pool = pool_new(3);
    struct err e = ERR_INIT;
    for (size_t k = 0; k < 4; k++) {
        static const char *const formats[] = { "int4:g64", "e4m3:b16x50", "int8:chan",
                                               "e2m1:g16:s=ue4m3" };
        const struct numeric f = parse(formats[k]);
        for (int i = 0; i < ROWS * COLS; i++)
            x[i] = y[i] = normal();
        simulate(formats[k], x, ROWS, COLS);
        assert_ok(numeric_simulate(&f, y, ROWS, COLS, pool, NULL, &e), &e);
        assert_memory_equal(x, y, ROWS * COLS * sizeof *x);
        y[5 * COLS + 7] = k % 2 ? NAN : INFINITY;
        memcpy(x, y, ROWS * COLS * sizeof *x);
        assert_fails(numeric_simulate(&f, y, ROWS, COLS, pool, NULL, &e), ST_RANGE, &e);
        assert_non_null(strstr(e.msg, "row 5, column 7"));
        assert_memory_equal(x, y, ROWS * COLS * sizeof *x);
    }
    const struct numeric f = parse("int4:g100"), odd = parse("cpx:g3"), stop = parse("int4");
    assert_fails(numeric_simulate(&f, y, ROWS, COLS, NULL, NULL, &e), ST_RANGE, &e);
    assert_fails(numeric_fits(&odd, 192, &e), ST_RANGE, &e);
    y[5 * COLS + 7] = 0;
    const volatile sig_atomic_t cancel = 1;
    assert_fails(numeric_simulate(&stop, y, ROWS, COLS, NULL, &cancel, &e), ST_CANCELLED, &e);
    pool_free(pool);
    free(x);
    free(y);
}

static void room_is_codes_and_scales(void **unused)
{
    (void)unused;
    static const struct {
        const char *format;
        uint64_t bytes;
    } table[] = {
        { "int4", 10 * 256 / 2 + 10 * 4 },
        { "int4:g64:s=f16", 10 * 256 / 2 + 40 * 2 },
        { "int3:g64:s=f16:asym", 10 * 256 * 3 / 8 + 40 * 2 + 40 * 3 / 8 },
        { "e4m3:b8x128:s=bf16", 10 * 256 + 4 * 2 },
        { "e2m1:g16:s=ue4m3", 10 * 256 / 2 + 160 + 4 },
        { "mxfp6", 10 * 256 * 6 / 8 + 80 },
        { "ternary:tensor", 512 + 4 },
        { "cpx:s=f16", 320 + 4 },
        { "int8:chan", 2560 + 1024 },
        { "drop", 0 },
        { "q4_k", 1440 },
        { "f16", 5120 },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct numeric f = parse(table[i].format);
        assert_int_equal(numeric_bytes(&f, 10, 256), table[i].bytes);
    }
}

UNIT_MAIN(CASE(numbers_worked_by_hand), CASE(microscaling_saturates),
          CASE(noise_is_that_of_the_literature), CASE(rounding_takes_the_nearest_level),
          CASE(rounding_twice_is_rounding_once),
          CASE(threads_change_nothing_and_bad_numbers_are_refused), CASE(room_is_codes_and_scales))
