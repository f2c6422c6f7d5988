/* SPDX-License-Identifier: MIT */
#include "command/complete.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/argument.h"
#include "command/help.h"
#include "command/lex.h"
#include "kernels/encode.h"
#include "kernels/numeric.h"
#include "quant/mix.h"

struct request {
    struct session *s;
    struct str line, prefix; /* the whole text before the cursor, and what is being completed */
    struct completions *out;
};

static void add(void *data, const char *name)
{
    struct request *q = data;
    struct completions *c = q->out;
    if (strlen(name) < q->prefix.n || memcmp(name, q->prefix.p, q->prefix.n) != 0)
        return;
    x_grow(&c->names, &c->cap, c->n + 1, sizeof *c->names);
    c->names[c->n++] = x_strdup(name);
}

static void add_words(struct request *q, const char *list)
{
    for (const char *p = list; p && *p;) {
        size_t n = strcspn(p, "|");
        char *word = x_strndup(p, n);
        add(q, word);
        free(word);
        p += n + (p[n] == '|');
    }
}

static void add_verbs(struct request *q)
{
    for (size_t i = 0; i < verb_count(); i++)
        if (!(verb_at(i)->flags & VERB_HIDDEN))
            add(q, verb_at(i)->name);
    for (size_t i = 0; i < q->s->n_aliases; i++)
        add(q, q->s->aliases[i].name);
}

static void add_choices(struct request *q, struct str setting)
{
    enum setting_id id;
    struct err ignored = ERR_INIT;
    if (setting_find(setting, &id, &ignored))
        return;
    if (setting_info(id)->type == TYPE_BOOL)
        add_words(q, "on|off");
    else
        add_words(q, setting_info(id)->choices);
}

static void set_prefix(struct request *q, size_t from)
{
    q->prefix = str_of(q->line.p + from, q->line.n - from);
    q->out->from = (int)from;
}

/* In an expression the last operand is completed. */
static size_t operand(struct str line, size_t from)
{
    int depth = 0;
    for (size_t i = from; i < line.n; i++) {
        char c = line.p[i];
        if (c == '[' || c == '{')
            depth++;
        else if ((c == ']' || c == '}') && depth)
            depth--;
        else if (!depth && c && strchr("+-*/(), ", c)
                 && !(c == '*' && i > from && strchr("._", line.p[i - 1])))
            from = i + 1;
    }
    return from;
}

/* `with` takes NAME=VALUE, the others the name alone. */
static void complete_setting(struct request *q, bool equals_follows, size_t from)
{
    const char *equals = memchr(q->line.p + from, '=', q->line.n - from);
    if (equals) {
        set_prefix(q, (size_t)(equals - q->line.p) + 1);
        add_choices(q, str_of(q->line.p + from, (size_t)(equals - q->line.p) - from));
        return;
    }
    set_prefix(q, from);
    for (int id = 0; id < SETTING_COUNT; id++) {
        struct buf b = { 0 };
        buf_printf(&b, "%s%s", setting_info(id)->name, equals_follows ? "=" : "");
        add(q, buf_str(&b));
        buf_free(&b);
    }
}

static void add_formats(struct request *q)
{
    struct str w;
    for (size_t i = 0; (w = numeric_word(i)).n; i++) {
        char *name = x_strndup(w.p, w.n);
        add(q, name);
        free(name);
    }
}

static void add_file_formats(struct request *q, bool encoded)
{
    for (int f = 0; f < format_count(); f++)
        if (encoded ? !encode_missing((enum format)f) : format_info((enum format)f)->decode != NULL)
            add(q, format_info((enum format)f)->name);
}

static void add_modes(struct request *q)
{
    for (int m = 0; m < COMPUTE__COUNT; m++)
        add(q, compute_name((enum compute)m));
}

