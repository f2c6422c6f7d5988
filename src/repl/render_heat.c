/* SPDX-License-Identifier: MIT */
/* Heat maps in a terminal: an ASCII ramp everywhere, two coloured pixels per character where the
 * terminal can. Meaning is never in the colour alone: a legend gives the scale, `!` marks what is
 * not finite. */
#include "repl/render.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static const char ramp[] = " .:-=+*#%@";
static const char signed_ramp[] = "Nn=- .+xX"; /* zero in the middle */
enum {
    RAMP = sizeof ramp - 1,
    SIGNED = sizeof signed_ramp - 1,
    MAX_LABEL = 24,
    MAX_LABELLED = 32,
    DEFAULT_WIDTH = 80
};

/* Shades of the 256-colour palette, dark to light: magnitudes from violet over green to yellow,
 * signed values from blue over white to orange. */
static const unsigned char magnitude[] = { 53, 54, 55,  61,  67,  66,  72,
                                           71, 77, 113, 149, 185, 221, 227 };
static const unsigned char diverging[] = { 21,  27,  33,  39,  75,  117, 153, 255,
                                           223, 216, 215, 209, 208, 202, 166 };

struct map {
    size_t rows, columns; /* pixels */
    double *v;            /* [row][column]; NaN for absent */
    double *level;        /* [row][column] in 0..1, NaN where not finite */
    double lo, hi;        /* of the finite values */
    size_t fold;          /* columns of the table in one pixel */
    bool both;            /* values on both sides of zero, on a linear scale */
    bool log;             /* magnitudes on a logarithmic scale */
    double floor;         /* the smallest magnitude above zero */
};

static size_t label_columns(const struct table *t)
{
    return t->n_columns
           && (t->columns[0].type == COL_STRING || t->columns[0].type == COL_ADDRESS
               || t->columns[0].type == COL_INT);
}

static double value(const struct table *t, size_t row, size_t column)
{
    const struct cell *c = table_cell(t, row, column);
    if (c->absent || (t->columns[column].type != COL_FLOAT && t->columns[column].type != COL_INT))
        return NAN;
    return t->columns[column].type == COL_INT ? (double)c->i : c->f;
}

/* Put the table's numbers in pixels; several columns share one when the line is too short, and then
 * the value of largest magnitude (or one that is not finite) stands for all. */
