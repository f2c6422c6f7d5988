/* SPDX-License-Identifier: MIT */
/* The words that architecture files speak: each appends a node, or a few, and names its points. */
#include <inttypes.h>

#include "base/memory.h"
#include "graph/builder.h"

int b_embed(struct builder *b, const char *name, const char *point, const char *brief)
{
    const struct weight *w = b_weight(b, name, ".weight");
    if (w && b->g->width && (int64_t)w->cols != b->g->width)
        return b_fail(b, "%.*s: row length is %" PRIu64 ", %s.embedding_length is %" PRId64,
                      (int)w->name.n, w->name.p, w->cols, b->keys, b->g->width),
               -1;
    return b_node(b, OP_EMBED, point, "", (struct node){ .w = { w } }, brief);
}

int b_position(struct builder *b, int x, const char *name, const char *point, const char *brief)
{
    return b_node(b, OP_POSITION, point, "",
                  (struct node){ .in = { x }, .w = { b_weight(b, name, ".weight") } }, brief);
}

int b_token_type(struct builder *b, int x, const char *name, const char *point, const char *brief)
{
    return b_node(b, OP_TYPE, point, "",
                  (struct node){ .in = { x }, .w = { b_weight(b, name, ".weight") } }, brief);
}

int b_rms_norm(struct builder *b, int x, const char *name, float eps)
{
    return b_node(
        b, OP_RMS_NORM, name, ".out",
        (struct node){ .in = { x }, .w = { b_weight(b, name, ".weight") }, .p = { .eps = eps } },
        "normalised to unit root mean square, times the gain");
}

int b_layer_norm(struct builder *b, int x, const char *name, float eps)
{
    return b_node(
        b, OP_LAYER_NORM, name, ".out",
        (struct node){ .in = { x },
                       .w = { b_weight(b, name, ".weight"), b_optional(b, name, ".bias") },
                       .p = { .eps = eps } },
        "normalised to zero mean and unit variance, gain and bias");
}

int b_linear(struct builder *b, int x, const char *name, const char *brief)
{
    return b_linear_heads(b, x, name, 0, 0, brief);
}

int b_linear_heads(struct builder *b, int x, const char *name, int64_t heads, int64_t head_size,
                   const char *brief)
{
    return b_node(
        b, OP_LINEAR, name, ".out",
        (struct node){ .in = { x },
                       .w = { b_weight(b, name, ".weight"), b_optional(b, name, ".bias") },
                       .p = { .heads = heads, .head_size = head_size, .axis = AXIS_CHAN } },
        brief);
}

int b_head(struct builder *b, int x, const char *name, const char *tied)
{
    const bool own = b_optional(b, name, ".weight") != NULL;
    const struct weight *w = b_weight(b, own ? name : tied, ".weight");
    int y = b_node(b, OP_LINEAR, name, ".out",
                   (struct node){ .in = { x },
                                  .w = { w, own ? b_optional(b, name, ".bias") : NULL },
                                  .p = { .axis = AXIS_VOCAB } },
                   "logits: one score per token of the vocabulary");
    b->g->hidden = x;
    b->g->logits = y;
    if (y >= 0)
        b->g->vocab = b->g->values[y].shape.d[1].n;
    return y;
}

int b_slice(struct builder *b, int x, const char *point, int64_t offset, int64_t n, enum axis axis,
            const char *brief)
{
    return b_node(b, OP_SLICE, point, "",
                  (struct node){ .in = { x }, .p = { .offset = offset, .n = n, .axis = axis } },
                  brief);
}

int b_slice_heads(struct builder *b, int x, const char *name, int64_t offset, int64_t heads,
                  int64_t head_size, const char *brief)
{
    return b_node(b, OP_SLICE, name, ".out",
                  (struct node){ .in = { x },
                                 .p = { .offset = offset,
                                        .n = heads * head_size,
                                        .heads = heads,
                                        .head_size = head_size } },
                  brief);
}

static bool same_rope(const struct rope *a, const struct rope *b)
{
    return a->half_split == b->half_split && a->n_rot == b->n_rot && a->base == b->base
           && a->scale == b->scale && a->ext == b->ext && a->beta_fast == b->beta_fast
           && a->beta_slow == b->beta_slow && a->original_context == b->original_context
           && a->magnitude == b->magnitude && a->factors == b->factors;
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
    if (b->st)
        return -1;
    return b_node(b, OP_ROPE, name, ".rope",
                  (struct node){ .in = { x }, .p = { .rope = rope_index(b->g, r), .n = r->n_rot } },
                  "after rotary position embedding");
}

