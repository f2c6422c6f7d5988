/* SPDX-License-Identifier: MIT */
/* Decoders become graphs: names, axes and meanings of points, blocks, refusals of bad files. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "models/registry.h"
#include "tests/harness/graphs.h"

/* --- llama, and its mixture of experts ------------------------------------------------------- */

/* What a test may change; the rest is a llama model of two blocks. */
struct llama {
    const char *arch;
    int64_t blocks, width, heads, kv, ff, experts;
    double eps, base;
    const char *without, *instead; /* a tensor left out; one whose row length is one too long */
    uint64_t scales;               /* numbers beside a matrix; 0: none */
};

static struct llama plain_llama(void)
{
    return (struct llama){ "llama", 2, 8, 4, 2, 12, 0, 1e-5, 10000, "", "", 0 };
}

static void llama_tensor(struct build *b, const struct llama *l, int block, const char *name,
                         int64_t n0, int64_t n1, int64_t n2)
{
    if (!strcmp(name, l->without))
        return;
    n0 += !strcmp(name, l->instead);
    if (block < 0)
        graphs_tensor(b, name, (uint64_t)n0, (uint64_t)n1, (uint64_t)n2, 0);
    else
        graphs_block_tensor(b, "", block, name, (uint64_t)n0, (uint64_t)n1, (uint64_t)n2);
}

static void llama_keys(struct build *b, const struct llama *l)
{
    if (l->arch)
        build_string(b, "general.architecture", l->arch);
    graphs_u32(b, "llama.block_count", l->blocks);
    graphs_u32(b, "llama.embedding_length", 8);
    graphs_u32(b, "llama.feed_forward_length", l->ff);
    graphs_u32(b, "llama.attention.head_count", l->heads);
    graphs_u32(b, "llama.attention.head_count_kv", l->kv);
    graphs_u32(b, "llama.context_length", 32);
    if (l->experts) {
        graphs_u32(b, "llama.expert_count", l->experts);
        graphs_u32(b, "llama.expert_used_count", 2);
    }
    build_float(b, "llama.attention.layer_norm_rms_epsilon", GGUF_F32, l->eps);
    build_float(b, "llama.rope.freq_base", GGUF_F32, l->base);
}

static struct model *llama(const struct llama *l)
{
    struct build b = BUILD_INIT;
    llama_keys(&b, l);
    llama_tensor(&b, l, -1, "token_embd.weight", l->width, 10, 0);
    for (int i = 0; i < 2; i++) {
        llama_tensor(&b, l, i, "attn_norm.weight", 8, 0, 0);
        llama_tensor(&b, l, i, "attn_q.weight", 8, 8, 0);
        llama_tensor(&b, l, i, "attn_k.weight", 8, 4, 0);
        llama_tensor(&b, l, i, "attn_v.weight", 8, 4, 0);
        llama_tensor(&b, l, i, "attn_v.bias", 4, 0, 0);
        llama_tensor(&b, l, i, "attn_output.weight", 8, 8, 0);
        llama_tensor(&b, l, i, "ffn_norm.weight", 8, 0, 0);
        if (l->experts) {
            llama_tensor(&b, l, i, "ffn_gate_inp.weight", 8, 4, 0);
            llama_tensor(&b, l, i, "ffn_gate_exps.weight", 8, l->ff, 4);
            llama_tensor(&b, l, i, "ffn_up_exps.weight", 8, l->ff, 4);
            llama_tensor(&b, l, i, "ffn_down_exps.weight", l->ff, 8, 4);
        } else {
            llama_tensor(&b, l, i, "ffn_gate.weight", 8, l->ff, 0);
            llama_tensor(&b, l, i, "ffn_up.weight", 8, l->ff, 0);
            llama_tensor(&b, l, i, "ffn_down.weight", l->ff, 8, 0);
        }
    }
    if (l->scales)
        build_f32(&b, "blk.1.attn_q.scale", l->scales, 1, NULL);
    llama_tensor(&b, l, -1, "output_norm.weight", 8, 0, 0);
    return models_build(&b);
}

