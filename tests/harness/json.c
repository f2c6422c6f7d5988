/* SPDX-License-Identifier: MIT */
#include "tests/harness/json.h"

#include <stdlib.h>
#include <string.h>

#include "tests/harness/unit.h"

struct reader {
    const char *p, *start, *end;
};

static void bad(const struct reader *r, const char *what)
{
    fail_msg("JSON: %s at byte %zu", what, (size_t)(r->p - r->start));
}

static char peek(struct reader *r)
{
    while (r->p < r->end && strchr(" \t\r\n", *r->p) && *r->p)
        r->p++;
    return r->p < r->end ? *r->p : '\0';
}

static void expect(struct reader *r, char c)
{
    if (peek(r) != c)
        bad(r, "an unexpected character");
    r->p++;
}

static void *need(void *p)
{
    if (!p)
        fail_msg("JSON: out of memory");
    return p;
}

static unsigned hex4(struct reader *r)
{
    char digits[5] = "", *stop;
    if (r->end - r->p < 4)
        bad(r, "a cut escape");
    memcpy(digits, r->p, 4);
    unsigned long value = strtoul(digits, &stop, 16);
    if (stop != digits + 4)
        bad(r, "a bad escape");
    r->p += 4;
    return (unsigned)value;
}

/* The character after \u, surrogate pairs joined, as UTF-8; returns its length. */
static size_t escaped(struct reader *r, char *out)
{
    unsigned c = hex4(r);
    if (c >= 0xd800 && c < 0xdc00 && r->end - r->p >= 6 && r->p[0] == '\\' && r->p[1] == 'u') {
        r->p += 2;
        c = 0x10000 + ((c - 0xd800) << 10) + (hex4(r) - 0xdc00);
    }
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((0xf00 >> n) | c);
    return n;
}

static char *string(struct reader *r, size_t *n)
{
    expect(r, '"');
    const char *quote = r->p;
    while (quote < r->end && *quote != '"')
        quote += *quote == '\\' ? 2 : 1;
    char *out = need(malloc((size_t)(quote - r->p) + 5)); /* no escape is shorter than its value */
    size_t used = 0;
    while (r->p < r->end && *r->p != '"') {
        char c = *r->p++;
        if ((unsigned char)c < 0x20)
            bad(r, "a bare control character");
        if (c != '\\') {
            out[used++] = c;
            continue;
        }
        const char *from = "\"\\/bfnrt", *to = "\"\\/\b\f\n\r\t", *at;
        c = r->p < r->end ? *r->p++ : '\0';
        if (c == 'u')
            used += escaped(r, out + used);
        else if (c && (at = strchr(from, c)))
            out[used++] = to[at - from];
        else
            bad(r, "a bad escape");
    }
    expect(r, '"');
    out[used] = '\0';
    *n = used;
    return out;
}

static void value(struct reader *r, struct json *j);

static void items(struct reader *r, struct json *j, char close)
{
    size_t cap = 0;
    r->p++;
    while (peek(r) != close) {
        if (j->n == cap)
            j->items = need(realloc(j->items, (cap = cap ? 2 * cap : 8) * sizeof *j->items));
        struct json *item = &j->items[j->n];
        memset(item, 0, sizeof *item);
        j->n++;
        if (j->kind == JSON_OBJECT) {
            size_t n;
            item->key = string(r, &n);
            expect(r, ':');
        }
        value(r, item);
        if (peek(r) != close)
            expect(r, ',');
    }
    r->p++;
}

static void word(struct reader *r, struct json *j)
{
    static const struct { const char *name; enum json_kind kind; double number; } words[] = {
        { "null", JSON_NULL, 0 }, { "true", JSON_BOOL, 1 }, { "false", JSON_BOOL, 0 },
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t n = strlen(words[i].name);
        if ((size_t)(r->end - r->p) >= n && !memcmp(r->p, words[i].name, n)) {
            j->kind = words[i].kind;
            j->number = words[i].number;
            r->p += n;
            return;
        }
    }
    bad(r, "no value");
}

static void number(struct reader *r, struct json *j)
{
    char digits[64] = "", *stop;
    size_t n = strspn(r->p, "+-.0123456789eE");
    if (n >= sizeof digits || n > (size_t)(r->end - r->p))
        bad(r, "a number too long");
    memcpy(digits, r->p, n);
    j->kind = JSON_NUMBER;
    j->number = strtod(digits, &stop);
    if (!n || *stop)
        bad(r, "a bad number");
    r->p += n;
}

static void value(struct reader *r, struct json *j)
{
    char c = peek(r);
    if (c == '"') {
        j->kind = JSON_STRING;
        j->text = string(r, &j->n);
    } else if (c == '[' || c == '{') {
        j->kind = c == '[' ? JSON_LIST : JSON_OBJECT;
        items(r, j, c == '[' ? ']' : '}');
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        number(r, j);
    } else {
        word(r, j);
    }
}

struct json *json_parse(const char *p, size_t n)
{
    /* A copy ends in NUL, which strspn needs. */
    char *copy = need(malloc(n + 1));
    memcpy(copy, p, n);
    copy[n] = '\0';
    struct reader r = { copy, copy, copy + n };
    struct json *j = need(calloc(1, sizeof *j));
    value(&r, j);
    if (peek(&r) || r.p != r.end)
        bad(&r, "text after the value");
    free(copy);
    return j;
}

struct json *json_read(const char *path)
{
    size_t n;
    char *text = unit_read(path, &n);
    struct json *j = json_parse(text, n);
    free(text);
    return j;
}

static void clear(struct json *j)
{
    for (size_t i = 0; j->kind >= JSON_LIST && i < j->n; i++)
        clear(&j->items[i]);
    free(j->items);
    free(j->text);
    free(j->key);
}

void json_free(struct json *j)
{
    if (j)
        clear(j);
    free(j);
}

const struct json *json_find(const struct json *object, const char *key)
{
    for (size_t i = 0; object->kind == JSON_OBJECT && i < object->n; i++)
        if (!strcmp(object->items[i].key, key))
            return &object->items[i];
    return NULL;
}

const struct json *json_get(const struct json *object, const char *key)
{
    const struct json *j = json_find(object, key);
    if (!j)
        fail_msg("JSON: no \"%s\"", key);
    return j;
}

const char *json_text(const struct json *object, const char *key)
{
    const struct json *j = json_get(object, key);
    if (j->kind != JSON_STRING)
        fail_msg("JSON: \"%s\" is not a string", key);
    return j->text;
}

const struct json *json_list(const struct json *object, const char *key)
{
    const struct json *j = json_get(object, key);
    if (j->kind != JSON_LIST)
        fail_msg("JSON: \"%s\" is not a list", key);
    return j;
}

double json_number(const struct json *list, size_t i)
{
    if (list->kind != JSON_LIST || i >= list->n || list->items[i].kind != JSON_NUMBER)
        fail_msg("JSON: no number %zu", i);
    return list->items[i].number;
}
