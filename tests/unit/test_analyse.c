/* SPDX-License-Identifier: MIT */
/* What the analyses say of a run equals what is computed here from its points, in double. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/statistics.h"
#include "study/attention.h"
#include "study/lens.h"
#include "study/predict.h"
#include "tests/harness/commands.h"
#include "tests/harness/models.h"

static const int32_t ids[] = { 1, 17, 4, 9, 30, 2, 17, 4, 11, 8, 23 };
enum { IDS = sizeof ids / sizeof *ids };

static struct run *run_of(const struct model *m, int64_t span, bool finish)
{
    const struct run_options o = { .span = span };
    struct run *r = models_run(m, &o, ids, IDS);
    if (finish)
        models_finish(r);
    return r;
}

/* --- predictions -------------------------------------------------------------------------------
 */

static void ranks_tokens(void **state)
{
    (void)state;
    const float x[] = { 1, 3, NAN, 3, -INFINITY, 2, 0 };
    const int32_t order[] = { 1, 3, 5, 0, 6, 4, 2 };
    const float plain[] = { 1, 3, 3, -2, 2, 0 };
    struct prediction top[7], p;
    for (int64_t k = 1; k <= 7; k++) {
        assert_int_equal(prediction_top(x, 7, k, top), k);
        for (int64_t i = 0; i < k; i++) {
            assert_int_equal(top[i].id, order[i]);
            assert_int_equal(top[i].rank, i + 1);
        }
    }
    assert_int_equal(prediction_top(x, 2, 7, top), 2);
    for (int i = 0; i < 7; i++) {
        prediction_of(x, 7, order[i], &p);
        assert_int_equal(p.rank, i + 1);
    }
    double sum = 0;
    for (int i = 0; i < 6; i++)
        sum += exp((double)plain[i]);
    prediction_of(plain, 6, 4, &p);
    assert_within(p.prob, exp(2) / sum, 1e-14);
    assert_within(p.log_prob, 2 - log(sum), 1e-14);
    assert_true(p.logit == 2 && p.rank == 3);
}

/* All orders of the first k come out as a full sort gives them. */
static void ranks_many(void **state)
{
    (void)state;
    enum { N = 500, K = 60 };
    static float x[N];
    struct prediction top[K], p;
    uint64_t seed = 3;
    for (int i = 0; i < N; i++)
        x[i] = (float)(unit_random(&seed) % 200);
    assert_int_equal(prediction_top(x, N, K, top), K);
    for (int i = 0; i < K; i++) {
        prediction_of(x, N, top[i].id, &p);
        assert_int_equal(p.rank, i + 1);
        assert_true(p.log_prob == top[i].log_prob);
    }
}

/* --- lens --------------------------------------------------------------------------------------
 */

static void assert_last_is_logits(const char *file, int64_t span)
{
    struct model *m = models_open(golden_path(file));
    struct run *r = run_of(m, span, true);
    struct err e = ERR_INIT;
    for (int64_t t = 0; t < IDS; t += 5) {
        struct lens l;
        struct tensor x;
        assert_ok(lens_of(r, t, NULL, &l, &e), &e);
        const int s = run_span_of(r, t);
        x = models_read(r, s, "output.out");
        const float *want = x.data + (t - run_span(r, s).first) * l.vocab;
        assert_int_equal(l.n, m->graph->n_blocks + 1);
        assert_memory_equal(l.logits + (l.n - 1) * l.vocab, want, (size_t)l.vocab * sizeof *want);
        assert_memory_equal(l.final, want, (size_t)l.vocab * sizeof *want);
        assert_true(l.kl[l.n - 1] == 0);
        assert_true(l.kl[0] > 0);
        lens_free(&l);
    }
    run_free(r);
    model_free(m);
}

static void lens_ends_in_the_logits(void **state)
{
    (void)state;
    assert_last_is_logits("models/llama-gqa-tied.gguf", 0);
    assert_last_is_logits("models/llama-gqa-tied.gguf", 3);
    assert_last_is_logits("models/llama-gqa-tied-q8_0.gguf", 0);
    assert_last_is_logits("models/llama-untied-bias.gguf", 1);
    assert_last_is_logits("models/gpt2.gguf", 0);
    assert_last_is_logits("models/qwen2.gguf", 4);
}

