/* SPDX-License-Identifier: MIT */
/* What all renderers share, errors, and the two machine-readable texts, CSV and Markdown. */
#include "repl/render.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

void render_paint(struct buf *out, const char *sgr, const struct style *style)
{
    if (style->color)
        buf_printf(out, "\033[%sm", sgr);
}

/* Invisible, or able to reorder what stands around it. */
static bool deceives(int32_t cp)
{
    return (cp >= 0x80 && cp < 0xa0) || (cp >= 0x200b && cp <= 0x200f)
           || (cp >= 0x2028 && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069) || cp == 0xfeff;
}

void render_safe(struct buf *out, struct str s, bool lines)
{
    for (size_t i = 0; i < s.n;) {
        int32_t cp;
        int len = utf8_decode(s.p + i, s.n - i, &cp);
        if (lines && (cp == '\n' || cp == '\t'))
            buf_addc(out, (char)cp);
        else if (cp == '\n' || cp == '\t')
            buf_adds(out, cp == '\n' ? "\\n" : "\\t");
        else if (cp < 32 || cp == 127)
            buf_printf(out, "\\x%02x", (unsigned char)s.p[i]);
        else if (deceives(cp))
            buf_printf(out, "\\u{%x}", (unsigned)cp);
        else
            buf_add(out, s.p + i, (size_t)len);
        i += (size_t)len;
    }
}

bool render_nothing(const struct cell *cell) { return cell->absent && !cell->instead; }

void render_cell(struct buf *out, const struct column *column, const struct cell *cell,
                 const struct style *style)
{
    char number[40];
    if (cell->absent) {
        buf_adds(out, cell->instead ? cell->instead : "-");
        return;
    }
    switch (column->type) {
    case COL_STRING:
    case COL_ADDRESS: render_safe(out, str_from(cell->s), false); break;
    case COL_INT: buf_printf(out, "%lld", (long long)cell->i); break;
    case COL_BOOL: buf_adds(out, cell->i ? "yes" : "no"); break;
    case COL_FLOAT:
        buf_adds(out, text_digits(number, sizeof number, cell->f,
                                  column->digits ? column->digits : style->digits));
        break;
    }
}

static void render_exact(struct buf *out, const struct column *column, const struct cell *cell)
{
    char number[40];
    if (cell->absent)
        return;
    switch (column->type) {
    case COL_STRING:
    case COL_ADDRESS: buf_adds(out, cell->s); break;
    case COL_INT: buf_printf(out, "%lld", (long long)cell->i); break;
    case COL_BOOL: buf_adds(out, cell->i ? "true" : "false"); break;
    case COL_FLOAT: buf_adds(out, text_f64(number, sizeof number, cell->f)); break;
    }
}

/* The longest beginning of s that takes at most `columns` terminal columns. */
static size_t fitting(struct str s, int columns)
{
    size_t i = 0;
    while (i < s.n) {
        int32_t cp;
        int len = utf8_decode(s.p + i, s.n - i, &cp);
        columns -= text_columns(str_of(s.p + i, (size_t)len));
        if (columns < 0)
            break;
        i += (size_t)len;
    }
    return i;
}

/* Append a remark of lines, each wrapped at blanks to the width of the screen. */
static void add_wrapped(struct buf *out, struct str text, const struct style *style)
{
    struct buf safe = { 0 };
    render_safe(&safe, text, true);
    const char *p = buf_str(&safe);
    while (*p) {
        const struct str line = str_of(p, strcspn(p, "\n"));
        size_t n = style->width ? fitting(line, style->width) : line.n;
        if (n < line.n) {
            const size_t most = n;
            while (n && p[n] != ' ')
                n--;
            n = n ? n : most ? most : 1;
        }
        buf_add(out, p, n);
        p += n;
        if (*p)
            buf_addc(out, '\n');
        p += *p == '\n' || *p == ' ';
    }
    buf_free(&safe);
}

void render_padded(struct buf *out, struct str s, int columns, bool right,
                   const struct style *style)
{
    int have = text_columns(s);
    if (have > columns) {
        const char *dots = style->utf8 ? "\u2026" : columns > 3 ? ".." : "";
        int room = columns - text_columns(str_from(dots));
        size_t n = fitting(s, room > 0 ? room : 0);
        have = text_columns(str_of(s.p, n)) + text_columns(str_from(dots));
        buf_add(out, s.p, n);
        buf_adds(out, dots);
        buf_printf(out, "%*s", columns > have ? columns - have : 0, "");
        return;
    }
    if (right)
        buf_printf(out, "%*s", columns - have, "");
    buf_add(out, s.p, s.n);
    if (!right)
        buf_printf(out, "%*s", columns - have, "");
}

