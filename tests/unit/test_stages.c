/* SPDX-License-Identifier: MIT */
/* The stages of a change, now, local and measured: what they show, when they end early, and what
 * is known of them when the change is taken back. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/harness/commands.h"
#include "tests/harness/models.h"

/* What was measured before a change is known when it is taken back, and made again. */
static void taking_back_shows_what_is_known(void **unused)
{
    (void)unused;
    struct sitting f = sitting_begin("--demo=add");
    struct result out = answer(f.s, "quant blk.0.attn_q.weight q4_0");
    const int64_t file = cell_named(&out, "quant", "file")->i,
                  whole = cell_named(&out, "quant", "file_before")->i;
    result_free(&out);
    out = answer(f.s, "undo"); /* nothing was measured */
    assert_int_equal(cell_named(&out, "size", "file")->i, whole);
    assert_int_equal(cell_named(&out, "size", "file_before")->i, file);
    assert_int_equal(out.n_tables, 2);
    result_free(&out);
    command(f.s, "data add");
    out = answer(f.s, "quant blk.0.attn_q.weight q4_0");
    const double kl = cell_named(&out, "measured", "kl")->f;
    assert_true(kl > 0);
    result_free(&out);
    command(f.s, "quant blk.1.attn_q.weight q4_0");
    out = answer(f.s, "undo");
    assert_true(cell_named(&out, "measured", "kl")->f == kl);
    assert_true(cell_named(&out, "measured", "kl_before")->f > 0);
    result_free(&out);
    out = answer(f.s, "reset");
    assert_true(cell_named(&out, "measured", "kl")->f == 0);
    assert_true(cell_named(&out, "measured", "kl_change")->f == -kl);
    result_free(&out);
    out = answer(f.s, "redo");
    assert_true(cell_named(&out, "measured", "kl")->f == kl);
    assert_int_equal(cell_named(&out, "size", "file")->i, file);
    result_free(&out);
    command(f.s, "skip blk.1.ffn"); /* is not measured when it is made */
    out = answer(f.s, "undo");
    assert_true(cell_named(&out, "measured", "kl")->f == kl);
    assert_true(cell_named(&out, "measured", "kl_change")->absent);
    result_free(&out);
    command(f.s, "set compute exact"); /* what is known is of another mode */
    out = answer(f.s, "undo");
    for (size_t i = 0; i < out.n_tables; i++)
        assert_string_not_equal(out.tables[i]->name, "measured");
    result_free(&out);
    sitting_end(&f);
}

/* The layer's own error, against its output computed by hand. */
static void layers_are_compared_on_what_they_read(void **unused)
{
    (void)unused;
    struct sitting f = sitting_begin("--demo=add");
    size_t bytes;
    free(sitting_logits(&f, &bytes));
    struct run *r = f.s->models.run->run;
    const struct weight *w = models_weight(f.m->model, "blk.1.ffn_down.weight");
    struct tensor x;
    int in = -1;
    for (int i = 0; i < run_graph(r)->n_nodes; i++)
        if (run_graph(r)->nodes[i].w[0] == w)
            in = run_graph(r)->nodes[i].in[0];
    assert_ok(run_read(r, 0, in, &x, &f.e), &f.e);
    float *input = malloc(5 * 256 * sizeof *input);
    memcpy(input, x.data, 5 * 256 * sizeof *input);
    struct result out = answer(f.s, "quant blk.1.ffn_down.weight q4_0");
    float *a = models_decoded(w), *b = models_decoded(&changes_form(f.s, f.m, w)->w);
    double signal = 0, noise = 0;
    for (int t = 0; t < 5; t++)
        for (int i = 0; i < 256; i++) {
            double y = 0, z = 0;
            for (int k = 0; k < 256; k++) {
                y += (double)a[i * 256 + k] * (double)input[t * 256 + k];
                z += (double)b[i * 256 + k] * (double)input[t * 256 + k];
            }
            signal += y * y;
            noise += (y - z) * (y - z);
        }
    assert_true(fabs(cell_named(&out, "local", "layer_sqnr")->f - 10 * log10(signal / noise))
                < 1e-3);
    assert_int_equal(cell_named(&out, "local", "layers")->i, 1);
    assert_int_equal(cell_named(&out, "local", "layer_tokens")->i, 5);
    result_free(&out);
    free(input);
    free(a);
    free(b);
    sitting_end(&f);
}

/* A change sends the run back: what the next one reads then comes from the evaluation set, or it is
 * said that there is nothing. */
