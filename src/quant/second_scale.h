/* SPDX-License-Identifier: MIT */
/* The second scale of NVFP4: a float beside a matrix that brings the scales of its blocks, 8-bit
 * floats, into their range. */
#ifndef QDB_QUANT_SECOND_SCALE_H
#define QDB_QUANT_SECOND_SCALE_H

#include <signal.h>

#include "base/error.h"
#include "file/weights.h"
#include "kernels/numeric.h"
#include "kernels/pool.h"

/* Do loaders of files look for a scale beside a weight of this name? */
bool second_scale_read(const struct weight *w);

/* The format of a weight as its file has it, which is nvfp4:tensor where a scale lies beside. */
struct numeric second_scale_format(const struct weight *w);

/* Is the weight stored in this format, with a scale beside it or without? */
bool second_scale_stored(const struct weight *w, const struct numeric *f);

/* For each matrix of the weight the least power of two that leaves its largest block a scale of at
 * most 448: nothing is rounded by it. *out: from mem_alloc. ST_NOMEM, ST_CANCELLED. */
NODISCARD enum st second_scales(const struct weight *from, struct pool *pool,
                                const volatile sig_atomic_t *cancel, float **out, struct err *e);

#endif
