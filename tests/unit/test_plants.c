/* SPDX-License-Identifier: MIT */
/* Ground truth: files with one known fault, planted at random, and what each tool must find:
 * exactly that weight, row, block or channel, and nothing else. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "file/lint.h"
#include "kernels/codec.h"
#include "kernels/statistics.h"
#include "session/control.h"
#include "study/compare.h"
#include "study/overflow.h"
#include "study/qerr.h"
#include "study/why.h"
#include "tests/harness/commands.h"
#include "tests/harness/plant.h"

enum { PLANTS = 200, FEW = 20 /* in a model of QDB_DATA */, N_IDS = 8 };
static const int32_t ids[N_IDS] = { 5, 9, 3, 7, 11, 2, 8, 4 };

/* Plants made by `test` in one file. */
static void in_file(const char *path, int plants, uint64_t seed,
                    void (*test)(const struct original *o, int plants, uint64_t seed))
{
    struct original o = original_open(path);
    test(&o, plants, seed);
    original_free(&o);
}

/* Findings of one check about matrices, and how many name this row of this weight. */
static void lint_score(const struct model *m, const char *check, const struct weight *planted,
                       int64_t row, struct plant_score *score)
{
    struct err e = ERR_INIT;
    struct lint l;
    char text[40];
    int claims = 0, right = 0;
    snprintf(text, sizeof text, "row %d", (int)row);
    assert_ok(lint_weights(m->weights, 0, NULL, &l, &e), &e);
    for (size_t i = 0; i < l.n; i++) {
        if (strcmp(l.list[i].check, check))
            continue;
        claims++;
        const char *at = strstr(l.list[i].message, text);
        right += str_is(planted->name, l.list[i].subject) && at
                 && (at[strlen(text)] < '0' || at[strlen(text)] > '9');
    }
    lint_free(&l);
    plant_score_add(score, claims, right);
}

/* ---- a NaN scale ---- */

static bool has_nan(struct run *r, int value)
{
    struct err e = ERR_INIT;
    struct tensor x;
    assert_ok(run_read(r, 0, value, &x, &e), &e);
    for (int64_t i = 0; i < shape_count(&x.shape); i++)
        if (isnan(x.data[i]))
            return true;
    return false;
}

/* Does the catch stop at the first point of all with a NaN, that is made with the weight, at an
 * element of the row? No stop: no point has one. */
static void catch_score(const char *path, const struct weight *planted, int64_t row,
                        struct plant_score *score)
{
    struct err e = ERR_INIT;
    struct session_run *r;
    struct session *s = prompted(path, ids, N_IDS, &r);
    struct breakpoint *b;
    struct stop stop;
    assert_ok(breakpoint_add(&s->breaks, BREAK_CATCH, NULL, &b, &e), &e);
    assert_ok(condition_parse(STR("nan"), &b->condition, &e), &e);
    assert_ok(control_forward(s, r, run_end(r->run), STOP_END, &stop, &e), &e);
    const struct graph *g = run_graph(r->run);
    bool right = stop.reason == STOP_CATCH && s->hit.run == r;
    if (right) {
        const struct node *node = &g->nodes[g->values[s->hit.value].node];
        const int64_t per = shape_per_token(&g->values[s->hit.value].shape);
        const int64_t at = node->op == OP_EMBED ? ids[s->hit.at / per] : s->hit.at % per;
        right = node->w[0] && str_eq(node->w[0]->name, planted->name) && at == row;
        for (int v = 0; v < g->n_values; v++)
            right = right
                    && (g->values[v].node >= g->values[s->hit.value].node || !has_nan(r->run, v));
    }
    plant_score_add(score, stop.reason == STOP_CATCH, right);
    session_free(s);
}

