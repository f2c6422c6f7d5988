/* SPDX-License-Identifier: MIT */
/* The float kernels of a level against sums in double, and against level c bit for bit. */
#include <float.h>
#include <math.h>

#include "tests/kern/checks.h"

/* The bound of mode exact, and what products below the range of float lose. */
static void expect_dot(const char *what, int64_t i, float got, const float *a, const float *b,
                       int64_t n, double scale)
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
    else if (size < (double)FLT_MAX / 2 && size * fabs(scale) < (double)FLT_MAX / 2)
        expect_near(what, i, (double)got, sum * scale,
                    (ldexp(size, -20) + ldexp((double)n, -149)) * fabs(scale) + 0x1p-149);
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
            expect_dot("y", k * stride + r, y[k * stride + r], w + r * n, x + k * n, n, 1);
}
