/* SPDX-License-Identifier: MIT */
/* Encoders: errors, blocks that the format can say exactly, hostile rows, importance, levels. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/encode.h"
#include "kernels/level.h"
#include "tests/harness/unit.h"

enum { ROWS = 12, COLS = 1024, MOST = ROWS * COLS };

static float x[MOST], y[MOST], z[MOST];
static uint8_t bytes[MOST * 4 + 64], again[MOST * 4 + 64];

/* About normal: the sum of four uniform numbers. */
static float draw(uint64_t *state)
{
    double sum = 0;
    for (int i = 0; i < 4; i++)
        sum += (double)(unit_random(state) >> 11) * 0x1p-53 - 0.5;
    return (float)(sum * 1.7);
}

static void draw_rows(uint64_t seed, float size)
{
    for (int i = 0; i < MOST; i++)
        x[i] = size * draw(&seed);
}

#define EACH_ENCODER(f, info) \
    for (enum format f = 0; (int)f < format_count(); f++) \
        for (const struct format_info *info = encode_missing(f) ? NULL : format_info(f); info; \
             info = NULL)

static double error_of(const float *from, const float *to, const float *weight)
{
    double sum = 0, total = 0;
    for (int i = 0; i < MOST; i++) {
        const double w = weight ? (double)weight[i % COLS] : 1;
        const double d = (double)from[i] - (double)to[i];
        sum += w * d * d;
        total += w * (double)from[i] * (double)from[i];
    }
    return sqrt(sum / total);
}

static void encode_all(enum format f, const float *from, const float *weight, uint8_t *to)
{
    struct err e;
    assert_ok(encode_rows(f, from, ROWS, COLS, weight, to, &e), &e);
}

/* Relative error of normal numbers that each format stays below. */
static const struct {
    const char *name;
    double most;
} bounds[] = {
    { "f32", 0 },        { "f16", 0.0003 },   { "bf16", 0.002 },   { "q4_0", 0.082 },
    { "q4_1", 0.075 },   { "q5_0", 0.041 },   { "q5_1", 0.037 },   { "q8_0", 0.0054 },
    { "q2_k", 0.28 },    { "q3_k", 0.16 },    { "q4_k", 0.071 },   { "q5_k", 0.036 },
    { "q6_k", 0.0177 },  { "iq4_nl", 0.078 }, { "iq4_xs", 0.08 },  { "tq1_0", 0.45 },
    { "tq2_0", 0.45 },   { "mxfp4", 0.12 },   { "nvfp4", 0.1 },
};

static void test_error(void **state)
{
    (void)state;
    size_t known = 0;
    draw_rows(1, 0.02f);
    EACH_ENCODER(f, info)
    {
        double most = -1;
        for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
            if (!strcmp(bounds[i].name, info->name))
                most = bounds[i].most;
        encode_all(f, x, NULL, bytes);
        info->decode(bytes, y, MOST);
        const double error = error_of(x, y, NULL);
        if (!(error <= most))
            fail_msg("%s: error %g, at most %g", info->name, error, most);
        known++;
    }
    assert_true(known >= 8);
}

/* What was decoded encodes to the same values, with and without importance. */
static void test_idempotent(void **state)
{
    (void)state;
    static float weight[COLS];
    uint64_t seed = 5;
    for (int i = 0; i < COLS; i++)
        weight[i] = expf(3 * draw(&seed));
    EACH_ENCODER(f, info)
        for (int round = 0; round < 6; round++) {
            draw_rows((uint64_t)round + 10, round < 3 ? 1.0f : 3e-4f);
            encode_all(f, x, round % 2 ? weight : NULL, bytes);
            info->decode(bytes, y, MOST);
            encode_all(f, y, round % 3 == 1 ? weight : NULL, again);
            info->decode(again, z, MOST);
            for (int i = 0; i < MOST; i++)
                if (y[i] != z[i])
                    fail_msg("%s: element %d was %g and is %g", info->name, i, (double)y[i],
                             (double)z[i]);
        }
}

