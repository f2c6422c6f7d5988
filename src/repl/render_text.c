/* SPDX-License-Identifier: MIT */
/* Tables as people read them in a terminal: aligned rows, records, lines, bars. */
#include "repl/render.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { GAP = 2, MIN_TEXT = 8, COMFORTABLE_TEXT = 24 };

/* All cells of a table as text, and how wide each column is. Columns without any value are left
 * out. */
struct layout {
    const struct table *t;
    size_t *column; /* [n] of the table */
    size_t n;
    char **text; /* [row + 1][n]; row 0 is the header */
    int *width;  /* [n] */
};

static char *header(const struct column *c)
{
    struct buf b = { 0 };
    render_safe(&b, str_from(c->name), false);
    if (*c->unit) {
        buf_adds(&b, " (");
        render_safe(&b, str_from(c->unit), false);
        buf_addc(&b, ')');
    }
    return buf_take(&b);
}

static bool is_empty(const struct table *t, size_t column)
{
    for (size_t row = 0; row < t->n_rows; row++)
        if (!render_nothing(table_cell(t, row, column)))
            return false;
    return t->n_rows > 0;
}

static struct layout layout_new(const struct table *t, const struct style *style)
{
    struct layout l = { .t = t };
    l.column = x_alloc(t->n_columns * sizeof *l.column);
    for (size_t i = 0; i < t->n_columns; i++)
        if (i == 0 || (!is_empty(t, i) && !t->columns[i].quiet))
            l.column[l.n++] = i;
    l.text = x_alloc((t->n_rows + 1) * l.n * sizeof *l.text);
    l.width = x_alloc(l.n * sizeof *l.width);
    for (size_t row = 0; row <= t->n_rows; row++)
        for (size_t i = 0; i < l.n; i++) {
            const struct column *column = &t->columns[l.column[i]];
            struct buf b = { 0 };
            if (row)
                render_cell(&b, column, table_cell(t, row - 1, l.column[i]), style);
            char *s = row ? buf_take(&b) : header(column);
            int w = text_columns(str_from(s));
            l.text[row * l.n + i] = s;
            if (w > l.width[i])
                l.width[i] = w;
        }
    return l;
}

static void layout_free(struct layout *l)
{
    for (size_t i = 0; i < (l->t->n_rows + 1) * l->n; i++)
        free(l->text[i]);
    free(l->text);
    free(l->width);
    free(l->column);
}

/* " points", " point" behind a 1. */
static void add_unit(struct buf *out, const struct column *c, const struct cell *value)
{
    struct str unit = str_from(c->unit);
    if (value->absent)
        return;
    if (c->type == COL_INT && value->i == 1 && unit.n > 2 && str_ends(unit, "s")
        && !memchr(unit.p, '/', unit.n))
        unit.n--;
    if (unit.n)
        buf_printf(out, " %.*s", (int)unit.n, unit.p);
}

static bool is_text(enum column_type type) { return type == COL_STRING || type == COL_ADDRESS; }

static enum column_type type_of(const struct layout *l, size_t i)
{
    return l->t->columns[l->column[i]].type;
}

static int total(const struct layout *l)
{
    int sum = 0;
    for (size_t i = 0; i < l->n; i++)
        sum += l->width[i] + (i ? GAP : 0);
    return sum;
}

/* Text that may be cut. Names are not: of `blk.0.attn_output.in` the end tells it from its kin. */
static bool gives(const struct layout *l, size_t i) { return type_of(l, i) == COL_STRING; }

/* Narrow the widest columns of text from `first` on, none below `least`, until the line fits. */
static void narrow(struct layout *l, int width, size_t first, int least)
{
    for (int excess = total(l) - width; excess > 0; excess = total(l) - width) {
        size_t widest = l->n;
        int second = least;
        for (size_t i = first; i < l->n; i++) {
            if (!gives(l, i))
                continue;
            int w = l->width[i];
            if (widest == l->n || w > l->width[widest]) {
                if (widest < l->n && l->width[widest] > second)
                    second = l->width[widest];
                widest = i;
            } else if (w > second)
                second = w;
        }
        if (widest == l->n || l->width[widest] <= least)
            return;
        int give = l->width[widest] - second;
        give = give > 0 ? give : 1;
        l->width[widest] -= give < excess ? give : excess;
    }
}

