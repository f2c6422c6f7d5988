/* SPDX-License-Identifier: MIT */
/* Values are traced back: terms add up to what they are terms of, and planted faults are found at
 * exactly the element where they are. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "study/why.h"
#include "study/writer.h"

static const int32_t ids[] = { 5, 9, 3, 7, 11, 2, 8, 4 };
enum { N_IDS = sizeof ids / sizeof *ids };

struct fixture {
    struct model *m;
    struct run *r;
    const struct graph *g;
    struct err e;
};

static struct model *open_model(const char *path)
{
    struct err e = ERR_INIT;
    struct weights *w;
    assert_ok(weights_open(path, &w, &e), &e);
    return model_new(w);
}

static struct fixture begin(const char *path, int64_t span)
{
    struct fixture f = { .m = open_model(path), .e = ERR_INIT };
    f.r = run_new(f.m, &(struct run_options){ .mode = COMPUTE_EXACT, .span = span });
    f.g = run_graph(f.r);
    assert_ok(run_input(f.r, ids, NULL, NULL, N_IDS, &f.e), &f.e);
    return f;
}

static void go(struct fixture *f)
{
    assert_ok(run_forward(f->r, run_end(f->r), NULL, NULL, &f->e), &f->e);
}

static void end(struct fixture *f)
{
    run_free(f->r);
    model_free(f->m);
}

/* What the terms of an element say that it should be. */
static double combined(enum term_kind kind, const struct op_term *terms, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += terms[i].product;
    return kind == TERMS_PRODUCT ? terms[0].product : sum;
}

static void terms_add_up(void **unused)
{
    (void)unused;
    static const char *const models[] = { "models/llama-gqa-tied.gguf", "models/gpt2.gguf",
                                          "models/qwen2.gguf", "models/llama-yarn.gguf" };
    uint64_t seed = 7;
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        struct fixture f = begin(golden_path(models[m]), 3);
        int traced = 0;
        go(&f);
        for (int v = 0; v < f.g->n_values; v++)
            for (int i = 0; i < 6; i++) {
                const int span = (int)(unit_random(&seed) % (uint64_t)run_n_spans(f.r));
                struct tensor x;
                enum term_kind kind;
                struct op_term *terms;
                int64_t n;
                assert_ok(run_read(f.r, span, v, &x, &f.e), &f.e);
                const int64_t at = (int64_t)(unit_random(&seed) % (uint64_t)shape_count(&x.shape));
                const double value = (double)x.data[at];
                if (!isfinite(value)) /* a key that the token may not see */
                    continue;
                enum st st = run_terms(f.r, span, v, at, &kind, &terms, &n, &f.e);
                if (st == ST_UNSUPPORTED && f.g->nodes[f.g->values[v].node].op == OP_SOFTMAX)
                    continue; /* likewise */
                if (st)
                    fail_msg("%s: %s", f.g->values[v].name, f.e.msg);
                if (fabs(combined(kind, terms, n) - value) > 2e-5 * (fabs(value) + 1))
                    fail_msg("%s %s element %d: terms give %.9g, not %.9g", models[m],
                             f.g->values[v].name, (int)at, combined(kind, terms, n), value);
                free(terms);
                traced++;
            }
        assert_true(traced > 4 * f.g->n_values);
        end(&f);
    }
}

static void spoil(void *data, const struct event *ev, float *x)
{
    if (ev->at.span == 0)
        x[2 * shape_per_token(&ev->x->shape) + 5] = *(const float *)data;
}

/* From the logits of the last token, in a later span, back through attention. */
static void a_bad_value_is_followed_to_its_birth(void **unused)
{
    (void)unused;
    for (int64_t span = 3; span <= N_IDS; span += N_IDS - 3) {
        struct fixture f = begin(golden_path("models/llama-gqa-tied.gguf"), span);
        float bad = NAN;
        struct why w;
        struct tensor x;
        const int v = graph_point(f.g, STR("blk.0.attn_norm.out"), NULL, NULL);
        run_transform(f.r, v, spoil, &bad);
        go(&f);
        const int last = run_n_spans(f.r) - 1;
        assert_ok(run_read(f.r, last, f.g->logits, &x, &f.e), &f.e);
        const int64_t at = shape_count(&x.shape) - 1;
        assert_true(isnan(x.data[at]));
        assert_ok(why_of(f.r, last, f.g->logits, at, &w, &f.e), &f.e);
        const struct why_step *birth = &w.steps[w.n - 1];
        assert_string_equal(f.g->values[birth->value].name, "blk.0.attn_norm.out");
        assert_int_equal(birth->span, 0);
        assert_int_equal(birth->at, 2 * f.g->width + 5);
        assert_int_equal(birth->verdict, WHY_OVERFLOW); /* all that it is made of is finite */
        for (size_t i = 0; i + 1 < w.n; i++)
            assert_int_equal(w.steps[i].verdict, WHY_ARRIVED);
        why_free(&w);
        end(&f);
    }
}

