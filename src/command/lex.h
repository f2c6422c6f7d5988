/* SPDX-License-Identifier: MIT */
/* Words: how a command line is cut at blanks, quotes, brackets and operators. */
#ifndef QDB_COMMAND_LEX_H
#define QDB_COMMAND_LEX_H

#include "command/command.h"

enum lex_flag {
    LEX_COMPARES = 1, /* `>` belongs to the words, `|` is an operator only between blanks */
    LEX_WHOLE = 2,    /* one command: no operators at all */
};

static inline bool lex_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
struct str lex_trim(struct str s);
/* The verb at the start of s (no leading blanks): a name, or one character that is no letter. */
struct str lex_verb(struct str s);
/* Is there a `;`, `|`, `>` or a comment at position i, which is no inside of a word? */
bool lex_operator(struct str s, size_t i, unsigned flags);
/* The end of the word that begins at i (not a blank). */
size_t lex_word_end(struct str s, size_t i, unsigned flags);
/* Make room for words of a line of n bytes, so that their text does not move. */
void lex_store(struct buf *store, size_t n);
/* The next word from *at on; at the end of the command its length is 0. */
NODISCARD enum st lex_word(struct str s, size_t *at, unsigned flags, struct word *out,
                           struct buf *store, struct err *e);

#endif
