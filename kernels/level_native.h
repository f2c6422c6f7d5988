/* SPDX-License-Identifier: MIT */
/* The kernels of a level for native mode, written once: each level_*.c includes this. */
#ifndef QDB_KERNELS_LEVEL_NATIVE_H
#define QDB_KERNELS_LEVEL_NATIVE_H

#include "kernels/level.h"
#include "kernels/native_acts.h"
#include "kernels/native_unpack.h"

#ifndef INLINE /* else level_body.h came first */
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")
#endif

/* The table once more, for the compiler to look into. */
#define NATIVE_CONSTANT(name, ...) [NATIVE_##name] = { #name, __VA_ARGS__ },
static const struct native_format constant[NATIVE__COUNT] = { NATIVE_FORMATS(NATIVE_CONSTANT) };

/* Rows taken apart, in arrays of fixed stride: row r of codes begins at r * NATIVE_COLS. */
enum { UNITS = NATIVE_COLS / 16 };

struct panel {
    uint8_t code[NATIVE_ROWS * NATIVE_COLS];
    int16_t scale[NATIVE_ROWS * UNITS], min[NATIVE_ROWS * UNITS];
    float d[NATIVE_ROWS * UNITS], m[NATIVE_ROWS * UNITS];
};

static inline struct native_row panel_row(struct panel *p, const struct native_format *f, int r)
{
    const int units = r * (NATIVE_COLS / f->unit), groups = r * (NATIVE_COLS / f->group);
    return (struct native_row){ p->code + r * NATIVE_COLS, p->scale + units, p->min + units,
                                p->d + groups, p->m + groups };
}

static inline int columns_at(const struct native_acts *x, int64_t c)
{
    return x->cols - c < NATIVE_COLS ? (int)(x->cols - c) : NATIVE_COLS;
}

/* Columns c .. c + n of row r; the bytes `ahead` of them are asked for early, into the second-level
 * cache. */
static inline void unpack_row(const struct native_weights *w, int r, int64_t c, int n, size_t ahead,
                              const struct native_row *out)
{
    const uint8_t *from = w->data + (size_t)r * w->row_bytes + c / w->block * w->bytes;
    const uintptr_t next = (uintptr_t)from + ahead;
    for (int i = 0; i < n / w->block * w->bytes; i += 64)
        __builtin_prefetch((const void *)(next + (size_t)i), 0, 2);
    unpackers[native_id(w->format)](from, n, out);
}

/* Where the activations of token t from column c on begin. */
struct slice {
    const int8_t *code;
    const int16_t *sum;
    const float *d, *s;
};

static inline struct slice slice_at(const struct native_acts *x, int unit, int64_t t, int64_t c)
{
    const int64_t at = t * x->stride + c;
    return (struct slice){ x->code + at, x->sum + at / unit, x->d + at / x->block,
                           x->s ? x->s + at / x->block : NULL };
}

/* Sum of code * x; at most 256 * 255 * 127 in magnitude. */
INLINE int32_t code_dot(const uint8_t *code, const int8_t *x, int n)
{
    int32_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += (int32_t)code[i] * x[i];
    return sum;
}

/* The term of group g; `unit` is a constant after inlining. */
INLINE float group_term(const struct native_format *f, int unit, const struct native_row *w, int g,
                        const struct slice *x, float dx)
{
    const int units = f->group / unit;
    int32_t isum = 0, msum = 0;
    for (int u = g * units; u < (g + 1) * units; u++) {
        const int32_t dot = code_dot(w->code + u * unit, x->code + u * unit, unit)
                            - f->zero * x->sum[u];
        isum += units > 1 ? w->scale[u] * dot : dot;
        if (f->mins)
            msum += w->min[u] * x->sum[u];
    }
    const float term = (float)isum * (w->d[g] * dx);
    return f->mins ? term - (float)msum * (w->m[g] * dx) : term;
}

static float row_dot(const struct native_format *f, const struct native_row *w,
                     const struct native_acts *x, int64_t t, int64_t c, int n, float sum)
{
    const struct slice a = slice_at(x, f->unit, t, c);
    for (int g = 0; g < n / f->group; g++) {
        const int b = g * f->group / x->block;
        const float term = f->unit == 16 ? group_term(f, 16, w, g, &a, a.d[b])
                                         : group_term(f, 32, w, g, &a, a.d[b]);
        sum += a.s ? term + w->m[g] * a.s[b] : term;
    }
    return sum;
}

/* A row at a time, whatever the vectors of the level are. */
static void native_rows(const struct native_weights *w, const struct native_acts *x, float *y,
                        int64_t stride)
{
    struct panel p;
    for (int r = 0; r < w->rows; r++)
        for (int64_t c = 0; c < x->cols; c += NATIVE_COLS) {
            const int n = columns_at(x, c);
            const struct native_row row = panel_row(&p, w->format, 0);
            unpack_row(w, r, c, n, 4096, &row);
            for (int64_t t = 0; t < x->tokens; t++)
                y[t * stride + r] = row_dot(w->format, &row, x, t, c, n,
                                            c ? y[t * stride + r] : 0.0f);
        }
}

#ifdef __AVX2__
#include "kernels/native_few.h"
#include "kernels/native_simd.h"
static const struct native_ops native = { native_acts_row, fine_acts_row, native_panel, native_many,
                                          MOST_TOKENS,     native_few,    native_order };
#else
static const struct native_ops native = { native_acts_row, fine_acts_row, .panel = native_rows };
#endif
#endif
