/* SPDX-License-Identifier: MIT */
/* Elements of a view as a table: axes by name, entries by their true index, tokens with their text.
 */
#include "command/look.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "session/expression.h"

enum { GRID = 8, MAX_COUNT = 1 << 24 };

enum st look_format(const struct call *c, const char *letters, struct look_format *out,
                    struct err *e)
{
    struct look_format f = { 0 };
    struct str t = c->format;
    const int column = t.n ? (int)(t.p - c->line.p) : 0;
    size_t i = t.n && (t.p[0] == '-' || t.p[0] == '+');
    while (i < t.n && isdigit((unsigned char)t.p[i]))
        i++;
    if (i) {
        struct str digits = t.p[0] == '+' ? str_of(t.p + 1, i - 1) : str_of(t.p, i);
        enum st st = parse_i64(digits, -MAX_COUNT, MAX_COUNT, &f.count, e);
        if (st)
            return st_at(e, column, (int)i);
    }
    if (i < t.n)
        f.letter = t.p[i];
    if (t.n && (i + 1 < t.n || (f.letter && !strchr(letters, f.letter)))) {
        st_fail(e, ST_SYNTAX, "`/%.*s` is no format of %s", (int)(t.n > 20 ? 20 : t.n), t.p,
                c->verb->name);
        st_hint(e, "a count and one letter of %s; `help %s` says what they mean", letters,
                c->verb->name);
        return st_at(e, column, (int)t.n);
    }
    *out = f;
    return ST_OK;
}

enum st look_operand(struct session *s, const struct call *c, struct view *out, int *next,
                     struct err *e)
{
    size_t used;
    if (!c->n_words) {
        call_fail(c, 0, e, ST_SYNTAX, "%s of what?", c->verb->name);
        return st_hint(e, "%s %s", c->verb->name, verb_args(c->verb));
    }
    enum st st = expression_prefix(s, c->rest, out, &used, e);
    if (st)
        return e && e->column >= 0 ? st_at(e, e->column + c->rest_column, e->length) : st;
    const int end = c->rest_column + (int)used;
    *next = 0;
    while (*next < c->n_words && c->words[*next].column + c->words[*next].length <= end)
        ++*next;
    if (*next < c->n_words && c->words[*next].column < end) {
        view_free(out);
        st_fail(e, ST_SYNTAX, "expected an operator: + - * /");
        return st_at(e, end, 1);
    }
    return ST_OK;
}

enum st look_number(const struct call *c, int i, int64_t lo, int64_t hi, int64_t *out,
                    struct err *e)
{
    if (i >= c->n_words)
        return call_fail(c, i, e, ST_SYNTAX, "a number is missing");
    enum st st = parse_i64(c->words[i].text, lo, hi, out, e);
    return st ? st_at(e, c->words[i].column, c->words[i].length) : ST_OK;
}

bool look_has_text(const struct view *v, int d)
{
    const enum axis a = v->shape.d[d].axis;
    return v->run && (a == AXIS_TOK || a == AXIS_KEY || a == AXIS_VOCAB);
}

void look_text(const struct view *v, int d, int64_t entry, struct buf *out)
{
    const int64_t i = v->index[d][entry];
    if (v->shape.d[d].axis == AXIS_VOCAB)
        session_token_text(v->run, (int32_t)i, out);
    else if (i < run_n_tokens(v->run->run))
        session_token_text(v->run, run_tokens(v->run->run)[i], out);
}

/* Entry k of the `shown` entries of n that are shown: the first half and the last half. */
static int64_t entry_at(int64_t k, int64_t shown, int64_t n)
{
    const int64_t head = (shown + 1) / 2;
    return k < head ? k : n - shown + k;
}

/* One number, formatted for people. */
static void format_value(const struct view *v, float x, char letter, struct buf *out)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    switch (letter) {
    case 'f': buf_printf(out, "%+.6f", (double)x); break;
    case 'e': buf_printf(out, "%+.6e", (double)x); break;
    case 'h': buf_printf(out, "%+a", (double)x); break;
    case 'x': buf_printf(out, "%08" PRIx32, bits); break;
    case 'b':
        for (int i = 31; i >= 0; i--)
            buf_printf(out, "%d%s", (int)(bits >> i & 1), i == 31 || i == 23 ? " " : "");
        break;
    case 'T':
        if (v->run && x >= 0 && x < 2147483648.0f)
            session_token_text(v->run, (int32_t)x, out);
        else
            buf_printf(out, "%.0f", (double)x);
        break;
    }
}

