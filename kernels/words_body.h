/* SPDX-License-Identifier: MIT */
/* Mode fast for the formats that native mode has as integers, written once: levels that do not
 * multiply brain floats include this. Code times scale of a weight is one word of 16 bits,
 * activations are words too, and products of pairs of columns are added in 32 bits: twice as many
 * per instruction as of floats. docs/modes.md is the specification.
 *
 * Lanes are tokens, as in kernels/fast_body.h. */
#ifndef QDB_KERNELS_WORDS_BODY_H
#define QDB_KERNELS_WORDS_BODY_H

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "kernels/fast_body.h"
#include "kernels/native_acts.h"

enum {
    WORDS_ROWS = 32,              /* of a panel: 16 KiB of words */
    WORDS_UNITS = FAST_COLS / 16, /* of a row of a panel, at most */
    WORDS_SUMS = FAST_TOKENS * WORDS_ROWS,
    WORDS_LINE = FAST_TOKENS * 2, /* words of two columns, of a pair of sums: 64 bytes */
};

/* Columns with one d of activations; integer sums of groups larger than that would overflow. */
FAST_INLINE int words_block(const struct native_format *f) { return f->group == 256 ? 128 : 32; }
FAST_INLINE int words_group(const struct native_format *f)
{
    return f->group == 256 ? 128 : f->group;
}

/* The code of the largest magnitude: sums of 128 products with words up to 4096 fit 32 bits. */
FAST_INLINE float words_top(const struct native_format *f)
{
    return f->group == 256 ? 4095.0f : 32767.0f;
}

/* ---------------------------------------------------------------- activations */

/* Of one block of tokens, all side by side: code [cols / 2][FAST_TOKENS][2], d [cols /
 * words_block][FAST_TOKENS]; where the format has minima, of each unit the sum of its codes in two
 * words, as 512 * the first + the second (0 .. 511), or s, a float. */
struct words_acts {
    int16_t *code;
    float *d;
    void *sum;
};

/* From column c on; `packed` is 64-byte aligned. */
FAST_INLINE struct words_acts words_from(const struct native_format *f, const void *packed,
                                         int64_t cols, int64_t c)
{
    enum { LINE = 64 };
    char *p = (char *)(uintptr_t)packed;
    const int block = words_block(f);
    char *d = p + cols / 2 * LINE, *sum = d + cols / block * LINE;
    return (struct words_acts){ (int16_t *)(void *)(p + c / 2 * LINE),
                                (float *)(void *)(d + c / block * LINE), sum + c / f->unit * LINE };
}

static size_t words_bytes(const struct native_format *f, int64_t cols)
{
    const bool sums = f->mins || f->act == NATIVE_Q8_1;
    return (size_t)(cols / 2 + cols / words_block(f) + (sums ? cols / f->unit : 0)) * 64;
}

/* n activations, not all of them zero, no NaN: codes to nearest, ties to even, as round_codes. */
FAST_INLINE void words_round(const float *x, int n, float scale, int16_t *code)
{
    for (int i = 0; i < n; i++)
        code[i] = (int16_t)(bits_of_float(x[i] * scale + 12582912.0f) & 0xffff);
}

FAST_INLINE int32_t words_sum_of(const int16_t *code, int n)
{
    int32_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += code[i];
    return sum;
}

/* Token t: its codes in a row, the rest where it belongs. n is a constant after inlining. */
FAST_INLINE void words_token(const struct native_format *f, const float *x, int n, int t,
                             int16_t *code, const struct words_acts *to)
{
    const int32_t max = largest(x, n);
    const float a = float_of_bits((uint32_t)max), top = words_top(f);
    const bool none = max >= INFINITE || max < TINY;
    if (none)
        memset(code, 0, (size_t)n * sizeof *code);
    else
        words_round(x, n, top / a, code);
    to->d[t] = max >= INFINITE ? float_of_bits(0x7fc00000u) : none ? 0.0f : a / top;
    if (f->act == NATIVE_Q8_1)
        ((float *)to->sum)[t] = to->d[t] * (float)words_sum_of(code, n);
    for (int u = 0; f->mins && u < n / f->unit; u++) {
        const int32_t sum = words_sum_of(code + u * f->unit, f->unit);
        int16_t *two = (int16_t *)to->sum + u * WORDS_LINE + 2 * t;
        two[0] = (int16_t)(sum >> 9);
        two[1] = (int16_t)(sum & 511);
    }
}

