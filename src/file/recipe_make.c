/* SPDX-License-Identifier: MIT */
/* Recipes that qdb writes. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "file/recipe.h"

/* A name of a block's tensor as what stands before the number of the block, the number, and what
 * stands after it: "blk." 3 ".attn_q.weight". Others are all before, without a number. */
struct parts {
    struct str before, number, after;
};

static struct parts parts_of(struct str name)
{
    static const char blk[] = "blk.";
    struct parts p = { .before = name };
    size_t i = sizeof blk - 1;
    if (!str_starts(name, blk))
        return p;
    while (i < name.n && name.p[i] >= '0' && name.p[i] <= '9')
        i++;
    if (i == sizeof blk - 1 || i == name.n || name.p[i] != '.')
        return p;
    p.before.n = sizeof blk - 1;
    p.number = str_of(name.p + p.before.n, i - p.before.n);
    p.after = str_of(name.p + i, name.n - i);
    return p;
}

/* Text that matches itself. Letters in upper case would be read in lower case by some: any
 * character matches there, and the proof says whether that is still exact. */
static void put_literal(struct buf *b, struct str s, enum recipe_kind kind)
{
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        const bool upper = c >= 'A' && c <= 'Z' && kind == RECIPE_QUANTIZE;
        const bool odd = (unsigned char)c <= ' ' || c == ',' || c == '=' || c == '#';
        if (upper || odd)
            buf_addc(b, '.'); /* these part rules */
        else {
            if (strchr("\\^$.|?*+()[]{}/-", c))
                buf_addc(b, '\\');
            buf_addc(b, c);
        }
    }
}

static bool same_kind(const struct recipe_tensor *a, const struct recipe_tensor *b)
{
    const struct parts x = parts_of(a->name), y = parts_of(b->name);
    return a->format == b->format && x.number.n && y.number.n && str_eq(x.after, y.after);
}

/* Does any tensor of the same role have another format? */
static bool role_differs(const struct recipe_tensor *list, size_t n, const struct str *others,
                         size_t n_others, size_t i)
{
    const struct parts x = parts_of(list[i].name);
    for (size_t k = 0; k < n; k++) {
        const struct parts y = parts_of(list[k].name);
        if (y.number.n && str_eq(x.after, y.after) && list[k].format != list[i].format)
            return true;
    }
    for (size_t k = 0; k < n_others; k++) {
        const struct parts y = parts_of(others[k]);
        if (y.number.n && str_eq(x.after, y.after))
            return true;
    }
    return false;
}

/* The rule of tensor i and of all of its kind behind it, which are then `done`. */
static void put_rule(const struct recipe_tensor *list, size_t n, const struct str *others,
                     size_t n_others, size_t i, bool *done, enum recipe_kind kind, struct buf *out)
{
    const struct parts p = parts_of(list[i].name);
    buf_addc(out, '^');
    put_literal(out, p.before, kind);
    /* Thireus's tools expand the ranges of digits in a pattern one by one */
    if (p.number.n && kind != RECIPE_THIREUS && !role_differs(list, n, others, n_others, i))
        buf_adds(out, "[0-9]+");
    else if (p.number.n)
        buf_addc(out, '(');
    const bool numbers = p.number.n && out->p[out->n - 1] == '(';
    for (size_t k = i; k < n; k++) {
        if (k != i && (done[k] || !same_kind(&list[i], &list[k])))
            continue;
        done[k] = true;
        const struct parts q = parts_of(list[k].name);
        if (numbers) {
            buf_adds(out, k == i ? "" : "|");
            buf_add(out, q.number.p, q.number.n);
        }
    }
    if (numbers)
        buf_addc(out, ')');
    put_literal(out, p.after, kind);
    buf_adds(out, "$=");
    buf_adds(out, recipe_type_name(kind, list[i].format));
}

/* Expand what was written over all names. */
static enum st prove(const struct recipe_tensor *list, size_t n, const struct str *others,
                     size_t n_others, enum recipe_kind kind, struct str text, struct err *e)
{
    struct recipe *r;
    enum st st = recipe_parse(text, "the recipe", &kind, &r, e);
    if (st)
        return st;
    for (size_t i = 0; i < n + n_others && !st; i++) {
        const struct str name = i < n ? list[i].name : others[i - n];
        size_t hits = 0, last = 0;
        for (size_t k = 0; k < r->n && !st; k++) {
            bool hit = false;
            st = recipe_matches(r, k, name, &hit, e);
            hits += hit;
            last = hit ? k : last;
        }
        const bool right = i < n ? hits == 1 && r->list[last].format == list[i].format : !hits;
        if (!st && !right)
            st = st_fail(e, ST_UNSUPPORTED,
                         "no recipe of this kind tells %.*s from the other tensors", (int)name.n,
                         name.p);
    }
    recipe_free(r);
    return st;
}

static enum st no_such_type(const struct recipe_tensor *t, enum recipe_kind kind, struct err *e)
{
    st_fail(e, ST_UNSUPPORTED, "recipes for %s have no %s, which %.*s is in",
            recipe_kind_name(kind), format_info(t->format)->name, (int)t->name.n, t->name.p);
    return st_hint(e, "those for %s do",
                   recipe_kind_name(kind == RECIPE_QUANTIZE ? RECIPE_IK : RECIPE_QUANTIZE));
}

enum st recipe_make(const struct recipe_tensor *list, size_t n, const struct str *others,
                    size_t n_others, enum recipe_kind kind, struct buf *out, struct err *e)
{
    const size_t start = out->n;
    for (size_t i = 0; i < n; i++)
        if (!recipe_type_name(kind, list[i].format))
            return no_such_type(&list[i], kind, e);
    bool *done = x_alloc(n + 1);
    for (size_t i = 0; i < n; i++) {
        if (done[i])
            continue;
        if (out->n > start)
            buf_addc(out, kind == RECIPE_IK ? ',' : '\n');
        put_rule(list, n, others, n_others, i, done, kind, out);
    }
    if (out->n > start)
        buf_addc(out, '\n');
    free(done);
    enum st st = n ? prove(list, n, others, n_others, kind, str_of(out->p + start, out->n - start),
                           e)
                   : st_fail(e, ST_STATE, "there is no tensor that a recipe could name");
    if (st)
        out->n = start;
    return st;
}
