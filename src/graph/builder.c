/* SPDX-License-Identifier: MIT */
#include "graph/builder.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { NAME_MAX_LENGTH = 160 };

enum st b_fail(struct builder *b, const char *fmt, ...)
{
    if (b->st)
        return b->st;
    va_list ap;
    va_start(ap, fmt);
    char msg[256];
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    st_fail(b->e, ST_FORMAT, "%s", msg);
    if (b->w->path)
        st_where(b->e, "%s", b->w->path);
    return b->st = ST_FORMAT;
}

void builder_begin(struct builder *b, const struct weights *w, const char *arch, struct err *e)
{
    struct graph *g = x_alloc(sizeof *g);
    *b = (struct builder){ .g = g, .w = w, .e = e, .block = -1, .sub = "embd" };
    g->arch = x_strdup(arch);
    g->embedding = g->hidden = g->logits = -1;
    g->causal = true;
}

static void key_of(struct builder *b, const char *name, char out[NAME_MAX_LENGTH])
{
    snprintf(out, NAME_MAX_LENGTH, "%s.%s", b->g->arch, name);
}

static bool is_number(enum gguf_type t) { return t != GGUF_STRING && t != GGUF_ARRAY; }

/* The i-th number of a key, or false with the sticky error unless `optional` and absent. */
static bool number(struct builder *b, const char *name, int i, bool optional, double *out)
{
    char key[NAME_MAX_LENGTH];
    key_of(b, name, key);
    const struct gguf_kv *kv = b->st ? NULL : weights_kv(b->w, key);
    if (!kv) {
        if (!optional)
            b_fail(b, "the key %s is missing", key);
        return false;
    }
    bool array = kv->type == GGUF_ARRAY;
    if (!is_number(array ? kv->elem : kv->type) || (array && (uint64_t)i >= kv->n)) {
        b_fail(b, "the key %s holds no number for block %d", key, i);
        return false;
    }
    *out = gguf_number(kv, array ? (uint64_t)i : 0);
    return true;
}

static int64_t whole(struct builder *b, const char *name, int i, int64_t lo, int64_t hi, bool optional,
                     int64_t otherwise)
{
    double v;
    if (!number(b, name, i, optional, &v))
        return otherwise;
    if (!(v >= (double)lo && v <= (double)hi) || v != floor(v)) {
        b_fail(b, "%s.%s is %g, expected a whole number in %" PRId64 "..%" PRId64, b->g->arch, name, v, lo, hi);
        return otherwise;
    }
    return (int64_t)v;
}

int64_t b_int(struct builder *b, const char *name, int64_t lo, int64_t hi)
{
    return whole(b, name, 0, lo, hi, false, lo);
}

int64_t b_int_or(struct builder *b, const char *name, int64_t lo, int64_t hi, int64_t otherwise)
{
    return whole(b, name, 0, lo, hi, true, otherwise);
}

int64_t b_int_of(struct builder *b, const char *name, int i, int64_t lo, int64_t hi)
{
    return whole(b, name, i, lo, hi, false, lo);
}

static double real(struct builder *b, const char *name, double lo, double hi, bool optional, double otherwise)
{
    double v;
    if (!number(b, name, 0, optional, &v))
        return otherwise;
    if (!(v >= lo && v <= hi)) {
        b_fail(b, "%s.%s is %g, expected a number in %g..%g", b->g->arch, name, v, lo, hi);
        return otherwise;
    }
    return v;
}

double b_float(struct builder *b, const char *name, double lo, double hi) { return real(b, name, lo, hi, false, lo); }

double b_float_or(struct builder *b, const char *name, double lo, double hi, double otherwise)
{
    return real(b, name, lo, hi, true, otherwise);
}

bool b_bool_or(struct builder *b, const char *name, bool otherwise)
{
    double v;
    return number(b, name, 0, true, &v) ? v != 0 : otherwise;
}

struct str b_string_or(struct builder *b, const char *name, const char *otherwise)
{
    char key[NAME_MAX_LENGTH];
    key_of(b, name, key);
    return weights_string(b->w, key, otherwise);
}

/* "blk.3." + name + tail, or without the prefix outside the blocks. */
static void full_name(const struct builder *b, const char *name, const char *tail, char out[NAME_MAX_LENGTH])
{
    if (b->block >= 0)
        snprintf(out, NAME_MAX_LENGTH, "blk.%d.%s%s", b->block, name, tail);
    else
        snprintf(out, NAME_MAX_LENGTH, "%s%s", name, tail);
}

static const struct weight *find(struct builder *b, const char *name, const char *tail)
{
    char full[NAME_MAX_LENGTH];
    full_name(b, name, tail, full);
    return weights_find(b->w, str_from(full));
}