/* n columns of all tokens, in rows FAST_COLS apart, to vectors. */
FAST_INLINE void words_abreast(const int16_t *code, int n, int16_t *out)
{
#ifdef __AVX2__
    for (int c = 0; c < n; c += 2 * WIDTH)
        for (int t = 0; t < FAST_TOKENS; t += WIDTH) {
            ints v[WIDTH];
            EACH_LANE v[r] = ints_load(code + (t + r) * FAST_COLS + c);
            transpose(v);
            EACH_LANE ints_store(out + (c / 2 + r) * WORDS_LINE + 2 * t, v[r]);
        }
#else
    for (int c = 0; c < n; c += 2)
        for (int t = 0; t < FAST_TOKENS; t++, out += 2)
            memcpy(out, code + t * FAST_COLS + c, 2 * sizeof *out);
#endif
}

static void words_pack(const struct native_format *f, const float *x, int tokens, int64_t cols,
                       void *packed)
{
    static const float zeros[FAST_COLS];
    int16_t code[FAST_TOKENS * FAST_COLS];
    for (int64_t c = 0; c < cols; c += words_block(f)) {
        const struct words_acts to = words_from(f, packed, cols, c);
        for (int t = 0; t < FAST_TOKENS; t++) {
            const float *from = t < tokens ? x + t * cols + c : zeros;
            if (f->group == 256)
                words_token(f, from, 128, t, code + t * FAST_COLS, &to);
            else
                words_token(f, from, 32, t, code + t * FAST_COLS, &to);
        }
        words_abreast(code, words_block(f), to.code);
    }
}

/* ---------------------------------------------------------------- weights */

/* FAST_COLS columns of some rows: code times scale; minima as 512 * min and min. */
struct words_panel {
    _Alignas(64) int16_t code[WORDS_ROWS * FAST_COLS];
    int16_t min[WORDS_ROWS * WORDS_UNITS * 2];
    float d[WORDS_ROWS * WORDS_UNITS], m[WORDS_ROWS * WORDS_UNITS];
};

FAST_INLINE void words_scaled(const struct native_format *f, int unit,
                              const struct native_row *from, int n, int16_t *restrict to)
{
    for (int u = 0; u < n / unit; u++) {
        const int16_t scale = unit < f->group ? from->scale[u] : 1;
        const uint8_t *code = from->code + u * unit;
        for (int i = 0; i < unit; i++)
            to[u * unit + i] = (int16_t)((code[i] - f->zero) * scale);
    }
}

/* Columns c .. c + n of the rows of w, filled up to rows of 16 with zeros. */
static void words_take(const struct fast_weights *w, int64_t c, int n, struct words_panel *p)
{
    const struct native_format *f = w->format;
    const uint8_t *data = w->data + decoder_bytes(&w->decoder, c);
    uint8_t code[FAST_COLS];
    int16_t scale[WORDS_UNITS], min[WORDS_UNITS];
    for (int r = 0; r < w->rows; r++) {
        const struct native_row row = { code, scale, min, p->d + r * WORDS_UNITS,
                                        p->m + r * WORDS_UNITS };
        unpackers[native_id(f)](data + (size_t)r * w->row_bytes, n, &row);
        if (f->unit == 32)
            words_scaled(f, 32, &row, n, p->code + r * FAST_COLS);
        else
            words_scaled(f, 16, &row, n, p->code + r * FAST_COLS);
        for (int u = 0; f->mins && u < n / f->unit; u++) {
            p->min[(r * WORDS_UNITS + u) * 2] = (int16_t)(512 * min[u]);
            p->min[(r * WORDS_UNITS + u) * 2 + 1] = min[u];
        }
    }
    for (int r = w->rows; r % 16; r++) {
        memset(p->code + r * FAST_COLS, 0, FAST_COLS * sizeof *p->code);
        memset(p->min + r * WORDS_UNITS * 2, 0, WORDS_UNITS * 2 * sizeof *p->min);
        memset(p->d + r * WORDS_UNITS, 0, WORDS_UNITS * sizeof *p->d);
        memset(p->m + r * WORDS_UNITS, 0, WORDS_UNITS * sizeof *p->m);
    }
}

/* Ask for the bytes that follow columns c .. c + n of rows r .. end of w: the next columns, or
 * those of the rows after these. Some rows per block of tokens: few lines can be on their way. */
FAST_INLINE void words_ask(const struct fast_weights *w, int64_t c, int n, int r, int end)
{
    const bool last = c + n >= w->cols;
    const uintptr_t from = (uintptr_t)w->data
                           + (last ? (size_t)w->rows * w->row_bytes
                                   : (size_t)decoder_bytes(&w->decoder, c + n));
    const int64_t bytes = decoder_bytes(&w->decoder, n);
    for (; r < end; r++)
        for (int64_t i = 0; i < bytes + 63; i += 64)
            __builtin_prefetch((const void *)(from + (size_t)r * w->row_bytes + (size_t)i), 0, 3);
}

/* ---------------------------------------------------------------- products */

