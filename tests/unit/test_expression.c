/* SPDX-License-Identifier: MIT */
/* Expressions: arithmetic, axes by name, statistics, kept values, errors with a caret. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/statistics.h"
#include "session/control.h"
#include "session/expression.h"
#include "session/lookup.h"
#include "session/session.h"

static const int32_t ids[] = { 5, 9, 3, 7, 11 };
enum { N_IDS = sizeof ids / sizeof *ids, CHANS = 32 };

struct fixture {
    struct session *s;
    struct err e;
};

static struct fixture begin(void)
{
    struct fixture f = { .s = session_new(), .e = ERR_INIT };
    struct session_model *m;
    struct session_run *r;
    struct stop stop;
    assert_ok(session_open(f.s, golden_path("models/llama-gqa-tied.gguf"), NULL, &m, &f.e), &f.e);
    assert_ok(session_prompt(f.s, ids, N_IDS, NULL, &r, &f.e), &f.e);
    assert_ok(control_forward(f.s, r, run_end(r->run), STOP_END, &stop, &f.e), &f.e);
    return f;
}

static struct view value(struct fixture *f, const char *text)
{
    struct view v;
    assert_ok(expression_eval(f->s, str_from(text), &v, &f->e), &f->e);
    return v;
}

static double number(struct fixture *f, const char *text)
{
    struct view v = value(f, text);
    const double x = v.number;
    assert_int_equal(v.shape.rank, 0);
    view_free(&v);
    return x;
}

static void arithmetic(void **unused)
{
    (void)unused;
    struct fixture f = { session_new(), ERR_INIT };
    static const struct {
        const char *text;
        double value;
    } cases[] = {
        { "1 + 2 * 3", 7 },
        { "(1 + 2) * 3", 9 },
        { "2 - 3 - 4", -5 },
        { "16 / 4 / 2", 2 },
        { "--3", 3 },
        { "-2 * -3", 6 },
        { "+.5", 0.5 },
        { "1e3 + 2.5e-1", 1000.25 },
        { "1/3", 1.0 / 3 },
        { " ( ( 1 ) ) ", 1 },
        { "1e300 * 1e5", 1e305 },
        { "sqrt(2)*sqrt(2) - 2", sqrt(2) * sqrt(2) - 2 },
        { "abs(-3)", 3 },
        { "log(exp(2))", 2 },
        { "2*3", 6 },
        { "exp (0)", 1 },
        { "max(7)", 7 },
        { "n(3)", 1 },
        { "relerr(2, 3)", 0.5 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (fabs(number(&f, cases[i].text) - cases[i].value) > 1e-15 * fabs(cases[i].value))
            fail_msg("%s is %.17g", cases[i].text, number(&f, cases[i].text));
    assert_true(isinf(number(&f, "1/0")));
    assert_true(isnan(number(&f, "0/0")));
    assert_true(isnan(number(&f, "sqrt(-1)")));
    session_free(f.s);
}

static void element_by_element(void **unused)
{
    (void)unused;
    struct fixture f = begin();
    struct view a = value(&f, "blk.0.out"), b = value(&f, "blk.0.in");
    struct view v = value(&f, "abs(blk.0.out - blk.0.in) / 2 + -blk.0.out*0.5");
    assert_true(shape_equal(&v.shape, &a.shape));
    for (int64_t i = 0; i < view_count(&v); i++) {
        const float expected = fabsf(a.data[i] - b.data[i]) / 2.0f + -a.data[i] * 0.5f;
        assert_true(v.data[i] == expected);
    }
    assert_string_equal(v.name, "abs(blk.0.out - blk.0.in) / 2 + -blk.0.out*0.5");
    assert_ptr_equal(v.run, a.run); /* knows its tokens */
    assert_null(v.weight);
    view_free(&v);
    view_free(&a);
    view_free(&b);
    session_free(f.s);
}

