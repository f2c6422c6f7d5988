/* SPDX-License-Identifier: MIT */
/* Every op that can be computed agrees with its definition in double, within a stated bound. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/run.h"
#include "graph/graph.h"
#include "graph/op.h"
#include "tests/harness/models.h"

enum { TOKENS = 5, PAST = 3, HEADS = 4, KV = 2, SIZE = 6, WIDTH = HEADS * SIZE };

static uint64_t seed = 1;

/* In -1..1, some of them large. */
static float draw(void)
{
    const double x = (double)(int64_t)(unit_random(&seed) >> 11) / 4503599627370496.0 - 1;
    return (float)(unit_random(&seed) % 16 ? x : x * 100);
}

static float *draws(int64_t n)
{
    float *x = x_alloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = draw();
    return x;
}

/* --- one call of an op --------------------------------------------------------------------------
 */

/* Two sequences, tokens 0 2 3 of one and 1 4 of the other, behind three tokens of the first. */
static const int32_t ids[TOKENS] = { 3, 0, 6, 6, 1 }, seq[TOKENS] = { 0, 1, 0, 0, 1 };
static const int32_t pos[TOKENS] = { 3, 0, 4, 5, 1 };
static const int32_t rows_0[] = { 0, 1, 2, 3, 5, 6 }, rows_1[] = { 4, 7 };
static const int32_t *const keys[TOKENS] = { rows_0, rows_1, rows_0, rows_0, rows_1 };
static const int32_t visible[TOKENS] = { 4, 1, 5, 6, 2 };
static const struct batch batch = { TOKENS, PAST, ids, seq, pos, keys, visible, 6 };

struct call {
    struct node node;
    struct weight weights[2];
    struct tensor in[2], out;
    struct rope rope;
    struct op_call c;
};

static struct shape tokens_by(int64_t n)
{
    return shape2(dim(AXIS_TOK, DIM_TOKENS), dim(AXIS_CHAN, n));
}

static struct shape tokens_by_heads(int64_t heads)
{
    return shape3(dim(AXIS_TOK, DIM_TOKENS), dim(AXIS_HEAD, heads), dim(AXIS_CHAN, SIZE));
}

static struct shape heads_by_keys(void)
{
    return shape3(dim(AXIS_HEAD, HEADS), dim(AXIS_TOK, DIM_TOKENS), dim(AXIS_KEY, DIM_KEYS));
}

static void call_begin(struct call *k, enum op op, struct op_params p)
{
    *k = (struct call){ .node = { .op = op, .name = (char *)op_info(op)->name, .p = p } };
    k->node.n_in = op_info(op)->inputs;
    k->c = (struct op_call){ .node = &k->node, .batch = &batch, .out = &k->out };
}

static void call_input(struct call *k, int i, struct shape s)
{
    k->in[i].shape = shape_resolve(s, TOKENS, batch.max_keys);
    k->in[i].data = draws(shape_count(&k->in[i].shape));
    k->c.in[i] = &k->in[i];
}

/* Weight slot i: [rows][cols] floats, as a matrix and as a vector. */
static void call_weight(struct call *k, int i, int64_t rows, int64_t cols)
{
    float *v = draws(rows * cols);
    k->weights[i] = (struct weight){ .rank = 2,
                                     .ne = { (uint64_t)cols, (uint64_t)rows, 1, 1 },
                                     .data = (void *)v,
                                     .rows = (uint64_t)rows,
                                     .cols = (uint64_t)cols,
                                     .row_bytes = (size_t)cols * 4,
                                     .format = format_by_name("f32") };
    k->node.w[i] = &k->weights[i];
    k->c.w[i] = (struct matrix){ k->weights[i].format, v, (size_t)cols * 4, rows, cols, NULL };
    k->c.v[i] = k->node.v[i] = v;
}

static void call_state(struct call *k)
{
    const int64_t rows = PAST + TOKENS;
    k->c.state = draws(rows * shape_per_token(&k->in[1].shape));
}

