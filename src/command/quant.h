/* SPDX-License-Identifier: MIT */
/* What the verbs quant and plan share: make a list of formats a change and say what it cost. */
#ifndef QDB_COMMAND_QUANT_H
#define QDB_COMMAND_QUANT_H

#include "command/command.h"
#include "session/quantize.h"

/* Make, measure, enter under `text`, and show the stop line. */
NODISCARD enum st quant_apply(struct session *s, struct session_model *m,
                              const struct quant_item *list, size_t n,
                              const struct quant_method *method, const char *text,
                              struct result *out, struct err *e);

/* dB, or nothing when it is undefined. */
void quant_put(struct table *t, double x);

#endif
