/* SPDX-License-Identifier: MIT */
#include "command/lex.h"

#include <ctype.h>
#include <string.h>

struct str lex_trim(struct str s)
{
    while (s.n && lex_blank(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n && lex_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

struct str lex_verb(struct str s)
{
    size_t n = 0;
    if (s.n && !isalpha((unsigned char)s.p[0])) {
        /* `!ls` and `?`; anything else is no verb, and shown whole in the error */
        if (strchr("!?", s.p[0]) && s.p[0])
            return str_of(s.p, 1);
        while (n < s.n && !lex_blank(s.p[n]) && s.p[n] != ';')
            n++;
        return str_of(s.p, n);
    }
    while (n < s.n
           && (isalnum((unsigned char)s.p[n]) || s.p[n] == '-' || s.p[n] == '_' || s.p[n] == '.'))
        n++;
    return str_of(s.p, n);
}

bool lex_operator(struct str s, size_t i, unsigned flags)
{
    if (flags & LEX_WHOLE)
        return false;
    bool blank_before = i == 0 || lex_blank(s.p[i - 1]);
    switch (s.p[i]) {
    case ';': return true;
    case '#': return blank_before;
    case '>': return !(flags & LEX_COMPARES);
    case '|':
        return !(flags & LEX_COMPARES) || (blank_before && i + 1 < s.n && lex_blank(s.p[i + 1]));
    }
    return false;
}

/* The end of a quoted text that begins at i; s.n if it is not closed. */
static size_t quote_end(struct str s, size_t i)
{
    char quote = s.p[i++];
    while (i < s.n && s.p[i] != quote)
        i += quote == '"' && s.p[i] == '\\' && i + 1 < s.n ? 2 : 1;
    return i < s.n ? i + 1 : s.n;
}

size_t lex_word_end(struct str s, size_t i, unsigned flags)
{
    size_t from = i;
    int depth = 0;
    while (i < s.n) {
        char c = s.p[i];
        bool opens = i == from || strchr("[({=,", s.p[i - 1]) || lex_blank(s.p[i - 1]);
        if ((c == '"' || c == '\'') && opens) {
            i = quote_end(s, i);
            if (i < s.n && depth == 0 && s.p[from] == c)
                break;
            continue;
        }
        if (c == ';' && !(flags & LEX_WHOLE))
            break;
        if (depth == 0 && (lex_blank(c) || (i > from && lex_operator(s, i, flags))))
            break;
        if (strchr("[({", c) && c)
            depth++;
        else if (strchr("])}", c) && c && depth)
            depth--;
        i++;
    }
    return i;
}

void lex_store(struct buf *store, size_t n)
{
    buf_clear(store);
    for (size_t i = 0; i <= n; i++)
        buf_addc(store, '\0');
    buf_clear(store);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
}

/* Decode the escape after the backslash at *i; *i moves behind it. False if there is none such. */
static bool escape(struct str s, size_t *i, struct buf *store)
{
    static const char from[] = "ntr\"\\'", to[] = "\n\t\r\"\\'";
    size_t at = *i + 1;
    const char *known = at < s.n && s.p[at] ? strchr(from, s.p[at]) : NULL;
    if (known) {
        buf_addc(store, to[known - from]);
        *i = at + 1;
        return true;
    }
    if (at + 2 < s.n && s.p[at] == 'x' && hex_digit(s.p[at + 1]) >= 0
        && hex_digit(s.p[at + 2]) >= 0) {
        buf_addc(store, (char)(hex_digit(s.p[at + 1]) << 4 | hex_digit(s.p[at + 2])));
        *i = at + 3;
        return true;
    }
    if (at + 2 >= s.n || s.p[at] != 'u' || s.p[at + 1] != '{')
        return false;
    uint32_t cp = 0;
    size_t j = at + 2;
    for (; j < s.n && hex_digit(s.p[j]) >= 0 && cp <= 0x10ffff; j++)
        cp = cp << 4 | (uint32_t)hex_digit(s.p[j]);
    char utf8[4];
    int n = utf8_encode(utf8, cp);
    if (j == at + 2 || j >= s.n || s.p[j] != '}' || !n)
        return false;
    buf_add(store, utf8, (size_t)n);
    *i = j + 1;
    return true;
}

/* Take the quotes of s[from..end) away; s[from] is the quote. */
static enum st unquote(struct str s, size_t from, size_t end, struct str *out, struct buf *store,
                       struct err *e)
{
    char quote = s.p[from];
    if (end < from + 2 || s.p[end - 1] != quote) {
        st_fail(e, ST_SYNTAX, "the quote %c is not closed", quote);
        return st_at(e, (int)from, (int)(end - from));
    }
    if (quote == '\'') {
        *out = str_of(s.p + from + 1, end - from - 2);
        return ST_OK;
    }
    size_t start = store->n;
    for (size_t i = from + 1; i < end - 1;) {
        if (s.p[i] != '\\')
            buf_addc(store, s.p[i++]);
        else if (!escape(str_of(s.p, end - 1), &i, store)) {
            st_fail(e, ST_SYNTAX, "no such escape in \"...\"");
            st_at(e, (int)i, 2);
            return st_hint(e, "known are \\n \\t \\r \\\" \\\\ \\xNN \\u{N}; '...' takes "
                              "everything as it stands");
        }
    }
    *out = str_of(buf_str(store) + start, store->n - start);
    return ST_OK;
}

enum st lex_word(struct str s, size_t *at, unsigned flags, struct word *out, struct buf *store,
                 struct err *e)
{
    size_t i = *at;
    while (i < s.n && lex_blank(s.p[i]))
        i++;
    *out = (struct word){ str_of(s.p + i, 0), (int)i, 0, false };
    if (i == s.n || lex_operator(s, i, flags)) {
        *at = i;
        return ST_OK;
    }
    size_t end = lex_word_end(s, i, flags);
    out->length = (int)(end - i);
    out->quoted = s.p[i] == '"' || s.p[i] == '\'';
    out->text = str_of(s.p + i, end - i);
    if (out->quoted) {
        enum st st = unquote(s, i, end, &out->text, store, e);
        if (st)
            return st;
        if (end < s.n && !lex_blank(s.p[end]) && !lex_operator(s, end, flags)) {
            st_fail(e, ST_SYNTAX, "a blank should follow the closing quote");
            return st_at(e, (int)end, 1);
        }
    }
    *at = end;
    return ST_OK;
}
