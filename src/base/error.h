/* SPDX-License-Identifier: MIT */
/* Errors: a status code that every fallible function returns, and the message that explains it. */
#ifndef QDB_BASE_ERROR_H
#define QDB_BASE_ERROR_H

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define NODISCARD __attribute__((warn_unused_result))
#define NORETURN __attribute__((noreturn))

enum st {
    ST_OK = 0,
    ST_NOMEM,       /* memory: the budget or the system refused */
    ST_IO,          /* the operating system refused */
    ST_FORMAT,      /* a file says something impossible */
    ST_RANGE,       /* an index or a number outside what exists */
    ST_UNSUPPORTED, /* well-formed, but qdb cannot do it (yet) */
    ST_SYNTAX,      /* the user's words do not parse */
    ST_NOTFOUND,    /* no such name */
    ST_STATE,       /* not possible now */
    ST_CANCELLED,   /* interrupted by the user */
    ST_INTERNAL,    /* a bug in qdb */
};

/* Owned by the caller, no heap. `column` is the byte offset in the user's words that a caret should
 * point at, -1 if none; `length` how many bytes to underline. */
struct err {
    enum st st;
    int column, length;
    char where[128]; /* file, tensor or address */
    char msg[320];   /* the fact, without a final full stop */
    char hint[256];  /* the nearest fix, may be empty */
};

#define ERR_INIT { ST_OK, -1, 0, "", "", "" }

/* Fill *e (NULL is allowed) and return st, so that a failure is one line. Clears where and hint. */
enum st st_fail(struct err *e, enum st st, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Add facts to an error that is already filled; both return e->st. */
enum st st_where(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
enum st st_hint(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
enum st st_at(struct err *e, int column, int length);

const char *st_name(enum st st);

#endif