/* ---------------------------------------------------------------- csv */

static void csv_field(struct buf *out, struct str s)
{
    bool quote = s.n && (s.p[0] == ' ' || s.p[s.n - 1] == ' ');
    for (size_t i = 0; i < s.n && !quote; i++)
        quote = strchr(",\"\r\n", s.p[i]) != NULL;
    if (!quote) {
        buf_add(out, s.p, s.n);
        return;
    }
    buf_addc(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"')
            buf_addc(out, '"');
        buf_addc(out, s.p[i]);
    }
    buf_addc(out, '"');
}

static void csv_table(struct buf *out, const struct table *t)
{
    struct buf cell = { 0 };
    for (size_t i = 0; i < t->n_columns; i++) {
        if (i)
            buf_addc(out, ',');
        csv_field(out, str_from(t->columns[i].name));
    }
    buf_addc(out, '\n');
    for (size_t row = 0; row < t->n_rows; row++) {
        for (size_t i = 0; i < t->n_columns; i++) {
            if (i)
                buf_addc(out, ',');
            buf_clear(&cell);
            render_exact(&cell, &t->columns[i], table_cell(t, row, i));
            csv_field(out, str_of(buf_str(&cell), cell.n));
        }
        buf_addc(out, '\n');
    }
    buf_free(&cell);
}

/* ---------------------------------------------------------------- Markdown */

static void md_text(struct buf *out, struct str s)
{
    struct buf safe = { 0 };
    render_safe(&safe, s, false);
    const char *p = buf_str(&safe);
    for (size_t i = 0; i < safe.n; i++) {
        bool edge = i == 0 || i + 1 == safe.n || !isalnum((unsigned char)p[i - 1])
                    || !isalnum((unsigned char)p[i + 1]);
        if (strchr("\\`*<|", p[i]) || (p[i] == '_' && edge))
            buf_addc(out, '\\');
        buf_addc(out, p[i]);
    }
    buf_free(&safe);
}

static bool is_number(enum column_type type) { return type == COL_INT || type == COL_FLOAT; }

static void md_table(struct buf *out, const struct table *t, const struct style *style)
{
    struct buf cell = { 0 };
    for (size_t i = 0; i < t->n_columns; i++) {
        const struct column *c = &t->columns[i];
        buf_adds(out, i ? " | " : "| ");
        md_text(out, str_from(c->name));
        if (*c->unit) {
            buf_adds(out, " (");
            md_text(out, str_from(c->unit));
            buf_addc(out, ')');
        }
    }
    buf_adds(out, " |\n");
    for (size_t i = 0; i < t->n_columns; i++)
        buf_adds(out, is_number(t->columns[i].type) ? "| ---: " : "| --- ");
    buf_adds(out, "|\n");
    for (size_t row = 0; row < t->n_rows; row++) {
        for (size_t i = 0; i < t->n_columns; i++) {
            buf_clear(&cell);
            render_cell(&cell, &t->columns[i], table_cell(t, row, i), style);
            buf_adds(out, i ? " | " : "| ");
            md_text(out, str_of(buf_str(&cell), cell.n));
        }
        buf_adds(out, " |\n");
    }
    buf_free(&cell);
}

static void md_lines(struct buf *out, const struct table *t)
{
    buf_adds(out, "```\n");
    for (size_t row = 0; row < t->n_rows; row++) {
        const struct cell *c = table_cell(t, row, 0);
        render_safe(out, str_from(c->absent ? "" : c->s), true);
        buf_addc(out, '\n');
    }
    buf_adds(out, "```\n");
}

/* ---------------------------------------------------------------- results */

static bool is_text(const struct table *t) { return t->form == TABLE_TEXT && t->n_columns == 1; }

static void add_title(struct buf *out, const struct result *r, const struct table *t,
                      const struct style *style)
{
    if (r->n_tables < 2 || t->form == TABLE_TEXT || t->form == TABLE_RECORD
        || t->form == TABLE_BRIEF || t->form == TABLE_LINE)
        return;
    if (style->mode == OUTPUT_MD) {
        buf_printf(out, "**%s**\n\n", t->name);
        return;
    }
    render_paint(out, "1", style);
    buf_adds(out, t->name);
    render_paint(out, "0", style);
    buf_addc(out, '\n');
}