typedef int32_t words_part __attribute__((vector_size(LEVEL_VECTOR)));

/* sum += two words of a row times two columns of some tokens. */
FAST_INLINE void add_words(words_part *sum, const int16_t *w, const int16_t *x)
{
#ifdef __SSE2__
    int32_t pair;
    memcpy(&pair, w, sizeof pair);
#endif
#if defined __AVX512VNNI__
    *sum = (words_part)_mm512_dpwssd_epi32((__m512i)*sum, _mm512_set1_epi32(pair),
                                           _mm512_loadu_si512(x));
#elif defined __AVX2__
    *sum += (words_part)_mm256_madd_epi16(_mm256_set1_epi32(pair),
                                          _mm256_loadu_si256((const __m256i *)x));
#elif defined __SSE2__
    *sum += (words_part)_mm_madd_epi16(_mm_set1_epi32(pair), _mm_loadu_si128((const __m128i *)x));
#else
    for (int i = 0; i < LEVEL_VECTOR / 4; i++)
        (*sum)[i] += w[0] * x[2 * i] + w[1] * x[2 * i + 1];
#endif
}

#define WORDS_EACH \
    FAST_UNROLL for (int r = 0; r < rows; r++) FAST_UNROLL for (int b = 0; b < blocks; b++) \
        FAST_UNROLL for (int i = 0; i < FAST_PARTS; i++)

/* Neither sums in memory nor what is read for terms moves into the loop of products. */
#define WORDS_HERE __asm__ volatile("" ::: "memory")

enum { WORDS_WIDTH = FAST_TOKENS / FAST_PARTS };

/* isum * (d * dx), and what the minima take or give, of one group and part i of its tokens. */
FAST_INLINE fast_part words_term(const struct native_format *f, words_part isum, float d, float m,
                                 const int16_t *min, const struct words_acts *x, int i)
{
    fast_part dx, s;
    memcpy(&dx, x->d + i * WORDS_WIDTH, sizeof dx);
    fast_part term = __builtin_convertvector(isum, fast_part) * (d * dx);
    if (f->act == NATIVE_Q8_1) {
        memcpy(&s, (const float *)x->sum + i * WORDS_WIDTH, sizeof s);
        term = term + m * s;
    }
    if (f->mins) {
        words_part msum = { 0 };
        const int16_t *sum = (const int16_t *)x->sum + i * WORDS_WIDTH * 2;
        for (int u = 0; u < words_group(f) / f->unit; u++)
            add_words(&msum, min + 2 * u, sum + u * WORDS_LINE);
        term = term - __builtin_convertvector(msum, fast_part) * (m * dx);
    }
    return term;
}

/* sum[..] continued by the terms of n columns from column c on: `rows` rows from row `first` on,
 * `blocks` blocks of tokens, `next` bytes apart; all counts but n are constants after inlining. */
FAST_INLINE void words_sums(const struct native_format *f, const struct words_panel *p, int first,
                            int rows, const char *packed, size_t next, int blocks, int64_t cols,
                            int64_t c, int n, float *sum)
{
    const int group = words_group(f);
    for (int at = 0; at < n; at += group) {
        const int16_t *w = p->code + first * FAST_COLS + at;
        words_part v[16][2][FAST_PARTS];
        struct words_acts x[2];
        for (int b = 0; b < blocks; b++)
            x[b] = words_from(f, packed + (size_t)b * next, cols, c + at);
        WORDS_EACH v[r][b][i] = (words_part){ 0 };
        WORDS_HERE;
        _Pragma("GCC unroll 4") for (size_t k = 0; k < (size_t)group / 2; k++)
            WORDS_EACH add_words(&v[r][b][i], w + r * FAST_COLS + 2 * k,
                                 x[b].code + k * WORDS_LINE + i * WORDS_WIDTH * 2);
        WORDS_HERE;
        WORDS_EACH
        {
            const int row = (first + r) * WORDS_UNITS, g = row + at / f->group;
            float *to = sum + b * WORDS_SUMS + (first + r) * FAST_TOKENS + i * WORDS_WIDTH;
            fast_part before;
            memcpy(&before, to, sizeof before);
            before += words_term(f, v[r][b][i], p->d[g], p->m[g], p->min + (row + at / f->unit) * 2,
                                 &x[b], i);
            memcpy(to, &before, sizeof before);
        }
    }
}

