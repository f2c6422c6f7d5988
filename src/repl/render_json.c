/* SPDX-License-Identifier: MIT */
/* Results as JSON: one object per command on one line. */
#include "repl/render.h"

#include <math.h>
#include <stdio.h>

static const char *const type_names[] = {
    [COL_STRING] = "string", [COL_INT] = "int",         [COL_FLOAT] = "float",
    [COL_BOOL] = "bool",     [COL_ADDRESS] = "address",
};

static const char *const status_names[] = {
    [RESULT_OK] = "ok",           [RESULT_STOPPED] = "stopped", [RESULT_FOUND] = "found",
    [RESULT_PARTIAL] = "partial", [RESULT_ERROR] = "error",
};

static void add_text(struct buf *out, const char *s) { buf_json(out, str_from(s)); }

static void add_cell(struct buf *out, enum column_type type, const struct cell *c)
{
    char number[40];
    if (c->absent) {
        buf_adds(out, "null");
        return;
    }
    switch (type) {
    case COL_STRING:
    case COL_ADDRESS: add_text(out, c->s); break;
    case COL_INT: buf_printf(out, "%lld", (long long)c->i); break;
    case COL_BOOL: buf_adds(out, c->i ? "true" : "false"); break;
    case COL_FLOAT:
        text_f64(number, sizeof number, c->f);
        buf_printf(out, isfinite(c->f) ? "%s" : "\"%s\"", number);
        break;
    }
}

static void add_table(struct buf *out, const struct table *t)
{
    buf_adds(out, "{\"name\": ");
    add_text(out, t->name);
    buf_adds(out, ", \"columns\": [");
    for (size_t i = 0; i < t->n_columns; i++) {
        buf_adds(out, i ? ", {\"name\": " : "{\"name\": ");
        add_text(out, t->columns[i].name);
        buf_adds(out, ", \"unit\": ");
        add_text(out, t->columns[i].unit);
        buf_printf(out, ", \"type\": \"%s\"}", type_names[t->columns[i].type]);
    }
    buf_adds(out, "], \"rows\": [");
    for (size_t row = 0; row < t->n_rows; row++) {
        buf_adds(out, row ? ", [" : "[");
        for (size_t i = 0; i < t->n_columns; i++) {
            if (i)
                buf_adds(out, ", ");
            add_cell(out, t->columns[i].type, table_cell(t, row, i));
        }
        buf_addc(out, ']');
    }
    buf_adds(out, "]}");
}

void render_json(struct buf *out, struct str command, const struct result *r, const struct err *e)
{
    bool failed = e && e->st;
    buf_adds(out, "{\"command\": ");
    buf_json(out, command);
    buf_printf(out, ", \"status\": \"%s\", \"tables\": [",
               status_names[failed && r->status != RESULT_PARTIAL ? RESULT_ERROR : r->status]);
    for (size_t i = 0; i < r->n_tables; i++) {
        if (i)
            buf_adds(out, ", ");
        add_table(out, r->tables[i]);
    }
    buf_adds(out, "], \"notes\": [");
    for (size_t i = 0; i < r->n_notes; i++) {
        if (i)
            buf_adds(out, ", ");
        add_text(out, r->notes[i]);
    }
    buf_adds(out, "], \"error\": ");
    if (failed) {
        buf_adds(out, "{\"message\": ");
        add_text(out, e->msg);
        buf_adds(out, ", \"where\": ");
        add_text(out, e->where);
        buf_adds(out, ", \"hint\": ");
        add_text(out, e->hint);
        buf_adds(out, "}}\n");
    } else
        buf_adds(out, "null}\n");
}