bool b_has(struct builder *b, const char *weight) { return find(b, weight, "") != NULL; }

static const struct weight *need(struct builder *b, const char *name, const char *tail)
{
    const struct weight *w = b->st ? NULL : find(b, name, tail);
    if (!w && !b->st) {
        char full[NAME_MAX_LENGTH];
        full_name(b, name, tail, full);
        b_fail(b, "the tensor %s is missing", full);
    } else if (w && !w->data)
        b_fail(b, "the tensor %.*s cannot be read: %s", (int)w->name.n, w->name.p, w->problem ? w->problem : "no data");
    else if (w && !(format_info(w->format) && format_info(w->format)->decode))
        b_fail(b, "the tensor %.*s has a format that cannot be decoded here (%s)", (int)w->name.n, w->name.p,
               format_info(w->format) ? format_info(w->format)->type : "unknown type");
    return b->st ? NULL : w;
}

const float *b_vector(struct builder *b, const struct weight *w)
{
    struct graph *g = b->g;
    size_t bytes;
    void *v;
    if (!w || b->st || (b->st = weight_check(w, b->e)))
        return NULL;
    if (!mul_ok((size_t)(w->rows * w->cols), sizeof(float), &bytes)) {
        b_fail(b, "%.*s is too large", (int)w->name.n, w->name.p);
        return NULL;
    }
    if ((b->st = mem_alloc(&v, bytes, "a gain or bias", b->e)))
        return NULL;
    x_grow(&g->decoded, &g->cap_decoded, g->n_decoded + 1, sizeof *g->decoded);
    g->decoded[g->n_decoded++] = v;
    b->st = weight_decode(w, 0, w->rows, v, b->e);
    return v;
}

/* Append node n; its output value is named like the node. Returns the value, -1 after an error. */
static int append(struct builder *b, struct node n, const char *brief)
{
    struct graph *g = b->g;
    if (b->st)
        return -1;
    const struct op_info *op = op_info(n.op);
    struct shape in[NODE_MAX_IN] = { 0 }, out;
    for (int i = 0; i < n.n_in; i++)
        in[i] = g->values[n.in[i]].shape;
    b->st = op->shape(&n, in, &out, b->e);
    for (int i = 0; i < op->weights; i++)
        if (n.w[i] && !(i == 0 && op->matrix))
            n.v[i] = b_vector(b, n.w[i]);
    if (b->st) {
        if (b->w->path && b->e && !b->e->where[0])
            st_where(b->e, "%s", b->w->path);
        return -1;
    }
    x_grow(&g->nodes, &g->cap_nodes, (size_t)g->n_nodes + 1, sizeof *g->nodes);
    x_grow(&g->values, &g->cap_values, (size_t)g->n_values + 1, sizeof *g->values);
    n.name = x_strdup(n.name);
    n.block = b->block;
    n.sub = b->sub;
    n.out = g->n_values;
    for (int i = 0; i < n.n_in; i++)
        g->values[n.in[i]].last_use = g->n_nodes;
    g->values[g->n_values] = (struct value){ x_strdup(n.name), brief, out, g->n_nodes, g->n_nodes };
    g->nodes[g->n_nodes++] = n;
    return g->n_values++;
}

/* The common case: an op on x (and y) whose point is NAME.tail. */
static int node(struct builder *b, enum op op, int x, int y, const char *name, const char *tail, struct node n,
                const char *brief)
{
    char full[NAME_MAX_LENGTH];
    full_name(b, name, tail, full);
    n.op = op;
    n.name = full;
    n.n_in = y >= 0 ? 2 : x >= 0 ? 1 : 0;
    n.in[0] = x;
    n.in[1] = y;
    return append(b, n, brief);
}

void b_block(struct builder *b, int n, int input)
{
    struct graph *g = b->g;
    if (b->st)
        return;
    x_grow(&g->blocks, &g->cap_blocks, (size_t)n + 1, sizeof *g->blocks);
    g->blocks[n] = (struct block){ .first = g->n_nodes, .end = g->n_nodes, .input = input, .output = input };
    g->n_blocks = n + 1;
    b->block = n;
    if (n == 0)
        g->embedding = input;
    b_alias(b, input, "in", "residual stream that enters the block");
}

void b_sub(struct builder *b, const char *sub) { b->sub = sub; }

void b_block_end(struct builder *b, int output)
{
    if (!b->st) {
        b->g->blocks[b->block].end = b->g->n_nodes;
        b->g->blocks[b->block].output = output;
    }
    b->block = -1;
    b->sub = "head";
}

