/* SPDX-License-Identifier: MIT */
/* What a user sees when a run stops: the stop line, the evidence, where it stands. */
#ifndef QDB_COMMAND_STOPS_H
#define QDB_COMMAND_STOPS_H

#include "base/table.h"
#include "session/control.h"

enum { PROMPT_FILE_MAX = 256 << 20 };

/* Add the table `stop` and the displays when st is ST_OK or ST_CANCELLED; returns st. */
enum st show_stop(struct session *s, enum st st, const struct stop *stop, struct result *out,
                  struct err *e);
void show_where(const struct session_run *r, struct result *out);
/* Nodes [first, end) as a table, `here` marked; with a glob that is not empty, those whose point it
 * names. */
void show_nodes(const struct graph *g, int first, int end, int here, struct str glob,
                struct result *out);

#endif
