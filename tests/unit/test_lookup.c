/* SPDX-License-Identifier: MIT */
/* What addresses stand for in a session equals what the run and the file hold, read directly. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "session/control.h"
#include "session/lookup.h"
#include "session/session.h"
#include "study/attention.h"

/* "X W \x16 ar ar P i": bytes, a word twice */
static const int32_t ids[] = { 91, 90, 25, 282, 282, 83, 301 };
enum { N_IDS = sizeof ids / sizeof *ids };

struct fixture {
    struct session *s;
    struct session_run *r;
    struct err e;
};

static struct fixture begin(const char *model, const char *span, bool run)
{
    struct fixture f = { .s = session_new(), .e = ERR_INIT };
    struct session_model *m;
    struct stop stop;
    assert_ok(session_open(f.s, golden_path(model), NULL, &m, &f.e), &f.e);
    assert_ok(settings_set(&f.s->settings, SETTING_SPAN, str_from(span), &f.e), &f.e);
    assert_ok(session_prompt(f.s, ids, N_IDS, NULL, &f.r, &f.e), &f.e);
    if (run)
        assert_ok(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), &f.e);
    return f;
}

static struct view look(struct fixture *f, const char *address)
{
    struct view v;
    assert_ok(lookup_text(f->s, str_from(address), &v, &f->e), &f->e);
    return v;
}

static void refused(struct fixture *f, const char *address, enum st st, int column, int length)
{
    struct view v = { .value = 77 };
    f->e = (struct err)ERR_INIT;
    enum st got = lookup_text(f->s, str_from(address), &v, &f->e);
    if (got != st || f->e.column != column || f->e.length != length)
        fail_msg("%s: %s at %d, %d: %s", address, st_name(got), f->e.column, f->e.length, f->e.msg);
    assert_int_equal(v.value, 77); /* written on success only */
}

static void assert_axes(const struct view *v, const char *expected)
{
    struct buf b = { 0 };
    shape_print(&v->shape, &b);
    assert_string_equal(buf_str(&b), expected);
    buf_free(&b);
}

static void assert_index(const struct view *v, int d, const char *expected)
{
    struct buf b = { 0 };
    for (int64_t i = 0; i < v->shape.d[d].n; i++)
        buf_printf(&b, "%s%d", i ? " " : "", (int)v->index[d][i]);
    assert_string_equal(buf_str(&b), expected);
    buf_free(&b);
}

/* A copy of a point of a span as the engine holds it. */
static float *read_directly(struct fixture *f, int span, const char *point)
{
    struct tensor x;
    struct shape shape;
    int value = graph_point(run_graph(f->r->run), str_from(point), &shape, NULL);
    assert_true(value >= 0);
    assert_ok(run_read(f->r->run, span, value, &x, &f->e), &f->e);
    const size_t n = (size_t)shape_count(&x.shape);
    float *copy = x_alloc(n * sizeof *copy);
    memcpy(copy, x.data, n * sizeof *copy);
    return copy;
}

static void whole_point(void **unused)
{
    (void)unused;
    struct fixture f = begin("models/llama-gqa-tied.gguf", "0", true);
    static const char *const points[] = { "blk.0.out",  "blk.1.attn_q.out",  "blk.0.attn.prob",
                                          "output.out", "blk.0.ffn_down.in", "blk.1.in" };
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        struct view v = look(&f, points[i]);
        float *x = read_directly(&f, 0, points[i]);
        assert_memory_equal(v.data, x, (size_t)view_count(&v) * sizeof *x);
        assert_ptr_equal(v.run, f.r);
        assert_string_equal(v.name, points[i]);
        view_free(&v);
        free(x);
    }
    session_free(f.s);
}

