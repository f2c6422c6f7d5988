/* SPDX-License-Identifier: MIT */
/* The float kernels of a level against sums in double, and against docs/modes.md bit for bit. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/codec.h"
#include "tests/kern/checks.h"

/* Within share * the sum of magnitudes, what products below the range of float lose, and what else
 * is left out. */
static void expect_dot(const char *what, int64_t i, float got, const float *a, const float *b,
                       int64_t n, double share, double lost)
{
    double sum = 0, size = 0;
    bool nan = false;
    for (int64_t k = 0; k < n; k++) {
        const double p = (double)a[k] * (double)b[k];
        nan = nan || isnan(p);
        sum += p;
        size += fabs(p);
    }
    if (nan)
        expect_int(what, i, isnan(got), 1);
    else if (size < (double)FLT_MAX / 2)
        expect_near(what, i, (double)got, sum, size * share + ldexp((double)n + 1, -149) + lost);
}

void check_dot_rows(struct trial *t)
{
    const enum draw_kind kind = draw_kind(t, DRAW__COUNT);
    const int rows = (int)draw_int(t, 1, t->level->rows);
    const int64_t n = draw_length(t, 0, 3000), tokens = draw_int(t, 1, 13);
    const int64_t stride = rows + draw_int(t, 0, 1) * draw_int(t, 1, 9);
    kern_note("%d rows, %d columns, %d tokens, %s", rows, (int)n, (int)tokens, draw_name(kind));
    GUARD(t, float, w, rows * n, GUARD_IN);
    GUARD(t, float, x, tokens * n, GUARD_IN);
    GUARD(t, float, y, (tokens - 1) * stride + rows, GUARD_OUT);
    GUARD(t, float, want, (tokens - 1) * stride + rows, GUARD_OUT);
    draw_floats(t, kind, w, rows * n);
    draw_floats(t, draw(t) & 1 ? kind : DRAW_UNIFORM, x, tokens * n);
    guard_seal();
    for (int r = 0; r < rows; r++)
        for (int64_t k = 0; k < tokens; k++)
            want[k * stride + r] = define_exact(w + r * n, x + k * n, n);
    CALL(t->level->dot_rows, w, rows, x, tokens, n, y, stride);
    expect_bits("y", y, want, (tokens - 1) * stride + rows);
    for (int64_t k = 0; k < tokens; k++)
        for (int r = 0; r < rows; r++)
            expect_dot("y", k * stride + r, y[k * stride + r], w + r * n, x + k * n, n, 0x1p-20,
                       0);
}

const char *plain_name(int i)
{
    static const char *const names[] = { "f32", "f16", "bf16", NULL }; /* enum plain_kind */
    return names[i];
}

/* In one trial of eight a token alone, in rows wide enough to be read side by side. */
static void draw_alone(struct trial *t, int64_t *n, int64_t *tokens)
{
    if (t->number % 8)
        return;
    *tokens = 1;
    *n = draw_int(t, 4090, 4500);
}

void check_plain_rows(struct trial *t)
{
    const struct format_info *info = format_info(format_of(plain_name(t->variant)));
    const enum scales scales = (enum scales)(t->number % SCALES__COUNT);
    const enum draw_kind kind = draw_kind(t, DRAW__COUNT);
    const int rows = (int)draw_int(t, 1, 40);
    int64_t n = draw_length(t, 1, 3000), tokens = draw_int(t, 1, 9);
    draw_alone(t, &n, &tokens);
    const int64_t stride = rows + draw_int(t, 0, 1) * draw_int(t, 1, 9);
    const int64_t used = n * info->bytes, row_bytes = used + draw_int(t, 0, 1) * 3;
    if (!t->level->plain_rows[t->variant])
        kern_skip("the level has no kernel for rows as they lie in memory");
    kern_note("%d rows, %d columns, %d tokens, %s, kind %d of weights", rows, (int)n, (int)tokens,
              draw_name(kind), (int)scales);
    GUARD(t, float, w, n, GUARD_OUT);
    GUARD(t, float, x, tokens * n, GUARD_IN);
    GUARD(t, float, y, (tokens - 1) * stride + rows, GUARD_OUT);
    GUARD(t, float, want, (tokens - 1) * stride + rows, GUARD_OUT);
    uint8_t *data = guard(t, "data", (rows - 1) * row_bytes + used, 1, 1, GUARD_IN);
    for (int r = 0; r < rows; r++)
        draw_blocks(t, format_of(info->name), scales, data + r * row_bytes, used);
    draw_floats(t, kind, x, tokens * n);
    guard_seal();
    for (int r = 0; r < rows; r++) {
        info->decode(data + r * row_bytes, w, n);
        for (int64_t k = 0; k < tokens; k++)
            want[k * stride + r] = define_exact(w, x + k * n, n);
    }
    CALL(t->level->plain_rows[t->variant], data, (size_t)row_bytes, rows, x, tokens, n, y, stride);
    expect_bits("y", y, want, (tokens - 1) * stride + rows); /* and what is between the rows */
}