/* Where blocks hold halves; -1: nowhere. */
static const struct {
    const char *name;
    int half[2];
} halves[] = {
    { "q4_0", { 0, -1 } },    { "q4_1", { 0, 2 } },     { "q5_0", { 0, -1 } },
    { "q5_1", { 0, 2 } },     { "q8_0", { 0, -1 } },    { "q2_k", { 80, 82 } },
    { "q3_k", { 108, -1 } },  { "q4_k", { 0, 2 } },     { "q6_k", { 208, -1 } },
    { "iq4_nl", { 0, -1 } },  { "iq4_xs", { 0, -1 } },  { "tq1_0", { 52, -1 } },
};

/* Blocks of any codes and scales, whoever wrote them: halves of 2^-8 to 2^-5; in q8_0 no -128. */
static void test_any_block(void **state)
{
    (void)state;
    uint64_t seed = 3;
    struct err e;
    for (size_t k = 0; k < sizeof halves / sizeof *halves; k++)
        for (int round = 0; round < 300; round++) {
            const enum format f = format_by_name(halves[k].name);
            const struct format_info *info = format_info(f);
            for (int i = 0; i < info->bytes; i++) {
                bytes[i] = (uint8_t)unit_random(&seed);
                bytes[i] = bytes[i] == 128 && !strcmp(info->name, "q8_0") ? 0 : bytes[i];
            }
            for (int h = 0; h < 2 && halves[k].half[h] >= 0; h++) {
                const float fraction = 1 + (float)(unit_random(&seed) % 1024) / 1024;
                const uint16_t half =
                    f32_to_f16(ldexpf(fraction, -8 + (int)(unit_random(&seed) % 4)));
                memcpy(bytes + halves[k].half[h], &half, sizeof half);
            }
            info->decode(bytes, y, info->block);
            assert_ok(encode_rows(f, y, 1, (size_t)info->block, NULL, again, &e), &e);
            info->decode(again, z, info->block);
            for (int i = 0; i < info->block; i++)
                if (y[i] != z[i])
                    fail_msg("%s: element %d was %g and is %g", info->name, i, (double)y[i],
                             (double)z[i]);
        }
}

/* The error that counts is smaller with the importances than without. */
static void test_importance(void **state)
{
    (void)state;
    static float weight[COLS];
    uint64_t seed = 9;
    for (int i = 0; i < COLS; i++)
        weight[i] = expf(4 * draw(&seed));
    draw_rows(2, 0.1f);
    EACH_ENCODER(f, info)
    {
        if (!info->quantized)
            continue;
        encode_all(f, x, NULL, bytes);
        info->decode(bytes, y, MOST);
        encode_all(f, x, weight, bytes);
        info->decode(bytes, z, MOST);
        if (!(error_of(x, z, weight) < error_of(x, y, weight)))
            fail_msg("%s: importance raises the error that counts", info->name);
        const double alike = error_of(x, y, NULL);
        static const float none[COLS];
        encode_all(f, x, none, bytes); /* nothing counts: everything counts alike */
        info->decode(bytes, z, MOST);
        if (!(error_of(x, z, NULL) < 1.002 * alike))
            fail_msg("%s: without any importance the error is %g, not %g", info->name,
                     error_of(x, z, NULL), alike);
    }
}

/* Rows of all kinds that a block may not be ready for; the values decoded are finite. */
static void hostile_row(int kind, float limit, float *row)
{
    uint64_t seed = (uint64_t)kind;
    for (int i = 0; i < COLS; i++)
        switch (kind) {
        case 0: row[i] = 0; break;
        case 1: row[i] = i % 2 ? -0.0f : 0; break;
        case 2: row[i] = 1e-40f * draw(&seed); break;
        case 3: row[i] = 3e-8f * draw(&seed); break;
        case 4: row[i] = limit; break;
        case 5: row[i] = i % 2 ? -limit : limit; break;
        case 6: row[i] = i == 7 ? limit : draw(&seed); break;
        case 7: row[i] = 0.3f; break;
        case 8: row[i] = -0.3f; break;
        case 9: row[i] = i % 64 ? 0 : draw(&seed); break;
        case 10: row[i] = -100 + 1e-3f * draw(&seed); break;
        case 11: row[i] = 100 + 1e-3f * draw(&seed); break;
        case 12: row[i] = fmaxf(-2e3f, fminf(2e3f, draw(&seed) * expf(20 * draw(&seed)))); break;
        case 13: row[i] = (float)(i % 3 - 1); break;
        }
}
enum { HOSTILE = 14 };