int b_embed(struct builder *b, const char *name, const char *point, const char *brief)
{
    return node(b, OP_EMBED, -1, -1, point, "", (struct node){ .w = { need(b, name, ".weight") } }, brief);
}

int b_position(struct builder *b, int x, const char *name, const char *point, const char *brief)
{
    return node(b, OP_POSITION, x, -1, point, "", (struct node){ .w = { need(b, name, ".weight") } }, brief);
}

int b_token_type(struct builder *b, int x, const char *name, const char *point, const char *brief)
{
    return node(b, OP_TYPE, x, -1, point, "", (struct node){ .w = { need(b, name, ".weight") } }, brief);
}

int b_rms_norm(struct builder *b, int x, const char *name, float eps)
{
    return node(b, OP_RMS_NORM, x, -1, name, ".out",
                (struct node){ .w = { need(b, name, ".weight") }, .p = { .eps = eps } },
                "normalised to unit root mean square, times the gain");
}

int b_layer_norm(struct builder *b, int x, const char *name, float eps)
{
    return node(b, OP_LAYER_NORM, x, -1, name, ".out",
                (struct node){ .w = { need(b, name, ".weight"), find(b, name, ".bias") }, .p = { .eps = eps } },
                "normalised to zero mean and unit variance, gain and bias");
}

int b_linear(struct builder *b, int x, const char *name, const char *brief)
{
    return b_linear_heads(b, x, name, 0, 0, brief);
}

int b_linear_heads(struct builder *b, int x, const char *name, int64_t heads, int64_t head_size, const char *brief)
{
    return node(b, OP_LINEAR, x, -1, name, ".out",
                (struct node){ .w = { need(b, name, ".weight"), find(b, name, ".bias") },
                               .p = { .heads = heads, .head_size = head_size, .axis = AXIS_CHAN } },
                brief);
}

int b_head(struct builder *b, int x, const char *name, const char *tied)
{
    bool own = find(b, name, ".weight") != NULL;
    int y = node(b, OP_LINEAR, x, -1, name, ".out",
                 (struct node){ .w = { need(b, own ? name : tied, ".weight"), own ? find(b, name, ".bias") : NULL },
                                .p = { .axis = AXIS_VOCAB } },
                 "logits: one score per token of the vocabulary");
    b->g->hidden = x;
    b->g->logits = y;
    if (y >= 0)
        b->g->vocab = b->g->values[y].shape.d[1].n;
    return y;
}

int b_slice_heads(struct builder *b, int x, const char *name, int64_t offset, int64_t heads, int64_t head_size,
                  const char *brief)
{
    return node(b, OP_SLICE, x, -1, name, ".out",
                (struct node){ .p = { .offset = offset, .n = heads * head_size, .heads = heads,
                                      .head_size = head_size } },
                brief);
}

static bool same_rope(const struct rope *a, const struct rope *b)
{
    return a->half_split == b->half_split && a->n_rot == b->n_rot && a->base == b->base && a->scale == b->scale
           && a->ext == b->ext && a->beta_fast == b->beta_fast && a->beta_slow == b->beta_slow
           && a->original_context == b->original_context && a->magnitude == b->magnitude
           && a->factors == b->factors;
}

/* Index of the rope in the graph: nodes that turn alike share one. */
static int rope_index(struct graph *g, const struct rope *r)
{
    for (size_t i = 0; i < g->n_ropes; i++)
        if (same_rope(&g->ropes[i], r))
            return (int)i;
    x_grow(&g->ropes, &g->cap_ropes, g->n_ropes + 1, sizeof *g->ropes);
    g->ropes[g->n_ropes] = *r;
    return (int)g->n_ropes++;
}

int b_rope(struct builder *b, int x, const char *name, const struct rope *r)
{
    struct graph *g = b->g;
    if (b->st)
        return -1;
    if (r->n_rot > g->values[x].shape.d[2].n || r->n_rot % 2)
        return b_fail(b, "rope turns %" PRId64 " channels of heads of %" PRId64, r->n_rot,
                      g->values[x].shape.d[2].n), -1;
    return node(b, OP_ROPE, x, -1, name, ".rope", (struct node){ .p = { .rope = rope_index(g, r) } },
                "after rotary position embedding");
}

int b_attention(struct builder *b, int q, int k, int v, float scale, bool causal)
{
    if (b->st)
        return -1;
    struct shape s = b->g->values[q].shape;
    if (s.rank != 3)
        return b_fail(b, "queries of block %d are not heads", b->block), -1;
    struct op_params p = { .scale = scale, .causal = causal, .heads = s.d[1].n, .head_size = s.d[2].n };
    b->g->causal = causal;
    int score = node(b, OP_SCORE, q, k, "attn", ".score", (struct node){ .p = p },
                     "scaled products of queries and keys; -inf where a token may not look");
    int prob = node(b, OP_SOFTMAX, score, -1, "attn", ".prob", (struct node){ .p = p },
                    "attention probabilities: each row sums to 1 over the keys");
    int z = node(b, OP_MIX, prob, v, "attn", ".z", (struct node){ .p = p },
                 "per head: values weighted by the probabilities");
    b_alias(b, z, "attn_output.in", "heads side by side: what the output projection reads");
    return z;
}

