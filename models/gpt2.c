/* SPDX-License-Identifier: MIT */
/* GPT-2 (Radford et al. 2019): layer norm, learned positions, one fused projection for queries,
 * keys and values, biases everywhere, output tied to the embeddings. */
#include "models/common.h"
#include "models/registry.h"

static int attention(struct builder *b, const struct sizes *d, int x)
{
    const int64_t n = d->heads * d->head_size;
    int qkv = b_linear(b, x, "attn_qkv", "queries, keys and values side by side");
    int q = b_slice_heads(b, qkv, "attn_q", 0, d->heads, d->head_size, "queries");
    int k = b_slice_heads(b, qkv, "attn_k", n, d->heads, d->head_size, "keys");
    int v = b_slice_heads(b, qkv, "attn_v", 2 * n, d->heads, d->head_size, "values");
    int z = b_attention(b, q, k, v, score_scale(d), true, "attn_output.in");
    return b_linear(b, z, "attn_output", "what attention adds to the residual stream");
}

static int feed_forward(struct builder *b, int x)
{
    int up = b_linear(b, x, "ffn_up", "up projection");
    int act = b_activate(b, up, ACT_GELU_TANH, "ffn_act.out", "after the non-linearity");
    b_alias(b, act, "ffn_down.in", "the same as ffn_act.out");
    return b_linear(b, act, "ffn_down", "what the feed-forward layer adds to the residual stream");
}

void graph_gpt2(struct builder *b)
{
    struct sizes d = sizes_read(b);
    int x = b_embed(b, "token_embd", "embd.token", "embeddings of the tokens");
    x = b_position(b, x, "position_embd", "embd.out", "embeddings plus learned positions");
    for (int i = 0; i < d.blocks && !b->st; i++) {
        b_block(b, i, x);
        heads_read(b, &d, i);
        b_sub(b, "attn");
        int a = attention(b, &d, b_layer_norm(b, x, "attn_norm", d.eps));
        x = b_add(b, x, a, "mid", "residual stream between attention and feed-forward");
        b_sub(b, "ffn");
        int f = feed_forward(b, b_layer_norm(b, x, "ffn_norm", d.eps));
        x = b_add(b, x, f, "out", "residual stream that leaves the block");
        b_block_end(b, x);
    }
    b_head(b, b_layer_norm(b, x, "output_norm", d.eps), "output", "token_embd");
}
