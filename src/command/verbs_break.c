/* SPDX-License-Identifier: MIT */
/* The verbs of breakpoints. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/command.h"
#include "session/control.h"

/* "[tok=3:7]" at the end of a pattern: cut it off and note the tokens; an end left out is the
 * first or the last there ever will be. */
static enum st token_slice(const struct call *c, int i, struct str *pattern, int64_t *first,
                           int64_t *last, struct err *e)
{
    struct str p = *pattern;
    *first = *last = -1;
    size_t open = p.n;
    while (open && p.p[open - 1] != '[')
        open--;
    if (!open || p.p[p.n - 1] != ']' || !memchr(p.p + open, '=', p.n - open))
        return ST_OK;
    struct str inside = str_of(p.p + open, p.n - open - 1);
    if (!str_starts(inside, "tok="))
        return call_fail(c, i, e, ST_SYNTAX, "breakpoints take tokens only: [tok=3] or [tok=3:7]");
    inside = str_of(inside.p + 4, inside.n - 4);
    const char *colon = memchr(inside.p, ':', inside.n);
    size_t n = colon ? (size_t)(colon - inside.p) : inside.n;
    struct str end = colon ? str_of(colon + 1, inside.n - n - 1) : str_of(NULL, 0);
    int64_t from = 0, to = INT32_MAX;
    enum st st = n || !colon ? parse_i64(str_of(inside.p, n), 0, INT32_MAX - 1, &from, e) : ST_OK;
    if (!st && !colon)
        to = from + 1;
    else if (!st && end.n)
        st = parse_i64(end, from + 1, INT32_MAX, &to, e);
    if (st) {
        st_at(e, c->words[i].column, c->words[i].length);
        return st_hint(e, "tokens of the run from 0 on: [tok=3], [tok=3:7], [tok=3:]");
    }
    *first = from;
    *last = to - 1;
    *pattern = str_of(p.p, open - 1);
    return ST_OK;
}

static const char *point_name(const void *data, size_t i) { return graph_point_name(data, (int)i); }

static enum st add(struct session *s, const struct call *c, bool temporary, struct result *out,
                   struct err *e)
{
    struct session_model *m;
    enum st st = session_need_graph(s, &m, e);
    if (st)
        return st;
    if (c->n_words != 1)
        return call_fail(c, c->n_words ? 1 : 0, e, ST_SYNTAX,
                         "expected one point or glob: blk.2.ffn_down.out");
    struct str pattern = c->words[0].text;
    int64_t first, last;
    if ((st = token_slice(c, 0, &pattern, &first, &last, e)))
        return st;
    struct breakpoint probe = { .pattern = x_strndup(pattern.p, pattern.n), .enabled = true };
    const struct graph *g = m->model->graph;
    int n = breakpoint_count(&probe, g);
    free(probe.pattern);
    if (!n) {
        call_fail(c, 0, e, ST_NOTFOUND, "no point matches `%.*s`",
                  (int)(pattern.n > 120 ? 120 : pattern.n), pattern.p);
        struct buf b = { 0 };
        suggest(pattern, point_name, g, (size_t)graph_n_points(g), &b);
        st_hint(e, "%s", b.n ? buf_str(&b) : "`info points` lists them");
        buf_free(&b);
        return e->st;
    }
    struct breakpoint *b = breakpoint_add(&s->breaks, pattern, temporary);
    b->tok_first = first;
    b->tok_last = last;
    struct table *t = result_table(out, "breakpoint", TABLE_LINE);
    table_column(t, COL_STRING, "kind", "");
    table_column(t, COL_INT, "number", "");
    table_column(t, COL_ADDRESS, "points", "");
    table_column(t, COL_INT, "matches", "points");
    table_row(t);
    table_str(t, temporary ? "tbreak" : "break");
    table_int(t, b->number);
    table_str(t, b->pattern);
    table_int(t, n);
    return ST_OK;
}

