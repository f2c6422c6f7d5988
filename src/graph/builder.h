/* SPDX-License-Identifier: MIT */
/* The builder: the small vocabulary that architecture files speak. It binds weights by name, checks
 * shapes, names points. Values are integers; the first error sticks and everything after is a
 * no-op. */
#ifndef QDB_GRAPH_BUILDER_H
#define QDB_GRAPH_BUILDER_H

#include "graph/graph.h"

struct builder {
    struct graph *g;
    const struct weights *w;
    struct err *e;
    enum st st;
    const char *keys;  /* prefix of hyper-parameters: the architecture, or such as "clip.vision" */
    const char *names; /* prefix of weights and points: "", or such as "v." */
    int block;         /* current block, -1 outside */
    const char *sub; /* current sub-layer */
};

/* Begin a graph of architecture `arch` over the weights. *b borrows w and e. */
void builder_begin(struct builder *b, const struct weights *w, const char *arch, struct err *e);
/* Check and hand out the graph; on error frees it and returns the sticky error. */
NODISCARD enum st builder_end(struct builder *b, struct graph **out);

/* Other prefixes than the architecture and "", for a model that is a part of its file; static
 * strings. */
void b_scope(struct builder *b, const char *keys, const char *names);

/* Hyper-parameters: key "{keys}.NAME". A missing, NaN or out-of-range number is the sticky error
 * (with _or: missing gives the default). */
int64_t b_int(struct builder *b, const char *name, int64_t lo, int64_t hi);
int64_t b_int_or(struct builder *b, const char *name, int64_t lo, int64_t hi, int64_t otherwise);
/* The i-th of a key that is a scalar or an array with one entry per block. */
int64_t b_int_of(struct builder *b, const char *name, int i, int64_t lo, int64_t hi);
double b_float_or(struct builder *b, const char *name, double lo, double hi, double otherwise);
bool b_bool_or(struct builder *b, const char *name, bool otherwise);
struct str b_string_or(struct builder *b, const char *name, const char *otherwise);
bool b_has(struct builder *b, const char *weight); /* in the current block */
enum st b_fail(struct builder *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* All of a small weight (a gain, a bias) as floats, owned by the graph; NULL if w is NULL or on
 * error. */
const float *b_vector(struct builder *b, const struct weight *w);

/* The weight NAME + tail of the current block: missing, unreadable or with a factor beside it is
 * the sticky error, or NULL. */
const struct weight *b_weight(struct builder *b, const char *name, const char *tail);
const struct weight *b_optional(struct builder *b, const char *name, const char *tail);
/* Append a node with its inputs, weights and parameters set; its point is NAME + tail. Returns the
 * value, -1 after an error. The words below are made of this one. */
int b_node(struct builder *b, enum op op, const char *name, const char *tail, struct node n,
           const char *brief);

/* Names below are without the block prefix: "attn_q" means blk.N.attn_q.weight (and .bias when
 * present), and the point blk.N.attn_q.out. */
void b_block(struct builder *b, int n, int input); /* the residual `input` enters block n */
void b_sub(struct builder *b, const char *sub);
void b_block_end(struct builder *b, int output);

/* Rows of the weight `name` by token; `point` is embd.out unless more is added before the first
 * block. */
int b_embed(struct builder *b, const char *name, const char *point, const char *brief);
int b_position(struct builder *b, int x, const char *name, const char *point, const char *brief);
int b_token_type(struct builder *b, int x, const char *name, const char *point, const char *brief);
int b_rms_norm(struct builder *b, int x, const char *name, float eps);
int b_layer_norm(struct builder *b, int x, const char *name, float eps);
int b_linear(struct builder *b, int x, const char *name, const char *brief);
/* Output split into heads. */
int b_linear_heads(struct builder *b, int x, const char *name, int64_t heads, int64_t head_size,
                   const char *brief);
/* The output head: vocabulary axis; weight "output", or `tied` when the file has none. */
int b_head(struct builder *b, int x, const char *name, const char *tied);
int b_slice_heads(struct builder *b, int x, const char *name, int64_t offset, int64_t heads,
                  int64_t head_size, const char *brief);
/* Channels [offset, offset + n). */
int b_slice(struct builder *b, int x, const char *point, int64_t offset, int64_t n, enum axis axis,
            const char *brief);
/* r is copied; point blk.N.NAME.rope. */
int b_rope(struct builder *b, int x, const char *name, const struct rope *r);
/* Scores, softmax, mixing: points attn.score attn.prob attn.z, and the alias `reader`
 * (attn_output.in). */
int b_attention(struct builder *b, int q, int k, int v, float scale, bool causal,
                const char *reader);
int b_activate(struct builder *b, int x, enum activation act, const char *point, const char *brief);
/* act(gate) * up: points ffn_act.gate and ffn_act.out. */
int b_glu(struct builder *b, int gate, int up, enum activation act);
int b_add(struct builder *b, int x, int y, const char *point, const char *brief);
int b_mul(struct builder *b, int x, int y, const char *point, const char *brief);
/* Mixture of gated experts: router "ffn_gate_inp", experts "ffn_{gate,up,down}_exps"; sum at
 * ffn_moe.out. */
int b_experts(struct builder *b, int x, int64_t experts, int64_t used, enum activation act);
/* Causal, per channel: weight [chan][width of the kernel]. */
int b_conv1d(struct builder *b, int x, const char *name, const char *brief);
/* Selective scan of x with steps dt [tok][chan], input and output maps in, out [tok][state];
 * weights a [chan][state] and d [chan] by their full names. Point ssm_scan.out. */
int b_scan(struct builder *b, int x, int dt, int in, int out, const char *a, const char *d,
           const char *brief);
/* Square patches of an RGB image, each projected by the weight [chan][3][patch_size][patch_size];
 * the tensor `row` goes in front where the file has it. */
int b_patches(struct builder *b, const char *name, const char *row, int64_t patch_size,
              int64_t patches, const char *brief);
int b_pool(struct builder *b, int x, enum pooling pooling, const char *point, const char *brief);
/* A second name of x in the current block, seen as [tok][chan]. */
void b_alias(struct builder *b, int x, const char *point, const char *brief);

#endif
