/* SPDX-License-Identifier: MIT */
/* Products of many tokens in floats: weights and activations copied once into the order in which
 * the kernels read them, so that these go through memory in two straight lines. */
#ifndef QDB_KERNELS_PANEL_H
#define QDB_KERNELS_PANEL_H

#include <signal.h>
#include <stdint.h>

/* A panel holds PANEL_ROWS rows of weights in groups of PANEL_SIDE, activations blocks of up to
 * PANEL_TOKENS. Columns are cut into vectors of PANEL_LANES floats, or pairs of brain floats, and
 * filled up with zeros to whole leaves; the same vector of all rows of a group, or tokens of a
 * block, stand side by side: [group][vector][of the group][PANEL_LANES]. The last group is filled
 * up with rows of zeros. */
enum { PANEL_ROWS = 16, PANEL_SIDE = 4, PANEL_TOKENS = 6, PANEL_LANES = 16, PANEL_LEAF = 64 };

/* The order of sums: docs/modes.md, under native, for weights in f16 and in bf16. */
enum panel_order { PANEL_HALVES, PANEL_BRAINS, PANEL__COUNT };

/* y[t * stride + r] for 1 .. PANEL_ROWS rows of a panel and one block of 1 .. PANEL_TOKENS tokens;
 * w and x aligned to 64 bytes. y: stride >= rows, what is between the rows stays as it is. */
typedef void panel_kernel(const float *w, int rows, const float *x, int tokens, int64_t vectors,
                          float *y, int64_t stride);

/* What a level has for an order. */
struct panel_ops {
    panel_kernel *block;
    int columns; /* of a vector: PANEL_LANES floats, or twice as many brain floats */
    /* n brain floats of any alignment to vectors, filled up to a whole leaf: as pairs, or as
     * floats, the second ones of 16 pairs before the first ones. NULL: vectors hold floats as they
     * come. */
    void (*brains)(const uint8_t *from, int64_t n, float *to);
};

/* Of so many columns. */
static inline int64_t panel_vectors(const struct panel_ops *ops, int64_t cols)
{
    return (cols + PANEL_LEAF - 1) / PANEL_LEAF * (PANEL_LEAF / ops->columns);
}

/* Tokens are spread over as many blocks as needed so that none is much smaller than another. */
static inline int64_t panel_first(int64_t block, int64_t blocks, int64_t tokens)
{
    return block * tokens / blocks;
}

/* A whole product of mode native with weights in f16 or bf16, to which activations are rounded on
 * their way in; see matrix_mul. */
struct pool;
struct matrix;
void panel_mul(const struct matrix *w, const float *bias, const float *x, int64_t tokens,
               float *y, struct pool *pool, const volatile sig_atomic_t *cancel);

#endif
