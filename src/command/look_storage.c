/* SPDX-License-Identifier: MIT */
/* Storage: what stands in the file, byte by byte and block by block, and codes with their scales.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/look.h"
#include "kernels/view.h"

enum { LINE_VALUES = 8, LINE_CODES = 16, LINE_BYTES = 16, LINE_BITS = 4 };

/* --- where ---------------------------------------------------------------------------------------
 */

/* A weight or a point as one row of elements in storage order. */
struct source {
    struct shape shape;
    const struct weight *weight; /* NULL: all holds the activation */
    struct view all;
    int64_t n;
};

int64_t look_flat(const struct shape *s, const int64_t *at)
{
    int64_t i = 0;
    for (int d = 0; d < s->rank; d++)
        i = i * s->d[d].n + at[d];
    return i;
}

void look_split(const struct shape *s, int64_t i, int64_t *at)
{
    for (int d = s->rank - 1; d >= 0; d--) {
        at[d] = i % s->d[d].n;
        i /= s->d[d].n;
    }
}

/* The first element that the slice names. */
static enum st first_element(const struct address *a, const struct shape *s, int64_t *out,
                             struct err *e)
{
    int64_t at[SHAPE_MAX];
    for (int d = 0; d < s->rank; d++) {
        const struct index *i;
        int64_t *list, n;
        enum st st = address_item(a, s, d, &i, e);
        if (!st)
            st = index_resolve(i, s->d[d].axis, s->d[d].n, &list, &n, e);
        if (st)
            return i && e && e->column < 0 ? st_at(e, i->column, i->length) : st;
        at[d] = list[0];
        free(list);
    }
    *out = look_flat(s, at);
    return ST_OK;
}

/* Open what the address names; *at: its first element. Columns are those of text. */
static enum st source_open(struct session *s, struct str text, struct source *out, int64_t *at,
                           struct err *e)
{
    struct address *a = x_alloc(sizeof *a);
    struct match *list = NULL;
    struct source src = { .all = { .value = -1 } };
    size_t n = 0;
    enum st st = address_parse(text, a, e);
    if (!st && a->used < text.n) {
        st_fail(e, ST_SYNTAX, "unexpected text after the address");
        st = st_at(e, (int)a->used, (int)(text.n - a->used));
    }
    if (!st)
        st = lookup_names(s, a, &list, &n, e);
    if (!st && n > 1) {
        st_fail(e, ST_SYNTAX, "%zu names match; one is needed here", n);
        st = st_at(e, a->column, a->length);
    }
    if (!st && list->weight) {
        src.weight = lookup_stored(s, a, list->weight);
        src.shape = list->shape;
        st = weight_check(src.weight, e);
    } else if (!st) {
        struct address whole = *a;
        whole.n_items = 0;
        st = lookup_read(s, &whole, list, &src.all, e);
        src.shape = src.all.shape;
    }
    if (!st) {
        src.n = shape_count(&src.shape);
        if ((st = first_element(a, &src.shape, at, e)))
            view_free(&src.all);
        else
            *out = src;
    }
    free(list);
    free(a);
    return st;
}

/* Values [from, from + n), decoded. out [n]. */
static enum st source_values(const struct source *src, int64_t from, int64_t n, float *out,
                             struct err *e)
{
    if (!src->weight) {
        memcpy(out, src->all.data + from, (size_t)n * sizeof *out);
        return ST_OK;
    }
    const int64_t cols = (int64_t)src->weight->cols;
    float *row = x_alloc((size_t)cols * sizeof *row);
    enum st st = ST_OK;
    for (int64_t i = from; i < from + n && !st;) {
        int64_t c = i % cols, take = cols - c < from + n - i ? cols - c : from + n - i;
        st = weight_decode(src->weight, (uint64_t)(i / cols), 1, row, e);
        memcpy(out + (i - from), row + c, (size_t)take * sizeof *out);
        i += take;
    }
    free(row);
    return st;
}

/* --- lines ---------------------------------------------------------------------------------------
 */

void look_place_columns(struct table *t, const struct shape *s)
{
    for (int d = 0; d < s->rank; d++)
        table_column(t, COL_INT, axis_info(s->d[d].axis)->name, "");
}

void look_put_place(struct table *t, const struct shape *s, int64_t i)
{
    int64_t at[SHAPE_MAX];
    look_split(s, i, at);
    for (int d = 0; d < s->rank; d++)
        table_int(t, at[d]);
}

/* Elements from i that fit in a line of `most`: not over the end of the last axis. */
static int64_t line_length(const struct source *src, int64_t i, int64_t end, int64_t most)
{
    const int64_t n = src->shape.d[src->shape.rank - 1].n, to_end = n - i % n;
    int64_t length = end - i < most ? end - i : most;
    return length < to_end ? length : to_end;
}