static void add_table(struct buf *out, const struct table *t, const struct style *style)
{
    if (style->mode == OUTPUT_CSV)
        csv_table(out, t);
    else if (style->mode == OUTPUT_MD && is_text(t))
        md_lines(out, t);
    else if (style->mode == OUTPUT_MD)
        md_table(out, t, style);
    else if (t->form == TABLE_HEAT)
        render_heat(out, t, style);
    else if (t->form == TABLE_HIST)
        render_hist(out, t, style);
    else
        render_table_text(out, t, style);
}

void render_result(struct buf *out, struct buf *messages, const struct result *r,
                   const struct style *style)
{
    for (size_t i = 0; i < r->n_tables; i++) {
        const struct table *t = r->tables[i];
        bool apart = style->mode != OUTPUT_TEXT
                     || (t->form != TABLE_TEXT && t->form != TABLE_BRIEF)
                     || r->tables[i - !!i]->form != t->form;
        if (i && apart)
            buf_addc(out, '\n');
        if (style->mode != OUTPUT_CSV)
            add_title(out, r, t, style);
        add_table(out, t, style);
    }
    struct buf *notes = style->mode == OUTPUT_CSV ? messages : out;
    if (style->mode == OUTPUT_MD && r->n_notes && r->n_tables)
        buf_addc(out, '\n');
    for (size_t i = 0; i < r->n_notes; i++) {
        if (style->mode == OUTPUT_MD) {
            buf_adds(out, "- ");
            md_text(out, str_from(r->notes[i]));
        } else
            add_wrapped(notes, str_from(r->notes[i]), style);
        buf_addc(notes, '\n');
    }
}

/* ---------------------------------------------------------------- errors */

/* The line as typed with a caret under the bytes [column, column + length); a window of it when it
 * is long. */
static void add_caret(struct buf *out, const struct err *e, struct str line,
                      const struct style *style)
{
    size_t at = (size_t)e->column > line.n ? line.n : (size_t)e->column;
    size_t from = 0, end = line.n, room = style->width > 20 ? (size_t)style->width - 8 : 200;
    if (end > room) {
        from = at > room / 3 ? at - room / 3 : 0;
        while (from && (line.p[from] & 0xc0) == 0x80)
            from--;
        end = from + room < line.n ? from + room : line.n;
    }
    size_t length = e->length > 1 ? (size_t)e->length : 1,
           under = at + length > end ? end - at : length;
    if (at > end)
        under = 0;
    struct buf before = { 0 }, marked = { 0 };
    render_safe(&before, str_of(line.p + from, at - from), false);
    render_safe(&marked, str_of(line.p + at, under), false);
    buf_adds(out, "  ");
    buf_add(out, buf_str(&before), before.n);
    buf_add(out, buf_str(&marked), marked.n);
    if (at + under < end)
        render_safe(out, str_of(line.p + at + under, end - at - under), false);
    buf_printf(out, "\n  %*s", text_columns(str_of(buf_str(&before), before.n)), "");
    render_paint(out, "1;32", style);
    buf_addc(out, '^');
    for (int i = 1; i < text_columns(str_of(buf_str(&marked), marked.n)); i++)
        buf_addc(out, '~');
    render_paint(out, "0", style);
    buf_addc(out, '\n');
    buf_free(&before);
    buf_free(&marked);
}

void render_error(struct buf *out, const struct err *e, struct str line, const char *prefix,
                  const struct style *style)
{
    buf_adds(out, prefix);
    render_paint(out, "1;31", style);
    bool bare = e->st == ST_CANCELLED && !strcmp(e->msg, "interrupted");
    buf_adds(out, e->st == ST_CANCELLED ? "interrupted" : "error");
    buf_adds(out, bare ? "" : ":");
    render_paint(out, "0", style);
    if (!bare) {
        buf_addc(out, ' ');
        render_safe(out, str_from(e->msg), false);
    }
    if (*e->where) {
        buf_adds(out, style->utf8 ? " \u2014 " : " - ");
        render_safe(out, str_from(e->where), false);
    }
    buf_addc(out, '\n');
    if (e->column >= 0 && line.n && e->st != ST_CANCELLED)
        add_caret(out, e, line, style);
    if (*e->hint) {
        add_wrapped(out, str_from(e->hint), style);
        buf_addc(out, '\n');
    }
}
