/* SPDX-License-Identifier: MIT */
/* Architectures become graphs: names, axes and meanings of points,
 * blocks, refusals of bad files. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "models/registry.h"
#include "tests/harness/models.h"

/* A tensor of any rank, values made up; ne[0] is the row length, 0 ends. */
static void tensor(struct build *b, const char *name, uint64_t n0, uint64_t n1, uint64_t n2,
                   uint64_t n3)
{
    const uint64_t ne[4] = { n0, n1, n2, n3 };
    int rank = 0;
    size_t n = 1;
    for (; rank < 4 && ne[rank]; rank++)
        n *= (size_t)ne[rank];
    float *v = x_alloc(n * sizeof *v);
    for (size_t i = 0; i < n; i++)
        v[i] = 0.02f * (float)((i * 7 + 3 * b->n_tensors) % 41) - 0.4f;
    build_tensor(b, name, 0, rank, ne, v, n * sizeof *v);
    free(v);
}

static void block_tensor(struct build *b, const char *prefix, int block, const char *name,
                         uint64_t n0, uint64_t n1, uint64_t n2)
{
    char full[96];
    snprintf(full, sizeof full, "%sblk.%d.%s", prefix, block, name);
    tensor(b, full, n0, n1, n2, 0);
}

static void u32(struct build *b, const char *key, int64_t v) { build_integer(b, key, GGUF_U32, v); }

/* --- what every graph must be ---------------------------------------------------------------- */

static void check_brief(const char *name, const char *brief)
{
    if (!brief || !*brief || strchr(brief, '\n') || strlen(brief) > 90)
        fail_msg("%s has no meaning in one line", name);
}

static void check_points(const struct graph *g)
{
    const int n = graph_n_points(g);
    assert_null(graph_point_name(g, n));
    for (int i = 0; i < n; i++) {
        const char *name = graph_point_name(g, i), *brief = NULL;
        const struct str s = str_from(name);
        struct shape shape;
        const int v = graph_point(g, s, &shape, &brief);
        assert_true(v >= 0);
        check_brief(name, brief);
        assert_false(str_ends(s, ".weight") || str_ends(s, ".bias"));
        const struct shape own = shape_resolve(g->values[v].shape, 3, 5),
                           seen = shape_resolve(shape, 3, 5);
        if (i < g->n_values || !g->aliases[i - g->n_values].derive)
            assert_int_equal(shape_count(&own), shape_count(&seen));
        for (int k = i + 1; k < n; k++)
            if (!strcmp(name, graph_point_name(g, k)))
                fail_msg("two points are called %s", name);
    }
}

static void check_blocks(const struct graph *g, int blocks)
{
    assert_int_equal(g->n_blocks, blocks);
    assert_int_equal(g->embedding, g->blocks[0].input);
    for (int i = 0; i < blocks; i++) {
        const struct block *b = &g->blocks[i];
        assert_true(b->first < b->end);
        assert_int_equal(g->values[b->output].node, b->end - 1);
        if (i) {
            assert_int_equal(b->first, g->blocks[i - 1].end);
            assert_int_equal(b->input, g->blocks[i - 1].output);
        }
    }
    for (int i = 0; i < g->n_nodes; i++) {
        const struct node *n = &g->nodes[i];
        assert_true(n->sub && *n->sub);
        for (int k = 0; k < n->n_in; k++)
            assert_true(g->values[n->in[k]].node < i);
        int block = -1;
        for (int k = 0; k < blocks; k++)
            if (i >= g->blocks[k].first && i < g->blocks[k].end)
                block = k;
        assert_int_equal(n->block, block);
    }
}

static void check_graph(const struct model *m, int blocks)
{
    if (!m->graph)
        fail_msg("no graph: %s", m->no_graph.msg);
    check_points(m->graph);
    check_blocks(m->graph, blocks);
}

static void assert_shape(const struct model *m, const char *point, const char *want)
{
    struct shape shape;
    struct buf text = { 0 };
    if (graph_point(m->graph, str_from(point), &shape, NULL) < 0)
        fail_msg("there is no point %s", point);
    shape_print(&shape, &text);
    assert_string_equal(buf_str(&text), want);
    buf_free(&text);
}

static void assert_refused(const struct model *m, const char *op, const char *point)
{
    struct err e = ERR_INIT;
    const struct run_options o = { 0 };
    struct run *r = run_new(m, &o);
    const int32_t id = 0;
    assert_fails(run_input(r, &id, NULL, NULL, 1, &e), ST_UNSUPPORTED, &e);
    assert_non_null(strstr(e.msg, op));
    assert_non_null(strstr(e.msg, point));
    run_free(r);
}

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
        tensor(b, name, (uint64_t)n0, (uint64_t)n1, (uint64_t)n2, 0);
    else
        block_tensor(b, "", block, name, (uint64_t)n0, (uint64_t)n1, (uint64_t)n2);
}