/* How wide the line is at least with the text in it cut to MIN_TEXT. */
static int least_total(const struct layout *l)
{
    int floor = total(l);
    for (size_t i = 0; i < l->n; i++)
        if (gives(l, i) && l->width[i] > MIN_TEXT)
            floor -= l->width[i] - MIN_TEXT;
    return floor;
}

static bool all_zero(const struct layout *l, size_t i)
{
    const struct table *t = l->t;
    const enum column_type type = type_of(l, i);
    if (type != COL_INT && type != COL_FLOAT)
        return false;
    for (size_t row = 0; row < t->n_rows; row++) {
        const struct cell *c = table_cell(t, row, l->column[i]);
        if (!c->absent && (type == COL_INT ? c->i != 0 : !(c->f == 0)))
            return false;
    }
    return t->n_rows > 0;
}

static void remove_column(struct layout *l, size_t at)
{
    const size_t rows = l->t->n_rows + 1;
    size_t kept = 0;
    for (size_t i = 0; i < rows * l->n; i++)
        if (i % l->n == at)
            free(l->text[i]);
        else
            l->text[kept++] = l->text[i];
    l->n--;
    memmove(l->column + at, l->column + at + 1, (l->n - at) * sizeof *l->column);
    memmove(l->width + at, l->width + at + 1, (l->n - at) * sizeof *l->width);
}

/* A line that cannot fit does without the columns that are zero in every row, the last first; their
 * names go to *left. */
static void leave_out_zeros(struct layout *l, int width, struct buf *left)
{
    for (size_t i = l->n; width && --i > 0 && least_total(l) > width;)
        if (all_zero(l, i)) {
            buf_printf(left, "%s%s", left->n ? ", " : "", l->t->columns[l->column[i]].name);
            remove_column(l, i);
        }
}

/* Make the line fit: text gives, that of the first column, mostly a name, last. A line that cannot
 * fit is going to be cut in parts, each with that name; a name wider than the line is cut too. */
static void shrink(struct layout *l, int width)
{
    if (!width)
        return;
    narrow(l, width, 1, COMFORTABLE_TEXT);
    narrow(l, width, 0, COMFORTABLE_TEXT);
    if (least_total(l) <= width) {
        narrow(l, width, 0, MIN_TEXT);
        return;
    }
    for (size_t i = 0; i < l->n; i++) {
        int most = i ? width - l->width[0] - GAP : gives(l, 0) ? width / 2 : width - GAP - MIN_TEXT;
        if (is_text(type_of(l, i)) && l->width[i] > most)
            l->width[i] = most > MIN_TEXT ? most : MIN_TEXT;
    }
}

/* Columns that name a row, to be repeated in each part of a wide table: those in front of the first
 * measured value, as far as they leave half of the line. */
static size_t key_columns(const struct layout *l, int width)
{
    size_t n = 1;
    int used = l->width[0];
    while (n < l->n && type_of(l, n) != COL_FLOAT && used + GAP + l->width[n] <= width / 2) {
        used += GAP + l->width[n];
        n++;
    }
    return n;
}

/* One line of columns [from, end), after the first `keys` ones. */
static void add_line(struct buf *out, const struct layout *l, size_t row, size_t keys, size_t from,
                     size_t end, const struct style *style)
{
    size_t start = out->n;
    for (size_t i = from ? 0 : from; i < end; i++) {
        if (i == keys && i < from)
            i = from;
        if (i)
            buf_printf(out, "%*s", GAP, "");
        render_padded(out, str_from(l->text[row * l->n + i]), l->width[i],
                      !is_text(type_of(l, i)) && type_of(l, i) != COL_BOOL, style);
    }
    while (out->n > start && out->p[out->n - 1] == ' ')
        out->p[--out->n] = '\0';
    buf_addc(out, '\n');
}

/* How many columns from `from` on fit in a line, behind the first `keys` ones; at least one. */
static size_t part_end(const struct layout *l, size_t keys, size_t from, int width)
{
    int used = 0;
    for (size_t i = 0; from && i < keys; i++)
        used += l->width[i] + GAP;
    size_t end = from;
    do
        used += l->width[end++] + GAP;
    while (end < l->n && (!width || used + l->width[end] <= width));
    return end;
}

