/* SPDX-License-Identifier: MIT */
#include "quant/plan_file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static const char *const magic[] = { "qdb plan 1", "qdb plan 2" };

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

/* What follows `act`. */
static enum st parse_point(struct str line, struct plan_line *l, struct err *e)
{
    enum st st = numeric_parse(word(&line), &l->format, e);
    if (!st && !line.n)
        st = st_fail(e, ST_FORMAT, "expected act FORMAT POINT");
    l->name = line;
    return st;
}

static enum st parse_line(struct str line, bool points, struct plan_line *l, struct err *e)
{
    if (points && str_starts(line, "act "))
        return parse_point(str_of(line.p + 4, line.n - 4), l, e);
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
    if (!x->method != !y->method)
        return x->method ? -1 : 1;
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
        if (!by_name(&order[i - 1], &order[i]))
            st = st_fail(e, ST_FORMAT, "lines %d and %d are about the same %s",
                         order[i - 1]->line, order[i]->line, order[i]->method ? "weight" : "point");
    free(order);
    return st;
}

enum st plan_file_parse(struct str text, struct plan_line **out, size_t *n, struct err *e)
{
    struct plan_line *list = NULL;
    size_t count = 0, cap = 0;
    int version = 0;
    enum st st = ST_OK;
    int number = 0;
    for (size_t at = 0; at < text.n && !st;) {
        size_t end = at;
        while (end < text.n && text.p[end] != '\n')
            end++;
        struct str line = str_of(text.p + at, end - at);
        at = end + 1;
        while (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        number++;
        if (!line.n || line.p[0] == '#')
            continue;
        if (!version) {
            version = str_is(line, magic[0]) ? 1 : str_is(line, magic[1]) ? 2 : 0;
            if (!version)
                break;
            continue;
        }
        x_grow(&list, &cap, count + 1, sizeof *list);
        list[count] = (struct plan_line){ .line = number };
        if ((st = parse_line(line, version > 1, &list[count++], e)) && e) {
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
    if (!version)
        st = st_fail(e, ST_FORMAT, "this is no plan: it should begin with `%s` or `%s`", magic[0],
                     magic[1]);
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

void plan_file_begin(bool points, struct buf *out) { buf_printf(out, "%s\n", magic[points]); }

enum st plan_file_line(const struct plan_line *l, struct buf *out, struct err *e)
{
    if (!l->name.n || memchr(l->name.p, '\n', l->name.n) || str_ends(l->name, "\r")) {
        st_fail(e, ST_UNSUPPORTED, "a name that is empty or has a line break");
        return st_where(e, "%.*s", (int)l->name.n, l->name.p);
    }
    if (!l->method)
        buf_adds(out, "act ");
    numeric_print(&l->format, out);
    if (l->method)
        buf_printf(out, " %s", l->method->name);
    buf_addc(out, ' ');
    for (int i = 0; i < l->rank; i++)
        buf_printf(out, "%s%" PRIu64, i ? "x" : "", l->ne[i]);
    if (l->method)
        buf_addc(out, ' ');
    buf_add(out, l->name.p, l->name.n);
    buf_addc(out, '\n');
    return ST_OK;
}