/* Axes meet by name: tok against chan gives both, one entry serves all. */
static void axes_by_name(void **unused)
{
    (void)unused;
    struct fixture f = begin();
    struct view x = value(&f, "blk.0.out"), gain = value(&f, "blk.0.attn_norm.weight");
    struct view v = value(&f, "blk.0.attn_norm.weight * blk.0.out");
    assert_int_equal(v.shape.rank, 2); /* chan of the left, then tok of the right */
    assert_int_equal(v.shape.d[0].axis, AXIS_CHAN);
    assert_int_equal(v.shape.d[1].axis, AXIS_TOK);
    for (int c = 0; c < CHANS; c++)
        for (int t = 0; t < N_IDS; t++)
            assert_true(v.data[c * N_IDS + t] == gain.data[c] * x.data[t * CHANS + c]);
    view_free(&v);
    v = value(&f, "blk.0.out - blk.0.out[tok=2]");
    for (int t = 0; t < N_IDS; t++)
        for (int c = 0; c < CHANS; c++)
            assert_true(v.data[t * CHANS + c] == x.data[t * CHANS + c] - x.data[2 * CHANS + c]);
    assert_int_equal(v.index[0][4], 4);
    view_free(&v);
    v = value(&f, "blk.0.out[tok=2] - blk.0.out"); /* the other way round: indices of the right */
    assert_int_equal(v.shape.d[0].n, N_IDS);
    assert_int_equal(v.index[0][4], 4);
    assert_true(v.data[CHANS + 3] == x.data[2 * CHANS + 3] - x.data[CHANS + 3]);
    view_free(&v);
    v = value(&f, "blk.0.out[tok=1:3] - blk.0.out[tok=3:5]"); /* paired in order */
    assert_true(v.data[CHANS] == x.data[2 * CHANS] - x.data[4 * CHANS]);
    assert_int_equal(v.index[0][1], 2);
    view_free(&v);
    v = value(&f, "blk.0.out[tok=1, chan=3] + 1");
    assert_int_equal(v.shape.rank, 2);
    assert_true(v.data[0] == x.data[CHANS + 3] + 1);
    view_free(&v);
    view_free(&x);
    view_free(&gain);
    session_free(f.s);
}

static void statistics(void **unused)
{
    (void)unused;
    struct fixture f = begin();
    struct view x = value(&f, "blk.0.out"), y = value(&f, "blk.1.out");
    for (size_t i = 0; i < statistic_count(); i++) {
        const struct statistic *t = statistic_at(i);
        char text[80];
        double expected;
        snprintf(text, sizeof text, "%s(blk.0.out)", t->name);
        if (t->kind == STATISTIC_ARRAY) {
            assert_true(statistic_of(t->name, NULL, x.data, view_count(&x), &expected));
            assert_true(number(&f, text) == expected);
        }
        snprintf(text, sizeof text, "%s(blk.0.out, blk.1.out)", t->name);
        if (t->kind == STATISTIC_PAIR && strcmp(t->name, "rmse/scale")) {
            assert_true(statistic_between(t->name, x.data, y.data, view_count(&x), &expected));
            assert_true(number(&f, text) == expected);
        }
    }
    view_free(&x);
    view_free(&y);
    static const char *const other[] = { "p1", "median", "p99" };
    struct view row = value(&f, "blk.0.attn_norm.weight");
    for (int i = 0; i < 3; i++) {
        const double p[] = { 0.01, 0.5, 0.99 };
        char text[80];
        double expected;
        float copy[CHANS];
        memcpy(copy, row.data, sizeof copy);
        quantiles(copy, CHANS, &p[i], 1, &expected);
        snprintf(text, sizeof text, "%s(blk.0.attn_norm.weight)", other[i]);
        assert_true(number(&f, text) == expected);
    }
    view_free(&row);
    session_free(f.s);
}

/* Entropy is of each row, over the keys that its token sees, averaged. */
static void entropy_of_rows(void **unused)
{
    (void)unused;
    struct fixture f = begin();
    struct view p = value(&f, "blk.0.attn.prob"); /* head, tok, key */
    double sum = 0, normalised = 0;
    int rows = 0;
    for (int64_t h = 0; h < p.shape.d[0].n; h++)
        for (int64_t t = 0; t < N_IDS; t++) {
            const float *x = p.data + (h * N_IDS + t) * N_IDS;
            sum += entropy_nats(x, t + 1);
            if (t) {
                normalised += entropy_normalised(x, t + 1);
                rows++;
            }
        }
    assert_true(
        fabs(number(&f, "entropy(blk.0.attn.prob)") - sum / (double)(p.shape.d[0].n * N_IDS))
        < 1e-12);
    assert_true(fabs(number(&f, "entropy_norm(blk.0.attn.prob)") - normalised / rows) < 1e-12);
    assert_true(fabs(number(&f, "entropy_norm(blk.0.attn.prob[head=1, tok=2])")
                     - entropy_normalised(p.data + (1 * N_IDS + 2) * N_IDS, 3))
                < 1e-12);
    assert_true(number(&f, "sink(blk.0.attn.prob[tok=0])") == 1);
    view_free(&p);
    p = value(&f, "output.out"); /* kl: of each token's distribution, averaged */
    const double all = number(&f, "kl(output.out, output.out * 2)"),
                 last = number(&f, "kl(output.out[tok=4], output.out[tok=4] * 2)");
    double mean = 0;
    float twice[320];
    for (int t = 0; t < N_IDS; t++) {
        for (int i = 0; i < 320; i++)
            twice[i] = p.data[t * 320 + i] * 2;
        double one = kl_of_logits(p.data + t * 320, twice, 320, -INFINITY);
        mean += one / N_IDS;
        assert_true(t < 4 || one == last);
    }
    assert_true(fabs(all - mean) < 1e-12);
    view_free(&p);
    session_free(f.s);
}

