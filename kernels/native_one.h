/* SPDX-License-Identifier: MIT */
/* Native mode for one token, and for two or four: one row after the other, so that a thread reads
 * memory in one stream. The CPU fetches such a stream by itself, besides what it is asked for;
 * every line that is asked for keeps one of the few places of the first-level cache. Codes lie
 * along the row; their integer sums are added across lanes, terms as docs/modes.md says.
 * Included by native_few.h.
 */
#ifndef QDB_KERNELS_NATIVE_ONE_H
#define QDB_KERNELS_NATIVE_ONE_H

#include <limits.h>

#include "kernels/native_few_rows.h"

#ifdef __AVX2__

/* The kernel of a format: y[t * stride + r] of the rows of w and all tokens of x, whose codes have
 * been through `order`. */
struct one_kernel {
    void (*panel)(const struct native_weights *w, const struct native_acts *x, float *y,
                  int64_t stride);
    void (*order)(int8_t *code, int64_t cols); /* NULL: codes stay as they are */
    int tokens, step, cols; /* for at most so many; rows are filled up to a multiple of step */
};

enum { ONE_TOKENS = WIDTH == 16 ? 2 : 4 };

#ifdef __AVX512VNNI__
#include "kernels/native_one_blocks.h"
#include "kernels/native_one_k.h"
#include "kernels/native_one_pairs.h"

static const struct one_kernel one_kernels[NATIVE__COUNT] = {
    [NATIVE_q4_0] = { one_q4_0, order_blocks, 1, ONE_STEP, ONE_COLS },
    [NATIVE_iq4_nl] = { one_iq4_nl, order_blocks, 1, ONE_STEP, ONE_COLS },
    [NATIVE_q8_0] = { one_q8_0, NULL, 2, ONE_STEP, ONE_COLS },
    [NATIVE_q4_k] = { one_q4_k, order_pieces, 2, 512, PAIRS_COLS },
    [NATIVE_q5_k] = { one_q5_k, order_pieces, 2, 512, PAIRS_COLS },
    [NATIVE_q6_k] = { one_q6_k, NULL, 2, 256, INT_MAX },
    [NATIVE_iq4_xs] = { one_iq4_xs, order_units, 2, 512, PAIRS_COLS },
};
#else
#include "kernels/native_one_lanes.h"
#include "kernels/native_one_super.h"

static const struct one_kernel one_kernels[NATIVE__COUNT] = {
    [NATIVE_q4_0] = { one_q4_0, order_blocks, 2, ONE_STEP, 32 * ONE_TERMS },
    [NATIVE_q8_0] = { one_q8_0, order_blocks, 2, ONE_STEP, 32 * ONE_TERMS },
    [NATIVE_mxfp4] = { one_mxfp4, order_blocks, 2, ONE_STEP, 32 * ONE_TERMS },
    [NATIVE_iq4_nl] = { one_iq4_nl, order_blocks, 2, ONE_STEP, 32 * ONE_TERMS },
    [NATIVE_q2_k] = { one_q2_k, NULL, 4, 256, 256 * ONE_TERMS },
    [NATIVE_q3_k] = { one_q3_k, NULL, 4, 256, 256 * ONE_TERMS },
    [NATIVE_tq2_0] = { one_tq2_0, NULL, 4, 256, 256 * ONE_TERMS },
    [NATIVE_q4_k] = { one_q4_k, NULL, 4, 256, 256 * ONE_TERMS },
    [NATIVE_q5_k] = { one_q5_k, NULL, 4, 256, 256 * ONE_TERMS },
    [NATIVE_q6_k] = { one_q6_k, NULL, 4, 256, 256 * ONE_TERMS },
    [NATIVE_iq4_xs] = { one_iq4_xs, NULL, 4, 256, 256 * ONE_TERMS },
};
#endif

/* The kernel for so few tokens, if there is one and rows of so many columns fill its steps by eight
 * ninths; else NULL. */
static inline const struct one_kernel *one_kernel(const struct native_format *f, int64_t tokens,
                                                  int64_t cols)
{
    const struct one_kernel *k = &one_kernels[native_id(f)];
    const bool pays = k->panel && tokens <= k->tokens && cols <= k->cols
                      && (cols + k->step - 1) / k->step * k->step * 8 <= cols * 9;
    return pays ? k : NULL;
}

#endif
#endif
