/* SPDX-License-Identifier: MIT */
/* BERT (Devlin et al. 2018, arXiv 1810.04805): an encoder in which every token sees every other.
 * Learned positions and token types (type 0 for all), and norms behind the residual sums instead of
 * before. */
#include "models/common.h"
#include "models/registry.h"

static int attention(struct builder *b, const struct sizes *d, int x)
{
    int q = b_linear_heads(b, x, "attn_q", d->heads, d->head_size, "queries");
    int k = b_linear_heads(b, x, "attn_k", d->kv_heads, d->head_size, "keys");
    int v = b_linear_heads(b, x, "attn_v", d->kv_heads, d->value_size, "values");
    bool causal = b_bool_or(b, "attention.causal", false);
    int z = b_attention(b, q, k, v, score_scale(d), causal, "attn_output.in");
    return b_linear(b, z, "attn_output", "what attention adds to the residual stream");
}

static int feed_forward(struct builder *b, int x)
{
    int up = b_linear(b, x, "ffn_up", "up projection");
    int act = b_activate(b, up, ACT_GELU_ERF, "ffn_act.out", "after the non-linearity");
    b_alias(b, act, "ffn_down.in", "the same as ffn_act.out");
    return b_linear(b, act, "ffn_down", "what the feed-forward layer adds to the residual stream");
}

static int embeddings(struct builder *b, const struct sizes *d)
{
    int x = b_embed(b, "token_embd", "embd.token", "embeddings of the tokens");
    x = b_token_type(b, x, "token_types", "embd.type", "embeddings plus the row of token type 0");
    x = b_position(b, x, "position_embd", "embd.position", "embeddings plus learned positions");
    x = b_layer_norm(b, x, "token_embd_norm", d->eps);
    b_alias(b, x, "embd.out", "embeddings after their norm");
    return x;
}

void graph_bert(struct builder *b)
{
    struct sizes d = sizes_read(b);
    int x = embeddings(b, &d);
    for (int i = 0; i < d.blocks && !b->st; i++) {
        b_block(b, i, x);
        heads_read(b, &d, i);
        b_sub(b, "attn");
        x = b_add(b, x, attention(b, &d, x), "attn_output.sum",
                  "residual stream plus attention, before the norm");
        x = b_layer_norm(b, x, "attn_output_norm", d.eps);
        b_alias(b, x, "mid", "residual stream between attention and feed-forward");
        b_sub(b, "ffn");
        x = b_add(b, x, feed_forward(b, x), "ffn_down.sum",
                  "residual stream plus feed-forward, before the norm");
        x = b_layer_norm(b, x, "layer_output_norm", d.eps);
        b_alias(b, x, "out", "residual stream that leaves the block");
        b_block_end(b, x);
    }
}
