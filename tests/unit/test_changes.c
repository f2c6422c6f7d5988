/* SPDX-License-Identifier: MIT */
/* Changes: edits of points, patches, skipped sub-layers; taken back, nothing is left of them. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "session/changes.h"
#include "session/control.h"
#include "session/session.h"
#include "study/evaluate.h"
#include "tests/harness/commands.h"

static const int32_t clean_ids[] = { 5, 9, 3, 7, 11, 2, 8, 4 };
static const int32_t other_ids[] = { 5, 6, 3, 1, 11, 2, 10, 4 };
enum { N_IDS = sizeof clean_ids / sizeof *clean_ids };

struct fixture {
    struct session *s;
    struct session_run *r;
    const struct graph *g;
    struct err e;
};

static struct session_run *prompt(struct fixture *f, const int32_t *ids, int64_t n,
                                  const char *name)
{
    struct session_run *r;
    assert_ok(session_prompt(f->s, ids, n, name, &r, &f->e), &f->e);
    return r;
}

static struct fixture begin(const char *model, int64_t span)
{
    struct fixture f = { .s = session_new(), .e = ERR_INIT };
    struct session_model *m;
    char n[24];
    snprintf(n, sizeof n, "%d", (int)span);
    assert_ok(session_open(f.s, golden_path(model), NULL, &m, &f.e), &f.e);
    assert_ok(settings_set(&f.s->settings, SETTING_SPAN, str_from(n), &f.e), &f.e);
    f.r = prompt(&f, clean_ids, N_IDS, NULL);
    f.g = run_graph(f.r->run);
    return f;
}

static const char llama[] = "models/llama-gqa-tied.gguf";

static void finish_run(struct fixture *f, struct session_run *r)
{
    assert_ok(run_forward(r->run, run_end(r->run), NULL, NULL, &f->e), &f->e);
}

static int point(const struct fixture *f, const char *name)
{
    const int v = graph_point(f->g, str_from(name), NULL, NULL);
    assert_true(v >= 0);
    return v;
}

/* A copy of a point of span 0; the caller frees data with mem_free. */
static struct tensor value(struct fixture *f, struct session_run *r, int span, int v)
{
    struct tensor x;
    void *p;
    assert_ok(run_read(r->run, span, v, &x, &f->e), &f->e);
    const size_t bytes = (size_t)shape_count(&x.shape) * sizeof(float);
    assert_ok(mem_alloc(&p, bytes, "a copy", &f->e), &f->e);
    memcpy(p, x.data, bytes);
    return (struct tensor){ x.shape, p };
}

/* Every point of every span, one after the other. */
struct trace {
    float *data;
    size_t n, cap;
    size_t *start; /* of value v of span s: [s * n_values + v] */
};

static struct trace trace(struct fixture *f, struct session_run *r)
{
    struct trace t = { 0 };
    const int spans = run_n_spans(r->run);
    t.start = x_alloc((size_t)(spans * f->g->n_values + 1) * sizeof *t.start);
    finish_run(f, r);
    for (int s = 0; s < spans; s++)
        for (int v = 0; v < f->g->n_values; v++) {
            struct tensor x;
            assert_ok(run_read(r->run, s, v, &x, &f->e), &f->e);
            const size_t n = (size_t)shape_count(&x.shape);
            x_grow(&t.data, &t.cap, t.n + n, sizeof *t.data);
            memcpy(t.data + t.n, x.data, n * sizeof *t.data);
            t.start[s * f->g->n_values + v] = t.n;
            t.n += n;
        }
    t.start[spans * f->g->n_values] = t.n;
    return t;
}

static void trace_free(struct trace *t)
{
    free(t->data);
    free(t->start);
}

static bool same(const struct trace *a, const struct trace *b)
{
    return a->n == b->n && !memcmp(a->data, b->data, a->n * sizeof *a->data);
}

static bool same_value(const struct trace *a, const struct trace *b, int i)
{
    return !memcmp(a->data + a->start[i], b->data + b->start[i],
                   (a->start[i + 1] - a->start[i]) * sizeof *a->data);
}

