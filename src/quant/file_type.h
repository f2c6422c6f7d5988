/* SPDX-License-Identifier: MIT */
/* general.file_type: the number by which loaders call a file; nothing reads weights by it. */
#ifndef QDB_QUANT_FILE_TYPE_H
#define QDB_QUANT_FILE_TYPE_H

#include "quant/mix.h"

/* What the model is called when its weights are in formats f [w->n]: the mix that gives it these,
 * `named` (may be NULL) before others, of others those alone whose usual format prevails; else by
 * the format that holds most elements. -1: that has no number. */
int file_type_of(const struct weights *w, const enum format *f, const struct mix *named);

#endif
