/* SPDX-License-Identifier: MIT */
/* What verbs over a text file are told: the file, and options with a number. */
#ifndef QDB_COMMAND_TEXT_WORDS_H
#define QDB_COMMAND_TEXT_WORDS_H

#include "command/command.h"

/* The tokens of a text file, as the active model reads it. free(*ids), also on failure. */
NODISCARD enum st text_tokens(struct session *s, const struct word *file, struct session_model **m,
                              int32_t **ids, int64_t *n, struct err *e);
/* What replaces the first token of a segment; -1 = nothing. */
int32_t text_first_token(const struct session_model *m);

/* `KEYWORD N` pairs from word 1 on. */
struct number_option {
    const char *name;
    int64_t least, most, *value;
};
NODISCARD enum st number_options(const struct call *c, const struct number_option *list, int n,
                                 struct err *e);

#endif
