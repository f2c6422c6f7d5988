/* SPDX-License-Identifier: MIT */
#include "file/recipe.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/memory.h"

enum {
    MOST_STEPS = 100000, /* of one match: names are short, so only bad patterns need more */
    MOST_HEAP = 1024,    /* KiB */
    MOST_PATTERN = 1 << 16,
    MOST_RULES = 1 << 16,
};

static const char *const kinds[RECIPE__COUNT] = {
    [RECIPE_QUANTIZE] = "llama-quantize", [RECIPE_IK] = "ik", [RECIPE_THIREUS] = "thireus"
};

const char *recipe_kind_name(enum recipe_kind kind) { return kinds[kind]; }

bool recipe_kind_find(struct str name, enum recipe_kind *out)
{
    for (int i = 0; i < RECIPE__COUNT; i++)
        if (str_is(name, kinds[i])) {
            *out = (enum recipe_kind)i;
            return true;
        }
    return false;
}

/* What ik_llama.cpp, whose types Thireus's tools take over, spells otherwise or does not have. */
static const struct {
    const char *name, *spelled;
} of_ik[] = {
    { "q2_k", "q2_K" },         { "q3_k", "q3_K" },      { "q4_k", "q4_K" },
    { "q5_k", "q5_K" },         { "q6_k", "q6_K" },      { "q8_k", "q8_K" },
    { "q8_k16", "q8_K16" },     { "q8_k32", "q8_K32" },  { "q8_k64", "q8_K64" },
    { "q8_k128", "q8_K128" },   { "q8_kr8", "q8_KR8" },  { "q8_kv", "q8_KV" },
    { "q8_kv_r8", "q8_KV_r8" }, { "q1_0", "q1_0_g128" }, { "q2_0", NULL },
    { "tq1_0", NULL },          { "tq2_0", NULL },       { "nvfp4", NULL },
};
enum { N_OF_IK = sizeof of_ik / sizeof *of_ik, FIRST_ID_OF_IK = 97 };

const char *recipe_type_name(enum recipe_kind kind, enum format f)
{
    const struct format_info *info = format_info(f);
    if (kind == RECIPE_QUANTIZE)
        return info->id < FIRST_ID_OF_IK ? info->name : NULL;
    for (size_t i = 0; i < N_OF_IK; i++)
        if (!strcmp(of_ik[i].name, info->name))
            return of_ik[i].spelled;
    return info->name;
}

static enum format type_of(const char *name)
{
    for (size_t i = 0; i < N_OF_IK; i++)
        if (of_ik[i].spelled && !strcmp(of_ik[i].spelled, name))
            return format_by_name(of_ik[i].name);
    return format_by_name(name);
}

/* ---- parsing ---- */

/* A piece of the text that is a rule, or should be. */
struct rule_text {
    struct str text;
    int line;
};

struct parser {
    struct str text;
    size_t at;
    int line;
    const char *name; /* of the file */
    struct recipe *r;
    struct err *e;
};

