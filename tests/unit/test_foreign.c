/* SPDX-License-Identifier: MIT */
/* The names of TransformerLens and llama.cpp stand for what these engines compute under them. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/command.h"
#include "engine/derive.h"
#include "file/trace.h"
#include "session/control.h"
#include "session/lookup.h"
#include "session/session.h"
#include "tests/harness/models.h"

/* Everything one engine recorded of one model; at least `most` of the names have to be known. */
struct golden {
    struct trace trace;
    struct session *s;
};

static void begin(struct golden *g, const char *model, const char *engine, int64_t span)
{
    struct err e = ERR_INIT;
    struct session_model *m;
    struct session_run *r;
    char path[96];
    snprintf(path, sizeof path, "traces/%s.%s", model, engine);
    assert_ok(trace_open(golden_path(path), &g->trace, &e), &e);
    snprintf(path, sizeof path, "models/%s.gguf", model);
    g->s = session_new();
    assert_ok(session_open(g->s, golden_path(path), NULL, &m, &e), &e);
    g->s->settings.values[SETTING_SPAN].i = span;
    assert_ok(session_prompt(g->s, g->trace.ids, (int64_t)g->trace.n_ids, NULL, &r, &e), &e);
    assert_ok(run_forward(r->run, run_end(r->run), NULL, NULL, &e), &e);
}

static void end(struct golden *g)
{
    session_free(g->s);
    trace_close(&g->trace);
}

/* In this order the axes have these sizes; those of size 1 in front do not count. */
static void check_shape(const struct view *v, const struct trace_tensor *x)
{
    int at = 0;
    while (x->rank - at > v->shape.rank && x->shape[at] == 1)
        at++;
    if (x->rank - at != v->shape.rank)
        fail_msg("%s has %d axes, expected %d", x->name, v->shape.rank, x->rank);
    for (int d = 0; d < v->shape.rank; d++)
        if ((uint64_t)v->shape.d[d].n != x->shape[at + d])
            fail_msg("%s: axis %d has %d entries", x->name, d, (int)v->shape.d[d].n);
}

static void check_tensor(struct golden *g, const struct trace_tensor *x, double tolerance)
{
    struct err e = ERR_INIT;
    struct view v;
    float *want = x_alloc(x->n * sizeof *want);
    assert_ok(trace_read(&g->trace, x, want, &e), &e);
    if (lookup_text(g->s, str_from(x->name), &v, &e))
        fail_msg("%s: %s", x->name, e.msg);
    check_shape(&v, x);
    for (size_t i = 0; i < x->n; i++) {
        const double got = (double)v.data[i], good = (double)want[i];
        if (!(got == good || fabs(got - good) <= tolerance * fmax(1, fabs(good))))
            fail_msg("%s entry %zu is %.9g, expected %.9g", x->name, i, got, good);
    }
    view_free(&v);
    free(want);
}

static void check_all(const char *model, const char *engine, size_t n, double tolerance,
                      int64_t span)
{
    struct golden g;
    begin(&g, model, engine, span);
    assert_int_equal(g.trace.n, n);
    for (size_t i = 0; i < g.trace.n; i++)
        check_tensor(&g, &g.trace.list[i], tolerance);
    end(&g);
}

static void means_what_transformer_lens_means(void **state)
{
    (void)state;
    check_all("llama-gqa-tied", "lens", 47, 2e-5, 0);
    check_all("gpt2", "lens", 42, 2e-5, 0);
    check_all("qwen2", "lens", 47, 2e-5, 0);
    check_all("llama-gqa-tied", "lens", 47, 2e-5, 2); /* three spans */
    check_all("gpt2", "lens", 42, 2e-5, 4);
}

static void means_what_llama_cpp_means(void **state)
{
    (void)state;
    check_all("llama-gqa-tied", "llama.cpp", 35, 2e-5, 0);
    check_all("llama-untied-bias", "llama.cpp", 41, 2e-5, 0);
    check_all("gpt2", "llama.cpp", 41, 5e-3, 0); /* its GELU is a table of halves */
    check_all("qwen2", "llama.cpp", 33, 2e-5, 0);
}

static enum st command(struct session *s, const char *line, struct err *e)
{
    struct result out = { 0 };
    const enum st st = command_run(s, str_from(line), false, &out, e);
    result_free(&out);
    return st;
}

/* A name of the same numbers is the point itself; what is computed is only looked at. */
static void are_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *line, *hint; /* NULL: it works */
    } lines[] = {
        { "break l_out-0 if absmax > 1", NULL },
        { "goto blocks.0.hook_resid_mid", NULL },
        { "goto end", NULL },
        { "summary blocks.*.attn.hook_{q,k,z}", NULL },
        { "print l_out-{0..1}[tok=-1, chan=0:4]", NULL },
        { "print absmax(l_out-0 - blk.0.out) + 2*rms(ffn_out-1)", NULL },
        { "set tensor ffn_out-1[tok=1] = zero", NULL },
        { "print kq-0[head=1, tok=0]", NULL },
        { "break kq-0", "take blk.0.attn.score" },
        { "set tensor kq-0 = zero", "kq-0: products of queries and keys, neither scaled nor "
                                    "masked" },
        { "norms kq-0", "kq-0: products of queries and keys, neither scaled nor masked" },
        { "print l_out-7", "did you mean `l_out-0`?" },
    };
    struct golden g;
    begin(&g, "llama-gqa-tied", "lens", 0);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct err e = ERR_INIT;
        const enum st st = command(g.s, lines[i].line, &e);
        if (!st != !lines[i].hint || (st && strcmp(e.hint, lines[i].hint) != 0))
            fail_msg("%s: %s (%s)", lines[i].line, e.msg, e.hint);
    }
    end(&g);
}

UNIT_MAIN(CASE(are_addresses), CASE(means_what_transformer_lens_means),
          CASE(means_what_llama_cpp_means))
