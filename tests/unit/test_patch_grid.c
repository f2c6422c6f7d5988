/* SPDX-License-Identifier: MIT */
/* Patch grids: each cell is what a run with that one patch gives. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/statistics.h"
#include "study/patch_grid.h"
#include "tests/harness/models.h"

enum { N = 6 };
static const int32_t from[N] = { 5, 9, 3, 7, 11, 2 }, to[N] = { 5, 9, 8, 7, 11, 2 };
static const struct metric by_diff = { METRIC_LOGITDIFF, 17, 40 };

/* Copy part of a point of another run, [at, at + n) of every step. */
struct copy {
    const float *from;
    int64_t at, n, step, count;
};

static void apply(void *data, const struct event *ev, float *x)
{
    const struct copy *c = data;
    (void)ev;
    for (int64_t i = 0; i < c->count; i++)
        for (int64_t k = 0; k < c->n; k++)
            x[i * c->step + c->at + k] = c->from[i * c->step + c->at + k];
}

/* The logits after the last token, in a run of its own. */
static float *logits_with(const struct model *m, const char *point, struct copy *c)
{
    const struct run_options o = { .mode = COMPUTE_EXACT };
    int64_t n;
    struct run *r = models_run(m, &o, to, N);
    run_transform(r, graph_point(m->graph, str_from(point), NULL, NULL), apply, c);
    models_finish(r);
    float *all = models_output(r, "output.out", &n);
    memmove(all, all + (N - 1) * m->graph->vocab, (size_t)m->graph->vocab * sizeof *all);
    run_free(r);
    return all;
}

static double difference(const float *x) { return (double)x[17] - (double)x[40]; }

static void a_cell_is_a_run_with_one_patch(void **unused)
{
    (void)unused;
    struct err e = ERR_INIT;
    struct patch_grid g;
    const struct run_options o = { .mode = COMPUTE_EXACT };
    struct model *m = models_open(golden_path("models/llama-gqa-tied.gguf"));
    const int64_t width = m->graph->width, heads = m->graph->heads, size = width / heads;
    struct run *clean = models_run(m, &o, from, N);
    models_finish(clean);

    assert_ok(patch_grid_of(m, &o, from, to, N, PATCH_BLOCK, &by_diff, NULL, &g, &e), &e);
    assert_true(g.rows == m->graph->n_blocks && g.cols == N);
    struct copy c = { models_read(clean, 0, "blk.0.out").data, 2 * width, width, N * width, 1 };
    float *x = logits_with(m, "blk.0.out", &c);
    assert_true(fabs(g.restored[2] - (difference(x) - g.to) / (g.from - g.to)) < 1e-9);
    free(x);
    for (int t = 0; t < 2; t++) /* before the tokens differ there is nothing to give */
        assert_true(g.restored[t] == 0 && g.restored[N + t] == 0);
    assert_true(fabs(g.restored[N + N - 1] - 1) < 1e-9); /* the last token of the last block */
    free(g.restored);

    assert_ok(patch_grid_of(m, &o, from, to, N, PATCH_HEAD, &by_diff, NULL, &g, &e), &e);
    assert_true(g.rows == m->graph->n_blocks && g.cols == heads);
    c = (struct copy){ models_read(clean, 0, "blk.1.attn.z").data, size, size, width, N };
    x = logits_with(m, "blk.1.attn.z", &c);
    assert_true(fabs(g.restored[heads + 1] - (difference(x) - g.to) / (g.from - g.to)) < 1e-9);
    free(x);
    free(g.restored);
    run_free(clean);
    model_free(m);
}

static void every_metric_ends_at_one(void **unused)
{
    (void)unused;
    struct err e = ERR_INIT;
    const struct run_options o = { .mode = COMPUTE_NATIVE };
    struct model *m = models_open(golden_path("models/llama-gqa-tied-q8_0.gguf"));
    for (int k = METRIC_KL; k <= METRIC_LOGITDIFF; k++) {
        struct patch_grid g;
        const struct metric metric = { (enum metric_kind)k, 17, 40 };
        const enum st st = patch_grid_of(m, &o, from, to, N, PATCH_BLOCK, &metric, NULL, &g, &e);
        if (k == METRIC_TOP1 && st == ST_STATE) {
            free(g.restored); /* both prompts may end in the same token */
            continue;
        }
        assert_ok(st, &e);
        assert_true(fabs(g.restored[g.rows * g.cols - 1] - 1) < 1e-9);
        assert_true(g.restored[0] == 0);
        free(g.restored);
    }
    struct patch_grid g;
    assert_fails(patch_grid_of(m, &o, from, from, N, PATCH_BLOCK, &by_diff, NULL, &g, &e), ST_STATE,
                 &e);
    free(g.restored);
    model_free(m);
}

static void halt(struct progress *p, const char *label, double done, double total)
{
    assert_string_equal(label, "patch-grid");
    assert_true(done < total);
    if (done >= 3)
        *(volatile sig_atomic_t *)p->data = 1;
}

static void an_interrupt_leaves_what_is_done(void **unused)
{
    (void)unused;
    volatile sig_atomic_t cancel = 0;
    struct progress p = { halt, &cancel, (void *)&cancel };
    struct err e = ERR_INIT;
    struct patch_grid g;
    const struct run_options o = { .mode = COMPUTE_EXACT };
    struct model *m = models_open(golden_path("models/llama-gqa-tied.gguf"));
    assert_fails(patch_grid_of(m, &o, from, to, N, PATCH_BLOCK, &by_diff, &p, &g, &e), ST_CANCELLED,
                 &e);
    assert_true(isnan(g.restored[0]) && isfinite(g.restored[N]) && isnan(g.restored[N + 4]));
    free(g.restored);
    model_free(m);
}

UNIT_MAIN(CASE(a_cell_is_a_run_with_one_patch), CASE(every_metric_ends_at_one),
          CASE(an_interrupt_leaves_what_is_done))
