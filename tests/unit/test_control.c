/* SPDX-License-Identifier: MIT */
/* A session steps a run: breakpoints, levels, positions, both directions. */
#include "tests/harness/unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "session/control.h"
#include "session/session.h"

static const int32_t ids[] = { 5, 9, 3, 7, 11, 2, 8, 4 };
enum { N_IDS = sizeof ids / sizeof *ids };

struct fixture {
    struct session *s;
    struct session_run *r;
    const struct graph *g;
    struct err e;
};

static struct fixture begin(int64_t span)
{
    struct fixture f = { .s = session_new(), .e = ERR_INIT };
    struct session_model *m;
    char n[24];
    assert_int_equal(session_open(f.s, golden_path("models/llama-gqa-tied.gguf"), NULL, &m, &f.e),
                     ST_OK);
    snprintf(n, sizeof n, "%d", (int)span);
    assert_int_equal(settings_set(&f.s->settings, SETTING_SPAN, str_from(n), &f.e), ST_OK);
    assert_int_equal(session_prompt(f.s, ids, N_IDS, NULL, &f.r, &f.e), ST_OK);
    f.g = run_graph(f.r->run);
    return f;
}

static void at(const struct fixture *f, const char *position)
{
    struct buf b = { 0 };
    position_print(f->r->run, run_position(f->r->run), &b);
    assert_string_equal(buf_str(&b), position);
    buf_free(&b);
}

static struct position place(struct fixture *f, const char *text)
{
    struct position p;
    assert_int_equal(position_parse(f->r->run, str_from(text), &p, &f->e), ST_OK);
    return p;
}

static void breakpoints_stop_in_order(void **unused)
{
    (void)unused;
    struct fixture f = begin(0);
    struct stop stop;
    breakpoint_add(&f.s->breaks, STR("blk.*.ffn_down.out"), false);
    breakpoint_add(&f.s->breaks, STR("blk.1.in"), true); /* an alias of blk.0.out */
    static const char *const expected[] = { "s0:blk.0.ffn_down.out", "s0:blk.0.out",
                                            "s0:blk.1.ffn_down.out" };
    for (int i = 0; i < 3; i++) {
        assert_int_equal(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e),
                         ST_OK);
        assert_int_equal(stop.reason, STOP_BREAKPOINT);
        assert_int_equal(stop.breakpoint, i == 1 ? 2 : 1);
        at(&f, expected[i]);
    }
    assert_null(breakpoint_find(&f.s->breaks, 2)); /* temporary: gone once hit */
    assert_int_equal(breakpoint_find(&f.s->breaks, 1)->hits, 2);
    assert_int_equal(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), ST_OK);
    assert_int_equal(stop.reason, STOP_END);
    session_free(f.s);
}

static void breakpoints_open_fused_attention(void **unused)
{
    (void)unused;
    struct fixture f = begin(0);
    struct stop stop;
    struct breakpoint *b = breakpoint_add(&f.s->breaks, STR("blk.1.attn.prob"), false);
    assert_int_equal(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), ST_OK);
    assert_int_equal(stop.reason, STOP_BREAKPOINT);
    at(&f, "s0:blk.1.attn.prob");
    b->enabled = false;
    assert_int_equal(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), ST_OK);
    assert_int_equal(stop.reason, STOP_END);
    session_free(f.s);
}

static void tokens_choose_the_span(void **unused)
{
    (void)unused;
    struct fixture f = begin(2); /* spans of tokens 0-1, 2-3, 4-5, 6-7 */
    struct stop stop;
    struct breakpoint *b = breakpoint_add(&f.s->breaks, STR("blk.0.out"), false);
    b->tok_first = 3;
    b->tok_last = 5;
    for (int i = 1; i <= 2; i++) {
        assert_int_equal(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e),
                         ST_OK);
        assert_int_equal(run_position(f.r->run).span, i);
    }
    assert_int_equal(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), ST_OK);
    assert_int_equal(stop.reason, STOP_END);
    session_free(f.s);
}

static void levels_are_units_of_the_graph(void **unused)
{
    (void)unused;
    struct fixture f = begin(4);
    struct stop stop;
    const struct {
        enum level_choice level;
        const char *position;
    } steps[] = { { LEVEL_NODE, "s0:embd.out" },         { LEVEL_NODE, "s0:blk.0.attn_norm.out" },
                  { LEVEL_SUB, "s0:blk.0.mid" },         { LEVEL_NODE, "s0:blk.0.ffn_norm.out" },
                  { LEVEL_BLOCK, "s0:blk.0.out" },       { LEVEL_BLOCK, "s0:blk.1.out" },
                  { LEVEL_SPAN, "s0:output.out" },       { LEVEL_NODE, "s1:embd.out" },
                  { LEVEL_SPAN, "s1:output.out" } };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        assert_int_equal(control_step(f.s, f.r, steps[i].level, 1, &stop, &f.e), ST_OK);
        at(&f, steps[i].position);
    }
    assert_int_equal(control_reverse(f.s, f.r, LEVEL_SPAN, 1, &stop, &f.e), ST_OK);
    at(&f, "s0:output.out");
    assert_int_equal(control_reverse(f.s, f.r, LEVEL_NODE, 2, &stop, &f.e), ST_OK);
    at(&f, "s0:blk.1.out");
    assert_int_equal(control_reverse(f.s, f.r, LEVEL_BLOCK, 1, &stop, &f.e), ST_OK);
    at(&f, "s0:blk.0.out");
    assert_int_equal(control_reverse(f.s, f.r, LEVEL_SUB, 1, &stop, &f.e), ST_OK);
    at(&f, "s0:blk.0.mid");
    assert_int_equal(control_reverse(f.s, f.r, LEVEL_NODE, 1000, &stop, &f.e), ST_OK);
    assert_int_equal(stop.reason, STOP_START);
    at(&f, "s0:start");
    session_free(f.s);
}

