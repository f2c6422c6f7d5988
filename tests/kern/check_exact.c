/* SPDX-License-Identifier: MIT */
/* The float kernels of a level against sums in double, and against level c bit for bit. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/codec.h"
#include "tests/kern/checks.h"

/* Within share * the sum of magnitudes, and what products below the range of float lose. */
static void expect_dot(const char *what, int64_t i, float got, const float *a, const float *b,
                       int64_t n, double share)
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
        expect_near(what, i, (double)got, sum, size * share + ldexp((double)n + 1, -149));
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
            level_c.dot_rows(w + r * n, 1, x + k * n, 1, n, want + k * stride + r, 1);
    CALL(t->level->dot_rows, w, rows, x, tokens, n, y, stride);
    expect_bits("y", y, want, (tokens - 1) * stride + rows);
    for (int64_t k = 0; k < tokens; k++)
        for (int r = 0; r < rows; r++)
            expect_dot("y", k * stride + r, y[k * stride + r], w + r * n, x + k * n, n, 0x1p-20);
}

/* Numbers of any kind as halves, some of them denormal. */
static void draw_halves(struct trial *t, enum draw_kind kind, uint16_t *h, float *x, int64_t n)
{
    draw_floats(t, kind, x, n);
    for (int64_t i = 0; i < n; i++) {
        h[i] = f32_to_f16(x[i]);
        x[i] = f16_to_f32(h[i]);
    }
}

/* As docs/modes.md has it; products are exact. */
static float define_halves(const float *w, const float *x, int64_t n)
{
    float lane[16] = { 0 };
    for (int64_t i = 0; i < n; i++)
        lane[i % 16] += w[i] * x[i];
    for (int apart = 8; apart; apart /= 2)
        for (int i = 0; i < apart; i++)
            lane[i] += lane[i + apart];
    return lane[0];
}

/* y [tokens][stride] of halves w [rows][n] and x [tokens][n]: every bit, and what is between the
 * rows. */
static void expect_halves(struct trial *t, const float *w, int64_t rows, const float *x,
                          int64_t tokens, int64_t n, const float *y, int64_t stride)
{
    GUARD(t, float, want, (tokens - 1) * stride + rows, GUARD_OUT);
    for (int64_t k = 0; k < tokens; k++)
        for (int64_t r = 0; r < rows; r++) {
            const int64_t i = k * stride + r;
            want[i] = define_halves(w + r * n, x + k * n, n);
            expect_dot("y", i, want[i], w + r * n, x + k * n, n, (double)(5 + n / 16) * 0x1p-24);
        }
    expect_bits("y", y, want, (tokens - 1) * stride + rows);
}

void check_halves_rows(struct trial *t)
{
    const enum draw_kind kind = draw_kind(t, DRAW__COUNT);
    const int rows = (int)draw_int(t, 1, t->level->rows);
    const int64_t n = draw_length(t, 1, 3000), tokens = draw_int(t, 1, 13);
    const int64_t stride = rows + draw_int(t, 0, 1) * draw_int(t, 1, 9);
    const bool as_halves = t->level->plain_rows[PLAIN_F16] && draw(t) & 1;
    const int64_t gap = as_halves ? draw_int(t, 0, 1) * 3 : 0; /* bytes between rows */
    const int64_t used = n * (as_halves ? 2 : 4), row_bytes = used + gap;
    kern_note("%d rows, %d columns, %d tokens, %s, as %s", rows, (int)n, (int)tokens,
              draw_name(kind), as_halves ? "halves" : "floats");
    GUARD(t, float, w, rows * n, GUARD_IN);
    GUARD(t, uint16_t, half, (rows > tokens ? rows : tokens) * n, GUARD_IN);
    GUARD(t, float, x, tokens * n, GUARD_IN);
    GUARD(t, uint8_t, data, (rows - 1) * row_bytes + used, GUARD_IN);
    GUARD(t, float, y, (tokens - 1) * stride + rows, GUARD_OUT);
    draw_halves(t, draw(t) & 1 ? kind : DRAW_UNIFORM, half, x, tokens * n);
    draw_halves(t, kind, half, w, rows * n);
    for (int64_t r = 0; r < rows; r++)
        memcpy(data + r * row_bytes, as_halves ? (void *)(half + r * n) : (void *)(w + r * n),
               (size_t)used);
    guard_seal();
    CALL(t->level->halves_rows, as_halves ? PLAIN_F16 : PLAIN_F32, data, (size_t)row_bytes, rows, x,
         tokens, n, y, stride);
    expect_halves(t, w, rows, x, tokens, n, y, stride);
}

/* n columns of each of `count` rows to their places among `side`, see kernels/panel.h. */
static void put_panel(const float *from, int64_t count, int64_t n, int64_t side, float *to)
{
    const int64_t vectors = panel_vectors(n);
    memset(to, 0, (size_t)((count + side - 1) / side * side * vectors) * 16 * sizeof *to);
    for (int64_t r = 0; r < count; r++)
        for (int64_t c = 0; c < n; c++)
            to[((r / side * vectors + c / 16) * side + r % side) * 16 + c % 16] = from[r * n + c];
}

void check_panel_halves(struct trial *t)
{
    const enum draw_kind kind = draw_kind(t, DRAW__COUNT);
    const int rows = (int)draw_int(t, 1, PANEL_ROWS), tokens = (int)draw_int(t, 1, PANEL_TOKENS);
    const int64_t n = draw_length(t, 1, 3000), padded = panel_vectors(n) * 16;
    const int64_t stride = rows + draw_int(t, 0, 1) * draw_int(t, 1, 9);
    const int64_t groups = (rows + PANEL_SIDE - 1) / PANEL_SIDE;
    kern_note("%d rows, %d columns, %d tokens, %s", rows, (int)n, tokens, draw_name(kind));
    GUARD(t, float, w, rows * n, GUARD_IN);
    GUARD(t, float, x, tokens * n, GUARD_IN);
    GUARD(t, uint16_t, half, (rows > tokens ? rows : tokens) * n, GUARD_IN);
    GUARD(t, float, panel, groups * PANEL_SIDE * padded, GUARD_IN);
    GUARD(t, float, acts, tokens * padded, GUARD_IN);
    GUARD(t, float, y, (tokens - 1) * stride + rows, GUARD_OUT);
    draw_halves(t, draw(t) & 1 ? kind : DRAW_UNIFORM, half, x, tokens * n);
    draw_halves(t, kind, half, w, rows * n);
    put_panel(w, rows, n, PANEL_SIDE, panel);
    put_panel(x, tokens, n, tokens, acts);
    guard_seal();
    CALL(t->level->panels[PANEL_HALVES], panel, rows, acts, tokens, padded / 16, y, stride);
    expect_halves(t, w, rows, x, tokens, n, y, stride);
}