static void complete_word(struct request *q, const struct arg_place *at, size_t from)
{
    const enum arg_kind kind = argument_kind(at);
    if (from < q->line.n && (q->line.p[from] == '"' || q->line.p[from] == '\''))
        from++;
    set_prefix(q, from);
    add_words(q, argument_words(at));
    for (const struct verb_sub *s = at->n ? NULL : at->verb->subs; s && s->name; s++)
        add(q, s->name);
    switch (kind) {
    case ARG_NONE:
    case ARG_NUMBER:
    case ARG_TEXT:
    case ARG_COMMAND: break;
    case ARG_FILE: q->out->files = true; break;
    case ARG_VERB: add_verbs(q); break;
    case ARG_SETTING: complete_setting(q, at->verb->flags & VERB_WRAPS, from); break;
    case ARG_WORD: explain_words(add, q); break;
    case ARG_FORMAT: add_formats(q); break;
    case ARG_ENCODED: add_file_formats(q, true); break;
    case ARG_KERNEL: add_file_formats(q, false), add_modes(q); break;
    case ARG_COMPUTE: add_modes(q); break;
    case ARG_MIX:
        for (size_t i = 0; mix_at(i); i++)
            add(q, mix_at(i)->name);
        break;
    case ARG_CONDITION:
    case ARG_EXPR:
        set_prefix(q, operand(q->line, from));
        session_names(q->s, kind, q->prefix, add, q);
        break;
    default: session_names(q->s, kind, q->prefix, add, q); break;
    }
}

/* Complete the command that begins at `from`. */
static void complete_command(struct request *q, size_t from)
{
    while (from < q->line.n && lex_blank(q->line.p[from]))
        from++;
    struct str name = lex_verb(str_of(q->line.p + from, q->line.n - from));
    size_t i = from + name.n;
    if (i == q->line.n && !(name.n && strchr("!", name.p[0]))) {
        set_prefix(q, from);
        add_verbs(q);
        return;
    }
    const struct verb *v = command_verb(q->s, name);
    if (!v)
        return;
    while (i < q->line.n && !lex_blank(q->line.p[i]) && name.p[0] != '!')
        i++;
    bool command_follows = v->kinds[0] == ARG_COMMAND;
    struct str first = { 0 };
    for (struct arg_place at = { .verb = v };;) {
        while (i < q->line.n && lex_blank(q->line.p[i]))
            i++;
        if (command_follows || argument_kind(&at) == ARG_COMMAND) {
            complete_command(q, i);
            return;
        }
        size_t end = i < q->line.n ? lex_word_end(q->line, i, LEX_WHOLE) : i;
        if (end == q->line.n) {
            if (at.n && v->kinds[0] == ARG_SETTING && v->kinds[1] == ARG_NONE
                && !(v->flags & VERB_WRAPS)) {
                set_prefix(q, i);
                add_choices(q, first);
            } else
                complete_word(q, &at, i);
            return;
        }
        struct str word = str_of(q->line.p + i, end - i);
        if (!at.n)
            first = word;
        argument_pass(&at, word);
        command_follows = str_is(word, "--");
        i = end;
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void unique(struct completions *c)
{
    if (c->n)
        qsort(c->names, c->n, sizeof *c->names, by_name);
    size_t kept = 0;
    for (size_t i = 0; i < c->n; i++)
        if (kept && !strcmp(c->names[kept - 1], c->names[i]))
            free(c->names[i]);
        else
            c->names[kept++] = c->names[i];
    c->n = kept;
}

/* Cut names after the next dot behind the first n bytes, so that many names become few steps. */
static void cut_at_dots(struct completions *c, size_t n)
{
    for (size_t i = 0; i < c->n; i++) {
        char *dot = strchr(c->names[i] + n, '.');
        if (dot)
            dot[1] = '\0';
    }
    unique(c);
}

void complete(struct session *s, struct str line, size_t most, struct completions *out)
{
    struct request q = { s, line, { "", 0 }, out };
    struct buf store = { 0 };
    struct piece p = { 0 };
    struct err ignored = ERR_INIT;
    *out = (struct completions){ .from = (int)line.n };
    enum st st = ST_OK;
    for (size_t at = 0; !st && at < line.n;)
        st = command_next(s, line, &at, &p, &store, &ignored);
    buf_free(&store);
    if (st || p.to != TARGET_FRONT) {
        size_t from = line.n;
        while (from && !lex_blank(line.p[from - 1]) && !strchr("|>", line.p[from - 1]))
            from--;
        set_prefix(&q, from);
        out->files = true;
        return;
    }
    if (line.n && line.p[line.n - 1] == ';')
        p.column = (int)line.n;
    complete_command(&q, (size_t)p.column);
    unique(out);
    if (out->n > most)
        cut_at_dots(out, q.prefix.n);
    out->truncated = out->n > most;
    while (out->n > most)
        free(out->names[--out->n]);
}

void completions_free(struct completions *c)
{
    for (size_t i = 0; i < c->n; i++)
        free(c->names[i]);
    free(c->names);
    *c = (struct completions){ 0 };
}
