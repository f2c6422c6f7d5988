/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

enum st st_fail(struct err *e, enum st st, const char *fmt, ...)
{
    if (!e)
        return st;
    e->st = st;
    e->column = -1;
    e->length = 0;
    e->where[0] = e->hint[0] = '\0';
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->msg, sizeof e->msg, fmt, ap);
    va_end(ap);
    return st;
}

enum st st_where(struct err *e, const char *fmt, ...)
{
    if (!e)
        return ST_INTERNAL;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->where, sizeof e->where, fmt, ap);
    va_end(ap);
    return e->st;
}

enum st st_hint(struct err *e, const char *fmt, ...)
{
    if (!e)
        return ST_INTERNAL;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->hint, sizeof e->hint, fmt, ap);
    va_end(ap);
    return e->st;
}

enum st st_at(struct err *e, int column, int length)
{
    if (!e)
        return ST_INTERNAL;
    e->column = column;
    e->length = length;
    return e->st;
}

const char *st_name(enum st st)
{
    static const char *const names[] = {
        [ST_OK] = "ok",
        [ST_NOMEM] = "out of memory",
        [ST_IO] = "input/output",
        [ST_FORMAT] = "bad format",
        [ST_RANGE] = "out of range",
        [ST_UNSUPPORTED] = "unsupported",
        [ST_SYNTAX] = "syntax",
        [ST_NOTFOUND] = "not found",
        [ST_STATE] = "wrong state",
        [ST_CANCELLED] = "cancelled",
        [ST_INTERNAL] = "internal",
    };
    return (unsigned)st < sizeof names / sizeof *names ? names[st] : "?";
}
