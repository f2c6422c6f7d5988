/* SPDX-License-Identifier: MIT */
/* Mode fast against sums in double, within the bound of docs/modes.md. */
#include <math.h>
#include <string.h>

#include "kernels/codec.h"
#include "tests/kern/checks.h"
#include "tests/kern/tiles.h"

/* What a sum of n products may be off by; infinite where it may overflow. */
static double fast_bound(const struct level *l, const float *w, const float *x, int64_t n,
                         double *sum)
{
    const bool brain = !strcmp(l->fast->operands, "bf16");
    double size = 0, flushed = 0;
    *sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const double p = (double)w[i] * (double)x[i];
        *sum += p;
        size += fabs(p);
        if (fabsf(w[i]) < 0x1p-126f || fabsf(x[i]) < 0x1p-126f)
            flushed += fabs(p);
        if (fabsf(w[i]) > 0x1p127f || fabsf(x[i]) > 0x1p127f || size > 0x1p126)
            size = INFINITY; /* it may overflow */
    }
    const double u = brain ? 0x1p-7 + 0x1p-16 : 0;
    return size * (u + (double)(n + 4) * 0x1p-24) + (double)n * (brain ? 0x1p-126 : 0x1p-149)
           + (brain ? flushed : 0);
}

void expect_fast(const struct level *l, int64_t i, float got, const float *w, const float *x,
                 int64_t n, float scale, float bias)
{
    double sum;
    const double bound = fast_bound(l, w, x, n, &sum) * fabs((double)scale);
    sum *= (double)scale;
    if (isnan(sum))
        expect_int("y is not finite", i, isfinite(got), 0);
    else if (isfinite(bound))
        expect_near("y", i, (double)got, sum + (double)bias,
                    bound + ldexp(fabs(sum) + fabs((double)bias), -23) + 0x1p-149);
}

/* ---- docs/modes.md, fast: the sums of the levels, every bit ---- */

/* Rows are filled up with zeros. */
static float column(const float *v, int64_t i, int64_t n) { return i < n ? v[i] : 0; }

static float brain(const float *v, int64_t i, int64_t n)
{
    const float f = column(v, i, n);
    return fabsf(f) < 0x1p-126f ? copysignf(0, f) : bf16_to_f32(f32_to_bf16(f));
}

static float rounded_sum(const float *w, const float *x, int64_t n)
{
    float sum = 0;
    for (int64_t i = 0; i < fast_cols(n); i++)
        sum += column(w, i, n) * column(x, i, n);
    return sum;
}

static float fused_sum(const float *w, const float *x, int64_t n)
{
    float sum = 0;
    for (int64_t i = 0; i < fast_cols(n); i++)
        sum = fmaf(column(w, i, n), column(x, i, n), sum);
    return sum;
}

static float brain_fma(const float *w, const float *x, int64_t i, int64_t n, float sum)
{
    return flushing_fma(brain(w, i, n), brain(x, i, n), sum);
}

/* vdpbf16ps: of each pair the second first. */
static float pair_sum(const float *w, const float *x, int64_t n)
{
    float sum = 0;
    for (int64_t i = 0; i < fast_cols(n); i += 2)
        sum = brain_fma(w, x, i, n, brain_fma(w, x, i + 1, n, sum));
    return sum;
}

/* tdpbf16ps: even and odd columns of 32 apart, each from zero. */
static float tile_sum(const float *w, const float *x, int64_t n)
{
    float sum = 0;
    for (int64_t c = 0; c < fast_cols(n); c += 32) {
        float even = 0, odd = 0;
        for (int64_t i = c; i < c + 32; i += 2) {
            even = brain_fma(w, x, i, n, even);
            odd = brain_fma(w, x, i + 1, n, odd);
        }
        sum = flushing_fma(1, flushing_fma(1, even, odd), sum);
    }
    return sum;
}

static const struct {
    const char *level;
    float (*sum)(const float *w, const float *x, int64_t n);
} definitions[] = {
    { "c", rounded_sum },           { "avx2", fused_sum },
    { "avx512", fused_sum },        { "avx512bf16", pair_sum },
    { "amx", tile_sum },            { "amx-emulated", tile_sum },
    { "amx-emulated-c", tile_sum }, { 0 },
};

static float define_sum(const struct level *l, const float *w, const float *x, int64_t n)
{
    int i = 0;
    while (definitions[i].level && strcmp(definitions[i].level, l->name) != 0)
        i++;
    if (!definitions[i].level)
        kern_fail("nothing is said of the sums of this level");
    return definitions[i].sum(w, x, n);
}

/* Activations of all tokens, packed by the level. */
static void *pack(struct trial *t, const struct fast_ops *ops, const struct native_format *f,
                  const float *x, int64_t tokens, int64_t cols)
{
    const int64_t block = (int64_t)ops->block_bytes(f, cols);
    char *packed = guard(t, "packed", pool_chunks(tokens, FAST_TOKENS) * block, 1, 64, GUARD_OUT);
    for (int64_t k = 0; k < tokens; k += FAST_TOKENS) {
        const int64_t left = tokens - k;
        CALL(ops->pack, f, x + k * cols, left < FAST_TOKENS ? (int)left : FAST_TOKENS, cols,
             packed + k / FAST_TOKENS * block);
    }
    return packed;
}