static void llama_is_described(void **state)
{
    (void)state;
    struct llama l = plain_llama();
    struct model *m = llama(&l);
    graphs_check(m, 2);
    assert_int_equal(m->graph->vocab, 10);
    assert_int_equal(m->graph->width, 8);
    assert_int_equal(m->graph->kv_heads, 2);
    assert_string_equal(m->graph->values[m->graph->hidden].name, "output_norm.out");
    graphs_assert_shape(m, "embd.out", "tok, chan 8");
    graphs_assert_shape(m, "blk.1.attn_q.out", "tok, head 4, chan 2");
    graphs_assert_shape(m, "blk.1.attn_k.rope", "tok, head 2, chan 2");
    graphs_assert_shape(m, "blk.0.attn.score", "head 4, tok, key");
    graphs_assert_shape(m, "blk.0.attn.prob", "head 4, tok, key");
    graphs_assert_shape(m, "blk.0.attn.z", "tok, head 4, chan 2");
    graphs_assert_shape(m, "blk.0.attn_output.in", "tok, chan 8");
    graphs_assert_shape(m, "blk.0.mid", "tok, chan 8");
    graphs_assert_shape(m, "blk.0.ffn_act.out", "tok, chan 12");
    graphs_assert_shape(m, "blk.0.ffn_down.in", "tok, chan 12");
    graphs_assert_shape(m, "blk.1.in", "tok, chan 8");
    graphs_assert_shape(m, "output.out", "tok, vocab 10");
    assert_int_equal(graph_point(m->graph, STR("blk.1.in"), NULL, NULL),
                     m->graph->blocks[0].output);
    assert_int_equal(graph_point(m->graph, STR("blk.2.out"), NULL, NULL), -1);
    assert_int_equal(graph_point(m->graph, STR("blk.0.attn_q"), NULL, NULL), -1);
    assert_int_equal(m->graph->n_ropes, 1);
    model_free(m);
}

static void mixtral(void **state)
{
    (void)state;
    struct llama l = plain_llama();
    l.experts = 4;
    struct model *m = llama(&l);
    graphs_check(m, 2);
    graphs_assert_shape(m, "blk.0.ffn_gate_inp.out", "tok, exp 4");
    graphs_assert_shape(m, "blk.0.ffn_up_exps.out", "tok, exp 2, chan 12");
    graphs_assert_shape(m, "blk.1.ffn_act.out", "tok, exp 2, chan 12");
    graphs_assert_shape(m, "blk.1.ffn_down_exps.out", "tok, exp 2, chan 8");
    graphs_assert_shape(m, "blk.1.ffn_moe.out", "tok, chan 8");
    graphs_assert_refused(m, "route", "blk.0.ffn_gate_inp.out");
    model_free(m);
}

/* --- refusals -------------------------------------------------------------------------------- */

static void assert_no_graph(struct llama l, enum st st, const char *fact)
{
    struct model *m = llama(&l);
    assert_null(m->graph);
    if (m->no_graph.st != st || !strstr(m->no_graph.msg, fact))
        fail_msg("%s: \"%s\" does not say \"%s\"", st_name(m->no_graph.st), m->no_graph.msg, fact);
    struct err e = ERR_INIT;
    const struct run_options o = { 0 };
    struct run *r = run_new(m, &o);
    const int32_t id = 0;
    assert_fails(run_input(r, &id, NULL, NULL, 1, &e), st, &e);
    assert_true(run_done(r));
    assert_int_equal(run_memory(r).state, 0);
    run_free(r);
    model_free(m);
}

#define REFUSED(change, st, fact) \
    do { \
        struct llama l = plain_llama(); \
        change; \
        assert_no_graph(l, (st), (fact)); \
    } while (0)

