/* SPDX-License-Identifier: MIT */
/* Architectures other than decoders become graphs too: an encoder, a state-space model, a vision
 * tower. */
#include "tests/harness/unit.h"

#include <stdlib.h>
#include <string.h>

#include "tests/harness/graphs.h"

static void bert_block(struct build *b, int i)
{
    static const char *const square[] = { "attn_q", "attn_k", "attn_v", "attn_output" };
    static const char *const norms[] = { "attn_output_norm", "layer_output_norm" };
    char name[64];
    for (int k = 0; k < 4; k++) {
        snprintf(name, sizeof name, "%s.weight", square[k]);
        graphs_block_tensor(b, "", i, name, 8, 8, 0);
        snprintf(name, sizeof name, "%s.bias", square[k]);
        graphs_block_tensor(b, "", i, name, 8, 0, 0);
    }
    for (int k = 0; k < 2; k++) {
        snprintf(name, sizeof name, "%s.weight", norms[k]);
        graphs_block_tensor(b, "", i, name, 8, 0, 0);
        snprintf(name, sizeof name, "%s.bias", norms[k]);
        graphs_block_tensor(b, "", i, name, 8, 0, 0);
    }
    graphs_block_tensor(b, "", i, "ffn_up.weight", 8, 16, 0);
    graphs_block_tensor(b, "", i, "ffn_down.weight", 16, 8, 0);
}

static struct model *bert(void)
{
    struct build b = BUILD_INIT;
    build_string(&b, "general.architecture", "bert");
    graphs_u32(&b, "bert.block_count", 2);
    graphs_u32(&b, "bert.embedding_length", 8);
    graphs_u32(&b, "bert.attention.head_count", 2);
    build_float(&b, "bert.attention.layer_norm_epsilon", GGUF_F32, 1e-12);
    build_integer(&b, "bert.attention.causal", GGUF_BOOL, 0);
    graphs_tensor(&b, "token_embd.weight", 8, 20, 0, 0);
    graphs_tensor(&b, "token_types.weight", 8, 2, 0, 0);
    graphs_tensor(&b, "position_embd.weight", 8, 16, 0, 0);
    graphs_tensor(&b, "token_embd_norm.weight", 8, 0, 0, 0);
    graphs_tensor(&b, "token_embd_norm.bias", 8, 0, 0, 0);
    bert_block(&b, 0);
    bert_block(&b, 1);
    return models_build(&b);
}

/* An encoder: every token sees every other of its sequence, and a span setting cuts nothing. */
static void bert_runs(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct model *m = bert();
    graphs_check(m, 2);
    assert_false(m->graph->causal);
    assert_int_equal(m->graph->logits, -1);
    graphs_assert_shape(m, "embd.out", "tok, chan 8");
    graphs_assert_shape(m, "blk.0.mid", "tok, chan 8");
    graphs_assert_shape(m, "blk.1.out", "tok, chan 8");
    const int32_t ids[6] = { 3, 1, 4, 1, 5, 9 }, mixed[6] = { 3, 7, 1, 7, 4, 1 },
                  seq[6] = { 0, 1, 0, 1, 0, 0 };
    const int32_t alone[4] = { 3, 1, 4, 1 }, place[4] = { 0, 2, 4, 5 };
    const struct run_options o = { .span = 2 };
    struct run *r = models_run(m, &o, ids, 6);
    assert_int_equal(run_n_spans(r), 1);
    models_finish(r);
    struct tensor p = models_read(r, 0, "blk.0.attn.prob");
    for (int i = 0; i < 2 * 6 * 6; i++)
        assert_true(p.data[i] > 0);
    assert_fails(run_append(r, ids, 1, &e), ST_UNSUPPORTED, &e);
    assert_ok(run_input(r, mixed, seq, NULL, 6, &e), &e);
    models_finish(r);
    float *both = models_output(r, "blk.1.out", NULL);
    assert_ok(run_input(r, alone, NULL, NULL, 4, &e), &e);
    models_finish(r);
    struct tensor one = models_read(r, 0, "blk.1.out");
    for (int t = 0; t < 4; t++)
        assert_memory_equal(both + place[t] * 8, one.data + t * 8, 8 * sizeof(float));
    free(both);
    run_free(r);
    model_free(m);
}

static struct model *mamba(int64_t state_size)
{
    struct build b = BUILD_INIT;
    build_string(&b, "general.architecture", "mamba");
    graphs_u32(&b, "mamba.block_count", 2);
    graphs_u32(&b, "mamba.embedding_length", 8);
    graphs_u32(&b, "mamba.ssm.inner_size", 16);
    graphs_u32(&b, "mamba.ssm.state_size", state_size);
    graphs_u32(&b, "mamba.ssm.conv_kernel", 4);
    graphs_u32(&b, "mamba.ssm.time_step_rank", 2);
    graphs_tensor(&b, "token_embd.weight", 8, 20, 0, 0);
    for (int i = 0; i < 2; i++) {
        graphs_block_tensor(&b, "", i, "attn_norm.weight", 8, 0, 0);
        graphs_block_tensor(&b, "", i, "ssm_in.weight", 8, 32, 0);
        graphs_block_tensor(&b, "", i, "ssm_conv1d.weight", 4, 16, 0);
        graphs_block_tensor(&b, "", i, "ssm_conv1d.bias", 16, 0, 0);
        graphs_block_tensor(&b, "", i, "ssm_x.weight", 16, 8, 0);
        graphs_block_tensor(&b, "", i, "ssm_dt.weight", 2, 16, 0);
        graphs_block_tensor(&b, "", i, "ssm_dt.bias", 16, 0, 0);
        graphs_block_tensor(&b, "", i, "ssm_a", 3, 16, 0);
        graphs_block_tensor(&b, "", i, "ssm_d", 16, 0, 0);
        graphs_block_tensor(&b, "", i, "ssm_out.weight", 16, 8, 0);
    }
    graphs_tensor(&b, "output_norm.weight", 8, 0, 0, 0);
    return models_build(&b);
}

