/* SPDX-License-Identifier: MIT */
/* A session steps a run: breakpoints, levels, positions, both directions. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/statistics.h"
#include "session/control.h"
#include "session/session.h"
#include "study/writer.h"

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

static struct breakpoint *add(struct fixture *f, enum break_kind kind, const char *text,
                              const char *condition)
{
    struct breakpoint *b;
    struct str address = str_from(text ? text : "");
    assert_int_equal(breakpoint_add(&f->s->breaks, kind, text ? &address : NULL, &b, &f->e), ST_OK);
    assert_int_equal(breakpoint_check(b, f->g, &f->e), ST_OK);
    if (condition)
        assert_int_equal(condition_parse(str_from(condition), &b->condition, &f->e), ST_OK);
    return b;
}

static void breakpoints_stop_in_order(void **unused)
{
    (void)unused;
    struct fixture f = begin(0);
    struct stop stop;
    add(&f, BREAK_POINT, "blk.*.ffn_down.out", NULL);
    add(&f, BREAK_POINT, "blk.1.in", NULL)->temporary = true; /* an alias of blk.0.out */
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
    struct breakpoint *b = add(&f, BREAK_POINT, "blk.1.attn.prob", NULL);
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
    add(&f, BREAK_POINT, "blk.0.out[tok=3:6]", NULL);
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
    } steps[] = { { LEVEL_NODE, "s0:embd.out" },   { LEVEL_NODE, "s0:blk.0.attn_norm.out" },
                  { LEVEL_SUB, "s0:blk.0.mid" },   { LEVEL_NODE, "s0:blk.0.ffn_norm.out" },
                  { LEVEL_BLOCK, "s0:blk.0.out" }, { LEVEL_BLOCK, "s0:blk.1.out" },
                  { LEVEL_SPAN, "s0:output.out" }, { LEVEL_NODE, "s1:embd.out" },
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
    add(&f, BREAK_POINT, "blk.0.mid", NULL);
    static const char *const expected[] = { "s1:blk.0.mid", "s0:blk.0.mid", "s0:start" };
    for (int i = 0; i < 3; i++) {
        assert_int_equal(control_reverse_continue(f.s, f.r, &stop, &f.e), ST_OK);
        assert_int_equal(stop.reason, i < 2 ? STOP_BREAKPOINT : STOP_START);
        at(&f, expected[i]);
    }
    session_free(f.s);
}

/* absmax of the named points of a span, by reading them. */
static double absmax(struct fixture *f, int span, const char *point)
{
    struct tensor x;
    struct summary sum;
    const int v = graph_point(f->g, str_from(point), NULL, NULL);
    assert_int_equal(run_read(f->r->run, span, v, &x, &f->e), ST_OK);
    summary_of(NULL, x.data, shape_count(&x.shape), &sum);
    return sum.absmax;
}

static void conditions_stop_where_they_hold_in_both_directions(void **unused)
{
    (void)unused;
    struct fixture f = begin(4);
    struct stop stop;
    assert_int_equal(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), ST_OK);
    double all[4], limit = 0; /* spans x blocks: between the largest and the second largest */
    int most = 0;
    for (int i = 0; i < 4; i++) {
        all[i] = absmax(&f, i / 2, i % 2 ? "blk.1.ffn_act.out" : "blk.0.ffn_act.out");
        most = all[i] > all[most] ? i : most;
    }
    for (int i = 0; i < 4; i++)
        limit = i != most && all[i] > limit ? all[i] : limit;
    char text[64], expected[64];
    snprintf(text, sizeof text, "absmax > %.9g", (limit + all[most]) / 2);
    snprintf(expected, sizeof expected, "s%d:blk.%d.ffn_act.out", most / 2, most % 2);
    struct breakpoint *b = add(&f, BREAK_POINT, "blk.*.ffn_act.out", text);
    assert_int_equal(control_reverse_continue(f.s, f.r, &stop, &f.e), ST_OK);
    assert_int_equal(stop.reason, STOP_BREAKPOINT);
    at(&f, expected);
    assert_string_equal(stop.hit.why.what, "absmax");
    assert_true(stop.hit.why.value == all[most]);
    assert_int_equal(control_reverse_continue(f.s, f.r, &stop, &f.e), ST_OK);
    assert_int_equal(stop.reason, STOP_START);
    assert_int_equal(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), ST_OK);
    at(&f, expected);
    assert_int_equal(b->hits, 1); /* going back does not count */
    assert_int_equal(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), ST_OK);
    assert_int_equal(stop.reason, STOP_END);
    session_free(f.s);
}

/* A watch of one element of the stream: forward it stops at every write that adds more than the
 * percentage of what was there, of which going back from the end finds the largest; the stops say
 * the same. */
