/* SPDX-License-Identifier: MIT */
/* Native mode against docs/modes.md: activations and products, bit for bit. */
#include <math.h>
#include <string.h>

#include "tests/kern/checks.h"

/* Equal to a half of the same value. */
static float as_half(float v) { return f16_to_f32(f32_to_f16(v)); }

/* A block of n values as the page defines it. */
static void define_block(enum native_act act, const float *x, int n, int8_t *code, float *d,
                         float *s)
{
    float largest = 0, signed_largest = 0;
    bool finite = true;
    int sum = 0;
    for (int i = 0; i < n; i++) {
        finite = finite && isfinite(x[i]);
        if (fabsf(x[i]) > largest) {
            largest = fabsf(x[i]);
            signed_largest = x[i];
        }
    }
    memset(code, 0, (size_t)n);
    *d = *s = finite ? 0 : NAN;
    if (!finite || largest < 0x1p-100f)
        return;
    const float r = act == NATIVE_Q8_K ? -127.0f / signed_largest : 127.0f / largest;
    for (int i = 0; i < n; i++) {
        code[i] = (int8_t)lrintf(x[i] * r);
        sum += code[i];
    }
    *d = act == NATIVE_Q8_K ? 1.0f / r : as_half(largest / 127.0f);
    *s = as_half(largest / 127.0f * (float)sum);
}

void check_acts(struct trial *t)
{
    const struct native_format *f = native_format(format_of(native_name(t->variant)));
    const int block = f->act == NATIVE_Q8_K ? 256 : 32;
    const enum draw_kind kind = draw_kind(t, DRAW__COUNT);
    const int64_t cols = block * draw_int(t, 1, 6), token = draw_int(t, 0, 2);
    kern_note("%d columns, %s", (int)cols, draw_name(kind));
    GUARD(t, float, x, cols, GUARD_IN);
    draw_floats(t, kind, x, cols);
    guard_seal();
    struct native_acts a;
    native_acts_init(&a, f, 3, cols);
    CALL(native_acts_set, &a, f, token, x);
    for (int64_t b = 0; b < cols / block; b++) {
        const int64_t at = token * a.stride + b * block;
        int8_t code[256];
        float d, s;
        define_block(f->act, x + b * block, block, code, &d, &s);
        for (int i = 0; i < block; i++)
            expect_int("code", b * block + i, a.code[at + i], code[i]);
        for (int i = 0; i < block; i += f->unit) {
            int sum = 0;
            for (int k = 0; k < f->unit; k++)
                sum += code[i + k];
            expect_int("sum", b * block + i, a.sum[(at + i) / f->unit], sum);
            expect_int("start", b * block + i, a.start[(at + i) / f->unit], -f->zero * sum);
        }
        expect_bits("d", a.d + at / block, &d, 1);
        if (f->act == NATIVE_Q8_1)
            expect_bits("s", a.s + at / block, &s, 1);
    }
    for (int64_t i = 0; i < a.stride * 3; i++) /* other tokens stay as they were */
        if (i / a.stride != token)
            expect_int("code of another token", i, a.code[i], 0);
    native_acts_free(&a);
}

/* Codes of activations: random, or so that sums are as large as they can be. */
static void draw_codes(struct trial *t, int8_t *code, int64_t n)
{
    const int how = (int)draw_int(t, 0, 5);
    for (int64_t i = 0; i < n; i++)
        code[i] = (int8_t)(how == 0   ? 127
                           : how == 1 ? -127
                           : how == 2 ? i % 2 ? 127 : -127
                           : how == 3 ? draw(t) & 1 ? 127 : -127
                                      : draw_int(t, -127, 127));
}

static float draw_scale(struct trial *t, bool odd)
{
    float v;
    draw_floats(t, odd ? DRAW_BITS : DRAW_UNIFORM, &v, 1);
    return v;
}

