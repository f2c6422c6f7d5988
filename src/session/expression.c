/* SPDX-License-Identifier: MIT */
/* Expressions are evaluated while they are parsed: every operand is a view. */
#include "session/expression.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "kernels/statistics.h"
#include "session/arithmetic.h"
#include "session/lookup.h"
#include "session/session.h"

enum { MAX_DEPTH = 100, MAX_NAME = 40 };

struct parser {
    struct session *s;
    struct str text;
    size_t at;
    int depth;
    struct err *e;
};

static enum st expr(struct parser *p, struct view *out);

static char peek(const struct parser *p) { return p->at < p->text.n ? p->text.p[p->at] : '\0'; }

static void blanks(struct parser *p)
{
    while (peek(p) == ' ' || peek(p) == '\t')
        p->at++;
}

static bool take(struct parser *p, char c)
{
    blanks(p);
    if (p->at >= p->text.n || peek(p) != c)
        return false;
    p->at++;
    blanks(p);
    return true;
}

static struct str rest(const struct parser *p)
{
    return str_of(p->text.p + p->at, p->text.n - p->at);
}

/* Underline [from, at), at least one column. */
static enum st caret(struct parser *p, size_t from)
{
    return st_at(p->e, (int)from, p->at > from ? (int)(p->at - from) : 1);
}

static const char *const functions[N_FUNCTIONS] = { "", "abs", "log", "exp", "sqrt" };

/* --- statistics --------------------------------------------------------------------------------
 */

/* Mean over the rows of the last axis; of attention rows only the keys that the token may see
 * count. */
static enum st over_rows(const char *name, const struct view *v, struct progress *progress,
                         double *out, struct err *e)
{
    const struct shape *s = &v->shape;
    const int64_t n = s->rank ? s->d[s->rank - 1].n : 1, rows = n ? view_count(v) / n : 0;
    const int tok = shape_axis(s, AXIS_TOK);
    const bool keys = s->rank && s->d[s->rank - 1].axis == AXIS_KEY && tok >= 0;
    int64_t inner = 1, counted = 0;
    for (int d = tok + 1; keys && d < s->rank - 1; d++)
        inner *= s->d[d].n;
    double sum = 0;
    for (int64_t r = 0; r < rows; r++) {
        int64_t seen = n;
        if (!progress_tick(progress, "computing", (double)r, (double)rows))
            return st_fail(e, ST_CANCELLED, "interrupted");
        while (keys && seen > 1
               && v->index[s->rank - 1][seen - 1] > v->index[tok][r / inner % s->d[tok].n])
            seen--;
        double x;
        if (!statistic_of(name, NULL, v->data + r * n, seen, &x) || isnan(x))
            continue;
        sum += x;
        counted++;
    }
    *out = counted ? sum / (double)counted : NAN;
    return ST_OK;
}

static double quantile(const char *name)
{
    return !strcasecmp(name, "p1") ? 0.01 : !strcasecmp(name, "p99") ? 0.99 : 0.5;
}

static const char *function_at(const void *data, size_t i)
{
    (void)data;
    return i < statistic_count() ? statistic_at(i)->name : functions[i - statistic_count()];
}

static enum st unknown_statistic(struct str name, struct err *e)
{
    struct buf hint = { 0 };
    suggest(name, function_at, NULL, statistic_count() + N_FUNCTIONS, &hint);
    st_fail(e, ST_NOTFOUND, "no function or statistic `%.*s`",
            (int)(name.n > MAX_NAME ? MAX_NAME : name.n), name.p);
    st_hint(e, "%s",
            hint.n ? buf_str(&hint) : "abs log exp sqrt; `help print` lists the statistics");
    buf_free(&hint);
    return ST_NOTFOUND;
}

/* The row of the table that stands behind a name; NULL if none. */
static const struct statistic *find_statistic(struct str name)
{
    char s[MAX_NAME];
    if (name.n >= sizeof s)
        return NULL;
    memcpy(s, name.p, name.n);
    s[name.n] = '\0';
    return statistic_find(s);
}

