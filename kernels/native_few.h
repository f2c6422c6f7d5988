/* SPDX-License-Identifier: MIT */
/* Native mode for a few tokens: WIDTH rows of weights side by side, one per lane, taken apart in
 * registers straight from the file. The sums of a row never leave its lane, so terms are added in
 * the order that docs/modes.md fixes, and what is taken apart once serves all tokens. Included by
 * native_simd.h. */
#ifndef QDB_KERNELS_NATIVE_FEW_H
#define QDB_KERNELS_NATIVE_FEW_H

#include <stdlib.h>

#include "base/memory.h"
#include "kernels/native_few_blocks.h"
#include "kernels/native_few_k.h"
#include "kernels/native_one.h"
#include "kernels/native_super.h"
#include "kernels/native_super_iq.h"

#ifdef __AVX2__

enum {
    AHEAD = 6144, /* bytes beyond the next rows */
    PAGE = 4096
};

typedef void few_kernel(struct few_rows w, struct native_acts x, floats *sum);
#define FEW_KERNEL(name) [NATIVE_##name] = few_##name
static few_kernel *const few_kernels[NATIVE__COUNT] = {
    FEW_KERNEL(q4_0),  FEW_KERNEL(q4_1),  FEW_KERNEL(q5_0),   FEW_KERNEL(q5_1), FEW_KERNEL(q8_0),
    FEW_KERNEL(mxfp4), FEW_KERNEL(nvfp4), FEW_KERNEL(iq4_nl), FEW_KERNEL(q2_k), FEW_KERNEL(q3_k),
    FEW_KERNEL(q4_k),  FEW_KERNEL(q5_k),  FEW_KERNEL(q6_k),   FEW_KERNEL(tq2_0), FEW_KERNEL(iq4_xs),
};

/* Fewer rows than lanes, n bytes each: with rows of zeros, so that no kernel need know. */
static uint8_t *copy_rows(const uint8_t *p, int rows, size_t row_bytes, size_t n)
{
    uint8_t *copy = memset(x_alloc(WIDTH * n), 0, WIDTH * n);
    for (int r = 0; r < rows; r++)
        memcpy(copy + (size_t)r * n, p + (size_t)r * row_bytes, n);
    return copy;
}

/* To translate the address of a page takes as long as to read it: the pages of a panel are asked
 * for together, so that it is done side by side. */
static inline void ask_pages(const uint8_t *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += PAGE)
        __builtin_prefetch(p + i, 0, 2);
}

static void few_panel(const struct native_weights *w, const struct native_acts *x, float *y,
                      int64_t stride)
{
    const size_t used = (size_t)(x->cols / w->block * w->bytes);
    floats sum[FEW_TOKENS];
    for (int r = 0; r < w->rows; r += WIDTH) {
        const int rows = w->rows - r < WIDTH ? w->rows - r : WIDTH;
        const uint8_t *p = w->data + (size_t)r * w->row_bytes;
        uint8_t *copy = rows < WIDTH ? copy_rows(p, rows, w->row_bytes, used) : NULL;
        for (int t = 0; t < x->tokens; t++) {
            sum[t] = I(setzero_ps)();
            __builtin_prefetch(y + t * stride + r, 1, 2); /* lines of their own, far apart */
        }
        const struct few_rows at = { copy ? copy : p, copy ? used : w->row_bytes,
                                     p + WIDTH * w->row_bytes + AHEAD };
        ask_pages(at.ahead + WIDTH * w->row_bytes, WIDTH * w->row_bytes);
        few_kernels[native_id(w->format)](at, *x, sum);
        for (int t = 0; t < x->tokens && rows == WIDTH; t++)
            I(storeu_ps)(y + t * stride + r, sum[t]);
        for (int t = 0; t < x->tokens && rows < WIDTH; t++)
            memcpy(y + t * stride + r, &sum[t], (size_t)rows * sizeof *y);
        free(copy);
    }
}

static void native_panel(const struct native_weights *w, const struct native_acts *x, float *y,
                         int64_t stride)
{
    const enum native_id id = native_id(w->format);
    super_kernel *const super = super_kernel_of(w->format);
    const struct one_kernel *const one = one_kernel(w->format, x->tokens, x->cols);
    if (one) {
        ask_pages(w->data + 2 * WIDTH * w->row_bytes, WIDTH * w->row_bytes);
        one->panel(w, x, y, stride);
    } else if (x->tokens <= FEW_TOKENS && few_kernels[id])
        few_panel(w, x, y, stride);
    else if (x->tokens <= SUPER_TOKENS && iq_kernels[id])
        iq_kernels[id](w, x, y, stride);
    else
        (super ? super : native_rows)(w, x, y, stride);
}

static void native_order(const struct native_format *f, const struct native_acts *x, int64_t t)
{
    const struct one_kernel *const one = one_kernel(f, x->tokens, x->cols);
    if (one && one->order)
        one->order(x->code + t * x->stride, x->cols);
}

/* Units of 16 with codes above 31 need so many sums in AVX2 that the products of many tokens are
 * better made from rows taken apart in memory; so are those of formats without a kernel for few,
 * unless there are very few. */
static int native_few(const struct native_format *f, int64_t tokens)
{
    const bool apart = WIDTH == 8 && f->unit == 16 && f->group > 16 && tokens > 15;
    if (few_kernels[native_id(f)])
        return apart ? 0 : FEW_TOKENS;
    return tokens <= SUPER_TOKENS && super_kernel_of(f) ? SUPER_TOKENS : 0;
}

#endif
#endif
