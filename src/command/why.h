/* SPDX-License-Identifier: MIT */
/* `why`: where a value comes from, as tables. */
#ifndef QDB_COMMAND_WHY_H
#define QDB_COMMAND_WHY_H

#include "command/command.h"

/* Trace the element that the last stop was about, back to where it was made. */
/* Which write changed an element of the stream: x names the value that was added. */
NODISCARD enum st why_show_writer(const struct element *x, struct result *out, struct err *e);
NODISCARD enum st why_show(const struct element *x, struct result *out, struct err *e);

#endif