/* Shape, forward and reference; the caller frees *want. */
static void call_run(struct call *k, double **want)
{
    struct err e = ERR_INIT;
    const struct op_info *op = op_info(k->node.op);
    const struct shape in[2] = { k->in[0].shape, k->in[1].shape };
    struct shape out;
    assert_ok(op->shape(&k->node, in, &out, &e), &e);
    k->out.shape = shape_resolve(out, TOKENS, batch.max_keys);
    const int64_t n = shape_count(&k->out.shape);
    k->out.data = draws(n);
    *want = x_alloc((size_t)n * sizeof **want);
    op->forward(&k->c);
    op->reference(&k->c, *want);
}

static void call_end(struct call *k)
{
    for (int i = 0; i < 2; i++) {
        free(k->in[i].data);
        free((void *)k->weights[i].data);
    }
    free(k->c.state);
    free(k->out.data);
}

/* abs(got - want) <= absolute + relative * abs(want), entry by entry. */
static void finish(struct call *k, double absolute, double relative)
{
    double *want;
    call_run(k, &want);
    for (int64_t i = 0; i < shape_count(&k->out.shape); i++) {
        const double got = k->out.data[i], bound = absolute + relative * fabs(want[i]);
        if (!(got == want[i] || fabs(got - want[i]) <= bound))
            fail_msg("%s entry %d is %.9g, expected %.9g", k->node.name, (int)i, got, want[i]);
    }
    free(want);
    call_end(k);
}

#define ULP 0x1p-23

/* --- ops ----------------------------------------------------------------------------------------
 */

static void tables(void **state)
{
    (void)state;
    struct call k;
    call_begin(&k, OP_EMBED, (struct op_params){ 0 });
    call_weight(&k, 0, 7, WIDTH);
    finish(&k, 0, 0);
    call_begin(&k, OP_POSITION, (struct op_params){ .offset = 2 });
    call_input(&k, 0, tokens_by(WIDTH));
    call_weight(&k, 0, 8, WIDTH);
    finish(&k, 0, ULP);
    call_begin(&k, OP_TYPE, (struct op_params){ 0 });
    call_input(&k, 0, tokens_by(WIDTH));
    call_weight(&k, 0, 2, WIDTH);
    finish(&k, 0, ULP);
}

static void norms(void **state)
{
    (void)state;
    struct call k;
    for (int bias = 0; bias < 2; bias++) {
        call_begin(&k, bias ? OP_LAYER_NORM : OP_RMS_NORM, (struct op_params){ .eps = 1e-5f });
        call_input(&k, 0, tokens_by(WIDTH));
        call_weight(&k, 0, 1, WIDTH);
        if (bias)
            call_weight(&k, 1, 1, WIDTH);
        finish(&k, bias ? 100 * ULP : 0, 4 * ULP); /* a bias of up to 100 may cancel */
    }
}

static void elements(void **state)
{
    (void)state;
    static const enum op ops[] = { OP_ADD, OP_MUL, OP_SCALE };
    struct call k;
    for (int i = 0; i < 3; i++) {
        call_begin(&k, ops[i], (struct op_params){ .scale = 0.3f });
        for (int n = 0; n < op_info(ops[i])->inputs; n++)
            call_input(&k, n, tokens_by(WIDTH));
        finish(&k, 0, ULP);
    }
    for (int a = 0; a < ACT__COUNT; a++) {
        call_begin(&k, OP_ACT, (struct op_params){ .act = (enum activation)a });
        call_input(&k, 0, tokens_by(300));
        finish(&k, 4 * ULP, 8 * ULP);
    }
}