static void add_rows(struct buf *out, const struct table *t, const struct style *style)
{
    struct layout l = layout_new(t, style);
    struct buf left = { 0 };
    leave_out_zeros(&l, style->width, &left);
    shrink(&l, style->width);
    size_t keys = key_columns(&l, style->width);
    for (size_t from = 0, end; from < l.n; from = end) {
        end = part_end(&l, keys, from, style->width);
        if (from)
            buf_addc(out, '\n');
        render_paint(out, "1", style);
        add_line(out, &l, 0, keys, from, end, style);
        if (style->color) {
            out->n--; /* the reset stands before the newline */
            render_paint(out, "0", style);
            buf_addc(out, '\n');
        }
        for (size_t row = 1; row <= t->n_rows; row++)
            add_line(out, &l, row, keys, from, end, style);
    }
    if (!t->n_rows)
        buf_adds(out, "(none)\n");
    if (left.n)
        buf_printf(out, "(0 in every row: %s)\n", left.p);
    buf_free(&left);
    layout_free(&l);
}

static void add_records(struct buf *out, const struct table *t, const struct style *style)
{
    int width = 0;
    for (size_t i = 0; i < t->n_columns; i++) {
        int w = text_columns(str_from(t->columns[i].name));
        width = w > width ? w : width;
    }
    struct buf cell = { 0 };
    for (size_t row = 0; row < t->n_rows; row++) {
        if (row)
            buf_addc(out, '\n');
        for (size_t i = 0; i < t->n_columns; i++) {
            const struct cell *c = table_cell(t, row, i);
            if (render_nothing(c) || t->columns[i].quiet)
                continue;
            buf_clear(&cell);
            render_cell(&cell, &t->columns[i], c, style);
            add_unit(&cell, &t->columns[i], c);
            render_padded(out, str_from(t->columns[i].name), width + GAP, false, style);
            int room = style->width - width - GAP,
                need = text_columns(str_of(buf_str(&cell), cell.n));
            render_padded(out, str_of(buf_str(&cell), cell.n),
                          style->width && need > room && room > 0 ? room : need, false, style);
            buf_addc(out, '\n');
        }
    }
    buf_free(&cell);
}

/* ---- brief rows ---- */

/* The cell of the row under a name; NULL: there is none, or nothing in it. */
static const struct cell *cell_of(const struct table *t, size_t row, const char *name)
{
    const int at = name ? table_find(t, name) : -1;
    const struct cell *c = at < 0 ? NULL : table_cell(t, row, (size_t)at);
    return c && !render_nothing(c) ? c : NULL;
}

/* Is the column read with another one that is there? */
static bool read_with_another(const struct table *t, size_t row, size_t column)
{
    const char *name = t->columns[column].name;
    for (size_t i = 0; i < t->n_columns; i++) {
        const char *const with[] = { t->columns[i].was, t->columns[i].low, t->columns[i].high };
        for (int k = 0; k < 3 && !render_nothing(table_cell(t, row, i)); k++)
            if (with[k] && !strcmp(with[k], name))
                return true;
    }
    return false;
}

/* "kl 0 -> 0.01 [0.008, 0.012] nat/token" */
static void add_pair(struct buf *out, const struct table *t, size_t row, size_t column,
                     const struct style *style)
{
    const struct column *c = &t->columns[column];
    const struct cell *was = cell_of(t, row, c->was), *low = cell_of(t, row, c->low),
                      *high = cell_of(t, row, c->high), *is = table_cell(t, row, column);
    render_safe(out, str_from(c->name), false);
    buf_addc(out, ' ');
    if (was) {
        render_cell(out, c, was, style);
        buf_adds(out, " -> ");
    }
    render_cell(out, c, is, style);
    if (low && high) {
        buf_adds(out, " [");
        render_cell(out, c, low, style);
        buf_adds(out, ", ");
        render_cell(out, c, high, style);
        buf_addc(out, ']');
    }
    add_unit(out, c, is);
}