static void reverse_undoes_forward(void **unused)
{
    (void)unused;
    struct fixture f = begin(3);
    struct stop stop;
    assert_int_equal(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), ST_OK);
    struct tensor x;
    const int last = run_n_spans(f.r->run) - 1;
    assert_int_equal(run_read(f.r->run, last, f.g->logits, &x, &f.e), ST_OK);
    size_t bytes = (size_t)shape_count(&x.shape) * sizeof *x.data;
    float *before = x_alloc(bytes);
    memcpy(before, x.data, bytes);
    for (int back = 1; back < 2 * f.g->n_nodes; back += 7) {
        assert_int_equal(control_reverse(f.s, f.r, LEVEL_NODE, back, &stop, &f.e), ST_OK);
        assert_int_equal(control_step(f.s, f.r, LEVEL_NODE, back, &stop, &f.e), ST_OK);
        assert_true(run_done(f.r->run));
        assert_int_equal(run_read(f.r->run, last, f.g->logits, &x, &f.e), ST_OK);
        assert_memory_equal(before, x.data, bytes);
    }
    free(before);
    session_free(f.s);
}

static void reverse_continue_finds_the_breakpoint_before(void **unused)
{
    (void)unused;
    struct fixture f = begin(4);
    struct stop stop;
    assert_int_equal(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), ST_OK);
    breakpoint_add(&f.s->breaks, STR("blk.0.mid"), false);
    static const char *const expected[] = { "s1:blk.0.mid", "s0:blk.0.mid", "s0:start" };
    for (int i = 0; i < 3; i++) {
        assert_int_equal(control_reverse_continue(f.s, f.r, &stop, &f.e), ST_OK);
        assert_int_equal(stop.reason, i < 2 ? STOP_BREAKPOINT : STOP_START);
        at(&f, expected[i]);
    }
    session_free(f.s);
}

static void positions_read_back(void **unused)
{
    (void)unused;
    struct fixture f = begin(3);
    struct stop stop;
    assert_int_equal(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), ST_OK);
    for (int span = 0; span < run_n_spans(f.r->run); span++)
        for (int node = 1; node <= f.g->n_nodes; node++) {
            struct buf b = { 0 };
            position_print(f.r->run, (struct position){ span, node }, &b);
            struct position p = place(&f, buf_str(&b));
            assert_int_equal(p.span, span);
            assert_int_equal(p.node, node);
            buf_free(&b);
        }
    assert_int_equal(position_compare(place(&f, "start"), (struct position){ 0, 0 }), 0);
    assert_int_equal(position_compare(place(&f, "end"), run_end(f.r->run)), 0);
    assert_int_equal(place(&f, "s1:end").span, 1);
    struct position p;
    assert_int_equal(position_parse(f.r->run, STR("s9:blk.0.out"), &p, &f.e), ST_RANGE);
    assert_int_equal(position_parse(f.r->run, STR("s1:blk.9.out"), &p, &f.e), ST_NOTFOUND);
    assert_int_equal(position_parse(f.r->run, STR("s"), &p, &f.e), ST_NOTFOUND);
    assert_int_equal(position_parse(f.r->run, STR(""), &p, &f.e), ST_NOTFOUND);
    session_free(f.s);
}

static void models_and_runs_live_side_by_side(void **unused)
{
    (void)unused;
    struct fixture f = begin(0);
    struct session_model *m, *first = f.s->models.model;
    struct session_run *other;
    assert_int_equal(session_open(f.s, golden_path("models/gpt2.gguf"), "g", &m, &f.e), ST_OK);
    assert_ptr_equal(f.s->models.model, m);
    assert_null(f.s->models.run); /* the new model has none yet */
    assert_int_equal(session_prompt(f.s, ids, N_IDS, "second", &other, &f.e), ST_OK);
    assert_int_equal(session_open(f.s, golden_path("models/gpt2.gguf"), "g", &m, &f.e), ST_STATE);
    assert_int_equal(session_prompt(f.s, ids, N_IDS, "g", &other, &f.e), ST_STATE);
    session_use_model(f.s, first);
    assert_ptr_equal(f.s->models.run, f.r);
    session_close(f.s, first);
    assert_null(session_find_run(f.s, STR("main")));
    assert_ptr_equal(f.s->models.run, session_find_run(f.s, STR("second")));
    session_free(f.s);
}

UNIT_MAIN(CASE(breakpoints_stop_in_order),
          CASE(breakpoints_open_fused_attention),
          CASE(tokens_choose_the_span),
          CASE(levels_are_units_of_the_graph),
          CASE(reverse_undoes_forward),
          CASE(reverse_continue_finds_the_breakpoint_before),
          CASE(positions_read_back),
          CASE(models_and_runs_live_side_by_side))
