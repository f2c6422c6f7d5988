/* SPDX-License-Identifier: MIT */
#include "engine/model.h"

#include <stdlib.h>

#include "base/memory.h"
#include "models/registry.h"

struct model *model_new(struct weights *w)
{
    struct model *m = x_alloc(sizeof *m);
    m->weights = w;
    if (model_graph(w, &m->graph, &m->no_graph))
        m->graph = NULL;
    if (tokenizer_new(w, &m->tokenizer, &m->no_tokenizer))
        m->tokenizer = NULL;
    return m;
}

void model_free(struct model *m)
{
    if (!m)
        return;
    tokenizer_free(m->tokenizer);
    graph_free(m->graph);
    weights_close(m->weights);
    free(m);
}
