/* SPDX-License-Identifier: MIT */
#include "base/table.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static struct table *table_new(const char *name, enum table_form form)
{
    struct table *t = x_alloc(sizeof *t);
    t->name = x_strdup(name);
    t->form = form;
    return t;
}

static bool owns_text(enum column_type type) { return type == COL_STRING || type == COL_ADDRESS; }

static void table_free(struct table *t)
{
    for (size_t i = 0; i < t->n_rows * t->n_columns; i++)
        if (!t->cells[i].absent && owns_text(t->columns[i % t->n_columns].type))
            free(t->cells[i].s);
    for (size_t i = 0; i < t->n_columns; i++) {
        free(t->columns[i].name);
        free(t->columns[i].unit);
    }
    free(t->columns);
    free(t->cells);
    free(t->name);
    free(t);
}

void table_column(struct table *t, enum column_type type, const char *name, const char *unit)
{
    assert(t->n_rows == 0);
    x_grow(&t->columns, &t->cap_columns, t->n_columns + 1, sizeof *t->columns);
    t->columns[t->n_columns++] = (struct column){ .name = x_strdup(name),
                                                  .unit = x_strdup(unit),
                                                  .type = type };
}

void table_columns(struct table *t, const struct column_spec *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        table_column(t, list[i].type, list[i].name, list[i].unit ? list[i].unit : "");
        table_digits(t, list[i].digits);
        struct column *c = &t->columns[t->n_columns - 1];
        c->quiet = list[i].quiet;
        c->was = list[i].was;
        c->low = list[i].low;
        c->high = list[i].high;
    }
}

void table_digits(struct table *t, int digits) { t->columns[t->n_columns - 1].digits = digits; }

void table_row(struct table *t)
{
    size_t need = (t->n_rows + 1) * t->n_columns;
    x_grow(&t->cells, &t->cap_cells, need, sizeof *t->cells);
    t->at = t->n_rows++ * t->n_columns;
    for (size_t i = t->at; i < need; i++)
        t->cells[i] = (struct cell){ .absent = true };
}

static struct cell *next(struct table *t, bool text)
{
    assert(t->n_rows && t->at < t->n_rows * t->n_columns);
    assert(text == owns_text(t->columns[t->at % t->n_columns].type));
    (void)text;
    struct cell *c = &t->cells[t->at++];
    c->absent = false;
    return c;
}

void table_skip(struct table *t)
{
    assert(t->at < t->n_rows * t->n_columns);
    t->at++;
}

void table_instead(struct table *t, const char *s)
{
    t->cells[t->at].instead = s;
    table_skip(t);
}

void table_strn(struct table *t, struct str s) { next(t, true)->s = x_strndup(s.p, s.n); }

void table_str(struct table *t, const char *s)
{
    if (s)
        table_strn(t, str_from(s));
    else
        table_skip(t);
}

PRINTF_LIKE(1, 0)
static char *formatted(const char *fmt, va_list ap)
{
    char *s;
    return vasprintf(&s, fmt, ap) < 0 ? x_strdup("") : s;
}

void table_fmt(struct table *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    next(t, true)->s = formatted(fmt, ap);
    va_end(ap);
}

void table_int(struct table *t, int64_t v) { next(t, false)->i = v; }
void table_float(struct table *t, double v) { next(t, false)->f = v; }
void table_bool(struct table *t, bool v) { next(t, false)->i = v; }

const struct cell *table_cell(const struct table *t, size_t row, size_t column)
{
    return &t->cells[row * t->n_columns + column];
}

int table_find(const struct table *t, const char *column)
{
    for (size_t i = 0; i < t->n_columns; i++)
        if (!strcmp(t->columns[i].name, column))
            return (int)i;
    return -1;
}

void result_free(struct result *r)
{
    for (size_t i = 0; i < r->n_tables; i++)
        table_free(r->tables[i]);
    for (size_t i = 0; i < r->n_notes; i++)
        free(r->notes[i]);
    free(r->tables);
    free(r->notes);
    *r = (struct result){ 0 };
}

void result_drop_empty(struct result *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->n_tables; i++)
        if (r->tables[i]->n_rows)
            r->tables[kept++] = r->tables[i];
        else
            table_free(r->tables[i]);
    r->n_tables = kept;
}

struct table *result_table(struct result *r, const char *name, enum table_form form)
{
    x_grow(&r->tables, &r->cap_tables, r->n_tables + 1, sizeof *r->tables);
    return r->tables[r->n_tables++] = table_new(name, form);
}

void result_note(struct result *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *s = formatted(fmt, ap);
    va_end(ap);
    for (size_t i = 0; i < r->n_notes; i++)
        if (!strcmp(r->notes[i], s)) {
            free(s);
            return;
        }
    x_grow(&r->notes, &r->cap_notes, r->n_notes + 1, sizeof *r->notes);
    r->notes[r->n_notes++] = s;
}

void result_line(struct result *r, const char *name, const char *fmt, ...)
{
    struct table *t = NULL;
    for (size_t i = 0; i < r->n_tables; i++)
        if (r->tables[i]->form == TABLE_TEXT && !strcmp(r->tables[i]->name, name))
            t = r->tables[i];
    if (!t) {
        t = result_table(r, name, TABLE_TEXT);
        table_column(t, COL_STRING, "text", "");
    }
    va_list ap;
    va_start(ap, fmt);
    char *s = formatted(fmt, ap);
    va_end(ap);
    table_row(t);
    table_str(t, s);
    free(s);
}