static void an_element_that_is_written_stops_in_both_directions(void **unused)
{
    (void)unused;
    struct fixture f = begin(4);
    struct stop stop, back;
    struct write *list;
    size_t n;
    assert_int_equal(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), ST_OK);
    const int last = f.g->blocks[f.g->n_blocks - 1].output;
    const int64_t width = shape_per_token(&f.g->values[last].shape);
    assert_ok(writes_of(f.r->run, 1, last, 1 * width + 3, &list, &n, &f.e), &f.e);
    const int most = largest_write(list, n, 60);
    struct breakpoint *b = add(&f, BREAK_WATCH, "blk.1.out[tok=5,chan=3]", NULL);
    b->percent = 60;
    int expected = 0, met = 0;
    assert_int_equal(control_reverse_continue(f.s, f.r, &back, &f.e), ST_OK);
    assert_true(back.wrote && back.written == list[most].value);
    assert_int_equal(control_goto(f.s, f.r, (struct position){ 0, 0 }, &stop, &f.e), ST_OK);
    for (size_t i = 0; i < n; i++) {
        const double before = i ? list[i - 1].after : 0;
        if (!write_counts(list[i].x, before, 60))
            continue;
        expected++;
        assert_ok(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), &f.e);
        assert_int_equal(stop.reason, STOP_WATCHPOINT);
        assert_true(stop.wrote && stop.written == list[i].value);
        assert_true(stop.hit.why.value == list[i].after && stop.hit.before == before);
        assert_true(f.s->hit.value == list[i].value && f.s->hit.at == 1 * width + 3);
        const struct position at = run_position(f.r->run);
        assert_true(at.span == 1
                    && f.g->nodes[at.node - 1].out == (i ? list[i].sum : list[i].value));
        if ((int)i == most) {
            assert_true(!strcmp(stop.hit.place, back.hit.place)
                        && stop.hit.why.value == back.hit.why.value
                        && stop.hit.before == back.hit.before);
            met++;
        }
    }
    assert_true(expected > 1 && expected < (int)n && met == 1);
    assert_ok(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), &f.e);
    assert_int_equal(stop.reason, STOP_END);
    assert_int_equal(breakpoint_find(&f.s->breaks, b->number)->hits, expected);
    free(list);
    session_free(f.s);
}

/* With a condition: the largest of the writes after which it holds. */
static void a_condition_leaves_writes_out(void **unused)
{
    (void)unused;
    struct fixture f = begin(4);
    struct stop stop;
    struct write *list;
    size_t n;
    char condition[64];
    assert_int_equal(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), ST_OK);
    const int last = f.g->blocks[f.g->n_blocks - 1].output;
    const int64_t width = shape_per_token(&f.g->values[last].shape);
    assert_ok(writes_of(f.r->run, 1, last, 1 * width + 3, &list, &n, &f.e), &f.e);
    const int most = largest_write(list, n, 0);
    const double limit = fabs(list[most].after);
    int expected = -1;
    for (size_t i = 0; i < n; i++)
        if (fabs(list[i].after) < limit
            && (expected < 0 || fabs(list[i].x) > fabs(list[expected].x)))
            expected = (int)i;
    assert_true(expected >= 0 && expected != most);
    snprintf(condition, sizeof condition, "absmax < %.9g", limit);
    add(&f, BREAK_WATCH, "blk.1.out[tok=5,chan=3]", condition)->percent = 0;
    assert_int_equal(control_reverse_continue(f.s, f.r, &stop, &f.e), ST_OK);
    assert_true(stop.wrote && stop.written == list[expected].value);
    free(list);
    session_free(f.s);
}

static void ignored_hits_pass_by(void **unused)
{
    (void)unused;
    struct fixture f = begin(2); /* four spans */
    struct stop stop;
    struct breakpoint *b = add(&f, BREAK_POINT, "blk.0.out", "finite");
    b->ignore = 2;
    assert_int_equal(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), ST_OK);
    at(&f, "s2:blk.0.out");
    assert_int_equal(b->hits, 3);
    assert_int_equal(b->ignore, 0);
    session_free(f.s);
}

/* Puts a NaN at token 2, channel 5 of the point. */
static void spoil(void *data, const struct event *ev, float *x)
{
    (void)data;
    if (ev->at.span == 0)
        x[2 * shape_per_token(&ev->x->shape) + 5] = NAN;
}

static void catch_names_the_first_bad_element(void **unused)
{
    (void)unused;
    struct fixture f = begin(0);
    struct stop stop;
    add(&f, BREAK_CATCH, NULL, "nan or inf");
    assert_int_equal(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), ST_OK);
    assert_int_equal(stop.reason, STOP_END);
    assert_int_equal(control_goto(f.s, f.r, (struct position){ 0, 0 }, &stop, &f.e), ST_OK);
    const int v = graph_point(f.g, STR("blk.1.attn_norm.out"), NULL, NULL);
    run_transform(f.r->run, v, spoil, NULL);
    assert_int_equal(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), ST_OK);
    assert_int_equal(stop.reason, STOP_CATCH);
    at(&f, "s0:blk.1.attn_norm.out");
    assert_string_equal(stop.hit.why.what, "nan");
    assert_string_equal(stop.hit.place, "tok=2, chan=5");
    assert_int_equal(stop.inside, -1);
    session_free(f.s);
}

