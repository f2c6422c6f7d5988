/* SPDX-License-Identifier: MIT */
/* Scales that lie beside weights (NAME.scale, as files of NVFP4 have them): a model with them is
 * the model whose weights are that much larger, in every mode and to every command. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "session/export.h"
#include "tests/harness/commands.h"
#include "tests/harness/gguf_build.h"
#include "tests/harness/models.h"
#include "tests/harness/scratch.h"

enum { WIDTH = 64, FF = 128, VOCAB = 10, TOKENS = 9, MOST = WIDTH * FF };
static const int32_t ids[TOKENS] = { 1, 5, 3, 7, 9, 2, 8, 4, 6 };

static const struct {
    const char *name; /* without .weight */
    int cols, rows;
    float scale; /* 0: none */
} matrices[] = {
    { "token_embd", WIDTH, VOCAB, 0 },         { "output", WIDTH, VOCAB, 0.0625f },
    { "blk.0.attn_q", WIDTH, WIDTH, 0.3f },    { "blk.0.attn_k", WIDTH, WIDTH / 2, 1.7f },
    { "blk.0.attn_v", WIDTH, WIDTH / 2, 0 },   { "blk.0.attn_output", WIDTH, WIDTH, -0.01f },
    { "blk.0.ffn_gate", WIDTH, FF, 0.0123f },  { "blk.0.ffn_up", WIDTH, FF, 1 },
    { "blk.0.ffn_down", FF, WIDTH, 0.000321f }
};
enum { MATRICES = sizeof matrices / sizeof *matrices };

/* Blocks of NVFP4 with scales around 1; per 64 elements four scales, then 32 bytes of codes. */
static size_t blocks(uint64_t *random, int64_t n, uint8_t *out)
{
    for (int64_t i = 0; i < n / 64 * 36; i++)
        out[i] = i % 36 < 4 ? (uint8_t)(0x30 + unit_random(random) % 16)
                            : (uint8_t)unit_random(random);
    return (size_t)(n / 64 * 36);
}

/* How the scales of a model are written. */
enum way { BESIDE, FOLDED }; /* FOLDED: f32 weights, multiplied */

static void put_matrix(struct build *b, enum way way, int i, uint64_t *random)
{
    static uint8_t bytes[MOST];
    static float x[MOST];
    char name[64];
    const int n = matrices[i].cols * matrices[i].rows;
    const uint64_t ne[] = { (uint64_t)matrices[i].cols, (uint64_t)matrices[i].rows }, one[] = { 1 };
    const float scale = matrices[i].scale;
    const size_t size = blocks(random, n, bytes);
    snprintf(name, sizeof name, "%s.weight", matrices[i].name);
    if (way == BESIDE) {
        build_tensor(b, name, 40, 2, ne, bytes, size);
        snprintf(name, sizeof name, "%s.input_scale", matrices[i].name);
        if (scale != 0)
            build_tensor(b, name, 0, 1, one, &(float){ 0.5f }, sizeof(float));
        snprintf(name, sizeof name, "%s.scale", matrices[i].name);
        if (scale != 0)
            build_tensor(b, name, 0, 1, one, &scale, sizeof scale);
        return;
    }
    format_info(format_by_name("nvfp4"))->decode(bytes, x, n);
    for (int k = 0; k < n && scale != 0; k++)
        x[k] *= scale;
    build_f32(b, name, ne[0], ne[1], x);
}

static void put_model(struct build *b, enum way way)
{
    uint64_t random = 11;
    float gains[WIDTH];
    for (int i = 0; i < WIDTH; i++)
        gains[i] = 0.5f + (float)(i % 7) / 4;
    build_string(b, "general.architecture", "llama");
    build_integer(b, "llama.context_length", GGUF_U32, 16);
    build_integer(b, "llama.embedding_length", GGUF_U32, WIDTH);
    build_integer(b, "llama.block_count", GGUF_U32, 1);
    build_integer(b, "llama.feed_forward_length", GGUF_U32, FF);
    build_integer(b, "llama.attention.head_count", GGUF_U32, 4);
    build_integer(b, "llama.attention.head_count_kv", GGUF_U32, 2);
    build_float(b, "llama.attention.layer_norm_rms_epsilon", GGUF_F32, 1e-5);
    for (int i = 0; i < MATRICES; i++)
        put_matrix(b, way, i, &random);
    build_f32(b, "blk.0.attn_norm.weight", WIDTH, 1, gains);
    build_f32(b, "blk.0.ffn_norm.weight", WIDTH, 1, gains);
    build_f32(b, "output_norm.weight", WIDTH, 1, gains);
}

