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

/* Are n values numbers, and what is their largest magnitude? */
static bool all_finite(const float *x, int n, float *largest)
{
    bool finite = true;
    *largest = 0;
    for (int i = 0; i < n; i++) {
        finite = finite && isfinite(x[i]);
        *largest = fmaxf(*largest, fabsf(x[i]));
    }
    return finite;
}

/* A block of n values as the page defines it for few tokens in mode fast. */
static void define_twice(const float *x, int n, int8_t *const code[2], float *const d[2],
                         float *const s[2])
{
    float largest;
    const bool finite = all_finite(x, n, &largest), zero = !finite || largest < 0x1p-100f;
    const float r = 127.0f / largest;
    *d[0] = !finite ? NAN : zero ? 0 : largest / 127.0f;
    *d[1] = *d[0] / 254.0f;
    *s[0] = *s[1] = 0;
    for (int i = 0; i < n; i++) {
        const float v = zero ? 0 : x[i] * r, whole = rintf(v);
        code[0][i] = (int8_t)whole;
        code[1][i] = (int8_t)rintf((v - whole) * 254.0f);
        *s[0] += code[0][i];
        *s[1] += code[1][i];
    }
    *s[0] *= *d[0];
    *s[1] *= *d[1];
}

static int block_of(const struct native_format *f) { return f->act == NATIVE_Q8_K ? 256 : 32; }

/* Activations of a number of tokens as the page has them: in mode fast (fine) two tokens of codes
 * for each. Sums of units are not there. */
static struct native_acts define_acts(struct trial *t, const struct native_format *f, bool fine,
                                      const float *x, int64_t tokens, int64_t cols)
{
    const int block = block_of(f);
    const int64_t per = fine ? 2 : 1, blocks = cols / block;
    GUARD(t, int8_t, code, per * tokens * cols, GUARD_OUT);
    GUARD(t, float, d, per * tokens * blocks, GUARD_OUT);
    GUARD(t, float, s, per * tokens * blocks, GUARD_OUT);
    for (int64_t k = 0; k < tokens; k++)
        for (int64_t b = 0; b < blocks; b++) {
            const int64_t at = per * k * blocks + b, rest = fine ? at + blocks : at;
            int8_t *const codes[2] = { code + at * block, code + rest * block };
            const float *from = x + k * cols + b * block;
            if (fine)
                define_twice(from, block, codes, (float *const[2]){ d + at, d + rest },
                             (float *const[2]){ s + at, s + rest });
            else
                define_block(f->act, from, block, codes[0], d + at, s + at);
        }
    return (struct native_acts){ .tokens = per * tokens, .cols = cols, .stride = cols,
                                 .block = block, .code = code, .d = d,
                                 .s = f->act == NATIVE_Q8_1 ? s : NULL };
}

/* Activations of a token, and where the kernels put them: in mode fast in codes of two tokens. */
struct rounding {
    const struct native_format *f;
    int64_t cols;
    const float *x;
    struct {
        int8_t *code;
        int16_t *sum;
        float *d, *s; /* s: NULL if the format has none */
    } to[2];
};

void draw_tiny_blocks(struct trial *t, float *x, int64_t n, int block)
{
    static const float tops[] = { 0x1p-100f, 0x1.fffffep-101f, 0x1.000002p-100f, 0x1p-101f,
                                  0x1p-102f };
    for (int64_t first = 0; first < n; first += block) {
        const float top = tops[draw_int(t, 0, 4)];
        const int64_t room = n - first < block ? n - first : block;
        for (int64_t i = 0; i < room; i++)
            x[first + i] = top * (float)draw_unit(t);
        x[first + draw_int(t, 0, room - 1)] = draw(t) & 1 ? top : -top;
    }
}