static void value_text(float x, char letter, struct buf *b)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    switch (letter) {
    case 'f': buf_printf(b, "%+.6f", (double)x); break;
    case 'e': buf_printf(b, "%+.6e", (double)x); break;
    case 'h': buf_printf(b, "%+a", (double)x); break;
    case 'b':
        for (int k = 31; k >= 0; k--)
            buf_addc(b, (char)('0' + (bits >> k & 1)));
        break;
    default: buf_printf(b, "%08" PRIx32, bits); break;
    }
}

static enum st show_values(const struct source *src, int64_t from, int64_t end, char letter,
                           struct result *out, struct err *e)
{
    void *p;
    enum st st = mem_alloc(&p, (size_t)(end - from) * sizeof(float), "values", e);
    if (!st && (st = source_values(src, from, end - from, p, e)))
        mem_free(p);
    if (st)
        return st;
    const float *x = p;
    const int most = letter == 'b' ? 2 : LINE_VALUES;
    struct table *t = result_table(out, "storage", TABLE_ROWS);
    look_place_columns(t, &src->shape);
    for (int k = 0; k < most; k++) {
        char name[8];
        snprintf(name, sizeof name, "+%d", k);
        table_column(t, letter == 'g' ? COL_FLOAT : COL_STRING, name, "");
    }
    for (int64_t i = from; i < end;) {
        int64_t n = line_length(src, i, end, most);
        table_row(t);
        look_put_place(t, &src->shape, i);
        for (int64_t k = 0; k < n; k++, i++) {
            struct buf b = { 0 };
            value_text(x[i - from], letter, &b);
            if (letter == 'g')
                table_float(t, x[i - from]);
            else
                table_str(t, buf_str(&b));
            buf_free(&b);
        }
    }
    mem_free(p);
    return ST_OK;
}

const uint8_t *look_block_at(const struct weight *w, int64_t i, int64_t *inside)
{
    const struct format_info *f = format_info(w->format);
    const int64_t cols = (int64_t)w->cols, row = i / cols, col = i % cols;
    *inside = col % f->block;
    return w->data + (size_t)row * w->row_bytes + (size_t)f->row_header
           + (size_t)(col / f->block) * (size_t)f->bytes;
}

void look_view(const struct weight *w, int64_t i, int64_t *inside, struct block_view *v)
{
    format_info(w->format)->view(look_block_at(w, i, inside), v);
    const float scale = weight_scale(w, (uint64_t)i / w->cols);
    if (!w->scale)
        return;
    view_times(v, scale);
    view_f32(v, "second scale", &scale);
}

/* Bytes as stored, of whole blocks; *end moves to the end of the last one. */
static void show_bytes(const struct source *src, int64_t from, int64_t *end, bool bits,
                       struct result *out)
{
    const struct weight *w = src->weight;
    const struct format_info *f = format_info(w->format);
    const int64_t cols = (int64_t)w->cols;
    int64_t inside, line = bits ? LINE_BITS : LINE_BYTES;
    look_block_at(w, from, &inside);
    struct table *t = result_table(out, "storage", TABLE_ROWS);
    look_place_columns(t, &src->shape);
    TABLE_COLUMNS(t, { COL_INT, "offset", "B" }, { COL_STRING, "bytes" });
    int64_t i = from - inside;
    while (i < *end) { /* plain numbers share a line, a larger block takes several */
        int64_t blocks = line / f->bytes > 1 ? line / f->bytes : 1;
        const int64_t left = (cols - i % cols) / f->block,
                      wanted = (*end - i + f->block - 1) / f->block;
        blocks = blocks < left ? blocks : left;
        blocks = blocks < wanted ? blocks : wanted;
        const uint8_t *p = look_block_at(w, i, &inside);
        for (int64_t at = 0; at < blocks * f->bytes; at += line) {
            struct buf b = { 0 };
            for (int64_t k = at; k < at + line && k < blocks * f->bytes; k++)
                if (bits)
                    for (int bit = 7; bit >= -1; bit--)
                        buf_addc(&b, bit < 0 ? ' ' : (char)('0' + (p[k] >> bit & 1)));
                else
                    buf_printf(&b, "%02x ", p[k]);
            b.p[--b.n] = '\0';
            table_row(t);
            look_put_place(t, &src->shape, i);
            table_int(t, p + at - w->data);
            table_str(t, buf_str(&b));
            buf_free(&b);
        }
        i += blocks * f->block;
    }
    *end = i;
}

