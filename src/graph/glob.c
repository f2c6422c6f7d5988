/* SPDX-License-Identifier: MIT */
#include "graph/glob.h"

#include <string.h>

/* Matching takes no more than this many steps, whatever the pattern: hostile ones fail, they do not
 * hang. */
enum { STEPS_MAX = 200000, PATTERN_MAX = 512 };

static bool match(struct str p, struct str s, int *steps);

static struct str tail(struct str s, size_t from) { return str_of(s.p + from, s.n - from); }

static bool digits(struct str s, long *out)
{
    *out = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || i > 8)
            return false;
        *out = *out * 10 + (s.p[i] - '0');
    }
    return s.n > 0;
}

/* "{lo..hi}": a whole number without leading zeros. */
static bool match_range(struct str body, struct str rest, struct str s, int *steps)
{
    size_t dots = 0;
    while (dots + 1 < body.n && !(body.p[dots] == '.' && body.p[dots + 1] == '.'))
        dots++;
    long lo, hi, v;
    if (dots + 1 >= body.n || !digits(str_of(body.p, dots), &lo)
        || !digits(tail(body, dots + 2), &hi))
        return false;
    size_t n = 0;
    while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
        n++;
    if (!digits(str_of(s.p, n), &v) || (n > 1 && s.p[0] == '0'))
        return false;
    return v >= lo && v <= hi && match(rest, tail(s, n), steps);
}

/* "{q,k,v}": alternatives, which may be patterns themselves. */
static bool match_alternatives(struct str body, struct str rest, struct str s, int *steps)
{
    struct buf b = { 0 };
    bool found = false;
    for (size_t i = 0; i <= body.n && !found;) {
        size_t end = i;
        while (end < body.n && body.p[end] != ',')
            end++;
        buf_clear(&b);
        buf_add(&b, body.p + i, end - i);
        buf_add(&b, rest.p, rest.n);
        found = match(str_of(b.p, b.n), s, steps);
        i = end + 1;
    }
    buf_free(&b);
    return found;
}

static bool match_star(struct str p, struct str s, int *steps)
{
    bool deep = p.n > 1 && p.p[1] == '*';
    struct str rest = tail(p, deep ? 2 : 1);
    for (size_t i = 0; i <= s.n; i++) {
        if (match(rest, tail(s, i), steps))
            return true;
        if (i < s.n && s.p[i] == '.' && !deep)
            return false;
    }
    return false;
}

static bool match(struct str p, struct str s, int *steps)
{
    while (p.n) {
        if (++*steps > STEPS_MAX)
            return false;
        const char *close;
        if (*p.p == '*')
            return match_star(p, s, steps);
        if (*p.p == '{' && (close = memchr(p.p, '}', p.n))) {
            struct str body = str_of(p.p + 1, (size_t)(close - p.p) - 1),
                       rest = tail(p, body.n + 2);
            return match_range(body, rest, s, steps) || match_alternatives(body, rest, s, steps);
        }
        if (!s.n)
            return false;
        if (*p.p == '[' && (close = memchr(p.p, ']', p.n))) {
            size_t n = (size_t)(close - p.p);
            if (!memchr(p.p + 1, *s.p, n - 1))
                return false;
            p = tail(p, n + 1);
        } else {
            if (*p.p != *s.p && (*p.p != '?' || *s.p == '.'))
                return false;
            p = tail(p, 1);
        }
        s = tail(s, 1);
    }
    return !s.n;
}

bool glob_match(struct str pattern, struct str name)
{
    int steps = 0;
    return pattern.n <= PATTERN_MAX && match(pattern, name, &steps);
}

bool glob_is_pattern(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (strchr("*?[{", s.p[i]))
            return true;
    return false;
}

void glob_deeper(struct str pattern, struct buf *out)
{
    for (size_t i = 0; i < pattern.n; i++) {
        buf_addc(out, pattern.p[i]);
        if (pattern.p[i] != '*')
            continue;
        buf_addc(out, '*');
        i += i + 1 < pattern.n && pattern.p[i + 1] == '*';
    }
}