static void test_hostile(void **state)
{
    (void)state;
    EACH_ENCODER(f, info)
        for (int kind = 0; kind < HOSTILE; kind++) {
            struct err e;
            const float limit = strcmp(info->name, "nvfp4") ? 65000 : 2600;
            hostile_row(kind, limit, x);
            assert_ok(encode_rows(f, x, 1, COLS, NULL, bytes, &e), &e);
            info->decode(bytes, y, COLS);
            double error = 0, size = 0;
            for (int i = 0; i < COLS; i++) {
                assert_true(isfinite(y[i]));
                error += pow((double)(y[i] - x[i]), 2);
                size += pow((double)x[i], 2);
            }
            if (!(error <= size * 1.0001))
                fail_msg("%s, row %d: more error (%g) than there was (%g)", info->name, kind, error,
                         size);
            assert_ok(encode_rows(f, y, 1, COLS, NULL, again, &e), &e);
            info->decode(again, z, COLS);
            for (int i = 0; i < COLS; i++)
                if (y[i] != z[i])
                    fail_msg("%s, row %d: element %d was %g and is %g", info->name, kind, i,
                             (double)y[i], (double)z[i]);
        }
}

static void test_refusals(void **state)
{
    (void)state;
    struct err e;
    float weight[COLS];
    EACH_ENCODER(f, info)
    {
        draw_rows(3, 1);
        x[2 * COLS + 17] = NAN;
        if (strcmp(info->name, "f32")) {
            assert_fails(encode_rows(f, x, ROWS, COLS, NULL, bytes, &e), ST_RANGE, &e);
            assert_non_null(strstr(e.msg, "row 2, column 17"));
            x[2 * COLS + 17] = -INFINITY;
            assert_fails(encode_rows(f, x, ROWS, COLS, NULL, bytes, &e), ST_RANGE, &e);
        }
        x[2 * COLS + 17] = 3.4e38f;
        if (strcmp(info->name, "f32") && strcmp(info->name, "mxfp4"))
            assert_fails(encode_rows(f, x, ROWS, COLS, NULL, bytes, &e), ST_RANGE, &e);
        if (info->block > 1)
            assert_fails(encode_rows(f, x, 1, (size_t)info->block + 1, NULL, bytes, &e), ST_RANGE,
                         &e);
        draw_rows(3, 1);
        for (int i = 0; i < COLS; i++)
            weight[i] = 1;
        weight[5] = NAN;
        assert_fails(encode_rows(f, x, 1, COLS, weight, bytes, &e), ST_RANGE, &e);
        weight[5] = -1;
        assert_fails(encode_rows(f, x, 1, COLS, weight, bytes, &e), ST_RANGE, &e);
    }
    assert_fails(encode_rows(format_by_name("iq2_xxs"), x, 1, COLS, NULL, bytes, &e),
                 ST_UNSUPPORTED, &e);
    assert_non_null(strstr(e.msg, "not built yet"));
    assert_fails(encode_rows(FORMAT_NONE, x, 1, COLS, NULL, bytes, &e), ST_UNSUPPORTED, &e);
    assert_fails(encode_rows(format_by_name("q4_0"), x, 1, 0, NULL, bytes, &e), ST_RANGE, &e);
}