static struct rounding draw_rounding(struct trial *t, int tokens)
{
    const struct native_format *f = native_format(format_of(native_name(t->variant)));
    const int block = block_of(f);
    const enum draw_kind kind = draw_kind(t, DRAW__COUNT);
    struct rounding r = { .f = f, .cols = block * draw_int(t, 1, 6) };
    const bool tiny = t->number % 4 == 3;
    kern_note("%d columns, %s", (int)r.cols, tiny ? "tiny" : draw_name(kind));
    GUARD(t, float, x, r.cols, GUARD_IN);
    draw_floats(t, kind, x, r.cols);
    if (tiny)
        draw_tiny_blocks(t, x, r.cols, block);
    r.x = x;
    for (int i = 0; i < tokens; i++) {
        GUARD(t, int8_t, code, r.cols, GUARD_OUT);
        GUARD(t, float, d, r.cols / block, GUARD_OUT);
        GUARD(t, float, s, r.cols / block, GUARD_OUT);
        GUARD(t, int16_t, sum, r.cols / f->unit, GUARD_OUT);
        r.to[i].code = code, r.to[i].d = d, r.to[i].sum = sum;
        r.to[i].s = f->act == NATIVE_Q8_1 ? s : NULL;
    }
    guard_seal();
    return r;
}

static void expect_rounded(struct trial *t, const struct rounding *r, int tokens)
{
    const struct native_acts want = define_acts(t, r->f, tokens > 1, r->x, 1, r->cols);
    for (int k = 0; k < tokens; k++) {
        const int8_t *code = want.code + k * r->cols;
        for (int64_t i = 0; i < r->cols; i++)
            expect_int("code", i, r->to[k].code[i], code[i]);
        for (int64_t i = 0; i < r->cols; i += r->f->unit) {
            int sum = 0;
            for (int u = 0; u < r->f->unit; u++)
                sum += code[i + u];
            expect_int("sum", i / r->f->unit, r->to[k].sum[i / r->f->unit], sum);
        }
        const int64_t blocks = r->cols / want.block;
        expect_bits("d", r->to[k].d, want.d + k * blocks, blocks);
        if (r->to[k].s)
            expect_bits("s", r->to[k].s, want.s + k * blocks, blocks);
    }
}

void check_acts(struct trial *t)
{
    const struct rounding r = draw_rounding(t, 1);
    CALL(t->level->native->acts, r.f, r.x, r.cols, r.to[0].code, r.to[0].d, r.to[0].s,
         r.to[0].sum);
    expect_rounded(t, &r, 1);
}

