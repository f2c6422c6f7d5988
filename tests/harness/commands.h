/* SPDX-License-Identifier: MIT */
/* Commands for tests: typed into a session, their tables read. What fails that should work, or
 * works that should fail, fails the case and shows the error. */
#ifndef QDB_TESTS_HARNESS_COMMANDS_H
#define QDB_TESTS_HARNESS_COMMANDS_H

#include "command/command.h"

/* A session with one model open, and a scratch folder. */
struct sitting {
    struct session *s;
    struct session_model *m;
    struct err e; /* for the calls of the test */
};
struct sitting sitting_begin(const char *path); /* NULL: no model yet */
void sitting_open(struct sitting *f, const char *path);
void sitting_end(struct sitting *f);

/* A session with one model open and a run of these tokens that has not moved. */
struct session *prompted(const char *path, const int32_t *ids, int64_t n, struct session_run **r);

/* Logits of the active run at its end, of *bytes; without a run, of a new one of some tokens of the
 * model --demo=add. free. */
float *sitting_logits(struct sitting *f, size_t *bytes);

/* What the command gives back; the caller frees it. */
struct result answer(struct session *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
void command(struct session *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The command fails in this way, with the caret at `column` of the line, its message or hint says
 * `says`, and it leaves no change. The error is borrowed until the next call. */
enum { ANYWHERE = -2 };
const struct err *refused(struct session *s, enum st st, int column, const char *says,
                          const char *fmt, ...) PRINTF_LIKE(5, 6);

/* By name; cell_named: of the first row. */
const struct table *table_named(const struct result *r, const char *name);
const struct cell *cell_at(const struct table *t, size_t row, const char *column);
const struct cell *cell_named(const struct result *r, const char *table, const char *column);
/* A number that is there, of a column of either kind. */
double number_at(const struct table *t, size_t row, const char *column);
/* Does a note of the result say this? */
bool noted(const struct result *r, const char *part);

#endif
