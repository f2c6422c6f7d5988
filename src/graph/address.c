/* SPDX-License-Identifier: MIT */
#include "graph/address.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

struct scan {
    struct str text;
    size_t at;
    struct err *e;
};

static char peek(const struct scan *s) { return s->at < s->text.n ? s->text.p[s->at] : '\0'; }

static bool take(struct scan *s, char c)
{
    if (peek(s) != c || s->at >= s->text.n)
        return false;
    s->at++;
    return true;
}

static void blanks(struct scan *s)
{
    while (s->at < s->text.n && (s->text.p[s->at] == ' ' || s->text.p[s->at] == '\t'))
        s->at++;
}

static enum st fail(struct scan *s, size_t from, const char *what)
{
    st_fail(s->e, ST_SYNTAX, "%s", what);
    int length = (int)(s->at > from ? s->at - from : 1);
    return st_at(s->e, (int)from, length);
}

static bool name_char(char c) { return isalnum((unsigned char)c) || (c && strchr("._*?/", c)); }

/* Does a bracket that opens at s->at hold a set of characters of a glob? A slice has =, :, a comma,
 * a digit or sign in front, or nothing; and what follows a set is the rest of a name. */
static bool is_set(const struct scan *s)
{
    size_t close = s->at + 1;
    while (close < s->text.n && s->text.p[close] != ']' && s->text.p[close] != '[')
        close++;
    if (close >= s->text.n || s->text.p[close] != ']' || close == s->at + 1)
        return false;
    for (size_t i = s->at + 1; i < close; i++)
        if (!isalnum((unsigned char)s->text.p[i]) && s->text.p[i] != '_')
            return false;
    char after = close + 1 < s->text.n ? s->text.p[close + 1] : '\0';
    if (after && after != '@' && (name_char(after) || after == '{' || after == '['))
        return true;
    for (size_t i = s->at + 1; i < close;
         i++) /* at the end of a name: letters are a set, a number an index */
        if (!isdigit((unsigned char)s->text.p[i]))
            return true;
    return false;
}

/* A dash within names such as l_out-3 or l_out-*, which have no dots; elsewhere it is a minus. */
static bool numbered(const struct scan *s, size_t from)
{
    size_t end = s->at + 1;
    if (end < s->text.n && (s->text.p[end] == '*' || s->text.p[end] == '{'))
        return s->at > from && !memchr(s->text.p + from, '.', s->at - from);
    while (end < s->text.n && isdigit((unsigned char)s->text.p[end]))
        end++;
    if (end == s->at + 1 || (end < s->text.n && name_char(s->text.p[end])))
        return false;
    return s->at > from && !memchr(s->text.p + from, '.', s->at - from)
           && !isdigit((unsigned char)s->text.p[from]);
}

/* A dotted name with its globs; leaves s->at behind it. */
static enum st scan_name(struct scan *s, struct str *out)
{
    size_t from = s->at;
    while (s->at < s->text.n) {
        char c = peek(s);
        if (c == '\0')
            break;
        if (name_char(c))
            s->at++;
        else if (c == '-' && numbered(s, from))
            s->at++;
        else if (c == '{' || (c == '[' && is_set(s))) {
            const char *close = memchr(s->text.p + s->at, c == '{' ? '}' : ']', s->text.n - s->at);
            if (!close)
                return fail(s, s->at, "`{` without its `}`");
            s->at = (size_t)(close - s->text.p) + 1;
        } else
            break;
    }
    if (s->at == from)
        return fail(s, from, "expected the name of a weight or a point");
    *out = str_of(s->text.p + from, s->at - from);
    return ST_OK;
}

static bool number_ahead(const struct scan *s)
{
    char c = peek(s), next = s->at + 1 < s->text.n ? s->text.p[s->at + 1] : '\0';
    return isdigit((unsigned char)c) || ((c == '-' || c == '+') && isdigit((unsigned char)next));
}

static enum st scan_int(struct scan *s, int64_t *out)
{
    size_t from = s->at;
    if (!number_ahead(s))
        return fail(s, from, "expected a whole number");
    s->at++;
    while (isdigit((unsigned char)peek(s)))
        s->at++;
    if (peek(s) == '.'
        || isalpha((unsigned char)peek(s))) { /* 1e9, 2.5: say it of the whole word */
        while (isalnum((unsigned char)peek(s)) || peek(s) == '.')
            s->at++;
        return fail(s, from, "an index is a whole number in plain digits");
    }
    struct str digits = str_of(s->text.p + from, s->at - from);
    if (digits.p[0] == '+')
        digits = str_of(digits.p + 1, digits.n - 1);
    if (parse_i64(digits, INT64_MIN, INT64_MAX, out, NULL)) {
        st_fail(s->e, ST_RANGE, "the index %.*s is too large", (int)(digits.n > 30 ? 30 : digits.n),
                digits.p);
        return st_at(s->e, (int)from, (int)(s->at - from));
    }
    return ST_OK;
}