static enum st fail(const struct parser *p, int line, const char *fact, struct str of)
{
    struct buf shown = { 0 };
    const size_t most = of.n < 60 ? of.n : 60;
    for (size_t at = 0; at < most; at++) /* patterns are full of backslashes: they stay single */
        if (of.p[at] == '\\')
            buf_addc(&shown, '\\');
        else {
            size_t n = 1;
            while (at + n < most && of.p[at + n] != '\\')
                n++;
            buf_visible(&shown, str_of(of.p + at, n));
            at += n - 1;
        }
    st_fail(p->e, ST_FORMAT, "line %d: %s: %s", line, fact, buf_str(&shown));
    st_where(p->e, "%s", p->name);
    buf_free(&shown);
    return ST_FORMAT;
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/* The next word, comments passed over; false at the end. */
static bool next_word(struct parser *p, struct rule_text *out)
{
    const struct str t = p->text;
    for (; p->at < t.n; p->at++) {
        if (t.p[p->at] == '\n')
            p->line++;
        else if (t.p[p->at] == '#') {
            while (p->at + 1 < t.n && t.p[p->at + 1] != '\n')
                p->at++;
        } else if (!is_blank(t.p[p->at]))
            break;
    }
    const size_t start = p->at;
    while (p->at < t.n && !is_blank(t.p[p->at]))
        p->at++;
    *out = (struct rule_text){ str_of(t.p + start, p->at - start), p->line };
    return p->at > start;
}

static bool in_type(char c) { return isalnum((unsigned char)c) || c == '_' || c == '.'; }

/* Where the rule at the start of the word ends: at a comma behind `=TYPE`. A comma elsewhere
 * belongs to the pattern. */
static size_t rule_end(struct str w)
{
    for (size_t i = 0; i < w.n; i++) {
        if (w.p[i] != ',')
            continue;
        size_t type = i;
        while (type && in_type(w.p[type - 1]))
            type--;
        if (type < i && type && w.p[type - 1] == '=')
            return i;
    }
    return w.n;
}

static enum st compile(const struct parser *p, struct recipe_rule *rule, struct str pattern)
{
    int code;
    PCRE2_SIZE at;
    char *text = x_strndup(pattern.p, pattern.n);
    for (char *c = text; p->r->kind == RECIPE_QUANTIZE && *c; c++)
        *c = (char)tolower((unsigned char)*c);
    /* as ECMAScript reads it: $ is the very end, \u and \x are of JavaScript */
    rule->compiled = pcre2_compile((PCRE2_SPTR)text, pattern.n,
                                   PCRE2_DOLLAR_ENDONLY | PCRE2_ALT_BSUX | PCRE2_NEVER_BACKSLASH_C
                                       | PCRE2_MATCH_UNSET_BACKREF,
                                   &code, &at, NULL);
    free(text);
    if (rule->compiled)
        return ST_OK;
    char why[160];
    pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
    fail(p, rule->line, "not a regular expression", pattern);
    return st_hint(p->e, "%s, at character %zu", why, (size_t)at + 1);
}

/* A type of the file formats that these programs do not have: another one's recipe? */
static enum st no_such_type(const struct parser *p, int line, struct str type, enum format f)
{
    char fact[64];
    int other = 0;
    while (other + 1 < RECIPE__COUNT && !recipe_type_name((enum recipe_kind)other, f))
        other++;
    snprintf(fact, sizeof fact, "recipes for %s have no type", recipe_kind_name(p->r->kind));
    fail(p, line, fact, type);
    return st_hint(p->e, "those for %s do: `for %s` reads them",
                   recipe_kind_name((enum recipe_kind)other),
                   recipe_kind_name((enum recipe_kind)other));
}

static enum format rule_format(struct str type)
{
    char name[24];
    if (type.n >= sizeof name)
        return FORMAT_NONE;
    snprintf(name, sizeof name, "%.*s", (int)type.n, type.p);
    return type_of(name);
}

static enum st add_rule(struct parser *p, struct str text, int line)
{
    const char *equal = memchr(text.p, '=', text.n);
    if (!equal)
        return fail(p, line, "expected PATTERN=TYPE", text);
    const struct str pattern = str_of(text.p, (size_t)(equal - text.p));
    const struct str type = str_of(equal + 1, text.n - pattern.n - 1);
    if (!pattern.n || pattern.n > MOST_PATTERN || memchr(pattern.p, 0, pattern.n))
        return fail(p, line, pattern.n ? "the pattern is too long, or binary" : "no pattern", text);
    if (p->r->n == MOST_RULES)
        return fail(p, line, "more rules than anybody writes", text);
    const enum format format = rule_format(type);
    if (format == FORMAT_NONE) {
        fail(p, line, "there is no type", type);
        return st_hint(p->e, "types are like q4_k, iq4_xs, f16; a mix (Q4_K_M) is none");
    }
    if (!recipe_type_name(p->r->kind, format))
        return no_such_type(p, line, type, format);
    x_grow(&p->r->list, &p->r->cap, p->r->n + 1, sizeof *p->r->list);
    struct recipe_rule *rule = &p->r->list[p->r->n++];
    *rule = (struct recipe_rule){ .format = format, .line = line };
    rule->pattern = x_strndup(pattern.p, pattern.n);
    return compile(p, rule, pattern);
}

/* Comments are Thireus's; rules in one line with commas are ik_llama.cpp's, and so are types that
 * llama-quantize does not have, which with rules in lines are Thireus's. */
static enum recipe_kind looks_like(struct str text)
{
    struct parser p = { .text = text };
    struct rule_text w;
    size_t rules = 0, foreign = 0;
    if (text.n && memchr(text.p, '#', text.n))
        return RECIPE_THIREUS;
    for (; next_word(&p, &w); rules++) {
        if (rule_end(w.text) < w.text.n)
            return RECIPE_IK;
        size_t type = w.text.n;
        while (type && w.text.p[type - 1] != '=')
            type--;
        const enum format f = rule_format(str_of(w.text.p + type, w.text.n - type));
        foreign += f != FORMAT_NONE && !recipe_type_name(RECIPE_QUANTIZE, f);
    }
    return !foreign ? RECIPE_QUANTIZE : rules > 1 ? RECIPE_THIREUS : RECIPE_IK;
}

enum st recipe_parse(struct str text, const char *name, const enum recipe_kind *kind,
                     struct recipe **out, struct err *e)
{
    struct recipe *r = x_alloc(sizeof *r);
    struct parser p = { .text = text, .line = 1, .name = name, .r = r, .e = e };
    struct rule_text w;
    enum st st = ST_OK;
    r->kind = kind ? *kind : looks_like(text);
    while (!st && next_word(&p, &w))
        while (!st && w.text.n) {
            const size_t end = rule_end(w.text);
            st = add_rule(&p, str_of(w.text.p, end), w.line);
            const size_t used = end < w.text.n ? end + 1 : end;
            w.text = str_of(w.text.p + used, w.text.n - used);
        }
    if (!st && !r->n) {
        st = st_fail(e, ST_FORMAT, "there is no rule in it");
        st_where(e, "%s", name);
    }
    if (st)
        recipe_free(r);
    else
        *out = r;
    return st;
}

void recipe_free(struct recipe *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n; i++) {
        free(r->list[i].pattern);
        pcre2_code_free(r->list[i].compiled);
    }
    free(r->list);
    free(r);
}

