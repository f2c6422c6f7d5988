/* SPDX-License-Identifier: MIT */
/* Logits that are no numbers: said in one way by everything that measures. */
#ifndef QDB_COMMAND_BROKEN_H
#define QDB_COMMAND_BROKEN_H

#include "base/table.h"
#include "study/evaluate.h"

/* Whose logits are broken, at how many of `scored` tokens, and where first; nothing when none are.
 * whose: "the model", a file; unit: what a segment is called. true: something was said. */
bool broken_note(const struct broken_logits *b, int64_t scored, const char *whose, const char *unit,
                 struct result *out);

#endif