/* sum[b][r][t] of some blocks of tokens continued by n columns of all rows. */
FAST_INLINE void words_products(const struct native_format *f, const struct words_panel *p,
                                int rows, const char *packed, int blocks, int64_t cols, int64_t c,
                                int n, float *sum)
{
    const size_t next = words_bytes(f, cols);
    int b = 0;
    for (; FAST_BLOCKS > 1 && b + FAST_BLOCKS <= blocks; b += FAST_BLOCKS)
        for (int r = 0; r < rows; r += FAST_ABREAST)
            words_sums(f, p, r, FAST_ABREAST, packed + (size_t)b * next, next, FAST_BLOCKS, cols, c,
                       n, sum + b * WORDS_SUMS);
    for (; b < blocks; b++)
        for (int r = 0; r < rows; r += FAST_ABREAST * FAST_BLOCKS)
            words_sums(f, p, r, FAST_ABREAST * FAST_BLOCKS, packed + (size_t)b * next, next, 1,
                       cols, c, n, sum + b * WORDS_SUMS);
}

/* What a kernel must know of a format: X(name, act, group, unit, mins), the unit only with minima.
 */
#define WORDS_KINDS(X) \
    X(small_16, NATIVE_Q8_0, 16, 16, false) \
    X(small_32, NATIVE_Q8_0, 32, 32, false) \
    X(small_min, NATIVE_Q8_1, 32, 32, false) \
    X(super, NATIVE_Q8_K, 256, 32, false) \
    X(super_16_min, NATIVE_Q8_K, 256, 16, true) \
    X(super_32_min, NATIVE_Q8_K, 256, 32, true)

typedef void words_kernel(const struct words_panel *p, int rows, const char *packed, int blocks,
                          int64_t cols, int64_t c, int n, float *sum);
#define WORDS_KERNEL(name, act, group, unit, mins) \
    static void words_##name(const struct words_panel *p, int rows, const char *packed, \
                             int blocks, int64_t cols, int64_t c, int n, float *sum) \
    { \
        static const struct native_format f = { #name, act, 0, 0, group, unit, mins }; \
        words_products(&f, p, rows, packed, blocks, cols, c, n, sum); \
    }
WORDS_KINDS(WORDS_KERNEL)

#define WORDS_KIND(name, act, group, unit, mins) \
    { { #name, act, 0, 0, group, unit, mins }, words_##name },
static const struct {
    struct native_format facts;
    words_kernel *kernel;
} words_kinds[] = { WORDS_KINDS(WORDS_KIND) };

static words_kernel *words_kernel_of(const struct native_format *f)
{
    for (int i = 0;; i++) {
        const struct native_format *k = &words_kinds[i].facts;
        if (k->act == f->act && k->group == f->group && k->mins == f->mins
            && (k->unit == f->unit || !f->mins))
            return words_kinds[i].kernel;
    }
}

/* At most FAST_MOST_BLOCKS blocks of tokens. */
static void words_some_blocks(const struct fast_weights *w, const char *packed, int64_t tokens,
                              float *y, int64_t stride)
{
    struct words_panel p;
    _Alignas(64) float sum[FAST_MOST_BLOCKS * WORDS_SUMS];
    words_kernel *const kernel = words_kernel_of(w->format);
    const int blocks = (int)((tokens + FAST_TOKENS - 1) / FAST_TOKENS);
    const size_t next = words_bytes(w->format, w->cols);
    memset(sum, 0, (size_t)(blocks * WORDS_SUMS) * sizeof *sum);
    for (int64_t c = 0; c < w->cols; c += FAST_COLS) {
        const int n = w->cols - c < FAST_COLS ? (int)(w->cols - c) : FAST_COLS;
        words_take(w, c, n, &p);
        for (int b = 0, end; b < blocks; b = end) {
            end = b + FAST_BLOCKS < blocks ? b + FAST_BLOCKS : blocks;
            words_ask(w, c, n, w->rows * b / blocks, w->rows * end / blocks);
            kernel(&p, w->rows, packed + (size_t)b * next, end - b, w->cols, c, n,
                   sum + b * WORDS_SUMS);
        }
    }
    for (int b = 0; b < blocks; b++) {
        const int64_t left = tokens - b * FAST_TOKENS;
        put_sums(sum + b * WORDS_SUMS, w->rows, left < FAST_TOKENS ? (int)left : FAST_TOKENS,
                 y + b * FAST_TOKENS * stride, stride);
    }
}

static void words_mul(const struct fast_weights *w, const void *packed, int64_t tokens, float *y,
                      int64_t stride)
{
    enum { MOST = FAST_MOST_BLOCKS * FAST_TOKENS };
    const size_t step = FAST_MOST_BLOCKS * words_bytes(w->format, w->cols);
    const char *x = packed;
    for (int64_t t = 0; t < tokens; t += MOST, x += step)
        words_some_blocks(w, x, tokens - t < MOST ? tokens - t : MOST, y + t * stride, stride);
}

static const struct fast_ops words_ops = { "int16",     2,          WORDS_ROWS,
                                           words_bytes, words_pack, words_mul };

#endif
