/* SPDX-License-Identifier: MIT */
/* Blocks of every format, drawn and taken apart without the help of the kernels that use them. */
#ifndef QDB_TESTS_KERN_FORMATS_H
#define QDB_TESTS_KERN_FORMATS_H

#include "kernels/format.h"
#include "kernels/native.h"
#include "tests/kern/kern.h"

/* Variants of a row of the table: all formats that decode, those that native mode multiplies as
 * integers. */
const char *decoded_name(int i);
const char *native_name(int i);
/* The format of a variant's name. */
enum format format_of(const char *name);

enum scales {
    SCALES_USUAL,  /* about 2^-5 */
    SCALES_FINITE, /* any finite half, denormals and zeros among them */
    SCALES_BITS,   /* any bits */
    SCALES__COUNT
};

/* Rows of blocks of random or extreme codes. */
void draw_blocks(struct trial *t, enum format f, enum scales scales, uint8_t *p, int64_t bytes);
/* Rows of blocks of one code and one scale each, the largest among them, of a native format. */
void extreme_blocks(struct trial *t, enum format f, uint8_t *p, int64_t bytes);
/* The values of n columns by definition: scale * level + offset of the block views, in float. */
void define_values(enum format f, const uint8_t *src, int64_t n, float *out);

/* What docs/modes.md says of a weight row in native mode: scale * (code - zero) and the minimum of
 * every column, d and m of every group. */
struct native_definition {
    int32_t *product, *min; /* [cols] */
    float *d, *m;           /* [cols / group] */
};
void define_native(const struct native_format *n, const uint8_t *src, int64_t cols,
                   const struct native_definition *out);

#endif