/* ---- docs/modes.md, native: products of halves and of brain floats ---- */

const char *sixteen_bits_name(int i)
{
    static const char *const names[] = { "f16", "bf16", NULL };
    return names[i];
}

/* Around the ends of the range of brain floats. */
static float edge_of_range(struct trial *t)
{
    static const int64_t bits[] = { 0x0000, 0x0001, 0x0080, 0x2380, 0x23ff, 0x2400, 0x2401, 0x3f80,
                                    0x5d00, 0x5d7f, 0x5d80, 0x5d81, 0x7f7f, 0x7f80, 0x7fc0, -1 };
    const uint16_t sign = draw(t) & 1 ? 0x8000 : 0;
    return bf16_to_f32((uint16_t)draw_of(t, bits) | sign);
}

/* Numbers of any kind in 16 bits, some of them denormal. */
static void draw_sixteen(struct trial *t, enum draw_kind kind, uint16_t *h, float *x, int64_t n)
{
    const bool edges = t->variant && draw_int(t, 0, 3) == 0;
    draw_floats(t, kind, x, n);
    for (int64_t i = 0; i < n; i++) {
        if (edges && draw_int(t, 0, kind == DRAW_CANCEL ? 0 : 3) == 0)
            x[i] = edge_of_range(t);
        h[i] = t->variant ? f32_to_bf16(x[i]) : f32_to_f16(x[i]);
        x[i] = t->variant ? bf16_to_f32(h[i]) : f16_to_f32(h[i]);
    }
}

float brain_in_range(float x)
{
    const float size = fabsf(x);
    return size < 0x1p-55f ? copysignf(0, x) : size >= 0x1p60f ? copysignf(INFINITY, x) : x;
}

/* All products are exact. */
float define_sixteen(bool brains, const float *w, const float *x, int64_t n)
{
    float lane[16] = { 0 };
    for (int64_t i = 0; i < n && !brains; i++)
        lane[i % 16] += w[i] * x[i];
    for (int64_t i = 0; i < n && brains; i += 2)
        for (int64_t k = i + 1 < n ? i + 1 : i; k >= i; k--)
            lane[i / 2 % 16] += brain_in_range(w[k]) * brain_in_range(x[k]);
    return define_lanes(lane);
}

/* Of a sum of brain floats: what the ends of their range leave out; infinite where they make an
 * infinity of a number. */
static double left_out(const float *w, const float *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const bool large = fabsf(w[i]) >= 0x1p60f || fabsf(x[i]) >= 0x1p60f;
        if (large && !isnan(w[i]) && !isnan(x[i]))
            return INFINITY;
        if (fabsf(w[i]) < 0x1p-55f || fabsf(x[i]) < 0x1p-55f)
            sum += fabs((double)w[i] * (double)x[i]);
    }
    return sum;
}

/* y [tokens][stride] of w [rows][n] and x [tokens][n]: every bit, and what is between the rows. */
static void expect_sums(struct trial *t, const float *w, int64_t rows, const float *x,
                        int64_t tokens, int64_t n, const float *y, int64_t stride)
{
    GUARD(t, float, want, (tokens - 1) * stride + rows, GUARD_OUT);
    for (int64_t k = 0; k < tokens; k++)
        for (int64_t r = 0; r < rows; r++) {
            const int64_t i = k * stride + r;
            const float *row = w + r * n, *token = x + k * n;
            const double lost = t->variant ? left_out(row, token, n) : 0;
            want[i] = define_sixteen(t->variant, row, token, n);
            if (isfinite(lost))
                expect_dot("y", i, want[i], row, token, n, (double)(6 + n / 16) * 0x1p-24, lost);
        }
    expect_bits("y", y, want, (tokens - 1) * stride + rows);
}