static void slices_and_turns(void **state)
{
    (void)state;
    struct call k;
    call_begin(&k, OP_SLICE,
               (struct op_params){ .offset = 5, .n = 12, .heads = 2, .head_size = 6 });
    call_input(&k, 0, tokens_by(WIDTH));
    finish(&k, 0, 0);
    for (int half = 0; half < 2; half++)
        for (int n = 2; n <= SIZE; n += 2) {
            call_begin(&k, OP_ROPE, (struct op_params){ .n = n });
            call_input(&k, 0, tokens_by_heads(HEADS));
            k.rope = (struct rope){
                .half_split = half, .n_rot = n, .base = 100, .scale = 1, .magnitude = 1
            };
            float angles[TOKENS * SIZE];
            for (int t = 0; t < TOKENS; t++)
                rope_angles(&k.rope, pos[t], angles + t * n, angles + t * n + n / 2);
            k.c.rope = &k.rope;
            k.c.angles = angles;
            finish(&k, 100 * ULP, 2 * ULP);
        }
}

/* The angles themselves, against the definition: pair i turns by position * base^(-2i/n). */
static void angles_are_right(void **state)
{
    (void)state;
    static const float factors[] = { 1, 2, 4, 8 };
    const struct rope r = {
        .n_rot = 8, .base = 10000, .scale = 0.25, .magnitude = 1.5, .factors = factors
    };
    float c[4], s[4];
    for (int p = 0; p < 100000; p += 997) {
        rope_angles(&r, p, c, s);
        for (int i = 0; i < 4; i++) {
            const double angle = p * pow(10000, -i / 4.0) / factors[i] / 4;
            assert_true(fabs(c[i] - 1.5 * cos(angle)) < 2 * ULP
                        && fabs(s[i] - 1.5 * sin(angle)) < 2 * ULP);
        }
    }
}

static struct op_params attention_params(void)
{
    return (struct op_params){ .heads = HEADS, .head_size = SIZE, .scale = 0.4f, .causal = true };
}

/* Keys of 6 numbers up to 100: sums of products below 6e4, so 2^-20 of it. */
static void scores(void **state)
{
    (void)state;
    struct call k;
    call_begin(&k, OP_SCORE, attention_params());
    call_input(&k, 0, tokens_by_heads(HEADS));
    call_input(&k, 1, tokens_by_heads(KV));
    call_state(&k);
    finish(&k, 6e4 * 0.4 * 0x1p-20, 0);
}

static void probabilities(void **state)
{
    (void)state;
    for (int small = 0; small < 2; small++) {
        struct call k;
        call_begin(&k, OP_SOFTMAX, attention_params());
        call_input(&k, 0, heads_by_keys());
        for (int64_t i = 0; small && i < shape_count(&k.in[0].shape); i++)
            k.in[0].data[i] *= 0.04f;
        /* differences of up to 200, or 8, are rounded first */
        finish(&k, 0x1p-149, (small ? 8 : 200) * 0x1p-24 + 4 * ULP);
    }
}

static void mixtures(void **state)
{
    (void)state;
    struct call k;
    call_begin(&k, OP_MIX, attention_params());
    call_input(&k, 0, heads_by_keys());
    call_input(&k, 1, tokens_by_heads(KV));
    call_state(&k);
    finish(&k, 1e4 * ULP, ULP); /* terms of up to 1e4 may cancel */
}

/* Fused attention gives the bits of its three ops. */
static void fused_attention(void **state)
{
    (void)state;
    struct call score, soft, mix;
    double *want;
    call_begin(&score, OP_SCORE, attention_params());
    call_input(&score, 0, tokens_by_heads(HEADS));
    call_input(&score, 1, tokens_by_heads(KV));
    call_state(&score);
    call_run(&score, &want);
    free(want);
    call_begin(&soft, OP_SOFTMAX, attention_params());
    soft.in[0] = (struct tensor){ score.out.shape, score.out.data };
    soft.c.in[0] = &soft.in[0];
    call_run(&soft, &want);
    free(want);
    call_begin(&mix, OP_MIX, attention_params());
    mix.in[0] = (struct tensor){ soft.out.shape, soft.out.data };
    mix.c.in[0] = &mix.in[0];
    call_input(&mix, 1, tokens_by_heads(KV));
    call_state(&mix);
    call_run(&mix, &want);
    free(want);
    const size_t bytes = (size_t)shape_count(&mix.out.shape) * sizeof(float);
    float *split = mix.out.data;
    mix.out.data = draws((int64_t)(bytes / sizeof(float)));
    op_attention(&mix.c, &score.c);
    assert_memory_equal(split, mix.out.data, bytes);
    free(split);
    soft.in[0].data = mix.in[0].data = NULL; /* outputs of the ops before */
    call_end(&score);
    call_end(&soft);
    call_end(&mix);
}