static void mamba_is_described(void **state)
{
    (void)state;
    struct model *m = mamba(3);
    graphs_check(m, 2);
    graphs_assert_shape(m, "blk.0.ssm_in.out", "tok, chan 32");
    graphs_assert_shape(m, "blk.0.ssm_in.gate", "tok, chan 16");
    graphs_assert_shape(m, "blk.0.ssm_conv1d.out", "tok, chan 16");
    graphs_assert_shape(m, "blk.1.ssm_x.in_map", "tok, state 3");
    graphs_assert_shape(m, "blk.1.ssm_x.out_map", "tok, state 3");
    graphs_assert_shape(m, "blk.1.ssm_dt.step", "tok, chan 16");
    graphs_assert_shape(m, "blk.1.ssm_scan.out", "tok, chan 16");
    graphs_assert_shape(m, "blk.1.out", "tok, chan 8");
    graphs_assert_shape(m, "output.out", "tok, vocab 20");
    assert_string_equal(m->graph->nodes[m->graph->blocks[0].first].sub, "ssm");
    graphs_assert_refused(m, "conv1d", "blk.0.ssm_conv1d.out");
    model_free(m);
    m = mamba(2);
    assert_null(m->graph);
    assert_non_null(strstr(m->no_graph.msg, "elements of the state is 2, expected 3"));
    model_free(m);
}

static void vit_block(struct build *b, int i)
{
    static const char *const square[] = { "attn_q.weight", "attn_k.weight", "attn_v.weight",
                                          "attn_out.weight" };
    for (int k = 0; k < 4; k++)
        graphs_block_tensor(b, "v.", i, square[k], 8, 8, 0);
    graphs_block_tensor(b, "v.", i, "ln1.weight", 8, 0, 0);
    graphs_block_tensor(b, "v.", i, "ln2.weight", 8, 0, 0);
    graphs_block_tensor(b, "v.", i, "ffn_up.weight", 8, 16, 0);
    graphs_block_tensor(b, "v.", i, "ffn_down.weight", 16, 8, 0);
}

static struct model *vit(int64_t positions)
{
    struct build b = BUILD_INIT;
    build_string(&b, "general.architecture", "clip");
    graphs_u32(&b, "clip.vision.block_count", 2);
    graphs_u32(&b, "clip.vision.embedding_length", 8);
    graphs_u32(&b, "clip.vision.attention.head_count", 2);
    graphs_u32(&b, "clip.vision.image_size", 28);
    graphs_u32(&b, "clip.vision.patch_size", 7);
    build_float(&b, "clip.vision.attention.layer_norm_epsilon", GGUF_F32, 1e-5);
    graphs_tensor(&b, "v.patch_embd.weight", 7, 7, 3, 8);
    graphs_tensor(&b, "v.class_embd", 8, 0, 0, 0);
    graphs_tensor(&b, "v.position_embd.weight", 8, (uint64_t)positions, 0, 0);
    graphs_tensor(&b, "v.pre_ln.weight", 8, 0, 0, 0);
    vit_block(&b, 0);
    vit_block(&b, 1);
    graphs_tensor(&b, "v.post_ln.weight", 8, 0, 0, 0);
    return models_build(&b);
}

static void vit_is_described(void **state)
{
    (void)state;
    struct model *m = vit(17);
    graphs_check(m, 2);
    assert_false(m->graph->causal);
    graphs_assert_shape(m, "v.patch_embd.out", "patch 17, chan 8");
    graphs_assert_shape(m, "v.blk.0.attn_q.out", "patch 17, head 2, chan 4");
    graphs_assert_shape(m, "v.blk.1.attn.prob", "head 2, patch 17, key");
    graphs_assert_shape(m, "v.blk.1.ffn_act.out", "patch 17, chan 16");
    graphs_assert_shape(m, "v.blk.1.out", "patch 17, chan 8");
    graphs_assert_shape(m, "v.pool.out", "chan 8");
    graphs_assert_refused(m, "patches", "v.patch_embd.out");
    model_free(m);
    m = vit(16);
    assert_null(m->graph);
    assert_non_null(strstr(m->no_graph.msg, "rows of the table is 16, expected 17"));
    model_free(m);
}

UNIT_MAIN(CASE(bert_runs), CASE(mamba_is_described), CASE(vit_is_described))