static enum st run_break(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    return add(s, c, false, out, e);
}

static enum st run_tbreak(struct session *s, const struct call *c, struct result *out,
                          struct err *e)
{
    return add(s, c, true, out, e);
}

/* Apply to the breakpoints named by number, or to all when there are no words. */
static enum st each(struct session *s, const struct call *c, struct err *e,
                    void (*fn)(struct session *s, struct breakpoint *b))
{
    int64_t n;
    for (int i = 0; i < c->n_words; i++) { /* all are checked before any is touched */
        if (parse_i64(c->words[i].text, 1, INT32_MAX, &n, e)
            || !breakpoint_find(&s->breaks, (int)n)) {
            call_fail(c, i, e, ST_NOTFOUND, "no breakpoint `%.*s`", (int)c->words[i].text.n,
                      c->words[i].text.p);
            return st_hint(e, "`info breaks` lists them");
        }
    }
    for (size_t i = s->breaks.n; i-- > 0 && !c->n_words;)
        fn(s, &s->breaks.list[i]);
    for (int i = 0; i < c->n_words; i++) {
        struct breakpoint *b = NULL;
        if (!parse_i64(c->words[i].text, 1, INT32_MAX, &n, e))
            b = breakpoint_find(&s->breaks, (int)n);
        if (b)
            fn(s, b);
    }
    return ST_OK;
}

static void enable(struct session *s, struct breakpoint *b) { (void)s, b->enabled = true; }
static void disable(struct session *s, struct breakpoint *b) { (void)s, b->enabled = false; }
static void delete (struct session *s, struct breakpoint *b)
{
    breakpoint_delete(&s->breaks, b->number);
}

static enum st run_enable(struct session *s, const struct call *c, struct result *out,
                          struct err *e)
{
    (void)out;
    return each(s, c, e, enable);
}

static enum st run_disable(struct session *s, const struct call *c, struct result *out,
                           struct err *e)
{
    (void)out;
    return each(s, c, e, disable);
}

static enum st run_delete(struct session *s, const struct call *c, struct result *out,
                          struct err *e)
{
    (void)out;
    return each(s, c, e, delete);
}

const struct verb verbs_break[] = {
    { .name = "break",
      .alias = "b",
      .class = "break",
      .args = "GLOB[tok=FIRST:END]",
      .brief = "stop after a point has been produced",
      .help = "The glob names points (`info points`), canonical or by an alias: "
              "blk.2.ffn_down.out, blk.*.out, blk.{0..3}.attn_{q,k}.out. With tokens: only in "
              "spans that hold one of them. A breakpoint inside a fused kernel opens it; the "
              "numbers stay the same.",
      .examples = "break blk.1.ffn_down.out\ninfo breaks\ndelete",
      .kinds = { ARG_POINT },
      .run = run_break },
    { .name = "tbreak",
      .alias = "tb",
      .class = "break",
      .args = "GLOB[tok=FIRST:END]",
      .brief = "a breakpoint that is deleted once it has been hit",
      .examples = "tbreak blk.1.out\ndelete",
      .kinds = { ARG_POINT },
      .run = run_tbreak },
    { .name = "delete",
      .alias = "d",
      .class = "break",
      .args = "[NUMBER...]",
      .brief = "delete breakpoints; without numbers all",
      .examples = "break blk.0.out\ndelete",
      .kinds = { ARG_BREAK },
      .run = run_delete },
    { .name = "enable",
      .class = "break",
      .args = "[NUMBER...]",
      .brief = "let breakpoints stop the run again",
      .examples = "enable",
      .kinds = { ARG_BREAK },
      .run = run_enable },
    { .name = "disable",
      .class = "break",
      .args = "[NUMBER...]",
      .brief = "keep breakpoints, but run past them",
      .examples = "disable",
      .kinds = { ARG_BREAK },
      .run = run_disable },
    { 0 },
};