static void softmax_edges(void **state)
{
    (void)state;
    float x[20], p[20];
    for (int bad = 0; bad < 4; bad++)
        for (int at = 0; at < 17; at += 4) {
            for (int i = 0; i < 20; i++)
                x[i] = bad == 3 ? -INFINITY : (float)i;
            x[at] = bad == 0 ? NAN : bad == 1 ? INFINITY : -INFINITY;
            row_softmax(x, 17, 20, p);
            for (int i = 0; i < 20; i++)
                if (i >= 17)
                    assert_true(p[i] == 0);
                else if (bad == 2)
                    assert_true(i == at ? p[i] == 0 : p[i] > 0);
                else if (bad != 1 || i == at)
                    assert_true(isnan(p[i]));
        }
    for (int i = 0; i < 20; i++) /* no overflow, no loss far down */
        x[i] = i == 3 ? 3e38f : i == 4 ? -3e38f : 2.9e38f;
    row_softmax(x, 20, 20, p);
    assert_true(p[3] == 1 && p[4] == 0 && p[5] == 0);
}

static void linear(void **state)
{
    (void)state;
    const float scale = -0.5f;
    struct call k;
    for (int i = 0; i < 4; i++) {
        call_begin(&k, OP_LINEAR, (struct op_params){ .axis = AXIS_CHAN });
        call_input(&k, 0, tokens_by(WIDTH));
        call_weight(&k, 0, 9, WIDTH);
        k.c.w[0].scale = i / 2 ? &scale : NULL;
        if (i % 2) /* a bias */
            call_weight(&k, 1, 1, 9);
        finish(&k, WIDTH * 1e4 * 0x1p-20, 0);
    }
}

/* --- shape rules --------------------------------------------------------------------------------
 */

/* The rule of k refuses, in these words. */
static void refuses(struct call *k, const char *words)
{
    struct err e = ERR_INIT;
    const struct shape in[2] = { k->in[0].shape, k->in[1].shape };
    struct shape out;
    assert_fails(op_info(k->node.op)->shape(&k->node, in, &out, &e), ST_FORMAT, &e);
    if (!strstr(e.msg, words) || !strstr(e.msg, k->node.name))
        fail_msg("\"%s\" does not say \"%s\"", e.msg, words);
    call_end(k);
}

static void shapes_that_do_not_fit(void **state)
{
    (void)state;
    struct call k;
    call_begin(&k, OP_LINEAR, (struct op_params){ .heads = 4, .head_size = 2 });
    call_input(&k, 0, tokens_by(WIDTH));
    call_weight(&k, 0, 9, WIDTH);
    refuses(&k, "rows of the weight is 9, expected 8");
    call_begin(&k, OP_LINEAR, (struct op_params){ 0 });
    call_input(&k, 0, tokens_by(WIDTH - 1));
    call_weight(&k, 0, 9, WIDTH);
    refuses(&k, "row length of the weight is 24, expected 23");
    call_begin(&k, OP_RMS_NORM, (struct op_params){ 0 });
    call_input(&k, 0, tokens_by(WIDTH));
    call_weight(&k, 0, 1, WIDTH + 1);
    refuses(&k, "length of the gain or bias is 25, expected 24");
    call_begin(&k, OP_SLICE, (struct op_params){ .offset = 20, .n = 5 });
    call_input(&k, 0, tokens_by(WIDTH));
    refuses(&k, "channels to slice from is 24, expected 25");
    call_begin(&k, OP_ADD, (struct op_params){ 0 });
    call_input(&k, 0, tokens_by(WIDTH));
    call_input(&k, 1, tokens_by(7));
    refuses(&k, "width of the second input is 7, expected 24");
    call_begin(&k, OP_ROPE, (struct op_params){ .n = 8 });
    call_input(&k, 0, tokens_by_heads(HEADS));
    refuses(&k, "channels turned");
    call_begin(&k, OP_SCORE, attention_params());
    call_input(&k, 0, tokens_by_heads(HEADS));
    call_input(&k, 1, tokens_by_heads(3));
    refuses(&k, "query heads (to be a multiple of the key heads) is 4, expected 3");
    call_begin(&k, OP_SCORE, attention_params());
    call_input(&k, 0, tokens_by_heads(HEADS));
    call_input(&k, 1, tokens_by(WIDTH));
    refuses(&k, "not heads of one size");
    call_begin(&k, OP_POSITION, (struct op_params){ 0 });
    call_input(&k, 0, tokens_by(WIDTH));
    call_weight(&k, 0, 4, 5);
    refuses(&k, "row length is 5, expected 24");
}