static struct model *model_of(enum way way)
{
    struct build b = BUILD_INIT;
    put_model(&b, way);
    return models_build(&b);
}

static void write_model(enum way way, const char *name)
{
    struct build b = BUILD_INIT;
    size_t n;
    put_model(&b, way);
    uint8_t *image = build_image(&b, &n);
    scratch_write(name, image, n);
    free(image);
    build_free(&b);
}

static float *logits(const struct model *m, enum compute mode, int64_t span, int threads)
{
    struct pool *pool = threads ? pool_new(threads) : NULL;
    const struct run_options o = { .mode = mode, .span = span, .pool = pool };
    struct run *r = models_run(m, &o, ids, TOKENS);
    models_finish(r);
    float *x = models_output(r, "output.out", NULL);
    run_free(r);
    pool_free(pool);
    return x;
}

static double distance(const float *x, const float *y)
{
    double error = 0, size = 0;
    for (int i = 0; i < TOKENS * VOCAB; i++) {
        error += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        size += (double)y[i] * (double)y[i];
    }
    return sqrt(error / size);
}

/* --- cases -------------------------------------------------------------------------------------
 */

static void the_model_is_that_with_larger_weights(void **state)
{
    (void)state;
    static const double bound[COMPUTE__COUNT] = { 2e-6, 0.03, 0.02 };
    struct model *beside = model_of(BESIDE), *folded = model_of(FOLDED);
    float *want = logits(folded, COMPUTE_EXACT, 0, 0);
    for (int mode = 0; mode < COMPUTE__COUNT; mode++) {
        float *got = logits(beside, (enum compute)mode, 0, 0);
        assert_within(distance(got, want), 0, bound[mode]);
        free(got);
    }
    free(want);
    model_free(beside);
    model_free(folded);
}

static void neither_spans_nor_threads_change_a_bit(void **state)
{
    (void)state;
    struct model *m = model_of(BESIDE);
    for (int mode = 0; mode < COMPUTE_FAST; mode++) {
        float *all = logits(m, (enum compute)mode, 0, 0),
              *one = logits(m, (enum compute)mode, 1, 3);
        assert_memory_equal(one, all, TOKENS * VOCAB * sizeof *all);
        free(all);
        free(one);
    }
    model_free(m);
}

/* One scale for each expert; pieces that cross from one to the next. */
static void experts_have_a_scale_each(void **state)
{
    (void)state;
    static const uint64_t ne[] = { 64, 2, 3 }, three[] = { 3 };
    static const float scale[] = { 2, 0.5f, -3 };
    static uint8_t bytes[3 * 2 * 36];
    float plain[3 * 128], x[3 * 128];
    uint64_t random = 5;
    struct build b = BUILD_INIT;
    struct err e = ERR_INIT;
    build_string(&b, "general.architecture", "never-seen");
    build_tensor(&b, "up_exps.weight", 40, 3, ne, bytes, blocks(&random, 3 * 128, bytes));
    build_tensor(&b, "up_exps.scale", 0, 1, three, scale, sizeof scale);
    struct model *m = models_build(&b);
    const struct weight *w = models_weight(m, "up_exps.weight");
    format_info(w->format)->decode(bytes, plain, 3 * 128);
    assert_ok(weight_decode(w, 0, 6, x, &e), &e);
    for (int i = 0; i < 3 * 128; i++)
        assert_true(x[i] == plain[i] * scale[i / 128]);
    weight_decode_flat(w, 64, 256, x);
    for (int i = 0; i < 256; i++)
        assert_true(x[i] == plain[64 + i] * scale[(64 + i) / 128]);
    assert_true(weight_scale(w, 5) == -3 && matrix_scale(&(struct matrix){ 0 }) == 1);
    const struct matrix last = weight_matrix(w, 4, 2);
    assert_true(matrix_scale(&last) == -3);
    model_free(m);
}

/* Tensors that only have such a name: another number of elements, another type, beside a vector,
 * beside nothing. */
