/* SPDX-License-Identifier: MIT */
#include "study/figures.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "study/anytime.h"

static const struct {
    const char *name;
    size_t at;
    bool lint;
} names[] = {
    { "kl", offsetof(struct figures, kl), false },
    { "top1", offsetof(struct figures, top1), false },
    { "logratio", offsetof(struct figures, log_ratio), false },
    { "ln_ppl_ratio", offsetof(struct figures, log_ratio), false },
    { "ppl", offsetof(struct figures, ppl), false },
    { "perplexity", offsetof(struct figures, ppl), false },
    { "ref_ppl", offsetof(struct figures, ref_ppl), false },
    { "ref_perplexity", offsetof(struct figures, ref_ppl), false },
    { "lint_errors", offsetof(struct figures, lint_errors), true },
    { "lint_warnings", offsetof(struct figures, lint_warnings), true },
};
static const struct {
    const char *name;
    double (*fn)(double);
} functions[] = { { "exp", exp }, { "log", log }, { "abs", fabs }, { "sqrt", sqrt } };

enum { MAX_DEPTH = 32 };

/* An expression being read; what it is worth comes with it. */
struct reader {
    struct str text;
    size_t at;
    const struct figures *figures;
    struct comparison *uses; /* may be NULL */
    int depth;
    struct err *e;
};

static void blanks(struct reader *r)
{
    while (r->at < r->text.n && r->text.p[r->at] == ' ')
        r->at++;
}

static bool take(struct reader *r, char c)
{
    blanks(r);
    if (r->at == r->text.n || r->text.p[r->at] != c)
        return false;
    r->at++;
    return true;
}

static enum st sum(struct reader *r, double *out);

static size_t span_of(const struct reader *r, bool (*in)(char c, char before))
{
    size_t n = 0;
    while (r->at + n < r->text.n && in(r->text.p[r->at + n], n ? r->text.p[r->at + n - 1] : '\0'))
        n++;
    return n;
}

static bool in_number(char c, char before)
{
    const bool exponent = before == 'e' || before == 'E';
    return isalnum((unsigned char)c) || c == '.' || (exponent && (c == '-' || c == '+'));
}

static bool in_name(char c, char before)
{
    (void)before;
    return isalnum((unsigned char)c) || c == '_';
}

static enum st name(struct reader *r, double *out)
{
    const size_t n = span_of(r, in_name);
    const struct str word = str_of(r->text.p + r->at, n);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!str_is(word, names[i].name))
            continue;
        *out = *(const double *)(const void *)((const char *)r->figures + names[i].at);
        if (r->uses) {
            r->uses->measures |= !names[i].lint;
            r->uses->lints |= names[i].lint;
        }
        r->at += n;
        return ST_OK;
    }
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        if (!str_is(word, functions[i].name))
            continue;
        r->at += n;
        if (!take(r, '('))
            return st_fail(r->e, ST_SYNTAX, "expected ( here"), st_at(r->e, (int)r->at, 1);
        enum st st = sum(r, out);
        *out = st ? 0 : functions[i].fn(*out);
        if (!st && !take(r, ')'))
            return st_fail(r->e, ST_SYNTAX, "expected ) here"), st_at(r->e, (int)r->at, 1);
        return st;
    }
    st_fail(r->e, ST_NOTFOUND, "there is no figure `%.*s`", (int)(n > 40 ? 40 : n), word.p);
    st_hint(r->e, "kl, top1, logratio, ppl, ref_ppl, lint_errors, lint_warnings");
    return st_at(r->e, (int)r->at, (int)n);
}

