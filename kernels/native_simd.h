/* SPDX-License-Identifier: MIT */
/* Native mode with AVX2 or AVX-512 VNNI: WIDTH rows of weights side by side, one per lane, so that
 * the sums of a row never leave its lane and are added in the order that docs/modes.md fixes.
 * Included by level_native.h. */
#ifndef QDB_KERNELS_NATIVE_SIMD_H
#define QDB_KERNELS_NATIVE_SIMD_H

#include "kernels/level_native.h"
#include "kernels/native_few.h"
#include "kernels/native_transpose.h"

#ifdef __AVX2__

/* Rows side by side: codes [cols / 4][WIDTH][4], scales [unit][WIDTH], minima of two units
 * [unit / 2][WIDTH][2], d and m [group][WIDTH]. */
struct abreast {
    uint8_t code[NATIVE_COLS * WIDTH];
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

INLINE void turn_floats(const float *from, int stride, int n, float *to)
{
    for (int c = 0; c < n; c++)
        for (int r = 0; r < WIDTH; r++)
            to[c * WIDTH + r] = from[r * stride + c];
}

/* Rows r0 .. r0 + WIDTH of a panel of n columns. */
INLINE void put_abreast(const struct panel *p, const struct native_format *f, int r0, int n,
                        struct abreast *out)
{
    const int units = NATIVE_COLS / f->unit, groups = NATIVE_COLS / f->group;
    turn(p->code + r0 * NATIVE_COLS, NATIVE_COLS / 4, n / 4, out->code);
    turn_floats(p->d + r0 * groups, groups, n / f->group, out->d);
    if (f->act == NATIVE_Q8_1 || f->mins)
        turn_floats(p->m + r0 * groups, groups, n / f->group, out->m);
    if (f->mins)
        turn(p->min + r0 * units, units / 2, n / f->unit / 2, out->min);
    for (int u = 0; f->unit < f->group && u < n / f->unit; u++)
        for (int r = 0; r < WIDTH; r++)
            out->scale[u * WIDTH + r] = p->scale[(r0 + r) * units + u];
}

#define EACH_TOKEN UNROLL for (int t = 0; t < tokens; t++)

enum { MOST_TOKENS = WIDTH == 16 ? 8 : 4 };

/* acc[t] += codes of `unit` columns times the activations of token t. */
INLINE void unit_dots(const struct native_format *f, int tokens, int unit, const uint8_t *code,
                      const struct slice *x, int c, ints *acc)
{
#ifdef __AVX512VNNI__
    (void)f;
    UNROLL for (int k = 0; k < unit; k += 4)
    {
        const ints u = ints_load(code + k * WIDTH);
        EACH_TOKEN acc[t] = _mm512_dpbusd_epi32(acc[t], u, four_bytes(x[t].code + c + k));
    }
#else
    /* Pairs of products fit 16 bits; as many are added there as the largest code allows. Codes
     * above 127 are taken as signed bytes, so that their sums are relative to zero already. */
    const int fit = f->top > 63 ? 1 : f->top > 31 ? 2 : f->top > 15 ? 4 : 8;
    const int pairs = fit < unit / 4 ? fit : unit / 4;
    const ints ones = _mm256_set1_epi16(1);
    for (int k = 0; k < unit; k += 4 * pairs) {
        ints sum[MOST_TOKENS];
        EACH_TOKEN sum[t] = ints_zero();
        for (int j = 0; j < pairs; j++) {
            ints u = ints_load(code + (k + 4 * j) * WIDTH);
            const ints sign = f->top > 127 ? _mm256_xor_si256(u, _mm256_set1_epi8(-128)) : u;
            u = f->top > 127 ? _mm256_abs_epi8(sign) : u;
            EACH_TOKEN
            {
                ints a = four_bytes(x[t].code + c + k + 4 * j);
                a = f->top > 127 ? _mm256_sign_epi8(a, sign) : a;
                sum[t] = _mm256_add_epi16(sum[t], _mm256_maddubs_epi16(u, a));
            }
        }
        EACH_TOKEN acc[t] = _mm256_add_epi32(acc[t], _mm256_madd_epi16(sum[t], ones));
    }
#endif
}

/* What a unit's dot product starts from. */
INLINE ints unit_start(const struct native_format *f, int sum)
{
    return ints_of(WIDTH == 8 && f->top > 127 ? 0 : -f->zero * sum);
}

/* sum[t] continued by the terms of group g; everything about f is a constant after inlining. */
INLINE void add_group(const struct native_format *f, int tokens, const struct abreast *w, int g,
                      const struct slice *x, floats *sum)
{
    const int units = f->group / f->unit, b = g * f->group / (f->act == NATIVE_Q8_K ? 256 : 32);
    const floats d = I(loadu_ps)(w->d + g * WIDTH);
    ints isum[MOST_TOKENS], acc[MOST_TOKENS];
    floats term[MOST_TOKENS];
    EACH_TOKEN isum[t] = ints_zero();
    for (int u = g * units; u < (g + 1) * units; u++) {
        EACH_TOKEN acc[t] = unit_start(f, x[t].sum[u]);
        unit_dots(f, tokens, f->unit, w->code + u * f->unit * WIDTH, x, u * f->unit, acc);
        if (units == 1) {
            EACH_TOKEN isum[t] = acc[t];
        } else {
            const ints scale = ints_load(w->scale + u * WIDTH);
            EACH_TOKEN isum[t] = I(add_epi32)(isum[t], I(mullo_epi32)(acc[t], scale));
        }
    }
    EACH_TOKEN term[t] = I(mul_ps)(I(cvtepi32_ps)(isum[t]), I(mul_ps)(d, I(set1_ps)(x[t].d[b])));
    if (f->mins) {
        EACH_TOKEN isum[t] = ints_zero();
        for (int u = g * units; u < (g + 1) * units; u += 2) {
            const ints min = ints_load(w->min + u / 2 * WIDTH);
            EACH_TOKEN isum[t] = I(add_epi32)(isum[t],
                                              I(madd_epi16)(min, four_bytes(x[t].sum + u)));
        }
        const floats m = I(loadu_ps)(w->m + g * WIDTH);
        EACH_TOKEN term[t] = I(sub_ps)(
            term[t], I(mul_ps)(I(cvtepi32_ps)(isum[t]), I(mul_ps)(m, I(set1_ps)(x[t].d[b]))));
    }
    if (f->act == NATIVE_Q8_1) {
        const floats m = I(loadu_ps)(w->m + g * WIDTH);
        EACH_TOKEN term[t] = I(add_ps)(term[t], I(mul_ps)(m, I(set1_ps)(x[t].s[b])));
    }
    EACH_TOKEN sum[t] = I(add_ps)(sum[t], term[t]);
}

/* y[t * stride + r], r < rows <= WIDTH, continued by columns c .. c + n. */
INLINE void some_tokens(const struct native_format *f, int tokens, const struct abreast *w,
                        const struct native_acts *x, int64_t t0, int64_t c, int n, int rows,
                        float *y, int64_t stride)
{
    struct slice a[MOST_TOKENS];
    floats sum[MOST_TOKENS];
    float lane[WIDTH] = { 0 };
    EACH_TOKEN
    {
        a[t] = slice_at(x, f->unit, t0 + t, c);
        for (int r = 0; c && r < rows; r++)
            lane[r] = y[(t0 + t) * stride + r];
        sum[t] = I(loadu_ps)(lane);
    }
    for (int g = 0; g < n / f->group; g++)
        add_group(f, tokens, w, g, a, sum);
    EACH_TOKEN
    {
        I(storeu_ps)(lane, sum[t]);
        for (int r = 0; r < rows; r++)
            y[(t0 + t) * stride + r] = lane[r];
    }
}

/* One kernel per format, in which all facts of the format are constants. */
typedef void all_tokens(const struct abreast *w, const struct native_acts *x, int64_t c, int n,
                        int rows, float *y, int64_t stride);
#define NATIVE_KERNEL(name, ...) \
    static void tokens_##name(const struct abreast *w, const struct native_acts *x, int64_t c, \
                              int n, int rows, float *y, int64_t stride) \
    { \
        static const struct native_format f = { #name, __VA_ARGS__ }; \
        int64_t t = 0; \
        for (; t + MOST_TOKENS <= x->tokens; t += MOST_TOKENS) \
            some_tokens(&f, MOST_TOKENS, w, x, t, c, n, rows, y, stride); \
        for (; t + 2 <= x->tokens; t += 2) \
            some_tokens(&f, 2, w, x, t, c, n, rows, y, stride); \
        for (; t < x->tokens; t++) \
            some_tokens(&f, 1, w, x, t, c, n, rows, y, stride); \
    }
NATIVE_FORMATS(NATIVE_KERNEL)

#define NATIVE_TOKENS(name, ...) [NATIVE_##name] = tokens_##name,
static all_tokens *const token_kernels[NATIVE__COUNT] = { NATIVE_FORMATS(NATIVE_TOKENS) };

static void native_panel(const struct native_weights *w, const struct native_acts *x, float *y,
                         int64_t stride)
{
    if (x->tokens <= FEW_TOKENS && few_kernels[native_id(w->format)]) {
        few_panel(w, x, y, stride);
        return;
    }
    struct panel p;
    struct abreast a;
    if (w->rows < NATIVE_ROWS)
        memset(&p, 0, sizeof p);
    for (int64_t c = 0; c < x->cols; c += NATIVE_COLS) {
        const int n = columns_at(x, c);
        const size_t bytes = (size_t)(n / w->block * w->bytes);
        for (int r = 0; r < w->rows; r++) {
            const struct native_row row = panel_row(&p, w->format, r);
            /* Rows are visited in turn, which no CPU foresees: the next columns, or the next panel.
             */
            unpack_row(w, r, c, n,
                       c + n < x->cols ? bytes : bytes + (NATIVE_ROWS - 1) * w->row_bytes, &row);
        }
        for (int r = 0; r < w->rows; r += WIDTH) {
            put_abreast(&p, w->format, r, n, &a);
            token_kernels[native_id(w->format)](
                &a, x, c, n, w->rows - r < WIDTH ? w->rows - r : WIDTH, y + r, stride);
        }
    }
}

#endif
#endif
