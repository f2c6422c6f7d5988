/* SPDX-License-Identifier: MIT */
#include "session/breakpoint.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "graph/glob.h"

struct breakpoint *breakpoint_add(struct breakpoints *b, struct str pattern, bool temporary)
{
    x_grow(&b->list, &b->cap, b->n + 1, sizeof *b->list);
    struct breakpoint *p = &b->list[b->n++];
    *p = (struct breakpoint){ .number = ++b->next,
                              .pattern = x_strndup(pattern.p, pattern.n),
                              .enabled = true,
                              .temporary = temporary,
                              .tok_first = -1,
                              .tok_last = -1 };
    return p;
}

struct breakpoint *breakpoint_find(struct breakpoints *b, int number)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->list[i].number == number)
            return &b->list[i];
    return NULL;
}

void breakpoint_delete(struct breakpoints *b, int number)
{
    size_t kept = 0;
    for (size_t i = 0; i < b->n; i++)
        if (!number || b->list[i].number == number)
            free(b->list[i].pattern);
        else
            b->list[kept++] = b->list[i];
    b->n = kept;
}

void breakpoints_free(struct breakpoints *b)
{
    breakpoint_delete(b, 0);
    free(b->list);
    *b = (struct breakpoints){ 0 };
}

bool breakpoint_matches(const struct breakpoint *b, const struct graph *g, int value)
{
    struct str pattern = str_from(b->pattern);
    if (glob_match(pattern, str_from(g->values[value].name)))
        return true;
    for (int i = 0; i < g->n_aliases; i++)
        if (g->aliases[i].value == value && glob_match(pattern, str_from(g->aliases[i].name)))
            return true;
    return false;
}

int breakpoint_count(const struct breakpoint *b, const struct graph *g)
{
    int n = 0;
    for (int v = 0; v < g->n_values; v++)
        n += breakpoint_matches(b, g, v);
    return n;
}

bool breakpoint_holds(const struct breakpoint *b, const struct run *r, int span, int value)
{
    struct span s = run_span(r, span);
    if (!b->enabled
        || (b->tok_first >= 0 && (b->tok_last < s.first || b->tok_first >= s.first + s.n)))
        return false;
    return breakpoint_matches(b, run_graph(r), value);
}
