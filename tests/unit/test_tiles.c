/* SPDX-License-Identifier: MIT */
/* The kernel of mode fast for a matrix unit, over tiles that are emulated: the same source as level
 * amx runs on machines that have them, with every instruction replaced by what it is defined to do.
 * Where the machine has tiles, level amx itself gives nearly the same sums. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/codec.h"
#include "kernels/level.h"

static uint8_t tile[8][16][64];
static int configured;

static void tiles_begin(void) { configured++; }
static void tiles_end(void) { configured--; }

static void tile_load(int t, const void *from, int64_t stride)
{
    assert_int_equal(configured, 1);
    for (int r = 0; r < 16; r++)
        memcpy(tile[t][r], (const char *)from + r * stride, 64);
}

static void tile_store(int t, void *to, int64_t stride)
{
    for (int r = 0; r < 16; r++)
        memcpy((char *)to + r * stride, tile[t][r], 64);
}

static float brain(const uint8_t *p) { return float_of_bits((uint32_t)load_u16(p) << 16); }

/* sums[m][n] += sum over k of weights[m][k] * acts[k / 2][n][k % 2]. */
static void tile_product(int sums, int weights, int acts)
{
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 16; n++) {
            float sum;
            memcpy(&sum, tile[sums][m] + 4 * n, sizeof sum);
            for (int k = 0; k < 32; k++)
                sum += brain(tile[weights][m] + 2 * k)
                       * brain(tile[acts][k / 2] + 4 * n + k % 2 * 2);
            memcpy(tile[sums][m] + 4 * n, &sum, sizeof sum);
        }
}

#define TILE_LOAD(t, from, stride)    tile_load(t, from, stride)
#define TILE_STORE(t, to, stride)     tile_store(t, to, stride)
#define TILE_ZERO(t)                  memset(tile[t], 0, sizeof tile[t])
#define TILE_PRODUCT(s, weights, acts) tile_product(s, weights, acts)
#define LEVEL_VECTOR 16
#define FAST_BF16
#define FAST_TILES
#include "kernels/fast_body.h"

static const struct fast_ops emulated = { "bf16", sizeof(operand), FAST_ROWS, fast_pack,
                                          fast_panel };

static uint32_t draw(void)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

static float number(void)
{
    const int exponent = (int)(draw() % 12) - 6;
    return ldexpf((float)(int32_t)draw() / 2147483648.0f, exponent);
}

struct sums {
    int rows;
    int64_t cols, tokens, stride;
    float *x, *y; /* x [tokens][cols], y [tokens][stride] */
    struct fast_weights w;
    uint8_t *data;
};

/* Weights of a format with 4-bit codes, whose scales are sane, and activations. */
static struct sums draw_sums(int rows, int64_t blocks, int64_t tokens)
{
    struct sums s = { .rows = rows, .cols = 32 * blocks, .tokens = tokens, .stride = rows + 3 };
    const size_t row_bytes = (size_t)(18 * blocks);
    s.data = x_alloc((size_t)rows * row_bytes);
    for (size_t i = 0; i < (size_t)rows * row_bytes; i++)
        s.data[i] = (uint8_t)draw();
    for (size_t i = 0; i < (size_t)rows * (size_t)blocks; i++)
        s.data[18 * i + 1] = (uint8_t)(0x20 | (s.data[18 * i + 1] & 0x83));
    s.x = x_alloc((size_t)(tokens * s.cols) * sizeof *s.x);
    for (int64_t i = 0; i < tokens * s.cols; i++)
        s.x[i] = number();
    s.y = x_alloc((size_t)(tokens * s.stride) * sizeof *s.y);
    s.w = (struct fast_weights){ decoder_of(format_by_name("q4_0")), s.data, row_bytes, rows,
                                 s.cols };
    return s;
}

static void sums_free(struct sums *s)
{
    free(s->data);
    free(s->x);
    free(s->y);
}

static void multiply(const struct fast_ops *ops, struct sums *s)
{
    const int64_t blocks = (s->tokens + FAST_TOKENS - 1) / FAST_TOKENS;
    const int64_t each = FAST_TOKENS * fast_cols(s->cols);
    operand *packed = aligned_alloc(64, (size_t)(blocks * each) * sizeof *packed);
    for (int64_t b = 0; b < blocks; b++) {
        const int64_t left = s->tokens - b * FAST_TOKENS;
        ops->pack(s->x + b * FAST_TOKENS * s->cols, left < FAST_TOKENS ? (int)left : FAST_TOKENS,
                  s->cols, packed + b * each);
    }
    for (int64_t i = 0; i < s->tokens * s->stride; i++)
        s->y[i] = 42;
    ops->panel(&s->w, packed, s->tokens, s->y, s->stride);
    free(packed);
}

/* Against the double sums of rounded operands: what is left is the rounding of the additions. */
static void check(const struct sums *s)
{
    float *row = x_alloc((size_t)s->cols * sizeof *row);
    for (int r = 0; r < s->rows; r++) {
        format_info(format_by_name("q4_0"))
            ->decode(s->data + (size_t)r * s->w.row_bytes, row, s->cols);
        for (int64_t t = 0; t < s->tokens; t++) {
            double sum = 0, size = 0;
            for (int64_t c = 0; c < s->cols; c++) {
                const double p = (double)bf16_to_f32(f32_to_bf16(row[c]))
                                 * bf16_to_f32(f32_to_bf16(s->x[t * s->cols + c]));
                sum += p;
                size += fabs(p);
            }
            const double got = s->y[t * s->stride + r];
            if (!(fabs(got - sum) <= ldexp((double)(s->cols + 4) * size, -24)))
                fail_msg("%d x %lld, %lld tokens: y[%lld][%d] = %.9g, not %.9g", s->rows,
                         (long long)s->cols, (long long)s->tokens, (long long)t, r, got, sum);
        }
    }
    for (int64_t t = 0; t < s->tokens; t++)
        for (int64_t r = s->rows; r < s->stride; r++)
            assert_true(s->y[t * s->stride + r] == 42);
    free(row);
}

static const int sizes[][3] = { { 1, 1, 1 },   { 15, 1, 16 }, { 16, 2, 17 }, { 17, 3, 31 },
                                { 31, 8, 32 }, { 32, 9, 33 }, { 32, 17, 48 }, { 20, 8, 530 } };

static void emulated_tiles_give_the_sums(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct sums s = draw_sums(sizes[i][0], sizes[i][1], sizes[i][2]);
        multiply(&emulated, &s);
        assert_int_equal(configured, 0);
        check(&s);
        sums_free(&s);
    }
}

static void real_tiles_give_the_sums(void **state)
{
    (void)state;
#ifdef __x86_64__
    if (level_supported(&level_amx)) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            struct sums s = draw_sums(sizes[i][0], sizes[i][1], sizes[i][2]);
            multiply(&fast_amx, &s);
            check(&s);
            sums_free(&s);
        }
        return;
    }
    SKIP_CASE("amx_tile: %s", feature_missing(FEATURE_AMX_TILE));
#else
    SKIP_CASE("amx is for other CPUs");
#endif
}

UNIT_MAIN(CASE(emulated_tiles_give_the_sums), CASE(real_tiles_give_the_sums))
