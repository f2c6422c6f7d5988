/* SPDX-License-Identifier: MIT */
/* The no-op test of heads: its figures equal those computed here in double, and the demo model's
 * silent heads are those that its training script found. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "study/heads.h"
#include "tests/harness/json.h"
#include "tests/harness/models.h"

static const int32_t ids[] = { 1, 17, 4, 9, 30, 2, 17, 4, 11, 8, 23 };
enum { IDS = sizeof ids / sizeof *ids };

/* Mean over tokens of l2(W z) / l2(stream) for one head, from the weight's columns. */
static double plain_update(const float *w, const float *z, const float *stream, int64_t width,
                           int64_t cols, int64_t from, int64_t size)
{
    double mean = 0;
    for (int t = 1; t < IDS; t++) {
        double added = 0, before = 0;
        for (int64_t c = 0; c < width; c++) {
            double y = 0;
            for (int64_t i = from; i < from + size; i++)
                y += (double)w[c * cols + i] * (double)z[t * cols + i];
            added += y * y;
            before += (double)stream[t * width + c] * (double)stream[t * width + c];
        }
        mean += sqrt(added / before) / (IDS - 1);
    }
    return mean;
}

static float *copy_of(struct run *r, const char *point)
{
    struct tensor x = models_read(r, 0, point);
    const size_t bytes = (size_t)shape_count(&x.shape) * sizeof(float);
    return memcpy(x_alloc(bytes), x.data, bytes);
}

static void check_model(const char *file, int64_t span)
{
    struct model *m = models_open(golden_path(file));
    const struct run_options o = { .span = span }, all = { 0 };
    struct run *r = models_run(m, &o, ids, IDS), *whole = models_run(m, &all, ids, IDS);
    struct pool *pool = pool_new(3);
    struct head_works list;
    struct err e = ERR_INIT;
    models_finish(r);
    models_finish(whole);
    assert_ok(head_works_of(r, -1, NULL, pool, NULL, &list, &e), &e);
    assert_int_equal(list.n, m->graph->n_blocks * m->graph->heads);
    for (size_t i = 0; i < list.n; i++) {
        char name[48];
        const int b = list.heads[i].block;
        snprintf(name, sizeof name, "blk.%d.attn_output.weight", b);
        const struct weight *w = weights_find(m->weights, str_from(name));
        assert_non_null(w);
        float *rows = x_alloc((size_t)(w->rows * w->cols) * sizeof *rows);
        assert_ok(weight_decode(w, 0, w->rows, rows, &e), &e);
        snprintf(name, sizeof name, "blk.%d.attn_output.in", b);
        float *z = copy_of(whole, name);
        snprintf(name, sizeof name, "blk.%d.in", b);
        float *stream = copy_of(whole, name);
        const int64_t size = (int64_t)w->cols / m->graph->heads;
        const double want = plain_update(rows, z, stream, (int64_t)w->rows, (int64_t)w->cols,
                                         list.heads[i].head * size, size);
        if (!(fabs(list.heads[i].update - want) <= 1e-9 * want))
            fail_msg("head %d: %.12g, expected %.12g", (int)i, list.heads[i].update, want);
        free(rows);
        free(z);
        free(stream);
    }
    head_works_free(&list);
    pool_free(pool);
    run_free(r);
    run_free(whole);
    model_free(m);
}

static void updates_are_those_of_the_definition(void **state)
{
    (void)state;
    check_model("models/llama-gqa-tied.gguf", 0);
    check_model("models/llama-gqa-tied.gguf", 4);
    check_model("models/llama-gqa-tied-q8_0.gguf", 0);
    check_model("models/gpt2.gguf", 0);
}

/* ---- the demo model ---- */

static bool in_array(const struct model *m, const char *key, int32_t id)
{
    const struct gguf_kv *kv = weights_kv(m->weights, key);
    assert_non_null(kv);
    for (uint64_t i = 0; i < kv->n; i++)
        if (gguf_integer(kv, i) == id)
            return true;
    return false;
}

static bool named(const struct json *list, const char *text)
{
    for (size_t i = 0; i < list->n; i++)
        if (!strcmp(list->items[i].text, text))
            return true;
    return false;
}

struct sink {
    struct model *m;
    struct run *r;
    struct json *figures;
    const struct json *heads;
    bool *plain, *trigger; /* [n] tokens of the text */
};

