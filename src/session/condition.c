/* SPDX-License-Identifier: MIT */
/* The parser of conditions. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/statistics.h"
#include "session/condition_parts.h"

enum { MAX_DEPTH = 40, MAX_PARTS = 200, MAX_NAME = 24 };

static const struct test {
    const char *name;
    enum part_kind kind;
    bool takes;             /* a parameter in parentheses */
    double otherwise, most; /* of the parameter */
} tests[] = {
    { "nan", PART_NAN, false, 0, 0 },
    { "inf", PART_INF, false, 0, 0 },
    { "finite", PART_FINITE, false, 0, 0 },
    { "dead", PART_DEAD, false, 0, 0 },
    { "outlier", PART_OUTLIER, true, 20, HUGE_VAL },
    { "sat", PART_SAT, true, 0.01, 1 },
    { "sink", PART_SINK, true, 0.8, 1 },
    { "diverge", PART_DIVERGE, true, 0.25, HUGE_VAL },
};
static const struct {
    const char *name;
    enum part_kind kind;
} quantifiers[] = {
    { "any", PART_ANY }, { "all", PART_ALL }, { "count", PART_COUNT }, { "frac", PART_FRAC }
};
enum {
    N_TESTS = sizeof tests / sizeof *tests,
    N_QUANTIFIERS = sizeof quantifiers / sizeof *quantifiers
};

struct parser {
    struct condition *c;
    struct str text;
    size_t at;
    int depth;
    struct err *e;
};

/* Every rule gives back the number of its part, or -1 after an error. */
typedef int rule(struct parser *p);
static rule condition, element, sum;

static int fail(struct parser *p, size_t from, size_t n, const char *what)
{
    st_fail(p->e, ST_SYNTAX, "%s", what);
    st_at(p->e, (int)from, n ? (int)n : 1);
    return -1;
}

static int part(struct parser *p, enum part_kind kind, int a, int b)
{
    if (p->c->n >= MAX_PARTS)
        return fail(p, 0, p->text.n, "the condition is too long");
    x_grow(&p->c->parts, &p->c->cap, p->c->n + 1, sizeof *p->c->parts);
    p->c->parts[p->c->n] = (struct part){ .kind = kind, .a = a, .b = b };
    return (int)p->c->n++;
}

static void blanks(struct parser *p)
{
    while (p->at < p->text.n && isspace((unsigned char)p->text.p[p->at]))
        p->at++;
}

static bool take(struct parser *p, const char *symbol)
{
    const size_t n = strlen(symbol);
    blanks(p);
    if (p->text.n - p->at < n || memcmp(p->text.p + p->at, symbol, n))
        return false;
    p->at += n;
    return true;
}

/* The word that begins here, not taken yet; empty if none does. */
static struct str word(struct parser *p)
{
    blanks(p);
    size_t n = 0;
    while (p->at + n < p->text.n
           && (isalpha((unsigned char)p->text.p[p->at + n]) || p->text.p[p->at + n] == '_'
               || (n && isdigit((unsigned char)p->text.p[p->at + n]))))
        n++;
    return str_of(p->text.p + p->at, n);
}

static bool take_word(struct parser *p, const char *name)
{
    const struct str w = word(p);
    if (!str_is(w, name))
        return false;
    p->at += w.n;
    return true;
}

static bool take_compare(struct parser *p, enum compare *out)
{
    static const struct {
        const char *symbol;
        enum compare compare;
    } symbols[] = { { "<=", CMP_LE }, { ">=", CMP_GE }, { "==", CMP_EQ }, { "!=", CMP_NE },
                    { "<", CMP_LT },  { ">", CMP_GT },  { "=", CMP_EQ } };
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++)
        if (take(p, symbols[i].symbol)) {
            *out = symbols[i].compare;
            return true;
        }
    return false;
}

static bool starts_number(const struct parser *p)
{
    const char c = p->at < p->text.n ? p->text.p[p->at] : '\0';
    return isdigit((unsigned char)c) || c == '.';
}