static void kept_values(void **unused)
{
    (void)unused;
    struct fixture f = begin();
    struct result out = { 0 };
    struct view v = value(&f, "blk.0.out");
    const float first = v.data[0];
    assert_int_equal(values_keep(&f.s->values, &v), 1);
    v = value(&f, "6 * 7");
    assert_int_equal(values_keep(&f.s->values, &v), 2);
    assert_true(number(&f, "$") == 42 && number(&f, "$2 + $") == 84);
    v = value(&f, "$1 + 1");
    assert_true(v.data[0] == first + 1);
    assert_string_equal(v.name, "$1 + 1");
    view_free(&v);
    v = value(&f, " $1 ");
    assert_string_equal(v.name, "blk.0.out"); /* what it was */
    view_free(&v);
    assert_ok(session_assign(f.s, STR("x"), STR("$2 / 2"), &out, &f.e), &f.e);
    assert_true(number(&f, "$x + 1") == 22);
    assert_ok(session_assign(f.s, STR("x"), STR("$x * 2"), &out, &f.e), &f.e);
    assert_true(number(&f, "$x") == 42);
    assert_true(out.n_tables == 1 && out.tables[0]->n_rows == 2);
    assert_fails(session_assign(f.s, STR("x"), STR("1 +"), &out, &f.e), ST_SYNTAX, &f.e);
    assert_true(number(&f, "$x") == 42); /* a failed one changes nothing */
    assert_ok(session_assign(f.s, STR("w"), STR("blk.0.attn_norm.weight"), &out, &f.e), &f.e);
    session_close(f.s, f.s->models.model); /* values outlive what they came from */
    v = value(&f, "$1");
    assert_true(v.data[0] == first);
    assert_null(v.run);
    view_free(&v);
    v = value(&f, "$w");
    assert_null(v.weight);
    view_free(&v);
    result_free(&out);
    session_free(f.s);
}

/* Large old values make room; numbers stay. */
static void history_is_bounded(void **unused)
{
    (void)unused;
    struct fixture f = { session_new(), ERR_INIT };
    struct view v;
    const struct shape large = shape1(dim(AXIS_CHAN, 100000));
    const size_t before = mem_budget();
    mem_set_budget(16 << 20); /* an eighth is 2 MB: five of 400 kB */
    assert_ok(view_scalar(7, &v, &f.e), &f.e);
    values_keep(&f.s->values, &v);
    for (int i = 0; i < 20; i++) {
        assert_ok(view_new(&large, "large", &v, &f.e), &f.e);
        memset(v.data, 0, 400000);
        values_keep(&f.s->values, &v);
    }
    assert_true(number(&f, "$1") == 7);
    assert_null(values_number(&f.s->values, 2));
    assert_null(values_number(&f.s->values, 16));
    assert_non_null(values_number(&f.s->values, 17));
    assert_true(mem_used() < 2 << 20);
    assert_fails(expression_eval(f.s, STR("$2"), &v, &f.e), ST_STATE, &f.e);
    mem_set_budget(before);
    session_free(f.s);
}

