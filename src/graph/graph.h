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

/* A second name of a value, perhaps seen under another shape of the same memory. */
struct point_alias {
    char *name;
    const char *brief;
    struct shape shape;
    int value;
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
/* All points: the values in order of execution, then the aliases: name of the i-th, NULL past the
 * end. */
const char *graph_point_name(const struct graph *g, int i);
int graph_n_points(const struct graph *g);
/* Does the glob name this value, canonically or by an alias? And how many values does it name? */
bool graph_names(const struct graph *g, struct str glob, int value);
int graph_count_named(const struct graph *g, struct str glob);

#endif