/* Exactly the slice changes, nothing before it does, and what is behind follows from it. */
static void an_edit_changes_its_slice_and_what_follows(void **unused)
{
    (void)unused;
    struct fixture f = begin(llama, 0);
    const int v = point(&f, "blk.0.ffn_down.out"), sum = point(&f, "blk.0.out");
    struct trace before = trace(&f, f.r);
    command(f.s, "set tensor blk.0.ffn_down.out[tok=2:7:2, chan=-3:] = *-2");
    assert_true(session_changed(f.s));
    assert_int_equal(run_position(f.r->run).node, f.g->values[v].node);
    struct trace after = trace(&f, f.r);
    const int64_t width = f.g->width;
    for (int i = 0; i < v; i++)
        assert_true(same_value(&before, &after, i));
    for (int64_t t = 0; t < N_IDS; t++)
        for (int64_t c = 0; c < width; c++) {
            const bool inside = (t == 2 || t == 4 || t == 6) && c >= width - 3;
            const float old = before.data[before.start[v] + (size_t)(t * width + c)];
            const float now = after.data[after.start[v] + (size_t)(t * width + c)];
            assert_true(now == (inside ? old * -2.0f : old));
        }
    const struct node *add = &f.g->nodes[f.g->values[sum].node];
    const float *in[NODE_MAX_IN];
    for (int i = 0; i < add->n_in; i++)
        in[i] = after.data + after.start[add->in[i]];
    struct tensor by_hand;
    assert_ok(node_evaluate(run_model(f.r->run), NULL, f.g->values[sum].node, in, clean_ids, N_IDS,
                            run_mode(f.r->run), NULL, &by_hand, &f.e),
              &f.e);
    assert_memory_equal(by_hand.data, after.data + after.start[sum],
                        (size_t)shape_count(&by_hand.shape) * sizeof(float));
    assert_false(same_value(&before, &after, f.g->logits));
    command(f.s, "undo");
    assert_false(session_changed(f.s));
    struct trace again = trace(&f, f.r);
    assert_true(same(&before, &again));
    mem_free(by_hand.data);
    trace_free(&before);
    trace_free(&after);
    trace_free(&again);
    session_free(f.s);
}

static void edits_set_add_and_copy(void **unused)
{
    (void)unused;
    struct fixture f = begin(llama, 0);
    const int v = point(&f, "blk.1.out"), u = point(&f, "blk.0.out");
    finish_run(&f, f.r);
    struct tensor old = value(&f, f.r, 0, v), first = value(&f, f.r, 0, u);
    command(f.s, "set tensor blk.1.out[tok=0]=1.5");
    command(f.s, "set tensor blk.1.out[tok=1] = nan");
    command(f.s, "set tensor blk.1.out[tok=2] = +0.25");
    command(f.s, "set tensor blk.1.out[tok=3] = blk.0.out[tok=5]");
    command(f.s, "set tensor blk.1.out[tok=4] = blk.0.out[tok=6, chan=0]");
    command(f.s, "set tensor blk.1.out[tok=-3] = zero");
    finish_run(&f, f.r);
    struct tensor now = value(&f, f.r, 0, v);
    const int64_t w = f.g->width;
    for (int64_t c = 0; c < w; c++) {
        assert_true(now.data[c] == 1.5f);
        assert_true(isnan(now.data[w + c]));
        assert_true(now.data[2 * w + c] == old.data[2 * w + c] + 0.25f);
        assert_true(now.data[3 * w + c] == first.data[5 * w + c]);
        assert_true(now.data[4 * w + c] == first.data[6 * w]);
        assert_true(now.data[5 * w + c] == 0);
        assert_true(now.data[6 * w + c] == old.data[6 * w + c]);
    }
    assert_int_equal(f.s->changes.n, 6);
    mem_free(now.data);
    command(f.s, "undo change 2"); /* one in the middle */
    finish_run(&f, f.r);
    now = value(&f, f.r, 0, v);
    assert_memory_equal(now.data + w, old.data + w, (size_t)w * sizeof(float));
    assert_true(now.data[0] == 1.5f);
    refused(f.s, ST_NOTFOUND, 12, "", "undo change 2");
    command(f.s, "undo 5");
    assert_false(session_changed(f.s));
    refused(f.s, ST_STATE, 0, "", "undo");
    mem_free(old.data);
    mem_free(first.data);
    mem_free(now.data);
    session_free(f.s);
}

static void a_mean_is_over_the_chosen_tokens(void **unused)
{
    (void)unused;
    struct fixture f = begin(llama, 0);
    const int v = point(&f, "blk.0.attn.z");
    finish_run(&f, f.r);
    struct tensor old = value(&f, f.r, 0, v);
    command(f.s, "ablate blk.0.attn.z[tok=2:4, head=1] mean");
    finish_run(&f, f.r);
    struct tensor now = value(&f, f.r, 0, v);
    const int64_t heads = old.shape.d[1].n, size = old.shape.d[2].n;
    for (int64_t i = 0, n = shape_count(&old.shape); i < n; i++) {
        const int64_t t = i / (heads * size), h = i / size % heads, c = i % size;
        const double a = (double)old.data[(2 * heads + h) * size + c],
                     b = (double)old.data[(3 * heads + h) * size + c];
        const bool inside = (t == 2 || t == 3) && h == 1;
        assert_true(now.data[i] == (inside ? (float)((a + b) / 2) : old.data[i]));
    }
    mem_free(old.data);
    mem_free(now.data);
    session_free(f.s);
}

