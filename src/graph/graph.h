/* SPDX-License-Identifier: MIT */
/* The graph of a model: nodes in order of execution, the values between them, the names of the
 * points where an activation can be looked at. */
#ifndef QDB_GRAPH_GRAPH_H
#define QDB_GRAPH_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "file/weights.h"
#include "graph/op.h"
#include "graph/shape.h"

enum { NODE_MAX_IN = 4, NODE_MAX_WEIGHTS = 3 };

/* One operation. in[] and out are indices of values. */
struct node {
    enum op op;
    char *name; /* of its output: "blk.3.attn_q.out" */
    int in[NODE_MAX_IN], n_in;
    const struct weight *w[NODE_MAX_WEIGHTS]; /* op.h says what each slot means; NULL if unused */
    const float *v[NODE_MAX_WEIGHTS];         /* the same decoded, where the op wants a vector */
    int out;
    int block;       /* 0-based, -1 outside the blocks */
    const char *sub; /* sub-layer: "embd" "attn" "ffn" "head"; a static string, compared by text */
    struct op_params p;
};

/* An activation. */
struct value {
    char *name; /* canonical name of the point */
    const char *brief;
    struct shape shape;
    int node;     /* that produces it */
    int last_use; /* index of the last node that reads it; its own node if none */
};

/* Whose a name is. */
enum naming { NAMING_OWN, NAMING_TRANSFORMER_LENS, NAMING_LLAMA_CPP };

/* What makes the tensor that another engine gives a name out of a value of ours. */
enum derivation {
    DERIVE_SAME,      /* nothing: the same numbers */
    DERIVE_HALVES,    /* [tok][head][chan]: pairs that turn together stand half a head apart */
    DERIVE_BARE,      /* of a norm: without gain and bias */
    DERIVE_DIVISOR,   /* of a norm: what each token is divided by, [tok][1] */
    DERIVE_RESULT,    /* of attn.z: what each head adds to the stream, [tok][head][chan], no bias */
    DERIVE_PRODUCTS,  /* of attn.score: neither scaled nor masked */
    DERIVE_HEADS,     /* heads in front of tokens: [head][tok][chan] */
    DERIVE_NO_BIAS,   /* of a linear op: before its bias */
    DERIVE_POSITIONS, /* of OP_POSITION: the rows that are added */
};

/* A second name of a value, perhaps seen under another shape of the same memory; or the name of
 * something that is computed from it. */
struct point_alias {
    char *name;
    const char *brief;
    struct shape shape;
    int value;
    enum naming naming;
    enum derivation derive; /* not DERIVE_SAME: engine/derive.h */
};

struct block {
    int first, end; /* nodes [first, end) */
    int input;      /* value: the residual stream that enters */
    int output;     /* value: the residual stream that leaves */
};

struct graph {
    char *arch;
    struct node *nodes;
    int n_nodes;
    struct value *values;
    int n_values;
    struct point_alias *aliases;
    int n_aliases;
    struct block *blocks;
    int n_blocks;
    int embedding; /* value that enters the first block */
    int hidden;    /* value that the output head reads; without a head the last value */
    int logits;    /* value, -1 if the model has none */
    int64_t width;          /* of the residual stream */
    int64_t context, vocab; /* trained context, rows of the output; 0 if unknown */
    int64_t heads, kv_heads, head_size;
    bool causal;
    /* owned storage */
    struct rope *ropes;
    size_t n_ropes;
    float **decoded; /* small vectors (norm gains, biases) decoded once */
    size_t n_decoded;
    size_t cap_nodes, cap_values, cap_aliases, cap_blocks, cap_ropes, cap_decoded;
};

void graph_free(struct graph *g);

/* A point by its exact name (canonical or alias): the value, and the shape under that name; -1 if
 * none. */
int graph_point(const struct graph *g, struct str name, struct shape *shape, const char **brief);
/* The alias of that exact name, NULL if none. */
const struct point_alias *graph_alias(const struct graph *g, struct str name);
/* All points: the values in order of execution, then the aliases: name of the i-th, NULL past the
 * end. */
const char *graph_point_name(const struct graph *g, int i);
int graph_n_points(const struct graph *g);
/* Does the glob name this value, canonically or by an alias that is the same numbers? And how many
 * values does it name? */
bool graph_names(const struct graph *g, struct str glob, int value);
int graph_count_named(const struct graph *g, struct str glob);

#endif