static void add_brief(struct buf *out, const struct table *t, const struct style *style)
{
    enum { LABEL = 10, WIDTH = 80 };
    const int width = style->width ? style->width : WIDTH;
    struct buf pair = { 0 };
    for (size_t row = 0; row < t->n_rows; row++) {
        render_cell(&pair, &t->columns[0], table_cell(t, row, 0), style);
        render_padded(out, str_of(buf_str(&pair), pair.n), LABEL, false, style);
        int at = LABEL;
        for (size_t i = 1; i < t->n_columns; i++) {
            if (render_nothing(table_cell(t, row, i)) || t->columns[i].quiet
                || read_with_another(t, row, i))
                continue;
            buf_clear(&pair);
            add_pair(&pair, t, row, i, style);
            const int wide = text_columns(str_of(buf_str(&pair), pair.n));
            if (at > LABEL && at + GAP + wide > width) {
                buf_printf(out, "\n%*s", LABEL, "");
                at = LABEL;
            } else if (at > LABEL) {
                buf_printf(out, "%*s", GAP, "");
                at += GAP;
            }
            buf_add(out, buf_str(&pair), pair.n);
            at += wide;
        }
        buf_addc(out, '\n');
        buf_clear(&pair);
    }
    buf_free(&pair);
}

static void add_lines(struct buf *out, const struct table *t)
{
    for (size_t row = 0; row < t->n_rows; row++)
        for (size_t i = 0; i < t->n_columns; i++) {
            const struct cell *c = table_cell(t, row, i);
            if (!c->absent && is_text(t->columns[i].type))
                render_safe(out, str_from(c->s), true);
            buf_addc(out, i + 1 < t->n_columns ? ' ' : '\n');
        }
}

/* "breakpoint  1  s0:blk.2.ffn_down.out  absmax  1.07": values alone, units behind them. */
static void add_joined(struct buf *out, const struct table *t, const struct style *style)
{
    for (size_t row = 0; row < t->n_rows; row++) {
        bool first = true;
        for (size_t i = 0; i < t->n_columns; i++) {
            const struct cell *c = table_cell(t, row, i);
            if (render_nothing(c) || t->columns[i].quiet)
                continue;
            buf_adds(out, first ? "" : "  ");
            render_cell(out, &t->columns[i], c, style);
            add_unit(out, &t->columns[i], c);
            first = false;
        }
        buf_addc(out, '\n');
    }
}

void render_table_text(struct buf *out, const struct table *t, const struct style *style)
{
    if (t->form == TABLE_TEXT)
        add_lines(out, t);
    else if (t->form == TABLE_LINE)
        add_joined(out, t, style);
    else if (t->form == TABLE_RECORD)
        add_records(out, t, style);
    else if (t->form == TABLE_BRIEF)
        add_brief(out, t, style);
    else
        add_rows(out, t, style);
}

/* A bar of `eighths` of a column, at least a trace of one when something was counted. */
static void add_bar(struct buf *out, int eighths, const struct style *style)
{
    static const char *const parts[] = { "",       "\u258f", "\u258e", "\u258d",
                                         "\u258c", "\u258b", "\u258a", "\u2589" };
    for (int i = 0; i < eighths / 8; i++)
        buf_adds(out, style->utf8 ? "\u2588" : "#");
    if (style->utf8)
        buf_adds(out, parts[eighths % 8]);
    else if (eighths % 8 >= 4 || eighths < 8)
        buf_adds(out, eighths ? (eighths < 4 ? "." : "#") : "");
}

void render_hist(struct buf *out, const struct table *t, const struct style *style)
{
    if (t->n_columns != 3 || t->columns[0].type != COL_FLOAT || t->columns[1].type != COL_FLOAT
        || t->columns[2].type != COL_INT) {
        add_rows(out, t, style);
        return;
    }
    struct layout l = layout_new(t, style);
    int64_t most = 1;
    for (size_t row = 0; row < t->n_rows; row++)
        if (!table_cell(t, row, 2)->absent && table_cell(t, row, 2)->i > most)
            most = table_cell(t, row, 2)->i;
    int room = (style->width ? style->width : 80) - total(&l) - GAP;
    add_line(out, &l, 0, 0, 0, 3, style);
    for (size_t row = 0; row < t->n_rows; row++) {
        add_line(out, &l, row + 1, 0, 0, 3, style);
        const struct cell *c = table_cell(t, row, 2);
        int eighths = c->absent || room < 8 ? 0 : (int)((double)c->i / (double)most * room * 8);
        if (!c->absent && c->i > 0 && eighths == 0 && room >= 8)
            eighths = 1;
        if (!eighths)
            continue;
        out->n--; /* the bar stands on the same line */
        buf_printf(out, "%*s", GAP, "");
        add_bar(out, eighths, style);
        buf_addc(out, '\n');
    }
    layout_free(&l);
}
