/* SPDX-License-Identifier: MIT */
/* JSON from files, read in one pass: the caller asks for what it expects, in the order of the text.
 * Nothing is kept; the first mistake stays, with its byte, and everything after it fails. */
#ifndef QDB_FILE_JSON_READ_H
#define QDB_FILE_JSON_READ_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

enum { JREAD_DEPTH = 32 /* of lists and objects within each other */ };

struct jread {
    const char *start, *p, *end;
    int depth;
    bool first[JREAD_DEPTH + 1]; /* nothing of the list at this depth has been read yet */
    char close[JREAD_DEPTH + 1]; /* what ends it */
    const char *problem;         /* static text; NULL = none */
};

/* The text must outlive the reader. */
struct jread jread_of(const char *p, size_t n);
/* `{` or `[`; then jread_next() before each item: false at the closing bracket, which it takes, and
 * after a mistake. */
bool jread_open(struct jread *j, char bracket);
bool jread_next(struct jread *j);
/* The key of an item of an object, with its colon; a string. *out is emptied first; at most `most`
 * bytes are kept, longer ones are a mistake. */
bool jread_key(struct jread *j, struct buf *out, size_t most);
bool jread_string(struct jread *j, struct buf *out, size_t most);
bool jread_int(struct jread *j, int64_t lo, int64_t hi, int64_t *out);
bool jread_skip(struct jread *j); /* any value */
char jread_peek(struct jread *j); /* the next character that is no blank, '\0' at the end */
/* Nothing but blanks may follow. */
bool jread_end(struct jread *j);
bool jread_fail(struct jread *j, const char *problem); /* unless there is one already; false */
/* ST_OK or ST_FORMAT with "byte N: problem"; `base` is added to N. */
NODISCARD enum st jread_status(const struct jread *j, size_t base, struct err *e);

#endif