static struct map map_new(const struct table *t, size_t room)
{
    struct map m = { .rows = t->n_rows, .lo = INFINITY, .hi = -INFINITY, .floor = INFINITY };
    size_t first = label_columns(t), n = t->n_columns - first;
    m.fold = n > room ? (n + room - 1) / room : 1;
    m.columns = (n + m.fold - 1) / m.fold;
    m.v = x_alloc(m.rows * m.columns * sizeof *m.v);
    m.level = x_alloc(m.rows * m.columns * sizeof *m.level);
    for (size_t row = 0; row < m.rows; row++)
        for (size_t i = 0; i < n; i++) {
            double *pixel = &m.v[row * m.columns + i / m.fold], v = value(t, row, first + i);
            if (i % m.fold == 0 || (isfinite(*pixel) && !(fabs(v) <= fabs(*pixel))))
                *pixel = v;
            if (isfinite(v)) {
                m.lo = fmin(m.lo, v);
                m.hi = fmax(m.hi, v);
                if (v != 0)
                    m.floor = fmin(m.floor, fabs(v));
            }
        }
    return m;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void set_ranks(struct map *m)
{
    size_t n = m->rows * m->columns, finite = 0;
    double *sorted = x_alloc(n * sizeof *sorted);
    for (size_t i = 0; i < n; i++)
        if (isfinite(m->v[i]))
            sorted[finite++] = m->v[i];
    qsort(sorted, finite, sizeof *sorted, by_value);
    for (size_t i = 0; i < n; i++) {
        size_t lo = 0, hi = finite; /* the first of the equal values */
        while (lo < hi) {
            size_t mid = (lo + hi) / 2;
            if (sorted[mid] < m->v[i])
                lo = mid + 1;
            else
                hi = mid;
        }
        m->level[i] = !isfinite(m->v[i]) ? NAN : finite > 1 ? (double)lo / (double)(finite - 1) : 0;
    }
    free(sorted);
}

static void set_levels(struct map *m, enum heat_choice scale)
{
    if (scale == HEAT_RANK) {
        set_ranks(m);
        return;
    }
    double top = fmax(fabs(m->lo), fabs(m->hi));
    m->log = scale == HEAT_LOG && isfinite(m->floor) && top > m->floor;
    for (size_t i = 0; i < m->rows * m->columns; i++) {
        double v = m->v[i];
        if (!isfinite(v))
            m->level[i] = NAN;
        else if (m->log)
            m->level[i] = v == 0 ? 0 : log(fabs(v) / m->floor) / log(top / m->floor);
        else
            m->level[i] = m->hi > m->lo ? (v - m->lo) / (m->hi - m->lo) : v != 0;
    }
}

static int shade(double level, int shades)
{
    int i = (int)(level * shades);
    return i < 0 ? 0 : i >= shades ? shades - 1 : i;
}

/* -largest magnitude is 0, zero one half, largest magnitude 1. */
static double around_zero(const struct map *m, size_t i)
{
    double top = fmax(fabs(m->lo), fabs(m->hi));
    return top > 0 ? m->v[i] / top / 2 + 0.5 : 0.5;
}

static int color_of(const struct map *m, size_t i)
{
    if (!m->both)
        return magnitude[shade(m->level[i], sizeof magnitude)];
    return diverging[shade(around_zero(m, i), sizeof diverging)];
}

static char glyph_of(const struct map *m, size_t i)
{
    if (isnan(m->level[i]))
        return '!';
    return m->both ? signed_ramp[shade(around_zero(m, i), SIGNED)] : ramp[shade(m->level[i], RAMP)];
}

static void add_label(struct buf *out, const struct table *t, size_t row, int width,
                      const struct style *style)
{
    struct buf b = { 0 };
    if (width) {
        render_cell(&b, &t->columns[0], table_cell(t, row, 0), style);
        render_padded(out, str_of(buf_str(&b), b.n), width, false, style);
        buf_addc(out, ' ');
    }
    buf_free(&b);
}

static void add_ascii(struct buf *out, const struct table *t, const struct map *m, int label,
                      const struct style *style)
{
    for (size_t row = 0; row < m->rows; row++) {
        add_label(out, t, row, label, style);
        for (size_t i = 0; i < m->columns; i++)
            buf_addc(out, glyph_of(m, row * m->columns + i));
        buf_adds(out, "|\n");
    }
}

/* One coloured cell for each pixel, or one for two above each other. Few rows keep a line, and so a
 * label, each. */
static void add_colors(struct buf *out, const struct table *t, const struct map *m, int label,
                       const struct style *style)
{
    size_t step = m->rows > MAX_LABELLED ? 2 : 1;
    for (size_t row = 0; row < m->rows; row += step) {
        bool two = step == 2 && row + 1 < m->rows;
        add_label(out, t, row, label, style);
        for (size_t i = 0; i < m->columns; i++) {
            size_t upper = row * m->columns + i, lower = upper + m->columns;
            bool odd = isnan(m->level[upper]) || (two && isnan(m->level[lower]));
            if (odd)
                buf_adds(out, "\033[38;5;0;48;5;201m!"); /* magenta, and a sign */
            else if (step == 1)
                buf_printf(out, "\033[48;5;%dm ", color_of(m, upper));
            else if (two)
                buf_printf(out, "\033[38;5;%d;48;5;%dm\u2580", color_of(m, upper),
                           color_of(m, lower));
            else
                buf_printf(out, "\033[38;5;%dm\u2580", color_of(m, upper));
        }
        buf_adds(out, "\033[0m\n");
    }
}

static void add_legend(struct buf *out, const struct table *t, const struct map *m, bool half,
                       const struct style *style)
{
    static const char *const names[] = {
        [HEAT_LIN] = "lin", [HEAT_LOG] = "log of the magnitude", [HEAT_RANK] = "rank"
    };
    char lo[40], hi[40];
    if (!(m->lo <= m->hi)) {
        buf_adds(out, "no finite value\n");
        return;
    }
    double top = fmax(fabs(m->lo), fabs(m->hi));
    text_digits(lo, sizeof lo, m->log ? m->floor : m->lo, style->digits);
    text_digits(hi, sizeof hi, m->log ? top : m->hi, style->digits);
    if (half)
        buf_printf(out, m->both ? "blue %s, white 0, orange %s" : "dark %s to light %s", lo, hi);
    else
        buf_printf(out,
                   m->both ? "'N' below 0, ' ' near 0, 'X' above: %s to %s" : "' ' %s to '@' %s",
                   lo, hi);
    buf_printf(out, " (%s); ! no number", names[style->heat]);
    size_t first = label_columns(t);
    buf_adds(out, "\ncolumns: ");
    render_safe(out, str_from(t->columns[first].name), false);
    buf_adds(out, " to ");
    render_safe(out, str_from(t->columns[t->n_columns - 1].name), false);
    if (m->fold > 1)
        buf_printf(out, ", %zu in one (the largest magnitude)", m->fold);
    buf_addc(out, '\n');
}

void render_heat(struct buf *out, const struct table *t, const struct style *style)
{
    size_t first = label_columns(t);
    if (!t->n_rows || t->n_columns <= first) {
        buf_adds(out, "(none)\n");
        return;
    }
    int label = 0;
    for (size_t row = 0; first && row < t->n_rows; row++) {
        struct buf b = { 0 };
        render_cell(&b, &t->columns[0], table_cell(t, row, 0), style);
        int w = text_columns(str_of(buf_str(&b), b.n));
        label = w > label ? w : label;
        buf_free(&b);
    }
    label = label > MAX_LABEL ? MAX_LABEL : label;
    int room = (style->width ? style->width : DEFAULT_WIDTH) - label - 2;
    struct map m = map_new(t, room > 8 ? (size_t)room : 8);
    set_levels(&m, style->heat);
    m.both = m.lo < 0 && m.hi > 0 && style->heat == HEAT_LIN;
    bool half = style->color && style->utf8 && style->glyphs != GLYPHS_ASCII;
    if (half)
        add_colors(out, t, &m, label, style);
    else
        add_ascii(out, t, &m, label, style);
    add_legend(out, t, &m, half, style);
    free(m.v);
    free(m.level);
}
