/* SPDX-License-Identifier: MIT */
/* The registry of architectures: which graph a file's general.architecture asks for. */
#ifndef QDB_MODELS_REGISTRY_H
#define QDB_MODELS_REGISTRY_H

#include <stddef.h>

#include "graph/builder.h"

struct architecture {
    const char *name;  /* as in general.architecture */
    const char *brief;
    void (*build)(struct builder *b);
};

const struct architecture *architecture_at(size_t i); /* NULL past the end */

/* Build the graph of the weights. ST_UNSUPPORTED when the architecture is unknown (the file is
 * still good for everything that needs no run), ST_FORMAT when the file does not fit its
 * architecture. */
NODISCARD enum st model_graph(const struct weights *w, struct graph **out, struct err *e);

void graph_llama(struct builder *b);
void graph_qwen2(struct builder *b);
void graph_gpt2(struct builder *b);
void graph_bert(struct builder *b);
void graph_mamba(struct builder *b);
void graph_vit(struct builder *b);

#endif
