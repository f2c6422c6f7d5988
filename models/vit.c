/* SPDX-License-Identifier: MIT */
/* Vision transformer (Dosovitskiy et al. 2020, arXiv 2010.11929), as files of CLIP-like models
 * carry it: an image cut into patches, a class row in front, an encoder with norms before its
 * sums. */
#include "models/common.h"
#include "models/registry.h"

static int attention(struct builder *b, const struct sizes *d, int x)
{
    int q = b_linear_heads(b, x, "attn_q", d->heads, d->head_size, "queries");
    int k = b_linear_heads(b, x, "attn_k", d->heads, d->head_size, "keys");
    int v = b_linear_heads(b, x, "attn_v", d->heads, d->head_size, "values");
    int z = b_attention(b, q, k, v, score_scale(d), false, "attn_out.in");
    return b_linear(b, z, "attn_out", "what attention adds to the residual stream");
}

static enum activation activation_of(struct builder *b)
{
    b_scope(b, "clip", "v.");
    bool gelu = b_bool_or(b, "use_gelu", false), silu = b_bool_or(b, "use_silu", false);
    b_scope(b, "clip.vision", "v.");
    return gelu ? ACT_GELU_TANH : silu ? ACT_SILU : ACT_GELU_QUICK;
}

static int feed_forward(struct builder *b, enum activation act, int x)
{
    int up = b_linear(b, x, "ffn_up", "up projection");
    int y = b_activate(b, up, act, "ffn_act.out", "after the non-linearity");
    b_alias(b, y, "ffn_down.in", "the same as ffn_act.out");
    return b_linear(b, y, "ffn_down", "what the feed-forward layer adds to the residual stream");
}

static int embeddings(struct builder *b, const struct sizes *d)
{
    const int64_t patch = b_int(b, "patch_size", 1, 4096),
                  side = b_int(b, "image_size", 1, 65536) / patch;
    int x = b_patches(b, "patch_embd", "class_embd", patch, side * side,
                      "projections of the patches, a class row in front");
    x = b_position(b, x, "position_embd", "embd.out", "patches plus learned positions");
    if (b_has(b, "pre_ln.weight"))
        x = b_layer_norm(b, x, "pre_ln", d->eps);
    return x;
}

void graph_vit(struct builder *b)
{
    const enum activation act = activation_of(b);
    struct sizes d = sizes_read(b);
    int x = embeddings(b, &d);
    for (int i = 0; i < d.blocks && !b->st; i++) {
        b_block(b, i, x);
        heads_read(b, &d, i);
        b_sub(b, "attn");
        int a = attention(b, &d, b_layer_norm(b, x, "ln1", d.eps));
        x = b_add(b, x, a, "mid", "residual stream between attention and feed-forward");
        b_sub(b, "ffn");
        x = b_add(b, x, feed_forward(b, act, b_layer_norm(b, x, "ln2", d.eps)), "out",
                  "residual stream that leaves the block");
        b_block_end(b, x);
    }
    if (b_has(b, "post_ln.weight"))
        x = b_layer_norm(b, x, "post_ln", d.eps);
    b_pool(b, x, POOLING_FIRST, "pool.out", "the class row: the image in one vector");
}