/* ---- matching ---- */

enum st recipe_matches(const struct recipe *r, size_t i, struct str name, bool *out, struct err *e)
{
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    int n = PCRE2_ERROR_NOMEMORY;
    if (limits && data) {
        pcre2_set_match_limit(limits, MOST_STEPS);
        pcre2_set_depth_limit(limits, MOST_STEPS);
        pcre2_set_heap_limit(limits, MOST_HEAP);
        n = pcre2_match(r->list[i].compiled, (PCRE2_SPTR)name.p, name.n, 0, 0, data, limits);
    }
    pcre2_match_data_free(data);
    pcre2_match_context_free(limits);
    if (n >= 0 || n == PCRE2_ERROR_NOMATCH) {
        *out = n >= 0;
        return ST_OK;
    }
    return st_fail(e, ST_RANGE, "line %d: matching %.100s takes too many steps", r->list[i].line,
                   r->list[i].pattern);
}

enum st recipe_rule_of(const struct recipe *r, struct str name, int64_t *out, struct err *e)
{
    bool matches = false;
    size_t i = 0;
    enum st st = ST_OK;
    for (; i < r->n && !matches && !st; i++)
        st = recipe_matches(r, i, name, &matches, e);
    if (!st)
        *out = matches ? (int64_t)i - 1 : -1;
    return st;
}
