/* SPDX-License-Identifier: MIT */
/* Native mode with AVX2 or AVX-512 VNNI: WIDTH rows of weights side by side, one per lane, so that
 * the sums of a row never leave its lane and are added in the order that docs/modes.md fixes.
 * Included by level_native.h. */
#ifndef QDB_KERNELS_NATIVE_SIMD_H
#define QDB_KERNELS_NATIVE_SIMD_H

#include "kernels/level_native.h"
#include "kernels/native_transpose.h"

#ifdef __AVX2__

/* Rows side by side: codes [cols / 4][WIDTH][4], scales [unit][WIDTH], minima of two units
 * [unit / 2][WIDTH][2], d and m [group][WIDTH]. */
struct abreast {
    _Alignas(64) uint8_t code[NATIVE_COLS * WIDTH];
    int32_t scale[UNITS * WIDTH], min[UNITS / 2 * WIDTH];
    float d[UNITS * WIDTH], m[UNITS * WIDTH];
};

/* n columns of dwords of WIDTH rows, `stride` dwords apart; up to WIDTH columns more are written.
 */
INLINE void turn(const void *from, int stride, int n, void *to)
{
    const char *p = from;
    for (int c = 0; c < n; c += WIDTH) {
        ints v[WIDTH];
        EACH_LANE v[r] = ints_load(p + 4 * (r * stride + c));
        transpose(v);
        EACH_LANE ints_store((char *)to + 4 * WIDTH * (c + r), v[r]);
    }
}

/* Rows taken apart on their way there: codes of PIECE columns, which stay in the first-level cache,
 * and everything else of NATIVE_COLS columns. */
enum { PIECE = 256 };

struct apart {
    _Alignas(64) uint8_t code[PIECE * WIDTH];
    int16_t scale[UNITS * WIDTH], min[UNITS * WIDTH];
    float d[UNITS * WIDTH], m[UNITS * WIDTH];
};

/* Columns c .. c + n of `rows` rows from row r on. */
static void put_abreast(const struct native_weights *w, int r, int rows, int64_t c, int n,
                        struct apart *p, struct abreast *out)
{
    const struct native_format *f = w->format;
    native_unpack *const unpack = unpackers[native_id(f)];
    const int units = NATIVE_COLS / f->unit, groups = NATIVE_COLS / f->group;
    const uint8_t *from = w->data + (size_t)r * w->row_bytes + c / w->block * w->bytes;
    for (int at = 0; at < n; at += PIECE, from += PIECE / w->block * w->bytes) {
        const int some = n - at < PIECE ? n - at : PIECE, u = at / f->unit, g = at / f->group;
        for (int i = 0; i < rows; i++) {
            const struct native_row row = { p->code + i * PIECE, p->scale + i * units + u,
                                            p->min + i * units + u, p->d + i * groups + g,
                                            p->m + i * groups + g };
            unpack(from + (size_t)i * w->row_bytes, some, &row);
        }
        turn(p->code, PIECE / 4, some / 4, out->code + at * WIDTH);
    }
    turn(p->d, groups, n / f->group, out->d);
    if (f->mins) {
        turn(p->m, groups, n / f->group, out->m);
        turn(p->min, units / 2, n / f->unit / 2, out->min);
    }
    if (f->unit == f->group)
        return;
    ints pair[UNITS / 2];
    turn(p->scale, units / 2, n / f->unit / 2, pair);
    for (int u = 0; u < n / f->unit; u += 2) {
        ints_store(out->scale + u * WIDTH, I(srai_epi32)(I(slli_epi32)(pair[u / 2], 16), 16));
        ints_store(out->scale + (u + 1) * WIDTH, I(srai_epi32)(pair[u / 2], 16));
    }
}

#define EACH_TOKEN UNROLL for (int t = 0; t < tokens; t++)

/* What a kernel must know of a format, constants after inlining: all but the name and, where codes
 * are summed in 16 bits, the largest code are equal. Those of formats that native_few leaves to
 * native_many. */
#ifdef __AVX512VNNI__
#define KINDS(X) \
    X(small, NATIVE_Q8_0, 1, 255, 32, 32, false) \
    X(super_16, NATIVE_Q8_K, 1, 255, 256, 16, false) \
    X(super_32, NATIVE_Q8_K, 1, 255, 256, 32, false)
