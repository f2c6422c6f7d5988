/* SPDX-License-Identifier: MIT */
/* Llama and its kin (Touvron et al. 2023, arXiv 2302.13971): pre-norm decoder with grouped-query
 * attention, rotary positions and a gated feed-forward layer, which may be a mixture of experts. */
#include "models/common.h"
#include "models/registry.h"

static int attention(struct builder *b, const struct sizes *d, const struct rope *rope, int x)
{
    int q = b_linear_heads(b, x, "attn_q", d->heads, d->head_size, "queries");
    int k = b_linear_heads(b, x, "attn_k", d->kv_heads, d->head_size, "keys");
    int v = b_linear_heads(b, x, "attn_v", d->kv_heads, d->value_size, "values");
    q = b_rope(b, q, "attn_q", rope);
    k = b_rope(b, k, "attn_k", rope);
    int z = b_attention(b, q, k, v, score_scale(d), true, "attn_output.in");
    return b_linear(b, z, "attn_output", "what attention adds to the residual stream");
}

static int feed_forward(struct builder *b, int x)
{
    const int64_t experts = b_int_or(b, "expert_count", 0, 65536, 0);
    if (experts)
        return b_experts(b, x, experts, b_int(b, "expert_used_count", 1, experts), ACT_SILU);
    int gate = b_linear(b, x, "ffn_gate", "gate before its non-linearity");
    int up = b_linear(b, x, "ffn_up", "up projection");
    int act = b_glu(b, gate, up, ACT_SILU);
    return b_linear(b, act, "ffn_down", "what the feed-forward layer adds to the residual stream");
}

static void build(struct builder *b, bool half_split)
{
    struct sizes d = sizes_read(b);
    heads_read(b, &d, 0);
    struct rope rope = rope_read(b, &d, half_split);
    int x = b_embed(b, "token_embd", "embd.out", "embeddings of the tokens");
    for (int i = 0; i < d.blocks && !b->st; i++) {
        b_block(b, i, x);
        heads_read(b, &d, i);
        b_sub(b, "attn");
        int a = attention(b, &d, &rope, b_rms_norm(b, x, "attn_norm", d.eps));
        x = b_add(b, x, a, "mid", "residual stream between attention and feed-forward");
        b_sub(b, "ffn");
        int f = feed_forward(b, b_rms_norm(b, x, "ffn_norm", d.eps));
        x = b_add(b, x, f, "out", "residual stream that leaves the block");
        b_block_end(b, x);
    }
    b_head(b, b_rms_norm(b, x, "output_norm", d.eps), "output", "token_embd");
}

void graph_llama(struct builder *b) { build(b, false); }
void graph_qwen2(struct builder *b) { build(b, true); }