static void catch_opens_fused_kernels_when_asked_to(void **unused)
{
    (void)unused;
    struct fixture f = begin(0);
    struct stop stop;
    struct breakpoint *b = add(&f, BREAK_CATCH, NULL, "sink > 0.0000001");
    assert_int_equal(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), ST_OK);
    assert_int_equal(stop.reason, STOP_END); /* nothing with keys is to be seen */
    b->opens = true;
    assert_int_equal(control_goto(f.s, f.r, (struct position){ 0, 0 }, &stop, &f.e), ST_OK);
    assert_int_equal(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), ST_OK);
    assert_int_equal(stop.reason, STOP_CATCH);
    const struct value *v = &f.g->values[f.g->nodes[run_position(f.r->run).node - 1].out];
    assert_int_equal(v->shape.d[v->shape.rank - 1].axis, AXIS_KEY);
    session_free(f.s);
}

static void overflow(void *data, const struct event *ev, float *x)
{
    (void)data;
    for (int64_t i = 0; i < shape_count(&ev->x->shape); i++)
        x[i] = 3e38f;
}

static void a_catch_behind_a_fused_kernel_finds_the_point_inside(void **unused)
{
    (void)unused;
    struct fixture f = begin(0);
    struct stop stop;
    add(&f, BREAK_CATCH, NULL, "nan or inf");
    run_transform(f.r->run, graph_point(f.g, STR("blk.0.attn_q.rope"), NULL, NULL), overflow, NULL);
    assert_int_equal(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), ST_OK);
    assert_int_equal(stop.reason, STOP_CATCH);
    at(&f, "s0:blk.0.attn.z");
    assert_true(stop.inside >= 0);
    assert_string_equal(f.g->values[stop.inside].name, "blk.0.attn.score");
    session_free(f.s);
}

static void watchpoints_compare_with_the_place_before(void **unused)
{
    (void)unused;
    struct fixture f = begin(4);
    struct stop stop;
    struct breakpoint *b = add(&f, BREAK_WATCH, "blk.*.out[tok=1, chan=3]", NULL);
    /* s0:blk.0.out has nothing before it; the second span does not hold token 1. */
    assert_int_equal(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), ST_OK);
    assert_int_equal(stop.reason, STOP_WATCHPOINT);
    at(&f, "s0:blk.1.out");
    struct tensor x;
    assert_int_equal(
        run_read(f.r->run, 0, graph_point(f.g, STR("blk.0.out"), NULL, NULL), &x, &f.e), ST_OK);
    assert_true(stop.hit.changed);
    assert_true(stop.hit.before == (double)x.data[1 * x.shape.d[1].n + 3]);
    assert_int_equal(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), ST_OK);
    assert_int_equal(stop.reason, STOP_END);
    b->percent = 1e9;
    assert_int_equal(control_goto(f.s, f.r, (struct position){ 0, 0 }, &stop, &f.e), ST_OK);
    assert_int_equal(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), ST_OK);
    assert_int_equal(stop.reason, STOP_END);
    session_free(f.s);
}

static void dynamic_prints_do_not_stop(void **unused)
{
    (void)unused;
    struct fixture f = begin(4);
    struct stop stop;
    struct breakpoint *b = add(&f, BREAK_PRINT, "blk.0.out", NULL);
    b->format = x_strdup("%5.1f%% %d");
    b->statistics[b->n_statistics++] = x_strdup("zero");
    b->statistics[b->n_statistics++] = x_strdup("nan");
    assert_int_equal(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), ST_OK);
    assert_int_equal(stop.reason, STOP_END);
    assert_int_equal(f.s->said.n, 2);
    assert_string_equal(f.s->said.lines[1], "s1:blk.0.out    0.0% 0");
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

UNIT_MAIN(CASE(breakpoints_stop_in_order), CASE(breakpoints_open_fused_attention),
          CASE(tokens_choose_the_span), CASE(levels_are_units_of_the_graph),
          CASE(reverse_undoes_forward), CASE(reverse_continue_finds_the_breakpoint_before),
          CASE(conditions_stop_where_they_hold_in_both_directions), CASE(ignored_hits_pass_by),
          CASE(catch_names_the_first_bad_element), CASE(catch_opens_fused_kernels_when_asked_to),
          CASE(a_catch_behind_a_fused_kernel_finds_the_point_inside),
          CASE(watchpoints_compare_with_the_place_before),
          CASE(an_element_that_is_written_stops_in_both_directions),
          CASE(a_condition_leaves_writes_out),
          CASE(dynamic_prints_do_not_stop), CASE(positions_read_back),
          CASE(models_and_runs_live_side_by_side))