static enum st atom(struct reader *r, double *out)
{
    blanks(r);
    const char c = r->at < r->text.n ? r->text.p[r->at] : '\0';
    enum st st;
    if (c == '(' || c == '-') {
        r->at++;
        if (++r->depth > MAX_DEPTH)
            return st_fail(r->e, ST_SYNTAX, "the expression is nested too deeply");
        st = c == '-' ? atom(r, out) : sum(r, out);
        r->depth--;
        if (!st && c == '(' && !take(r, ')'))
            return st_fail(r->e, ST_SYNTAX, "expected ) here"), st_at(r->e, (int)r->at, 1);
        if (c == '-')
            *out = -*out;
        return st;
    }
    if (isalpha((unsigned char)c))
        return name(r, out);
    const size_t n = span_of(r, in_number);
    if (!n)
        return st_fail(r->e, ST_SYNTAX, "expected a figure or a number"),
               st_at(r->e, (int)r->at, 1);
    st = parse_f64(str_of(r->text.p + r->at, n), out, r->e);
    if (st)
        return st_at(r->e, (int)r->at, (int)n);
    r->at += n;
    return ST_OK;
}

static enum st product(struct reader *r, double *out)
{
    double x = 0;
    enum st st = atom(r, out);
    while (!st) {
        const bool times = take(r, '*');
        if (!times && !take(r, '/'))
            break;
        st = atom(r, &x);
        *out = times ? *out * x : *out / x;
    }
    return st;
}

static enum st sum(struct reader *r, double *out)
{
    double x = 0;
    if (++r->depth > MAX_DEPTH)
        return st_fail(r->e, ST_SYNTAX, "the expression is nested too deeply");
    enum st st = product(r, out);
    while (!st) {
        const bool plus = take(r, '+');
        if (!plus && !take(r, '-'))
            break;
        st = product(r, &x);
        *out = plus ? *out + x : *out - x;
    }
    r->depth--;
    return st;
}

static enum st worth(struct str text, const struct figures *f, struct comparison *uses, double *out,
                     struct err *e)
{
    struct reader r = { .text = text, .figures = f, .uses = uses, .e = e };
    enum st st = sum(&r, out);
    blanks(&r);
    if (!st && r.at < text.n) {
        st = st_fail(e, ST_SYNTAX, "unexpected text after the expression");
        st_at(e, (int)r.at, (int)(text.n - r.at));
    }
    return st;
}

enum st comparison_parse(struct str text, struct comparison *out, struct err *e)
{
    const struct figures none = { 0 };
    struct comparison c = { 0 };
    size_t at = 0, from;
    double x;
    while (at < text.n && text.p[at] != '<' && text.p[at] != '>')
        at++;
    if (at == text.n) {
        st_fail(e, ST_SYNTAX, "expected `lint` or a comparison");
        st_hint(e, "check 'kl < 0.02' 'top1 > 0.95' lint");
        return st_at(e, 0, (int)text.n);
    }
    c.less = text.p[at] == '<';
    c.equal = at + 1 < text.n && text.p[at + 1] == '=';
    from = at + 1 + c.equal;
    c.left = str_of(text.p, at);
    c.right = str_of(text.p + from, text.n - from);
    enum st st = worth(c.left, &none, &c, &x, e);
    if (!st && (st = worth(c.right, &none, &c, &x, e)) && e && e->column >= 0)
        e->column += (int)from;
    if (!st)
        *out = c;
    return st;
}

/* The figures of the segments but one (-1: of all). */
static struct figures figures_but(const struct measurement *m, int64_t but,
                                  const struct figures *fixed)
{
    struct figures f = *fixed;
    struct segment_sums s = { 0 };
    double n = 0;
    for (int64_t i = 0; m && i < m->segments; i++) {
        if (i == but)
            continue;
        s.kl += m->sums[i].kl;
        s.top1 += m->sums[i].top1;
        s.log_ratio += m->sums[i].log_ratio;
        s.nll += m->sums[i].nll;
        s.ref_nll += m->sums[i].ref_nll;
        n += (double)m->scored;
    }
    if (!m)
        return f;
    f.kl = s.kl / n;
    f.top1 = s.top1 / n;
    f.log_ratio = s.log_ratio / n;
    f.ppl = exp(s.nll / n);
    f.ref_ppl = exp(s.ref_nll / n);
    return f;
}

static double difference(const struct comparison *c, const struct figures *f, double *left,
                         double *right)
{
    *left = *right = NAN;
    if (worth(c->left, f, NULL, left, NULL) || worth(c->right, f, NULL, right, NULL))
        return NAN;
    return *left - *right;
}