void check_fast_panel(struct trial *t)
{
    const struct fast_ops *ops = t->level->fast;
    const enum format f = format_of(decoded_name(t->variant));
    const struct format_info *info = format_info(f);
    const enum scales scales = (enum scales)(t->number % SCALES__COUNT);
    const enum draw_kind kind = draw_kind(t, DRAW__COUNT);
    const bool many = t->number % 40 == 4; /* more than a level keeps sums of at a time */
    const int64_t tokens = many ? draw_int(t, 513, 540) : draw_int(t, 1, 40);
    const int64_t rows = draw_int(t, 1, many ? 4 : ops->rows), most = many ? 256 : 1500;
    const int64_t cols = info->block > 1 ? info->block * draw_int(t, 1, most / info->block)
                                         : draw_length(t, 1, most);
    const int64_t stride = rows + draw_int(t, 0, 1) * draw_int(t, 1, 9);
    const int64_t used = cols / info->block * info->bytes, row_bytes = used + draw_int(t, 0, 1) * 3;
    kern_note("%d rows, %d columns, %d tokens, %s, kind %d of scales", (int)rows, (int)cols,
              (int)tokens, draw_name(kind), (int)scales);
    GUARD(t, uint8_t, data, row_bytes * (rows - 1) + used, GUARD_IN);
    GUARD(t, float, x, tokens * cols, GUARD_IN);
    GUARD(t, float, y, (tokens - 1) * stride + rows, GUARD_OUT);
    GUARD(t, float, gaps, (tokens - 1) * stride + rows, GUARD_OUT);
    GUARD(t, float, row, cols, GUARD_OUT);
    for (int64_t r = 0; r < rows; r++)
        draw_blocks(t, f, scales, data + r * row_bytes, used);
    draw_floats(t, kind, x, tokens * cols);
    guard_seal();
    const void *packed = pack(t, ops, NULL, x, tokens, cols);
    const struct fast_weights w = { decoder_of(f), NULL, data, (size_t)row_bytes, (int)rows, cols };
    CALL(ops->panel, &w, packed, tokens, y, stride);
    expect_int("tiles that stay configured", 0, emulated_tiles_held(), 0);
    for (int64_t r = 0; r < rows; r++) {
        info->decode(data + r * row_bytes, row, cols);
        for (int64_t k = 0; k < tokens; k++) {
            if ((r + k) % 3 == 0) { /* brain floats take a while */
                const float want = define_sum(t->level, row, x + k * cols, cols);
                expect_bits("y", y + k * stride + r, &want, 1);
            }
            expect_fast(t->level, k * stride + r, y[k * stride + r], row, x + k * cols, cols, 1, 0);
        }
    }
    for (int64_t i = 0; i < (tokens - 1) * stride + rows; i++)
        if (i % stride >= rows)
            expect_bits("y between rows", y + i, gaps + i, 1);
}

/* Activations of one magnitude: the codes of all of them are the largest. */
static void draw_extremes(struct trial *t, float *x, int64_t n)
{
    const int how = (int)draw_int(t, 0, 2);
    for (int64_t i = 0; i < n; i++)
        x[i] = how == 0 || (how == 1 && draw(t) & 1) ? 3.0f : -3.0f;
}

void check_words_panel(struct trial *t)
{
    const struct fast_ops *ops = t->level->words;
    if (!ops)
        kern_skip("the level multiplies brain floats");
    const enum format f = format_of(native_name(t->variant));
    const struct format_info *info = format_info(f);
    const enum scales scales = (enum scales)(t->number % SCALES__COUNT);
    const enum draw_kind kind = draw_kind(t, DRAW__COUNT);
    const bool many = t->number % 40 == 4, extreme = t->number % 4 == 3;
    const bool tiny = t->number % 8 == 2;
    const int64_t tokens = many ? draw_int(t, 513, 540) : draw_int(t, 1, 40);
    const int64_t rows = draw_int(t, 1, many ? 4 : ops->rows), most = many ? 256 : 1500;
    const int64_t cols = info->block * draw_int(t, 1, most / info->block);
    const int64_t row_bytes = cols / info->block * info->bytes;
    const int64_t stride = rows + draw_int(t, 0, 1) * draw_int(t, 1, 9);
    kern_note("%d rows, %d columns, %d tokens, %s, kind %d of scales", (int)rows, (int)cols,
              (int)tokens, extreme ? "extreme" : tiny ? "tiny" : draw_name(kind), (int)scales);
    GUARD(t, uint8_t, data, row_bytes * rows, GUARD_IN);
    GUARD(t, float, x, tokens * cols, GUARD_IN);
    GUARD(t, float, y, (tokens - 1) * stride + rows, GUARD_OUT);
    GUARD(t, float, want, (tokens - 1) * stride + rows, GUARD_OUT);
    GUARD(t, float, sums, tokens * rows, GUARD_OUT);
    if (extreme) {
        extreme_blocks(t, f, data, row_bytes * rows);
        draw_extremes(t, x, tokens * cols);
    } else {
        draw_blocks(t, f, scales, data, row_bytes * rows);
        draw_floats(t, kind, x, tokens * cols);
    }
    if (tiny)
        draw_tiny_blocks(t, x, tokens * cols, 32);
    guard_seal();
    const struct native_format *n = native_format(f);
    const void *packed = pack(t, ops, n, x, tokens, cols);
    const struct fast_weights w = { decoder_of(f), n, data, (size_t)row_bytes, (int)rows, cols };
    CALL(ops->panel, &w, packed, tokens, y, stride);
    const struct matrix m = { f, data, (size_t)row_bytes, rows, cols, NULL };
    define_words_product(t, &m, x, tokens, sums);
    for (int64_t k = 0; k < tokens; k++)
        memcpy(want + k * stride, sums + k * rows, (size_t)rows * sizeof *want);
    expect_bits("y", y, want, (tokens - 1) * stride + rows);
}
