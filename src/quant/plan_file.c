/* SPDX-License-Identifier: MIT */
#include "quant/plan_file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static const char magic[] = "qdb plan 1";

/* Up to the next blank; the blank is passed too. */
static struct str word(struct str *line)
{
    size_t n = 0;
    while (n < line->n && line->p[n] != ' ')
        n++;
    const struct str w = str_of(line->p, n);
    n += n < line->n;
    *line = str_of(line->p + n, line->n - n);
    return w;
}

static enum st shape(struct str text, struct plan_line *l, struct err *e)
{
    for (size_t at = 0; at <= text.n;) {
        size_t end = at;
        int64_t v;
        while (end < text.n && text.p[end] != 'x')
            end++;
        if (l->rank == GGUF_MAX_RANK
            || parse_i64(str_of(text.p + at, end - at), 1, INT64_MAX, &v, NULL))
            return st_fail(e, ST_FORMAT, "the shape should be 2 to 4 numbers with x between them");
        l->ne[l->rank++] = (uint64_t)v;
        at = end + 1;
    }
    return ST_OK;
}

static enum st parse_line(struct str line, struct plan_line *l, struct err *e)
{
    const struct str format = word(&line), method = word(&line), ne = word(&line);
    enum st st = numeric_parse(format, &l->format, e);
    if (!st)
        st = quant_method_find(method, &l->method, e);
    if (!st)
        st = shape(ne, l, e);
    if (!st && !line.n)
        st = st_fail(e, ST_FORMAT, "expected FORMAT METHOD SHAPE NAME");
    l->name = line;
    return st;
}

static int by_name(const void *a, const void *b)
{
    const struct plan_line *x = *(const struct plan_line *const *)a,
                           *y = *(const struct plan_line *const *)b;
    const size_t n = x->name.n < y->name.n ? x->name.n : y->name.n;
    const int c = memcmp(x->name.p, y->name.p, n);
    return c ? c : (x->name.n > y->name.n) - (x->name.n < y->name.n);
}

static enum st no_name_twice(const struct plan_line *list, size_t n, struct err *e)
{
    const struct plan_line **order = x_alloc((n + 1) * sizeof *order);
    enum st st = ST_OK;
    for (size_t i = 0; i < n; i++)
        order[i] = &list[i];
    qsort(order, n, sizeof *order, by_name);
    for (size_t i = 1; i < n && !st; i++)
        if (str_eq(order[i - 1]->name, order[i]->name))
            st = st_fail(e, ST_FORMAT, "lines %d and %d are about the same weight",
                         order[i - 1]->line, order[i]->line);
    free(order);
    return st;
}

enum st plan_file_parse(struct str text, struct plan_line **out, size_t *n, struct err *e)
{
    struct plan_line *list = NULL;
    size_t count = 0, cap = 0;
    bool begun = false;
    enum st st = ST_OK;
    int number = 0;
    for (size_t at = 0; at < text.n && !st;) {
        size_t end = at;
        while (end < text.n && text.p[end] != '\n')
            end++;
        struct str line = str_of(text.p + at, end - at);
        at = end + 1;
        number++;
        if (!line.n || line.p[0] == '#')
            continue;
        if (!begun) {
            begun = str_is(line, magic);
            if (!begun)
                st = st_fail(e, ST_FORMAT, "this is no plan: it should begin with `%s`", magic);
            continue;
        }
        x_grow(&list, &cap, count + 1, sizeof *list);
        list[count] = (struct plan_line){ .line = number };
        if ((st = parse_line(line, &list[count++], e)) && e) {
            char what[sizeof e->msg];
            memcpy(what, e->msg, sizeof what);
            what[sizeof what - 20] = '\0';
            char hint[sizeof e->hint];
            memcpy(hint, e->hint, sizeof hint);
            st = st_fail(e, ST_FORMAT, "line %d: %s", number, what);
            st_hint(e, "%s", hint);
            st_at(e, -1, 0);
        }
    }
    if (!st && !begun)
        st = st_fail(e, ST_FORMAT, "this is no plan: it should begin with `%s`", magic);
    if (!st)
        st = no_name_twice(list, count, e);
    if (st) {
        free(list);
        return st;
    }
    *out = list;
    *n = count;
    return ST_OK;
}

void plan_file_begin(struct buf *out) { buf_printf(out, "%s\n", magic); }

enum st plan_file_line(const struct plan_line *l, struct buf *out, struct err *e)
{
    if (memchr(l->name.p, '\n', l->name.n) || !l->name.n) {
        st_fail(e, ST_UNSUPPORTED, "a weight whose name is empty or has a line break");
        return st_where(e, "%.*s", (int)l->name.n, l->name.p);
    }
    numeric_print(&l->format, out);
    buf_printf(out, " %s ", l->method->name);
    for (int i = 0; i < l->rank; i++)
        buf_printf(out, "%s%" PRIu64, i ? "x" : "", l->ne[i]);
    buf_addc(out, ' ');
    buf_add(out, l->name.p, l->name.n);
    buf_addc(out, '\n');
    return ST_OK;
}