static void slices_of_a_point(void **unused)
{
    (void)unused;
    struct fixture f = begin("models/llama-gqa-tied.gguf", "0", true);
    float *x = read_directly(&f, 0, "blk.0.attn_q.out"); /* [7][4][8] */
    static const struct {
        const char *address, *axes;
        int64_t tok[8], head[8], chan[8];
    } cases[] = {
        { "blk.0.attn_q.out[tok=-1, head=3, chan=0]",
          "tok 1, head 1, chan 1",
          { 6 },
          { 3 },
          { 0 } },
        { "blk.0.attn_q.out[-2, 1:3, {7,0}]", "tok 1, head 2, chan 2", { 5 }, { 1, 2 }, { 7, 0 } },
        { "blk.0.attn_q.out[head=::-2, chan=2:8:3, tok={3,3}]",
          "tok 2, head 2, chan 2",
          { 3, 3 },
          { 3, 1 },
          { 2, 5 } },
        { "blk.0.attn_q.out[tok=\"ar\", chan=1, head=0]",
          "tok 2, head 1, chan 1",
          { 3, 4 },
          { 0 },
          { 1 } },
        { "blk.0.attn_q.out[tok=\"\\x16\", chan=1, head=0]",
          "tok 1, head 1, chan 1",
          { 2 },
          { 0 },
          { 1 } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct view v = look(&f, cases[i].address);
        assert_axes(&v, cases[i].axes);
        const int64_t heads = v.shape.d[1].n, chans = v.shape.d[2].n;
        for (int64_t k = 0; k < view_count(&v); k++) {
            const int64_t t = cases[i].tok[k / chans / heads], h = cases[i].head[k / chans % heads],
                          c = cases[i].chan[k % chans];
            assert_true(v.data[k] == x[(t * 4 + h) * 8 + c]);
            assert_int_equal(v.index[0][k / chans / heads], t);
            assert_int_equal(v.index[1][k / chans % heads], h);
            assert_int_equal(v.index[2][k % chans], c);
        }
        view_free(&v);
    }
    free(x);
    session_free(f.s);
}

/* Slices of a weight equal its decoded rows, whatever the format. */
static void weights(void **unused)
{
    (void)unused;
    static const char *const models[] = { "models/llama-gqa-tied.gguf",
                                          "models/llama-gqa-tied-q4_0.gguf",
                                          "models/llama-gqa-tied-q8_0.gguf" };
    for (int m = 0; m < 3; m++) {
        struct fixture f = begin(models[m], "0", false);
        const struct weight *w = weights_find(f.s->models.model->model->weights,
                                              STR("blk.0.attn_k.weight"));
        float row[32];
        struct view v = look(&f, "blk.0.attn_k.weight[row={-1,2}, col=31:3:-7]");
        assert_axes(&v, "row 2, col 4");
        assert_index(&v, 0, "15 2");
        assert_index(&v, 1, "31 24 17 10");
        for (int64_t i = 0; i < 8; i++) {
            assert_ok(weight_decode(w, (uint64_t)v.index[0][i / 4], 1, row, &f.e), &f.e);
            assert_true(v.data[i] == row[v.index[1][i % 4]]);
        }
        assert_ptr_equal(v.weight, w);
        view_free(&v);
        v = look(&f, "blk.0.attn_norm.weight[chan=-3:]");
        assert_axes(&v, "chan 3");
        assert_index(&v, 0, "29 30 31");
        view_free(&v);
        session_free(f.s);
    }
}

static void selectors(void **unused)
{
    (void)unused;
    struct fixture f = begin("models/llama-gqa-tied.gguf", "0", true);
    float *x = read_directly(&f, 0, "blk.0.out"); /* [7][32] */
    double absmax[32];
    for (int c = 0; c < 32; c++) {
        absmax[c] = 0;
        for (int t = 0; t < N_IDS; t++)
            absmax[c] = fmax(absmax[c], fabs((double)x[t * 32 + c]));
    }
    struct view v = look(&f, "blk.0.out[chan=top8(absmax)]");
    assert_axes(&v, "tok 7, chan 8");
    for (int64_t k = 0; k < 8; k++) {
        const int64_t c = v.index[1][k];
        int larger = 0;
        for (int i = 0; i < 32; i++)
            larger += absmax[i] > absmax[c];
        assert_int_equal(larger, k); /* the k-th largest stands at place k */
        for (int t = 0; t < N_IDS; t++)
            assert_true(v.data[t * 8 + k] == x[t * 32 + c]);
    }
    view_free(&v);
    v = look(&f, "blk.0.out[chan=bot1(absmax)]");
    for (int i = 0; i < 32; i++)
        assert_true(absmax[i] >= absmax[v.index[1][0]]);
    view_free(&v);
    v = look(&f, "blk.0.out[tok=top99(rms), chan=3]"); /* more than there are: all, sorted */
    assert_axes(&v, "tok 7, chan 1");
    for (int k = 1; k < N_IDS; k++)
        assert_true(fabsf(v.data[k - 1]) >= fabsf(v.data[k]));
    view_free(&v);
    refused(&f, "blk.0.out[chan=top3(nonsense)]", ST_NOTFOUND, 10, 19);
    free(x);
    session_free(f.s);
}

/* A prompt in spans of 3 reads as one; @sN is one span. */
static void several_spans(void **unused)
{
    (void)unused;
    struct fixture whole = begin("models/llama-gqa-tied.gguf", "0", true);
    struct fixture f = begin("models/llama-gqa-tied.gguf", "3", true);
    static const char *const addresses[] = { "blk.1.out", "blk.0.attn.prob", "blk.0.attn.score",
                                             "output.out[tok=-1]",
                                             "blk.0.attn.prob[head=2, tok={5,1}, key=0:4]" };
    assert_int_equal(run_n_spans(f.r->run), 3);
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        struct view a = look(&whole, addresses[i]), b = look(&f, addresses[i]);
        assert_true(shape_equal(&a.shape, &b.shape));
        for (int64_t k = 0; k < view_count(&a); k++)
            assert_true(a.data[k] == b.data[k]);
        view_free(&a);
        view_free(&b);
    }
    struct view v = look(&f, "blk.1.out@s1");
    float *x = read_directly(&f, 1, "blk.1.out");
    assert_axes(&v, "tok 3, chan 32");
    assert_index(&v, 0, "3 4 5");
    assert_memory_equal(v.data, x, 3 * 32 * sizeof *x);
    view_free(&v);
    v = look(&f, "blk.1.out[chan=7]@s1");
    assert_index(&v, 0, "3 4 5");
    assert_true(v.data[2] == x[2 * 32 + 7]);
    view_free(&v);
    v = look(&f, "blk.1.out[tok=-1]@s1:blk.1.out");
    assert_index(&v, 0, "5");
    view_free(&v);
    v = look(&f, "blk.0.attn.prob@s1"); /* keys of the tokens so far */
    assert_axes(&v, "head 4, tok 3, key 6");
    view_free(&v);
    free(x);
    refused(&f, "blk.1.out[tok=0]@s1", ST_RANGE, 10, 5);
    refused(&f, "blk.1.out[6]@s1", ST_RANGE, 10, 1);
    session_free(f.s);
    session_free(whole.s);
}