static enum column_type value_type(char letter)
{
    return letter && letter != 'g' ? COL_STRING : COL_FLOAT;
}

static void put_value(struct table *t, const struct view *v, int64_t i, char letter)
{
    if (value_type(letter) == COL_FLOAT) {
        table_float(t, v->data[i]);
        return;
    }
    struct buf b = { 0 };
    format_value(v, v->data[i], letter, &b);
    table_str(t, buf_str(&b));
    buf_free(&b);
}

/* Columns that say where a row stands: the index along dimensions [0, rank), and texts. */
static void label_columns(struct table *t, const struct view *v, int rank)
{
    for (int d = 0; d < rank; d++) {
        const char *axis = axis_info(v->shape.d[d].axis)->name;
        table_column(t, COL_INT, axis, "");
        if (look_has_text(v, d)) {
            char name[24];
            snprintf(name, sizeof name, v->shape.d[d].axis == AXIS_TOK ? "text" : "%s_text", axis);
            table_column(t, COL_STRING, name, "");
        }
    }
}

static void put_labels(struct table *t, const struct view *v, int rank, const int64_t *at)
{
    for (int d = 0; d < rank; d++) {
        table_int(t, v->index[d][at[d]]);
        if (!look_has_text(v, d))
            continue;
        struct buf b = { 0 };
        look_text(v, d, at[d], &b);
        table_str(t, buf_str(&b));
        buf_free(&b);
    }
}

static void split(const struct view *v, int rank, int64_t flat, int64_t *at)
{
    for (int d = rank - 1; d >= 0; d--) {
        at[d] = flat % v->shape.d[d].n;
        flat /= v->shape.d[d].n;
    }
}

/* One row per entry of the leading axes, the last axis across. */
static void wide(const struct view *v, int64_t rows, int64_t row_count, int64_t columns,
                 char letter, struct table *t)
{
    const int last = v->shape.rank - 1;
    const int64_t n = v->shape.d[last].n;
    label_columns(t, v, last);
    for (int64_t k = 0; k < columns; k++) {
        char name[40];
        snprintf(name, sizeof name, "%s=%" PRId64, axis_info(v->shape.d[last].axis)->name,
                 v->index[last][entry_at(k, columns, n)]);
        table_column(t, value_type(letter), name, "");
    }
    for (int64_t r = 0; r < rows; r++) {
        int64_t at[SHAPE_MAX], row = entry_at(r, rows, row_count);
        split(v, last, row, at);
        table_row(t);
        put_labels(t, v, last, at);
        for (int64_t k = 0; k < columns; k++)
            put_value(t, v, row * n + entry_at(k, columns, n), letter);
    }
}

/* One row of the leading axes: eight entries of the last axis in a line. */
static void grid(const struct view *v, int64_t shown, char letter, struct table *t)
{
    const int last = v->shape.rank - 1;
    const int64_t n = v->shape.d[last].n, head = shown < n ? (shown + 1) / 2 : n;
    int64_t at[SHAPE_MAX] = { 0 };
    label_columns(t, v, last + 1);
    for (int k = 0; k < GRID && k < shown; k++) {
        char name[8];
        snprintf(name, sizeof name, "+%d", k);
        table_column(t, value_type(letter), name, "");
    }
    for (int64_t i = 0; i < n;) {
        int64_t end = i < head ? head : n;
        at[last] = i;
        table_row(t);
        put_labels(t, v, last + 1, at);
        for (int k = 0; k < GRID && i < end; k++, i++)
            put_value(t, v, i, letter);
        if (i == head && shown < n)
            i = n - (shown - head);
    }
}

static void list(const struct view *v, int64_t shown, char letter, struct table *t)
{
    const int last = v->shape.rank - 1;
    label_columns(t, v, last + 1);
    table_column(t, value_type(letter), "value", "");
    for (int64_t k = 0; k < shown; k++) {
        int64_t at[SHAPE_MAX] = { 0 };
        at[last] = entry_at(k, shown, v->shape.d[last].n);
        table_row(t);
        put_labels(t, v, last + 1, at);
        put_value(t, v, at[last], letter);
    }
}