static void other_tensors_with_the_name_are_no_scales(void **state)
{
    (void)state;
    struct build b = BUILD_INIT;
    build_string(&b, "general.architecture", "never-seen");
    build_f32(&b, "router.weight", 8, 4, NULL);
    build_f32(&b, "router.scale", 8, 1, NULL);
    build_f32(&b, "half.weight", 8, 4, NULL);
    build_tensor(&b, "half.scale", 1, 1, &(uint64_t){ 1 }, &(uint16_t){ 0x4000 }, 2);
    build_tensor(&b, "norm.weight", 0, 1, &(uint64_t){ 1 }, &(float){ 3 }, 4);
    build_tensor(&b, "norm.scale", 0, 1, &(uint64_t){ 1 }, &(float){ 2 }, 4);
    build_tensor(&b, "alone.scale", 0, 1, &(uint64_t){ 1 }, &(float){ 2 }, 4);
    struct model *m = models_build(&b);
    for (size_t i = 0; i < m->weights->n; i++)
        assert_true(!m->weights->list[i].scale && !m->weights->list[i].beside);
    model_free(m);
}

/* All that looks at the numbers of the weight sees them scaled. */
static void every_command_sees_the_same_numbers(void **state)
{
    (void)state;
    static const char *const asked[] = { "print mean(blk.0.ffn_gate.weight[row=3, col=5])",
                                         "print rms(blk.0.ffn_gate.weight)",
                                         "print absmax(blk.0.attn_output.weight[row=63])" };
    struct sitting f = sitting_begin(NULL);
    write_model(BESIDE, "beside.gguf");
    write_model(FOLDED, "folded.gguf");
    sitting_open(&f, scratch_path("folded.gguf"));
    double want[3];
    for (int i = 0; i < 3; i++) {
        struct result r = answer(f.s, "%s", asked[i]);
        want[i] = number_at(r.tables[0], 0, "value");
        result_free(&r);
    }
    command(f.s, "close");
    sitting_open(&f, scratch_path("beside.gguf"));
    for (int i = 0; i < 3; i++) {
        struct result r = answer(f.s, "%s", asked[i]);
        assert_true(number_at(r.tables[0], 0, "value") == want[i] && want[i] != 0);
        result_free(&r);
    }
    struct result r = answer(f.s, "block blk.0.ffn_gate.weight[row=3, col=5]");
    assert_true(number_at(table_named(&r, "elements"), 5, "value") == want[0]);
    const struct table *t = table_named(&r, "fields");
    assert_string_equal(cell_at(t, t->n_rows - 1, "field")->s, "second scale");
    result_free(&r);
    refused(f.s, ST_UNSUPPORTED, ANYWHERE, "a part of blk.0.attn_q.weight",
            "set tensor blk.0.attn_q.scale = 2");
    sitting_end(&f);
}

/* Write out.gguf as foretold, and give the model in it. */
static struct model *exported(struct sitting *f)
{
    struct export x;
    struct gguf_exported done;
    const struct export_size foretold = export_size(f->s, f->m);
    assert_ok(export_plan(f->s, f->m, NULL, scratch_path("out.gguf"), 0, &x, &f->e), &f->e);
    assert_ok(export_write(f->s, &x, NULL, &done, &f->e), &f->e);
    assert_true(foretold.known && !foretold.no_file && done.bytes == foretold.bytes);
    export_free(&x);
    return models_open(scratch_path("out.gguf"));
}

/* A weight that is encoded anew holds the scaled numbers: its scale is neither applied again nor
 * written; those of the others stay. */
static void what_is_encoded_anew_has_its_scale_inside(void **state)
{
    (void)state;
    struct sitting f = sitting_begin(NULL);
    write_model(FOLDED, "folded.gguf");
    sitting_open(&f, scratch_path("folded.gguf"));
    command(f.s, "quant blk.0.{attn_output,ffn_gate}.weight q8_0");
    struct model *folded = exported(&f);
    command(f.s, "close");
    write_model(BESIDE, "beside.gguf");
    sitting_open(&f, scratch_path("beside.gguf"));
    command(f.s, "quant blk.0.{attn_output,ffn_gate}.weight q8_0");
    struct session_run *r;
    assert_ok(session_prompt(f.s, ids, TOKENS, NULL, &r, &f.e), &f.e);
    models_finish(r->run);
    float *plan = models_output(r->run, "output.out", NULL);
    struct model *m = exported(&f);
    float *got = logits(m, run_mode(r->run), 0, 0);
    assert_memory_equal(got, plan, TOKENS * VOCAB * sizeof *got);
    assert_memory_equal(models_weight(m, "blk.0.ffn_gate.weight")->data,
                        models_weight(folded, "blk.0.ffn_gate.weight")->data,
                        models_weight(folded, "blk.0.ffn_gate.weight")->bytes);
    assert_null(weights_find(m->weights, STR("blk.0.ffn_gate.scale")));
    assert_null(weights_find(m->weights, STR("blk.0.ffn_gate.input_scale")));
    assert_null(weights_find(m->weights, STR("blk.0.attn_output.scale")));
    assert_true(weight_scale(models_weight(m, "blk.0.attn_q.weight"), 0) == 0.3f);
    assert_non_null(weights_find(m->weights, STR("blk.0.attn_q.input_scale")));
    free(got);
    free(plan);
    model_free(m);
    model_free(folded);
    sitting_end(&f);
}