static enum verdict verdict_of(const struct comparison *c, double low, double high)
{
    if (isnan(low) || isnan(high))
        return VERDICT_UNDECIDED;
    if (!c->less) { /* left > right is right < left */
        const double t = low;
        low = -high;
        high = -t;
    }
    if (high < 0 || (c->equal && high <= 0))
        return VERDICT_HOLDS;
    return low > 0 || (!c->equal && low >= 0) ? VERDICT_FAILS : VERDICT_UNDECIDED;
}

/* Widen an interval by what top1 may be where all tokens agree, or none does. */
static void at_an_end(const struct comparison *c, const struct measurement *m,
                      const struct figures *whole, double *low, double *high)
{
    const struct clustered_mean top1 = measurement_top1(m);
    struct figures f = *whole;
    double left, right;
    if (top1.value > 0 && top1.value < 1)
        return;
    f.top1 = top1.value > 0 ? top1.low : top1.high;
    const double end = difference(c, &f, &left, &right);
    if (end < *low)
        *low = end;
    if (end > *high)
        *high = end;
}

static void interval(const struct comparison *c, const struct measurement *m,
                     const struct figures *fixed, double all, double *low, double *high)
{
    const int64_t n = m->segments;
    const struct figures whole = figures_but(m, -1, fixed);
    double *pseudo = x_alloc((size_t)n * sizeof *pseudo + 1), left, right;
    int64_t *ones = x_alloc((size_t)n * sizeof *ones + 1);
    for (int64_t i = 0; i < n && n >= MIN_CLUSTERS; i++) {
        const struct figures f = figures_but(m, i, fixed);
        pseudo[i] = (double)n * all - (double)(n - 1) * difference(c, &f, &left, &right);
        ones[i] = 1;
    }
    const struct clustered_mean mean = m->part.anytime ? anytime_mean_of(pseudo, ones, (size_t)n)
                                                       : clustered_mean_of(pseudo, ones, (size_t)n);
    difference(c, &whole, &left, &right);
    /* pseudo-values that are all the same differ by rounding */
    const double rounding = 1e-14 * (double)n * (fabs(left) + fabs(right));
    *low = mean.low > all - rounding ? all : mean.low;
    *high = mean.high < all + rounding ? all : mean.high;
    at_an_end(c, m, &whole, low, high);
    free(pseudo);
    free(ones);
}

/* A kl below the floor is anything from 0 to it. */
static bool take_in_floor(const struct comparison *c, const struct figures *whole, double floor,
                          double all, double *low, double *high)
{
    struct figures f = *whole;
    const double ends[] = { 0, floor };
    double left, right;
    bool depends = false;
    for (int i = 0; i < 2; i++) {
        f.kl = ends[i];
        const double end = difference(c, &f, &left, &right);
        depends |= !(end == all);
        if (!isnan(*low) && !(end >= *low))
            *low = isnan(end) ? -INFINITY : end;
        if (!isnan(*high) && !(end <= *high))
            *high = isnan(end) ? INFINITY : end;
    }
    return depends;
}

void comparison_of(const struct comparison *c, const struct measurement *m,
                   const struct figures *fixed, double floor, struct compared *out)
{
    const struct figures f = figures_but(m, -1, fixed);
    const double all = difference(c, &f, &out->left, &out->right);
    double low = all, high = all;
    if (c->measures && m)
        interval(c, m, fixed, all, &low, &high);
    else if (c->measures)
        low = high = NAN;
    out->below_floor = c->measures && f.kl < floor
                       && take_in_floor(c, &f, floor, all, &low, &high);
    /* the same but for rounding, which the ends at a kl of 0 should not have */
    out->low = out->below_floor ? low + out->right : out->left + (low - all);
    out->high = out->below_floor ? high + out->right : out->left + (high - all);
    out->verdict = verdict_of(c, low, high);
    if (c->measures && m && m->broken.tokens[1])
        out->verdict = VERDICT_FAILS;
}