void check_fine_acts(struct trial *t)
{
    const struct rounding r = draw_rounding(t, 2);
    int8_t *const code[2] = { r.to[0].code, r.to[1].code };
    float *const d[2] = { r.to[0].d, r.to[1].d }, *const s[2] = { r.to[0].s, r.to[1].s };
    int16_t *const sum[2] = { r.to[0].sum, r.to[1].sum };
    CALL(t->level->native->fine_acts, r.f, r.x, r.cols, code, d, s, sum);
    expect_rounded(t, &r, 2);
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
    const int block = block_of(f);
    const int64_t room = tokens > 2 ? cols : pool_chunks(cols, NATIVE_STEP) * NATIVE_STEP;
    const int64_t stride = room + block * draw_int(t, 0, 2), n = tokens * stride + NATIVE_SLACK;
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

/* What a token of `cols` activations became: codes, d and s of blocks. s may be NULL. */
struct defined_token {
    int64_t cols;
    int block;
    const int16_t *code;
    const float *d, *s;
};

/* Token k of x, its codes copied. */
static struct defined_token token_of(const struct native_acts *x, int64_t k, int16_t *code)
{
    const int64_t at = k * x->stride;
    for (int64_t i = 0; i < x->cols; i++)
        code[i] = x->code[at + i];
    return (struct defined_token){ x->cols, x->block, code, x->d + at / x->block,
                                   x->s ? x->s + at / x->block : NULL };
}

/* The product of a row and a token, in the order of operations of the page; integer sums take
 * `group` columns. */
static float define_product(const struct native_format *f, int group,
                            const struct native_definition *w, const struct defined_token *x)
{
    float sum = 0;
    for (int64_t first = 0; first < x->cols; first += group) {
        const int64_t g = first / f->group, b = first / x->block;
        int64_t isum = 0, msum = 0;
        for (int i = 0; i < group; i++) {
            isum += (int64_t)w->product[first + i] * x->code[first + i];
            msum += (int64_t)w->min[first + i] * x->code[first + i];
        }
        if (isum != (int32_t)isum || msum != (int32_t)msum)
            kern_fail("integer sums of this format do not fit 32 bits: %lld", (long long)isum);
        const float dx = x->d[b];
        float term = (float)isum * (w->d[g] * dx);
        if (f->mins)
            term = term - (float)msum * (w->m[g] * dx);
        if (x->s)
            term = term + w->m[g] * x->s[b];
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

/* Room for what the page says of a row. */
static struct native_definition definition_of_row(struct trial *t, const struct native_format *f,
                                                  int64_t cols)
{
    GUARD(t, int32_t, product, cols, GUARD_OUT);
    GUARD(t, int32_t, min, cols, GUARD_OUT);
    GUARD(t, float, d, cols / f->group, GUARD_OUT);
    GUARD(t, float, m, cols / f->group, GUARD_OUT);
    return (struct native_definition){ product, min, d, m };
}

/* Weights and activations, and where their products go: y [tokens][stride], with room between. */
struct products {
    struct native_weights w;
    struct native_acts x;
    int64_t stride, n; /* n: numbers of y, as of want */
    float *y, *want;
};

static int64_t draw_cols(struct trial *t, int64_t tokens, int64_t most)
{
    const int64_t block = format_info(format_of(native_name(t->variant)))->block;
    /* Few tokens are multiplied in another way where rows nearly fill steps of 512. */
    const int64_t steps = tokens < 3 && draw(t) & 1 ? draw_int(t, 1, most / 512 + 1) : 0;
    return steps ? 512 * steps - draw_int(t, 0, 1) * block : block * draw_int(t, 1, most / block);
}

static struct products draw_products(struct trial *t, int64_t tokens, int most_rows, int64_t cols)
{
    const enum format format = format_of(native_name(t->variant));
    const enum scales scales = (enum scales)(t->number % SCALES__COUNT);
    const int rows = (int)draw_int(t, 1, most_rows);
    struct products p = { .stride = rows + draw_int(t, 0, 1) * draw_int(t, 1, 40) };
    kern_note("%d rows, %d columns, %d tokens, kind %d of scales", rows, (int)cols, (int)tokens,
              (int)scales);
    p.n = (tokens - 1) * p.stride + rows;
    GUARD(t, float, y, p.n, GUARD_OUT);
    GUARD(t, float, want, p.n, GUARD_OUT);
    p.y = y, p.want = want;
    p.w = draw_weights(t, format, rows, cols, scales);
    p.x = draw_acts(t, p.w.format, tokens, cols, scales == SCALES_BITS);
    return p;
}

/* The products by definition, and what is between the rows. */
static void expect_products(struct trial *t, const struct products *p, const float *bias)
{
    const struct native_format *f = p->w.format;
    const struct native_definition row = definition_of_row(t, f, p->x.cols);
    GUARD(t, int16_t, code, p->x.cols, GUARD_OUT);
    for (int r = 0; r < p->w.rows; r++) {
        define_native(f, p->w.data + (size_t)r * p->w.row_bytes, p->x.cols, &row);
        for (int64_t k = 0; k < p->x.tokens; k++) {
            const struct defined_token x = token_of(&p->x, k, code);
            const float sum = define_product(f, f->group, &row, &x);
            p->want[k * p->stride + r] = bias ? sum + bias[r] : sum;
        }
    }
    expect_bits("y", p->y, p->want, p->n);
}

void check_native_panel(struct trial *t)
{
    static const int64_t token_counts[] = { 1, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, -1 };
    /* Few tokens look at the heads of 8 super-blocks at a time: two trials have more. In two others
     * rows are wider than those whose terms are kept. */
    const bool heads = t->number % 30 == 6, wide = t->number % 30 == 7;
    const int64_t tokens = heads || wide ? 1 + t->number / 30 % 2 : draw_of(t, token_counts);
    const int64_t most = draw_int(t, 0, 3) ? 900 : 2 * NATIVE_COLS + 600;
    const int64_t block = format_info(format_of(native_name(t->variant)))->block;
    const int64_t cols = heads  ? 256 * draw_int(t, 9, 17)
                         : wide ? block * draw_int(t, 513, 520)
                                : draw_cols(t, tokens, most);
    const struct products p = draw_products(t, tokens, NATIVE_ROWS, cols);
    const struct native_ops *ops = t->level->native;
    struct native_acts x = p.x;
    const int64_t codes = tokens * x.stride + NATIVE_SLACK;
    GUARD(t, int8_t, code, codes, GUARD_IN);
    x.code = memcpy(code, p.x.code, (size_t)codes);
    for (int64_t k = 0; ops->order && k < tokens; k++)
        CALL(ops->order, p.w.format, &x, k);
    guard_seal();
    CALL(ops->panel, &p.w, &x, p.y, p.stride);
    expect_products(t, &p, NULL);
}

void define_native_product(struct trial *t, const struct matrix *w, bool fine, const float *x,
                           int64_t tokens, float *y)
{
    const struct native_format *f = native_format(w->format);
    const struct native_definition row = definition_of_row(t, f, w->cols);
    const struct native_acts acts = define_acts(t, f, fine, x, tokens, w->cols);
    GUARD(t, int16_t, code, w->cols, GUARD_OUT);
    for (int64_t r = 0; r < w->rows; r++) {
        define_native(f, (const uint8_t *)w->data + (size_t)r * w->row_bytes, w->cols, &row);
        for (int64_t k = 0; k < acts.tokens; k++) {
            const struct defined_token a = token_of(&acts, k, code);
            const float sum = define_product(f, f->group, &row, &a);
            float *to = y + (fine ? k / 2 : k) * w->rows + r;
            *to = fine && k % 2 ? *to + sum : sum;
        }
    }
}

/* A block of n values as the page defines it for many tokens in mode fast. */
static void define_words(const struct native_format *f, const float *x, int n, int16_t *code,
                         float *d, float *s)
{
    const float top = f->group == 256 ? 4095.0f : 32767.0f;
    float largest;
    const bool finite = all_finite(x, n, &largest), zero = !finite || largest < 0x1p-100f;
    const float r = top / largest;
    int sum = 0;
    for (int i = 0; i < n; i++) {
        code[i] = zero ? 0 : (int16_t)rintf(x[i] * r);
        sum += code[i];
    }
    *d = !finite ? NAN : zero ? 0 : largest / top;
    *s = *d * (float)sum;
}

void define_words_product(struct trial *t, const struct matrix *w, const float *x, int64_t tokens,
                          float *y)
{
    const struct native_format *f = native_format(w->format);
    const struct native_definition row = definition_of_row(t, f, w->cols);
    const int block = f->group == 256 ? 128 : 32, group = f->group == 256 ? 128 : f->group;
    const int64_t cols = w->cols, blocks = cols / block;
    GUARD(t, int16_t, code, tokens * cols, GUARD_OUT);
    GUARD(t, float, d, tokens * blocks, GUARD_OUT);
    GUARD(t, float, s, tokens * blocks, GUARD_OUT);
    for (int64_t i = 0; i < tokens * blocks; i++)
        define_words(f, x + i * block, block, code + i * block, d + i, s + i);
    for (int64_t r = 0; r < w->rows; r++) {
        define_native(f, (const uint8_t *)w->data + (size_t)r * w->row_bytes, cols, &row);
        for (int64_t k = 0; k < tokens; k++) {
            const struct defined_token a = { cols, block, code + k * cols, d + k * blocks,
                                             f->act == NATIVE_Q8_1 ? s + k * blocks : NULL };
            y[k * w->rows + r] = define_product(f, group, &row, &a);
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
            for (int64_t g = 0; g < p.scales; g++)
                d[first * p.scales + g * n + i] = x->d[at / x->block + g];
        }
    }
    p.code = code, p.start = start, p.sum = sum, p.d = d;
    return p;
}

void check_native_many(struct trial *t)
{
    const struct native_ops *ops = t->level->native;
    if (!ops->many)
        kern_skip("the level has no kernel for many tokens");
    if (ops->few(native_format(format_of(native_name(t->variant))), 1000))
        kern_skip("the level has no kernel for many tokens of the format, but takes them as few");
    const int64_t tokens = draw_int(t, 1, draw_int(t, 0, 2) ? 20 : 80);
    const int64_t cols = draw_cols(t, tokens, draw_int(t, 0, 3) ? 900 : NATIVE_COLS + 600);
    const struct products p = draw_products(t, tokens, 45, cols);
    GUARD(t, float, values, p.w.rows, GUARD_IN);
    draw_floats(t, DRAW_UNIFORM, values, p.w.rows);
    const float *bias = draw(t) & 1 ? values : NULL;
    const struct native_packed packed = pack(t, p.w.format, &p.x, ops->block);
    guard_seal();
    CALL(ops->many, &p.w, &packed, bias, p.y, p.stride);
    expect_products(t, &p, bias);
}
