/* SPDX-License-Identifier: MIT */
/* Outliers: which channels and tokens stand out of arrays of known numbers, and of points. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "study/outliers.h"
#include "tests/harness/commands.h"
#include "tests/harness/models.h"

static const int32_t ids[] = { 1, 17, 4, 9, 30, 2, 17, 4, 11, 8, 23 };
enum { IDS = sizeof ids / sizeof *ids };

enum { ROWS = 100, COLS = 8 };

/* +-1 everywhere; channel 7 is zero. */
static float *even(void)
{
    float *x = x_alloc(ROWS * COLS * sizeof *x);
    for (int i = 0; i < ROWS * COLS; i++)
        x[i] = i % COLS == 7 ? 0 : i % 3 ? 1 : -1;
    return x;
}

static void nothing_stands_out(void **state)
{
    (void)state;
    float *x = even();
    struct outlier_scan s;
    outlier_scan_of(x, ROWS, COLS, 1.001, &s);
    assert_true(s.rest.rms == 1 && s.all.ratio == 1 && s.rest.ratio == 1);
    assert_int_equal(s.persistent + s.massive, 0);
    assert_int_equal(s.rest.live, 7);
    assert_int_equal(s.channels[7].tok, -1);
    assert_true(isnan(s.channels[7].ratio_rest));
    for (int t = 0; t < ROWS; t++)
        assert_true(s.tokens[t].ratio == 1 && s.tokens[t].hits == 0);
    outlier_scan_free(&s);
    free(x);
}

static void kinds_are_told_apart(void **state)
{
    (void)state;
    float *x = even();
    struct outlier_scan s;
    for (int t = 0; t < ROWS; t += 10)
        x[t * COLS + 2] = -20; /* ten tokens, the first among them */
    x[0 * COLS + 4] = 500;     /* the first alone */
    x[33 * COLS + 5] = 40;     /* one other */
    x[44 * COLS + 5] = NAN;
    outlier_scan_of(x, ROWS, COLS, 6, &s);
    /* 99 tokens of 7 live channels: nine -20, one 40, one that is not finite, the rest 1 */
    const double rms = sqrt((9 * 400.0 + 1600.0 + (99 * 7 - 11)) / (99 * 7));
    assert_within(s.rest.rms, rms, 1e-12);
    assert_within(s.rest.threshold, 6 * rms, 1e-12);
    assert_int_equal(s.persistent, 1);
    assert_int_equal(s.massive, 2);
    assert_int_equal(s.channels[2].kind, OUTLIER_PERSISTENT);
    assert_int_equal(s.channels[2].hits, 9);
    assert_true(s.channels[2].first && s.channels[2].ratio == 20 && s.channels[2].ratio_rest == 20);
    assert_int_equal(s.channels[4].kind, OUTLIER_FEW_TOKENS);
    assert_int_equal(s.channels[4].hits, 0);
    assert_int_equal(s.channels[4].tok, 0);
    assert_true(s.channels[4].first && s.channels[4].ratio == 500 && s.channels[4].ratio_rest == 1);
    assert_int_equal(s.channels[5].kind, OUTLIER_FEW_TOKENS);
    assert_int_equal(s.channels[5].tok, 33);
    assert_true(!s.channels[5].first && s.channels[5].value == 40);
    assert_true(s.all.ratio == 500 && s.all.absmax_col == 4 && s.rest.ratio == 40
                && s.rest.absmax_col == 5);
    /* tokens: the median row is sqrt(7 / 8) */
    assert_within(s.tokens[0].ratio, sqrt((250000 + 400 + 5) / 7.0), 1e-12);
    assert_int_equal(s.tokens[0].chan, 4);
    assert_int_equal(s.tokens[0].hits, 2);
    assert_int_equal(s.tokens[0].massive, 1);
    assert_int_equal(s.tokens[33].massive, 1);
    assert_int_equal(s.tokens[10].massive, 0);
    assert_int_equal(s.tokens[10].hits, 1);
    assert_int_equal(s.tokens[44].hits, 0);
    outlier_scan_free(&s);
    free(x);
}

static void few_rows_are_fine(void **state)
{
    (void)state;
    const float x[] = { 3, 0, 4 };
    struct outlier_scan s;
    outlier_scan_of(x, 1, 3, 6, &s); /* only the first token: nothing to compare with */
    assert_int_equal(s.persistent + s.massive, 0);
    assert_true(isnan(s.rest.rms) && isnan(s.tokens[0].ratio));
    assert_within(s.all.ratio, 4 / 3.5, 1e-12);
    outlier_scan_free(&s);
}

/* --- verbs -------------------------------------------------------------------------------------
 */

static void outliers_look_at_points(void **state)
{
    (void)state;
    struct session_run *r;
    struct session *s = prompted(golden_path("models/llama-gqa-tied.gguf"), ids, IDS, &r);
    const int blocks = s->models.model->model->graph->n_blocks;
    refused(s, ST_STATE, ANYWHERE, "no block", "outliers");
    refused(s, ST_STATE, 9, "not been computed", "outliers blk.0.out");
    command(s, "until blk.0.out");
    struct result out = answer(s, "outliers");
    assert_int_equal(out.tables[0]->n_rows, 3);
    assert_int_equal(out.n_notes, 1);
    result_free(&out);
    command(s, "continue");
    out = answer(s, "outliers k 1.5 4");
    assert_int_equal(out.tables[0]->n_rows, 3 * blocks);
    assert_int_equal(out.tables[1]->n_rows, 4);
    assert_true(number_at(out.tables[1], 0, "ratio") >= number_at(out.tables[1], 3, "ratio"));
    assert_int_equal(out.n_notes, 0);
    result_free(&out);
    out = answer(s, "outliers blk.*.attn_q.out");
    assert_int_equal(out.tables[0]->n_rows, blocks);
    result_free(&out);
    /* the figures are those of the scan over all spans */
    struct tensor x = models_read(s->models.run->run, 0, "blk.1.ffn_act.out");
    struct outlier_scan scan;
    outlier_scan_of(x.data, IDS, shape_per_token(&x.shape), 6, &scan);
    command(s, "set span 4");
    command(s, "prompt -t 1,17,4,9,30,2,17,4,11,8,23");
    command(s, "run");
    out = answer(s, "outliers blk.1.ffn_down.in");
    assert_true(number_at(out.tables[0], 0, "rms") == scan.rest.rms);
    assert_true(number_at(out.tables[0], 0, "ratio") == scan.all.ratio);
    assert_true(number_at(out.tables[0], 0, "chan") == (double)scan.all.absmax_col);
    assert_true(number_at(out.tables[0], 0, "rest") == scan.rest.ratio);
    outlier_scan_free(&scan);
    result_free(&out);
    session_free(s);
}

UNIT_MAIN(CASE(nothing_stands_out), CASE(kinds_are_told_apart), CASE(few_rows_are_fine),
          CASE(outliers_look_at_points))