/* Where the run stands decides what can be seen. */
static void points_ahead(void **unused)
{
    (void)unused;
    struct fixture f = begin("models/llama-gqa-tied.gguf", "3", false);
    struct view v = { .value = -1 };
    struct position p;
    struct stop stop;
    refused(&f, "embd.out", ST_STATE, 0, 8);
    assert_ok(position_parse(f.r->run, STR("s1:blk.0.out"), &p, &f.e), &f.e);
    assert_ok(control_forward(f.s, f.r, p, STOP_POSITION, &stop, &f.e), &f.e);
    v = look(&f, "blk.0.out"); /* two spans are through here, one further on */
    assert_axes(&v, "tok 6, chan 32");
    view_free(&v);
    v = look(&f, "blk.1.out");
    assert_axes(&v, "tok 3, chan 32");
    view_free(&v);
    refused(&f, "blk.1.out[tok=3]", ST_RANGE, 10, 5);
    refused(&f, "blk.1.out@s1", ST_STATE, 0, 9);
    session_free(f.s);
}

static void models_and_runs(void **unused)
{
    (void)unused;
    struct fixture f = begin("models/llama-gqa-tied.gguf", "0", true);
    struct session_model *m;
    struct session_run *other;
    struct stop stop;
    struct view plain = look(&f, "blk.0.out");
    assert_ok(session_open(f.s, golden_path("models/gpt2.gguf"), "g", &m, &f.e), &f.e);
    assert_ok(session_prompt(f.s, ids, 3, "second", &other, &f.e), &f.e);
    assert_ok(control_forward(f.s, other, run_end(other->run), STOP_END, &stop, &f.e), &f.e);
    static const char *const first[] = { "a!blk.0.out", "main!blk.0.out", "a:main!blk.0.out" };
    for (int i = 0; i < 3; i++) {
        struct view v = look(&f, first[i]);
        assert_ptr_equal(v.run, f.r);
        assert_memory_equal(v.data, plain.data, (size_t)view_count(&v) * sizeof *v.data);
        view_free(&v);
    }
    struct view v = look(&f, "blk.0.out");
    assert_ptr_equal(v.run, other);
    assert_axes(&v, "tok 3, chan 32");
    view_free(&v);
    refused(&f, "zz!blk.0.out", ST_NOTFOUND, 0, 2);
    refused(&f, "a:second!blk.0.out", ST_NOTFOUND, 0, 8);
    view_free(&plain);
    session_free(f.s);
}

