/* SPDX-License-Identifier: MIT */
/* Expressions that are shown at each stop. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "command/look.h"
#include "session/expression.h"

/* What one display is worth: numbers as rows of one table, the rest as a table of its own. */
static enum st show_one(struct session *s, const struct display *d, struct table **numbers,
                        struct result *out, struct err *e)
{
    struct view v;
    enum st st = expression_eval(s, str_from(d->text), &v, e);
    if (st)
        return st;
    if (!v.shape.rank && !d->letter) {
        if (!*numbers) {
            *numbers = result_table(out, "displays", TABLE_ROWS);
            table_column(*numbers, COL_INT, "number", "");
            table_column(*numbers, COL_STRING, "expression", "");
            table_column(*numbers, COL_FLOAT, "value", "");
        }
        table_row(*numbers);
        table_int(*numbers, d->number);
        table_str(*numbers, d->text);
        table_float(*numbers, v.number);
    } else {
        const size_t first = out->n_tables;
        st = look_show(s, &v, (struct look_format){ d->letter, d->count }, out, e);
        for (size_t i = first; i < out->n_tables; i++) {
            struct buf name = { 0 };
            buf_printf(&name, "display %d: %s", d->number, d->text);
            free(out->tables[i]->name);
            out->tables[i]->name = buf_take(&name);
        }
    }
    view_free(&v);
    return st;
}

enum st displays_show(struct session *s, struct result *out, struct err *e)
{
    struct table *numbers = NULL;
    for (size_t i = 0; i < s->displays.n; i++) {
        const struct display *d = &s->displays.list[i];
        enum st st = show_one(s, d, &numbers, out, e);
        if (st == ST_CANCELLED)
            return st;
        if (st) /* a stop is not spoiled by what cannot be shown there */
            result_note(out, "display %d: %s: %s", d->number, d->text, e->msg);
    }
    return ST_OK;
}

enum st run_display(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct look_format f;
    struct table *numbers = NULL;
    enum st st = look_format(c, PRINT_LETTERS, &f, e);
    if (st)
        return st;
    if (!c->rest.n)
        return displays_show(s, out, e);
    const struct display *d = displays_add(&s->displays, f.letter, f.count, c->rest);
    st = show_one(s, d, &numbers, out, e);
    if (!st)
        return ST_OK;
    if (st == ST_STATE) { /* not there yet: it will be shown when it is */
        result_note(out, "display %d: %s: %s", d->number, d->text, e->msg);
        *e = (struct err)ERR_INIT;
        return ST_OK;
    }
    displays_delete(&s->displays, d->number);
    s->displays.last--;
    return e->column >= 0 ? st_at(e, e->column + c->rest_column, e->length) : st;
}

enum st run_undisplay(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    (void)out;
    int numbers[CALL_MAX_WORDS];
    for (int i = 0; i < c->n_words; i++) { /* all or nothing */
        int64_t n;
        enum st st = look_number(c, i, 1, INT32_MAX, &n, e);
        if (st)
            return st;
        bool found = false;
        for (size_t k = 0; k < s->displays.n; k++)
            found |= s->displays.list[k].number == n;
        if (!found) {
            call_fail(c, i, e, ST_NOTFOUND, "there is no display %" PRId64, n);
            return st_hint(e, "`info displays` lists them");
        }
        numbers[i] = (int)n;
    }
    for (int i = 0; i < c->n_words; i++)
        displays_delete(&s->displays, numbers[i]);
    while (!c->n_words && s->displays.n)
        displays_delete(&s->displays, s->displays.list[0].number);
    return ST_OK;
}

void displays_list(const struct session *s, struct result *out)
{
    struct table *t = result_table(out, "displays", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_INT, "number" }, { COL_STRING, "format" }, { COL_STRING, "expression" });
    for (size_t i = 0; i < s->displays.n; i++) {
        const struct display *d = &s->displays.list[i];
        char format[32], letter[2] = { d->letter, '\0' };
        table_row(t);
        table_int(t, d->number);
        if (d->count)
            snprintf(format, sizeof format, "/%" PRId64 "%s", d->count, letter);
        else
            snprintf(format, sizeof format, d->letter ? "/%s" : "%s", letter);
        table_str(t, format);
        table_str(t, d->text);
    }
}
