/* SPDX-License-Identifier: MIT */
#include "command/command.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/argument.h"
#include "command/lex.h"
#include "file/map.h"

static const struct verb *const tables[] = {
    verbs_files,  verbs_input,   verbs_control, verbs_break,  verbs_catch,   verbs_look,
    verbs_change, verbs_analyse, verbs_study,   verbs_ppl,    verbs_compare, verbs_diverge,
    verbs_kl,     verbs_bisect,  verbs_check,   verbs_patch,  verbs_worst,   verbs_qerr,
    verbs_why,    verbs_stream,  verbs_range,   verbs_bench,  verbs_export,  verbs_imatrix,
    verbs_plan,   verbs_quant,   verbs_recipe,  verbs_record, verbs_report,  verbs_support,
};

enum { MAX_ALIAS_DEPTH = 8 };

const struct verb *verb_at(size_t i)
{
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const struct verb *v = tables[t]; v->name; v++)
            if (!i--)
                return v;
    return NULL;
}

size_t verb_count(void)
{
    size_t n = 0;
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const struct verb *v = tables[t]; v->name; v++)
            n++;
    return n;
}

/* Is `name` one of the blank-separated words of `list`? */
static bool in_list(const char *list, struct str name)
{
    for (const char *p = list; p && *p;) {
        size_t n = strcspn(p, " ");
        if (str_eq(str_of(p, n), name))
            return true;
        p += n + (p[n] == ' ');
    }
    return false;
}

static const struct verb *find_exact(struct str name)
{
    const struct verb *v;
    for (size_t i = 0; (v = verb_at(i)); i++)
        if (str_is(name, v->name))
            return v;
    for (size_t i = 0; (v = verb_at(i)); i++)
        if (in_list(v->alias, name))
            return v;
    return NULL;
}

bool verb_is_fixed(struct str name) { return find_exact(name) != NULL; }

/* The only verb that begins with `name`; NULL if there are none or several. */
static const struct verb *find_prefix(struct str name)
{
    const struct verb *v, *found = NULL;
    for (size_t i = 0; (v = verb_at(i)); i++) {
        if ((v->flags & (VERB_EXACT | VERB_HIDDEN)) || !str_begins(name, v->name))
            continue;
        if (found)
            return NULL;
        found = v;
    }
    return found;
}

static const char *verb_name(const void *data, size_t i)
{
    (void)data;
    const struct verb *v = verb_at(i);
    return v->flags & VERB_HIDDEN ? NULL : v->name;
}

enum st verb_find(struct str name, const struct verb **out, struct err *e)
{
    const struct verb *v = find_exact(name);
    if (!v)
        v = find_prefix(name);
    if (v) {
        *out = v;
        return ST_OK;
    }
    int matches = 0;
    for (size_t i = 0; (v = verb_at(i)); i++)
        matches += !(v->flags & (VERB_EXACT | VERB_HIDDEN)) && str_begins(name, v->name);
    int show = (int)(name.n > 40 ? 40 : name.n);
    st_fail(e, ST_NOTFOUND, matches ? "command `%.*s` is ambiguous" : "no command `%.*s`", show,
            name.p);
    struct buf b = { 0 };
    suggest(name, verb_name, NULL, verb_count(), &b);
    if (memchr(name.p, '.', name.n))
        st_hint(e, "`print %.*s` shows a value, `summary` its statistics", show, name.p);
    else
        st_hint(e, "%s", b.n ? buf_str(&b) : "`help` lists the commands");
    buf_free(&b);
    return ST_NOTFOUND;
}

