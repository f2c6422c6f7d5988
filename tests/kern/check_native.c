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
    const int64_t cols = block * draw_int(t, 1, 6);
    const bool sums = f->act == NATIVE_Q8_1;
    kern_note("%d columns, %s", (int)cols, draw_name(kind));
    GUARD(t, float, x, cols, GUARD_IN);
    GUARD(t, int8_t, code, cols, GUARD_OUT);
    GUARD(t, float, d, cols / block, GUARD_OUT);
    GUARD(t, float, s, cols / block, GUARD_OUT);
    GUARD(t, int16_t, sum, cols / f->unit, GUARD_OUT);
    draw_floats(t, kind, x, cols);
    guard_seal();
    CALL(t->level->native->acts, f, x, cols, code, d, sums ? s : NULL, sum);
    for (int64_t c = 0; c < cols; c += block) {
        int8_t want[256];
        float want_d, want_s;
        define_block(f->act, x + c, block, want, &want_d, &want_s);
        for (int i = 0; i < block; i++)
            expect_int("code", c + i, code[c + i], want[i]);
        for (int i = 0; i < block; i += f->unit) {
            int want_sum = 0;
            for (int k = 0; k < f->unit; k++)
                want_sum += want[i + k];
            expect_int("sum", (c + i) / f->unit, sum[(c + i) / f->unit], want_sum);
        }
        expect_bits("d", d + c / block, &want_d, 1);
        if (sums)
            expect_bits("s", s + c / block, &want_s, 1);
    }
}

