/* SPDX-License-Identifier: MIT */
/* Hyper-parameters that decoders and encoders share, read from the file's keys. */
#ifndef QDB_MODELS_COMMON_H
#define QDB_MODELS_COMMON_H

#include "graph/builder.h"

struct decoder {
    int blocks;
    int64_t width, ff, context;
    int64_t heads, kv_heads, head_size; /* of the block that decoder_block named last */
    int64_t experts, used_experts;      /* 0 = dense */
    float eps;
};

/* Read {arch}.block_count and its kin; also fills width, context and heads of the graph. */
struct decoder decoder_read(struct builder *b);
/* Take the i-th entry of the keys that may be arrays. */
void decoder_block(struct builder *b, struct decoder *d, int i);
/* Rotary positions from {arch}.rope.*, with linear or YaRN scaling and rope_freqs.weight. */
struct rope rope_read(struct builder *b, const struct decoder *d, bool half_split);

#endif