static enum st scan_list(struct scan *s, struct index *i)
{
    i->kind = INDEX_LIST;
    enum st st = ST_OK;
    do {
        if (i->n_list == ADDRESS_MAX_LIST)
            return fail(s, s->at, "a list has at most 64 entries");
        blanks(s);
        st = scan_int(s, &i->list[i->n_list++]);
        blanks(s);
    } while (!st && take(s, ','));
    if (!st && !take(s, '}'))
        return fail(s, s->at, "expected `,` or `}` in the list");
    return st;
}

/* top8(absmax), bot3(rms) */
static enum st scan_selector(struct scan *s, struct index *i)
{
    size_t from = s->at;
    i->kind = !memcmp(s->text.p + s->at, "top", 3) ? INDEX_TOP : INDEX_BOTTOM;
    s->at += 3;
    enum st st = scan_int(s, &i->from);
    if (st)
        return st;
    if (i->from < 1)
        return fail(s, from, "a selector takes at least one entry");
    if (!take(s, '('))
        return fail(s, from, "a selector looks like top8(absmax)");
    size_t name = s->at;
    while (isalnum((unsigned char)peek(s)) || peek(s) == '_')
        s->at++;
    i->text = str_of(s->text.p + name, s->at - name);
    return i->text.n && take(s, ')') ? ST_OK : fail(s, from, "a selector looks like top8(absmax)");
}

static enum st scan_range(struct scan *s, struct index *i)
{
    enum st st = ST_OK;
    i->step = 1;
    if (number_ahead(s)) {
        i->has_from = true;
        st = scan_int(s, &i->from);
    }
    blanks(s);
    if (st || !take(s, ':')) {
        i->kind = INDEX_ONE;
        return st            ? st
               : i->has_from ? ST_OK
                             : fail(s, s->at, "expected an index: 3, 2:5, *, {1,4}, top8(absmax)");
    }
    i->kind = INDEX_RANGE;
    blanks(s);
    if (number_ahead(s)) {
        i->has_to = true;
        st = scan_int(s, &i->to);
    }
    blanks(s);
    if (!st && take(s, ':')) {
        size_t from = s->at;
        st = scan_int(s, &i->step);
        if (!st && !i->step)
            return fail(s, from, "a step of 0 goes nowhere");
    }
    return st;
}

static enum st scan_text(struct scan *s, struct index *i)
{
    size_t from = s->at++, end = s->at;
    while (end < s->text.n && s->text.p[end] != '"')
        end += s->text.p[end] == '\\' && end + 1 < s->text.n ? 2 : 1;
    if (end >= s->text.n)
        return fail(s, from, "the string has no end");
    i->kind = INDEX_TEXT;
    i->text = str_of(s->text.p + s->at, end - s->at);
    s->at = end + 1;
    return ST_OK;
}

static enum st scan_axis(struct scan *s, struct index *i)
{
    size_t from = s->at, at = s->at;
    i->axis = AXIS__COUNT;
    while (at < s->text.n && isalpha((unsigned char)s->text.p[at]))
        at++;
    struct str name = str_of(s->text.p + from, at - from);
    while (at < s->text.n && s->text.p[at] == ' ')
        at++;
    if (!name.n || at >= s->text.n || s->text.p[at] != '=')
        return ST_OK;
    i->axis = axis_find(name);
    s->at = at + 1;
    blanks(s);
    if (i->axis != AXIS__COUNT)
        return ST_OK;
    st_fail(s->e, ST_SYNTAX, "there is no axis `%.*s`", (int)(name.n > 40 ? 40 : name.n), name.p);
    st_hint(s->e, "axes: seq tok head chan key exp vocab row col blkq patch state");
    return st_at(s->e, (int)from, (int)name.n);
}

static enum st scan_item(struct scan *s, struct index *i)
{
    *i = (struct index){ .step = 1 };
    blanks(s);
    i->column = (int)s->at;
    enum st st = scan_axis(s, i);
    if (st)
        return st;
    struct str rest = str_of(s->text.p + s->at, s->text.n - s->at);
    if (take(s, '*'))
        i->kind = INDEX_ALL;
    else if (take(s, '{'))
        st = scan_list(s, i);
    else if (peek(s) == '"')
        st = scan_text(s, i);
    else if (rest.n > 3 && (str_starts(rest, "top") || str_starts(rest, "bot")))
        st = scan_selector(s, i);
    else
        st = scan_range(s, i);
    i->length = (int)s->at - i->column;
    blanks(s);
    return st;
}

