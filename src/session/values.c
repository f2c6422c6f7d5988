/* SPDX-License-Identifier: MIT */
/* The history of printed values, and named ones. */
#include "session/values.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { SMALL = 4096 }; /* bytes of a value that is never dropped */

static size_t bytes_of(const struct view *v)
{
    return v->data ? (size_t)view_count(v) * sizeof *v->data : 0;
}

static void drop_old(struct values *v)
{
    const size_t budget = mem_budget() ? mem_budget() : mem_available();
    size_t held = 0;
    for (size_t i = 0; i < v->n_history; i++)
        held += bytes_of(&v->history[i]);
    for (size_t i = 0; i + 1 < v->n_history && held > budget / 8; i++) {
        if (bytes_of(&v->history[i]) <= SMALL)
            continue;
        held -= bytes_of(&v->history[i]);
        view_free(&v->history[i]);
    }
}

size_t values_keep(struct values *v, struct view *view)
{
    x_grow(&v->history, &v->cap_history, v->n_history + 1, sizeof *v->history);
    v->history[v->n_history++] = *view;
    *view = (struct view){ .value = -1 };
    drop_old(v);
    return v->n_history;
}

static struct named_value *find(const struct values *v, struct str name)
{
    for (size_t i = 0; i < v->n_named; i++)
        if (str_is(name, v->named[i].name))
            return &v->named[i];
    return NULL;
}

void values_name(struct values *v, struct str name, struct view *view)
{
    struct named_value *n = find(v, name);
    if (n)
        view_free(&n->view);
    else {
        x_grow(&v->named, &v->cap_named, v->n_named + 1, sizeof *v->named);
        n = &v->named[v->n_named++];
        n->name = x_strndup(name.p, name.n);
    }
    n->view = *view;
    *view = (struct view){ .value = -1 };
}

const struct view *values_number(const struct values *v, size_t number)
{
    if (!number)
        number = v->n_history;
    if (!number || number > v->n_history || !v->history[number - 1].data)
        return NULL;
    return &v->history[number - 1];
}

const struct view *values_named(const struct values *v, struct str name)
{
    const struct named_value *n = find(v, name);
    return n ? &n->view : NULL;
}

static struct view *at(struct values *v, size_t i)
{
    if (i < v->n_history)
        return &v->history[i];
    i -= v->n_history;
    return i < v->n_named ? &v->named[i].view : NULL;
}

void values_forget_run(struct values *v, const struct session_run *r)
{
    struct view *one;
    for (size_t i = 0; (one = at(v, i)); i++)
        if (one->run == r) {
            one->run = NULL;
            one->value = -1;
        }
}

void values_forget_weights(struct values *v, const struct weights *w)
{
    struct view *one;
    for (size_t i = 0; (one = at(v, i)); i++)
        if (one->weight && one->weight >= w->list && one->weight < w->list + w->n)
            one->weight = NULL;
}

void values_free(struct values *v)
{
    struct view *one;
    for (size_t i = 0; (one = at(v, i)); i++)
        view_free(one);
    for (size_t i = 0; i < v->n_named; i++)
        free(v->named[i].name);
    free(v->history);
    free(v->named);
    *v = (struct values){ 0 };
}

void values_show(const char *as, const struct view *v, struct result *out)
{
    const char *last = v->shape.rank ? "axes" : "value";
    struct table *t = NULL;
    for (size_t i = 0; i < out->n_tables; i++)
        if (!strcmp(out->tables[i]->name, "value") && table_find(out->tables[i], last) >= 0)
            t = out->tables[i];
    if (!t) {
        t = result_table(out, "value", TABLE_ROWS);
        TABLE_COLUMNS(t, { COL_STRING, "as" }, { COL_STRING, "of" });
        table_column(t, v->shape.rank ? COL_STRING : COL_FLOAT, last, "");
    }
    table_row(t);
    table_str(t, as);
    table_str(t, v->name ? v->name : "");
    if (!v->shape.rank) {
        table_float(t, v->number);
        return;
    }
    struct buf b = { 0 };
    shape_print(&v->shape, &b);
    table_str(t, buf_str(&b));
    buf_free(&b);
}

static void list_one(const char *as, const struct view *v, struct table *t)
{
    struct buf axes = { 0 };
    table_row(t);
    table_str(t, as);
    table_str(t, v->data ? v->name : NULL);
    if (v->shape.rank) {
        shape_print(&v->shape, &axes);
        table_str(t, buf_str(&axes));
        table_skip(t);
        buf_free(&axes);
    } else {
        table_str(t, v->data ? "" : "no longer kept");
        if (v->data)
            table_float(t, v->number);
    }
}

void values_list(const struct values *v, struct result *out)
{
    struct buf as = { 0 };
    struct table *t = result_table(out, "values", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "as" }, { COL_STRING, "of" }, { COL_STRING, "axes" },
                  { COL_FLOAT, "value" });
    for (size_t i = 0; i < v->n_history; i++) {
        buf_printf(&as, "$%zu", i + 1);
        list_one(buf_str(&as), &v->history[i], t);
        buf_clear(&as);
    }
    for (size_t i = 0; i < v->n_named; i++) {
        buf_printf(&as, "$%s", v->named[i].name);
        list_one(buf_str(&as), &v->named[i].view, t);
        buf_clear(&as);
    }
    buf_free(&as);
}