int b_attention(struct builder *b, int q, int k, int v, float scale, bool causal,
                const char *reader)
{
    if (b->st)
        return -1;
    const struct shape s = b->g->values[q].shape;
    if (s.rank != 3)
        return b_fail(b, "queries of block %d are not heads", b->block), -1;
    struct op_params p = {
        .scale = scale, .causal = causal, .heads = s.d[1].n, .head_size = s.d[2].n
    };
    b->g->causal = causal;
    int score = b_node(b, OP_SCORE, "attn", ".score", (struct node){ .in = { q, k }, .p = p },
                       causal
                           ? "scaled products of queries and keys; -inf where a token may not look"
                           : "scaled products of queries and keys");
    int prob = b_node(b, OP_SOFTMAX, "attn", ".prob", (struct node){ .in = { score }, .p = p },
                      "attention probabilities: each row sums to 1 over the keys");
    int z = b_node(b, OP_MIX, "attn", ".z", (struct node){ .in = { prob, v }, .p = p },
                   "per head: values weighted by the probabilities");
    b_alias(b, z, reader, "heads side by side: what the output projection reads");
    return z;
}

int b_activate(struct builder *b, int x, enum activation act, const char *point, const char *brief)
{
    return b_node(b, OP_ACT, point, "", (struct node){ .in = { x }, .p = { .act = act } }, brief);
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
    return b_node(b, OP_ADD, point, "", (struct node){ .in = { x, y } }, brief);
}

int b_mul(struct builder *b, int x, int y, const char *point, const char *brief)
{
    return b_node(b, OP_MUL, point, "", (struct node){ .in = { x, y } }, brief);
}

static int expert_linear(struct builder *b, int x, int route, const char *name, struct op_params p,
                         const char *brief)
{
    return b_node(
        b, OP_EXPERT_LINEAR, name, ".out",
        (struct node){ .in = { x, route }, .w = { b_weight(b, name, ".weight") }, .p = p }, brief);
}

int b_experts(struct builder *b, int x, int64_t experts, int64_t used, enum activation act)
{
    struct op_params p = { .n_experts = experts, .used_experts = used };
    int route = b_node(
        b, OP_ROUTE, "ffn_gate_inp", ".out",
        (struct node){ .in = { x }, .w = { b_weight(b, "ffn_gate_inp", ".weight") }, .p = p },
        "weight of each expert for each token, 0 for the unused");
    int gate = expert_linear(b, x, route, "ffn_gate_exps", p,
                             "gates of the used experts before the non-linearity");
    int up = expert_linear(b, x, route, "ffn_up_exps", p, "up projections of the used experts");
    int a = b_activate(b, gate, act, "ffn_act.gate", "the gates after their non-linearity");
    int y = b_mul(b, a, up, "ffn_act.out", "gated activations: what the down projections read");
    int down = expert_linear(b, y, route, "ffn_down_exps", p,
                             "down projections of the used experts");
    return b_node(b, OP_COMBINE, "ffn_moe", ".out", (struct node){ .in = { down, route }, .p = p },
                  "sum of the used experts, weighted by the router");
}

int b_conv1d(struct builder *b, int x, const char *name, const char *brief)
{
    return b_node(
        b, OP_CONV1D, name, ".out",
        (struct node){ .in = { x },
                       .w = { b_weight(b, name, ".weight"), b_optional(b, name, ".bias") } },
        brief);
}

int b_scan(struct builder *b, int x, int dt, int in, int out, const char *a, const char *d,
           const char *brief)
{
    return b_node(
        b, OP_SCAN, "ssm_scan", ".out",
        (struct node){ .in = { x, dt, in, out }, .w = { b_weight(b, a, ""), b_weight(b, d, "") } },
        brief);
}

int b_patches(struct builder *b, const char *name, const char *row, int64_t patch_size,
              int64_t patches, const char *brief)
{
    const struct weight *first = b_optional(b, row, "");
    return b_node(
        b, OP_PATCHES, name, ".out",
        (struct node){ .w = { b_weight(b, name, ".weight"), b_optional(b, name, ".bias"), first },
                       .p = { .n = patches + (first != NULL), .patch_size = patch_size } },
        brief);
}

int b_pool(struct builder *b, int x, enum pooling pooling, const char *point, const char *brief)
{
    return b_node(b, OP_POOL, point, "", (struct node){ .in = { x }, .p = { .pooling = pooling } },
                  brief);
}
