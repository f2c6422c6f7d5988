/* SPDX-License-Identifier: MIT */
#include "command/breaks.h"

#include "session/lookup.h"

const struct arg_after breaks_after[] = { { "if", ARG_CONDITION, NULL }, { 0 } };

enum st breaks_shift(struct err *e, enum st st, int column)
{
    if (st && e && e->column >= 0)
        e->column += column;
    return st;
}

struct str breaks_text(const struct call *c, int i)
{
    const size_t at = (size_t)c->words[i].column;
    return str_of(c->line.p + at, (size_t)(c->rest.p - c->line.p) + c->rest.n - at);
}

enum st breaks_compiled(const struct session *s, const struct call *c, int i,
                        struct condition **out, struct err *e)
{
    struct condition *made;
    enum st st = breaks_shift(e, condition_parse(breaks_text(c, i), &made, e), c->words[i].column);
    if (!st && condition_needs_ref(made) && !s->models.ref
        && !s->models.trace) {
        condition_free(made);
        call_fail(c, i, e, ST_STATE, "there is no reference");
        return st_hint(e, "`ref FILE` opens one");
    }
    if (!st)
        *out = made;
    return st;
}

enum st breaks_condition(const struct session *s, const struct call *c, int i,
                         struct condition **out, struct err *e)
{
    if (i >= c->n_words)
        return ST_OK;
    if (!str_is(c->words[i].text, "if"))
        return call_fail(c, i, e, ST_SYNTAX, "expected `if COND` or the end");
    if (i + 1 >= c->n_words)
        return call_fail(c, i + 1, e, ST_SYNTAX, "expected a condition: absmax > 100, any(x > 3)");
    return breaks_compiled(s, c, i + 1, out, e);
}

void breaks_undo(struct session *s, const struct breakpoint *b)
{
    breakpoint_delete(&s->breaks, b->number);
    s->breaks.next--;
}

enum st breaks_add(struct session *s, enum break_kind kind, struct str text, int column,
                   struct breakpoint **out, struct err *e)
{
    struct session_model *m;
    enum st st = session_need_graph(s, &m, e);
    if (st || (st = breaks_shift(e, breakpoint_add(&s->breaks, kind, &text, out, e), column)))
        return st;
    st = breakpoint_check(*out, m->model->graph, e);
    if (!st)
        return ST_OK;
    if (st == ST_NOTFOUND) {
        lookup_no_name(m, (*out)->address.name, NAMES_POINTS, e);
        st_at(e, 0, (int)(*out)->address.name.n);
    }
    breaks_undo(s, *out);
    return breaks_shift(e, st, column);
}

void breaks_show(const struct session *s, const struct breakpoint *b, struct result *out)
{
    struct table *t = result_table(out, "breakpoint", TABLE_LINE);
    struct buf what = { 0 };
    breakpoint_print(b, &what);
    TABLE_COLUMNS(t, { COL_STRING, "kind", .quiet = true }, { COL_INT, "number" },
                  { COL_STRING, "what" }, { COL_INT, "matches", "points" });
    table_row(t);
    table_str(t, b->temporary ? "tbreak" : break_kind_name(b->kind));
    table_int(t, b->number);
    table_str(t, buf_str(&what));
    table_int(t, s->models.model ? breakpoint_count(b, s->models.model->model->graph) : 0);
    buf_free(&what);
}