static enum st expression_statistic(struct session *s, struct str name, const struct view *v,
                                    double *out, struct err *e)
{
    const struct statistic *t = find_statistic(name);
    if (!t)
        return unknown_statistic(name, e);
    if (t->kind == STATISTIC_ROW)
        return over_rows(t->name, v, s->progress, out, e);
    if (t->kind == STATISTIC_QUANTILE) {
        const double p = quantile(t->name);
        return view_quantiles(v, &p, 1, s->progress, out, e);
    }
    if (t->kind == STATISTIC_ARRAY) {
        struct summary sum;
        enum st st = view_summary(v, s->progress, &sum, e);
        if (st || statistic_of_summary(t->name, &sum, out))
            return st;
    }
    if (t->kind == STATISTIC_PAIR) {
        st_fail(e, ST_SYNTAX, "%s compares two things", t->name);
        return st_hint(e, "%s(REFERENCE, X)", t->name);
    }
    return st_fail(e, ST_UNSUPPORTED, "%s is not a statistic of one array: %s", t->name, t->brief);
}

/* kl is of one distribution: the mean over the rows of the last axis. */
static enum st mean_kl(const struct view *ref, const struct view *x, struct progress *p,
                       double *out, struct err *e)
{
    const struct shape *s = &x->shape;
    const int64_t all = view_count(x), n = s->rank ? s->d[s->rank - 1].n : 1;
    double sum = 0;
    for (int64_t at = 0; at < all; at += n) {
        if (!progress_tick(p, "comparing", (double)at, (double)all))
            return st_fail(e, ST_CANCELLED, "interrupted");
        sum += kl_of_logits(ref->data + at, x->data + at, n, -INFINITY);
    }
    *out = all ? sum / (double)(all / n) : NAN;
    return ST_OK;
}

static enum st between(const struct statistic *t, const struct view *ref, const struct view *x,
                       struct progress *progress, double *out, struct err *e)
{
    struct pair_error error;
    if (!shape_equal(&ref->shape, &x->shape)) {
        struct buf a = { 0 }, b = { 0 };
        shape_print(&ref->shape, &a);
        shape_print(&x->shape, &b);
        st_fail(e, ST_RANGE, "the shapes differ: %s against %s", buf_str(&a), buf_str(&b));
        buf_free(&a);
        buf_free(&b);
        return ST_RANGE;
    }
    if (!strcmp(t->name, "kl"))
        return mean_kl(ref, x, progress, out, e);
    double none;
    if (statistic_of_pair(t->name, &(struct pair_error){ 0 }, &none)) {
        enum st st = view_pair_error(ref, x, progress, &error, e);
        if (!st)
            statistic_of_pair(t->name, &error, out);
        return st;
    }
    st_fail(e, ST_SYNTAX, "%s is a statistic of one thing", t->name);
    return st_hint(e, "two things: relerr rmse maxerr cos sqnr kl");
}

/* --- operands ----------------------------------------------------------------------------------
 */

static enum st number(struct parser *p, struct view *out)
{
    size_t from = p->at;
    while (isdigit((unsigned char)peek(p)) || peek(p) == '.')
        p->at++;
    if (peek(p) == 'e' || peek(p) == 'E') {
        size_t mark = p->at++;
        if (peek(p) == '-' || peek(p) == '+')
            p->at++;
        if (!isdigit((unsigned char)peek(p)))
            p->at = mark;
        while (isdigit((unsigned char)peek(p)))
            p->at++;
    }
    while (isalnum((unsigned char)peek(p)) || peek(p) == '_')
        p->at++; /* 12abc is no number: say so of all of it */
    double x;
    enum st st = parse_f64(str_of(p->text.p + from, p->at - from), &x, p->e);
    return st ? caret(p, from) : view_scalar(x, out, p->e);
}