static bool number(struct parser *p, double *out)
{
    blanks(p);
    const size_t from = p->at;
    if (p->at < p->text.n && (p->text.p[p->at] == '-' || p->text.p[p->at] == '+'))
        p->at++;
    while (starts_number(p)
           || (p->at > from && p->at + 1 < p->text.n && tolower(p->text.p[p->at]) == 'e'
               && (isdigit((unsigned char)p->text.p[p->at + 1])
                   || strchr("+-", p->text.p[p->at + 1]))))
        p->at += tolower(p->text.p[p->at]) == 'e' ? 2 : 1;
    if (p->at == from)
        return fail(p, from, 1, "expected a number"), false;
    if (parse_f64(str_of(p->text.p + from, p->at - from), out, p->e))
        return st_at(p->e, (int)from, (int)(p->at - from)), false;
    return true;
}

static int enter(struct parser *p, rule *inner)
{
    if (p->depth >= MAX_DEPTH)
        return fail(p, p->at, 1, "the condition is nested too deep");
    p->depth++;
    const int i = inner(p);
    p->depth--;
    return i;
}

static int in_parentheses(struct parser *p, size_t open, rule *inner)
{
    const int i = enter(p, inner);
    if (i < 0 || take(p, ")"))
        return i;
    return p->at < p->text.n ? fail(p, p->at, 1, "expected `)` or an operator")
                             : fail(p, open, 1, "`(` without its `)`");
}

/* ---- of one element ---- */

/* Names that stand for one number of the whole array. */
static const char *of_all(struct str name)
{
    if (str_is(name, "sigma"))
        return "sd";
    static const char *const names[] = { "sd", "mean", "rms", "absmax", "min", "max" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_is(name, names[i]))
            return names[i];
    return NULL;
}

static int element_word(struct parser *p)
{
    static const struct {
        const char *name;
        enum part_kind kind;
    } functions[] = {
        { "abs", PART_ABS }, { "log", PART_LOG }, { "exp", PART_EXP }, { "sqrt", PART_SQRT }
    };
    const struct str w = word(p);
    const size_t from = p->at;
    p->at += w.n;
    if (str_is(w, "x"))
        return part(p, PART_X, -1, -1);
    if (str_is(w, "ref")) {
        p->c->ref = true;
        return part(p, PART_REF, -1, -1);
    }
    if (str_is(w, "prev")) {
        p->c->prev = true;
        return part(p, PART_PREV, -1, -1);
    }
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (str_is(w, functions[i].name)) {
            const size_t open = p->at;
            if (!take(p, "("))
                return fail(p, open, 1, "expected `(`");
            const int a = in_parentheses(p, open, sum);
            return a < 0 ? a : part(p, functions[i].kind, a, -1);
        }
    const char *all = of_all(w);
    if (!all) {
        fail(p, from, w.n, "an element is made of x, ref, prev and numbers of the whole array");
        st_hint(p->e, "sigma mean rms absmax min max; abs log exp sqrt; any(abs(x) > 20*sigma)");
        return -1;
    }
    const int i = part(p, PART_OF_ALL, -1, -1);
    if (i >= 0)
        p->c->parts[i].name = all;
    return i;
}

static int atom(struct parser *p)
{
    blanks(p);
    const size_t from = p->at;
    if (take(p, "-")) {
        const int a = enter(p, atom);
        return a < 0 ? a : part(p, PART_NEG, a, -1);
    }
    if (take(p, "("))
        return in_parentheses(p, from, element);
    if (take(p, "|")) {
        const int a = enter(p, sum);
        if (a >= 0 && !take(p, "|"))
            return fail(p, from, 1, "`|` without its second `|`");
        return a < 0 ? a : part(p, PART_ABS, a, -1);
    }
    if (!starts_number(p))
        return word(p).n ? element_word(p) : fail(p, from, 1, "an operand is missing");
    double x;
    if (!number(p, &x))
        return -1;
    const int i = part(p, PART_NUMBER, -1, -1);
    if (i >= 0)
        p->c->parts[i].number = x;
    const struct str next = word(p); /* 20 sigma */
    if (i < 0 || !next.n || str_is(next, "and") || str_is(next, "or"))
        return i;
    const int b = element_word(p);
    return b < 0 ? b : part(p, PART_MUL, i, b);
}

static int product(struct parser *p)
{
    int a = atom(p);
    while (a >= 0) {
        const enum part_kind kind = take(p, "*") ? PART_MUL : take(p, "/") ? PART_DIV : PART_X;
        if (kind == PART_X)
            return a;
        const int b = atom(p);
        a = b < 0 ? b : part(p, kind, a, b);
    }
    return a;
}

