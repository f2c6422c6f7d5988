/* SPDX-License-Identifier: MIT */
/* Ops: the table of operations. A node of the graph is one row of it plus parameters: a pure
 * function of its inputs and weights, plus explicit state. */
#ifndef QDB_GRAPH_OP_H
#define QDB_GRAPH_OP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "graph/shape.h"
#include "kernels/matrix.h"
#include "kernels/pool.h"
#include "kernels/rows.h"

struct node;

enum op {
    OP_EMBED,         /* w0[token]                                    -> [tok][chan] */
    OP_POSITION,      /* x + w0[position of the token]                */
    OP_TYPE,          /* x + w0[0]: the row of the only token type    */
    OP_RMS_NORM,      /* w0 = gain                                    */
    OP_LAYER_NORM,    /* w0 = gain, w1 = bias                         */
    OP_LINEAR,        /* w0 = matrix, w1 = bias                       */
    OP_SLICE,         /* channels [offset, offset + n)                */
    OP_ROPE,          /* w0 = frequency factors (already in params)   */
    OP_SCORE,         /* q, k -> [head][tok][key]; k joins the cache  */
    OP_SOFTMAX,       /* over the keys a token may see                */
    OP_MIX,           /* prob, v -> [tok][head][chan]; v joins the cache */
    OP_ACT,           /* element-wise non-linearity                   */
    OP_MUL,           /* x * y                                        */
    OP_ADD,           /* x + y                                        */
    OP_SCALE,         /* x * constant                                 */
    OP_ROUTE,         /* w0 = router: x -> weights of the used experts, [tok][exp] */
    OP_EXPERT_LINEAR, /* x, route; w0 = a matrix per expert -> [tok][exp][chan], used ones */
    OP_COMBINE,       /* [tok][exp][chan], route -> [tok][chan]       */
    OP_CONV1D,        /* causal convolution over tokens; w0, w1 = bias */
    OP_SCAN,          /* selective state-space scan                   */
    OP_PATCHES,       /* patches of an image, projected by w0; w1 = bias, w2 = a row in front */
    OP_POOL,          /* one row out of all tokens                    */
    OP__COUNT
};

/* What an op keeps between spans, one row per token. */
enum op_state { STATE_NONE, STATE_KEYS, STATE_VALUES, STATE_SSM, STATE_CONV };

enum pooling { POOLING_FIRST, POOLING_MEAN };

/* Parameters of a node; each op reads its own. */
struct op_params {
    float eps;            /* norms */
    float scale;          /* OP_SCORE: 1/sqrt(head size); OP_SCALE */
    int64_t heads, kv_heads, head_size; /* OP_LINEAR, OP_SLICE: heads > 0 splits the output */
    enum axis axis;       /* OP_LINEAR, OP_SLICE: last axis of the output, where it is not split */
    int64_t n;            /* OP_SLICE: channels taken; OP_ROPE: channels turned; OP_PATCHES: rows */
    int64_t patch_size;   /* pixels */
    enum pooling pooling;
    int64_t offset;       /* OP_SLICE; OP_POSITION: added to the position */
    int64_t used_experts, n_experts;
    bool causal;
    enum activation act;
    int rope;             /* index into graph ropes */
};

/* The tokens that pass a node together: ids, and for each its sequence and position. Rows of the
 * cache are numbered over all spans in order; this span adds rows [past, past + n). */
struct batch {
    int64_t n, past;
    const int32_t *ids, *seq, *pos;
    /* Keys of token t, in order: cache rows keys[t][0 .. visible[t]). */
    const int32_t *const *keys;
    const int32_t *visible;
    int64_t max_keys; /* the most of visible[] over the span: DIM_KEYS */
};

/* Everything one evaluation of a node sees. */
struct op_call {
    const struct node *node;
    const struct batch *batch;
    const struct tensor *in[4];
    struct matrix w[3];   /* weights as matrices in the form to compute with; rows 0 if absent */
    const float *v[3];    /* the same as floats where the op wants a vector (gain, bias), or NULL */
    const struct rope *rope;
    const float *angles;  /* OP_ROPE: [tok][n_rot], cosines then sines of rope_angles */
    void *state;          /* [row][per row] of this node's state, NULL if none: floats or halves */
    struct tensor *out;   /* shape resolved, data allocated */
    enum compute mode;
    struct pool *pool;
    const volatile sig_atomic_t *cancel; /* polled; once set the output is left unfinished */
};

struct op_info {
    const char *name;
    const char *brief;
    int inputs, weights;         /* weights: how many slots the op may use */
    bool matrix;                 /* w0 is used as a matrix, not as a vector */
    enum op_state state;
    /* Shape of the output from those of the inputs and parameters;
     * ST_FORMAT when they do not fit. */
    enum st (*shape)(const struct node *n, const struct shape *in, struct shape *out,
                     struct err *e);
    /* NULL: described, not yet computable. */
    void (*forward)(const struct op_call *c);
    /* The definition, in double and without tricks; out [elements of c->out]. For tests. */
    void (*reference)(const struct op_call *c, double *out);
    /* Reverse mode: to come. */
    void (*backward)(const struct op_call *c);
    /* Floating-point operations of one evaluation. */
    double (*flops)(const struct op_call *c);
};

const struct op_info *op_info(enum op op);
/* Numbers in a row of a node's state, 0 if it has none, and the bytes of one: floats in mode exact,
 * halves in the others. */
int64_t op_state_row(const struct node *n, const struct shape *in);
int64_t op_state_element(enum compute mode);

/* The three attention ops in one pass that never holds the scores: c is the OP_MIX call; q and k
 * are the inputs of its OP_SCORE, k_state that node's state. Same bits as the three in turn. */
void op_attention(const struct op_call *c, const struct op_call *score);
/* n <= PRODUCTS_MOST calls of OP_LINEAR with the same input, in one. */
void op_linear(const struct op_call *c, int n);
/* Scores of the tokens [first, first + n) of an OP_SCORE call alone, out [head][n][key]: the bits
 * of the whole. c->out need not exist. */
void op_score_rows(const struct op_call *c, int64_t first, int64_t n, float *out);

#endif
