/* SPDX-License-Identifier: MIT */
/* What everything that measures has in common: logits that are no numbers are said in one way, and
 * looks at the half `check` are counted by text and reference. */
#include "tests/harness/unit.h"

#include <math.h>
#include <string.h>

#include "kernels/level.h"
#include "tests/harness/commands.h"
#include "tests/harness/models.h"
#include "tests/harness/scratch.h"

static bool absent(const struct result *r, const char *table, const char *column)
{
    return cell_named(r, table, column)->absent;
}

static struct sitting measuring(const char *tokens)
{
    struct sitting f = sitting_begin(golden_path("models/llama-gqa-tied-q4_0.gguf"));
    command(f.s, "ref '%s'", golden_path("models/llama-gqa-tied.gguf"));
    command(f.s, "data '%s' tokens %s", golden_path("text/prose.txt"), tokens);
    return f;
}

static void broken_logits_are_said_in_one_way(void **unused)
{
    (void)unused;
    static const char *const lines[] = {
        "kl",     "kl until 50%",   "verify",
        "bisect", "check 'kl < 1'", "check 'top1 > 0' 'kl < 1' until decided",
        "worst",  "quant blk.0.attn_q.weight q8_0",
    };
    struct sitting f = measuring("5120");
    command(f.s, "set tensor blk.1.out[chan=3] = nan");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct result r = answer(f.s, "%s", lines[i]);
        if (!noted(&r, "the logits of the model are not finite at "))
            fail_msg("%s says nothing", lines[i]);
        if (i + 1 < sizeof lines / sizeof *lines && strcmp(lines[i], "bisect"))
            assert_int_equal(r.status, RESULT_FOUND);
        result_free(&r);
    }
    struct result r = answer(f.s, "kl");
    assert_true(noted(&r, "first at token 16 of segment 0"));
    assert_true(noted(&r, "`catch nan`") && noted(&r, "`lint`"));
    assert_true(absent(&r, "kl", "kl") && absent(&r, "kl", "perplexity"));
    assert_true(absent(&r, "kl", "ln_ppl_ratio") && !absent(&r, "kl", "ref_perplexity"));
    result_free(&r);
    r = answer(f.s, "worst 1");
    assert_true(absent(&r, "worst", "kl"));
    result_free(&r);
    r = answer(f.s, "bisect by block"); /* a damage without end, and what is mended of it */
    assert_true(absent(&r, "measured", "before") && absent(&r, "verdict", "before"));
    assert_true(cell_named(&r, "verdict", "share")->f == 1);
    assert_true(cell_named(&r, "verdict", "after")->f < 9);
    result_free(&r);
    r = answer(f.s, "check 'kl < 1' 'top1 > 0.1'");
    for (size_t i = 0; i < 2; i++) {
        const struct table *t = table_named(&r, "check");
        assert_string_equal(table_cell(t, i, (size_t)table_find(t, "verdict"))->s, "fails");
    }
    result_free(&r);
    r = answer(f.s, "ppl '%s' ctx 64 chunks 2", golden_path("text/prose.txt"));
    assert_int_equal(r.status, RESULT_FOUND);
    assert_true(noted(&r, "first at token 32 of chunk 0"));
    assert_true(absent(&r, "perplexity", "perplexity") && absent(&r, "perplexity", "nll"));
    result_free(&r);
    sitting_end(&f);
}

/* Where the reference gives no numbers either, nothing agrees: no figure of ranks is shown. */
static void broken_on_both_sides_is_no_agreement(void **unused)
{
    (void)unused;
    static const char *const lines[] = { "kl -v", "verify" };
    struct sitting f = sitting_begin("--demo=add");
    command(f.s, "data add");
    command(f.s, "set tensor blk.1.attn_q.weight = nan");
    command(f.s, "export gguf %s", scratch_path("nan.gguf"));
    command(f.s, "undo");
    struct result r = answer(f.s, "report --demo=add ref %s", scratch_path("nan.gguf"));
    assert_int_equal(r.status, RESULT_FOUND);
    assert_true(noted(&r, "the logits of the reference are not finite at "));
    assert_true(absent(&r, "report", "top1"));
    assert_true(absent(&r, "report", "worst"));
    result_free(&r);
    command(f.s, "open %s", scratch_path("nan.gguf"));
    command(f.s, "data add");
    r = answer(f.s, "quant blk.0.attn_q.weight q8_0");
    assert_true(noted(&r, "the logits of the model are not finite at "));
    assert_true(absent(&r, "measured", "top1"));
    result_free(&r);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        r = answer(f.s, "%s", lines[i]);
        assert_int_equal(r.status, RESULT_FOUND);
        assert_true(absent(&r, "kl", "kl"));
        assert_true(absent(&r, "kl", "top1"));
        assert_true(absent(&r, "kl", "top1_high"));
        for (size_t k = 0; k < r.n_tables; k++)
            assert_string_not_equal(r.tables[k]->name, "agreement");
        result_free(&r);
    }
    sitting_end(&f);
}

