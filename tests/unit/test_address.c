/* SPDX-License-Identifier: MIT */
/* Addresses: what parses to what, where the caret of an error stands, indices of axes. */
#include "tests/harness/unit.h"

#include <stdlib.h>
#include <string.h>

#include "graph/address.h"

static struct address parsed(const char *text)
{
    struct address a;
    struct err e = ERR_INIT;
    assert_ok(address_parse(str_from(text), &a, &e), &e);
    assert_int_equal(a.used, strlen(text));
    return a;
}

static bool same_index(const struct index *a, const struct index *b)
{
    return a->axis == b->axis && a->kind == b->kind && a->from == b->from && a->to == b->to
           && a->step == b->step && a->has_from == b->has_from && a->has_to == b->has_to
           && a->n_list == b->n_list
           && !memcmp(a->list, b->list, (size_t)a->n_list * sizeof *a->list)
           && str_eq(a->text, b->text);
}

static bool same(const struct address *a, const struct address *b)
{
    bool is = str_eq(a->model, b->model) && str_eq(a->run, b->run) && str_eq(a->name, b->name)
              && a->n_items == b->n_items && a->sliced == b->sliced
              && str_eq(a->position, b->position);
    for (int i = 0; i < a->n_items && is; i++)
        is = same_index(&a->items[i], &b->items[i]);
    return is;
}

static void all_parts(void **unused)
{
    (void)unused;
    struct address a = parsed(
        "ref:main!blk.{0..3}.attn_q.out[tok=-1, head={0,2}, chan=top8(absmax)]@s2:blk.3.out");
    assert_true(str_is(a.model, "ref") && str_is(a.run, "main"));
    assert_true(str_is(a.name, "blk.{0..3}.attn_q.out"));
    assert_int_equal(a.column, 9);
    assert_int_equal(a.length, 21);
    assert_int_equal(a.n_items, 3);
    assert_int_equal(a.items[0].axis, AXIS_TOK);
    assert_int_equal(a.items[0].kind, INDEX_ONE);
    assert_int_equal(a.items[0].from, -1);
    assert_int_equal(a.items[1].kind, INDEX_LIST);
    assert_int_equal(a.items[1].n_list, 2);
    assert_int_equal(a.items[1].list[1], 2);
    assert_int_equal(a.items[2].kind, INDEX_TOP);
    assert_int_equal(a.items[2].from, 8);
    assert_true(str_is(a.items[2].text, "absmax"));
    assert_true(str_is(a.position, "s2:blk.3.out"));
}

static void kinds_of_indices(void **unused)
{
    (void)unused;
    struct address a = parsed("x[1:-2:3, :, ::-1, *]");
    assert_int_equal(a.n_items, 4);
    const struct index *i = a.items;
    assert_true(i->axis == AXIS__COUNT && i->kind == INDEX_RANGE && i->has_from && i->has_to);
    assert_true(i->from == 1 && i->to == -2 && i->step == 3);
    assert_true(i[1].kind == INDEX_RANGE && !i[1].has_from && !i[1].has_to && i[1].step == 1);
    assert_true(i[2].step == -1);
    assert_int_equal(i[3].kind, INDEX_ALL);
    a = parsed("x[tok=\"a \\\" b\"]"); /* a quote inside is written \" */
    assert_true(str_is(a.items[0].text, "a \\\" b"));
    assert_int_equal(parsed("x[d=1]").items[0].axis, AXIS_CHAN);
    assert_int_equal(parsed("x[ tok = 3 ]").items[0].from, 3);
    assert_int_equal(parsed("x[]").n_items, 0);
    assert_true(parsed("x[]").sliced);
    assert_int_equal(parsed("x[tok=-9223372036854775808]").items[0].from, INT64_MIN);
    assert_int_equal(parsed("x[bot3(rms)]").items[0].kind, INDEX_BOTTOM);
}

