/* SPDX-License-Identifier: MIT */
/* A model: weights, tokenizer and graph of one file. Immutable once open, shared by runs. */
#ifndef QDB_ENGINE_MODEL_H
#define QDB_ENGINE_MODEL_H

#include "base/error.h"
#include "file/weights.h"
#include "graph/graph.h"
#include "text/tokenizer.h"

struct model {
    struct weights *weights;
    struct graph *graph;         /* NULL when it cannot run: no_graph says why */
    struct tokenizer *tokenizer; /* NULL likewise: no_tokenizer */
    struct err no_graph, no_tokenizer;
};

/* Take the weights over (also on failure: there is none but memory). A file that cannot run still
 * opens. */
struct model *model_new(struct weights *w);
void model_free(struct model *m);

#endif