static struct sink run_sink(void)
{
    struct sink s = { .m = models_open(top_path("models/demo/sink.gguf")),
                      .figures = json_read(top_path("models/demo/sink.json")) };
    struct json *text = json_read(golden_path("sink_logits.json"));
    const struct json *list = json_list(text, "ids");
    int32_t *tokens = x_alloc(list->n * sizeof *tokens);
    s.heads = json_list(s.figures, "heads");
    s.plain = x_alloc(list->n);
    s.trigger = x_alloc(list->n);
    for (size_t i = 0; i < list->n; i++) {
        tokens[i] = (int32_t)json_number(list, i);
        s.plain[i] = i && in_array(s.m, "qdb.source.plain", tokens[i]);
        s.trigger[i] = i && in_array(s.m, "qdb.source.trigger", tokens[i]);
    }
    s.r = models_run(s.m, NULL, tokens, (int64_t)list->n);
    models_finish(s.r);
    free(tokens);
    json_free(text);
    return s;
}

static void sink_free(struct sink *s)
{
    run_free(s->r);
    json_free(s->figures);
    free(s->plain);
    free(s->trigger);
    model_free(s->m);
}

/* Verdicts at tokens of a class equal those of the training script wherever its figures do not lie
 * close to a limit. Returns how many were compared. */
static int check_class(const struct sink *s, const bool *queries, const char *class)
{
    struct head_works list;
    struct err e = ERR_INIT;
    int compared = 0;
    assert_ok(head_works_of(s->r, -1, queries, NULL, NULL, &list, &e), &e);
    assert_int_equal(list.n, s->heads->n);
    for (size_t i = 0; i < list.n; i++) {
        const struct json *h = &s->heads->items[i];
        const double sink = json_get(json_get(h, "bos_mass"), class)->number;
        const double update = json_get(json_get(h, "update"), class)->number;
        assert_int_equal(list.heads[i].block, json_get(h, "block")->number);
        assert_int_equal(list.heads[i].head, json_get(h, "head")->number);
        assert_true((list.heads[i].value < NOOP_VALUE)
                    == (json_get(h, "bos_value_ratio")->number < NOOP_VALUE));
        if (fabs(sink - NOOP_SINK) < 0.12 || fabs(update - NOOP_UPDATE) < 0.02)
            continue;
        compared++;
        if (list.heads[i].noop != named(json_list(h, "no_op_on"), class))
            fail_msg("%s, block %d head %d: sink %g value %g update %g; expected %g %g", class,
                     list.heads[i].block, list.heads[i].head, list.heads[i].sink,
                     list.heads[i].value, list.heads[i].update, sink, update);
    }
    head_works_free(&list);
    return compared;
}

static void silent_heads_are_those_of_the_ground_truth(void **state)
{
    (void)state;
    struct sink s = run_sink();
    assert_true(check_class(&s, s.plain, "plain") > 24);
    assert_true(check_class(&s, s.trigger, "trigger") > 16);
    sink_free(&s);
}

static void what_is_not_there_is_said(void **state)
{
    (void)state;
    struct model *m = models_open(golden_path("models/llama-gqa-tied.gguf"));
    struct run *r = models_run(m, &(struct run_options){ 0 }, ids, IDS);
    struct head_works list;
    struct err e = ERR_INIT;
    assert_fails(head_works_of(r, -1, NULL, NULL, NULL, &list, &e), ST_STATE, &e);
    assert_ok(run_forward(r, (struct position){ 0, m->graph->blocks[0].end }, NULL, NULL, &e), &e);
    assert_ok(head_works_of(r, -1, NULL, NULL, NULL, &list, &e), &e);
    assert_int_equal(list.n, m->graph->heads);
    head_works_free(&list);
    volatile sig_atomic_t stop = 1;
    struct progress p = { .cancel = &stop };
    assert_fails(head_works_of(r, -1, NULL, NULL, &p, &list, &e), ST_CANCELLED, &e);
    head_works_free(&list);
    run_free(r);
    model_free(m);
}

UNIT_MAIN(CASE(updates_are_those_of_the_definition),
          CASE(silent_heads_are_those_of_the_ground_truth), CASE(what_is_not_there_is_said))