static int sum(struct parser *p)
{
    int a = product(p);
    while (a >= 0) {
        const enum part_kind kind = take(p, "+") ? PART_ADD : take(p, "-") ? PART_SUB : PART_X;
        if (kind == PART_X)
            return a;
        const int b = product(p);
        a = b < 0 ? b : part(p, kind, a, b);
    }
    return a;
}

static int comparison(struct parser *p)
{
    enum compare compare;
    if (take_word(p, "not") || (!take(p, "!=") && take(p, "!"))) {
        const int a = enter(p, comparison);
        return a < 0 ? a : part(p, PART_NOT, a, -1);
    }
    const int a = sum(p);
    if (a < 0 || !take_compare(p, &compare))
        return a;
    const int b = sum(p), i = b < 0 ? b : part(p, PART_COMPARE, a, b);
    if (i >= 0)
        p->c->parts[i].compare = compare;
    return i;
}

/* A chain of `op` between parts of the rule `inner`. */
static int chain(struct parser *p, rule *inner, enum part_kind kind)
{
    int a = inner(p);
    while (a >= 0
           && (kind == PART_AND ? take_word(p, "and") || take(p, "&&")
                                : take_word(p, "or") || take(p, "||"))) {
        const int b = inner(p);
        a = b < 0 ? b : part(p, kind, a, b);
    }
    return a;
}

static int element_and(struct parser *p) { return chain(p, comparison, PART_AND); }
static int element(struct parser *p) { return chain(p, element_and, PART_OR); }

/* ---- of the whole array ---- */

static bool is_truth(const struct condition *c, int i) { return c->parts[i].kind <= PART_COMPARE; }

static int compared(struct parser *p, int a, size_t from)
{
    enum compare compare;
    double x;
    if (a < 0)
        return a;
    if (!take_compare(p, &compare))
        return fail(p, from, p->at - from, "expected a comparison: < <= == != >= >");
    if (!number(p, &x))
        return -1;
    const int i = part(p, PART_COMPARE, a, -1);
    if (i >= 0) {
        p->c->parts[i].compare = compare;
        p->c->parts[i].number = x;
    }
    return i;
}

static int quantified(struct parser *p, enum part_kind kind, size_t from)
{
    const size_t open = p->at;
    /* Without parentheses the element reaches to the end of its comparison: any |x| > 20 sigma. */
    const int a = take(p, "(") ? in_parentheses(p, open, element) : comparison(p);
    if (a < 0)
        return a;
    if (!is_truth(p->c, a)) {
        fail(p, open, p->at - open, "expected something true or false of each element");
        st_hint(p->e, "any(abs(x) > 20*sigma), frac(x == 0) > 0.5");
        return -1;
    }
    const int i = part(p, kind, a, -1);
    return kind == PART_COUNT || kind == PART_FRAC ? compared(p, i, from) : i;
}

/* The parameter of a test, in parentheses, or what it is without. */
static int parameter(struct parser *p, const struct test *t)
{
    const size_t open = p->at;
    double x = t->otherwise;
    if (t->takes && take(p, "(")) {
        if (!number(p, &x))
            return -1;
        if (!take(p, ")"))
            return fail(p, open, 1, "`(` without its `)`");
        if (x < 0)
            return fail(p, open, p->at - open, "the parameter must not be negative");
        if (x >= t->most)
            return fail(p, open, p->at - open, "never true: the share is at most 1");
    }
    const int i = part(p, t->kind, -1, -1);
    if (i >= 0)
        p->c->parts[i].number = x;
    p->c->ref |= t->kind == PART_DIVERGE;
    return i;
}

/* Can the statistic be compared with a number in a condition? */
static bool compared_with_number(const struct statistic *t)
{
    return t->kind != STATISTIC_PREDICATE && t->kind != STATISTIC_CHANNELS
           && t->kind != STATISTIC_CODES
           && (t->kind != STATISTIC_PREDICTION || !strcmp(t->name, "kl"));
}

size_t condition_words(void) { return N_TESTS + N_QUANTIFIERS + statistic_count(); }

