/* SPDX-License-Identifier: MIT */
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "base/memory.h"

struct str str_from(const char *s) { return str_of(s, strlen(s)); }

bool str_eq(struct str a, struct str b) { return a.n == b.n && (!a.n || !memcmp(a.p, b.p, a.n)); }

bool str_is(struct str a, const char *s) { return str_eq(a, str_from(s)); }

bool str_starts(struct str a, const char *prefix)
{
    size_t n = strlen(prefix);
    return a.n >= n && !memcmp(a.p, prefix, n);
}

bool str_ends(struct str a, const char *suffix)
{
    size_t n = strlen(suffix);
    return a.n >= n && !memcmp(a.p + a.n - n, suffix, n);
}

struct str str_base(struct str path)
{
    size_t i = path.n;
    while (i && path.p[i - 1] != '/')
        i--;
    return str_of(path.p + i, path.n - i);
}

bool str_begins(struct str a, const char *of)
{
    return a.n && a.n < strlen(of) && !memcmp(a.p, of, a.n);
}

static void reserve(struct buf *b, size_t more)
{
    size_t need;
    if (!add_ok(b->n, more, &need) || !add_ok(need, 1, &need))
        need = SIZE_MAX;
    x_grow(&b->p, &b->cap, need, 1);
}

void buf_add(struct buf *b, const void *p, size_t n)
{
    reserve(b, n);
    if (n)
        memcpy(b->p + b->n, p, n);
    b->n += n;
    b->p[b->n] = '\0';
}

void buf_adds(struct buf *b, const char *s) { buf_add(b, s, strlen(s)); }

void buf_addc(struct buf *b, char c) { buf_add(b, &c, 1); }

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n > 0) {
        reserve(b, (size_t)n);
        vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    }
    va_end(again);
}

void buf_clear(struct buf *b)
{
    b->n = 0;
    if (b->p)
        b->p[0] = '\0';
}

void buf_free(struct buf *b)
{
    free(b->p);
    *b = (struct buf){ 0 };
}

char *buf_take(struct buf *b)
{
    char *p = b->p ? b->p : x_strdup("");
    *b = (struct buf){ 0 };
    return p;
}

const char *buf_str(const struct buf *b) { return b->p ? b->p : ""; }

int utf8_decode(const char *s, size_t n, int32_t *cp)
{
    const unsigned char *u = (const unsigned char *)s;
    static const uint32_t smallest[5] = { 0, 0, 0x80, 0x800, 0x10000 };
    int len = u[0] < 0x80                   ? 1
              : u[0] >= 0xf0 && u[0] < 0xf8 ? 4
              : u[0] >= 0xe0 && u[0] < 0xf0 ? 3
              : u[0] >= 0xc0 && u[0] < 0xe0 ? 2
                                            : 0;
    *cp = -1;
    if (!len || (size_t)len > n)
        return 1;
    uint32_t v = len == 1 ? u[0] : u[0] & (0x7fu >> len);
    for (int i = 1; i < len; i++) {
        if ((u[i] & 0xc0) != 0x80)
            return 1;
        v = v << 6 | (u[i] & 0x3f);
    }
    if (v < smallest[len] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
        return 1;
    *cp = (int32_t)v;
    return len;
}

int utf8_encode(char out[4], uint32_t cp)
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xc0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        if (cp >= 0xd800 && cp < 0xe000)
            return 0;
        out[0] = (char)(0xe0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
        out[2] = (char)(0x80 | (cp & 0x3f));
        return 3;
    }
    if (cp > 0x10ffff)
        return 0;
    out[0] = (char)(0xf0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3f));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3f));
    out[3] = (char)(0x80 | (cp & 0x3f));
    return 4;
}

