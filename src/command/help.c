/* SPDX-License-Identifier: MIT */
#include "command/help.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "command/glossary.h"
#include "kernels/format.h"

enum { TEXT_WIDTH = 78 };

static const struct verb_class classes[] = {
    { "files", "files", "open, look into, compare and write files" },
    { "data", "data", "look at weights and activations" },
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

/* Add text as lines of at most TEXT_WIDTH bytes; newlines stay. */
static void add_wrapped(struct result *out, const char *name, const char *text)
{
    while (*text) {
        size_t n = strcspn(text, "\n");
        if (n > TEXT_WIDTH) {
            n = TEXT_WIDTH;
            while (n && text[n] != ' ')
                n--;
            n = n ? n : TEXT_WIDTH;
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
    add_wrapped(out, "help", buf_str(&b));
    buf_clear(&b);
    if (v->alias)
        buf_printf(&b, " Short: %s.", v->alias);
    if (v->flags & VERB_REPEATS)
        buf_adds(&b, " An empty line repeats it.");
    if (v->flags & VERB_EXACT)
        buf_adds(&b, " Its name must be written whole.");
    if (b.n)
        add_wrapped(out, "help", b.p + 1);
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

static enum st setting_help(enum setting_id id, struct session *s, struct result *out)
{
    const struct setting *t = setting_info(id);
    struct buf b = { 0 };
    setting_domain(id, &b);
    result_line(out, "help", "set %s VALUE", t->name);
    result_line(out, "help", "%s", "");
    result_line(out, "help", "%s", t->brief);
    if (t->help)
        add_wrapped(out, "help", t->help);
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
    table_column(t, COL_STRING, "command", "");
    table_column(t, COL_STRING, "short", "");
    table_column(t, COL_STRING, "arguments", "");
    table_column(t, COL_STRING, "meaning", "");
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
            if (columns + n > TEXT_WIDTH - 12) {
                buf_adds(&b, "\n            ");
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
    result_line(out, "help", "%s", "");
    result_line(
        out, "help",
        "help COMMAND, help CLASS, help set NAME; apropos WORD searches, explain WORD explains.");
    result_line(
        out, "help",
        "A unique beginning of a name will do. COMMAND | sh, COMMAND > file, several with `;`.");
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

/* ---------------------------------------------------------------- apropos */

static bool contains(const char *text, struct str word)
{
    for (const char *p = text; p && *p; p++)
        if (!strncasecmp(p, word.p, word.n))
            return true;
    return false;
}

/* Does every word of the call occur in one of the texts? */
static bool all_occur(const struct call *c, const char *const texts[], int n)
{
    for (int i = 0; i < c->n_words; i++) {
        bool found = false;
        for (int j = 0; j < n; j++)
            found = found || contains(texts[j], c->words[i].text);
        if (!found)
            return false;
    }
    return true;
}

static void add_found(struct table *t, const char *kind, const char *name, const char *brief)
{
    table_row(t);
    table_str(t, kind);
    table_str(t, name);
    table_str(t, brief);
}

enum st run_apropos(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    (void)s;
    if (!c->n_words)
        return call_fail(c, 0, e, ST_SYNTAX, "apropos takes a word to search for");
    struct table *t = result_table(out, "apropos", TABLE_ROWS);
    table_column(t, COL_STRING, "kind", "");
    table_column(t, COL_STRING, "name", "");
    table_column(t, COL_STRING, "meaning", "");
    for (size_t i = 0; i < verb_count(); i++) {
        const struct verb *v = verb_at(i);
        const char *texts[] = { v->name, v->brief, v->help, verb_args(v) };
        if (!(v->flags & VERB_HIDDEN) && all_occur(c, texts, 4))
            add_found(t, "command", v->name, v->brief);
    }
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *v = setting_info(id);
        const char *texts[] = { v->name, v->brief, v->help, v->choices };
        if (all_occur(c, texts, 4))
            add_found(t, "setting", v->name, v->brief);
    }
    const struct glossary_entry *g;
    for (size_t i = 0; (g = glossary_at(i)); i++) {
        const char *texts[] = { g->word, g->also, g->lines[0], g->lines[1], g->lines[2] };
        if (all_occur(c, texts, 5))
            add_found(t, "word", g->word, g->lines[0]);
    }
    for (size_t i = 0; i < statistic_count(); i++) {
        const struct statistic *v = statistic_at(i);
        const char *texts[] = {
            v->name, v->alias, v->brief, v->lines[0], v->lines[1], v->lines[2]
        };
        if (all_occur(c, texts, 6))
            add_found(t, "statistic", v->name, v->brief);
    }
    return ST_OK;
}

/* ---------------------------------------------------------------- explain */

void explain_words(void (*add)(void *data, const char *word), void *data)
{
    for (size_t i = 0; glossary_at(i); i++)
        add(data, glossary_at(i)->word);
    for (size_t i = 0; glossary_synonym(i); i++)
        add(data, glossary_synonym(i));
    for (size_t i = 0; i < statistic_count(); i++)
        add(data, statistic_at(i)->name);
    for (int f = 0; f < format_count(); f++)
        add(data, format_info(f)->name);
}

struct word_list {
    const char **at;
    size_t n, cap;
};

static void add_name(void *data, const char *word)
{
    struct word_list *names = data;
    x_grow(&names->at, &names->cap, names->n + 1, sizeof *names->at);
    names->at[names->n++] = word;
}

static const char *name_at(const void *data, size_t i)
{
    return ((const struct word_list *)data)->at[i];
}

static bool explain_statistic(struct str word, struct result *out)
{
    const struct statistic *t = glossary_statistic(word);
    if (!t)
        return false;
    for (int i = 0; i < 3; i++)
        add_wrapped(out, "explain", t->lines[i]);
    if (t->edge && *t->edge)
        result_note(out, "%s%s%s%s: %s", t->name, *t->unit ? " (" : "", t->unit,
                    *t->unit ? ")" : "", t->edge);
    return true;
}

static bool explain_format(struct str word, struct result *out)
{
    char *name = x_strndup(word.p, word.n);
    enum format f = format_by_name(name);
    free(name);
    const struct format_info *info = f == FORMAT_NONE ? NULL : format_info(f);
    if (!info)
        return false;
    result_line(out, "explain", "%s (%s in files): %s.", info->name, info->type, info->brief);
    result_line(out, "explain", "%d values in %d bytes: %.4g bits per weight%s.", info->block,
                info->bytes, format_bpw(f), info->quantized ? "" : ", not quantized");
    result_line(out, "explain",
                info->decode ? "qdb decodes it bit for bit."
                             : "qdb knows its size but does not decode it.");
    return true;
}

/* Names as lines "title: a, b, c", wrapped. */
static void add_names(struct result *out, const char *title, const struct word_list *names)
{
    struct buf b = { 0 };
    buf_printf(&b, "%s: ", title);
    for (size_t i = 0; i < names->n; i++)
        buf_printf(&b, "%s%s", names->at[i], i + 1 < names->n ? ", " : ".");
    add_wrapped(out, "explain", b.p);
    buf_free(&b);
}

static void list_words(struct result *out)
{
    struct word_list words = { 0 }, statistics = { 0 }, formats = { 0 };
    for (size_t i = 0; glossary_at(i); i++)
        add_name(&words, glossary_at(i)->word);
    for (size_t i = 0; i < statistic_count(); i++)
        add_name(&statistics, statistic_at(i)->name);
    for (int f = 0; f < format_count(); f++)
        add_name(&formats, format_info(f)->name);
    add_names(out, "Words", &words);
    add_names(out, "Statistics", &statistics);
    add_names(out, "Formats", &formats);
    result_note(out, "Settings and commands are explained too.");
    free(words.at);
    free(statistics.at);
    free(formats.at);
}

enum st run_explain(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    if (!c->n_words) {
        list_words(out);
        return ST_OK;
    }
    struct str word = c->n_words == 1 ? c->words[0].text : c->rest;
    const struct glossary_entry *g = glossary_find(word);
    for (int i = 0; g && i < 3; i++)
        add_wrapped(out, "explain", g->lines[i]);
    if (g)
        return ST_OK;
    enum setting_id id;
    const struct verb *v;
    struct err ignored = ERR_INIT;
    if (explain_statistic(word, out) || explain_format(word, out))
        return ST_OK;
    if (!setting_find(word, &id, &ignored))
        return setting_help(id, s, out);
    if (!verb_find(word, &v, &ignored))
        return verb_help(v, out);
    struct word_list names = { 0 };
    struct buf b = { 0 };
    explain_words(add_name, &names);
    suggest(word, name_at, &names, names.n, &b);
    free(names.at);
    call_fail(c, 0, e, ST_NOTFOUND, "no explanation of `%.*s`", (int)(word.n > 40 ? 40 : word.n),
              word.p);
    st_hint(e, "%s", b.n ? buf_str(&b) : "`explain` lists the words, `apropos` searches");
    buf_free(&b);
    return ST_NOTFOUND;
}
