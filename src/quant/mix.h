/* SPDX-License-Identifier: MIT */
/* Mixes: named rules that give each tensor of a model a format, as llama-quantize ships them. */
#ifndef QDB_QUANT_MIX_H
#define QDB_QUANT_MIX_H

#include "base/error.h"
#include "file/weights.h"
#include "kernels/format.h"

struct mix {
    const char *name;  /* as files are called: "Q4_K_M" */
    const char *usual; /* the format that most weights get */
    int file_type;     /* general.file_type */
    const char *brief;
};

const struct mix *mix_at(size_t i);          /* NULL at the end */
const struct mix *mix_find(struct str name); /* letter case ignored; NULL if none */

/* Is it a weight that llama-quantize would quantize: a matrix, and neither norm, router, position
 * nor another small table? */
bool mix_allows(const struct weight *w);

/* The format of every weight of the model under the mix, out [w->n]; FORMAT_NONE where the file's
 * own stays. Where its blocks do not fit the rows, encode_fallback() has what is stored instead.
 * `importance`: an importance matrix is used, which a few rules depend on. *given_up (may be NULL):
 * weights that llama-quantize has no fallback for; it gives up on the model then. ST_FORMAT when an
 * expert's layer cannot be told from its name. */
NODISCARD enum st mix_formats(const struct mix *mix, const struct weights *w, bool importance,
                              enum format *out, size_t *given_up, struct err *e);

#endif
