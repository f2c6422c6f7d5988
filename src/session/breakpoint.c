/* SPDX-License-Identifier: MIT */
#include "session/breakpoint.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "session/region.h"

const char *break_kind_name(enum break_kind k)
{
    static const char *const names[] = { "break", "catch", "watch", "dprintf" };
    return names[k];
}

enum st breakpoint_add(struct breakpoints *b, enum break_kind kind, const struct str *text,
                       struct breakpoint **out, struct err *e)
{
    struct breakpoint p = { .kind = kind, .enabled = true };
    if (text) {
        p.text = x_strndup(text->p, text->n);
        enum st st = address_parse(str_from(p.text), &p.address, e);
        if (!st && p.address.used < text->n) {
            st_fail(e, ST_SYNTAX, "this is more than an address");
            st = st_at(e, (int)p.address.used, (int)(text->n - p.address.used));
        }
        if (!st && (p.address.model.n || p.address.run.n || p.address.position.n)) {
            st_fail(e, ST_UNSUPPORTED, "breakpoints hold for every run of every model");
            st = st_at(e, 0, (int)text->n);
        }
        if (st) {
            free(p.text);
            return st;
        }
    }
    p.number = ++b->next;
    x_grow(&b->list, &b->cap, b->n + 1, sizeof *b->list);
    b->list[b->n] = p;
    *out = &b->list[b->n++];
    return ST_OK;
}

struct breakpoint *breakpoint_find(const struct breakpoints *b, int number)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->list[i].number == number)
            return &b->list[i];
    return NULL;
}

void break_commands_add(struct break_commands *c, const struct break_command *of)
{
    x_grow(&c->list, &c->cap, c->n + 1, sizeof *c->list);
    struct break_command *added = &c->list[c->n++];
    *added = *of;
    added->text = x_strdup(of->text);
    added->script = of->script ? x_strdup(of->script) : NULL;
}

void break_commands_free(struct break_commands *c)
{
    for (size_t i = 0; i < c->n; i++) {
        free(c->list[i].text);
        free(c->list[i].script);
    }
    free(c->list);
    *c = (struct break_commands){ 0 };
}

void break_commands_print(const struct break_commands *c, struct buf *out)
{
    for (size_t i = 0; i < c->n; i++)
        buf_printf(out, "%s\n", c->list[i].text);
}

static void release(struct breakpoint *b)
{
    free(b->text);
    condition_free(b->condition);
    free(b->statistic);
    free(b->format);
    break_commands_free(&b->commands);
    for (int i = 0; i < b->n_statistics; i++)
        free(b->statistics[i]);
}

void breakpoint_delete(struct breakpoints *b, int number)
{
    size_t kept = 0;
    for (size_t i = 0; i < b->n; i++)
        if (!number || b->list[i].number == number)
            release(&b->list[i]);
        else
            b->list[kept++] = b->list[i];
    b->n = kept;
    if (!number || b->collects == number)
        b->collects = 0;
}

void breakpoints_free(struct breakpoints *b)
{
    breakpoint_delete(b, 0);
    free(b->list);
    *b = (struct breakpoints){ 0 };
}

/* The shape under the name that the address uses: an alias may have its own. */
static bool named(const struct breakpoint *b, const struct graph *g, int value, struct shape *shape)
{
    *shape = g->values[value].shape;
    return graph_names(g, b->address.name, value);
}

bool breakpoint_matches(const struct breakpoint *b, const struct graph *g, int value)
{
    struct shape shape;
    return !b->text || (named(b, g, value, &shape) && !region_check(&b->address, &shape, NULL));
}

int breakpoint_count(const struct breakpoint *b, const struct graph *g)
{
    int n = 0;
    for (int v = 0; v < g->n_values; v++)
        n += breakpoint_matches(b, g, v);
    return n;
}

/* A range that holds nothing, however long the axis is. */
static bool is_empty(const struct index *i)
{
    return i->kind == INDEX_RANGE && i->has_from && i->has_to && (i->from < 0) == (i->to < 0)
           && (i->step > 0 ? i->from >= i->to : i->from <= i->to);
}

/* Entries of axes whose size is known before there is a prompt. */
static enum st check_entries(const struct address *a, const struct shape *s, struct err *e)
{
    enum st st = region_check(a, s, e);
    for (int d = 0; d < s->rank && !st; d++) {
        const struct index *item;
        int64_t *list = NULL, n;
        st = address_item(a, s, d, &item, e);
        if (!st && item && s->d[d].n < 0 && is_empty(item)) {
            st_fail(e, ST_RANGE, "no entry of axis %s is in this range",
                    axis_info(s->d[d].axis)->name);
            st = st_at(e, item->column, item->length);
        }
        if (!st && item && s->d[d].n >= 0)
            st = index_resolve(item, s->d[d].axis, s->d[d].n, &list, &n, e);
        free(list);
    }
    return st;
}

enum st breakpoint_check(const struct breakpoint *b, const struct graph *g, struct err *e)
{
    struct shape shape;
    enum st first = ST_NOTFOUND;
    struct err reason = ERR_INIT, one = ERR_INIT;
    for (int v = 0; b->text && v < g->n_values; v++) {
        if (!named(b, g, v, &shape))
            continue;
        enum st st = check_entries(&b->address, &shape, &one);
        if (!st)
            return ST_OK;
        if (first == ST_NOTFOUND) {
            first = st;
            reason = one;
        }
    }
    if (!b->text)
        return ST_OK;
    if (first != ST_NOTFOUND) {
        if (e)
            *e = reason;
        return first;
    }
    return st_fail(e, ST_NOTFOUND, "no point matches `%.*s`",
                   (int)(b->address.name.n > 120 ? 120 : b->address.name.n), b->address.name.p);
}

static void print_quoted(const char *text, struct buf *out)
{
    buf_addc(out, '"');
    for (; *text; text++)
        if (*text == '\n')
            buf_adds(out, "\\n");
        else if (*text == '\t')
            buf_adds(out, "\\t");
        else {
            if (*text == '"' || *text == '\\')
                buf_addc(out, '\\');
            buf_addc(out, *text);
        }
    buf_addc(out, '"');
}

void breakpoint_print(const struct breakpoint *b, struct buf *out)
{
    const char *condition = b->condition ? condition_text(b->condition) : NULL;
    buf_adds(out, b->temporary ? "tbreak" : break_kind_name(b->kind));
    if (b->kind == BREAK_CATCH)
        buf_printf(out, "%s %s", b->opens ? " -all" : "", condition);
    else if (b->statistic)
        buf_printf(out, " %s(%s)", b->statistic, b->text);
    else
        buf_printf(out, " %s", b->text);
    if (b->kind == BREAK_WATCH && b->percent > 0) {
        char number[40];
        buf_printf(out, " %s%%", text_f64(number, sizeof number, b->percent));
    }
    if (b->kind == BREAK_PRINT && b->format) {
        buf_adds(out, ", ");
        print_quoted(b->format, out);
    }
    for (int i = 0; i < b->n_statistics; i++)
        buf_printf(out, ", %s", b->statistics[i]);
    if (condition && b->kind != BREAK_CATCH)
        buf_printf(out, " if %s", condition);
}