static void errors_have_a_caret(void **unused)
{
    (void)unused;
    struct fixture f = begin();
    static const struct {
        const char *text;
        enum st st;
        int column, length;
        const char *says; /* in the message or the hint */
    } cases[] = {
        { "", ST_SYNTAX, 0, 1, "operand" },
        { "1 +", ST_SYNTAX, 3, 1, "operand" },
        { "1 + ? 2", ST_NOTFOUND, 4, 1, "`?`" },
        { "(1 + 2", ST_SYNTAX, 0, 1, "`)`" },
        { "2 * (1 + 2", ST_SYNTAX, 4, 1, "`)`" },
        { "(1 2)", ST_SYNTAX, 3, 1, "`)`" },
        { "1 2", ST_SYNTAX, 2, 1, "operator" },
        { "1 + 2)", ST_SYNTAX, 5, 1, "operator" },
        { "1.2.3", ST_SYNTAX, 0, 5, "" },
        { "12abc", ST_SYNTAX, 0, 5, "" },
        { "1 + nonsense(2)", ST_NOTFOUND, 4, 8, "nonsense" },
        { "1 + absmx(2)", ST_NOTFOUND, 4, 5, "`absmax`" },
        { "ppl(2)", ST_UNSUPPORTED, 0, 6, "perplexity" },
        { "1 + cos(2)", ST_SYNTAX, 4, 6, "cos(REFERENCE, X)" },
        { "rms(1, 2)", ST_SYNTAX, 0, 9, "two" },
        { "1 + blk.99.attn_q[tok=1e9]", ST_SYNTAX, 22, 3, "plain digits" },
        { "1 + blk.0.outt", ST_NOTFOUND, 4, 10, "`blk.0.out`" },
        { "1 + blk.0.outt*2", ST_NOTFOUND, 4, 12, "" },
        { "abs(blk.0.out[chan=99])", ST_RANGE, 14, 7, "0..31" },
        { "blk.*.out", ST_SYNTAX, 0, 9, "2 names" },
        { "blk.0.out[tok=0:2] - blk.0.out[tok=0:3]", ST_RANGE, 19, 1, "axis tok has 2" },
        { "blk.0.out[tok=0:2] * blk.0.attn.prob", ST_RANGE, 19, 1, "tok" },
        { "relerr(blk.0.out, blk.0.out[tok=0])", ST_RANGE, 0, 35, "tok 5" },
        { "$", ST_NOTFOUND, 0, 1, "" },
        { "$7", ST_NOTFOUND, 0, 2, "$7" },
        { "$0", ST_SYNTAX, 0, 2, "" },
        { "$99999999999999999999", ST_SYNTAX, 0, 21, "" },
        { "1 + $nothing", ST_NOTFOUND, 4, 8, "nothing = EXPR" },
        { "blk.0.attn_q.weight * blk.0.attn.prob * blk.1.out", ST_UNSUPPORTED, 20, 1, "axes" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = ERR_INIT;
        struct view v = { .value = 77 };
        enum st st = expression_eval(f.s, str_from(cases[i].text), &v, &e);
        if (st != cases[i].st || e.column != cases[i].column || e.length != cases[i].length
            || (!strstr(e.msg, cases[i].says) && !strstr(e.hint, cases[i].says)))
            fail_msg("%s: %s at %d, %d: %s; %s", cases[i].text, st_name(st), e.column, e.length,
                     e.msg, e.hint);
        assert_int_equal(v.value, 77); /* written on success only */
    }
    session_free(f.s);
}

static void depth_is_limited(void **unused)
{
    (void)unused;
    struct fixture f = { session_new(), ERR_INIT };
    static const char *const units[] = { "(", "-", "abs(", "absmax(" };
    for (int i = 0; i < 4; i++) {
        struct buf b = { 0 };
        struct view v;
        for (int k = 0; k < 100000; k++)
            buf_adds(&b, units[i]);
        assert_fails(expression_eval(f.s, str_of(b.p, b.n), &v, &f.e), ST_RANGE, &f.e);
        buf_free(&b);
    }
    struct buf b = { 0 };
    for (int k = 0; k < 100000; k++)
        buf_adds(&b, "1+"); /* long is fine */
    buf_adds(&b, "1");
    assert_true(number(&f, buf_str(&b)) == 100001);
    buf_free(&b);
    session_free(f.s);
}

/* A result that memory does not allow is refused. */
static void budget_holds(void **unused)
{
    (void)unused;
    struct fixture f = begin();
    struct view v;
    const size_t before = mem_budget();
    mem_set_budget(mem_used() + (1 << 20));
    assert_fails(expression_eval(f.s, STR("blk.0.ffn_up.weight * blk.0.out"), &v, &f.e), ST_NOMEM,
                 &f.e);
    mem_set_budget(before);
    session_free(f.s);
}

static void prefix_stops(void **unused)
{
    (void)unused;
    struct fixture f = begin();
    static const struct {
        const char *text;
        size_t used;
    } cases[] = { { "1 + 2 by absmax", 6 },
                  { "blk.0.out  20", 11 },
                  { "blk.0.out", 9 },
                  { "rms(1) > 2", 7 },
                  { "1 and", 2 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct view v;
        size_t used;
        assert_ok(expression_prefix(f.s, str_from(cases[i].text), &v, &used, &f.e), &f.e);
        assert_int_equal(used, cases[i].used);
        view_free(&v);
    }
    session_free(f.s);
}

UNIT_MAIN(CASE(arithmetic), CASE(element_by_element), CASE(axes_by_name), CASE(statistics),
          CASE(entropy_of_rows), CASE(kept_values), CASE(history_is_bounded),
          CASE(errors_have_a_caret), CASE(depth_is_limited), CASE(budget_holds), CASE(prefix_stops))
