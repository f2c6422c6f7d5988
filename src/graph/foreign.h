/* SPDX-License-Identifier: MIT */
/* The names that other engines give to the points of a graph. */
#ifndef QDB_GRAPH_FOREIGN_H
#define QDB_GRAPH_FOREIGN_H

#include "graph/graph.h"

/* Append to the aliases of a decoder's graph the names of TransformerLens and of llama.cpp's
 * graphs. */
void foreign_names(struct graph *g);
/* "TransformerLens", "llama.cpp". */
const char *naming_name(enum naming n);
/* What is computed, for people: "before gain and bias"; "" for the same numbers. */
const char *derivation_brief(enum derivation d);

#endif