/* The table: words for people, and a reference wherever there is a forward. */
static void table(void **state)
{
    (void)state;
    for (int op = 0; op < OP__COUNT; op++) {
        const struct op_info *i = op_info((enum op)op);
        assert_true(i->name && *i->name && i->brief && *i->brief && i->shape);
        assert_true(i->inputs >= 0 && i->inputs <= NODE_MAX_IN && i->weights <= NODE_MAX_WEIGHTS);
        assert_true(!i->forward == !i->reference);
        assert_true(!i->forward == !i->flops);
    }
    assert_null(op_info(OP__COUNT));
}

/* --- one node of a graph by itself --------------------------------------------------------------
 */

static void check_node(struct run *r, int node)
{
    struct err e = ERR_INIT;
    const struct graph *g = run_graph(r);
    const struct node *n = &g->nodes[node];
    float *in[NODE_MAX_IN] = { 0 };
    const float *borrowed[NODE_MAX_IN] = { 0 };
    for (int i = 0; i < n->n_in; i++)
        borrowed[i] = in[i] = models_output(r, g->values[n->in[i]].name, NULL);
    struct tensor x, want;
    assert_ok(node_evaluate(run_model(r), NULL, node, borrowed, run_tokens(r), run_n_tokens(r),
                            COMPUTE_EXACT, NULL, &x, &e),
              &e);
    assert_ok(run_read(r, 0, n->out, &want, &e), &e);
    assert_true(shape_equal(&x.shape, &want.shape));
    assert_memory_equal(x.data, want.data, (size_t)shape_count(&x.shape) * sizeof(float));
    mem_free(x.data);
    for (int i = 0; i < n->n_in; i++)
        free(in[i]);
}

/* Each node on what a run gave it gives what the run got. */
static void nodes_by_themselves(void **state)
{
    (void)state;
    static const char *const names[] = { "models/llama-untied-bias.gguf", "models/gpt2.gguf" };
    const int32_t prompt[] = { 5, 1, 60, 33, 33, 2, 0, 17 };
    for (int i = 0; i < 2; i++) {
        struct model *m = models_open(golden_path(names[i]));
        struct run *r = models_run(m, NULL, prompt, 8);
        models_finish(r);
        for (int node = 0; node < run_graph(r)->n_nodes; node++)
            check_node(r, node);
        struct err e = ERR_INIT;
        struct tensor x;
        const int32_t bad = 4000;
        assert_fails(node_evaluate(m, NULL, 0, NULL, &bad, 1, COMPUTE_EXACT, NULL, &x, &e),
                     ST_RANGE, &e);
        assert_fails(node_evaluate(m, NULL, 0, NULL, NULL, 0, COMPUTE_EXACT, NULL, &x, &e),
                     ST_RANGE, &e);
        run_free(r);
        model_free(m);
    }
}

UNIT_MAIN(CASE(tables), CASE(norms), CASE(elements), CASE(slices_and_turns), CASE(angles_are_right),
          CASE(scores), CASE(probabilities), CASE(mixtures), CASE(fused_attention),
          CASE(softmax_edges), CASE(linear), CASE(shapes_that_do_not_fit), CASE(table),
          CASE(nodes_by_themselves))
