/* SPDX-License-Identifier: MIT */
#include "command/help.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/glossary.h"

static const struct verb_class classes[] = {
    { "files", "files", "open, look into, compare and write files" },
    { "data", "looking", "look at weights and activations" },
    { "break", "breakpoints", "stop where it matters" },
    { "run", "running", "prompts, runs, stepping, going back" },
    { "change", "changing", "change the model, and take it back" },
    { "analyse", "analysis", "find out what quantization does" },
    { "support", "support", "help, settings, scripts, output" },
};

const struct verb_class *verb_class_at(size_t i)
{
    return i < sizeof classes / sizeof *classes ? &classes[i] : NULL;
}

void help_wrapped(struct result *out, const char *name, const char *text)
{
    while (*text) {
        size_t n = strcspn(text, "\n");
        if (n > HELP_WIDTH) {
            n = HELP_WIDTH;
            while (n && text[n] != ' ')
                n--;
            n = n ? n : HELP_WIDTH;
        }
        result_line(out, name, "%.*s", (int)n, text);
        text += n;
        if (*text == '\n' || *text == ' ')
            text++;
    }
}

enum st verb_help(const struct verb *v, struct result *out)
{
    result_line(out, "help", "%s%s%s", v->name, *verb_args(v) ? " " : "", verb_args(v));
    result_line(out, "help", "%s", "");
    struct buf b = { 0 };
    buf_printf(&b, "%c%s.",
               v->brief[0] >= 'a' && v->brief[0] <= 'z' ? v->brief[0] - 32 : v->brief[0],
               v->brief + 1);
    if (v->help && *v->help)
        buf_printf(&b, " %s", v->help);
    help_wrapped(out, "help", buf_str(&b));
    buf_clear(&b);
    if (v->alias)
        buf_printf(&b, " Short: %s.", v->alias);
    if (v->flags & VERB_REPEATS)
        buf_adds(&b, " An empty line repeats it.");
    if (v->flags & VERB_EXACT)
        buf_adds(&b, " Its name must be written whole.");
    if (b.n)
        help_wrapped(out, "help", b.p + 1);
    buf_free(&b);
    if (v->examples && *v->examples) {
        result_line(out, "help", "%s", "");
        result_line(out, "help", "Examples:");
        for (const char *p = v->examples; *p;) {
            size_t n = strcspn(p, "\n");
            result_line(out, "help", "  %.*s", (int)n, p);
            p += n + (p[n] == '\n');
        }
    }
    return ST_OK;
}

enum st setting_help(enum setting_id id, struct session *s, struct result *out)
{
    const struct setting *t = setting_info(id);
    struct buf b = { 0 };
    setting_domain(id, &b);
    result_line(out, "help", "set %s VALUE", t->name);
    result_line(out, "help", "%s", "");
    result_line(out, "help", "%s", t->brief);
    if (t->help)
        help_wrapped(out, "help", t->help);
    result_line(out, "help", "May be: %s.", buf_str(&b));
    buf_clear(&b);
    settings_print(&s->settings, id, &b);
    result_line(out, "help", "Now: %s. At the start: %s.", b.n ? buf_str(&b) : "empty",
                *t->initial ? t->initial : "empty");
    buf_free(&b);
    return ST_OK;
}

static struct table *verb_table(struct result *out)
{
    struct table *t = result_table(out, "commands", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "command" }, { COL_STRING, "short" },
                  { COL_STRING, "arguments" }, { COL_STRING, "meaning" });
    return t;
}

static void add_verb(struct table *t, const struct verb *v)
{
    table_row(t);
    table_str(t, v->name);
    table_str(t, v->alias ? v->alias : "");
    table_str(t, verb_args(v));
    table_str(t, v->brief);
}

/* The verbs of a class, or all when it is NULL. */
static void add_class(struct result *out, const char *class)
{
    struct table *t = verb_table(out);
    for (size_t c = 0; verb_class_at(c); c++)
        for (size_t i = 0; i < verb_count(); i++) {
            const struct verb *v = verb_at(i);
            if (!(v->flags & VERB_HIDDEN) && !strcmp(v->class, classes[c].name)
                && (!class || !strcmp(class, v->class)))
                add_verb(t, v);
        }
}

static void add_overview(struct result *out)
{
    for (size_t c = 0; verb_class_at(c); c++) {
        struct buf b = { 0 };
        int columns = 0;
        for (size_t i = 0; i < verb_count(); i++) {
            const struct verb *v = verb_at(i);
            if ((v->flags & VERB_HIDDEN) || strcmp(v->class, classes[c].name) != 0)
                continue;
            int n = (int)strlen(v->name) + 1;
            if (columns + n > HELP_WIDTH - 12) {
                buf_adds(&b, "\n           ");
                columns = 0;
            }
            buf_printf(&b, " %s", v->name);
            columns += n;
        }
        if (b.n) {
            result_line(out, "help", "%-11s %s", classes[c].title, classes[c].brief);
            result_line(out, "help", "%11s%s", "", buf_str(&b));
        }
        buf_free(&b);
    }
    result_line(out, "help", "help COMMAND, CLASS or set NAME; apropos WORD searches, "
                             "explain WORD explains.");
}

static const struct verb_class *find_class(struct str title)
{
    for (size_t i = 0; verb_class_at(i); i++)
        if (str_is(title, classes[i].title))
            return &classes[i];
    return NULL;
}

enum st run_help(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    if (!c->n_words) {
        add_overview(out);
        return ST_OK;
    }
    struct str word = c->words[0].text;
    const struct verb_class *class = find_class(word);
    if (class || str_is(word, "all")) {
        add_class(out, class ? class->name : NULL);
        return ST_OK;
    }
    if (c->n_words > 1 && (str_is(word, "set") || str_is(word, "show"))) {
        enum setting_id id;
        enum st st = setting_find(c->words[1].text, &id, e);
        return st ? st_at(e, c->words[1].column, c->words[1].length) : setting_help(id, s, out);
    }
    const struct verb *v;
    enum st st = verb_find(word, &v, e);
    if (!st) {
        verb_help(v, out);
        if (!strcmp(v->name, "set"))
            result_note(out, "`show` lists the settings, `help set NAME` explains one");
        return ST_OK;
    }
    return glossary_find(word) || glossary_statistic(word)
               ? run_explain(s, c, out, e)
               : st_at(e, c->words[0].column, c->words[0].length);
}