static enum st scan_slice(struct scan *s, struct address *a)
{
    size_t open = s->at - 1;
    a->sliced = true;
    blanks(s);
    if (take(s, ']'))
        return ST_OK;
    do {
        if (a->n_items == ADDRESS_MAX_ITEMS)
            return fail(s, s->at, "too many indices");
        struct index *i = &a->items[a->n_items++];
        enum st st = scan_item(s, i);
        if (st)
            return st;
        for (int k = 0; k < a->n_items - 1; k++) {
            if ((a->items[k].axis == AXIS__COUNT) != (i->axis == AXIS__COUNT))
                return fail(s, (size_t)i->column, "named and positional indices do not mix");
            if (i->axis != AXIS__COUNT && a->items[k].axis == i->axis)
                return fail(s, (size_t)i->column, "this axis is already there");
        }
    } while (take(s, ','));
    if (take(s, ']'))
        return ST_OK;
    return peek(s) ? fail(s, s->at, "expected `,` or `]`") : fail(s, open, "`[` without its `]`");
}

/* "who!" in front of the name, if there is one. */
static void scan_who(struct scan *s, struct address *a)
{
    size_t i = s->at, colon = 0, colons = 0;
    while (i < s->text.n
           && (isalnum((unsigned char)s->text.p[i])
               || (s->text.p[i] && strchr("_-:", s->text.p[i])))) {
        if (s->text.p[i] == ':') {
            colon = i;
            colons++;
        }
        i++;
    }
    if (i >= s->text.n || s->text.p[i] != '!' || i == s->at || colons > 1
        || (colons && (colon == s->at || colon + 1 == i)))
        return;
    const size_t end = colons ? colon : i;
    a->model = str_of(s->text.p + s->at, end - s->at);
    if (colons)
        a->run = str_of(s->text.p + colon + 1, i - colon - 1);
    s->at = i + 1;
}

enum st address_parse(struct str text, struct address *out, struct err *e)
{
    struct scan s = { text, 0, e };
    struct address a = { 0 };
    blanks(&s);
    scan_who(&s, &a);
    a.column = (int)s.at;
    enum st st = scan_name(&s, &a.name);
    if (st)
        return st;
    a.length = (int)s.at - a.column;
    size_t before = s.at;
    blanks(&s);
    bool dashes = s.at + 1 < text.n && s.text.p[s.at] == '-' && s.text.p[s.at + 1] == '-';
    if (dashes) {
        s.at += 2;
        blanks(&s);
    } else
        s.at = before;
    if (take(&s, '['))
        st = scan_slice(&s, &a);
    else if (dashes)
        st = fail(&s, s.at, "expected a slice after `--`");
    if (st)
        return st;
    if (take(&s, '@')) {
        size_t from = s.at;
        while (s.at < text.n && (isalnum((unsigned char)peek(&s)) || strchr("._:-", peek(&s)))
               && peek(&s))
            s.at++;
        a.position = str_of(text.p + from, s.at - from);
        if (!a.position.n)
            return fail(&s, from, "expected a position after `@`");
    }
    a.used = s.at;
    *out = a;
    return ST_OK;
}

static void print_item(const struct index *i, struct buf *out)
{
    if (i->axis != AXIS__COUNT)
        buf_printf(out, "%s=", axis_info(i->axis)->name);
    switch (i->kind) {
    case INDEX_ALL: buf_addc(out, '*'); break;
    case INDEX_ONE: buf_printf(out, "%" PRId64, i->from); break;
    case INDEX_RANGE:
        if (i->has_from)
            buf_printf(out, "%" PRId64, i->from);
        buf_addc(out, ':');
        if (i->has_to)
            buf_printf(out, "%" PRId64, i->to);
        if (i->step != 1)
            buf_printf(out, ":%" PRId64, i->step);
        break;
    case INDEX_LIST:
        for (int k = 0; k < i->n_list; k++)
            buf_printf(out, "%c%" PRId64, k ? ',' : '{', i->list[k]);
        buf_addc(out, '}');
        break;
    case INDEX_TOP:
    case INDEX_BOTTOM:
        buf_printf(out, "%s%" PRId64 "(%.*s)", i->kind == INDEX_TOP ? "top" : "bot", i->from,
                   (int)i->text.n, i->text.p);
        break;
    case INDEX_TEXT: /* may hold any byte */
        buf_addc(out, '"');
        buf_add(out, i->text.p, i->text.n);
        buf_addc(out, '"');
        break;
    }
}

void address_print(const struct address *a, struct buf *out)
{
    if (a->model.n || a->run.n) {
        buf_add(out, a->model.p, a->model.n);
        if (a->run.n)
            buf_printf(out, ":%.*s", (int)a->run.n, a->run.p);
        buf_addc(out, '!');
    }
    buf_add(out, a->name.p, a->name.n);
    if (a->sliced) {
        buf_addc(out, '[');
        for (int i = 0; i < a->n_items; i++) {
            if (i)
                buf_adds(out, ", ");
            print_item(&a->items[i], out);
        }
        buf_addc(out, ']');
    }
    if (a->position.n)
        buf_printf(out, "@%.*s", (int)a->position.n, a->position.p);
}