/* A copy of the model in which element [row][col] of a float32 weight is something else. */
static char *planted(const char *name, int64_t row, int64_t col, float value)
{
    size_t n;
    char *bytes = unit_read(golden_path("models/llama-gqa-tied.gguf"), &n);
    struct model *m = open_model(golden_path("models/llama-gqa-tied.gguf"));
    const struct weight *w = weights_find(m->weights, str_from(name));
    assert_non_null(w);
    assert_string_equal(format_info(w->format)->name, "f32");
    char *found = memmem(bytes, n, w->data, w->bytes);
    assert_non_null(found);
    memcpy(found + (size_t)row * w->row_bytes + (size_t)col * sizeof value, &value, sizeof value);
    model_free(m);
    char *path = x_strdup("/tmp/qdb-test-why-XXXXXX");
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), (ssize_t)n);
    close(fd);
    free(bytes);
    return path;
}

static void a_bad_weight_is_named(void **unused)
{
    (void)unused;
    static const char *const weights[] = { "blk.0.attn_k.weight", "blk.1.ffn_up.weight",
                                           "blk.0.attn_output.weight" };
    uint64_t seed = 3;
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        const int64_t row = (int64_t)(unit_random(&seed) % 8),
                      col = (int64_t)(unit_random(&seed) % 8);
        char *path = planted(weights[i], row, col, i == 1 ? INFINITY : NAN);
        struct fixture f = begin(path, 0);
        struct tensor x;
        struct why w;
        go(&f);
        assert_ok(run_read(f.r, 0, f.g->logits, &x, &f.e), &f.e);
        assert_false(isfinite(x.data[0]));
        assert_ok(why_of(f.r, 0, f.g->logits, 0, &w, &f.e), &f.e);
        const struct why_step *birth = &w.steps[w.n - 1];
        const struct node *node = &f.g->nodes[f.g->values[birth->value].node];
        assert_int_equal(birth->verdict, WHY_WEIGHT);
        assert_true(str_is(node->w[birth->cause.slot]->name, weights[i]));
        assert_int_equal(birth->cause.row, row);
        assert_int_equal(birth->cause.col, col);
        why_free(&w);
        end(&f);
        unlink(path);
        free(path);
    }
}

static void a_large_value_is_followed_to_the_neuron(void **unused)
{
    (void)unused;
    struct fixture f = begin(golden_path("models/llama-gqa-tied.gguf"), 0);
    struct why w;
    float large = 1e4f; /* token 2, neuron 5 */
    run_transform(f.r, graph_point(f.g, STR("blk.0.ffn_act.out"), NULL, NULL), spoil, &large);
    go(&f);
    const int v = graph_point(f.g, STR("blk.1.out"), NULL, NULL);
    struct tensor x;
    assert_ok(run_read(f.r, 0, v, &x, &f.e), &f.e);
    int64_t at = 2 * f.g->width;
    for (int64_t i = at; i < 3 * f.g->width; i++)
        at = fabsf(x.data[i]) > fabsf(x.data[at]) ? i : at;
    assert_ok(why_of(f.r, 0, v, at, &w, &f.e), &f.e);
    bool found = false;
    for (size_t i = 0; i < w.n; i++)
        found |= !strcmp(f.g->values[w.steps[i].value].name, "blk.0.ffn_act.out")
                 && w.steps[i].at % shape_per_token(&f.g->values[w.steps[i].value].shape) == 5;
    assert_true(found);
    why_free(&w);
    end(&f);
}

static void writes_and_heads_add_up(void **unused)
{
    (void)unused;
    struct fixture f = begin(golden_path("models/llama-gqa-tied.gguf"), 3);
    go(&f);
    const int v = f.g->blocks[f.g->n_blocks - 1].output;
    struct tensor x;
    for (int64_t at = 0; at < 20; at++) {
        struct write *list;
        size_t n;
        double sum = 0;
        assert_ok(writes_of(f.r, 1, v, at, &list, &n, &f.e), &f.e);
        assert_int_equal(n, 1 + 2 * f.g->n_blocks);
        assert_int_equal(list[0].value, f.g->embedding);
        assert_int_equal(list[n - 1].sum, v);
        for (size_t i = 0; i < n; i++)
            sum += list[i].x;
        assert_ok(run_read(f.r, 1, v, &x, &f.e), &f.e);
        assert_true(fabs(sum - (double)x.data[at]) < 1e-5 * (fabs(sum) + 1));
        double *heads, all = 0;
        const double attention = list[1].x;
        assert_ok(head_writes_of(f.r, 1, list[1].value, at, &heads, &n, &f.e), &f.e);
        assert_int_equal(n, f.g->heads);
        for (size_t h = 0; h < n; h++)
            all += heads[h];
        assert_true(fabs(all - attention) < 1e-5 * (fabs(attention) + 1));
        free(heads);
        free(list);
    }
    end(&f);
}

UNIT_MAIN(CASE(terms_add_up), CASE(a_bad_value_is_followed_to_its_birth),
          CASE(a_bad_weight_is_named), CASE(a_large_value_is_followed_to_the_neuron),
          CASE(writes_and_heads_add_up))
