/* SPDX-License-Identifier: MIT */
/* Breakpoints, watchpoints, catches and dynamic prints: what is tested once a point has been
 * produced, and what happens when it holds. */
#ifndef QDB_SESSION_BREAKPOINT_H
#define QDB_SESSION_BREAKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "engine/run.h"
#include "graph/address.h"
#include "kernels/statistics.h"
#include "session/condition.h"

enum break_kind {
    BREAK_POINT, /* stop at a point, under a condition if there is one */
    BREAK_CATCH, /* stop at any point where the condition holds */
    BREAK_WATCH, /* stop when a statistic changes from one point to the next */
    BREAK_PRINT  /* note statistics, go on */
};
const char *break_kind_name(enum break_kind k);

enum { PRINT_MAX = 8 /* statistics of a dynamic print */ };

/* Can it be watched, and printed dynamically: is it of one array? */
static inline bool watch_takes(const struct statistic *t)
{
    return t->kind == STATISTIC_ARRAY || t->kind == STATISTIC_QUANTILE
           || t->kind == STATISTIC_ROW;
}

/* Commands that run after a breakpoint has stopped a run. */
struct break_command {
    char *text;
    int breakpoint;
    char *script; /* where it was typed, line from 1; NULL: at a prompt */
    int line;
};

struct break_commands {
    struct break_command *list;
    size_t n, cap;
};

/* `of` is copied. */
void break_commands_add(struct break_commands *c, const struct break_command *of);
void break_commands_free(struct break_commands *c); /* leaves it empty */
/* The text of each and a line feed, appended. */
void break_commands_print(const struct break_commands *c, struct buf *out);

struct breakpoint {
    int number;
    enum break_kind kind;
    bool enabled, temporary;
    bool opens;                  /* BREAK_CATCH: the points inside fused kernels too */
    char *text;                  /* the address as written; NULL = every point */
    struct address address;      /* of text */
    struct condition *condition; /* NULL = always */
    int64_t hits, ignore;        /* ignore: so many hits more pass by */
    char *statistic;             /* BREAK_WATCH; NULL = the only element */
    double percent;              /* BREAK_WATCH: smallest change, of the value before */
    char *format;                /* BREAK_PRINT: a conversion for each of the statistics */
    char *statistics[PRINT_MAX];
    int n_statistics;
    struct break_commands commands;
};

struct breakpoints {
    struct breakpoint *list;
    size_t n, cap;
    int next;
    int collects; /* number of the one whose commands are being typed, 0 = none */
};

/* Add one at the points that an address names (glob and slice); text NULL = every point. ST_SYNTAX
 * when it does not parse. *out is valid until the list changes. */
NODISCARD enum st breakpoint_add(struct breakpoints *b, enum break_kind kind,
                                 const struct str *text, struct breakpoint **out, struct err *e);
struct breakpoint *breakpoint_find(const struct breakpoints *b, int number); /* NULL if none */
void breakpoint_delete(struct breakpoints *b, int number);                   /* 0 = all */
void breakpoints_free(struct breakpoints *b);

/* Does it speak of the value, canonically or through an alias, and of axes that it has? */
bool breakpoint_matches(const struct breakpoint *b, const struct graph *g, int value);
/* Points of the graph that it speaks of. */
int breakpoint_count(const struct breakpoint *b, const struct graph *g);
/* ST_NOTFOUND when there are none; ST_SYNTAX, ST_RANGE with a caret when the slice fits none. */
NODISCARD enum st breakpoint_check(const struct breakpoint *b, const struct graph *g,
                                   struct err *e);
/* The command that makes it again, appended. */
void breakpoint_print(const struct breakpoint *b, struct buf *out);

/* What a breakpoint found at a point. */
struct break_hit {
    struct condition_hit why;
    int64_t element; /* of the span's activation that shows it; -1 if none stands out */
    char place[96];  /* "tok=3, chan=17", or "" */
    bool changed;    /* BREAK_WATCH: `before` is the value it had */
    double before;
};

/* What a test may look at beside the point. */
struct break_sources {
    struct pool *pool; /* may be NULL */
    /* The same point in the reference run; false: there is none. Valid until the next call. */
    bool (*ref)(void *data, int span, int value, struct tensor *out);
    void *data;
};

/* Test it on a point that has been produced; counts nothing. x must outlive reads of other points.
 */
bool breakpoint_test(const struct breakpoint *b, struct run *r, int span, int value,
                     const struct tensor *x, const struct break_sources *from,
                     struct break_hit *hit);
/* Does its condition hold at a point, which need not be one that it names? True without one. */
bool breakpoint_condition_holds(const struct breakpoint *b, struct run *r, int span, int value,
                                const struct tensor *x, const struct break_sources *from);
/* The line of a BREAK_PRINT, appended. */
void breakpoint_say(const struct breakpoint *b, const struct run *r, int span,
                    const struct tensor *x, struct pool *pool, struct buf *out);

#endif
