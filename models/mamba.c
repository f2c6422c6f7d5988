/* SPDX-License-Identifier: MIT */
/* Mamba (Gu and Dao 2023, arXiv 2312.00752): no attention; each block convolves its input over the
 * last tokens and sends it through a state-space recurrence whose steps and maps depend on the
 * input. */
#include "models/common.h"
#include "models/registry.h"

struct ssm {
    int64_t inner; /* channels of the recurrence */
    int64_t state; /* elements of state per channel */
    int64_t rank;  /* of dt */
};

static struct ssm ssm_read(struct builder *b)
{
    const int64_t most = 1 << 24;
    struct ssm s = { b_int(b, "ssm.inner_size", 1, most), b_int(b, "ssm.state_size", 1, most),
                     b_int(b, "ssm.time_step_rank", 1, most) };
    if (b_bool_or(b, "ssm.dt_b_c_rms", false))
        b_fail(b, "norms on the steps and maps (%s.ssm.dt_b_c_rms) are not known here", b->keys);
    return s;
}

/* The steps and both maps of the recurrence come from one projection of its input. */
static int recurrence(struct builder *b, const struct ssm *s, int x)
{
    int all = b_linear(b, x, "ssm_x", "steps, input map and output map side by side");
    int dt = b_slice(b, all, "ssm_x.step", 0, s->rank, AXIS_CHAN, "steps before their projection");
    int in = b_slice(b, all, "ssm_x.in_map", s->rank, s->state, AXIS_STATE,
                     "how the input enters the state (B)");
    int out = b_slice(b, all, "ssm_x.out_map", s->rank + s->state, s->state, AXIS_STATE,
                      "how the state is read (C)");
    dt = b_linear(b, dt, "ssm_dt", "steps of each channel before the softplus");
    dt = b_activate(b, dt, ACT_SOFTPLUS, "ssm_dt.step", "steps of each channel, positive");
    return b_scan(b, x, dt, in, out, "ssm_a", "ssm_d", "what the recurrence gives");
}

static int mixer(struct builder *b, const struct ssm *s, int x)
{
    int both = b_linear(b, x, "ssm_in", "input of the recurrence and its gate side by side");
    x = b_slice(b, both, "ssm_in.x", 0, s->inner, AXIS_CHAN, "input of the recurrence");
    int gate = b_slice(b, both, "ssm_in.gate", s->inner, s->inner, AXIS_CHAN,
                       "gate before its non-linearity");
    x = b_conv1d(b, x, "ssm_conv1d", "convolved over the last tokens, per channel");
    x = b_activate(b, x, ACT_SILU, "ssm_conv1d.act", "after the non-linearity");
    int y = recurrence(b, s, x);
    gate = b_activate(b, gate, ACT_SILU, "ssm_gate.out", "the gate after its non-linearity");
    y = b_mul(b, y, gate, "ssm_out.in", "gated: what the output projection reads");
    return b_linear(b, y, "ssm_out", "what the block adds to the residual stream");
}

void graph_mamba(struct builder *b)
{
    struct sizes d = sizes_read(b);
    struct ssm s = ssm_read(b);
    int x = b_embed(b, "token_embd", "embd.out", "embeddings of the tokens");
    for (int i = 0; i < d.blocks && !b->st; i++) {
        b_block(b, i, x);
        b_sub(b, "ssm");
        int y = mixer(b, &s, b_rms_norm(b, x, "attn_norm", d.eps));
        x = b_add(b, x, y, "out", "residual stream that leaves the block");
        b_block_end(b, x);
    }
    b_head(b, b_rms_norm(b, x, "output_norm", d.eps), "output", "token_embd");
}