/* What a skipped sub-layer adds is zero, exactly as if its output had been edited. */
static void a_skip_is_a_zeroed_output(void **unused)
{
    (void)unused;
    static const struct {
        const char *model, *skip, *edit, *also;
    } cases[] = {
        { "models/llama-gqa-tied.gguf", "skip blk.1.attn", "ablate blk.1.attn_output.out", NULL },
        { "models/llama-gqa-tied.gguf", "skip blk.0", "ablate blk.0.attn_output.out",
          "ablate blk.0.ffn_down.out" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f = begin(cases[i].model, 3);
        command(f.s, "%s", cases[i].skip);
        struct trace skipped = trace(&f, f.r);
        command(f.s, "reset");
        command(f.s, "%s", cases[i].edit);
        if (cases[i].also)
            command(f.s, "%s", cases[i].also);
        struct trace edited = trace(&f, f.r);
        assert_true(same(&skipped, &edited));
        trace_free(&skipped);
        trace_free(&edited);
        session_free(f.s);
    }
    struct fixture f = begin(llama, 0); /* the stream passes a skipped block unchanged */
    command(f.s, "skip blk.1");
    finish_run(&f, f.r);
    struct tensor in = value(&f, f.r, 0, f.g->blocks[1].input),
                  out = value(&f, f.r, 0, f.g->blocks[1].output);
    assert_memory_equal(in.data, out.data, (size_t)shape_count(&in.shape) * sizeof(float));
    refused(f.s, ST_NOTFOUND, 5, "", "skip blk.99");
    refused(f.s, ST_NOTFOUND, 5, "", "skip blk.0.nose");
    refused(f.s, ST_NOTFOUND, 5, "", "skip blk.0.");
    refused(f.s, ST_SYNTAX, 5, "", "skip output");
    mem_free(in.data);
    mem_free(out.data);
    session_free(f.s);
}

static void patches_restore_a_clean_run(void **unused)
{
    (void)unused;
    for (int span = 0; span <= 3; span += 3) {
        struct fixture f = begin(llama, span);
        struct session_run *clean = prompt(&f, clean_ids, N_IDS, "clean");
        struct session_run *bad = prompt(&f, other_ids, N_IDS, "bad");
        struct trace want = trace(&f, clean), have = trace(&f, bad);
        assert_false(same(&want, &have));
        command(f.s, "patch embd.out from clean");
        assert_int_equal(run_position(clean->run).span, run_n_spans(clean->run) - 1);
        struct trace now = trace(&f, bad);
        assert_true(same(&want, &now)); /* all that differed has been patched */
        trace_free(&now);
        command(f.s, "undo");
        now = trace(&f, bad);
        assert_true(same(&have, &now));
        trace_free(&now);
        command(f.s, "patch blk.1.* from clean"); /* every point of a block, fused ones too */
        finish_run(&f, bad);
        for (int s = 0; s < run_n_spans(bad->run); s++) {
            struct tensor x;
            assert_ok(run_read(bad->run, s, f.g->logits, &x, &f.e), &f.e);
            assert_memory_equal(x.data, want.data + want.start[s * f.g->n_values + f.g->logits],
                                (size_t)shape_count(&x.shape) * sizeof(float));
        }
        trace_free(&want);
        trace_free(&have);
        session_free(f.s);
    }
}

static void a_patch_takes_the_slice_only(void **unused)
{
    (void)unused;
    struct fixture f = begin(llama, 0);
    struct session_run *clean = prompt(&f, clean_ids, 6, "clean"); /* a shorter run */
    struct session_run *bad = prompt(&f, other_ids, N_IDS, "bad");
    const int v = point(&f, "blk.0.out");
    finish_run(&f, clean);
    finish_run(&f, bad);
    struct tensor from = value(&f, clean, 0, v), old = value(&f, bad, 0, v);
    refused(f.s, ST_RANGE, 6, "", "patch blk.0.out from clean");
    refused(f.s, ST_NOTFOUND, 21, "", "patch blk.0.out from nobody");
    refused(f.s, ST_STATE, 25, "", "patch bad!blk.0.out from bad");
    command(f.s, "patch bad!blk.0.out[tok=-1] from clean"); /* the last of each */
    finish_run(&f, bad);
    struct tensor now = value(&f, bad, 0, v);
    const int64_t w = f.g->width;
    assert_memory_equal(now.data + 7 * w, from.data + 5 * w, (size_t)w * sizeof(float));
    assert_memory_equal(now.data, old.data, (size_t)(7 * w) * sizeof(float));
    assert_int_equal(change_runs(f.s, f.s->changes.list[0]), 1);
    session_kill(f.s, bad); /* a change of one run goes with it */
    assert_int_equal(f.s->changes.n, 0);
    mem_free(from.data);
    mem_free(old.data);
    mem_free(now.data);
    session_free(f.s);
}

/* New prompts have them; going back and forth gives the same bits; tok=-1 stays where it was when
 * tokens are appended. */
static void changes_survive_time_and_new_runs(void **unused)
{
    (void)unused;
    struct fixture f = begin(llama, 3);
    struct stop stop;
    command(f.s, "set tensor blk.0.out[tok=-1] = *3");
    command(f.s, "ablate blk.*.attn.prob[head=0, key=0]");
    struct trace first = trace(&f, f.r);
    for (int i = 0; i < 60; i++)
        assert_ok(control_reverse(f.s, f.r, LEVEL_NODE, 1, &stop, &f.e), &f.e);
    struct trace second = trace(&f, f.r);
    assert_true(same(&first, &second));
    struct session_run *r = prompt(&f, clean_ids, N_IDS, "again");
    struct trace third = trace(&f, r);
    assert_true(same(&first, &third));
    assert_ok(run_append(r->run, other_ids, 3, &f.e), &f.e);
    finish_run(&f, r);
    const int v = point(&f, "blk.0.out");
    struct tensor x;
    assert_ok(run_goto(r->run, (struct position){ 0, 1 }, NULL, &f.e), &f.e);
    finish_run(&f, r);
    assert_ok(run_read(r->run, 2, v, &x, &f.e), &f.e);
    assert_memory_equal(x.data, first.data + first.start[2 * f.g->n_values + v],
                        (size_t)shape_count(&x.shape) * sizeof(float));
    trace_free(&first);
    trace_free(&second);
    trace_free(&third);
    session_free(f.s);
}

static void an_edit_inside_a_fused_kernel_opens_it(void **unused)
{
    (void)unused;
    struct fixture f = begin(llama, 0);
    command(f.s, "ablate blk.0.attn.prob");
    finish_run(&f, f.r);
    struct tensor z = value(&f, f.r, 0, point(&f, "blk.0.attn.z"));
    for (int64_t i = 0, n = shape_count(&z.shape); i < n; i++)
        assert_true(z.data[i] == 0);
    mem_free(z.data);
    session_free(f.s);
}

static void later_checkpoints_are_stale(void **unused)
{
    (void)unused;
    struct fixture f = begin(llama, 0);
    command(f.s, "until blk.0.out");
    command(f.s, "checkpoint early");
    command(f.s, "until blk.1.out");
    command(f.s, "checkpoint late");
    assert_false(session_stale(f.s, &f.s->marks[0]));
    command(f.s, "ablate blk.1.ffn_down.out[chan=0]");
    assert_false(session_stale(f.s, &f.s->marks[0]));
    assert_true(session_stale(f.s, &f.s->marks[1]));
    command(f.s, "undo");
    assert_false(session_stale(f.s, &f.s->marks[1]));
    session_free(f.s);
}

/* The KL of the active model under its changes to `ref` under none, over 24 short segments. */
static double kl_to(struct fixture *f, const struct model *ref, struct changes_left *left)
{
    int32_t ids[24 * 10];
    struct evaluation_set set;
    struct divergence d;
    struct plan plan;
    for (int i = 0; i < 24 * 10; i++)
        ids[i] = (i * 7 + i / 10) % 12;
    assert_ok(evaluation_cut(ids, 24 * 10, 24, 10, 2, -1, &set, &f->e), &f->e);
    const struct run_options oref = session_run_options(f->s);
    struct run_options o = oref;
    changes_plan(f->s, f->s->models.model, &plan, left);
    o.plan = &plan;
    assert_ok(divergence_of(ref, &oref, f->s->models.model->model, &o, &set,
                            (struct evaluation_part){ .from = 0, .step = 1 }, NULL, &d, &f->e),
              &f->e);
    plan_free(&plan);
    evaluation_free(&set);
    return d.kl.value;
}

/* With every weight of another file, a run gives the other model's bits; taken back, its own. */
static void weights_of_another_file(void **unused)
{
    (void)unused;
    struct fixture f = begin(llama, 3);
    struct session_model *mine = f.s->models.model, *other;
    struct trace before = trace(&f, f.r);
    assert_ok(session_open(f.s, golden_path("models/llama-gqa-tied-q8_0.gguf"), NULL, &other, &f.e),
              &f.e);
    struct session_run *far = prompt(&f, clean_ids, N_IDS, "far");
    struct trace theirs = trace(&f, far);
    session_use_run(f.s, f.r);
    struct change *all = change_of_weights(mine), *one = change_of_weights(mine);
    for (size_t i = 0; i < mine->model->weights->n; i++) {
        const struct weight *w = &mine->model->weights->list[i];
        struct form *form;
        assert_ok(
            form_borrow(mine->model, w, weights_find(other->model->weights, w->name), &form, &f.e),
            &f.e);
        change_form(all, w, form);
        if (str_is(w->name, "blk.1.attn_q.weight"))
            change_form(one, w, NULL);
        form_drop(form);
    }
    struct changes_left left;
    const double whole = kl_to(&f, other->model, &left);
    assert_true(whole > 0);
    changes_add(f.s, all, "every weight");
    assert_int_equal(run_position(f.r->run).node, 0);
    struct trace after = trace(&f, f.r);
    assert_true(same(&after, &theirs) && !same(&after, &before));
    assert_true(kl_to(&f, other->model, &left) == 0);
    changes_add(f.s, one, "one of its own again"); /* the later change holds */
    assert_true(position_compare(run_position(f.r->run), (struct position){ 0, 0 }) > 0);
    struct trace mixed = trace(&f, f.r);
    const double part = kl_to(&f, other->model, &left);
    assert_true(!same(&mixed, &after) && part > 0 && part < whole);
    struct session_run *fresh = prompt(&f, clean_ids, N_IDS, "fresh");
    struct trace again = trace(&f, fresh);
    assert_true(same(&again, &mixed));
    changes_undo(f.s, all);
    changes_undo(f.s, one);
    struct trace undone = trace(&f, f.r);
    assert_true(same(&undone, &before));
    assert_true(kl_to(&f, mine->model, &left) == 0 && left.n == 0);
    trace_free(&before), trace_free(&theirs), trace_free(&after);
    trace_free(&mixed), trace_free(&again), trace_free(&undone);
    session_free(f.s);
}

/* What names no token of a prompt holds over any text; what does is left out, and counted. */
static void evaluations_see_the_changes(void **unused)
{
    (void)unused;
    struct fixture f = begin(llama, 0);
    struct changes_left left;
    finish_run(&f, f.r);
    const struct model *m = f.s->models.model->model;
    command(f.s, "set tensor blk.0.out[tok=1] = zero");
    command(f.s, "set tensor main!blk.0.out = zero");
    assert_true(kl_to(&f, m, &left) == 0);
    assert_int_equal(left.n, 2);
    command(f.s, "ablate blk.0.attn.z[head=1] mean");
    const double head = kl_to(&f, m, &left);
    assert_true(head > 0 && left.n == 2);
    command(f.s, "skip blk.0.attn");
    assert_true(kl_to(&f, m, &left) > head);
    assert_null(left.logits);
    command(f.s, "undo 4");
    assert_true(kl_to(&f, m, &left) == 0);
    command(f.s, "set tensor blk.0.out[tok=1] = zero");
    command(f.s, "quant *.out int4"); /* of embd.out, output_norm.out and the logits: not these */
    assert_true(kl_to(&f, m, &left) > 0 && left.n == 1);
    assert_string_equal(left.logits, "output.out");
    assert_string_equal(left.first->text, "set tensor blk.0.out[tok=1] = zero");
    session_free(f.s);
}

UNIT_MAIN(CASE(an_edit_changes_its_slice_and_what_follows), CASE(edits_set_add_and_copy),
          CASE(a_mean_is_over_the_chosen_tokens), CASE(a_skip_is_a_zeroed_output),
          CASE(patches_restore_a_clean_run), CASE(a_patch_takes_the_slice_only),
          CASE(changes_survive_time_and_new_runs), CASE(an_edit_inside_a_fused_kernel_opens_it),
          CASE(later_checkpoints_are_stale), CASE(weights_of_another_file),
          CASE(evaluations_see_the_changes))
