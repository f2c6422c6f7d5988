/* SPDX-License-Identifier: MIT */
/* Which points of a run a command is to look at, for verbs that take a glob of points. */
#ifndef QDB_COMMAND_POINTS_H
#define QDB_COMMAND_POINTS_H

#include "command/command.h"

/* The points that word i names, in order of execution and each once, and the run they are of; the
 * caller frees *values. Without a word i: the active run, and *values NULL. */
NODISCARD enum st points_named(struct session *s, const struct call *c, int i,
                               struct session_run **r, int **values, size_t *n, struct err *e);

#endif
