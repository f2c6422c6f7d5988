/* SPDX-License-Identifier: MIT */
#include "command/until.h"

#include <inttypes.h>
#include <math.h>

#include "study/anytime.h"

static enum st read_width(struct str text, struct until *out, struct err *e)
{
    out->share = str_ends(text, "%");
    enum st st = parse_f64(str_of(text.p, text.n - out->share), &out->width, e);
    if (!st && !(out->width > 0 && isfinite(out->width)))
        st = st_fail(e, ST_RANGE, "a width is more than 0");
    out->width /= out->share ? 100 : 1;
    return st;
}

enum st until_take(struct call *c, struct until *out, struct err *e)
{
    int n = 0;
    *out = (struct until){ 0 };
    for (int i = 0; i < c->n_words; i++) {
        if (c->words[i].quoted || !str_is(c->words[i].text, "until")) {
            c->words[n++] = c->words[i];
            continue;
        }
        if (++i >= c->n_words)
            return call_fail(c, i, e, ST_SYNTAX, "until W or P%%: half the width of the interval");
        enum st st = read_width(c->words[i].text, out, e);
        if (st)
            return st_at(e, c->words[i].column, c->words[i].length);
    }
    c->n_words = n;
    return ST_OK;
}

bool until_reached(const struct until *u, const struct clustered_mean *m)
{
    const double half = (m->high - m->low) / 2;
    return u->width > 0 && half <= u->width * (u->share ? fabs(m->value) : 1);
}

void until_note(const struct until *u, const struct clustered_mean *m, int64_t of,
                const char *figure, const char *clusters, struct result *out)
{
    if (!(u->width > 0))
        return;
    if (m->clusters < of)
        result_note(out,
                    "stopped early: after %" PRId64 " of %" PRId64 " %s the interval of %s is "
                    "+- %.3g",
                    m->clusters, of, clusters, figure, (m->high - m->low) / 2);
    else
        result_note(out, "not stopped early: the interval of %s is not that narrow before the end",
                    figure);
    if (m->clusters < ANYTIME_FIRST)
        result_note(out, "fewer than %d %s: no interval, nothing to stop by", ANYTIME_FIRST,
                    clusters);
    else
        result_note(out, "intervals hold at every look (anytime), and are wider than for one");
}