const char *condition_word(size_t i, bool *opens)
{
    *opens = i < N_TESTS ? tests[i].takes : i < N_TESTS + N_QUANTIFIERS;
    if (i < N_TESTS)
        return tests[i].name;
    if (i < N_TESTS + N_QUANTIFIERS)
        return quantifiers[i - N_TESTS].name;
    const struct statistic *t = statistic_at(i - N_TESTS - N_QUANTIFIERS);
    return compared_with_number(t) ? t->name : NULL;
}

static const char *word_at(const void *data, size_t i)
{
    bool opens;
    (void)data;
    return condition_word(i, &opens);
}

static int unknown(struct parser *p, size_t from, struct str name)
{
    struct buf hint = { 0 };
    suggest(name, word_at, NULL, condition_words(), &hint);
    fail(p, from, name.n, "no such statistic or test");
    st_hint(p->e, "%s",
            hint.n ? buf_str(&hint)
                   : "`help catch` lists them: nan, absmax > 100, any(abs(x) > 20*sigma)");
    buf_free(&hint);
    return -1;
}

static int statistic(struct parser *p, struct str w, size_t from)
{
    char name[MAX_NAME] = "";
    if (w.n < sizeof name)
        memcpy(name, w.p, w.n);
    const struct statistic *t = statistic_find(str_is(w, "sigma") ? "sd" : name);
    if (!t || !compared_with_number(t))
        return unknown(p, from, w);
    const bool pair = t->kind == STATISTIC_PAIR || !strcmp(t->name, "kl");
    const size_t open = p->at;
    if (take(p, "(")) {
        bool good = pair ? take_word(p, "ref") && (!take(p, ",") || take_word(p, "x"))
                         : take_word(p, "x");
        if (!good || !take(p, ")"))
            return fail(p, open, 1, pair ? "expected (ref) or (ref, x)" : "expected (x)");
    }
    const int i = part(p, pair ? PART_PAIR : PART_STAT, -1, -1);
    if (i >= 0)
        p->c->parts[i].name = t->name;
    p->c->ref |= pair;
    return compared(p, i, from);
}

/* Does a comparison, or a parenthesis with a name, follow? Then a test's name is a statistic's. */
static bool compares(struct parser p)
{
    enum compare compare;
    struct err none = ERR_INIT;
    p.e = &none;
    if (take(&p, "(") && (!take_word(&p, "x") || !take(&p, ")")))
        return false;
    return take_compare(&p, &compare);
}

static int test(struct parser *p)
{
    const struct str w = word(p);
    const size_t from = p->at;
    if (!w.n)
        return fail(p, from, 1, "expected a test such as nan, absmax > 100 or any(x > 3)");
    p->at += w.n;
    for (size_t i = 0; i < N_QUANTIFIERS; i++)
        if (str_is(w, quantifiers[i].name))
            return quantified(p, quantifiers[i].kind, from);
    for (size_t i = 0; i < N_TESTS && !compares(*p); i++)
        if (str_is(w, tests[i].name))
            return parameter(p, &tests[i]);
    return statistic(p, w, from);
}

static int negation(struct parser *p)
{
    if (take_word(p, "not") || take(p, "!")) {
        const int a = enter(p, negation);
        return a < 0 ? a : part(p, PART_NOT, a, -1);
    }
    blanks(p);
    const size_t open = p->at;
    return take(p, "(") ? in_parentheses(p, open, condition) : test(p);
}

static int conjunction(struct parser *p) { return chain(p, negation, PART_AND); }
static int condition(struct parser *p) { return chain(p, conjunction, PART_OR); }

enum st condition_parse(struct str text, struct condition **out, struct err *e)
{
    struct err none = ERR_INIT;
    struct condition *c = x_alloc(sizeof *c);
    *c = (struct condition){ .text = x_strndup(text.p, text.n) };
    struct parser p = { c, text, 0, 0, e ? e : &none };
    c->root = condition(&p);
    blanks(&p);
    if (c->root >= 0 && p.at < text.n)
        c->root = fail(&p, p.at, text.n - p.at, "expected `and`, `or` or the end");
    if (c->root < 0) {
        condition_free(c);
        return p.e->st;
    }
    *out = c;
    return ST_OK;
}

void condition_free(struct condition *c)
{
    if (!c)
        return;
    free(c->text);
    free(c->parts);
    free(c);
}

const char *condition_text(const struct condition *c) { return c->text; }
bool condition_needs_ref(const struct condition *c) { return c->ref; }
bool condition_needs_prev(const struct condition *c) { return c->prev; }
