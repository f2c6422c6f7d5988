/* SPDX-License-Identifier: MIT */
/* Diff: what differs between two model files: metadata, tensors, and by how much values do. */
#ifndef QDB_FILE_DIFF_H
#define QDB_FILE_DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/progress.h"
#include "file/weights.h"

enum diff_change { DIFF_SAME, DIFF_ADDED, DIFF_REMOVED, DIFF_CHANGED };

/* A metadata key of the two first files. */
struct diff_key {
    enum diff_change change;
    struct str key;              /* borrowed */
    const struct gguf_kv *a, *b; /* NULL where absent; gguf_print gives the values */
};

/* A tensor of either file; a is the reference of the errors. */
struct diff_tensor {
    enum diff_change change;    /* DIFF_CHANGED: another shape, type or value */
    struct str name;            /* borrowed */
    const struct weight *a, *b; /* NULL where absent */
    bool shape, type;           /* whether these differ */
    bool identical;             /* the same shape, type and bytes */
    const char *uncompared;     /* why values were not compared, static text; NULL if they were */
    /* Over the elements where both values are finite: sqrt(sum (b - a)^2 / sum a^2), which is 0 for
     * equal tensors and infinite when a alone is all zero; 10 log10 of the inverse square, in dB;
     * the largest |b - a| and its element (row-major over ne); sqrt(mean (b - a)^2). Identical
     * tensors are not decoded. */
    double relative_l2, sqnr_db, max_abs, rms_error;
    uint64_t max_at;
    uint64_t non_finite; /* elements left out: NaN or infinite on either side */
};

struct diff {
    struct diff_key *keys; /* those that differ: of a in its order, then those added by b */
    size_t n_keys, n_keys_same, cap_keys;
    struct diff_tensor *tensors; /* all: of a in its order, then those added by b */
    size_t n_tensors, cap_tensors;
    size_t n_changed; /* tensors whose change is not DIFF_SAME */
};

/* Compare b with a. ST_CANCELLED when the user stops it: *out then holds what has been compared.
 * ST_NOMEM. *out borrows from both lists, which must outlive it; diff_free it in every case. */
NODISCARD enum st diff_weights(const struct weights *a, const struct weights *b, struct progress *p,
                               struct diff *out, struct err *e);
void diff_free(struct diff *d);
const char *diff_change_name(enum diff_change c); /* "same", "added", "removed", "changed" */

#endif