void check_halves_rows(struct trial *t)
{
    const enum draw_kind kind = draw_kind(t, DRAW__COUNT);
    const int rows = (int)draw_int(t, 1, t->level->rows);
    int64_t n = draw_length(t, 1, 3000), tokens = draw_int(t, 1, 13);
    draw_alone(t, &n, &tokens);
    const int64_t stride = rows + draw_int(t, 0, 1) * draw_int(t, 1, 9);
    const bool brains = t->variant, short_weights = t->level->plain_rows[PLAIN_F16] && draw(t) & 1;
    const bool stored = brains || short_weights;
    const int64_t gap = stored ? draw_int(t, 0, 1) * 3 : 0; /* bytes between rows */
    const int64_t used = n * (stored ? 2 : 4), row_bytes = used + gap;
    kern_note("%d rows, %d columns, %d tokens, %s, as %s", rows, (int)n, (int)tokens,
              draw_name(kind), stored ? "stored" : "floats");
    GUARD(t, float, w, rows * n, GUARD_IN);
    GUARD(t, uint16_t, half, rows * n, GUARD_IN);
    GUARD(t, float, x, tokens * n, GUARD_IN);
    GUARD(t, uint16_t, half_x, tokens * n, GUARD_IN);
    GUARD(t, uint8_t, data, (rows - 1) * row_bytes + used, GUARD_IN);
    GUARD(t, float, y, (tokens - 1) * stride + rows, GUARD_OUT);
    draw_sixteen(t, draw(t) & 1 ? kind : DRAW_UNIFORM, half_x, x, tokens * n);
    draw_sixteen(t, kind, half, w, rows * n);
    if (brains)
        level_c.to_brains(x, tokens * n, half_x);
    for (int64_t r = 0; r < rows; r++)
        memcpy(data + r * row_bytes, stored ? (void *)(half + r * n) : (void *)(w + r * n),
               (size_t)used);
    guard_seal();
    CALL(t->level->halves_rows, brains ? PLAIN_BF16 : stored ? PLAIN_F16 : PLAIN_F32, data,
         (size_t)row_bytes, rows, brains ? (void *)half_x : (void *)x, tokens, n, y, stride);
    expect_sums(t, w, rows, x, tokens, n, y, stride);
}

/* One row of n columns by way of `row` to its place, number `r` of `side`, see kernels/panel.h. */
static void put_row(const struct panel_ops *ops, const float *from, const uint16_t *brains,
                    int64_t n, float *row, int64_t r, int64_t side, float *to)
{
    const int64_t vectors = panel_vectors(ops, n);
    memset(row, 0, (size_t)(vectors * PANEL_LANES) * sizeof *row);
    if (ops->brains)
        CALL(ops->brains, (const uint8_t *)brains, n, row);
    else
        memcpy(row, from, (size_t)n * sizeof *row);
    for (int64_t v = 0; v < vectors; v++)
        memcpy(to + (v * side + r) * PANEL_LANES, row + v * PANEL_LANES,
               PANEL_LANES * sizeof *row);
}

void check_panel(struct trial *t)
{
    const struct panel_ops *ops = t->level->panels[t->variant ? PANEL_BRAINS : PANEL_HALVES];
    const enum draw_kind kind = draw_kind(t, DRAW__COUNT);
    const int rows = (int)draw_int(t, 1, PANEL_ROWS), tokens = (int)draw_int(t, 1, PANEL_TOKENS);
    const int64_t n = draw_length(t, 1, 3000), vectors = panel_vectors(ops, n);
    const int64_t stride = rows + draw_int(t, 0, 1) * draw_int(t, 1, 9);
    const int64_t group = PANEL_SIDE * vectors * PANEL_LANES;
    const int64_t floats = (rows + PANEL_SIDE - 1) / PANEL_SIDE * group;
    kern_note("%d rows, %d columns, %d tokens, %s", rows, (int)n, tokens, draw_name(kind));
    GUARD(t, float, w, rows * n, GUARD_IN);
    GUARD(t, float, x, tokens * n, GUARD_IN);
    GUARD(t, uint16_t, half, (rows > tokens ? rows : tokens) * n, GUARD_IN);
    GUARD(t, float, row, vectors * PANEL_LANES, GUARD_OUT);
    GUARD(t, float, panel, floats, GUARD_IN);
    GUARD(t, float, acts, tokens * vectors * PANEL_LANES, GUARD_IN);
    GUARD(t, float, y, (tokens - 1) * stride + rows, GUARD_OUT);
    draw_sixteen(t, draw(t) & 1 ? kind : DRAW_UNIFORM, half, x, tokens * n);
    for (int k = 0; k < tokens; k++)
        put_row(ops, x + k * n, half + k * n, n, row, k, tokens, acts);
    draw_sixteen(t, kind, half, w, rows * n);
    memset(panel, 0, (size_t)floats * sizeof *panel);
    for (int r = 0; r < rows; r++)
        put_row(ops, w + r * n, half + r * n, n, row, r % PANEL_SIDE, PANEL_SIDE,
                panel + r / PANEL_SIDE * group);
    guard_seal();
    CALL(ops->block, panel, rows, acts, tokens, vectors, y, stride);
    expect_sums(t, w, rows, x, tokens, n, y, stride);
}