static void layers_that_a_run_has_not_come_to_are_not_passed_over(void **unused)
{
    (void)unused;
    struct sitting f = sitting_begin("--demo=add");
    size_t bytes;
    free(sitting_logits(&f, &bytes));
    command(f.s, "quant blk.0.attn_q.weight q4_0");
    struct result out = answer(f.s, "quant blk.2.ffn_down.weight q4_0");
    for (size_t i = 0; i < out.n_tables; i++)
        assert_string_not_equal(out.tables[i]->name, "local");
    assert_true(noted(&out, "no stage local"));
    result_free(&out);
    out = answer(f.s, "quant blk.*.attn_q.weight q5_0"); /* of block 0 it has the input */
    assert_int_equal(cell_named(&out, "local", "layers")->i, 1);
    assert_true(noted(&out, "local leaves layers out that"));
    result_free(&out);
    command(f.s, "data add");
    out = answer(f.s, "quant blk.*.attn_q.weight q4_1");
    assert_true(cell_named(&out, "local", "layers")->i > 1);
    assert_true(cell_named(&out, "local", "layer_tokens")->i > 5); /* not those of the prompt */
    assert_true(!noted(&out, "stage local") && !noted(&out, "local leaves"));
    result_free(&out);
    command(f.s, "continue");
    out = answer(f.s, "quant blk.2.ffn_down.weight q5_1");
    assert_int_equal(cell_named(&out, "local", "layer_tokens")->i, 5);
    result_free(&out);
    sitting_end(&f);
}

/* ^C as soon as anything is under way. */
static void interrupt(struct progress *p, const char *label, double done, double total)
{
    (void)label, (void)done, (void)total;
    *(volatile sig_atomic_t *)p->data = 1;
}

static void interrupted_it_leaves_no_change(void **unused)
{
    (void)unused;
    struct sitting f = sitting_begin("--demo=add");
    volatile sig_atomic_t cancel = 0;
    struct progress p = { interrupt, &cancel, (void *)&cancel };
    f.s->progress = &p;
    refused(f.s, ST_CANCELLED, ANYWHERE, "", "quant ** q4_0");
    sitting_end(&f);
}

/* A person who sees what there is, and stops the measurement in its middle. */
struct person {
    struct front front;
    bool key, watched; /* stops by a key, else by ^C; keys are looked for */
    int shown;         /* tables that were there before anything was measured */
    volatile sig_atomic_t cancel;
};

static void see(struct front *f, struct result *out)
{
    struct person *p = f->data;
    p->shown = (int)out->n_tables;
    for (size_t i = 0; i < out->n_tables; i++)
        assert_string_not_equal(out->tables[i]->name, "measured");
    result_free(out);
}

static bool look_for_keys(struct front *f, bool on)
{
    struct person *p = f->data;
    p->watched = on;
    if (on || !p->key)
        return false;
    p->cancel = 0;
    return true;
}

static void stop_half_way(struct progress *p, const char *label, double done, double total)
{
    struct person *who = p->data;
    if (!str_starts(str_from(label), "measured"))
        return;
    assert_true(who->watched && done <= total);
    if (done > total / 2) {
        assert_true(str_starts(str_from(label), "measured\tkl "));
        who->cancel = 1;
    }
}

static void a_key_ends_the_measurement_and_keeps_the_change(void **unused)
{
    (void)unused;
    for (int key = 0; key < 2; key++) {
        struct sitting f = sitting_begin("--demo=add");
        struct person who = { .front = { .so_far = see, .keys = look_for_keys }, .key = key };
        struct progress p = { stop_half_way, &who.cancel, &who };
        struct result out = { 0 };
        command(f.s, "data add tokens 4000");
        who.front.data = &who;
        f.s->front = &who.front;
        f.s->progress = &p;
        const enum st st = command_run(f.s, STR("quant blk.0.** q4_0"), false, &out, &f.e);
        assert_int_equal(st, key ? ST_OK : ST_CANCELLED);
        assert_int_equal(out.status, RESULT_PARTIAL);
        assert_int_equal(who.shown, 3); /* change, now, local */
        const int64_t done = cell_named(&out, "measured", "segments")->i,
                      of = cell_named(&out, "measured", "segments_of")->i;
        assert_true(0 < done && done < of);
        assert_int_equal(cell_named(&out, "measured", "scored")->i % done, 0);
        assert_true(cell_named(&out, "measured", "kl_before")->f == 0);
        assert_true(cell_named(&out, "measured", "kl")->f > 0);
        assert_true(noted(&out, key ? "ended by a key" : "interrupted before all"));
        result_free(&out);
        assert_int_equal(f.s->changes.n, 1);
        who.cancel = 0;
        f.s->front = NULL;
        f.s->progress = NULL;
        command(f.s, "undo");
        assert_int_equal(f.s->changes.n, 0);
        sitting_end(&f);
    }
}

UNIT_MAIN(CASE(taking_back_shows_what_is_known), CASE(layers_are_compared_on_what_they_read),
          CASE(layers_that_a_run_has_not_come_to_are_not_passed_over),
          CASE(interrupted_it_leaves_no_change),
          CASE(a_key_ends_the_measurement_and_keeps_the_change))