/* A block of n values as the page defines it for few tokens in mode fast. */
static void define_twice(const float *x, int n, int8_t *const code[2], float d[2], float s[2])
{
    float largest = 0;
    bool finite = true;
    for (int i = 0; i < n; i++) {
        finite = finite && isfinite(x[i]);
        largest = fmaxf(largest, fabsf(x[i]));
    }
    const bool zero = !finite || largest < 0x1p-100f;
    const float r = 127.0f / largest;
    d[0] = !finite ? NAN : zero ? 0 : largest / 127.0f;
    d[1] = d[0] / 254.0f;
    s[0] = s[1] = 0;
    for (int i = 0; i < n; i++) {
        const float v = zero ? 0 : x[i] * r, whole = rintf(v);
        code[0][i] = (int8_t)whole;
        code[1][i] = (int8_t)rintf((v - whole) * 254.0f);
        s[0] += code[0][i];
        s[1] += code[1][i];
    }
    s[0] *= d[0];
    s[1] *= d[1];
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

/* Rows of weights, next to each other or some bytes apart. */
static struct native_weights draw_weights(struct trial *t, enum format format, int rows,
                                          int64_t cols, enum scales scales)
{
    const struct format_info *info = format_info(format);
    const size_t used = (size_t)(cols / info->block * info->bytes);
    const size_t row_bytes = used + (size_t)(draw_int(t, 0, 3) ? 0 : draw_int(t, 1, 70));
    GUARD(t, uint8_t, data, (int64_t)(row_bytes * (size_t)(rows - 1) + used), GUARD_IN);
    for (int r = 0; r < rows; r++)
        draw_blocks(t, format, scales, data + (size_t)r * row_bytes, (int64_t)used);
    return (struct native_weights){ native_format(format), data,        row_bytes,
                                    rows,                  info->block, info->bytes };
}

void check_native_panel(struct trial *t)
{
    static const int64_t token_counts[] = { 1, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, -1 };
    const enum format format = format_of(native_name(t->variant));
    const struct native_format *f = native_format(format);
    const enum scales scales = (enum scales)(t->number % SCALES__COUNT);
    const int64_t tokens = draw_of(t, token_counts);
    const int64_t most = draw_int(t, 0, 3) ? 900 : 2 * NATIVE_COLS + 600;
    const int64_t block = format_info(format)->block, cols = block * draw_int(t, 1, most / block);
    const int rows = (int)draw_int(t, 1, NATIVE_ROWS);
    const int64_t stride = rows + draw_int(t, 0, 1) * draw_int(t, 1, 40);
    kern_note("%d rows, %d columns, %d tokens, kind %d of scales", rows, (int)cols, (int)tokens,
              (int)scales);
    GUARD(t, float, y, (tokens - 1) * stride + rows, GUARD_OUT);
    GUARD(t, float, want, (tokens - 1) * stride + rows, GUARD_OUT);
    GUARD(t, int32_t, product, cols, GUARD_OUT);
    GUARD(t, int32_t, min, cols, GUARD_OUT);
    GUARD(t, float, d, cols / f->group, GUARD_OUT);
    GUARD(t, float, m, cols / f->group, GUARD_OUT);
    const struct native_weights w = draw_weights(t, format, rows, cols, scales);
    const struct native_acts x = draw_acts(t, f, tokens, cols, scales == SCALES_BITS);
    guard_seal();
    const struct native_definition definition = { product, min, d, m };
    for (int r = 0; r < rows; r++) {
        define_native(f, w.data + (size_t)r * w.row_bytes, cols, &definition);
        for (int64_t k = 0; k < tokens; k++)
            want[k * stride + r] = define_product(f, &definition, &x, k);
    }
    CALL(t->level->native->panel, &w, &x, y, stride);
    expect_bits("y", y, want, (tokens - 1) * stride + rows); /* and what is between the rows */
}

void expect_fine(struct trial *t, const struct matrix *w, const float *bias, const float *x,
                 int64_t tokens, const float *y)
{
    const struct native_format *f = native_format(w->format);
    const int block = f->act == NATIVE_Q8_K ? 256 : 32;
    const int64_t cols = w->cols, blocks = cols / block;
    GUARD(t, int32_t, product, cols, GUARD_OUT);
    GUARD(t, int32_t, min, cols, GUARD_OUT);
    GUARD(t, float, d, cols / f->group, GUARD_OUT);
    GUARD(t, float, m, cols / f->group, GUARD_OUT);
    GUARD(t, int8_t, code, 2 * cols, GUARD_OUT);
    GUARD(t, float, dx, 2 * blocks, GUARD_OUT);
    GUARD(t, float, sx, 2 * blocks, GUARD_OUT);
    const struct native_definition definition = { product, min, d, m };
    const struct native_acts a = { .tokens = 2, .cols = cols, .stride = cols, .block = block,
                                   .code = code, .d = dx, .s = f->act == NATIVE_Q8_1 ? sx : NULL };
    for (int64_t k = 0; k < tokens; k++) {
        for (int64_t b = 0; b < blocks; b++) {
            int8_t *const codes[2] = { code + b * block, code + cols + b * block };
            float ds[2], ss[2];
            define_twice(x + k * cols + b * block, block, codes, ds, ss);
            for (int i = 0; i < 2; i++) {
                dx[i * blocks + b] = ds[i];
                sx[i * blocks + b] = ss[i];
            }
        }
        for (int64_t r = 0; r < w->rows; r++) {
            define_native(f, (const uint8_t *)w->data + (size_t)r * w->row_bytes, cols,
                          &definition);
            float want = define_product(f, &definition, &a, 0);
            want += define_product(f, &definition, &a, 1);
            if (bias)
                want += bias[r];
            expect_bits("y", y + k * w->rows + r, &want, 1);
        }
    }
}

/* The activations of x in blocks of tokens side by side. */
static struct native_packed pack(struct trial *t, const struct native_format *f,
                                 const struct native_acts *x, int most)
{
    struct native_packed p = { .tokens = x->tokens, .blocks = pool_chunks(x->tokens, most),
                               .cols = x->cols, .units = x->cols / f->unit,
                               .scales = x->cols / x->block };
    GUARD(t, int8_t, code, p.tokens * p.cols, GUARD_IN);
    GUARD(t, int32_t, start, p.tokens * p.units, GUARD_IN);
    GUARD(t, int16_t, sum, p.tokens * p.units, GUARD_IN);
    GUARD(t, float, d, p.tokens * p.scales, GUARD_IN);
    GUARD(t, float, s, x->s ? p.tokens * p.scales : 0, GUARD_IN);
    for (int64_t b = 0; b < p.blocks; b++) {
        const int64_t first = packed_first(&p, b), n = packed_first(&p, b + 1) - first;
        for (int64_t i = 0; i < n; i++) {
            const int64_t at = (first + i) * x->stride;
            for (int64_t c = 0; c < p.cols; c++)
                code[first * p.cols + (c / 4 * n + i) * 4 + c % 4] = x->code[at + c];
            for (int64_t u = 0; u < p.units; u++) {
                start[first * p.units + u * n + i] = x->start[at / f->unit + u];
                if (f->mins) /* units are even then */
                    sum[first * p.units + (u / 2 * n + i) * 2 + u % 2] = x->sum[at / f->unit + u];
            }
            for (int64_t g = 0; g < p.scales; g++) {
                d[first * p.scales + g * n + i] = x->d[at / x->block + g];
                if (x->s)
                    s[first * p.scales + g * n + i] = x->s[at / x->block + g];
            }
        }
    }
    p.code = code, p.start = start, p.sum = sum, p.d = d, p.s = x->s ? s : NULL;
    return p;
}

void check_native_many(struct trial *t)
{
    const struct native_ops *ops = t->level->native;
    const enum format format = format_of(native_name(t->variant));
    const struct native_format *f = native_format(format);
    const enum scales scales = (enum scales)(t->number % SCALES__COUNT);
    const int64_t tokens = draw_int(t, 1, draw_int(t, 0, 2) ? 20 : 80);
    const int64_t most = draw_int(t, 0, 3) ? 900 : NATIVE_COLS + 600;
    const int64_t block = format_info(format)->block, cols = block * draw_int(t, 1, most / block);
    const int rows = (int)draw_int(t, 1, 45);
    const int64_t stride = rows + draw_int(t, 0, 1) * draw_int(t, 1, 40);
    if (!ops->many)
        kern_skip("the level has no kernel for many tokens");
    kern_note("%d rows, %d columns, %d tokens, kind %d of scales", rows, (int)cols, (int)tokens,
              (int)scales);
    GUARD(t, float, y, (tokens - 1) * stride + rows, GUARD_OUT);
    GUARD(t, float, want, (tokens - 1) * stride + rows, GUARD_OUT);
    GUARD(t, int32_t, product, cols, GUARD_OUT);
    GUARD(t, int32_t, min, cols, GUARD_OUT);
    GUARD(t, float, d, cols / f->group, GUARD_OUT);
    GUARD(t, float, m, cols / f->group, GUARD_OUT);
    GUARD(t, float, bias, rows, GUARD_IN);
    draw_floats(t, DRAW_UNIFORM, bias, rows);
    const bool biased = draw(t) & 1;
    const struct native_weights w = draw_weights(t, format, rows, cols, scales);
    const struct native_acts x = draw_acts(t, f, tokens, cols, scales == SCALES_BITS);
    const struct native_packed packed = pack(t, f, &x, ops->block);
    guard_seal();
    const struct native_definition definition = { product, min, d, m };
    for (int r = 0; r < rows; r++) {
        define_native(f, w.data + (size_t)r * w.row_bytes, cols, &definition);
        for (int64_t k = 0; k < tokens; k++) {
            const float sum = define_product(f, &definition, &x, k);
            want[k * stride + r] = biased ? sum + bias[r] : sum;
        }
    }
    CALL(ops->many, &w, &packed, biased ? bias : NULL, y, stride);
    expect_bits("y", y, want, (tokens - 1) * stride + rows);
}