static void why_score(struct run *r, const struct weight *planted, int64_t row, int64_t block,
                      struct plant_score *score)
{
    struct err e = ERR_INIT;
    struct tensor x;
    struct why w;
    const struct graph *g = run_graph(r);
    assert_ok(run_read(r, 0, g->logits, &x, &e), &e);
    int64_t at = shape_count(&x.shape) - 1;
    while (at >= 0 && !isnan(x.data[at]))
        at--;
    if (at < 0) {
        plant_score_add(score, 0, 0);
        return;
    }
    assert_ok(why_of(r, 0, g->logits, at, &w, &e), &e);
    const struct why_step *birth = &w.steps[w.n - 1];
    const struct node *node = &g->nodes[g->values[birth->value].node];
    plant_score_add(score, 1,
              birth->verdict == WHY_WEIGHT
                  && str_eq(node->w[birth->cause.slot]->name, planted->name)
                  && birth->cause.row == row
                  && birth->cause.col / format_info(planted->format)->block == block);
    why_free(&w);
}

static void nan_scales(const struct original *o, int plants, uint64_t seed)
{
    struct plant_score lint = { 0 }, caught = { 0 }, why = { 0 };
    for (int i = 0; i < plants; i++) {
        const struct weight *w = plant_draw(o, "q4_0", &seed);
        const struct format_info *f = format_info(w->format);
        const int64_t row = (int64_t)(unit_random(&seed) % w->rows);
        const int64_t block = (int64_t)(unit_random(&seed) % (w->cols / (uint64_t)f->block));
        char *copy = original_copy(o), path[PLANT_PATH];
        memcpy(plant_at(o, copy, w, row, block), "\0\x7e", 2); /* the scale, a half */
        plant_write(o, copy, path);
        struct model *m = plant_model(o, copy);
        struct run *r = plant_run(m, COMPUTE_EXACT, ids, N_IDS);
        lint_score(m, "nan", w, row, &lint);
        catch_score(path, w, row, &caught);
        why_score(r, w, row, block, &why);
        unlink(path);
        run_free(r);
        model_free(m);
        free(copy);
    }
    plant_score_expect("NaN scales, lint", &lint);
    plant_score_expect("NaN scales, catch nan", &caught);
    plant_score_expect("NaN scales, why", &why);
}

static void a_nan_scale_is_found_by_lint_catch_and_why(void **unused)
{
    (void)unused;
    in_file(golden_path("models/llama-gqa-tied-q4_0.gguf"), PLANTS, 11, nan_scales);
}

static void a_nan_scale_of_a_real_model(void **unused)
{
    (void)unused;
    in_file(need_data("stories260K/stories260K-ffn192-Q4_0.gguf"), FEW, 111, nan_scales);
}

/* ---- a weight that is wrong but finite, beside the file as it was ---- */

/* What diverge goes by: which ops make an error of their own on the reference's input. */
static void made_here(struct run *r, struct run *ref, const struct weight *planted, int64_t row,
                      struct plant_score *score)
{
    struct err e = ERR_INIT;
    int claims = 0, right = 0;
    struct ref_source from = { .run = ref };
    const struct graph *g = run_graph(r);
    for (int i = 0; i < g->n_nodes; i++) {
        struct point_error p;
        const int value = g->nodes[i].out;
        if (run_skips(r, value))
            continue;
        assert_ok(compare_made_here(r, &from, 0, value, -1, NULL, &p, &e), &e);
        if (p.maxerr_at < 0)
            continue;
        const struct weight *w = g->nodes[i].w[0];
        const int64_t per = shape_per_token(&g->values[value].shape);
        const int64_t at = g->nodes[i].op == OP_EMBED ? ids[p.maxerr_at / per] : p.maxerr_at % per;
        claims++;
        right += w && str_eq(w->name, planted->name) && at == row;
    }
    plant_score_add(score, claims, right);
}

/* What qerr says: rows with an error, and blocks (where the format has any), over all weights. */
static void qerr_score(const struct model *m, const struct model *ref, const struct weight *planted,
                       int64_t row, int64_t block, struct plant_score *score)
{
    struct err e = ERR_INIT;
    int claims = 0, right = 0;
    for (size_t i = 0; i < m->weights->n; i++) {
        const struct weight *w = &m->weights->list[i];
        const bool here = str_eq(w->name, planted->name);
        struct qerr q;
        assert_ok(qerr_of(weights_find(ref->weights, w->name), w,
                          &(struct qerr_options){ .rows = true, .worst = 3 }, &q, &e),
                  &e);
        for (uint64_t k = 0; block < 0 && k < w->rows; k++) {
            claims += q.rows[k].error > 0;
            right += q.rows[k].error > 0 && here && (int64_t)k == row;
        }
        for (size_t k = 0; block >= 0 && k < q.n_worst; k++) {
            claims += q.worst[k].relerr > 0;
            right += q.worst[k].relerr > 0 && here && q.worst[k].row == row
                     && q.worst[k].blkq == block;
        }
        qerr_free(&q);
    }
    plant_score_add(score, claims, right);
}

