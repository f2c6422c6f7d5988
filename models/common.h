/* SPDX-License-Identifier: MIT */
/* Hyper-parameters that decoders and encoders share, read from the file's keys. */
#ifndef QDB_MODELS_COMMON_H
#define QDB_MODELS_COMMON_H

#include "graph/builder.h"

struct sizes {
    int blocks;
    int64_t width, context;
    int64_t heads, kv_heads, head_size, value_size; /* of the block that heads_read named last */
    float eps;                                      /* of the norms */
};

/* Read {keys}.block_count and its kin; also fills width and context of the graph. */
struct sizes sizes_read(struct builder *b);
/* Heads of block i, from keys that may be arrays; those of block 0 also into the graph. */
void heads_read(struct builder *b, struct sizes *d, int i);
/* 1 / sqrt(head size): the usual scale of scores. */
float score_scale(const struct sizes *d);
/* Rotary positions from {keys}.rope.*, with linear or YaRN scaling and rope_freqs.weight. */
struct rope rope_read(struct builder *b, const struct sizes *d, bool half_split);

#endif
