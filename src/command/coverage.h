/* SPDX-License-Identifier: MIT */
/* What an importance matrix knows of the weights of a model. */
#ifndef QDB_COMMAND_COVERAGE_H
#define QDB_COMMAND_COVERAGE_H

#include "base/table.h"

struct imatrix;
struct weights;

/* Every matrix of the model with its entry, or that it has none; of no model (all NULL) the entries
 * as they are. What is missing or does not fit becomes a note. */
void coverage_put(const struct imatrix *m, const struct weights *all, struct result *out);
/* Notes of the entries that encoders cannot use. */
void coverage_warn(const struct imatrix *m, const struct weights *all, struct result *out);

#endif
