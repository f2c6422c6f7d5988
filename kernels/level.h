/* SPDX-License-Identifier: MIT */
/* Levels: one table of kernels per kind of CPU, chosen once and forced at will. */
#ifndef QDB_KERNELS_LEVEL_H
#define QDB_KERNELS_LEVEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/attention.h"
#include "kernels/fast.h"
#include "kernels/feature.h"
#include "kernels/logits.h"
#include "kernels/native.h"
#include "kernels/panel.h"
#include "kernels/rows.h"

/* As kernels/rows.h has them. */
struct row_kernels {
    void (*rms_norm)(const float *x, const float *gain, int64_t n, float eps, float *y);
    void (*layer_norm)(const float *x, const float *gain, const float *bias, int64_t n, float eps,
                       float *y);
    void (*softmax)(const float *x, int64_t visible, int64_t n, float *p);
    void (*activate)(enum activation a, const float *x, int64_t n, float *y);
    void (*rope)(const struct rope *r, const float *cosine, const float *sine, const float *x,
                 int64_t n, float *y);
    void (*add)(const float *a, const float *b, int64_t n, float *y);
    void (*multiply)(const float *a, const float *b, int64_t n, float *y);
};

/* What kernels/logits.h is made of. */
struct logits_kernels {
    /* The largest number, -inf without one; *nan: there is also a NaN. */
    float (*largest)(const float *x, int64_t n, bool *nan);
    /* Add to sums of e^(ref - most[0]), of e^(x - most[1]), and of the first times (ref - x). A row
     * with an element above its most makes its own sum meaningless, and the third. */
    void (*pair_sums)(const float *ref, const float *x, int64_t n, const double most[2],
                      double out[3][LOGITS_LANES]);
};

/* Of some values: bits of the largest magnitude, NaN and infinity above all numbers, and the sum of
 * squares. */
struct scan_part {
    double squares;
    int32_t top;
};

/* What kernels/statistics_scan.c is made of. */
struct scan_kernels {
    void (*scan)(const float *x, int64_t n, struct scan_part *out);
    /* How many have these bits but for the sign; n < 2^31. */
    int64_t (*count)(const float *x, int64_t n, int32_t magnitude);
};

/* Of some finite floats: extremes, zeros of both signs, sums of x and x^2, and of powers of the
 * distance from the mean. */
struct moments {
    float min, max;
    int zero;
    double sum, squares, m2, m3, m4;
};

struct buf;
struct encode_ops;

/* Weights that are numbers by themselves. */
enum plain_kind { PLAIN_F32, PLAIN_F16, PLAIN_BF16, PLAIN__COUNT };

/* In COMPUTE_EXACT and COMPUTE_NATIVE all levels give the same bits: the order of additions is part
 * of the source (kernels/level_body.h, docs/modes.md), a level only says with which
 * instructions. In COMPUTE_FAST a level has bits of its own. */
struct level {
    const char *name;
    const char *brief;
    unsigned needs;     /* FEATURES of the CPU that its code was compiled for */
    bool (*slow)(void); /* supported, but slower than the levels before it; NULL = never */
    int rows;           /* rows that dot_rows takes at most */
    /* y[t * stride + r] = sum over i of w[r * n + i] * x[t * n + i], r < rows, t < tokens. */
    void (*dot_rows)(const float *w, int rows, const float *x, int64_t tokens, int64_t n, float *y,
                     int64_t stride);
    /* The same from rows as they lie in memory, any number of them; NULL: the level has none. Quick
     * for a few tokens. */
    void (*plain_rows[PLAIN__COUNT])(const uint8_t *w, size_t row_bytes, int rows, const float *x,
                                     int64_t tokens, int64_t n, float *y, int64_t stride);
    /* The same in the order that docs/modes.md has for mode native: of halves, x among them, all as
     * floats, or weights, where plain_rows has them, as halves; or of brain floats, x as to_brains
     * leaves it. */
    void (*halves_rows)(enum plain_kind kind, const uint8_t *w, size_t row_bytes, int rows,
                        const void *x, int64_t tokens, int64_t n, float *y, int64_t stride);
    const struct panel_ops *panels[PANEL__COUNT]; /* for many tokens */
    /* Scores of a part with keys [from, end), and channels [from, end) of its values mixed into z;
     * see kernels/attention.h. */
    void (*attention_scores)(const struct attention *a, const struct attention_part *p,
                             int64_t from, int64_t end, float *scratch);
    void (*attention_mix)(const struct attention *a, const struct attention_part *p, int64_t from,
                          int64_t end, float *z, float *scratch);
    /* Each of n numbers to the nearest half, ties to even. */
    void (*to_halves)(const float *x, int64_t n, uint16_t *h);
    /* To the nearest brain float, ties to even; magnitudes out of the range in which products and
     * their sums are exact, or at least not denormal (docs/modes.md), to zero and to infinity. */
    void (*to_brains)(const float *x, int64_t n, uint16_t *h);
    struct row_kernels row;
    struct logits_kernels logits;
    struct scan_kernels scan;
    /* 0 < n <= 2^20. False: they are not all finite, *out is as it was. */
    bool (*moments)(const float *x, int n, struct moments *out);
    const struct native_ops *native;
    /* Weights to floats, the bits of the format's codec: n elements, a multiple of the block (any
     * number, 0 too, of formats without blocks), from src at any address. */
    void (*decode)(const struct decoder *d, const void *src, float *dst, int64_t n);
    const struct fast_ops *fast;
    const struct fast_ops *words; /* of formats with integers; NULL: as all others, by fast */
    const struct encode_ops *encode; /* floats to blocks; the same bits at all levels */
};

enum { LEVEL_MAX_ROWS = 16 };

/* From the plainest to the fastest; NULL past the end. Levels of other
 * CPU families are not there. */
const struct level *level_at(size_t i);
const struct level *level_find(const char *name); /* NULL if none */
bool level_supported(const struct level *l);      /* by this machine */
/* Append what the level needs of a CPU: "avx2 f16c"; nothing for one that runs anywhere. */
void level_needs(const struct level *l, struct buf *out);
/* Append what keeps it from running here: "not in this CPU: avx2 f16c"; nothing when it runs. */
void level_missing(const struct level *l, struct buf *out);
/* The level in use: the last that is supported and not slow, until another is forced. */
const struct level *level_now(void);
/* NULL = choose by itself again. The level must be supported. Not while kernels run. */
void level_force(const struct level *l);

extern const struct level level_c, level_avx2, level_avx512, level_avx512bf16, level_amx;
extern const struct fast_ops fast_bf16, fast_amx;
extern const struct panel_ops panel_pairs; /* of brain floats */
void halves_rows_pairs(enum plain_kind kind, const uint8_t *w, size_t row_bytes, int rows,
                       const void *x, int64_t tokens, int64_t n, float *y, int64_t stride);
extern const struct encode_ops encode_c, encode_avx2, encode_avx512;

#endif