static void broken_logits_answer_nothing(void **unused)
{
    (void)unused;
    struct sitting f = sitting_begin("--demo=add");
    FILE *q = fopen(scratch_path("q.jsonl"), "w");
    assert_non_null(q);
    fputs("{\"prompt\": \"11111+22222=\", \"choices\": [\"33333\", \"44444\"], \"answer\": 0}\n",
          q);
    fclose(q);
    struct result r = answer(f.s, "task %s", scratch_path("q.jsonl"));
    assert_true(cell_named(&r, "task", "accuracy")->f == 1 && r.status == RESULT_OK);
    result_free(&r);
    command(f.s, "set tensor blk.0.attn_q.weight = nan");
    r = answer(f.s, "task %s", scratch_path("q.jsonl"));
    assert_int_equal(r.status, RESULT_FOUND);
    assert_true(noted(&r, "not finite at ") && noted(&r, " of line 1"));
    assert_true(absent(&r, "task", "accuracy"));
    assert_true(cell_named(&r, "task", "ref_accuracy")->f == 1);
    assert_true(absent(&r, "task", "mcnemar"));
    result_free(&r);
    r = answer(f.s, "task add 20");
    assert_int_equal(r.status, RESULT_FOUND);
    assert_true(noted(&r, "first at token 0 of answer 0"));
    assert_true(absent(&r, "task", "exact") && absent(&r, "task", "digit_logp"));
    assert_int_equal(r.n_tables, 1);
    result_free(&r);
    sitting_end(&f);
}

static void an_empty_half_is_said(void **unused)
{
    (void)unused;
    struct sitting f = measuring("80");
    refused(f.s, ST_STATE, 0, "the half `check` of the evaluation set is empty", "verify");
    refused(f.s, ST_STATE, 0, "the half `check` of the evaluation set is empty", "report a");
    sitting_end(&f);
}

static void looks_are_counted_by_text_and_reference(void **unused)
{
    (void)unused;
    struct sitting f = measuring("2560");
    const char *text = golden_path("text/prose.txt");
    struct result r = answer(f.s, "verify");
    assert_true(noted(&r, "look 1 at the half"));
    result_free(&r);
    command(f.s, "data '%s' tokens 3200", text); /* the same text */
    r = answer(f.s, "verify");
    assert_true(noted(&r, "look 2 at the half"));
    result_free(&r);
    command(f.s, "ref off");
    command(f.s, "set tensor blk.1.out = *1.01");
    r = answer(f.s, "verify"); /* beside another reference */
    assert_true(noted(&r, "look 1 at the half"));
    result_free(&r);
    command(f.s, "data '%s' tokens 80", text);
    refused(f.s, ST_STATE, ANYWHERE, "undecided", "check 'kl < 1'"); /* no segment to look at */
    command(f.s, "data '%s' tokens 4000", text);
    r = answer(f.s, "check 'kl < 5' lint");
    assert_true(noted(&r, "look 2 at the half"));
    result_free(&r);
    sitting_end(&f);
}

/* A cell that has no figure because it is below the floor. */
static bool below(const struct result *r, const char *table, const char *column)
{
    const struct cell *c = cell_named(r, table, column);
    return c->absent && c->instead && !strcmp(c->instead, "<floor");
}

static void below_the_floor_there_is_no_figure(void **unused)
{
    (void)unused;
    struct sitting f = sitting_begin("--demo=add");
    command(f.s, "set compute fast");
    command(f.s, "data add");
    struct result r = answer(f.s, "quant blk.0.attn_q.weight bf16");
    const double floor = cell_named(&r, "measured", "fast_floor")->f;
    assert_string_equal(cell_named(&r, "measured", "compute")->s, "fast");
    assert_true(floor > 0 && cell_named(&r, "measured", "below_floor")->i);
    assert_true(below(&r, "measured", "kl") && below(&r, "measured", "kl_change"));
    assert_true(absent(&r, "measured", "kl_low"));
    assert_true(absent(&r, "measured", "change_high"));
    assert_true(cell_named(&r, "measured", "kl_before")->f == 0); /* no change: 0 by definition */
    assert_true(!cell_named(&r, "measured", "before_below_floor")->i);
    result_free(&r);
    r = answer(f.s, "kl");
    const struct table *t = table_named(&r, "kl");
    assert_int_equal(t->columns[table_find(t, "kl")].type, COL_FLOAT);
    assert_true(below(&r, "kl", "kl") && cell_named(&r, "kl", "below_floor")->i);
    assert_true(cell_named(&r, "kl", "fast_floor")->f == floor);
    assert_string_equal(cell_named(&r, "kl", "level")->s, level_now()->name);
    result_free(&r);
    r = answer(f.s, "quant ** q2_k");
    assert_true(cell_named(&r, "measured", "kl")->f > floor && below(&r, "measured", "kl_before"));
    assert_true(cell_named(&r, "measured", "change_low")->f > floor);
    assert_true(!cell_named(&r, "measured", "below_floor")->i);
    assert_true(cell_named(&r, "measured", "before_below_floor")->i);
    assert_true(cell_named(&r, "measured", "fast_floor")->f == floor);
    result_free(&r);
    r = answer(f.s, "undo"); /* what was measured is known still */
    assert_true(below(&r, "measured", "kl") && !absent(&r, "measured", "kl_before"));
    assert_true(!cell_named(&r, "measured", "before_below_floor")->i);
    result_free(&r);
    command(f.s, "redo");
    command(f.s, "set compute native");
    r = answer(f.s, "quant blk.0.attn_q.weight q8_0");
    assert_true(absent(&r, "measured", "below_floor") && absent(&r, "measured", "fast_floor")
                && absent(&r, "measured", "level"));
    assert_true(absent(&r, "measured", "before_below_floor"));
    result_free(&r);
    sitting_end(&f);
}

UNIT_MAIN(CASE(below_the_floor_there_is_no_figure), CASE(broken_logits_are_said_in_one_way),
          CASE(broken_on_both_sides_is_no_agreement), CASE(broken_logits_answer_nothing),
          CASE(an_empty_half_is_said), CASE(looks_are_counted_by_text_and_reference))