/* Codes: bare, or with the scales of their sub-block in the margin. */
static enum st show_codes(const struct source *src, int64_t from, int64_t end, bool scales,
                          struct result *out, struct err *e)
{
    const struct weight *w = src->weight;
    const struct format_info *f = w ? format_info(w->format) : NULL;
    if (!f || !f->view) {
        st_fail(e, ST_UNSUPPORTED,
                w ? "%s has no codes: its numbers are plain" : "activations have no codes%s",
                w ? f->name : "");
        return st_hint(e, "x/f shows the values, x/x the bits");
    }
    struct block_view *view = x_alloc(sizeof *view);
    struct table *t = result_table(out, "codes", TABLE_ROWS);
    look_place_columns(t, &src->shape);
    if (scales) {
        TABLE_COLUMNS(t, { COL_FLOAT, "scale" }, { COL_FLOAT, "offset" });
    }
    table_column(t, COL_STRING, "codes", "");
    for (int64_t i = from, inside; i < end;) {
        look_view(w, i, &inside, view);
        int64_t n = line_length(src, i, end, LINE_CODES), sub = inside / view->sub_size;
        if (n > (sub + 1) * view->sub_size - inside)
            n = (sub + 1) * view->sub_size - inside;
        struct buf b = { 0 };
        for (int64_t k = 0; k < n; k++)
            buf_printf(&b, "%s%4d", k ? " " : "", view->code[inside + k]);
        table_row(t);
        look_put_place(t, &src->shape, i);
        if (scales) {
            table_float(t, view->scale[sub]);
            table_float(t, view->offset[sub]);
        }
        table_str(t, buf_str(&b));
        buf_free(&b);
        i += n;
    }
    free(view);
    return ST_OK;
}

static enum st show(const struct source *src, int64_t from, int64_t *end, char letter,
                    struct result *out, struct err *e)
{
    if (letter == 'd' || letter == 'q')
        return show_codes(src, from, *end, letter == 'q', out, e);
    if (src->weight && (letter == 'x' || letter == 'b')) {
        show_bytes(src, from, end, letter == 'b', out);
        return ST_OK;
    }
    return show_values(src, from, *end, letter, out, e);
}

enum st look_storage(const struct weight *w, int64_t first, int64_t n, char letter,
                     struct result *out, struct err *e)
{
    struct source src = { .shape = weight_shape(w), .weight = w };
    enum st st = weight_check(w, e);
    if (st)
        return st;
    src.n = shape_count(&src.shape);
    int64_t end = n < src.n - first ? first + n : src.n;
    return show(&src, first, &end, letter, out, e);
}

/* --- x -------------------------------------------------------------------------------------------
 */

/* What `x` with nothing behind it goes on with. */
static void remember(struct examine *x, struct str text, int64_t first, int64_t next,
                     struct look_format f)
{
    struct address *a = x_alloc(sizeof *a);
    struct err ignored = ERR_INIT;
    if (!address_parse(text, a, &ignored)) {
        struct buf b = { 0 };
        a->n_items = 0;
        a->sliced = false;
        address_print(a, &b);
        free(x->address);
        x->address = buf_take(&b);
    }
    free(a);
    x->first = first;
    x->next = next;
    x->letter = f.letter;
    x->count = f.count;
}

enum st run_x(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct examine *x = &s->examine;
    struct look_format f;
    struct source src;
    const bool on = !c->rest.n;
    enum st st = look_format(c, "feghxbdq", &f, e);
    if (!st && on && !x->address) {
        call_fail(c, 0, e, ST_SYNTAX, "the storage of what?");
        st = st_hint(e, "for example x/32q blk.0.attn_q.weight[row=3]");
    }
    if (st)
        return st;
    if (!f.letter)
        f.letter = on ? x->letter : 'x';
    if (!f.count)
        f.count = on ? x->count : setting_int(&s->settings, SETTING_ELEMENTS);
    struct buf text = { 0 };
    buf_add(&text, on ? x->address : c->rest.p, on ? strlen(x->address) : c->rest.n);
    int64_t at;
    if ((st = source_open(s, str_of(buf_str(&text), text.n), &src, &at, e))) {
        buf_free(&text);
        if (on)
            return st_at(e, -1, 0);
        return e->column >= 0 ? st_at(e, e->column + c->rest_column, e->length)
                              : st_at(e, c->rest_column, (int)c->rest.n);
    }
    if (on)
        at = f.count < 0 ? x->first : x->next;
    int64_t from = at, end = at + f.count;
    if (f.count < 0) {
        from = at + f.count > 0 ? at + f.count : 0;
        end = at;
    }
    end = end < src.n ? end : src.n;
    if (from >= end)
        st = st_fail(e, ST_RANGE, "that was the %s of %s", f.count < 0 ? "beginning" : "end",
                     buf_str(&text));
    else
        st = show(&src, from, &end, f.letter, out, e);
    if (!st)
        remember(x, str_of(buf_str(&text), text.n), from, end, f);
    view_free(&src.all);
    buf_free(&text);
    return st;
}
