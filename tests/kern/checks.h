/* SPDX-License-Identifier: MIT */
/* The checks behind the table of tests/kern. */
#ifndef QDB_TESTS_KERN_CHECKS_H
#define QDB_TESTS_KERN_CHECKS_H

#include "kernels/matrix.h"
#include "tests/kern/formats.h"
#include "tests/kern/kern.h"

/* check_formats.c */
void check_codec(struct trial *t);
void check_decode(struct trial *t);
void check_round_f16(struct trial *t);
void check_to_brains(struct trial *t);

/* check_native.c */
void check_acts(struct trial *t);
void check_fine_acts(struct trial *t);
void check_native_panel(struct trial *t);
void check_native_many(struct trial *t);
/* Blocks of activations whose largest magnitude is about 2^-100, below which it counts as zero. */
void draw_tiny_blocks(struct trial *t, float *x, int64_t n, int block);
/* y [tokens][rows] as docs/modes.md has it, every bit: of mode native, or of few tokens in mode
 * fast (fine); without the scale beside the weight, and without bias. */
void define_native_product(struct trial *t, const struct matrix *w, bool fine, const float *x,
                           int64_t tokens, float *y);
/* The same of many tokens in mode fast, where a level multiplies words. */
void define_words_product(struct trial *t, const struct matrix *w, const float *x, int64_t tokens,
                          float *y);

/* check_encode.c */
const char *encoder_name(int i);
void check_encode(struct trial *t);
void check_encode_largest(struct trial *t);

/* define.c: sums as docs/modes.md has them, every bit */
/* Of sixteen lanes, which are spent: pairwise, those 8 apart first. */
float define_lanes(float lane[16]);
/* Of n products in mode exact. */
float define_exact(const float *w, const float *x, int64_t n);

/* Of n products: leaves in ascending order from zero, then pairwise. */
float define_tree(const float *product, int64_t n, int64_t leaf);

/* Of numbers in double, as norms and softmax add them. */
double define_doubles(const double *term, int64_t n);

/* check_exact.c */
void check_dot_rows(struct trial *t);
const char *plain_name(int i);
void check_plain_rows(struct trial *t);
const char *sixteen_bits_name(int i);
/* Of mode native: what is too small is zero, what is too large infinite. */
float brain_in_range(float x);
void check_halves_rows(struct trial *t);
void check_panel(struct trial *t);
/* The sum of n products of halves, or of brain floats, as docs/modes.md has it for mode native. */
float define_sixteen(bool brains, const float *w, const float *x, int64_t n);

/* check_attention.c */
void check_to_halves(struct trial *t);
void check_attention_scores(struct trial *t);
void check_attention_mix(struct trial *t);
void check_attention(struct trial *t);
void check_attention_cancel(struct trial *t);

/* check_fast.c */
void check_fast_panel(struct trial *t);
void check_words_panel(struct trial *t);
/* y[i] = bias + scale * the sum of n products, within the bound of docs/modes.md. */
void expect_fast(const struct level *l, int64_t i, float got, const float *w, const float *x,
                 int64_t n, float scale, float bias);

/* check_logits.c */
void check_logits_pair(struct trial *t);
void check_logits_top(struct trial *t);

/* check_matrix.c */
void check_matrix_exact(struct trial *t);
void check_matrix_native(struct trial *t);
void check_matrix_fast(struct trial *t);
void check_matrix_cancel(struct trial *t);

/* check_rows.c */
const char *row_activation_name(int i);
void check_rms_norm(struct trial *t);
void check_layer_norm(struct trial *t);
void check_softmax(struct trial *t);
void check_softmax_sum(struct trial *t);
void check_exp(struct trial *t);
void check_activation(struct trial *t);
void check_rope(struct trial *t);
void check_add_multiply(struct trial *t);

/* check_statistics.c */
void check_summary(struct trial *t);
void check_scan(struct trial *t);
void check_quantiles(struct trial *t);
void check_histogram(struct trial *t);
void check_pair(struct trial *t);
void check_distribution(struct trial *t);
void check_outliers(struct trial *t);

#endif