/* Activations of some tokens; what lies beyond the last token's is rubbish. */
static struct native_acts draw_acts(struct trial *t, const struct native_format *f, int64_t tokens,
                                    int64_t cols, bool odd)
{
    const int block = f->act == NATIVE_Q8_K ? 256 : 32;
    const int64_t stride = cols + block * draw_int(t, 0, 2), n = tokens * stride + NATIVE_SLACK;
    GUARD(t, int8_t, code, n, GUARD_IN);
    GUARD(t, float, d, n / block, GUARD_IN);
    GUARD(t, int16_t, sum, n / f->unit, GUARD_IN);
    GUARD(t, int32_t, start, n / f->unit, GUARD_IN);
    GUARD(t, float, s, f->act == NATIVE_Q8_1 ? n / block : 0, GUARD_IN);
    draw_bytes(t, (uint8_t *)code, n);
    draw_bytes(t, (uint8_t *)sum, n / f->unit * 2);
    draw_bytes(t, (uint8_t *)start, n / f->unit * 4);
    draw_floats(t, DRAW_BITS, d, n / block);
    draw_floats(t, DRAW_BITS, s, f->act == NATIVE_Q8_1 ? n / block : 0);
    for (int64_t k = 0; k < tokens; k++) {
        draw_codes(t, code + k * stride, cols);
        for (int64_t i = 0; i < cols; i += f->unit) {
            sum[(k * stride + i) / f->unit] = 0;
            for (int j = 0; j < f->unit; j++)
                sum[(k * stride + i) / f->unit] += code[k * stride + i + j];
            start[(k * stride + i) / f->unit] = -f->zero * sum[(k * stride + i) / f->unit];
        }
        for (int64_t i = 0; i < cols; i += block) {
            d[(k * stride + i) / block] = draw_scale(t, odd);
            if (f->act == NATIVE_Q8_1)
                s[(k * stride + i) / block] = draw_scale(t, odd);
        }
    }
    return (struct native_acts){ .tokens = tokens, .cols = cols, .stride = stride, .block = block,
                                 .code = code, .d = d, .sum = sum,
                                 .start = start,
                                 .s = f->act == NATIVE_Q8_1 ? s : NULL };
}

/* The product of a row and a token, in the order of operations of the page. */
static float define_product(const struct native_format *f, const struct native_definition *w,
                            const struct native_acts *x, int64_t token)
{
    float sum = 0;
    for (int64_t g = 0; g < x->cols / f->group; g++) {
        const int64_t first = g * f->group, at = token * x->stride + first;
        int64_t isum = 0, msum = 0;
        for (int i = 0; i < f->group; i++) {
            isum += (int64_t)w->product[first + i] * x->code[at + i];
            msum += (int64_t)w->min[first + i] * x->code[at + i];
        }
        if (isum != (int32_t)isum || msum != (int32_t)msum)
            kern_fail("integer sums of this format do not fit 32 bits: %lld", (long long)isum);
        const float dx = x->d[at / x->block];
        float term = (float)isum * (w->d[g] * dx);
        if (f->mins)
            term = term - (float)msum * (w->m[g] * dx);
        if (x->s)
            term = term + w->m[g] * x->s[at / x->block];
        sum = sum + term;
    }
    return sum;
}

void check_native_panel(struct trial *t)
{
    static const int64_t token_counts[] = { 1, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, -1 };
    const enum format format = format_of(native_name(t->variant));
    const struct format_info *info = format_info(format);
    const struct native_format *f = native_format(format);
    const enum scales scales = (enum scales)(t->number % SCALES__COUNT);
    const int64_t tokens = draw_of(t, token_counts);
    const int64_t most = draw_int(t, 0, 3) ? 900 : 2 * NATIVE_COLS + 600;
    const int64_t cols = info->block * draw_int(t, 1, most / info->block);
    const int rows = (int)draw_int(t, 1, NATIVE_ROWS);
    const int64_t stride = rows + draw_int(t, 0, 1) * draw_int(t, 1, 40);
    const size_t used = (size_t)(cols / info->block * info->bytes);
    const size_t row_bytes = used + (size_t)(draw_int(t, 0, 3) ? 0 : draw_int(t, 1, 70));
    kern_note("%d rows, %d columns, %d tokens, kind %d of scales", rows, (int)cols, (int)tokens,
              (int)scales);
    GUARD(t, uint8_t, data, (int64_t)(row_bytes * (size_t)(rows - 1) + used), GUARD_IN);
    GUARD(t, float, y, (tokens - 1) * stride + rows, GUARD_OUT);
    GUARD(t, float, want, (tokens - 1) * stride + rows, GUARD_OUT);
    GUARD(t, int32_t, product, cols, GUARD_OUT);
    GUARD(t, int32_t, min, cols, GUARD_OUT);
    GUARD(t, float, d, cols / f->group, GUARD_OUT);
    GUARD(t, float, m, cols / f->group, GUARD_OUT);
    for (int r = 0; r < rows; r++)
        draw_blocks(t, format, scales, data + (size_t)r * row_bytes, (int64_t)used);
    const struct native_acts x = draw_acts(t, f, tokens, cols, scales == SCALES_BITS);
    guard_seal();
    const struct native_weights w = { f, data, row_bytes, rows, info->block, info->bytes };
    const struct native_definition definition = { product, min, d, m };
    for (int r = 0; r < rows; r++) {
        define_native(f, data + (size_t)r * row_bytes, cols, &definition);
        for (int64_t k = 0; k < tokens; k++)
            want[k * stride + r] = define_product(f, &definition, &x, k);
    }
    CALL(t->level->native->panel, &w, &x, y, stride);
    expect_bits("y", y, want, (tokens - 1) * stride + rows); /* and what is between the rows */
}