static bool contiguous(const struct view *v, int d)
{
    for (int64_t i = 1; i < v->shape.d[d].n; i++)
        if (v->index[d][i] != v->index[d][i - 1] + 1)
            return false;
    return true;
}

void look_elements(const struct view *v, int64_t most, char letter, struct result *out)
{
    if (!v->shape.rank) {
        if (value_type(letter) == COL_FLOAT)
            return; /* the table `value` says it */
        struct table *t = result_table(out, "elements", TABLE_ROWS);
        table_column(t, COL_STRING, "value", "");
        table_row(t);
        put_value(t, v, 0, letter);
        return;
    }
    struct table *t = result_table(out, "elements", TABLE_ROWS);
    const int last = v->shape.rank - 1;
    const int64_t all = view_count(v), n = v->shape.d[last].n, rows = n ? all / n : 0;
    int64_t shown_rows = rows, shown = n;
    if (all > most) {
        shown = n < GRID ? n : GRID;
        shown = shown < most ? shown : most;
        shown_rows = most / shown < rows ? most / shown : rows;
        if (shown_rows == rows)
            shown = most / rows < n ? most / rows : n;
    }
    if (rows > 1)
        wide(v, shown_rows, rows, shown, letter, t);
    else if (n > GRID && contiguous(v, last) && !look_has_text(v, last))
        grid(v, shown, letter, t);
    else
        list(v, shown, letter, t);
    if (shown * shown_rows < all)
        result_note(out,
                    "%" PRId64 " of %" PRId64
                    " values, from both ends; `set elements N` or a slice shows others",
                    shown * shown_rows, all);
}

struct ranked {
    float x;
    int64_t at;
};

/* NaN last, of equals the first first. */
static int by_size(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (isnan(x->x) != isnan(y->x))
        return isnan(x->x) ? 1 : -1;
    return x->x > y->x ? -1 : x->x < y->x ? 1 : (x->at > y->at) - (x->at < y->at);
}

/* heap[0] has been replaced: the last in order comes to the top again. */
static void sift(struct ranked *heap, int64_t n, int64_t i)
{
    const struct ranked one = heap[i];
    for (int64_t down; (down = 2 * i + 1) < n; i = down) {
        if (down + 1 < n && by_size(&heap[down + 1], &heap[down]) > 0)
            down++;
        if (by_size(&heap[down], &one) <= 0)
            break;
        heap[i] = heap[down];
    }
    heap[i] = one;
}

/* The first n elements in order of by_size, of at least n. */
static enum st pick(const struct view *v, struct ranked *heap, int64_t n, struct progress *p,
                    struct err *e)
{
    const int64_t all = view_count(v);
    for (int64_t i = 0; i < all; i++) {
        const struct ranked one = { v->data[i], i };
        if (i % VIEW_PIECE == 0 && !progress_tick(p, "ranking", (double)i, (double)all))
            return st_fail(e, ST_CANCELLED, "interrupted");
        if (i < n)
            heap[i] = one;
        for (int64_t k = i == n - 1 ? n / 2 : 0; k-- > 0;)
            sift(heap, n, k);
        if (i >= n && by_size(&one, heap) < 0) {
            heap[0] = one;
            sift(heap, n, 0);
        }
    }
    qsort(heap, (size_t)n, sizeof *heap, by_size);
    return ST_OK;
}

enum st look_top(const struct view *v, int64_t n, struct progress *p, struct result *out,
                 struct err *e)
{
    const int64_t all = view_count(v), shown = n < all ? n : all;
    void *heap;
    enum st st = mem_alloc(&heap, (size_t)shown * sizeof(struct ranked), "sorting", e);
    if (!st && (st = pick(v, heap, shown, p, e)))
        mem_free(heap);
    if (st)
        return st;
    const struct ranked *order = heap;
    struct table *t = result_table(out, "top", TABLE_ROWS);
    table_column(t, COL_INT, "rank", "");
    label_columns(t, v, v->shape.rank);
    table_column(t, COL_FLOAT, "value", "");
    for (int64_t k = 0; k < shown; k++) {
        int64_t at[SHAPE_MAX];
        split(v, v->shape.rank, order[k].at, at);
        table_row(t);
        table_int(t, k + 1);
        put_labels(t, v, v->shape.rank, at);
        table_float(t, order[k].x);
    }
    mem_free(heap);
    return ST_OK;
}