static void hyper_parameters_are_checked(void **state)
{
    (void)state;
    REFUSED(l.arch = "klingon", ST_UNSUPPORTED, "`klingon`");
    REFUSED(l.arch = NULL, ST_UNSUPPORTED, "general.architecture");
    REFUSED(l.arch = "qwen2", ST_FORMAT, "qwen2.block_count is missing");
    REFUSED(l.blocks = 0, ST_FORMAT, "llama.block_count is 0");
    REFUSED(l.blocks = 3, ST_FORMAT, "blk.2.attn_norm.weight is missing");
    REFUSED(l.blocks = 4294967295, ST_FORMAT, "llama.block_count");
    REFUSED(l.eps = NAN, ST_FORMAT, "layer_norm_rms_epsilon is nan");
    REFUSED(l.eps = -1, ST_FORMAT, "layer_norm_rms_epsilon is -1");
    REFUSED(l.base = NAN, ST_FORMAT, "rope.freq_base is nan");
    REFUSED(l.base = INFINITY, ST_FORMAT, "rope.freq_base is inf");
    REFUSED(l.heads = 0, ST_FORMAT, "head_count is 0");
    REFUSED(l.heads = 3, ST_FORMAT, "3 query heads are no multiple of 2");
    REFUSED(l.kv = 3, ST_FORMAT, "4 query heads are no multiple of 3");
    REFUSED((l.heads = 16, l.kv = 1), ST_FORMAT, "a width of 8 is no multiple of 16 heads");
}

static void scales_beside_a_matrix_are_one_for_each(void **state)
{
    (void)state;
    REFUSED(l.scales = 2, ST_UNSUPPORTED, "blk.1.attn_q.scale is not a float32 for each matrix");
    struct llama l = plain_llama();
    l.scales = 1;
    struct model *m = llama(&l);
    graphs_check(m, 2);
    model_free(m);
}

static void shapes_are_checked(void **state)
{
    (void)state;
    REFUSED(l.without = "token_embd.weight", ST_FORMAT, "token_embd.weight is missing");
    REFUSED(l.without = "attn_k.weight", ST_FORMAT, "blk.0.attn_k.weight is missing");
    REFUSED(l.without = "output_norm.weight", ST_FORMAT, "output_norm.weight is missing");
    REFUSED(l.width = 6, ST_FORMAT, "row length is 6, llama.embedding_length is 8");
    REFUSED(l.instead = "attn_norm.weight", ST_FORMAT,
            "blk.0.attn_norm.out: length of the gain or bias is 9");
    REFUSED(l.instead = "attn_q.weight", ST_FORMAT,
            "blk.0.attn_q.out: row length of the weight is 9, expected 8");
    REFUSED(l.instead = "attn_v.bias", ST_FORMAT,
            "blk.0.attn_v.out: length of the bias is 5, expected 4");
    REFUSED(l.instead = "ffn_down.weight", ST_FORMAT,
            "blk.0.ffn_down.out: row length of the weight is 13");
    REFUSED((l.heads = 2, l.kv = 2), ST_FORMAT,
            "blk.0.attn_k.out: rows of the weight is 4, expected 8");
    REFUSED(l.experts = 5, ST_FORMAT, "experts of the router is 4, expected 5");
    REFUSED((l.experts = 4, l.instead = "ffn_up_exps.weight"), ST_FORMAT,
            "row length of the experts is 9");
    REFUSED((l.experts = 4, l.without = "ffn_gate_exps.weight"), ST_FORMAT,
            "blk.0.ffn_gate_exps.weight is missing");
}

/* The registry: every architecture has a name and a line of its own. */
static void registry(void **state)
{
    (void)state;
    size_t n = 0;
    for (; architecture_at(n); n++) {
        graphs_check_brief(architecture_at(n)->name, architecture_at(n)->brief);
        for (size_t k = 0; k < n; k++)
            assert_string_not_equal(architecture_at(k)->name, architecture_at(n)->name);
    }
    assert_true(n >= 6);
}

UNIT_MAIN(CASE(llama_is_described), CASE(mixtral), CASE(hyper_parameters_are_checked),
          CASE(scales_beside_a_matrix_are_one_for_each), CASE(shapes_are_checked), CASE(registry))
