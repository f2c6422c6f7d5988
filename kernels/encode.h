/* SPDX-License-Identifier: MIT */
/* Encode: f32 rows into the storage formats, with the least squared error that a search finds, or
 * the least one weighted by importance. docs/encoders.md has the methods and figures. */
#ifndef QDB_KERNELS_ENCODE_H
#define QDB_KERNELS_ENCODE_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "kernels/format.h"
#include "kernels/matrix.h"

/* NULL if rows can be encoded into the format; else why not, in a few words ("decoding only"). */
const char *encode_missing(enum format f);

/* The format that a row of row_len elements is stored in when f is asked for: f itself when its
 * block divides the row, else what llama-quantize falls back to (Q4_K to Q5_0, ...), F16 in the
 * end. format_row_bytes has the size of the row. */
enum format encode_fallback(enum format f, uint64_t row_len);
/* Has llama-quantize a fallback for f, or does it give up on the model? */
bool encode_falls_back(enum format f);

/* Encode n_rows rows of row_len floats each, one after the other, into `out`: n_rows times
 * format_row_bytes(f, row_len) bytes. importance [row_len], or NULL: what the squared error of each
 * column counts for (mean squared activations), finite and not negative; columns of a block whose
 * importances are all 0 count alike. Every row, and every block of it, is encoded by itself: the
 * same bits however rows are dealt out, at every level. What was decoded from blocks of the format
 * encodes to blocks that decode to the same values again, unless decoding them had to round (q2_k,
 * q4_k and q5_k beside large outliers).
 * ST_UNSUPPORTED: encode_missing. ST_RANGE: the block does not divide the row, a value is not
 * finite (f32 takes any) or larger than the format can hold, or an importance is not usable; the
 * message names row and column. `out` holds nothing of use then. */
NODISCARD enum st encode_rows(enum format f, const float *rows, size_t n_rows, size_t row_len,
                              const float *importance, void *out, struct err *e);

/* The same for all rows of a weight in any format that decodes, shared by the threads of the pool
 * (may be NULL); memory for a few rows per thread. ST_CANCELLED once *cancel (may be NULL) is set.
 */
NODISCARD enum st encode_matrix(struct pool *pool, const struct matrix *from, enum format f,
                                const float *importance, void *out,
                                const volatile sig_atomic_t *cancel, struct err *e);

#endif
