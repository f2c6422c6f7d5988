/* SPDX-License-Identifier: MIT */
#include "graph/graph.h"

#include <stdlib.h>

#include "base/memory.h"
#include "graph/glob.h"

void graph_free(struct graph *g)
{
    if (!g)
        return;
    for (int i = 0; i < g->n_nodes; i++)
        free(g->nodes[i].name);
    for (int i = 0; i < g->n_values; i++)
        free(g->values[i].name);
    for (int i = 0; i < g->n_aliases; i++)
        free(g->aliases[i].name);
    for (size_t i = 0; i < g->n_decoded; i++)
        mem_free(g->decoded[i]);
    free(g->nodes);
    free(g->values);
    free(g->aliases);
    free(g->blocks);
    free(g->ropes);
    free(g->decoded);
    free(g->arch);
    free(g);
}

int graph_point(const struct graph *g, struct str name, struct shape *shape, const char **brief)
{
    int v = -1;
    struct shape s = { 0 };
    const char *b = NULL;
    for (int i = 0; i < g->n_values && v < 0; i++)
        if (str_is(name, g->values[i].name))
            v = i, s = g->values[i].shape, b = g->values[i].brief;
    for (int i = 0; i < g->n_aliases && v < 0; i++)
        if (str_is(name, g->aliases[i].name))
            v = g->aliases[i].value, s = g->aliases[i].shape, b = g->aliases[i].brief;
    if (v >= 0 && shape)
        *shape = s;
    if (v >= 0 && brief)
        *brief = b;
    return v;
}

const struct point_alias *graph_alias(const struct graph *g, struct str name)
{
    for (int i = 0; i < g->n_aliases; i++)
        if (str_is(name, g->aliases[i].name))
            return &g->aliases[i];
    return NULL;
}

int graph_n_points(const struct graph *g) { return g->n_values + g->n_aliases; }

const char *graph_point_name(const struct graph *g, int i)
{
    if (i < 0 || i >= graph_n_points(g))
        return NULL;
    return i < g->n_values ? g->values[i].name : g->aliases[i - g->n_values].name;
}

bool graph_names(const struct graph *g, struct str glob, int value)
{
    if (glob_match(glob, str_from(g->values[value].name)))
        return true;
    for (int i = 0; i < g->n_aliases; i++)
        if (g->aliases[i].value == value && !g->aliases[i].derive
            && glob_match(glob, str_from(g->aliases[i].name)))
            return true;
    return false;
}

int graph_count_named(const struct graph *g, struct str glob)
{
    int n = 0;
    for (int v = 0; v < g->n_values; v++)
        n += graph_names(g, glob, v);
    return n;
}