static void names(void **unused)
{
    (void)unused;
    struct fixture f = begin("models/llama-gqa-tied.gguf", "0", true);
    struct address a;
    struct match *list;
    size_t n;
    assert_ok(address_parse(STR("blk.{0,1}.attn_[qk].*"), &a, &f.e), &f.e);
    assert_ok(lookup_names(f.s, &a, &list, &n, &f.e), &f.e);
    size_t weights_first = 0;
    while (weights_first < n && list[weights_first].weight)
        weights_first++;
    assert_int_equal(weights_first, 4);
    assert_true(n > 4); /* their points */
    for (size_t i = weights_first; i < n; i++)
        assert_true(!list[i].weight && list[i].value >= 0);
    free(list);
    refused(&f, "blk.99.attn_q", ST_NOTFOUND, 0, 13);
    refused(&f, "blk.0.atn_q.weight", ST_NOTFOUND, 0, 18);
    assert_non_null(strstr(f.e.hint, "`blk.0.attn_q.weight`"));
    refused(&f, "blk.*.out", ST_SYNTAX, 0, 9);
    refused(&f, "blk.*.nothing", ST_NOTFOUND, 0, 13);
    refused(&f, "blk.0.out[head=0]", ST_SYNTAX, 10, 6);
    refused(&f, "blk.0.out[tok=7]", ST_RANGE, 10, 5);
    refused(&f, "blk.0.out[0,0,0]", ST_SYNTAX, 14, 1);
    refused(&f, "blk.0.out[tok=\"Paris\"]", ST_NOTFOUND, 10, 11);
    refused(&f, "blk.0.out[tok=0] junk", ST_SYNTAX, 16, 5);
    session_free(f.s);
    f = (struct fixture){ .s = session_new(), .e = ERR_INIT };
    refused(&f, "blk.0.out", ST_STATE, -1, 0);
    session_free(f.s);
}

/* --- more than memory holds --------------------------------------------------------------------
 */

enum { LONG = 300 };

/* A run of many tokens, finished without a limit: attention is fused, its scores are nowhere. */
static struct fixture begin_long(const char *span)
{
    struct fixture f = begin("models/llama-gqa-tied.gguf", span, false);
    int32_t many[LONG];
    struct stop stop;
    uint64_t seed = 5;
    for (int t = 0; t < LONG; t++)
        many[t] = (int32_t)(unit_random(&seed) % 320);
    assert_ok(session_prompt(f.s, many, LONG, NULL, &f.r, &f.e), &f.e);
    assert_ok(control_forward(f.s, f.r, run_end(f.r->run), STOP_END, &stop, &f.e), &f.e);
    return f;
}

/* A slice under a budget in which the whole does not fit, the small one in this case, is what the
 * whole has there. */
static void assert_slice(const char *point, const char *span)
{
    struct fixture f = begin_long(span);
    struct buf whole = { 0 }, slice = { 0 };
    buf_printf(&whole, "blk.1.%s", point);
    buf_printf(&slice, "blk.1.%s[head=1, tok=40:140]", point);
    struct view all = look(&f, buf_str(&whole));
    session_free(f.s);

    f = begin_long(span);
    const int heads = (int)all.shape.d[0].n;
    mem_set_budget(mem_used() + (size_t)(LONG * LONG * heads) * sizeof(float) / 2);
    struct view v;
    f.e = (struct err)ERR_INIT;
    assert_fails(lookup_text(f.s, str_of(whole.p, whole.n), &v, &f.e), ST_NOMEM, &f.e);
    if (!strstr(f.e.hint, " of its 300 tokens fit: a slice [tok=0:"))
        fail_msg("%s; %s", f.e.msg, f.e.hint);
    v = look(&f, buf_str(&slice));
    mem_set_budget(0);
    assert_index(&v, 0, "1");
    assert_int_equal(v.shape.d[1].n, 100);
    assert_int_equal(v.shape.d[2].n, LONG);
    for (int t = 0; t < 100; t++)
        assert_memory_equal(v.data + t * LONG, all.data + (LONG + 40 + t) * LONG,
                            LONG * sizeof(float));
    view_free(&v);
    view_free(&all);
    buf_free(&whole);
    buf_free(&slice);
    session_free(f.s);
}

/* The figures of heads need no more than some rows at a time. */
static void heads_of_a_span_too_large(void **state)
{
    (void)state;
    struct fixture f = begin_long("0");
    struct head_figures *want, *got;
    size_t n, same;
    assert_ok(attention_heads(f.r->run, 1, NULL, &want, &n, &f.e), &f.e);
    session_free(f.s);
    f = begin_long("0");
    mem_set_budget(mem_used() + (size_t)(LONG * LONG) * n * sizeof(float) / 2);
    assert_ok(attention_heads(f.r->run, 1, NULL, &got, &same, &f.e), &f.e);
    mem_set_budget(0);
    assert_int_equal(same, n);
    for (size_t h = 0; h < n; h++)
        assert_true(got[h].entropy == want[h].entropy && got[h].sink == want[h].sink
                    && got[h].queries == LONG - 1);
    free(want);
    free(got);
    session_free(f.s);
}

static void slices_of_a_point_too_large(void **state)
{
    (void)state;
    assert_slice("attn.prob", "0");
    assert_slice("attn.score", "0");
    assert_slice("attn.prob", "120");
}

UNIT_MAIN(CASE(whole_point), CASE(slices_of_a_point), CASE(weights), CASE(selectors),
          CASE(several_spans), CASE(points_ahead), CASE(models_and_runs), CASE(names),
          CASE(slices_of_a_point_too_large), CASE(heads_of_a_span_too_large))