/* The same of a plan that is made as it is written, into parts. */
static void parts_of_a_split_agree(void **state)
{
    (void)state;
    struct sitting f = sitting_begin(NULL);
    write_model(BESIDE, "beside.gguf");
    sitting_open(&f, scratch_path("beside.gguf"));
    command(f.s, "quant blk.0.ffn_gate.weight q8_0");
    command(f.s, "export gguf %s split 9000", scratch_path("cut.gguf"));
    struct model *m = exported(&f);
    command(f.s, "undo");
    command(f.s, "export gguf %s", scratch_path("same.gguf"));
    size_t n[2];
    char *in = unit_read(scratch_path("beside.gguf"), &n[0]),
         *out = unit_read(scratch_path("same.gguf"), &n[1]);
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(in, out, n[0]);
    free(in);
    free(out);
    command(f.s, "export gguf %s as q8_0", scratch_path("as.gguf"));
    struct model *as = models_open(scratch_path("as.gguf"));
    for (int i = 0; i < MATRICES; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s.scale", matrices[i].name);
        assert_null(weights_find(as->weights, str_from(name)));
    }
    float *want = logits(m, COMPUTE_EXACT, 0, 0), *got = logits(as, COMPUTE_EXACT, 0, 0);
    assert_within(distance(got, want), 0, 0.03);
    free(want);
    free(got);
    model_free(as);
    model_free(m);
    sitting_end(&f);
}

/* abs(x - y) over abs(y), both as l2, of a weight. */
static double weight_error(const struct weight *w, const struct weight *ref)
{
    const uint64_t n = w->rows * w->cols;
    float *x = x_alloc((size_t)n * sizeof *x), *y = x_alloc((size_t)n * sizeof *y);
    double error = 0, size = 0;
    weight_decode_flat(w, 0, n, x);
    weight_decode_flat(ref, 0, n, y);
    for (uint64_t i = 0; i < n; i++) {
        error += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        size += (double)y[i] * (double)y[i];
    }
    free(x);
    free(y);
    return sqrt(error / size);
}

/* nvfp4:tensor makes small weights as good as others, in the run and in the file, which has the
 * scales that are not there without. */
static void scales_are_made_and_written(void **state)
{
    (void)state;
    struct sitting f = sitting_begin(NULL);
    write_model(FOLDED, "folded.gguf");
    sitting_open(&f, scratch_path("folded.gguf"));
    command(f.s, "quant ** nvfp4");
    struct model *m = exported(&f);
    assert_true(weight_error(models_weight(m, "blk.0.ffn_down.weight"),
                             models_weight(f.m->model, "blk.0.ffn_down.weight"))
                > 0.2);
    model_free(m);
    command(f.s, "quant ** nvfp4:tensor");
    command(f.s, "plan save %s", scratch_path("nv.plan"));
    struct session_run *r;
    assert_ok(session_prompt(f.s, ids, TOKENS, NULL, &r, &f.e), &f.e);
    models_finish(r->run);
    float *plan = models_output(r->run, "output.out", NULL);
    m = exported(&f);
    float *got = logits(m, run_mode(r->run), 0, 0);
    assert_memory_equal(got, plan, TOKENS * VOCAB * sizeof *got);
    for (int i = 0; i < MATRICES; i++) {
        char name[64];
        int exponent;
        snprintf(name, sizeof name, "%s.weight", matrices[i].name);
        const struct weight *w = models_weight(m, name);
        assert_within(weight_error(w, models_weight(f.m->model, name)), 0, 0.1);
        assert_true(!w->scale == !i); /* token_embd has none */
        assert_true(!i || frexpf(weight_scale(w, 0), &exponent) == 0.5f);
    }
    free(got);
    free(plan);
    command(f.s, "undo");
    command(f.s, "undo");
    command(f.s, "export gguf %s as %s", scratch_path("as.gguf"), scratch_path("nv.plan"));
    struct model *as = models_open(scratch_path("as.gguf"));
    assert_int_equal(as->weights->n, m->weights->n);
    for (size_t i = 0; i < m->weights->n; i++) {
        const struct weight *a = &as->weights->list[i], *b = &m->weights->list[i];
        assert_true(str_eq(a->name, b->name) && a->bytes == b->bytes);
        assert_memory_equal(a->data, b->data, b->bytes);
    }
    model_free(as);
    model_free(m);
    sitting_end(&f);
}