void buf_visible(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.n;) {
        int32_t cp;
        int len = utf8_decode(s.p + i, s.n - i, &cp);
        if (cp == '\n')
            buf_adds(b, "\\n");
        else if (cp == '\t')
            buf_adds(b, "\\t");
        else if (cp == '\r')
            buf_adds(b, "\\r");
        else if (cp == '\\' || cp == '"')
            buf_printf(b, "\\%c", (char)cp);
        else if (cp < 0 || cp < 32 || cp == 127)
            buf_printf(b, "\\x%02x", (unsigned char)s.p[i]);
        else if ((cp >= 0x80 && cp < 0xa0) || (cp >= 0x200b && cp <= 0x200f)
                 || (cp >= 0x202a && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069) || cp == 0xfeff
                 || cp == 0x2028 || cp == 0x2029)
            buf_printf(b, "\\u{%x}", (unsigned)cp); /* invisible or reorders the line */
        else
            buf_add(b, s.p + i, (size_t)len);
        i += (size_t)len;
    }
}

void buf_json(struct buf *b, struct str s)
{
    buf_addc(b, '"');
    for (size_t i = 0; i < s.n;) {
        int32_t cp;
        int len = utf8_decode(s.p + i, s.n - i, &cp);
        if (cp < 0)
            buf_adds(b, "\xef\xbf\xbd");
        else if (cp == '"' || cp == '\\')
            buf_printf(b, "\\%c", (char)cp);
        else if (cp < 32 || cp == 127)
            buf_printf(b, "\\u%04x", (unsigned)cp);
        else
            buf_add(b, s.p + i, (size_t)len);
        i += (size_t)len;
    }
    buf_addc(b, '"');
}

struct str text_unmarked(struct str s)
{
    static const char mark[] = "\xef\xbb\xbf";
    const size_t n = str_starts(s, mark) ? sizeof mark - 1 : 0;
    return str_of(s.p + n, s.n - n);
}

int text_columns(struct str s)
{
    int columns = 0;
    for (size_t i = 0; i < s.n;) {
        int32_t cp;
        i += (size_t)utf8_decode(s.p + i, s.n - i, &cp);
        int w = cp < 0 ? 1 : wcwidth((wchar_t)cp);
        columns += w > 0 ? w : 0;
    }
    return columns;
}

enum { NUMBER_MAX = 63 };

static enum st number_text(struct str s, char out[NUMBER_MAX + 1], struct err *e)
{
    if (!s.n || s.n > NUMBER_MAX || memchr(s.p, '\0', s.n) || isspace((unsigned char)s.p[0]))
        return st_fail(e, ST_SYNTAX, "`%.*s` is not a number", (int)(s.n > 40 ? 40 : s.n), s.p);
    memcpy(out, s.p, s.n);
    out[s.n] = '\0';
    return ST_OK;
}

enum st parse_i64(struct str s, int64_t lo, int64_t hi, int64_t *out, struct err *e)
{
    char t[NUMBER_MAX + 1], *end;
    enum st st = number_text(s, t, e);
    if (st)
        return st;
    errno = 0;
    bool hex = s.n > 2 && t[0] == '0' && (t[1] | 32) == 'x';
    long long v = strtoll(t, &end, hex ? 16 : 10);
    if (*end || end == t)
        return st_fail(e, ST_SYNTAX, "`%s` is not a whole number", t);
    if (errno || v < lo || v > hi)
        return st_fail(e, ST_RANGE, "%s is not in %lld..%lld", t, (long long)lo, (long long)hi);
    *out = v;
    return ST_OK;
}

enum st parse_f64(struct str s, double *out, struct err *e)
{
    char t[NUMBER_MAX + 1], *end;
    enum st st = number_text(s, t, e);
    if (st)
        return st;
    errno = 0;
    double v = strtod(t, &end);
    if (*end || end == t)
        return st_fail(e, ST_SYNTAX, "`%s` is not a number", t);
    if (errno == ERANGE && isinf(v))
        return st_fail(e, ST_RANGE, "%s is too large", t);
    *out = v;
    return ST_OK;
}