/* Norm and head of one row, from the weights, in double. */
static void head_of_row(const struct model *m, const float *x, double *out)
{
    const struct graph *g = m->graph;
    const struct weight *gain = weights_find(m->weights, STR("output_norm.weight"));
    const struct weight *head = weights_find(m->weights, STR("token_embd.weight"));
    const int64_t width = g->width;
    float *w = x_alloc((size_t)width * sizeof *w), *row = x_alloc((size_t)width * sizeof *row);
    struct err e = ERR_INIT;
    double squares = 0;
    assert_ok(weight_decode(gain, 0, 1, w, &e), &e);
    for (int64_t i = 0; i < width; i++)
        squares += (double)x[i] * (double)x[i];
    const double eps = (double)g->nodes[g->values[g->hidden].node].p.eps;
    const double scale = 1 / sqrt(squares / (double)width + eps);
    for (int64_t v = 0; v < g->vocab; v++) {
        assert_ok(weight_decode(head, (uint64_t)v, 1, row, &e), &e);
        out[v] = 0;
        for (int64_t i = 0; i < width; i++)
            out[v] += (double)x[i] * scale * (double)w[i] * (double)row[i];
    }
    free(w);
    free(row);
}

static double kl(const float *p, const double *q, int64_t n)
{
    double zp = 0, zq = 0, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        zp += exp((double)p[i]);
        zq += exp(q[i]);
    }
    for (int64_t i = 0; i < n; i++)
        sum += exp((double)p[i]) / zp * (((double)p[i] - log(zp)) - (q[i] - log(zq)));
    return sum;
}

static void lens_computes_the_norm_anew(void **state)
{
    (void)state;
    struct model *m = models_open(golden_path("models/llama-gqa-tied.gguf"));
    const struct graph *g = m->graph;
    struct run *r = run_of(m, 0, true);
    struct lens l;
    struct err e = ERR_INIT;
    assert_ok(lens_of(r, 7, NULL, &l, &e), &e);
    double *want = x_alloc((size_t)g->vocab * sizeof *want);
    for (int i = 0; i < l.n; i++) {
        struct tensor x = models_read(r, 0, g->values[l.values[i]].name);
        head_of_row(m, x.data + 7 * g->width, want);
        for (int64_t v = 0; v < g->vocab; v++)
            assert_within((double)l.logits[i * g->vocab + v], want[v],
                          1e-5 * fmax(1, fabs(want[v])));
        assert_within(l.kl[i], kl(l.final, want, g->vocab), 1e-5);
    }
    assert_string_equal(g->values[l.values[0]].name, "embd.out");
    assert_string_equal(g->values[l.values[1]].name, "blk.0.out");
    free(want);
    lens_free(&l);
    run_free(r);
    model_free(m);
}

static void lens_sees_what_is_there(void **state)
{
    (void)state;
    struct model *m = models_open(golden_path("models/llama-gqa-tied.gguf"));
    struct run *r = run_of(m, 0, false);
    struct lens l;
    struct err e = ERR_INIT;
    assert_fails(lens_of(r, 0, NULL, &l, &e), ST_STATE, &e);
    assert_fails(lens_of(r, IDS, NULL, &l, &e), ST_RANGE, &e);
    assert_ok(run_forward(r, (struct position){ 0, m->graph->blocks[0].end }, NULL, NULL, &e), &e);
    assert_ok(lens_of(r, 3, NULL, &l, &e), &e);
    assert_int_equal(l.n, 2);
    assert_null(l.final);
    assert_true(isnan(l.kl[1]));
    lens_free(&l);
    volatile sig_atomic_t stop = 1;
    struct progress p = { .cancel = &stop };
    assert_fails(lens_of(r, 3, &p, &l, &e), ST_CANCELLED, &e);
    run_free(r);
    model_free(m);
}

/* --- attention ---------------------------------------------------------------------------------
 */

