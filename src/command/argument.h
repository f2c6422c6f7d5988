/* SPDX-License-Identifier: MIT */
/* What may stand where among the words of a command: completion offers it, and what can be none is
 * refused before the verb runs. */
#ifndef QDB_COMMAND_ARGUMENT_H
#define QDB_COMMAND_ARGUMENT_H

#include "command/command.h"

/* What argument i of the verb is by its place. */
enum arg_kind argument_kind(const struct verb *v, int i);
/* The rule for what stands behind a word, NULL if its place says it; `rule` is the one for the word
 * itself: a condition that has begun goes on. */
const struct arg_after *argument_behind(const struct verb *v, struct str word,
                                        const struct arg_after *rule);
/* ST_SYNTAX, with the caret on it, when a word that is to name a file is empty. */
NODISCARD enum st argument_check(const struct call *c, struct err *e);

#endif
