/* SPDX-License-Identifier: MIT */
#include "file/json_read.h"

#include <string.h>

struct jread jread_of(const char *p, size_t n)
{
    return (struct jread){ .start = p, .p = p, .end = p + n };
}

bool jread_fail(struct jread *j, const char *problem)
{
    if (!j->problem)
        j->problem = problem;
    return false;
}

enum st jread_status(const struct jread *j, size_t base, struct err *e)
{
    if (!j->problem)
        return ST_OK;
    return st_fail(e, ST_FORMAT, "byte %zu: %s", base + (size_t)(j->p - j->start), j->problem);
}

char jread_peek(struct jread *j)
{
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\t' || *j->p == '\n' || *j->p == '\r'))
        j->p++;
    return j->p < j->end && !j->problem ? *j->p : '\0';
}

static bool take(struct jread *j, char c, const char *problem)
{
    if (jread_peek(j) != c || j->p == j->end)
        return jread_fail(j, problem);
    j->p++;
    return true;
}

bool jread_open(struct jread *j, char bracket)
{
    if (!take(j, bracket, bracket == '{' ? "expected an object" : "expected a list"))
        return false;
    if (j->depth == JREAD_DEPTH)
        return jread_fail(j, "lists within lists without end");
    j->first[++j->depth] = true;
    j->close[j->depth] = bracket == '{' ? '}' : ']';
    return true;
}

bool jread_next(struct jread *j)
{
    const char c = jread_peek(j);
    if (j->problem || !j->depth)
        return false;
    if (c == j->close[j->depth]) {
        j->p++;
        j->depth--;
        return false;
    }
    if (!j->first[j->depth] && !take(j, ',', "expected a comma or the end of the list"))
        return false;
    j->first[j->depth] = false;
    return jread_peek(j) ? true : jread_fail(j, "the text is cut");
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool hex4(struct jread *j, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++) {
        const int digit = j->p < j->end ? hex(*j->p) : -1;
        if (digit < 0)
            return jread_fail(j, "\\u takes four hexadecimal digits");
        *out = *out * 16 + (uint32_t)digit;
        j->p++;
    }
    return true;
}

/* What follows a backslash. */
static bool escape(struct jread *j, struct buf *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char c = j->p < j->end ? *j->p++ : '\0', *at = c ? strchr(from, c) : NULL;
    uint32_t cp, low;
    char bytes[4];
    if (at) {
        buf_addc(out, to[at - from]);
        return true;
    }
    if (c != 'u')
        return jread_fail(j, "no such escape");
    if (!hex4(j, &cp))
        return false;
    if (cp >= 0xd800 && cp < 0xdc00 && j->end - j->p >= 6 && j->p[0] == '\\' && j->p[1] == 'u') {
        j->p += 2;
        if (!hex4(j, &low))
            return false;
        if (low < 0xdc00 || low > 0xdfff)
            return jread_fail(j, "half of a surrogate pair");
        cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
    }
    const int n = utf8_encode(bytes, cp);
    if (!n)
        return jread_fail(j, "half of a surrogate pair");
    buf_add(out, bytes, (size_t)n);
    return true;
}

bool jread_string(struct jread *j, struct buf *out, size_t most)
{
    buf_clear(out);
    if (!take(j, '"', "expected a string"))
        return false;
    while (j->p < j->end && *j->p != '"') {
        const char c = *j->p++;
        if ((unsigned char)c < 0x20)
            return jread_fail(j, "a control character in a string");
        if (c != '\\')
            buf_addc(out, c);
        else if (!escape(j, out))
            return false;
        if (out->n > most)
            return jread_fail(j, "a string too long");
    }
    return take(j, '"', "a string without its end");
}

bool jread_key(struct jread *j, struct buf *out, size_t most)
{
    return jread_string(j, out, most) && take(j, ':', "expected a colon");
}

bool jread_int(struct jread *j, int64_t lo, int64_t hi, int64_t *out)
{
    jread_peek(j);
    const char *from = j->p;
    while (j->p < j->end && (*j->p == '-' || (*j->p >= '0' && *j->p <= '9')))
        j->p++;
    int64_t v;
    if (j->problem || from == j->p
        || (j->p < j->end && (*j->p == '.' || *j->p == 'e' || *j->p == 'E'))
        || parse_i64(str_of(from, (size_t)(j->p - from)), INT64_MIN, INT64_MAX, &v, NULL))
        return jread_fail(j, "expected a whole number");
    if (v < lo || v > hi)
        return jread_fail(j, "a number out of range");
    *out = v;
    return true;
}

/* A number or one of the words; their spelling is not checked beyond their letters. */
static bool skip_word(struct jread *j)
{
    const char *from = j->p;
    while (j->p < j->end && (strchr("+-.", *j->p) || (*j->p >= '0' && *j->p <= '9')
                             || (*j->p >= 'a' && *j->p <= 'z') || *j->p == 'E')
           && *j->p)
        j->p++;
    return j->p > from ? true : jread_fail(j, "expected a value");
}

static bool skip_string(struct jread *j)
{
    struct buf ignored = { 0 };
    const bool ok = jread_string(j, &ignored, SIZE_MAX);
    buf_free(&ignored);
    return ok;
}

bool jread_skip(struct jread *j)
{
    const int depth = j->depth;
    do {
        if (j->depth > depth && !jread_next(j)) {
            if (j->problem)
                return false;
            continue; /* a list has ended */
        }
        const char c = jread_peek(j);
        if (c == '"') { /* a key or a value */
            if (!skip_string(j))
                return false;
            if (jread_peek(j) == ':' && j->depth > depth) {
                j->p++;
                const char v = jread_peek(j);
                if (v == '{' || v == '[')
                    jread_open(j, v);
                else if (v == '"' ? !skip_string(j) : !skip_word(j))
                    return false;
            }
        } else if (c == '{' || c == '[')
            jread_open(j, c);
        else if (!skip_word(j))
            return false;
    } while (j->depth > depth && !j->problem);
    return !j->problem;
}

bool jread_end(struct jread *j)
{
    return jread_peek(j) || j->p < j->end ? jread_fail(j, "text after the end") : !j->problem;
}