static void llama_keys(struct build *b, const struct llama *l)
{
    if (l->arch)
        build_string(b, "general.architecture", l->arch);
    u32(b, "llama.block_count", l->blocks);
    u32(b, "llama.embedding_length", 8);
    u32(b, "llama.feed_forward_length", l->ff);
    u32(b, "llama.attention.head_count", l->heads);
    u32(b, "llama.attention.head_count_kv", l->kv);
    u32(b, "llama.context_length", 32);
    if (l->experts) {
        u32(b, "llama.expert_count", l->experts);
        u32(b, "llama.expert_used_count", 2);
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
    check_graph(m, 2);
    assert_int_equal(m->graph->vocab, 10);
    assert_int_equal(m->graph->width, 8);
    assert_int_equal(m->graph->kv_heads, 2);
    assert_string_equal(m->graph->values[m->graph->hidden].name, "output_norm.out");
    assert_shape(m, "embd.out", "tok, chan 8");
    assert_shape(m, "blk.1.attn_q.out", "tok, head 4, chan 2");
    assert_shape(m, "blk.1.attn_k.rope", "tok, head 2, chan 2");
    assert_shape(m, "blk.0.attn.score", "head 4, tok, key");
    assert_shape(m, "blk.0.attn.prob", "head 4, tok, key");
    assert_shape(m, "blk.0.attn.z", "tok, head 4, chan 2");
    assert_shape(m, "blk.0.attn_output.in", "tok, chan 8");
    assert_shape(m, "blk.0.mid", "tok, chan 8");
    assert_shape(m, "blk.0.ffn_act.out", "tok, chan 12");
    assert_shape(m, "blk.0.ffn_down.in", "tok, chan 12");
    assert_shape(m, "blk.1.in", "tok, chan 8");
    assert_shape(m, "output.out", "tok, vocab 10");
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
    check_graph(m, 2);
    assert_shape(m, "blk.0.ffn_gate_inp.out", "tok, exp 4");
    assert_shape(m, "blk.0.ffn_up_exps.out", "tok, exp 2, chan 12");
    assert_shape(m, "blk.1.ffn_act.out", "tok, exp 2, chan 12");
    assert_shape(m, "blk.1.ffn_down_exps.out", "tok, exp 2, chan 8");
    assert_shape(m, "blk.1.ffn_moe.out", "tok, chan 8");
    assert_refused(m, "route", "blk.0.ffn_gate_inp.out");
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

#define REFUSED(change, st, fact)        \
    do {                                 \
        struct llama l = plain_llama();  \
        change;                          \
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
    check_graph(m, 2);
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

/* --- others ---------------------------------------------------------------------------------- */

static void bert_block(struct build *b, int i)
{
    static const char *const square[] = { "attn_q", "attn_k", "attn_v", "attn_output" };
    static const char *const norms[] = { "attn_output_norm", "layer_output_norm" };
    char name[64];
    for (int k = 0; k < 4; k++) {
        snprintf(name, sizeof name, "%s.weight", square[k]);
        block_tensor(b, "", i, name, 8, 8, 0);
        snprintf(name, sizeof name, "%s.bias", square[k]);
        block_tensor(b, "", i, name, 8, 0, 0);
    }
    for (int k = 0; k < 2; k++) {
        snprintf(name, sizeof name, "%s.weight", norms[k]);
        block_tensor(b, "", i, name, 8, 0, 0);
        snprintf(name, sizeof name, "%s.bias", norms[k]);
        block_tensor(b, "", i, name, 8, 0, 0);
    }
    block_tensor(b, "", i, "ffn_up.weight", 8, 16, 0);
    block_tensor(b, "", i, "ffn_down.weight", 16, 8, 0);
}

static struct model *bert(void)
{
    struct build b = BUILD_INIT;
    build_string(&b, "general.architecture", "bert");
    u32(&b, "bert.block_count", 2);
    u32(&b, "bert.embedding_length", 8);
    u32(&b, "bert.attention.head_count", 2);
    build_float(&b, "bert.attention.layer_norm_epsilon", GGUF_F32, 1e-12);
    build_integer(&b, "bert.attention.causal", GGUF_BOOL, 0);
    tensor(&b, "token_embd.weight", 8, 20, 0, 0);
    tensor(&b, "token_types.weight", 8, 2, 0, 0);
    tensor(&b, "position_embd.weight", 8, 16, 0, 0);
    tensor(&b, "token_embd_norm.weight", 8, 0, 0, 0);
    tensor(&b, "token_embd_norm.bias", 8, 0, 0, 0);
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
    check_graph(m, 2);
    assert_false(m->graph->causal);
    assert_int_equal(m->graph->logits, -1);
    assert_shape(m, "embd.out", "tok, chan 8");
    assert_shape(m, "blk.0.mid", "tok, chan 8");
    assert_shape(m, "blk.1.out", "tok, chan 8");
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
    u32(&b, "mamba.block_count", 2);
    u32(&b, "mamba.embedding_length", 8);
    u32(&b, "mamba.ssm.inner_size", 16);
    u32(&b, "mamba.ssm.state_size", state_size);
    u32(&b, "mamba.ssm.conv_kernel", 4);
    u32(&b, "mamba.ssm.time_step_rank", 2);
    tensor(&b, "token_embd.weight", 8, 20, 0, 0);
    for (int i = 0; i < 2; i++) {
        block_tensor(&b, "", i, "attn_norm.weight", 8, 0, 0);
        block_tensor(&b, "", i, "ssm_in.weight", 8, 32, 0);
        block_tensor(&b, "", i, "ssm_conv1d.weight", 4, 16, 0);
        block_tensor(&b, "", i, "ssm_conv1d.bias", 16, 0, 0);
        block_tensor(&b, "", i, "ssm_x.weight", 16, 8, 0);
        block_tensor(&b, "", i, "ssm_dt.weight", 2, 16, 0);
        block_tensor(&b, "", i, "ssm_dt.bias", 16, 0, 0);
        block_tensor(&b, "", i, "ssm_a", 3, 16, 0);
        block_tensor(&b, "", i, "ssm_d", 16, 0, 0);
        block_tensor(&b, "", i, "ssm_out.weight", 16, 8, 0);
    }
    tensor(&b, "output_norm.weight", 8, 0, 0, 0);
    return models_build(&b);
}

static void mamba_is_described(void **state)
{
    (void)state;
    struct model *m = mamba(3);
    check_graph(m, 2);
    assert_shape(m, "blk.0.ssm_in.out", "tok, chan 32");
    assert_shape(m, "blk.0.ssm_in.gate", "tok, chan 16");
    assert_shape(m, "blk.0.ssm_conv1d.out", "tok, chan 16");
    assert_shape(m, "blk.1.ssm_x.in_map", "tok, state 3");
    assert_shape(m, "blk.1.ssm_x.out_map", "tok, state 3");
    assert_shape(m, "blk.1.ssm_dt.step", "tok, chan 16");
    assert_shape(m, "blk.1.ssm_scan.out", "tok, chan 16");
    assert_shape(m, "blk.1.out", "tok, chan 8");
    assert_shape(m, "output.out", "tok, vocab 20");
    assert_string_equal(m->graph->nodes[m->graph->blocks[0].first].sub, "ssm");
    assert_refused(m, "conv1d", "blk.0.ssm_conv1d.out");
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
        block_tensor(b, "v.", i, square[k], 8, 8, 0);
    block_tensor(b, "v.", i, "ln1.weight", 8, 0, 0);
    block_tensor(b, "v.", i, "ln2.weight", 8, 0, 0);
    block_tensor(b, "v.", i, "ffn_up.weight", 8, 16, 0);
    block_tensor(b, "v.", i, "ffn_down.weight", 16, 8, 0);
}

static struct model *vit(int64_t positions)
{
    struct build b = BUILD_INIT;
    build_string(&b, "general.architecture", "clip");
    u32(&b, "clip.vision.block_count", 2);
    u32(&b, "clip.vision.embedding_length", 8);
    u32(&b, "clip.vision.attention.head_count", 2);
    u32(&b, "clip.vision.image_size", 28);
    u32(&b, "clip.vision.patch_size", 7);
    build_float(&b, "clip.vision.attention.layer_norm_epsilon", GGUF_F32, 1e-5);
    tensor(&b, "v.patch_embd.weight", 7, 7, 3, 8);
    tensor(&b, "v.class_embd", 8, 0, 0, 0);
    tensor(&b, "v.position_embd.weight", 8, (uint64_t)positions, 0, 0);
    tensor(&b, "v.pre_ln.weight", 8, 0, 0, 0);
    vit_block(&b, 0);
    vit_block(&b, 1);
    tensor(&b, "v.post_ln.weight", 8, 0, 0, 0);
    return models_build(&b);
}

static void vit_is_described(void **state)
{
    (void)state;
    struct model *m = vit(17);
    check_graph(m, 2);
    assert_false(m->graph->causal);
    assert_shape(m, "v.patch_embd.out", "patch 17, chan 8");
    assert_shape(m, "v.blk.0.attn_q.out", "patch 17, head 2, chan 4");
    assert_shape(m, "v.blk.1.attn.prob", "head 2, patch 17, key");
    assert_shape(m, "v.blk.1.ffn_act.out", "patch 17, chan 16");
    assert_shape(m, "v.blk.1.out", "patch 17, chan 8");
    assert_shape(m, "v.pool.out", "chan 8");
    assert_refused(m, "patches", "v.patch_embd.out");
    model_free(m);
    m = vit(16);
    assert_null(m->graph);
    assert_non_null(strstr(m->no_graph.msg, "rows of the table is 16, expected 17"));
    model_free(m);
}

/* The registry: every architecture has a name and a line of its own. */
static void registry(void **state)
{
    (void)state;
    size_t n = 0;
    for (; architecture_at(n); n++) {
        check_brief(architecture_at(n)->name, architecture_at(n)->brief);
        for (size_t k = 0; k < n; k++)
            assert_string_not_equal(architecture_at(k)->name, architecture_at(n)->name);
    }
    assert_true(n >= 6);
}

UNIT_MAIN(CASE(llama_is_described), CASE(mixtral), CASE(hyper_parameters_are_checked),
          CASE(scales_beside_a_matrix_are_one_for_each), CASE(shapes_are_checked),
          CASE(bert_runs), CASE(mamba_is_described), CASE(vit_is_described), CASE(registry))