/* Norm of the value of K/V head h at token t. */
static double value_norm(const struct tensor *v, int64_t t, int64_t h)
{
    const int64_t heads = v->shape.d[1].n, size = v->shape.d[2].n;
    double sum = 0;
    for (int64_t i = 0; i < size; i++)
        sum += pow((double)v->data[(t * heads + h) * size + i], 2);
    return sqrt(sum);
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The figures of one head from probabilities p [tok][key], one span. */
static struct head_figures plain_figures(const float *p, const struct tensor *v, int64_t kv)
{
    struct head_figures f = { 0 };
    double others[IDS - 1];
    for (int t = 1; t < IDS; t++) {
        double h = 0, max = 0;
        for (int j = 0; j <= t; j++) {
            const double a = (double)p[t * IDS + j];
            h -= a > 0 ? a * log(a) : 0;
            max = a > max ? a : max;
            f.distance += a * (t - j) / (IDS - 1);
        }
        f.entropy += h / (IDS - 1);
        f.normalised += h / log(t + 1) / (IDS - 1);
        f.sink += (double)p[t * IDS] / (IDS - 1);
        f.max += max / (IDS - 1);
        others[t - 1] = value_norm(v, t, kv);
    }
    qsort(others, IDS - 1, sizeof *others, by_size);
    f.value = value_norm(v, 0, kv) / ((others[(IDS - 2) / 2] + others[(IDS - 1) / 2]) / 2);
    return f;
}

static void assert_heads(const struct model *m, int64_t span)
{
    struct run *whole = run_of(m, 0, true), *r = run_of(m, span, true);
    struct head_figures *list;
    size_t n;
    struct err e = ERR_INIT;
    const int64_t heads = m->graph->heads, kv = m->graph->kv_heads;
    assert_ok(attention_heads(r, -1, NULL, &list, &n, &e), &e);
    assert_int_equal(n, heads * m->graph->n_blocks);
    for (size_t i = 0; i < n; i++) {
        char name[40];
        snprintf(name, sizeof name, "blk.%d.attn.prob", list[i].block);
        struct tensor p = models_read(whole, 0, name);
        float *copy = x_alloc(IDS * IDS * sizeof *copy);
        memcpy(copy, p.data + list[i].head * IDS * IDS, IDS * IDS * sizeof *copy);
        snprintf(name, sizeof name, "blk.%d.attn_v.out", list[i].block);
        struct tensor v = models_read(whole, 0, name);
        struct head_figures want = plain_figures(copy, &v, list[i].head / (heads / kv));
        assert_int_equal(list[i].block, (int64_t)i / heads);
        assert_int_equal(list[i].head, (int64_t)i % heads);
        assert_int_equal(list[i].queries, IDS - 1);
        assert_within(list[i].entropy, want.entropy, 1e-12);
        assert_within(list[i].normalised, want.normalised, 1e-12);
        assert_within(list[i].sink, want.sink, 1e-12);
        assert_within(list[i].max, want.max, 1e-12);
        assert_within(list[i].distance, want.distance, 1e-12);
        assert_within(list[i].value, want.value, 1e-12);
        free(copy);
    }
    free(list);
    run_free(r);
    run_free(whole);
}

/* The bound for each query, from the logits, by the formula for a row: entropies keep above it. */
static void entropy_has_a_floor(void **state)
{
    (void)state;
    struct model *m = models_open(golden_path("models/llama-gqa-tied.gguf"));
    struct run *whole = run_of(m, 0, true), *r = run_of(m, 3, true);
    struct head_figures *list;
    struct err e = ERR_INIT;
    size_t n;
    const struct attention_options o = { .floor = true };
    assert_ok(attention_heads_with(r, 1, &o, &list, &n, &e), &e);
    struct tensor z = models_read(whole, 0, "blk.1.attn.score");
    for (size_t h = 0; h < n; h++) {
        double floor = 0;
        for (int t = 1; t < IDS; t++) {
            const float *row = z.data + ((int)h * IDS + t) * IDS;
            const double keys = t + 1;
            double mean = 0, squares = 0;
            for (int j = 0; j <= t; j++)
                mean += (double)row[j] / keys;
            for (int j = 0; j <= t; j++)
                squares += pow((double)row[j] - mean, 2);
            const double s = sqrt(squares), w = exp(-s * sqrt(keys / (keys - 1)));
            floor += (log(1 + (keys - 1) * w)
                      + s * sqrt(keys * (keys - 1)) * w / (1 + (keys - 1) * w))
                     / (IDS - 1);
        }
        assert_within(list[h].floor, floor, 1e-9);
        assert_true(list[h].entropy >= list[h].floor - 1e-6 && list[h].floor > 0);
    }
    free(list);
    run_free(r);
    run_free(whole);
    model_free(m);
}

static void heads_are_measured(void **state)
{
    (void)state;
    struct model *m = models_open(golden_path("models/llama-gqa-tied.gguf"));
    assert_true(m->graph->kv_heads < m->graph->heads);
    assert_heads(m, 0);
    assert_heads(m, 1);
    assert_heads(m, 4);
    model_free(m);
    m = models_open(golden_path("models/gpt2.gguf"));
    struct run *r = run_of(m, 0, false);
    struct head_figures *list;
    size_t n;
    struct err e = ERR_INIT;
    assert_fails(attention_heads(r, -1, NULL, &list, &n, &e), ST_STATE, &e);
    assert_ok(run_forward(r, (struct position){ 0, m->graph->blocks[0].end }, NULL, NULL, &e), &e);
    assert_ok(attention_heads(r, -1, NULL, &list, &n, &e), &e);
    assert_int_equal(n, m->graph->heads); /* the other blocks are still to come */
    free(list);
    assert_fails(attention_heads(r, 1, NULL, &list, &n, &e), ST_STATE, &e);
    run_free(r);
    model_free(m);
}

/* --- outliers ----------------------------------------------------------------------------------
 */

static void verbs_show_the_figures(void **state)
{
    (void)state;
    struct session_run *run;
    struct session *s = prompted(golden_path("models/llama-gqa-tied.gguf"), ids, IDS, &run);
    command(s, "run");
    struct run *r = s->models.run->run;
    const int64_t vocab = run_graph(r)->vocab;
    struct result out = answer(s, "topk 3 tok=-2"), two;
    struct tensor x = models_read(r, 0, "output.out");
    const float *row = x.data + (IDS - 2) * vocab;
    struct prediction top[3];
    prediction_top(row, vocab, 3, top);
    const struct table *t = out.tables[0];
    assert_int_equal(t->n_rows, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(number_at(t, i, "id") == top[i].id
                    && number_at(t, i, "logit") == (double)row[top[i].id]);
        assert_true(number_at(t, i, "prob") == top[i].prob
                    && number_at(t, i, "rank") == (double)i + 1);
    }
    result_free(&out);
    two = answer(s, "logits id=7 id=3 tok=9");
    assert_true(number_at(two.tables[0], 0, "logit") == (double)row[7]);
    assert_true(number_at(two.tables[0], 1, "logit") == (double)row[3]);
    assert_true(number_at(two.tables[1], 0, "difference") == (double)row[7] - (double)row[3]);
    result_free(&two);
    out = answer(s, "lens 2");
    t = out.tables[0];
    assert_int_equal(t->n_rows, run_graph(r)->n_blocks + 1);
    assert_true(number_at(t, t->n_rows - 1, "kl") == 0 && number_at(t, t->n_rows - 1, "rank") == 1);
    assert_true(number_at(t, t->n_rows - 1, "prob") == number_at(t, t->n_rows - 1, "p1"));
    result_free(&out);
    out = answer(s, "entropy blk.1.attn.prob");
    assert_int_equal(out.tables[0]->n_rows, run_graph(r)->heads);
    assert_true(number_at(out.tables[0], 0, "block") == 1);
    result_free(&out);
    out = answer(s, "attn blk.1 head=2 tok=3:6");
    x = models_read(r, 0, "blk.1.attn.prob");
    assert_int_equal(out.tables[0]->n_rows, 3);
    assert_int_equal(out.tables[0]->n_columns, 1 + IDS);
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < IDS; k++)
            assert_true(table_cell(out.tables[0], i, k + 1)->f
                        == (double)x.data[(2 * IDS + 3 + (int)i) * IDS + (int)k]);
    result_free(&out);
    session_free(s);
}

