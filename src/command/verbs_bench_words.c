/* SPDX-License-Identifier: MIT */
/* The words that parts of `bench` share: how much to measure, and formats. */
#include <ctype.h>

#include "command/verbs_bench.h"
#include "graph/glob.h"

enum st bench_effort_parse(const struct call *c, int *i, struct bench_effort *o, struct err *e)
{
    const bool size = str_is(c->words[*i].text, "size");
    if (!size && !str_is(c->words[*i].text, "seconds"))
        return ST_NOTFOUND;
    const int at = ++*i;
    if (at >= c->n_words)
        return call_fail(c, at, e, ST_SYNTAX, size ? "how much?" : "how long?");
    const struct str w = c->words[at].text;
    enum st st = size ? parse_size(w, &o->bytes, e) : parse_f64(w, &o->seconds, e);
    if (!st && size && (o->bytes < 1 << 16 || o->bytes > (size_t)1 << 36))
        st = st_fail(e, ST_RANGE, "a size of 64K to 64G is expected");
    if (!st && !size && !(o->seconds > 0 && o->seconds <= 3600))
        st = st_fail(e, ST_RANGE, "more than 0 and at most 3600 seconds are expected");
    return st ? st_at(e, c->words[at].column, c->words[at].length) : ST_OK;
}

enum st bench_formats_parse(const struct call *c, int i, const char *(*missing)(enum format),
                            bool *chosen, struct err *e)
{
    const struct str w = c->words[i].text;
    struct buf lower = { 0 }; /* as names are */
    bool found = false;
    for (size_t k = 0; k < w.n; k++)
        buf_addc(&lower, (char)tolower((unsigned char)w.p[k]));
    for (int f = 0; f < format_count() && f < BENCH_FORMATS; f++)
        if (!missing((enum format)f)
            && glob_match(str_of(lower.p, lower.n), str_from(format_info((enum format)f)->name)))
            found = chosen[f] = true;
    const enum format named = found ? FORMAT_NONE : format_by_name(buf_str(&lower));
    buf_free(&lower);
    if (named != FORMAT_NONE)
        return call_fail(c, i, e, ST_UNSUPPORTED, "%s: %s", format_info(named)->type,
                         missing(named));
    return found ? ST_OK
                 : call_fail(c, i, e, ST_NOTFOUND, "no format `%.*s`", (int)(w.n > 40 ? 40 : w.n),
                             w.p);
}
