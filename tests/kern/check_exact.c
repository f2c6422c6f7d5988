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

/* Head sizes that models have, and any other. */
static int64_t draw_head(struct trial *t)
{
    static const int64_t usual[] = { 8, 16, 32, 40, 64, 80, 96, 128, 256, -1 };
    return draw(t) & 1 ? draw_of(t, usual) : draw_int(t, 1, 300);
}

struct attention {
    int64_t head, stride, cached, count;
    int32_t *keys;
    float *rows; /* [cached][stride], the last row without what is between */
    enum draw_kind kind;
};

static struct attention draw_attention(struct trial *t, enum draw_kind end)
{
    struct attention a = { .kind = draw_kind(t, end), .head = draw_head(t) };
    a.stride = a.head * draw_int(t, 1, 3);
    a.cached = draw_int(t, 1, 40);
    a.count = draw_int(t, 0, 70);
    kern_note("head of %d, %d of %d keys, stride %d, %s", (int)a.head, (int)a.count, (int)a.cached,
              (int)a.stride, draw_name(a.kind));
    GUARD(t, int32_t, keys, a.count, GUARD_IN);
    GUARD(t, float, rows, (a.cached - 1) * a.stride + a.head, GUARD_IN);
    for (int64_t j = 0; j < a.count; j++)
        keys[j] = (int32_t)draw_int(t, 0, a.cached - 1);
    draw_floats(t, a.kind, rows, (a.cached - 1) * a.stride + a.head);
    a.keys = keys;
    a.rows = rows;
    return a;
}

void check_dot_keys(struct trial *t)
{
    const struct attention a = draw_attention(t, DRAW__COUNT);
    GUARD(t, float, q, a.head, GUARD_IN);
    GUARD(t, float, out, a.count, GUARD_OUT);
    draw_floats(t, draw(t) & 1 ? a.kind : DRAW_UNIFORM, q, a.head);
    guard_seal();
    CALL(t->level->dot_keys, q, a.rows, a.stride, a.keys, a.count, a.head, 0.3f, out);
    for (int64_t j = 0; j < a.count; j++) {
        const float *k = a.rows + a.keys[j] * a.stride;
        const int32_t first = 0;
        float want;
        level_c.dot_keys(q, k, 0, &first, 1, a.head, 0.3f, &want);
        expect_bits("score", out + j, &want, 1);
        expect_dot("score", j, out[j], q, k, a.head, (double)0.3f);
    }
}

void check_mix_keys(struct trial *t)
{
    const struct attention a = draw_attention(t, DRAW__COUNT);
    GUARD(t, float, p, a.count, GUARD_IN);
    GUARD(t, float, z, a.head, GUARD_OUT);
    GUARD(t, float, want, a.head, GUARD_OUT);
    draw_floats(t, draw(t) & 1 ? a.kind : DRAW_UNIFORM, p, a.count);
    guard_seal();
    for (int64_t i = 0; i < a.head; i++) {
        double sum = 0;
        for (int64_t j = 0; j < a.count; j++)
            sum += (double)p[j] * (double)a.rows[a.keys[j] * a.stride + i];
        want[i] = (float)sum;
    }
    CALL(t->level->mix_keys, p, a.rows, a.stride, a.keys, a.count, a.head, z);
    expect_bits("z", z, want, a.head);
}
