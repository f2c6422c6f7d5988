/* SPDX-License-Identifier: MIT */
/* Search and explanations, from the tables of verbs, settings, words, statistics and formats. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "command/glossary.h"
#include "command/help.h"
#include "kernels/format.h"

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
    TABLE_COLUMNS(t, { COL_STRING, "kind" }, { COL_STRING, "name" }, { COL_STRING, "meaning" });
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
        help_wrapped(out, "explain", t->lines[i]);
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
    result_line(out, "explain", "%d %s in %d %s: %.4g bits per weight%s.", info->block,
                text_plural((uint64_t)info->block, "value", "values"), info->bytes,
                text_plural((uint64_t)info->bytes, "byte", "bytes"), format_bpw(f),
                info->quantized ? "" : ", not quantized");
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
    help_wrapped(out, "explain", b.p);
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
        help_wrapped(out, "explain", g->lines[i]);
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