#else
#define KINDS(X) \
    X(small, NATIVE_Q8_0, 1, 15, 32, 32, false) \
    X(super_16_31, NATIVE_Q8_K, 1, 31, 256, 16, false) \
    X(super_16_63, NATIVE_Q8_K, 1, 63, 256, 16, false) \
    X(super_16_127, NATIVE_Q8_K, 1, 127, 256, 16, false) \
    X(super_32_15, NATIVE_Q8_K, 1, 15, 256, 32, false) \
    X(super_32_31, NATIVE_Q8_K, 1, 31, 256, 32, false) \
    X(super_32_127, NATIVE_Q8_K, 1, 127, 256, 32, false) \
    X(super_16_min, NATIVE_Q8_K, 0, 15, 256, 16, true)
#endif

enum { MOST_TOKENS = WIDTH == 16 ? 8 : 4 };

/* acc[t] += codes of a unit times the activations x [unit / 4][tokens][4]. */
INLINE void unit_dots(const struct native_format *f, int tokens, const uint8_t *code,
                      const int8_t *x, ints *acc)
{
#ifdef __AVX512VNNI__
    UNROLL for (int k = 0; k < f->unit; k += 4)
    {
        const ints u = ints_load(code + k * WIDTH);
        EACH_TOKEN acc[t] = _mm512_dpbusd_epi32(acc[t], u, four_bytes(x + k * tokens + 4 * t));
    }
#else
    /* Pairs of products fit 16 bits; as many are added there as the largest code, at most 127,
     * allows. */
    const int fit = f->top > 63 ? 1 : f->top > 31 ? 2 : f->top > 15 ? 4 : 8;
    const int pairs = fit < f->unit / 4 ? fit : f->unit / 4;
    const ints ones = _mm256_set1_epi16(1);
    UNROLL for (int k = 0; k < f->unit; k += 4 * pairs)
    {
        ints sum[MOST_TOKENS];
        UNROLL for (int j = 0; j < pairs; j++)
        {
            const ints u = ints_load(code + (k + 4 * j) * WIDTH);
            EACH_TOKEN
            {
                ints a = four_bytes(x + (k + 4 * j) * tokens + 4 * t);
                a = _mm256_maddubs_epi16(u, a);
                sum[t] = j ? _mm256_add_epi16(sum[t], a) : a;
            }
        }
        EACH_TOKEN acc[t] = _mm256_add_epi32(acc[t], _mm256_madd_epi16(sum[t], ones));
    }
#endif
}

/* The products of unit u of WIDTH rows and some tokens, relative to zero. */
INLINE void unit_sums(const struct native_format *f, int tokens, const struct abreast *w,
                      const struct native_block *x, int u, ints *acc)
{
    EACH_TOKEN acc[t] = f->zero ? ints_of(x->start[u * tokens + t]) : ints_zero();
    unit_dots(f, tokens, w->code + u * f->unit * WIDTH, x->code + u * f->unit * tokens, acc);
}

/* sum[t] continued by the terms of group g. */
INLINE void add_small(const struct native_format *f, int tokens, const struct abreast *w,
                      const struct native_block *x, int g, floats *sum)
{
    const floats d = I(load_ps)(w->d + g * WIDTH);
    const float *dx = x->d + g * tokens;
    ints acc[MOST_TOKENS];
    unit_sums(f, tokens, w, x, g, acc);
    EACH_TOKEN sum[t] = I(add_ps)(
        sum[t], I(mul_ps)(I(cvtepi32_ps)(acc[t]), I(mul_ps)(d, I(set1_ps)(dx[t]))));
}

