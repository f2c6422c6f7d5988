/* SPDX-License-Identifier: MIT */
/* Whole products: every mode at every level, with any number of tokens and threads. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "tests/kern/checks.h"

struct product {
    struct matrix w;
    int64_t tokens;
    float *x, *bias, *y, *one; /* one: the bits that every way of computing it must give */
};

static struct product draw_product(struct trial *t, const char *name)
{
    static const int64_t token_counts[] = { 1, 1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 33, -1 };
    const enum format f = format_of(name);
    const struct format_info *info = format_info(f);
    const enum scales scales = (enum scales)(t->number % SCALES__COUNT);
    const enum draw_kind kind = t->number < DRAW__COUNT ? (enum draw_kind)t->number
                                                        : DRAW_UNIFORM;
    struct product p = { .w = { .format = f, .rows = draw_int(t, 1, 40) },
                         .tokens = draw_of(t, token_counts) };
    p.w.cols = info->block > 1 ? info->block * draw_int(t, 1, 1500 / info->block)
                               : draw_length(t, 1, 1500);
    if (!format_row_bytes(f, (uint64_t)p.w.cols, &p.w.row_bytes))
        kern_fail("no such row");
    kern_note("%d rows, %d columns, %d tokens, %s, kind %d of scales", (int)p.w.rows,
              (int)p.w.cols, (int)p.tokens, draw_name(kind), (int)scales);
    const int64_t bytes = (int64_t)p.w.row_bytes * p.w.rows;
    GUARD(t, uint8_t, data, bytes, GUARD_IN);
    GUARD(t, float, x, p.tokens * p.w.cols, GUARD_IN);
    GUARD(t, float, bias, p.w.rows, GUARD_IN);
    GUARD(t, float, y, p.tokens * p.w.rows, GUARD_OUT);
    GUARD(t, float, one, p.tokens * p.w.rows, GUARD_OUT);
    draw_blocks(t, f, scales, data, bytes);
    draw_floats(t, kind, x, p.tokens * p.w.cols);
    draw_floats(t, DRAW_UNIFORM, bias, p.w.rows);
    p.w.data = data;
    p.x = x, p.bias = draw(t) & 1 ? bias : NULL, p.y = y, p.one = one;
    guard_seal();
    return p;
}

/* Token by token, at level c, on one thread. */
static void one_by_one(struct trial *t, const struct product *p, enum compute mode)
{
    level_force(&level_c);
    for (int64_t k = 0; k < p->tokens; k++)
        matrix_mul(&p->w, p->bias, p->x + k * p->w.cols, 1, p->one + k * p->w.rows, mode, NULL,
                   NULL);
    level_force(t->level);
}

static void all_at_once(struct trial *t, const struct product *p, enum compute mode)
{
    struct pool *pool = pool_new((int)draw_int(t, 1, 3));
    CALL(matrix_mul, &p->w, p->bias, p->x, p->tokens, p->y, mode, pool, NULL);
    pool_free(pool);
}

/* Results of mode exact against double. */
static void expect_products(struct trial *t, const struct product *p)
{
    const struct format_info *info = format_info(p->w.format);
    GUARD(t, float, row, p->w.cols, GUARD_OUT);
    for (int64_t r = 0; r < p->w.rows; r++) {
        info->decode((const char *)p->w.data + (size_t)r * p->w.row_bytes, row, p->w.cols);
        for (int64_t k = 0; k < p->tokens; k++) {
            double sum = 0, size = 0;
            for (int64_t c = 0; c < p->w.cols; c++) {
                const double term = (double)row[c] * (double)p->x[k * p->w.cols + c];
                sum += term;
                size += fabs(term);
            }
            const double bias = p->bias ? (double)p->bias[r] : 0;
            const float got = p->y[k * p->w.rows + r];
            if (isnan(size))
                expect_int("y is NaN", k * p->w.rows + r, isnan(got), 1);
            else if (size < (double)FLT_MAX / 2)
                expect_near("y", k * p->w.rows + r, (double)got, sum + bias,
                            ldexp(size, -20) + ldexp((double)p->w.cols, -149)
                                + ldexp(fabs(bias), -23));
        }
    }
}

void check_matrix_exact(struct trial *t)
{
    const struct product p = draw_product(t, decoded_name(t->variant));
    one_by_one(t, &p, COMPUTE_EXACT);
    all_at_once(t, &p, COMPUTE_EXACT);
    expect_bits("y", p.y, p.one, p.tokens * p.w.rows);
    expect_products(t, &p);
}

void check_matrix_native(struct trial *t)
{
    const struct product p = draw_product(t, decoded_name(t->variant));
    one_by_one(t, &p, COMPUTE_NATIVE);
    all_at_once(t, &p, COMPUTE_NATIVE);
    expect_bits("y", p.y, p.one, p.tokens * p.w.rows);
}

/* The bound, or the bits of few tokens; the same bits whatever the threads. */
void check_matrix_fast(struct trial *t)
{
    const struct product p = draw_product(t, decoded_name(t->variant));
    const struct format_info *info = format_info(p.w.format);
    GUARD(t, float, row, p.w.cols, GUARD_OUT);
    matrix_mul(&p.w, p.bias, p.x, p.tokens, p.one, COMPUTE_FAST, NULL, NULL);
    all_at_once(t, &p, COMPUTE_FAST);
    expect_bits("y with threads", p.y, p.one, p.tokens * p.w.rows);
    if (native_format(p.w.format) && p.tokens < FAST_LEAST_TOKENS) {
        expect_fine(t, &p.w, p.bias, p.x, p.tokens, p.y);
        return;
    }
    for (int64_t r = 0; r < p.w.rows; r++) {
        info->decode((const char *)p.w.data + (size_t)r * p.w.row_bytes, row, p.w.cols);
        for (int64_t k = 0; k < p.tokens; k++)
            expect_fast(t->level, k * p.w.rows + r, p.y[k * p.w.rows + r], row,
                        p.x + k * p.w.cols, p.w.cols, p.bias ? p.bias[r] : 0);
    }
}
