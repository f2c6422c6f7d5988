/* SPDX-License-Identifier: MIT */
/* Encoders: what the searches of the levels and the packers of the formats share. */
#ifndef QDB_KERNELS_ENCODER_H
#define QDB_KERNELS_ENCODER_H

#include <stdbool.h>
#include <stdint.h>

/* X(name, limit): limit is the largest absolute value that a block can hold. */
#define ENCODE_HALF 65504.0f
#define ENCODE_FORMATS(X) \
    X(f32, INFINITY) \
    X(f16, 65519.996f) \
    X(bf16, 3.3961775e38f) \
    X(q4_0, 7 * ENCODE_HALF) \
    X(q4_1, ENCODE_HALF) \
    X(q5_0, 15 * ENCODE_HALF) \
    X(q5_1, ENCODE_HALF) \
    X(q8_0, 127 * ENCODE_HALF) \
    X(q2_k, 15 * ENCODE_HALF) \
    X(q3_k, 3 * 31 * ENCODE_HALF) \
    X(q4_k, 63 * ENCODE_HALF) \
    X(q5_k, 63 * ENCODE_HALF) \
    X(q6_k, 31 * 127 * ENCODE_HALF) \
    X(iq4_nl, 113 * ENCODE_HALF) \
    X(iq4_xs, 31 * 113 * ENCODE_HALF) \
    X(tq1_0, ENCODE_HALF) \
    X(tq2_0, ENCODE_HALF) \
    X(mxfp4, 0x1.8p126f) \
    X(nvfp4, 2688.0f)

enum encode_id {
#define ENCODE_ID(name, limit) ENCODE_##name,
    ENCODE_FORMATS(ENCODE_ID)
#undef ENCODE_ID
        ENCODE__COUNT
};

/* The searches, one table per level. All give the same bits. */
struct encode_ops {
    /* n blocks that follow one another in x, weights in w (same shape) or NULL; values are finite
     * and within the limit. */
    void (*blocks[ENCODE__COUNT])(const float *x, const float *w, int64_t n, uint8_t *out);
    /* The bits of the largest absolute value; 0x7f800000 and more: one is not finite. */
    uint32_t (*largest)(const float *x, int64_t n);
};

/* A block on its way to bytes: element i of sub-block s is d * scale[s] * level - m * min[s], where
 * level is what code[i] stands for; d * level + m in formats without sub-blocks. */
enum { ENCODE_SUBS = 16, ENCODE_BLOCK = 256 };
struct block_codes {
    float d, m; /* halves */
    int16_t scale[ENCODE_SUBS], min[ENCODE_SUBS];
    uint8_t code[ENCODE_BLOCK];
};
typedef void pack_fn(const struct block_codes *b, uint8_t *out);
pack_fn pack_q4_0, pack_q4_1, pack_q5_0, pack_q5_1, pack_q8_0; /* encode_simple.c */
pack_fn pack_q2_k, pack_q3_k, pack_q4_k, pack_q5_k, pack_q6_k; /* encode_k.c */
pack_fn pack_iq4_nl, pack_iq4_xs;                              /* encode_iq4.c */
pack_fn pack_tq1_0, pack_tq2_0;                                /* encode_ternary.c */
/* encode_fp4.c: the scale, or the four of them, are in scale[], as the bytes they are stored in. */
pack_fn pack_mxfp4, pack_nvfp4;

/* What packers share. */
float encode_half(float f); /* rounded to half, never infinite */
void put_half(float f, uint8_t *out); /* of what is a half, as from encode_half */
/* 32 codes to 16 bytes: of the first 16 the low halves, of the others the high ones. */
void put_nibbles(const uint8_t *code, uint8_t *out);

/* Codes of levels, -1 if there is none. */
int code_of_iq4(int level);

/* ---- encode_exact.c: blocks that hold exactly what the format can say ---- */

/* A format with levels around zero. */
struct exact_shape {
    int subs, sub;             /* sub-blocks, elements in each */
    int most;                  /* largest abs(level) */
    int scale_least, scale_most; /* 1, 1 without scales of sub-blocks */
    int (*code)(int level);    /* -1 if there is no such level */
};
bool exact_levels(const struct exact_shape *s, const float *x, struct block_codes *out);

/* A format with minima: levels 0 .. most, scales and minima 0 .. scale_most. */
bool exact_minima(const struct exact_shape *s, const float *x, struct block_codes *out);
/* Levels 0 .. most at d * level + m. */
bool exact_affine(int n, int most, const float *x, struct block_codes *out);

#endif