/* sum [tokens][WIDTH] continued by the terms of super-block g. */
INLINE void add_super(const struct native_format *f, int tokens, const struct abreast *w,
                      const struct native_block *x, int g, float *sum)
{
    const int units = 256 / f->unit;
    const floats d = I(load_ps)(w->d + g * WIDTH);
    const float *dx = x->d + g * tokens;
    ints isum[MOST_TOKENS];
    floats term[MOST_TOKENS];
    EACH_TOKEN isum[t] = ints_zero();
    for (int u = g * units; u < (g + 1) * units; u++) {
        ints acc[MOST_TOKENS];
        const ints scale = ints_load(w->scale + u * WIDTH);
        unit_sums(f, tokens, w, x, u, acc);
        EACH_TOKEN isum[t] = I(add_epi32)(isum[t], I(mullo_epi32)(acc[t], scale));
    }
    EACH_TOKEN term[t] = I(mul_ps)(I(cvtepi32_ps)(isum[t]), I(mul_ps)(d, I(set1_ps)(dx[t])));
    if (f->mins) {
        const floats m = I(load_ps)(w->m + g * WIDTH);
        EACH_TOKEN isum[t] = ints_zero();
        UNROLL for (int u = g * units / 2; u < (g + 1) * units / 2; u++)
        {
            const ints min = ints_load(w->min + u * WIDTH);
            EACH_TOKEN isum[t] = I(add_epi32)(
                isum[t], I(madd_epi16)(min, four_bytes(x->sum + 2 * (u * tokens + t))));
        }
        EACH_TOKEN term[t] = I(sub_ps)(
            term[t], I(mul_ps)(I(cvtepi32_ps)(isum[t]), I(mul_ps)(m, I(set1_ps)(dx[t]))));
    }
    EACH_TOKEN I(store_ps)(sum + t * WIDTH, I(add_ps)(I(load_ps)(sum + t * WIDTH), term[t]));
}

/* Sums of a block of tokens, [tokens][WIDTH], continued by n columns. */
INLINE void some_tokens(const struct native_format *f, int tokens, const struct abreast *w,
                        const struct native_block *x, int n, float *sum)
{
    if (f->group == 256) {
        for (int g = 0; g < n / 256; g++)
            add_super(f, tokens, w, x, g, sum);
        return;
    }
    floats s[MOST_TOKENS];
    EACH_TOKEN s[t] = I(load_ps)(sum + t * WIDTH);
    for (int g = 0; g < n / f->group; g++)
        add_small(f, tokens, w, x, g, s);
    EACH_TOKEN I(store_ps)(sum + t * WIDTH, s[t]);
}

