/* SPDX-License-Identifier: MIT */
/* Norms of the residual stream and of what is added to it equal what is computed here in double. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "study/norms.h"
#include "tests/harness/models.h"

static const int32_t ids[] = { 1, 17, 4, 9, 30, 2, 17, 4, 11, 8, 23 };
enum { IDS = sizeof ids / sizeof *ids };

static void assert_close(double got, double want)
{
    if (!(fabs(got - want) <= 1e-9 * fmax(1, fabs(want))))
        fail_msg("got %.12g, expected %.12g", got, want);
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median of x[1 .. IDS). */
static double middle(double *x)
{
    qsort(x + 1, IDS - 1, sizeof *x, by_size);
    return (x[1 + (IDS - 2) / 2] + x[1 + (IDS - 1) / 2]) / 2;
}

static float *copy_of(struct run *whole, const struct graph *g, int value)
{
    const size_t bytes = (size_t)(IDS * shape_per_token(&g->values[value].shape)) * sizeof(float);
    struct tensor x = models_read(whole, 0, g->values[value].name);
    return memcpy(x_alloc(bytes), x.data, bytes);
}

static double dot(const float *a, const float *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static void check_point(const float *x, int64_t width, const struct point_norms *p)
{
    double l2[IDS], sum = 0, squares = 0, m2 = 0, m4 = 0, most = 0, rest = 0;
    const double n = (double)((IDS - 1) * width);
    for (int t = 0; t < IDS; t++)
        l2[t] = sqrt(dot(x + t * width, x + t * width, width));
    for (int64_t i = 0; i < IDS * width; i++) {
        most = fmax(most, fabs((double)x[i]));
        if (i < width)
            continue;
        rest = fmax(rest, fabs((double)x[i]));
        sum += (double)x[i];
        squares += (double)x[i] * (double)x[i];
    }
    for (int64_t i = width; i < IDS * width; i++) {
        m2 += pow((double)x[i] - sum / n, 2) / n;
        m4 += pow((double)x[i] - sum / n, 4) / n;
    }
    assert_int_equal(p->tokens, IDS);
    assert_close(p->first, l2[0]);
    assert_close(p->l2, middle(l2));
    assert_close(p->rms, sqrt(squares / n));
    assert_close(p->kurt, m4 / (m2 * m2) - 3);
    assert_close(p->absmax_rest, rest);
    assert_close(p->absmax, most);
    assert_close(fabs((double)x[p->tok * width + p->chan]), most);
}

static void check_addition(const float *before, const float *update, int64_t width,
                           const struct update_norms *u)
{
    double gain[IDS], cosine[IDS];
    for (int t = 0; t < IDS; t++) {
        const float *a = before + t * width, *b = update + t * width;
        gain[t] = sqrt(dot(b, b, width) / dot(a, a, width));
        cosine[t] = dot(a, b, width) / sqrt(dot(a, a, width) * dot(b, b, width));
    }
    assert_close(u->first_gain, gain[0]);
    assert_close(u->first_cos, cosine[0]);
    assert_close(u->gain, middle(gain));
    assert_close(u->cos, middle(cosine));
}

static void check_model(const char *file, int64_t span)
{
    struct model *m = models_open(golden_path(file));
    const struct run_options o = { .span = span }, all = { 0 };
    struct run *r = models_run(m, &o, ids, IDS), *whole = models_run(m, &all, ids, IDS);
    const struct graph *g = m->graph;
    struct addition *list;
    struct err e = ERR_INIT;
    size_t n;
    models_finish(r);
    models_finish(whole);
    stream_additions(g, &list, &n);
    assert_int_equal(n, 2 * g->n_blocks);
    for (size_t i = 0; i < n; i++) {
        struct point_norms p;
        struct update_norms u;
        float *before = copy_of(whole, g, list[i].before), *sum = copy_of(whole, g, list[i].sum);
        float *update = copy_of(whole, g, list[i].update);
        for (int64_t k = 0; k < IDS * g->width; k++)
            assert_true(before[k] + update[k] == sum[k]);
        assert_ok(norms_of_point(r, list[i].sum, &p, &e), &e);
        check_point(sum, g->width, &p);
        assert_ok(norms_of_addition(r, &list[i], &u, &e), &e);
        check_addition(before, update, g->width, &u);
        free(before);
        free(update);
        free(sum);
    }
    free(list);
    run_free(r);
    run_free(whole);
    model_free(m);
}

static void figures_are_those_of_the_definition(void **state)
{
    (void)state;
    check_model("models/llama-gqa-tied.gguf", 0);
    check_model("models/llama-gqa-tied.gguf", 3);
    check_model("models/gpt2.gguf", 0);
    check_model("models/bert.gguf", 0); /* norms between the additions */
}

static void what_is_not_there_is_said(void **state)
{
    (void)state;
    struct model *m = models_open(golden_path("models/llama-gqa-tied.gguf"));
    struct run *r = models_run(m, &(struct run_options){ 0 }, ids, IDS);
    struct point_norms p;
    struct err e = ERR_INIT;
    assert_fails(norms_of_point(r, m->graph->embedding, &p, &e), ST_STATE, &e);
    models_finish(r);
    const int prob = graph_point(m->graph, STR("blk.0.attn.prob"), &(struct shape){ 0 }, NULL);
    assert_fails(norms_of_point(r, prob, &p, &e), ST_UNSUPPORTED, &e);
    run_free(r);
    r = models_run(m, &(struct run_options){ 0 }, ids, 1);
    models_finish(r);
    assert_ok(norms_of_point(r, m->graph->embedding, &p, &e), &e);
    assert_true(p.first > 0 && isnan(p.l2) && isnan(p.rms));
    run_free(r);
    model_free(m);
}

UNIT_MAIN(CASE(figures_are_those_of_the_definition), CASE(what_is_not_there_is_said))