enum st call_fail(const struct call *c, int i, struct err *e, enum st st, const char *fmt, ...)
{
    char msg[sizeof e->msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    st_fail(e, st, "%s", msg);
    if (i < c->n_words)
        return st_at(e, c->words[i].column, c->words[i].length);
    return st_at(e, (int)c->line.n, 1);
}

enum st call_name(const struct call *c, int i, char name[NAME_SIZE], bool *given, struct err *e)
{
    *given = i < c->n_words;
    if (!*given)
        return ST_OK;
    if (!str_is(c->words[i].text, "as") || i + 2 != c->n_words)
        return call_fail(c, i, e, ST_SYNTAX, "expected `as NAME`");
    struct str t = c->words[i + 1].text;
    bool fits = t.n && t.n <= 40;
    for (size_t k = 0; fits && k < t.n; k++)
        fits = (unsigned char)t.p[k] > ' ' && !strchr("!:[]", t.p[k]);
    if (!fits)
        return call_fail(c, i + 1, e, ST_SYNTAX,
                         "a name has 1 to 40 characters, no blank and none of ! : [ ]");
    memcpy(name, t.p, t.n);
    name[t.n] = '\0';
    return ST_OK;
}

enum st confirm(struct session *s, struct err *e, const char *fmt, ...)
{
    char question[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(question, sizeof question, fmt, ap);
    va_end(ap);
    if (!s->front || !s->front->confirm || s->front->confirm(s->front, question))
        return ST_OK;
    return st_fail(e, ST_STATE, "left as it was");
}

/* ---------------------------------------------------------------- from a line to commands */

static const struct alias *find_alias(const struct session *s, struct str name)
{
    for (size_t i = 0; s && i < s->n_aliases; i++)
        if (str_is(name, s->aliases[i].name))
            return &s->aliases[i];
    return NULL;
}

/* The verb that the first word of a command stands for, NULL if it is none. */
static const struct verb *resolve(const struct session *s, struct str name, int depth)
{
    const struct verb *v = find_exact(name);
    const struct alias *a = v || depth > MAX_ALIAS_DEPTH ? NULL : find_alias(s, name);
    if (a)
        return resolve(s, lex_verb(str_from(a->text)), depth + 1);
    return v ? v : find_prefix(name);
}

const struct verb *command_verb(const struct session *s, struct str command)
{
    return resolve(s, lex_verb(lex_trim(command)), 0);
}

void command_quote(struct buf *out, struct str word)
{
    bool plain = word.n > 0 && word.p[0] != '='; /* `echo =x` would be an assignment */
    for (size_t i = 0; i < word.n && plain; i++)
        plain = (unsigned char)word.p[i] > 32 && !strchr("\"'#;|>[](){}", word.p[i]);
    if (plain) {
        buf_add(out, word.p, word.n);
        return;
    }
    buf_addc(out, '"');
    buf_visible(out, word);
    buf_addc(out, '"');
}

/* The verb that says how a command is cut into words: of `with X=1 -- CMD` that of CMD. */
static const struct verb *ruling_verb(const struct session *s, struct str command)
{
    for (;;) {
        struct str name = lex_verb(command);
        const struct verb *v = resolve(s, name, 0);
        if (!v || !(v->flags & VERB_WRAPS))
            return v;
        size_t inner = name.n;
        for (size_t i = name.n; i + 1 < command.n; i++)
            if (command.p[i] == '-' && command.p[i + 1] == '-' && lex_blank(command.p[i - 1])
                && (i + 2 == command.n || lex_blank(command.p[i + 2]))) {
                inner = i + 2;
                break;
            }
        command = lex_trim(str_of(command.p + inner, command.n - inner));
    }
}

enum st command_next(const struct session *s, struct str line, size_t *at, struct piece *out,
                     struct buf *store, struct err *e)
{
    size_t i = *at;
    while (i < line.n && (lex_blank(line.p[i]) || line.p[i] == ';'))
        i++;
    *out = (struct piece){ str_of(line.p + i, 0), (int)i, TARGET_FRONT, { "", 0 } };
    if (i == line.n || line.p[i] == '#') {
        *at = line.n;
        return ST_OK;
    }
    struct str rest = str_of(line.p + i, line.n - i);
    struct str name = lex_verb(rest);
    const struct verb *v = ruling_verb(s, rest);
    if (v && v->flags & VERB_RAW) {
        out->command = lex_trim(rest);
        *at = line.n;
        return ST_OK;
    }
    unsigned how = v && v->flags & VERB_COMPARES ? LEX_COMPARES : 0;
    size_t end = i + name.n;
    while (end < line.n && !lex_operator(line, end, how))
        end = lex_blank(line.p[end]) ? end + 1 : lex_word_end(line, end, how);
    out->command = lex_trim(str_of(line.p + i, end - i));
    if (end == line.n || line.p[end] == ';' || line.p[end] == '#') {
        *at = end < line.n && line.p[end] == '#' ? line.n : end;
        return ST_OK;
    }
    int op = (int)end;
    if (line.p[end] == '|') {
        out->to = TARGET_SHELL;
        out->target = lex_trim(str_of(line.p + end + 1, line.n - end - 1));
        *at = line.n;
        if (out->target.n)
            return ST_OK;
        st_fail(e, ST_SYNTAX, "a shell command should follow `|`");
        return st_at(e, op, 1);
    }
    out->to = end + 1 < line.n && line.p[end + 1] == '>' ? TARGET_APPEND : TARGET_FILE;
    end += out->to == TARGET_APPEND ? 2 : 1;
    lex_store(store, line.n);
    struct word w;
    enum st st = lex_word(line, &end, how, &w, store, e);
    if (st)
        return st;
    if (!w.text.n) {
        st_fail(e, ST_SYNTAX, "the name of a file should follow `>`");
        return st_at(e, op, 1);
    }
    out->target = w.text;
    while (end < line.n && lex_blank(line.p[end]))
        end++;
    if (end < line.n && line.p[end] != ';' && line.p[end] != '#') {
        st_fail(e, ST_SYNTAX, "one file after `>`, then `;` or nothing");
        return st_at(e, (int)end, 1);
    }
    *at = end < line.n && line.p[end] == '#' ? line.n : end;
    return ST_OK;
}

/* ---------------------------------------------------------------- one command */

/* `NAME = EXPR` or `$NAME = EXPR`: where the expression begins, 0 if it is none. */
static size_t assignment(struct str line, struct str *name)
{
    size_t i = line.n && line.p[0] == '$', from = i;
    if (i == line.n || !(isalpha((unsigned char)line.p[i]) || line.p[i] == '_'))
        return 0;
    while (i < line.n && (isalnum((unsigned char)line.p[i]) || line.p[i] == '_'))
        i++;
    *name = str_of(line.p + from, i - from);
    while (i < line.n && lex_blank(line.p[i]))
        i++;
    if (i == line.n || line.p[i] != '=' || (i + 1 < line.n && line.p[i + 1] == '='))
        return 0;
    return i + 1;
}

enum st command_parse(struct str line, struct call *out, struct buf *store, struct err *e)
{
    struct call c = { .line = line };
    size_t i = 0;
    while (i < line.n && lex_blank(line.p[i]))
        i++;
    struct str from_here = str_of(line.p + i, line.n - i);
    size_t expr = assignment(from_here, &c.assign);
    if (expr) {
        c.rest = lex_trim(str_of(from_here.p + expr, from_here.n - expr));
        c.rest_column = (int)(c.rest.p - line.p);
        *out = c;
        if (c.rest.n)
            return ST_OK;
        st_fail(e, ST_SYNTAX, "an expression should follow `=`");
        return st_at(e, (int)line.n, 1);
    }
    c.assign = str_of("", 0);
    struct str name = lex_verb(from_here);
    enum st st = verb_find(name, &c.verb, e);
    if (st)
        return st_at(e, (int)i, name.n ? (int)name.n : 1);
    i += name.n;
    if (i < line.n && line.p[i] == '/' && !(c.verb->flags & VERB_RAW)) {
        size_t end = ++i;
        while (end < line.n && !lex_blank(line.p[end]))
            end++;
        c.format = str_of(line.p + i, end - i);
        i = end;
    }
    c.rest = lex_trim(str_of(line.p + i, line.n - i));
    c.rest_column = (int)(c.rest.p - line.p);
    lex_store(store, line.n);
    while (!(c.verb->flags & VERB_RAW)) {
        struct word w;
        if ((st = lex_word(line, &i, LEX_COMPARES | LEX_WHOLE, &w, store, e)))
            return st;
        if (!w.length)
            break;
        if (c.n_words == CALL_MAX_WORDS) {
            st_fail(e, ST_RANGE, "more than %d words after `%s`", CALL_MAX_WORDS, c.verb->name);
            return st_at(e, w.column, w.length);
        }
        c.words[c.n_words++] = w;
    }
    *out = c;
    return ST_OK;
}

/* An error about a file, or whatever else the user named in a word of its own: underline it. */
static void point_at_word(const struct call *c, struct err *e)
{
    for (int i = 0; e->column < 0 && *e->where && i < c->n_words; i++)
        if (str_is(c->words[i].text, e->where))
            st_at(e, c->words[i].column, c->words[i].length);
    if (e->column < 0 && *e->where && c->verb->flags & VERB_RAW && str_is(c->rest, e->where))
        st_at(e, c->rest_column, (int)c->rest.n);
}

static enum st run_expanded(struct session *s, struct str line, bool repeat, int depth,
                            struct result *out, struct err *e);

/* Put the text of an alias in place of its name and run that. */
static enum st run_alias(struct session *s, const struct alias *a, struct str line, size_t name_end,
                         bool repeat, int depth, struct result *out, struct err *e)
{
    if (depth > MAX_ALIAS_DEPTH)
        return st_fail(e, ST_STATE, "alias `%s` stands for itself", a->name);
    struct buf b = { 0 };
    buf_adds(&b, a->text);
    buf_add(&b, line.p + name_end, line.n - name_end);
    enum st st = run_expanded(s, str_of(buf_str(&b), b.n), repeat, depth + 1, out, e);
    if (st)
        st_at(e, -1, 0); /* the columns are those of a line that nobody typed */
    buf_free(&b);
    return st;
}

static enum st run_expanded(struct session *s, struct str line, bool repeat, int depth,
                            struct result *out, struct err *e)
{
    size_t i = 0;
    while (i < line.n && lex_blank(line.p[i]))
        i++;
    struct str name = lex_verb(str_of(line.p + i, line.n - i));
    const struct alias *a = find_exact(name) ? NULL : find_alias(s, name);
    if (a)
        return run_alias(s, a, line, i + name.n, repeat, depth, out, e);
    struct buf store = { 0 };
    struct call *c = x_alloc(sizeof *c); /* too large for the stack of nested scripts */
    enum st st = command_parse(line, c, &store, e);
    c->repeat = repeat;
    if (!st && !c->verb) {
        st = session_assign(s, c->assign, c->rest, out, e);
        if (st && e->column >= 0)
            st_at(e, e->column + c->rest_column, e->length);
    } else if (!st && c->n_words == 1 && str_is(c->words[0].text, "?") && !c->words[0].quoted)
        st = verb_help(c->verb, out);
    else if (!st && !(st = argument_check(c, e)) && (st = c->verb->run(s, c, out, e)) && e) {
        point_at_word(c, e);
        if (st == ST_STATE && e->column < 0) /* what cannot be done now is the verb itself */
            st_at(e, (int)i, (int)name.n);
    }
    free(c);
    buf_free(&store);
    return st;
}

enum st command_run(struct session *s, struct str line, bool repeat, struct result *out,
                    struct err *e)
{
    enum st st = run_expanded(s, line, repeat, 0, out, e);
    struct err changed = ERR_INIT;
    if (map_used(&changed) && st != ST_CANCELLED) {
        result_free(out); /* figures of bytes that are no longer there */
        *e = changed;
        st = changed.st;
    }
    if (st)
        out->status = st == ST_CANCELLED ? RESULT_PARTIAL : RESULT_ERROR;
    if (st)
        result_drop_empty(out); /* the error says it all */
    return st;
}

enum st call_rest(struct session *s, const struct call *c, int from, struct result *out,
                  struct err *e)
{
    struct str inner = str_of(c->line.p + from, c->line.n - (size_t)from);
    if (!lex_trim(inner).n)
        return call_fail(c, c->n_words, e, ST_SYNTAX, "a command should follow");
    enum st st = command_run(s, inner, c->repeat, out, e);
    return st && e->column >= 0 ? st_at(e, e->column + from, e->length) : st;
}
