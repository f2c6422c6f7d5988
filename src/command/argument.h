/* SPDX-License-Identifier: MIT */
/* What may stand where among the words of a command: completion offers it, and what can be none is
 * refused before the verb runs. */
#ifndef QDB_COMMAND_ARGUMENT_H
#define QDB_COMMAND_ARGUMENT_H

#include "command/command.h"

/* A place among the words of a command; the first is { .verb = v }. */
struct arg_place {
    const struct verb *verb;
    const struct verb_sub *sub;   /* that the first word named, NULL if none */
    const struct arg_after *rule; /* for what stands here, NULL if its place says it */
    int n;                        /* words before it */
};

enum arg_kind argument_kind(const struct arg_place *p);
/* The fixed words that may stand here, "model|kv|-f"; NULL if none. The names of subs, which may
 * stand first, are not among them. */
const char *argument_words(const struct arg_place *p);
/* On behind `word`. */
void argument_pass(struct arg_place *p, struct str word);
/* ST_SYNTAX, with the caret on it, when a word that is to name a file is empty, or one that another
 * stands behind (struct arg_after) is said a second time. */
NODISCARD enum st argument_check(const struct call *c, struct err *e);

#endif
