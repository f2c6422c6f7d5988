/* SPDX-License-Identifier: MIT */
/* Methods: how a weight is brought into a format. ONE table. */
#ifndef QDB_QUANT_METHOD_H
#define QDB_QUANT_METHOD_H

#include <signal.h>

#include "base/error.h"
#include "base/text.h"
#include "file/weights.h"
#include "kernels/numeric.h"
#include "kernels/pool.h"

/* What a method is given for one piece of a weight: rows of one matrix. */
struct quant_piece {
    const struct weight *from;
    uint64_t row, rows;
    const float *importance; /* [cols], or NULL; of this matrix */
    struct pool *pool;
    const volatile sig_atomic_t *cancel;
};

struct quant_method {
    const char *name, *brief;
    /* The rows of the piece in a storage format, to `out` (rows times the bytes of a row). */
    enum st (*encode)(const struct quant_piece *p, enum format f, void *out, struct err *e);
};

const struct quant_method *quant_method_at(size_t i); /* NULL at the end */
/* ST_NOTFOUND names those that there are. */
NODISCARD enum st quant_method_find(struct str name, const struct quant_method **out,
                                    struct err *e);

#endif