/* One kernel per kind, of every number of tokens. */
typedef void block_kernel(const struct abreast *w, const struct native_block *x, int n, float *sum);
#define KERNEL(name, tokens, ...) \
    static void name##_##tokens(const struct abreast *w, const struct native_block *x, int n, \
                                float *sum) \
    { \
        static const struct native_format f = { #name, __VA_ARGS__ }; \
        some_tokens(&f, tokens, w, x, n, sum); \
    }
#define FEW_KERNELS(name, ...) \
    KERNEL(name, 1, __VA_ARGS__) \
    KERNEL(name, 2, __VA_ARGS__) \
    KERNEL(name, 3, __VA_ARGS__) \
    KERNEL(name, 4, __VA_ARGS__)
#define MORE_KERNELS(name, ...) \
    KERNEL(name, 5, __VA_ARGS__) \
    KERNEL(name, 6, __VA_ARGS__) \
    KERNEL(name, 7, __VA_ARGS__) \
    KERNEL(name, 8, __VA_ARGS__)
KINDS(FEW_KERNELS)
#ifdef __AVX512VNNI__
KINDS(MORE_KERNELS)
#define MORE_NAMES(name) , name##_5, name##_6, name##_7, name##_8
#else
#define MORE_NAMES(name)
#endif

#define KIND(name, ...) \
    { { #name, __VA_ARGS__ }, { name##_1, name##_2, name##_3, name##_4 MORE_NAMES(name) } },
static const struct kind {
    struct native_format facts;
    block_kernel *kernel[MOST_TOKENS];
} kinds[] = { KINDS(KIND) };

static const struct kind *kind_of(const struct native_format *f)
{
    for (const struct kind *k = kinds;; k++)
        if (k->facts.act == f->act && k->facts.group == f->group && k->facts.unit == f->unit
            && k->facts.mins == f->mins && k->facts.top >= f->top)
            return k;
}

/* What WIDTH rows give: their sums so far [tokens][WIDTH], and where they go in the end. */
struct result {
    float *sum, *y;
    int64_t stride;
    const float *bias; /* may be NULL */
    int rows;          /* that exist, of WIDTH */
};

/* y = sum + bias, for the tokens t .. end. */
static void put_result(const struct result *out, int64_t t, int64_t end)
{
    float b[WIDTH] = { 0 }, some[WIDTH];
    if (out->bias)
        memcpy(b, out->bias, (size_t)out->rows * sizeof *b);
    for (; t < end; t++) {
        floats v = I(load_ps)(out->sum + t * WIDTH);
        if (out->bias)
            v = I(add_ps)(v, I(loadu_ps)(b));
        if (out->rows == WIDTH) {
            I(storeu_ps)(out->y + t * out->stride, v);
        } else {
            I(storeu_ps)(some, v);
            memcpy(out->y + t * out->stride, some, (size_t)out->rows * sizeof *some);
        }
    }
}

/* Bytes of WIDTH rows that will be taken apart next; they are asked for while the last blocks are
 * multiplied, so that they are still in cache then. */
struct ahead {
    const uint8_t *data;
    size_t row_bytes;
    int bytes; /* of a row */
};

static inline void ask_for(const struct ahead *a, int64_t b, int64_t blocks)
{
    const int64_t first = blocks < WIDTH ? 0 : blocks - WIDTH, n = blocks - first;
    if (b < first)
        return;
    for (int64_t r = (b - first) * WIDTH / n; r < (b + 1 - first) * WIDTH / n; r++)
        for (int i = 0; i < a->bytes; i += 64)
            __builtin_prefetch(
                (const void *)((uintptr_t)a->data + (size_t)r * a->row_bytes + (size_t)i), 0, 3);
}

/* All tokens times columns c .. c + n of WIDTH rows. Results leave block by block, so that their
 * way to memory is hidden behind the next block. */
static void all_blocks(const struct kind *k, const struct abreast *w, const struct native_packed *x,
                       int64_t c, int n, const struct result *out, const struct ahead *next)
{
    const bool last = c + n == x->cols;
    const int64_t u = c / k->facts.unit, d = c / (k->facts.act == NATIVE_Q8_K ? 256 : 32);
    int64_t t = 0, end;
    for (int64_t b = 0; b < x->blocks; b++, t = end) {
        end = packed_first(x, b + 1);
        const struct native_block block = packed_block(x, t, end - t, c, u, d);
        for (int64_t i = t; last && i < end; i++)
            __builtin_prefetch(out->y + i * out->stride, 1, 2);
        ask_for(next, b, x->blocks);
        k->kernel[end - t - 1](w, &block, n, out->sum + t * WIDTH);
        if (last)
            put_result(out, t, end);
    }
}

/* Where the bytes are that follow columns c .. c + n of rows r .. : those of the next rows, the
 * next columns of the first rows, or the rows after these. */
static struct ahead what_follows(const struct native_weights *w, int r, int64_t c, int n,
                                 int64_t cols)
{
    const int64_t row = (int64_t)w->row_bytes, here = c / w->block * w->bytes;
    int64_t at = r * row + here;
    if (r + WIDTH < w->rows)
        at += WIDTH * row;
    else if (c + n < cols)
        at = here + n / w->block * w->bytes;
    else
        at = w->rows * row;
    return (struct ahead){ (const uint8_t *)((uintptr_t)w->data + (size_t)at), w->row_bytes,
                           n / w->block * w->bytes };
}

static void native_many(const struct native_weights *w, const struct native_packed *x,
                        const float *bias, float *y, int64_t stride)
{
    const struct kind *kind = kind_of(w->format);
    struct apart p;
    struct abreast a;
    const size_t room = (size_t)((w->rows + WIDTH - 1) / WIDTH * WIDTH * x->tokens);
    float *data = x_alloc(room * sizeof *data + 63);
    float *sums = (float *)(((uintptr_t)data + 63) & ~(uintptr_t)63);
    if (w->rows % WIDTH)
        memset(&p, 0, sizeof p);
    for (int64_t c = 0; c < x->cols; c += NATIVE_COLS) {
        const int n = x->cols - c < NATIVE_COLS ? (int)(x->cols - c) : NATIVE_COLS;
        for (int r = 0; r < w->rows; r += WIDTH) {
            const int rows = w->rows - r < WIDTH ? w->rows - r : WIDTH;
            put_abreast(w, r, rows, c, n, &p, &a);
            const struct ahead next = what_follows(w, r, c, n, x->cols);
            const struct result out = { sums + r * x->tokens, y + r, stride, bias ? bias + r : NULL,
                                        rows };
            all_blocks(kind, &a, x, c, n, &out, &next);
        }
    }
    free(data);
}

#endif
#endif