enum st parse_size(struct str s, size_t *out, struct err *e)
{
    struct str whole = s;
    double scale = 1;
    if (s.n > 1 && (s.p[s.n - 1] | 32) == 'b')
        s.n--;
    if (s.n > 1)
        switch (s.p[s.n - 1] | 32) {
        case 'k': scale = 1024.0; break;
        case 'm': scale = 1024.0 * 1024; break;
        case 'g': scale = 1024.0 * 1024 * 1024; break;
        case 't': scale = 1024.0 * 1024 * 1024 * 1024; break;
        }
    if (scale > 1)
        s.n--;
    double v;
    struct err ignored;
    if (parse_f64(s, &v, &ignored) || !(v >= 0) || v * scale >= 9e18)
        return st_fail(e, ST_SYNTAX, "`%.*s` is not a size; write 512, 64K, 300M or 1.5G",
                       (int)(whole.n > 40 ? 40 : whole.n), whole.p);
    *out = (size_t)(v * scale);
    return ST_OK;
}

char *text_f64(char *out, size_t size, double v)
{
    if (isnan(v))
        snprintf(out, size, "nan");
    else if (isinf(v))
        snprintf(out, size, v < 0 ? "-inf" : "inf");
    else
        for (int digits = 6; digits <= 17; digits++) {
            snprintf(out, size, "%.*g", digits, v);
            if (strtod(out, NULL) == v)
                break;
        }
    return out;
}

char *text_digits(char *out, size_t size, double v, int digits)
{
    if (isnan(v))
        snprintf(out, size, "nan");
    else if (isinf(v))
        snprintf(out, size, v < 0 ? "-inf" : "inf");
    else if (v == 0)
        snprintf(out, size, "0");
    else if (fabs(v) >= 1 && fabs(v) < 1e6 && digits > 0) {
        int whole = 1 + (int)floor(log10(fabs(v)));
        snprintf(out, size, "%.*f", digits > whole ? digits - whole : 0, v);
    } else
        snprintf(out, size, "%.*g", digits, v);
    return out;
}

char *text_bytes(char *out, size_t size, uint64_t bytes)
{
    static const char *const units[] = { "", "k", "M", "G", "T", "P" };
    double v = (double)bytes;
    int u = 0;
    while (v >= 999.5 && u < 5) {
        v /= 1000;
        u++;
    }
    const int digits = !u || v >= 99.95 ? 0 : v >= 9.995 ? 1 : 2;
    snprintf(out, size, "%.*f %sB", digits, v, units[u]);
    return out;
}

static int smallest(int a, int b, int c)
{
    int m = a < b ? a : b;
    return m < c ? m : c;
}

int text_distance(struct str a, struct str b)
{
    enum { MAX = 255 };
    int n = (int)(a.n < MAX ? a.n : MAX), m = (int)(b.n < MAX ? b.n : MAX);
    int rows[3][MAX + 1];
    int *before = rows[0], *previous = rows[1], *row = rows[2];
    for (int j = 0; j <= m; j++)
        previous[j] = j;
    for (int i = 1; i <= n; i++) {
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int cost = a.p[i - 1] != b.p[j - 1];
            row[j] = smallest(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + cost);
            if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1]
                && before[j - 2] + cost < row[j])
                row[j] = before[j - 2] + cost;
        }
        int *oldest = before;
        before = previous;
        previous = row;
        row = oldest;
    }
    return previous[m];
}

void suggest(struct str name, const char *(*at)(const void *data, size_t i), const void *data,
             size_t n, struct buf *out)
{
    enum { MOST = 12, MOST_BYTES = 160 }; /* a line or two */
    int matches = 0, shown = 0;
    for (size_t i = 0; i < n; i++) {
        const char *one = at(data, i);
        if (!one || !str_begins(name, one) || ++matches > MOST || out->n > MOST_BYTES)
            continue;
        buf_printf(out, "%s%s", shown++ ? ", " : "could be ", one);
    }
    if (matches > shown)
        buf_printf(out, " and %d more", matches - shown);
    if (matches)
        return;
    /* A third of the letters may be wrong, and at least one of several. */
    int best = (int)(name.n < 2 ? 0 : name.n < 6 ? 1 : name.n / 3) + 1;
    const char *nearest = NULL;
    for (size_t i = 0; i < n; i++) {
        const char *one = at(data, i);
        int d = one ? text_distance(name, str_from(one)) : best;
        if (d < best) {
            best = d;
            nearest = one;
        }
    }
    if (nearest)
        buf_printf(out, "did you mean `%s`?", nearest);
}