static void a_reference_is_put_beside(void **state)
{
    (void)state;
    struct session_run *run;
    struct session *s = prompted(golden_path("models/llama-gqa-tied-q4_0.gguf"), ids, IDS, &run);
    char ref[300];
    snprintf(ref, sizeof ref, "ref \"%s\"", golden_path("models/llama-gqa-tied.gguf"));
    command(s, "run");
    struct result alone = answer(s, "entropy");
    assert_int_equal(table_find(alone.tables[0], "change"), -1);
    command(s, "%s", ref);
    struct result out = answer(s, "entropy"), lens = answer(s, "lens 1");
    struct model *m = models_open(golden_path("models/llama-gqa-tied.gguf"));
    struct run *r = run_of(m, 0, true);
    struct head_figures *list;
    struct lens mine, theirs;
    size_t n;
    struct err e = ERR_INIT;
    assert_ok(attention_heads(r, -1, NULL, &list, &n, &e), &e);
    assert_int_equal(out.tables[0]->n_rows, n);
    for (size_t i = 0; i < n; i++) {
        const double x = number_at(out.tables[0], i, "normalised");
        assert_true(x == number_at(alone.tables[0], i, "normalised"));
        assert_within(number_at(out.tables[0], i, "ref"), list[i].normalised, 1e-6);
        assert_within(number_at(out.tables[0], i, "change"), x - list[i].normalised, 1e-6);
    }
    assert_ok(lens_of(r, IDS - 1, NULL, &theirs, &e), &e);
    assert_ok(lens_of(s->models.run->run, IDS - 1, NULL, &mine, &e), &e);
    for (int i = 0; i < mine.n; i++)
        assert_within(number_at(lens.tables[0], (size_t)i, "kl_ref"),
                     kl_of_logits(theirs.logits + i * mine.vocab, mine.logits + i * mine.vocab,
                                  mine.vocab, -INFINITY),
                     1e-5);
    assert_true(number_at(lens.tables[0], (size_t)mine.n - 1, "kl_ref") > 1e-6);
    lens_free(&mine);
    lens_free(&theirs);
    free(list);
    run_free(r);
    model_free(m);
    result_free(&alone);
    result_free(&out);
    result_free(&lens);
    session_free(s);
}