/* All levels that run here, rows one by one or together, threads: the same bytes. */
static void test_same_bits(void **state)
{
    (void)state;
    struct err e;
    static float weight[COLS];
    uint64_t seed = 4;
    for (int i = 0; i < COLS; i++)
        weight[i] = expf(draw(&seed));
    draw_rows(4, 0.5f);
    struct pool *pool = pool_new(3);
    const struct matrix m = { format_by_name("f32"), x, COLS * sizeof(float), ROWS, COLS, NULL };
    EACH_ENCODER(f, info)
        for (int weighted = 0; weighted < 2; weighted++) {
            const float *w = weighted ? weight : NULL;
            size_t size;
            assert_true(format_row_bytes(f, COLS, &size));
            level_force(level_find("c"));
            encode_all(f, x, w, bytes);
            for (size_t i = 0; level_at(i); i++) {
                if (!level_supported(level_at(i)))
                    continue;
                level_force(level_at(i));
                memset(again, 0xaa, sizeof again);
                for (size_t r = 0; r < ROWS; r++)
                    assert_ok(encode_rows(f, x + r * COLS, 1, COLS, w, again + r * size, &e), &e);
                assert_memory_equal(bytes, again, ROWS * size);
                assert_true(again[ROWS * size] == 0xaa);
                memset(again, 0, sizeof again);
                assert_ok(encode_matrix(pool, &m, f, w, again, NULL, &e), &e);
                assert_memory_equal(bytes, again, ROWS * size);
            }
        }
    level_force(NULL);
    pool_free(pool);
}

/* Sixteen blocks lie side by side: any number of them, and any width that the block divides. */
static void test_widths(void **state)
{
    (void)state;
    struct err e;
    draw_rows(6, 1);
    EACH_ENCODER(f, info)
    {
        size_t size;
        encode_all(f, x, NULL, bytes);
        for (size_t n = (size_t)info->block; n <= COLS; n += (size_t)info->block) {
            if (n > 40 && n % 7)
                continue;
            assert_true(format_row_bytes(f, n, &size));
            memset(again, 0x55, size + 1);
            assert_ok(encode_rows(f, x, 1, n, NULL, again, &e), &e);
            assert_memory_equal(bytes, again, size);
            assert_true(again[size] == 0x55);
        }
    }
}

static void test_matrix(void **state)
{
    (void)state;
    struct err e;
    const enum format q8 = format_by_name("q8_0"), q4 = format_by_name("q4_0");
    draw_rows(8, 1);
    encode_all(q8, x, NULL, bytes);
    format_info(q8)->decode(bytes, y, MOST);
    encode_all(q4, y, NULL, (uint8_t *)z);
    struct matrix m = { q8, bytes, COLS / 32 * 34, ROWS, COLS, NULL };
    assert_ok(encode_matrix(NULL, &m, q4, NULL, again, NULL, &e), &e);
    assert_memory_equal(z, again, ROWS * COLS / 32 * 18);
    const volatile sig_atomic_t cancelled = 1;
    assert_fails(encode_matrix(NULL, &m, q4, NULL, again, &cancelled, &e), ST_CANCELLED, &e);
    m.format = format_by_name("f32");
    m.data = x;
    m.row_bytes = COLS * sizeof(float);
    x[11 * COLS + 3] = INFINITY;
    assert_fails(encode_matrix(NULL, &m, q4, NULL, again, NULL, &e), ST_RANGE, &e);
    assert_non_null(strstr(e.msg, "row 11, column 3"));
}

static void test_fallback(void **state)
{
    (void)state;
    static const struct {
        const char *from;
        int cols;
        const char *to;
    } table[] = {
        { "q4_k", 512, "q4_k" },  { "q4_k", 576, "q5_0" },    { "q5_k", 576, "q5_1" },
        { "q6_k", 576, "q8_0" },  { "q2_k", 576, "q4_0" },    { "q3_k", 576, "q4_0" },
        { "tq2_0", 96, "q4_0" },  { "iq4_xs", 576, "iq4_nl" }, { "iq2_xxs", 32, "iq4_nl" },
        { "q4_k", 100, "f16" },   { "q8_0", 100, "f16" },     { "f16", 100, "f16" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        assert_int_equal(encode_fallback(format_by_name(table[i].from), (uint64_t)table[i].cols),
                         format_by_name(table[i].to));
}

UNIT_MAIN(CASE(test_error), CASE(test_idempotent), CASE(test_any_block), CASE(test_importance),
          CASE(test_hostile), CASE(test_refusals), CASE(test_same_bits), CASE(test_widths),
          CASE(test_matrix), CASE(test_fallback))
