/* SPDX-License-Identifier: MIT */
/* The verbs and settings as Markdown and as sections of the manual page, from the same tables as
 * `help`. */
#include <string.h>

#include "command/help.h"

/* Call line() for each line of text. */
static void each_line(const char *text, struct buf *out,
                      void (*line)(struct buf *out, struct str s))
{
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n");
        line(out, str_of(p, n));
        p += n + (p[n] == '\n');
    }
}

static void sentence(struct buf *b, const char *s)
{
    buf_addc(b, *s >= 'a' && *s <= 'z' ? (char)(*s - 32) : *s);
    buf_printf(b, "%s.", s + 1);
}

/* ---------------------------------------------------------------- Markdown */

/* Prose, with what Markdown would take for emphasis, tags or cells escaped outside `code`. */
static void md_prose(struct buf *out, const char *text)
{
    bool code = false;
    for (const char *p = text; *p; p++) {
        code ^= *p == '`';
        if (!code && strchr("*<|", *p))
            buf_addc(out, '\\');
        buf_addc(out, *p);
    }
}

static void md_example(struct buf *out, struct str s)
{
    buf_printf(out, "    %.*s\n", (int)s.n, s.p);
}

static void md_verb(struct buf *out, const struct verb *v)
{
    buf_printf(out, "### %s\n\n`%s%s%s`", v->name, v->name, *verb_args(v) ? " " : "", verb_args(v));
    if (v->alias) {
        buf_adds(out, " (short:");
        for (const char *p = v->alias; *p;) {
            size_t n = strcspn(p, " ");
            buf_printf(out, "%s `%.*s`", p == v->alias ? "" : ",", (int)n, p);
            p += n + (p[n] == ' ');
        }
        buf_addc(out, ')');
    }
    buf_adds(out, "\n\n");
    struct buf b = { 0 };
    sentence(&b, v->brief);
    if (v->help && *v->help)
        buf_printf(&b, " %s", v->help);
    md_prose(out, b.p);
    buf_free(&b);
    buf_adds(out, "\n\n");
    if (v->examples && *v->examples) {
        each_line(v->examples, out, md_example);
        buf_addc(out, '\n');
    }
}

void manual_markdown(struct buf *out)
{
    buf_adds(out, "# Commands of qdb\n\nGenerated from the tables of the program: `qdb -batch -ex "
                  "'manual markdown'`.\n\n");
    for (size_t c = 0; verb_class_at(c); c++) {
        size_t before = out->n;
        buf_printf(out, "## %s: %s\n\n", verb_class_at(c)->title, verb_class_at(c)->brief);
        size_t title = out->n;
        for (size_t i = 0; i < verb_count(); i++)
            if (!(verb_at(i)->flags & VERB_HIDDEN)
                && !strcmp(verb_at(i)->class, verb_class_at(c)->name))
                md_verb(out, verb_at(i));
        if (out->n == title) {
            out->n = before; /* a class without verbs */
            out->p[out->n] = '\0';
        }
    }
    buf_adds(
        out,
        "## settings\n\n| name | may be | at the start | meaning |\n| --- | --- | --- | --- |\n");
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *t = setting_info(id);
        struct buf domain = { 0 };
        setting_domain(id, &domain);
        buf_printf(out, "| %s | ", t->name);
        for (const char *p = buf_str(&domain); *p; p++)
            buf_printf(out, *p == '|' ? ", " : "%c", *p);
        buf_printf(out, " | %s%s%s | ", *t->initial ? "`" : "", t->initial, *t->initial ? "`" : "");
        md_prose(out, t->brief);
        if (t->help && *t->help) {
            buf_adds(out, ". ");
            md_prose(out, t->help);
        }
        buf_adds(out, " |\n");
        buf_free(&domain);
    }
}

/* ---------------------------------------------------------------- roff */

static void roff_text(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (i == 0 && (s.p[0] == '.' || s.p[0] == '\''))
            buf_adds(out, "\\&");
        if (s.p[i] == '\\')
            buf_adds(out, "\\e");
        else if (s.p[i] == '-')
            buf_adds(out, "\\-");
        else
            buf_addc(out, s.p[i]);
    }
}

static void roff_example(struct buf *out, struct str s)
{
    roff_text(out, s);
    buf_addc(out, '\n');
}

static void roff_paragraph(struct buf *out, const char *brief, const char *help)
{
    struct buf b = { 0 };
    sentence(&b, brief);
    if (help && *help)
        buf_printf(&b, " %s", help);
    roff_text(out, str_of(b.p, b.n));
    buf_addc(out, '\n');
    buf_free(&b);
}

static void roff_verb(struct buf *out, const struct verb *v)
{
    buf_adds(out, ".TP\n.B ");
    roff_text(out, str_from(v->name));
    if (*verb_args(v)) {
        buf_addc(out, ' ');
        roff_text(out, str_from(verb_args(v)));
    }
    if (v->alias) {
        buf_adds(out, " (");
        roff_text(out, str_from(v->alias));
        buf_addc(out, ')');
    }
    buf_addc(out, '\n');
    roff_paragraph(out, v->brief, v->help);
    if (v->examples && *v->examples) {
        buf_adds(out, ".RS\n.nf\n");
        each_line(v->examples, out, roff_example);
        buf_adds(out, ".fi\n.RE\n");
    }
}

void manual_roff(struct buf *out)
{
    for (size_t c = 0; verb_class_at(c); c++) {
        bool any = false;
        for (size_t i = 0; i < verb_count(); i++) {
            const struct verb *v = verb_at(i);
            if ((v->flags & VERB_HIDDEN) || strcmp(v->class, verb_class_at(c)->name) != 0)
                continue;
            if (!any)
                buf_printf(out, ".SS %s: %s\n", verb_class_at(c)->title, verb_class_at(c)->brief);
            any = true;
            roff_verb(out, v);
        }
    }
    buf_adds(out, ".SH SETTINGS\n");
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *t = setting_info(id);
        struct buf domain = { 0 };
        setting_domain(id, &domain);
        buf_adds(out, ".TP\n.B ");
        roff_text(out, str_from(t->name));
        buf_adds(out, "\n(");
        roff_text(out, str_of(buf_str(&domain), domain.n));
        buf_adds(out, *t->initial ? "; " : "");
        roff_text(out, str_from(t->initial));
        buf_adds(out, *t->initial ? " at the start)\n" : ")\n");
        roff_paragraph(out, t->brief, t->help);
        buf_free(&domain);
    }
}

void manual_examples(struct buf *out)
{
    for (size_t i = 0; i < verb_count(); i++) {
        const struct verb *v = verb_at(i);
        if (v->examples && *v->examples)
            buf_printf(out, "# %s\n%s\n", v->name, v->examples);
    }
}