/* A scale with the wrong sign, or 16 times too large; nothing where the scale is 0. */
static bool wrong_scale(uint8_t *p, uint64_t *seed)
{
    uint16_t scale;
    memcpy(&scale, p, sizeof scale);
    if (!(scale & 0x7fff))
        return false;
    scale = unit_random(seed) % 2 ? scale ^ 0x8000 : (uint16_t)(scale + (4 << 10));
    memcpy(p, &scale, sizeof scale);
    return true;
}

/* Zeroed rows of plain numbers, wrong scales of quantized ones. */
static void spoiled(const struct original *o, int plants, uint64_t seed, const char *format)
{
    const bool zero = !strcmp(format, "f32");
    struct run *ref = plant_run(o->m, COMPUTE_EXACT, ids, N_IDS);
    struct plant_score lint = { 0 }, qerr = { 0 }, diverge = { 0 };
    while (diverge.plants < plants) {
        const struct weight *w = plant_draw(o, format, &seed);
        const int64_t row = (int64_t)(unit_random(&seed) % w->rows);
        const uint64_t blocks = w->cols / (uint64_t)format_info(w->format)->block;
        const int64_t block = zero ? -1 : (int64_t)(unit_random(&seed) % blocks);
        char *copy = original_copy(o);
        uint8_t *p = plant_at(o, copy, w, row, zero ? 0 : block);
        if (zero)
            memset(p, 0, w->row_bytes);
        if (zero || wrong_scale(p, &seed)) {
            struct model *m = plant_model(o, copy);
            struct run *r = plant_run(m, COMPUTE_EXACT, ids, N_IDS);
            if (zero)
                lint_score(m, "zero-row", w, row, &lint);
            qerr_score(m, o->m, w, row, block, &qerr);
            made_here(r, ref, w, row, &diverge);
            run_free(r);
            model_free(m);
        }
        free(copy);
    }
    if (zero)
        plant_score_expect("zeroed rows, lint", &lint);
    plant_score_expect(zero ? "zeroed rows, qerr" : "wrong scales, qerr", &qerr);
    plant_score_expect(zero ? "zeroed rows, diverge" : "wrong scales, diverge", &diverge);
    run_free(ref);
}

static void zeroed_rows(const struct original *o, int plants, uint64_t seed)
{
    spoiled(o, plants, seed, "f32");
}

static void wrong_scales(const struct original *o, int plants, uint64_t seed)
{
    spoiled(o, plants, seed, "q8_0");
}

static void a_zeroed_row_is_found_by_lint_qerr_and_diverge(void **unused)
{
    (void)unused;
    in_file(golden_path("models/llama-gqa-tied.gguf"), PLANTS, 12, zeroed_rows);
}

static void a_zeroed_row_of_a_real_model(void **unused)
{
    (void)unused;
    in_file(need_data("stories260K/stories260K-f32.gguf"), FEW, 112, zeroed_rows);
}

static void a_wrong_scale_is_found_by_qerr_and_diverge(void **unused)
{
    (void)unused;
    in_file(golden_path("models/llama-gqa-tied-q8_0.gguf"), PLANTS, 13, wrong_scales);
}

static void a_wrong_scale_of_a_real_model(void **unused)
{
    (void)unused;
    in_file(need_data("stories260K/stories260K-ffn192-Q8_0.gguf"), FEW, 113, wrong_scales);
}

/* ---- a channel 64 times larger whose readers are 64 times smaller ---- */

static void scale_by(uint8_t *p, float factor)
{
    float x;
    memcpy(&x, p, sizeof x);
    x *= factor;
    memcpy(p, &x, sizeof x);
}