/* Brackets are a set of characters inside a name, a slice behind it. */
static void sets_and_slices(void **unused)
{
    (void)unused;
    static const struct {
        const char *text, *name;
        int items;
    } cases[] = {
        { "blk.[01].out", "blk.[01].out", 0 },
        { "blk.0.attn_[qkv].weight[3]", "blk.0.attn_[qkv].weight", 1 },
        { "blk.0.attn_[qk]", "blk.0.attn_[qk]", 0 },
        { "blk.0.out[3]", "blk.0.out", 1 },
        { "blk.0.out[tok=3]", "blk.0.out", 1 },
        { "blk.0.out[3,4]", "blk.0.out", 2 },
        { "blk.0.out[3]@s1", "blk.0.out", 1 },
        { "blk.0.out -- [3]", "blk.0.out", 1 },
        { "blk.[01].out[3:4]", "blk.[01].out", 1 },
        { "blk.{0..3}.attn_{q,k}[*]", "blk.{0..3}.attn_{q,k}", 1 },
        { "**.weight", "**.weight", 0 },
        { "l_out-3", "l_out-3", 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct address a = parsed(cases[i].text);
        if (!str_is(a.name, cases[i].name) || a.n_items != cases[i].items)
            fail_msg("%s: name %.*s, %d items", cases[i].text, (int)a.name.n, a.name.p, a.n_items);
    }
}

/* It stops where an expression goes on. */
static void stops_at_operators(void **unused)
{
    (void)unused;
    static const struct {
        const char *text;
        size_t used;
    } cases[] = {
        { "blk.0.out - blk.0.in", 9 },        { "blk.0.out-blk.0.in", 9 },
        { "blk.0.out[tok=1]*2", 16 },         { "blk.0.out)", 9 },
        { "blk.0.out[tok=1] by absmax", 16 }, { "blk.0.out-3", 9 },
        { "blk.0.out@s1 + 1", 12 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct address a;
        struct err e = ERR_INIT;
        assert_ok(address_parse(str_from(cases[i].text), &a, &e), &e);
        if (a.used != cases[i].used)
            fail_msg("%s: used %zu, expected %zu", cases[i].text, a.used, cases[i].used);
    }
}

/* Every error says where: column and length of what it speaks of. */
static void errors_have_a_caret(void **unused)
{
    (void)unused;
    static const struct {
        const char *text;
        enum st st;
        int column, length;
    } cases[] = {
        { "", ST_SYNTAX, 0, 1 },
        { "   ", ST_SYNTAX, 3, 1 },
        { "!x", ST_SYNTAX, 0, 1 },
        { "[3]", ST_SYNTAX, 0, 1 },
        { "blk.99.attn_q[tok=1e9]", ST_SYNTAX, 18, 3 },
        { "x[tok=1.5]", ST_SYNTAX, 6, 3 },
        { "x[tok=9223372036854775808]", ST_RANGE, 6, 19 },
        { "x[tok=-9223372036854775809]", ST_RANGE, 6, 20 },
        { "x[tik=3]", ST_SYNTAX, 2, 3 },
        { "x[tok=1, 2]", ST_SYNTAX, 9, 1 },
        { "x[1, tok=2]", ST_SYNTAX, 5, 5 },
        { "x[tok=1, tok=2]", ST_SYNTAX, 9, 5 },
        { "x[tok=]", ST_SYNTAX, 6, 1 },
        { "x[tok=1", ST_SYNTAX, 1, 6 },
        { "x[tok=1:2:0]", ST_SYNTAX, 10, 1 },
        { "x[tok={1,2]", ST_SYNTAX, 10, 1 },
        { "x[tok={}]", ST_SYNTAX, 7, 1 },
        { "x[tok=\"Paris]", ST_SYNTAX, 6, 1 },
        { "x[chan=top(absmax)]", ST_SYNTAX, 10, 1 },
        { "x[chan=top0(absmax)]", ST_SYNTAX, 7, 4 },
        { "x[chan=top8]", ST_SYNTAX, 7, 4 },
        { "x[chan=top8()]", ST_SYNTAX, 7, 5 },
        { "x[0,0,0,0,0,0,0]", ST_SYNTAX, 14, 1 },
        { "x[1 2]", ST_SYNTAX, 4, 1 },
        { "blk.{0..3.out", ST_SYNTAX, 4, 1 },
        { "x@", ST_SYNTAX, 2, 1 },
        { "x -- y", ST_SYNTAX, 5, 1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct address a = { .used = 77 };
        struct err e = ERR_INIT;
        enum st st = address_parse(str_from(cases[i].text), &a, &e);
        if (st != cases[i].st || e.column != cases[i].column || e.length != cases[i].length
            || !e.msg[0])
            fail_msg("%s: %s at %d, %d: %s", cases[i].text, st_name(st), e.column, e.length, e.msg);
        assert_int_equal(a.used, 77); /* written on success only */
    }
}

/* --- parse after print is the identity ---------------------------------------------------------
 */

struct writer {
    struct buf b;
    uint64_t random;
};

static int below(struct writer *w, int n) { return (int)(unit_random(&w->random) % (uint64_t)n); }
static void add_number(struct writer *w)
{
    buf_printf(&w->b, "%d", below(w, 5) ? below(w, 30) - 9 : below(w, 1 << 30));
}

static void add_name(struct writer *w)
{
    static const char *const parts[] = { "blk",        "0",     "*",  "attn_q", "{0..3}",
                                         "attn_[qk]x", "{q,k}", "**", "out",    "w?" };
    for (int i = 0, n = 1 + below(w, 4); i < n; i++)
        buf_printf(&w->b, "%s%s", i ? "." : "", parts[below(w, 10)]);
}

static void add_index(struct writer *w)
{
    switch (below(w, 6)) {
    case 0: buf_addc(&w->b, '*'); break;
    case 1: add_number(w); break;
    case 2:
        if (below(w, 2))
            add_number(w);
        buf_addc(&w->b, ':');
        if (below(w, 2))
            add_number(w);
        if (below(w, 2))
            buf_printf(&w->b, ":%d", below(w, 2) ? 1 + below(w, 3) : -1 - below(w, 3));
        break;
    case 3:
        for (int i = 0, n = 1 + below(w, 5); i < n; i++) {
            buf_addc(&w->b, i ? ',' : '{');
            add_number(w);
        }
        buf_addc(&w->b, '}');
        break;
    case 4:
        buf_printf(&w->b, "%s%d(%s)", below(w, 2) ? "top" : "bot", 1 + below(w, 9),
                   below(w, 2) ? "rms" : "absmax");
        break;
    default: buf_printf(&w->b, "\"%s\"", below(w, 2) ? "Paris" : "a \\\" ] = b"); break;
    }
}

static void add_slice(struct writer *w)
{
    const bool named = below(w, 2);
    const int n = below(w, 5), first = below(w, AXIS__COUNT);
    buf_addc(&w->b, '[');
    for (int i = 0; i < n; i++) {
        buf_adds(&w->b, i ? ", " : "");
        if (named)
            buf_printf(&w->b, "%s=", axis_info((enum axis)((first + i) % AXIS__COUNT))->name);
        add_index(w);
    }
    buf_addc(&w->b, ']');
}

static void print_then_parse(void **unused)
{
    (void)unused;
    struct writer w = { .random = 4 };
    for (int round = 0; round < 20000; round++) {
        buf_clear(&w.b);
        if (below(&w, 3) == 0)
            buf_adds(&w.b, below(&w, 2) ? "ref!" : "a:clean!");
        add_name(&w);
        if (below(&w, 4))
            add_slice(&w);
        if (below(&w, 4) == 0)
            buf_adds(&w.b, below(&w, 2) ? "@s2" : "@s0:blk.1.out");
        struct address a = parsed(buf_str(&w.b)), again;
        struct buf printed = { 0 }, twice = { 0 };
        address_print(&a, &printed);
        again = parsed(buf_str(&printed));
        if (!same(&a, &again))
            fail_msg("%s became %s", buf_str(&w.b), buf_str(&printed));
        address_print(&again, &twice);
        assert_string_equal(buf_str(&printed), buf_str(&twice));
        buf_free(&printed);
        buf_free(&twice);
    }
    buf_free(&w.b);
}

/* --- indices of an axis ------------------------------------------------------------------------
 */

static void assert_entries(const char *index, int64_t n, const char *expected)
{
    char text[64];
    snprintf(text, sizeof text, "x[%s]", index);
    struct address a = parsed(text);
    struct err e = ERR_INIT;
    struct buf got = { 0 };
    int64_t *list, count;
    assert_ok(index_resolve(&a.items[0], AXIS_TOK, n, &list, &count, &e), &e);
    for (int64_t i = 0; i < count; i++)
        buf_printf(&got, "%s%d", i ? " " : "", (int)list[i]);
    if (strcmp(buf_str(&got), expected))
        fail_msg("[%s] of %d: %s, expected %s", index, (int)n, buf_str(&got), expected);
    buf_free(&got);
    free(list);
}

static void resolves_indices(void **unused)
{
    (void)unused;
    assert_entries("*", 3, "0 1 2");
    assert_entries("-1", 5, "4");
    assert_entries("{4,0,-2}", 5, "4 0 3");
    assert_entries("1:3", 5, "1 2");
    assert_entries("-2:", 5, "3 4");
    assert_entries(":-3", 5, "0 1");
    assert_entries("::2", 5, "0 2 4");
    assert_entries("::-1", 4, "3 2 1 0");
    assert_entries("3:0:-2", 5, "3 1");
    assert_entries("2:5", 5, "2 3 4");
    assert_entries("-5:2", 5, "0 1");
    assert_entries("4:-5:-1", 5, "4 3 2 1");
    assert_entries("::9223372036854775807", 5, "0");
    assert_entries("::-9223372036854775808", 5, "4");
}

static void refuses_indices(void **unused)
{
    (void)unused;
    static const char *const cases[] = { "5",
                                         "-6",
                                         "{0,5}",
                                         "3:3",
                                         "4:2",
                                         "7:",
                                         "2:6",
                                         "-6:2",
                                         "5:0:-1",
                                         "4:-6:-1",
                                         "0:9223372036854775807",
                                         ":0",
                                         "0:3:-1",
                                         "9223372036854775807",
                                         "-9223372036854775808" };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64];
        snprintf(text, sizeof text, "name[tok=%s]", cases[i]);
        struct address a = parsed(text);
        struct err e = ERR_INIT;
        int64_t *list = NULL, count;
        assert_fails(index_resolve(&a.items[0], AXIS_TOK, 5, &list, &count, &e), ST_RANGE, &e);
        assert_null(list);
        assert_int_equal(e.column, 5);
        assert_int_equal(e.length, strlen(cases[i]) + 4);
        assert_non_null(strstr(e.msg, "tok"));
        assert_non_null(strstr(e.hint[0] ? e.hint : e.msg, i < 3 ? "0..4" : ""));
    }
    struct err e = ERR_INIT;
    struct address a = parsed("x[top3(rms)]");
    int64_t *list, count;
    assert_fails(index_resolve(&a.items[0], AXIS_TOK, 5, &list, &count, &e), ST_STATE, &e);
    a = parsed("x[0]");
    assert_fails(index_resolve(&a.items[0], AXIS_TOK, 0, &list, &count, &e), ST_RANGE, &e);
}

static void items_of_a_shape(void **unused)
{
    (void)unused;
    const struct shape s = shape2(dim(AXIS_TOK, 5), dim(AXIS_CHAN, 8));
    struct err e = ERR_INIT;
    const struct index *i;
    struct address a = parsed("x[chan=3]");
    assert_ok(address_item(&a, &s, 0, &i, &e), &e);
    assert_null(i);
    assert_ok(address_item(&a, &s, 1, &i, &e), &e);
    assert_int_equal(i->from, 3);
    a = parsed("x[1, 2]");
    assert_ok(address_item(&a, &s, 1, &i, &e), &e);
    assert_int_equal(i->from, 2);
    a = parsed("x[tok=0, head=1]");
    assert_fails(address_check(&a, &s, &e), ST_SYNTAX, &e);
    assert_int_equal(e.column, 9);
    assert_non_null(strstr(e.hint, "tok 5, chan 8"));
    a = parsed("x[0, 1, 2]");
    assert_fails(address_check(&a, &s, &e), ST_SYNTAX, &e);
    assert_int_equal(e.column, 8);
}

UNIT_MAIN(CASE(all_parts), CASE(kinds_of_indices), CASE(sets_and_slices), CASE(stops_at_operators),
          CASE(errors_have_a_caret), CASE(print_then_parse), CASE(resolves_indices),
          CASE(refuses_indices), CASE(items_of_a_shape))
