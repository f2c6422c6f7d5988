/* SPDX-License-Identifier: MIT */
/* `print`: show what an expression is worth, or everything that a glob names, and keep it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/look.h"
#include "session/expression.h"

enum { DEFAULT_TOP = 10, DEFAULT_BINS = 20 };

enum st look_show(struct session *s, const struct view *v, struct look_format f, struct result *out,
                  struct err *e)
{
    const int64_t count = f.count < 0 ? -f.count : f.count;
    switch (f.letter) {
    case 's': return look_summary(v, s->progress, look_summary_table(out), e);
    case 't': return look_top(v, count ? count : DEFAULT_TOP, s->progress, out, e);
    case 'i':
        return look_histogram(v, count ? (int)count : DEFAULT_BINS, false, s->progress, out, e);
    case 'm': return look_heat(v, s->progress, out, e);
    case 'x':
    case 'b':
    case 'd':
    case 'q':
        if (v->weight) {
            const struct shape full = weight_shape(v->weight);
            int64_t first = 0, all = view_count(v),
                    most = setting_int(&s->settings, SETTING_ELEMENTS);
            for (int d = 0; d < full.rank; d++)
                first = first * full.d[d].n + v->index[d][0];
            return look_storage(v->weight, first,
                                count        ? count
                                : all < most ? all
                                             : most,
                                f.letter, out, e);
        }
        if (f.letter == 'd' || f.letter == 'q')
            return st_fail(e, ST_UNSUPPORTED, "only weights have codes");
    }
    look_elements(v, count ? count : setting_int(&s->settings, SETTING_ELEMENTS), f.letter, out);
    return ST_OK;
}

/* --- one value ---------------------------------------------------------------------------------
 */

static enum st print_one(struct session *s, const struct call *c, struct look_format f,
                         struct result *out, struct err *e)
{
    struct view v;
    struct str text = c->rest.n ? c->rest : STR("$");
    const int64_t count = f.count < 0 ? -f.count : f.count,
                  most = count ? count : setting_int(&s->settings, SETTING_ELEMENTS);
    const bool elements = !f.letter || !strchr("stim", f.letter);
    int64_t all;
    const bool ends = elements && lookup_ends(s, text, most, &v, &all);
    enum st st = ends ? ST_OK : expression_eval(s, text, &v, e);
    if (st)
        return e && e->column >= 0 ? st_at(e, e->column + c->rest_column, e->length) : st;
    char as[24];
    snprintf(as, sizeof as, "$%zu", s->values.n_history + 1);
    values_show(as, &v, out);
    if (ends && view_count(&v) < all && !(f.letter && strchr("xbdq", f.letter)))
        result_note(out,
                    "%" PRId64 " of %" PRId64
                    " values, from both ends; %s keeps these; a slice shows others",
                    view_count(&v), all, as);
    if ((st = look_show(s, &v, f, out, e)))
        view_free(&v);
    else
        values_keep(&s->values, &v);
    return st;
}

/* --- several -----------------------------------------------------------------------------------
 */

enum { MOST_NAMES = 16, LEAST_ELEMENTS = 8 };

struct printing {
    struct session *s;
    struct result *out;
    struct look_format f;
    struct table *summary; /* of /s: one for all */
    struct look_left left;
    int shown;
};

/* Tables from `first` on are of $n: "elements of $3". */
static void name_tables(struct result *out, size_t first, size_t n)
{
    for (size_t i = first; i < out->n_tables; i++) {
        struct buf b = { 0 };
        buf_printf(&b, "%s of $%zu", out->tables[i]->name, n);
        free(out->tables[i]->name);
        out->tables[i]->name = buf_take(&b);
    }
}

static enum st print_next(void *data, struct view *v, struct err *e)
{
    struct printing *p = data;
    const size_t n = p->s->values.n_history + 1;
    p->left.enough = ++p->shown == MOST_NAMES;
    char as[24];
    snprintf(as, sizeof as, "$%zu", n);
    values_show(as, v, p->out);
    if (p->f.letter == 's' && !p->summary)
        p->summary = look_summary_table(p->out);
    const size_t first = p->out->n_tables;
    enum st st = p->summary ? look_summary(v, p->s->progress, p->summary, e)
                            : look_show(p->s, v, p->f, p->out, e);
    name_tables(p->out, first, n);
    if (!st)
        values_keep(&p->s->values, v);
    return st;
}

/* Each is a value of its own; together they show about as many elements as one alone. */
static enum st print_several(struct session *s, const struct address *a, size_t n,
                             struct look_format f, struct result *out, struct err *e)
{
    struct printing p = { .s = s, .out = out, .f = f };
    if (!f.count && (!f.letter || !strchr("stim", f.letter))) {
        const int64_t each = setting_int(&s->settings, SETTING_ELEMENTS)
                             / (int64_t)(n < MOST_NAMES ? n : MOST_NAMES);
        p.f.count = each > LEAST_ELEMENTS ? each : LEAST_ELEMENTS;
    }
    enum st st = look_each(s, a, &p.left, print_next, &p, e);
    look_left_notes(&p.left, out);
    if (!st && p.left.enough && n > MOST_NAMES)
        result_note(out, "the first %d of %zu names; `summary` has a row for each", MOST_NAMES, n);
    return st;
}

enum st run_print(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct look_format f;
    enum st st = look_format(c, PRINT_LETTERS, &f, e);
    if (st)
        return st;
    struct address *a = x_alloc(sizeof *a);
    struct err ignored = ERR_INIT;
    struct match *list;
    size_t n = 0;
    if (!address_parse(c->rest, a, &ignored) && a->used == c->rest.n
        && !lookup_names(s, a, &list, &n, &ignored))
        free(list);
    if (n > 1) {
        st = print_several(s, a, n, f, out, e);
        if (st && e->column >= 0)
            st_at(e, e->column + c->rest_column, e->length);
    } else
        st = print_one(s, c, f, out, e);
    free(a);
    return st;
}