static void says_what_is_wrong(void **state)
{
    (void)state;
    struct session_run *run;
    struct session *s = session_new();
    static const char *const verbs[] = { "outliers", "topk",    "logits id=1",
                                         "lens",     "entropy", "attn blk.0 head=0" };
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        refused(s, ST_STATE, ANYWHERE, "no model", "%s", verbs[i]);
    session_free(s);
    s = prompted(golden_path("models/llama-gqa-tied.gguf"), ids, 3, &run);
    refused(s, ST_STATE, ANYWHERE, "has not been computed", "topk");
    refused(s, ST_STATE, ANYWHERE, "has not been computed", "entropy");
    refused(s, ST_STATE, ANYWHERE, "has not been computed", "attn blk.0 head=0");
    command(s, "run");
    refused(s, ST_SYNTAX, 5, "a number", "topk many");
    refused(s, ST_RANGE, 5, "1..", "topk 0");
    refused(s, ST_RANGE, 5, "-3..2", "topk tok=3");
    refused(s, ST_RANGE, 7, "-3..2", "lens 3 tok=x");
    refused(s, ST_SYNTAX, ANYWHERE, "which token", "logits");
    refused(s, ST_SYNTAX, 17, "two", "logits id=1 id=2 id=3");
    refused(s, ST_RANGE, 7, "0..", "logits id=99999");
    refused(s, ST_RANGE, 8, "blk.0 to", "entropy blk.99");
    refused(s, ST_SYNTAX, ANYWHERE, "which block", "attn");
    refused(s, ST_SYNTAX, ANYWHERE, "head=0", "attn blk.0");
    refused(s, ST_RANGE, ANYWHERE, "head", "attn blk.0 head=99");
    refused(s, ST_SYNTAX, 11, "one head", "attn blk.0 head=0:2");
    refused(s, ST_SYNTAX, 18, "head=H", "attn blk.0 head=0 chan=1");
    refused(s, ST_SYNTAX, 9, "names of points", "outliers blk.0.out[tok=1]");
    refused(s, ST_NOTFOUND, 9, "nothing", "outliers nothing");
    refused(s, ST_UNSUPPORTED, 9, "channels", "outliers output.out");
    refused(s, ST_UNSUPPORTED, 9, "channels", "outliers output_norm.weight");
    refused(s, ST_SYNTAX, ANYWHERE, "missing", "outliers k");
    refused(s, ST_RANGE, 11, "above 0", "outliers k -1");
    session_free(s);
}

/* Text names tokens where there is a tokenizer. */
static void tokens_by_text(void **state)
{
    (void)state;
    const char *path = need_data("stories260K/stories260K-f32.gguf");
    struct session *s = session_new();
    struct session_model *m;
    struct err e = ERR_INIT;
    assert_ok(session_open(s, path, NULL, &m, &e), &e);
    command(s, "prompt \"Once upon a time\"");
    command(s, "run");
    struct result out = answer(s, "logits \",\" \" a\"");
    assert_true(number_at(out.tables[0], 0, "rank") == 1); /* "Once upon a time," */
    const double difference = number_at(out.tables[0], 0, "logprob")
                              - number_at(out.tables[0], 1, "logprob");
    assert_within(number_at(out.tables[1], 0, "difference"), difference, 1e-12);
    result_free(&out);
    refused(s, ST_RANGE, 7, "one token is needed", "logits \" unbelievable\"");
    refused(s, ST_RANGE, 7, "this is 0", "logits \"\"");
    session_free(s);
}

UNIT_MAIN(CASE(ranks_tokens), CASE(ranks_many), CASE(lens_ends_in_the_logits),
          CASE(lens_computes_the_norm_anew), CASE(lens_sees_what_is_there),
          CASE(heads_are_measured), CASE(entropy_has_a_floor), CASE(a_reference_is_put_beside),
          CASE(verbs_show_the_figures), CASE(says_what_is_wrong), CASE(tokens_by_text))
