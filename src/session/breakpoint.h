/* SPDX-License-Identifier: MIT */
/* Breakpoints: which points stop a run once they have been produced. */
#ifndef QDB_SESSION_BREAKPOINT_H
#define QDB_SESSION_BREAKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "engine/run.h"

struct breakpoint {
    int number;
    char *pattern;       /* glob over names of points */
    bool enabled, temporary;
    int64_t tok_first,
        tok_last; /* only spans that hold one of these tokens of the run; -1, -1 = any */
    int64_t hits;
};

struct breakpoints {
    struct breakpoint *list;
    size_t n, cap;
    int next;
};

/* Add one; ST_SYNTAX when the pattern is empty. *out is valid until the list changes. */
struct breakpoint *breakpoint_add(struct breakpoints *b, struct str pattern, bool temporary);
struct breakpoint *breakpoint_find(struct breakpoints *b, int number); /* NULL if none */
void breakpoint_delete(struct breakpoints *b, int number);             /* 0 = all */
void breakpoints_free(struct breakpoints *b);

/* Does this breakpoint name the value, canonically or through an alias? */
bool breakpoint_matches(const struct breakpoint *b, const struct graph *g, int value);
/* Points of the graph that the pattern names. */
int breakpoint_count(const struct breakpoint *b, const struct graph *g);
/* Is it enabled, does it name the value and hold for the span? */
bool breakpoint_holds(const struct breakpoint *b, const struct run *r, int span, int value);

#endif
