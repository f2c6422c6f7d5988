/* SPDX-License-Identifier: MIT */
/* Mode fast against sums in double, within the bound of docs/modes.md. */
#include <math.h>
#include <string.h>

#include "tests/kern/checks.h"

double fast_bound(const struct level *l, const float *w, const float *x, int64_t n, double *sum)
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
                 int64_t n, float bias)
{
    double sum;
    const double bound = fast_bound(l, w, x, n, &sum);
    if (isnan(sum))
        expect_int("y is not finite", i, isfinite(got), 0);
    else if (isfinite(bound))
        expect_near("y", i, (double)got, sum + (double)bias,
                    bound + ldexp(fabs(sum) + fabs((double)bias), -23));
}

/* Activations of all tokens, packed by the level. */
static void *pack(struct trial *t, const float *x, int64_t tokens, int64_t cols)
{
    const struct fast_ops *ops = t->level->fast;
    const int64_t block = FAST_TOKENS * fast_cols(cols) * ops->bytes;
    char *packed = guard(t, "packed", pool_chunks(tokens, FAST_TOKENS) * block, 1, 64, GUARD_OUT);
    for (int64_t k = 0; k < tokens; k += FAST_TOKENS) {
        const int64_t left = tokens - k;
        CALL(ops->pack, x + k * cols, left < FAST_TOKENS ? (int)left : FAST_TOKENS, cols,
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
    const int64_t tokens = draw_int(t, 1, 40), rows = draw_int(t, 1, ops->rows);
    const int64_t cols = info->block > 1 ? info->block * draw_int(t, 1, 1500 / info->block)
                                         : draw_length(t, 1, 1500);
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
    const void *packed = pack(t, x, tokens, cols);
    const struct fast_weights w = { decoder_of(f), data, (size_t)row_bytes, (int)rows, cols };
    CALL(ops->panel, &w, packed, tokens, y, stride);
    for (int64_t r = 0; r < rows; r++) {
        info->decode(data + r * row_bytes, row, cols);
        for (int64_t k = 0; k < tokens; k++)
            expect_fast(t->level, k * stride + r, y[k * stride + r], row, x + k * cols, cols, 0);
    }
    for (int64_t i = 0; i < (tokens - 1) * stride + rows; i++)
        if (i % stride >= rows)
            expect_bits("y between rows", y + i, gaps + i, 1);
}
