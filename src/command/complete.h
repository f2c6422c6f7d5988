/* SPDX-License-Identifier: MIT */
/* Completion: what may stand where the cursor is, from the tables of verbs, settings and words, and
 * the names that the session knows. */
#ifndef QDB_COMMAND_COMPLETE_H
#define QDB_COMMAND_COMPLETE_H

#include "command/command.h"

struct completions {
    char **names; /* sorted, without doubles; each replaces the line from `from` on */
    size_t n, cap;
    int from;
    bool files;     /* names of files may stand here: the front end completes those */
    bool truncated; /* there are more than `most`, although cut at the next dot */
};

/* Candidates for the end of `line` (the text before the cursor). The caller frees *out. */
void complete(struct session *s, struct str line, size_t most, struct completions *out);
void completions_free(struct completions *c);

#endif