static enum st kept_value(struct parser *p, struct view *out)
{
    size_t from = p->at++;
    while (isalnum((unsigned char)peek(p)) || peek(p) == '_')
        p->at++;
    const struct values *all = &p->s->values;
    struct str name = str_of(p->text.p + from + 1, p->at - from - 1);
    const struct view *v;
    int64_t n = 0;
    if (!name.n || isdigit((unsigned char)name.p[0])) {
        if (name.n && parse_i64(name, 1, INT32_MAX, &n, NULL)) {
            st_fail(p->e, ST_SYNTAX, "`$%.*s` is no value: $1, $2, ... or $NAME",
                    (int)(name.n > 20 ? 20 : name.n), name.p);
            return caret(p, from);
        }
        v = values_number(all, (size_t)n);
    } else
        v = values_named(all, name);
    if (v)
        return view_copy(v, out, p->e);
    if (n > 0 && (size_t)n <= all->n_history)
        st_fail(p->e, ST_STATE, "$%" PRId64 " was large and is no longer kept", n);
    else
        st_fail(p->e, ST_NOTFOUND, "there is no value `$%.*s`",
                (int)(name.n > MAX_NAME ? MAX_NAME : name.n), name.p);
    if (!name.n || n)
        st_hint(p->e, "`print` has kept %zu so far", all->n_history);
    else
        st_hint(p->e, "`%.*s = EXPR` makes one", (int)(name.n > MAX_NAME ? MAX_NAME : name.n),
                name.p);
    return caret(p, from);
}

static enum st read_address(struct parser *p, struct str text, struct view *out, size_t *used)
{
    struct address *a = x_alloc(sizeof *a); /* too large for a stack of nested parentheses */
    enum st st = address_parse(text, a, p->e);
    if (!st)
        st = lookup_one(p->s, a, out, p->e);
    if (st && p->e && p->e->column < 0)
        st_at(p->e, 0, a->used ? (int)a->used : 1);
    *used = a->used;
    free(a);
    return st;
}

/* Where a name may end before a `*` or `/` that is an operator; 0 if it holds none. */
static size_t operator_in(struct str text, size_t used)
{
    for (size_t i = 1; i < used; i++) {
        if (text.p[i] == '[')
            return 0;
        if ((text.p[i] == '*' || text.p[i] == '/') && text.p[i - 1] != '.' && text.p[i - 1] != '*')
            return i;
    }
    return 0;
}

static enum st address(struct parser *p, struct view *out)
{
    size_t used = 0, from = p->at;
    enum st st = read_address(p, rest(p), out, &used);
    size_t cut = st == ST_NOTFOUND ? operator_in(rest(p), used) : 0;
    if (cut) { /* blk.0.out*2 */
        struct err first = p->e ? *p->e : (struct err)ERR_INIT;
        st = read_address(p, str_of(rest(p).p, cut), out, &used);
        if (st == ST_NOTFOUND && p->e)
            *p->e = first;
    }
    if (st && p->e)
        return st_at(p->e, (int)from + (p->e->column > 0 ? p->e->column : 0), p->e->length);
    p->at += used;
    return st;
}

/* The name in front of a parenthesis; empty if there is none. */
static struct str function_name(const struct parser *p)
{
    size_t i = p->at;
    while (i < p->text.n && (isalnum((unsigned char)p->text.p[i]) || p->text.p[i] == '_'))
        i++;
    size_t end = i;
    while (i < p->text.n && (p->text.p[i] == ' ' || p->text.p[i] == '\t'))
        i++;
    return str_of(p->text.p + p->at, i < p->text.n && p->text.p[i] == '(' ? end - p->at : 0);
}

static enum st closing(struct parser *p, size_t open)
{
    if (take(p, ')'))
        return ST_OK;
    size_t at = p->at;
    if (at < p->text.n) {
        st_fail(p->e, ST_SYNTAX, "expected `)` or an operator");
        return st_at(p->e, (int)at, 1);
    }
    st_fail(p->e, ST_SYNTAX, "`(` without its `)`");
    return st_at(p->e, (int)open, 1);
}

static enum st function(struct parser *p, struct str name, struct view *out)
{
    const size_t from = p->at;
    int f = 1;
    while (f < N_FUNCTIONS && !str_is(name, functions[f]))
        f++;
    const struct statistic *t = f < N_FUNCTIONS ? NULL : find_statistic(name);
    if (f == N_FUNCTIONS && !t) {
        unknown_statistic(name, p->e);
        return st_at(p->e, (int)from, (int)name.n);
    }
    p->at += name.n;
    blanks(p);
    size_t open = p->at;
    take(p, '(');
    struct view v, second = { .value = -1 };
    enum st st = expr(p, &v);
    if (st)
        return st;
    const bool two = t && take(p, ',');
    if (two)
        st = expr(p, &second);
    if (!st)
        st = closing(p, open);
    if (!st && t) {
        double x;
        st = two ? between(t, &v, &second, p->s->progress, &x, p->e)
                 : expression_statistic(p->s, name, &v, &x, p->e);
        if (st)
            caret(p, from);
        else {
            view_free(&v);
            st = view_scalar(x, &v, p->e);
        }
    } else if (!st)
        st = view_map((enum function)f, &v, p->s->progress, p->e);
    view_free(&second);
    if (st)
        view_free(&v);
    else
        *out = v;
    return st;
}