static int norm_out(const struct graph *g, int block)
{
    char name[40];
    snprintf(name, sizeof name, "blk.%d.ffn_norm.out", block);
    return graph_point(g, str_from(name), NULL, NULL);
}

static char *large_channel(const struct original *o, int block, int64_t channel)
{
    static const char *const readers[] = { "ffn_gate", "ffn_up" };
    char name[64], *copy = original_copy(o);
    snprintf(name, sizeof name, "blk.%d.ffn_norm.weight", block);
    scale_by(plant_at(o, copy, weights_find(o->m->weights, str_from(name)), 0, channel), 64);
    for (int k = 0; k < 2; k++) {
        snprintf(name, sizeof name, "blk.%d.%s.weight", block, readers[k]);
        const struct weight *w = weights_find(o->m->weights, str_from(name));
        for (uint64_t row = 0; row < w->rows; row++)
            scale_by(plant_at(o, copy, w, (int64_t)row, channel), 1.0f / 64);
    }
    return copy;
}

/* A channel that has something to say at every token but the first. */
static int64_t draw_channel(struct run *r, int block, uint64_t *seed)
{
    struct err e = ERR_INIT;
    struct tensor x;
    assert_ok(run_read(r, 0, norm_out(run_graph(r), block), &x, &e), &e);
    const int64_t n = x.shape.d[1].n;
    for (;;) {
        const int64_t c = (int64_t)(unit_random(seed) % (uint64_t)n);
        float least = INFINITY, sum = 0;
        for (int t = 1; t < N_IDS; t++) {
            least = fminf(least, fabsf(x.data[t * n + c]));
            sum += fabsf(x.data[t * n + c]);
        }
        if (least > 0.1f && sum > 0.6f * (N_IDS - 1))
            return c;
    }
}

static bool same_logits(struct run *r, struct run *ref)
{
    struct err e = ERR_INIT;
    struct tensor x, y;
    assert_ok(run_read(r, 0, run_graph(r)->logits, &x, &e), &e);
    assert_ok(run_read(ref, 0, run_graph(ref)->logits, &y, &e), &e);
    return !memcmp(x.data, y.data, (size_t)shape_count(&x.shape) * sizeof *x.data);
}

/* Points whose largest outlier(4) channel is not that of the reference. */
static void outlier_score(struct run *r, struct run *ref, int value, int64_t channel,
                          struct plant_score *score)
{
    struct err e = ERR_INIT;
    int claims = 0, right = 0;
    const struct graph *g = run_graph(r);
    for (int v = 0; v < g->n_values; v++) {
        struct outlier_report report[2];
        for (int k = 0; k < 2; k++) {
            struct tensor x;
            assert_ok(run_read(k ? ref : r, 0, v, &x, &e), &e);
            if (x.shape.rank != 2 || x.shape.d[0].axis != AXIS_TOK || v == g->logits) {
                report[0] = report[1] = (struct outlier_report){ 0 };
                break;
            }
            const int64_t n = x.shape.d[1].n;
            float *absmax = x_alloc((size_t)n * 2 * sizeof *absmax);
            int32_t *row = x_alloc((size_t)n * 2 * sizeof *row);
            double *squares = x_alloc((size_t)n * sizeof *squares);
            struct channel_table t = { absmax, row, row + n, squares, NULL };
            outliers_of(x.data, N_IDS, n, 1, 4, &t, absmax + n, &report[k]);
            free(absmax);
            free(row);
            free(squares);
        }
        if (!report[0].hits || (report[1].hits && report[1].absmax_col == report[0].absmax_col))
            continue;
        claims++;
        right += v == value && report[0].absmax_col == channel;
    }
    plant_score_add(score, claims, right);
}