/* What a file has is nvfp4 or nvfp4:tensor: one can be made of the other, and plan infer tells. */
static void with_and_without_scales_are_two_formats(void **state)
{
    (void)state;
    static const struct {
        const char *first,
            *then;   /* what the file is made by, and what is asked of it; NULL: infer */
        bool scaled; /* is what comes of it */
    } steps[] = {
        { "quant ** nvfp4", "quant ** nvfp4:tensor", true },
        { "quant ** nvfp4:tensor", "quant ** nvfp4", false },
        { "quant ** nvfp4:tensor", "quant ** nvfp4:tensor", true },
        { "quant ** nvfp4", NULL, true },
    };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct sitting f = sitting_begin(NULL);
        write_model(FOLDED, "folded.gguf");
        sitting_open(&f, scratch_path("folded.gguf"));
        command(f.s, "quant ** nvfp4:tensor");
        command(f.s, "export gguf %s", scratch_path("scaled.gguf"));
        command(f.s, "undo");
        command(f.s, "%s", steps[i].first);
        command(f.s, "export gguf %s", scratch_path("first.gguf"));
        sitting_open(&f, scratch_path("first.gguf"));
        if (steps[i].then)
            command(f.s, "%s", steps[i].then);
        else
            command(f.s, "plan infer %s", scratch_path("scaled.gguf"));
        command(f.s, "plan save %s", scratch_path("two.plan"));
        struct model *m = exported(&f);
        command(f.s, "undo");
        command(f.s, "export gguf %s as %s", scratch_path("as.gguf"), scratch_path("two.plan"));
        struct model *as = models_open(scratch_path("as.gguf"));
        assert_int_equal(models_weight(m, "blk.0.ffn_down.weight")->scale != NULL,
                         steps[i].scaled);
        assert_int_equal(as->weights->n, m->weights->n);
        model_free(as);
        model_free(m);
        sitting_end(&f);
    }
}

/* A matrix for each expert has a scale for each; what is not finite is said. */
static void each_expert_gets_its_scale(void **state)
{
    (void)state;
    static float x[2 * 2 * 64];
    static const uint64_t ne[] = { 64, 2, 2 };
    struct sitting f = sitting_begin(NULL);
    struct build b = BUILD_INIT;
    size_t n;
    uint64_t random = 3;
    for (int i = 0; i < 256; i++)
        x[i] = (float)unit_normal(&random) * (i < 128 ? 1e-4f : 1e6f);
    build_string(&b, "general.architecture", "never-seen");
    build_tensor(&b, "blk.0.ffn_up_exps.weight", 0, 3, ne, x, sizeof x);
    build_f32(&b, "blk.0.ffn_up_exps.scale", 3, 1, NULL); /* of no use: replaced */
    uint8_t *image = build_image(&b, &n);
    build_free(&b);
    scratch_write("in.gguf", image, n);
    free(image);
    sitting_open(&f, scratch_path("in.gguf"));
    command(f.s, "quant blk.0.ffn_up_exps.weight nvfp4:tensor");
    struct model *m = exported(&f);
    assert_int_equal(m->weights->n, 2);
    const struct weight *w = models_weight(m, "blk.0.ffn_up_exps.weight");
    assert_true(weight_scale(w, 0) < 1e-6f && weight_scale(w, 3) > 100);
    assert_within(weight_error(w, models_weight(f.m->model, "blk.0.ffn_up_exps.weight")), 0, 0.1);
    model_free(m);
    refused(f.s, ST_SYNTAX, ANYWHERE, "it is what it is", "quant ** q4_0:tensor");
    refused(f.s, ST_SYNTAX, ANYWHERE, "nvfp4:tensor", "quant ** nvfp4:chan");
    sitting_end(&f);
}

UNIT_MAIN(CASE(the_model_is_that_with_larger_weights), CASE(neither_spans_nor_threads_change_a_bit),
          CASE(experts_have_a_scale_each), CASE(with_and_without_scales_are_two_formats),
          CASE(other_tensors_with_the_name_are_no_scales),
          CASE(every_command_sees_the_same_numbers),
          CASE(what_is_encoded_anew_has_its_scale_inside), CASE(parts_of_a_split_agree),
          CASE(scales_are_made_and_written), CASE(each_expert_gets_its_scale))