static enum st factor(struct parser *p, struct view *out)
{
    blanks(p);
    const size_t from = p->at;
    const char c = peek(p);
    struct str name;
    enum st st;
    if (p->depth >= MAX_DEPTH) {
        st_fail(p->e, ST_RANGE, "more than %d levels of parentheses", MAX_DEPTH);
        return st_at(p->e, (int)from, 1);
    }
    p->depth++;
    if (c == '-' || c == '+') {
        p->at++;
        st = factor(p, out);
        if (!st && c == '-' && (st = view_map(NEGATE, out, p->s->progress, p->e)))
            view_free(out);
    } else if (c == '(') {
        p->at++;
        st = expr(p, out);
        if (!st && (st = closing(p, from)))
            view_free(out);
    } else if (isdigit((unsigned char)c)
               || (c == '.' && p->at + 1 < p->text.n
                   && isdigit((unsigned char)p->text.p[p->at + 1])))
        st = number(p, out);
    else if (c == '$')
        st = kept_value(p, out);
    else if ((name = function_name(p)).n)
        st = function(p, name, out);
    else if (p->at == p->text.n) {
        st_fail(p->e, ST_SYNTAX, "an operand is missing");
        st = st_at(p->e, (int)from, 1);
    } else
        st = address(p, out);
    p->depth--;
    return st;
}

static enum st term(struct parser *p, struct view *out)
{
    struct view a, b;
    enum st st = factor(p, &a);
    while (!st) {
        blanks(p);
        const size_t at = p->at;
        const char op = take(p, '*') ? '*' : take(p, '/') ? '/' : '\0';
        if (!op) {
            *out = a;
            return ST_OK;
        }
        st = factor(p, &b);
        if (!st && (st = view_combine(op, &a, &b, p->s->progress, p->e)))
            st_at(p->e, (int)at, 1);
        if (st)
            view_free(&a);
    }
    return st;
}

static enum st expr(struct parser *p, struct view *out)
{
    struct view a, b;
    enum st st = term(p, &a);
    while (!st) {
        blanks(p);
        const size_t at = p->at;
        const char op = take(p, '+') ? '+' : take(p, '-') ? '-' : '\0';
        if (!op) {
            *out = a;
            return ST_OK;
        }
        st = term(p, &b);
        if (!st && (st = view_combine(op, &a, &b, p->s->progress, p->e)))
            st_at(p->e, (int)at, 1);
        if (st)
            view_free(&a);
    }
    return st;
}

enum st expression_prefix(struct session *s, struct str text, struct view *out, size_t *used,
                          struct err *e)
{
    struct parser p = { s, text, 0, 0, e };
    blanks(&p);
    const size_t from = p.at;
    const bool value = peek(&p) == '$';
    struct view v;
    enum st st = expr(&p, &v);
    if (st)
        return st;
    size_t end = p.at;
    while (end > from && (text.p[end - 1] == ' ' || text.p[end - 1] == '\t'))
        end--;
    bool whole = value && v.name; /* `$2` alone is what $2 was */
    for (size_t i = from + 1; i < end && whole; i++)
        whole = isalnum((unsigned char)text.p[i]) || text.p[i] == '_';
    if (!whole) {
        free(v.name);
        v.name = x_strndup(text.p + from, end - from);
    }
    *used = p.at;
    *out = v;
    return ST_OK;
}

enum st expression_eval(struct session *s, struct str text, struct view *out, struct err *e)
{
    size_t used;
    struct view v;
    enum st st = expression_prefix(s, text, &v, &used, e);
    if (st)
        return st;
    if (used < text.n) {
        view_free(&v);
        st_fail(e, ST_SYNTAX, "expected an operator: + - * /");
        return st_at(e, (int)used, 1);
    }
    *out = v;
    return ST_OK;
}
