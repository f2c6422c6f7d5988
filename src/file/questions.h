/* SPDX-License-Identifier: MIT */
/* Questions with known answers, one JSON object a line: {"prompt": "...", "choices": ["...", ...],
 * "answer": 0}, or {"prompt": "...", "answer": "..."} for an answer that must come out exactly. */
#ifndef QDB_FILE_QUESTIONS_H
#define QDB_FILE_QUESTIONS_H

#include "base/error.h"
#include "base/text.h"

enum {
    QUESTIONS_MAX = 64 << 20, /* bytes of a file */
    QUESTION_TEXT = 1 << 16,  /* of a text in it */
    QUESTION_CHOICES = 64,
};

struct question {
    char *prompt;
    char **choices; /* [n]; of an exact answer the only one */
    size_t n, answer;
    bool exact;
    int line; /* from 1 */
};

struct questions {
    struct question *list;
    size_t n, cap;
};

/* Other keys are passed over, and so are empty lines. "answer" may also be the text of one of the
 * choices. ST_FORMAT names line and fact, or says that the text is of another kind: its first byte
 * that is not blank is no `{`. */
NODISCARD enum st questions_parse(struct str text, const char *name, struct questions *out,
                                  struct err *e);
void questions_free(struct questions *q);

#endif