/* Points that have less head-room than in the reference. */
static void overflow_score(struct run *r, struct run *ref, int value, int64_t channel,
                           struct plant_score *score)
{
    struct err e = ERR_INIT;
    int claims = 0, right = 0;
    const struct graph *g = run_graph(r);
    bool *want = x_alloc((size_t)g->n_values * sizeof *want);
    struct point_range *x = x_alloc((size_t)g->n_values * 2 * sizeof *x), *y = x + g->n_values;
    for (int v = 0; v < g->n_values; v++)
        want[v] = true;
    assert_ok(overflow_of(r, want, NULL, x, &e), &e);
    assert_ok(overflow_of(ref, want, NULL, y, &e), &e);
    for (int v = 0; v < g->n_values; v++) {
        if (!(headroom_bits(F16_LARGEST, x[v].absmax) < headroom_bits(F16_LARGEST, y[v].absmax)))
            continue;
        claims++;
        right += v == value && x[v].at % shape_per_token(&g->values[v].shape) == channel;
    }
    free(want);
    free(x);
    plant_score_add(score, claims, right);
}

/* In q8_0 and mode native, the large channel drowns its block: the first point that diverges from
 * the file as it is is one of the two that read the channel. */
static void native_score(const char *path, int block, struct plant_score *score)
{
    struct session *s = session_new();
    char line[600];
    command(s, "set compute native");
    command(s, "open \"%s\"", path);
    command(s, "quant blk.%d.ffn_{gate,up}.weight q8_0", block);
    command(s, "prompt -t 5,9,3,7,11,2,8,4");
    command(s, "diverge relerr 0.02");
    bool right = false;
    if (s->hit.run) {
        const char *name = run_graph(s->hit.run->run)->values[s->hit.value].name;
        for (int k = 0; k < 2; k++) {
            snprintf(line, sizeof line, "blk.%d.ffn_%s.out", block, k ? "gate" : "up");
            right |= !strcmp(name, line);
        }
    }
    plant_score_add(score, s->hit.run != NULL, right);
    session_free(s);
}

static void large_channels(const struct original *o, int plants, uint64_t seed)
{
    struct run *ref = plant_run(o->m, COMPUTE_EXACT, ids, N_IDS);
    struct plant_score outliers = { 0 }, overflow = { 0 }, diverge = { 0 };
    const struct graph *g = run_graph(ref);
    const bool q8_0 = g->width % 32 == 0;
    int same = 0;
    for (int i = 0; i < plants; i++) {
        const int block = (int)(unit_random(&seed) % (uint64_t)g->n_blocks);
        const int64_t channel = draw_channel(ref, block, &seed);
        char *copy = large_channel(o, block, channel), path[PLANT_PATH];
        plant_write(o, copy, path);
        struct model *m = plant_model(o, copy);
        struct run *r = plant_run(m, COMPUTE_EXACT, ids, N_IDS);
        same += same_logits(r, ref);
        outlier_score(r, ref, norm_out(g, block), channel, &outliers);
        overflow_score(r, ref, norm_out(g, block), channel, &overflow);
        if (q8_0)
            native_score(path, block, &diverge);
        unlink(path);
        run_free(r);
        model_free(m);
        free(copy);
    }
    assert_int_equal(same, plants); /* powers of two: the same bits */
    plant_score_expect("large channels, outliers", &outliers);
    plant_score_expect("large channels, overflow", &overflow);
    if (q8_0)
        plant_score_expect("large channels, diverge in native mode", &diverge);
    run_free(ref);
}

static void a_large_channel_is_found_by_outliers_overflow_and_diverge(void **unused)
{
    (void)unused;
    in_file(golden_path("models/llama-gqa-tied.gguf"), PLANTS, 14, large_channels);
}

static void a_large_channel_of_a_real_model(void **unused)
{
    (void)unused;
    in_file(need_data("stories260K/stories260K-f32.gguf"), FEW, 114, large_channels);
}

UNIT_MAIN(CASE(a_nan_scale_is_found_by_lint_catch_and_why), CASE(a_nan_scale_of_a_real_model),
          CASE(a_zeroed_row_is_found_by_lint_qerr_and_diverge), CASE(a_zeroed_row_of_a_real_model),
          CASE(a_wrong_scale_is_found_by_qerr_and_diverge), CASE(a_wrong_scale_of_a_real_model),
          CASE(a_large_channel_is_found_by_outliers_overflow_and_diverge),
          CASE(a_large_channel_of_a_real_model))