int b_activate(struct builder *b, int x, enum activation act, const char *point, const char *brief)
{
    return node(b, OP_ACT, x, -1, point, "", (struct node){ .p = { .act = act } }, brief);
}

int b_glu(struct builder *b, int gate, int up, enum activation act)
{
    int a = b_activate(b, gate, act, "ffn_act.gate", "the gate after its non-linearity");
    int y = b_mul(b, a, up, "ffn_act.out", "gated activations: what the down projection reads");
    b_alias(b, y, "ffn_down.in", "the same as ffn_act.out");
    return y;
}

int b_add(struct builder *b, int x, int y, const char *point, const char *brief)
{
    return node(b, OP_ADD, x, y, point, "", (struct node){ .n_in = 0 }, brief);
}

int b_mul(struct builder *b, int x, int y, const char *point, const char *brief)
{
    return node(b, OP_MUL, x, y, point, "", (struct node){ .n_in = 0 }, brief);
}

int b_scale(struct builder *b, int x, float scale, const char *point, const char *brief)
{
    return node(b, OP_SCALE, x, -1, point, "", (struct node){ .p = { .scale = scale } }, brief);
}

int b_experts(struct builder *b, int x, int64_t experts, int64_t used, enum activation act)
{
    struct op_params p = { .n_experts = experts, .used_experts = used, .act = act };
    int route = node(b, OP_ROUTE, x, -1, "ffn_gate_inp", ".out",
                     (struct node){ .w = { need(b, "ffn_gate_inp", ".weight") }, .p = p },
                     "weight of each expert for each token, 0 for the unused");
    struct node n = { .p = p };
    n.w[0] = need(b, "ffn_gate_exps", ".weight");
    n.w[1] = need(b, "ffn_up_exps", ".weight");
    n.w[2] = need(b, "ffn_down_exps", ".weight");
    return node(b, OP_EXPERTS, x, route, "ffn_down_exps", ".out", n, "sum of the used experts' outputs");
}

int b_conv1d(struct builder *b, int x, const char *name, const char *brief)
{
    return node(b, OP_CONV1D, x, -1, name, ".out",
                (struct node){ .w = { need(b, name, ".weight"), find(b, name, ".bias") } }, brief);
}

int b_scan(struct builder *b, int x, int dt, int in, int out, const char *a, const char *d, const char *brief)
{
    char full[NAME_MAX_LENGTH];
    full_name(b, "ssm_scan", ".out", full);
    struct node n = { .op = OP_SCAN, .name = full, .n_in = 4, .in = { x, dt, in, out } };
    n.w[0] = need(b, a, "");
    n.w[1] = need(b, d, "");
    return append(b, n, brief);
}

int b_patches(struct builder *b, const char *name, int64_t patches, int64_t width_out, const char *brief)
{
    return node(b, OP_PATCHES, -1, -1, "embd", ".patch",
                (struct node){ .w = { need(b, name, ".weight"), find(b, name, ".bias") },
                               .p = { .n = patches, .head_size = width_out } },
                brief);
}

int b_pool(struct builder *b, int x, const char *point, const char *brief)
{
    return node(b, OP_POOL, x, -1, point, "", (struct node){ .n_in = 0 }, brief);
}

void b_alias(struct builder *b, int x, const char *point, const char *brief)
{
    struct graph *g = b->g;
    if (b->st)
        return;
    char full[NAME_MAX_LENGTH];
    full_name(b, point, "", full);
    struct shape s = g->values[x].shape;
    if (s.rank > 2)
        s = shape2(s.d[0], dim(AXIS_CHAN, shape_per_token(&s)));
    x_grow(&g->aliases, &g->cap_aliases, (size_t)g->n_aliases + 1, sizeof *g->aliases);
    g->aliases[g->n_aliases++] = (struct point_alias){ x_strdup(full), brief, s, x };
}

enum st builder_end(struct builder *b, struct graph **out)
{
    struct graph *g = b->g;
    if (!b->st && !g->n_nodes)
        b_fail(b, "the model has no nodes");
    if (b->st) {
        graph_free(g);
        return b->st;
    }
    if (g->hidden < 0)
        g->hidden = g->n_values - 1;
    *out = g;
    return ST_OK;
}
