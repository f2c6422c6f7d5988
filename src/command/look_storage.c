/* SPDX-License-Identifier: MIT */
/* Storage: what stands in the file, byte by byte and block by block, and codes with their scales.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/look.h"

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

static int64_t flat(const struct shape *s, const int64_t *at)
{
    int64_t i = 0;
    for (int d = 0; d < s->rank; d++)
        i = i * s->d[d].n + at[d];
    return i;
}

static void unflat(const struct shape *s, int64_t i, int64_t *at)
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
    *out = flat(s, at);
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
        src.weight = list->weight;
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

static void place_columns(struct table *t, const struct shape *s)
{
    for (int d = 0; d < s->rank; d++)
        table_column(t, COL_INT, axis_info(s->d[d].axis)->name, "");
}

static void put_place(struct table *t, const struct shape *s, int64_t i)
{
    int64_t at[SHAPE_MAX];
    unflat(s, i, at);
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
    place_columns(t, &src->shape);
    for (int k = 0; k < most; k++) {
        char name[8];
        snprintf(name, sizeof name, "+%d", k);
        table_column(t, letter == 'g' ? COL_FLOAT : COL_STRING, name, "");
    }
    for (int64_t i = from; i < end;) {
        int64_t n = line_length(src, i, end, most);
        table_row(t);
        put_place(t, &src->shape, i);
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

/* The bytes of the block of w that holds element i, and how many elements lie in front of i in it.
 */
static const uint8_t *block_at(const struct weight *w, int64_t i, int64_t *inside)
{
    const struct format_info *f = format_info(w->format);
    const int64_t cols = (int64_t)w->cols, row = i / cols, col = i % cols;
    *inside = col % f->block;
    return w->data + (size_t)row * w->row_bytes + (size_t)f->row_header
           + (size_t)(col / f->block) * (size_t)f->bytes;
}

/* Bytes as stored, of whole blocks; *end moves to the end of the last one. */
static void show_bytes(const struct source *src, int64_t from, int64_t *end, bool bits,
                       struct result *out)
{
    const struct weight *w = src->weight;
    const struct format_info *f = format_info(w->format);
    const int64_t cols = (int64_t)w->cols;
    int64_t inside, line = bits ? LINE_BITS : LINE_BYTES;
    block_at(w, from, &inside);
    struct table *t = result_table(out, "storage", TABLE_ROWS);
    place_columns(t, &src->shape);
    table_column(t, COL_INT, "offset", "B");
    table_column(t, COL_STRING, "bytes", "");
    int64_t i = from - inside;
    while (i < *end) { /* plain numbers share a line, a larger block takes several */
        int64_t blocks = line / f->bytes > 1 ? line / f->bytes : 1;
        const int64_t left = (cols - i % cols) / f->block,
                      wanted = (*end - i + f->block - 1) / f->block;
        blocks = blocks < left ? blocks : left;
        blocks = blocks < wanted ? blocks : wanted;
        const uint8_t *p = block_at(w, i, &inside);
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
            put_place(t, &src->shape, i);
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
    place_columns(t, &src->shape);
    if (scales) {
        table_column(t, COL_FLOAT, "scale", "");
        table_column(t, COL_FLOAT, "offset", "");
    }
    table_column(t, COL_STRING, "codes", "");
    for (int64_t i = from, inside; i < end;) {
        f->view(block_at(w, i, &inside), view);
        int64_t n = line_length(src, i, end, LINE_CODES), sub = inside / view->sub_size;
        if (n > (sub + 1) * view->sub_size - inside)
            n = (sub + 1) * view->sub_size - inside;
        struct buf b = { 0 };
        for (int64_t k = 0; k < n; k++)
            buf_printf(&b, "%s%4d", k ? " " : "", view->code[inside + k]);
        table_row(t);
        put_place(t, &src->shape, i);
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

/* --- block ---------------------------------------------------------------------------------------
 */

/* The axes that choose a block: row and blkq; or, when the address speaks of col (chan of a
 * vector), that. */
static struct shape block_shape(const struct weight *w, const struct address *a, bool *by_element)
{
    struct shape s = weight_shape(w);
    struct dim *last = &s.d[s.rank - 1];
    *by_element = false;
    for (int i = 0; i < a->n_items; i++)
        *by_element |= a->items[i].axis == last->axis;
    if (!*by_element)
        *last = dim(AXIS_BLKQ, (int64_t)w->cols / format_info(w->format)->block);
    return s;
}

/* One entry of each axis; 0 where the address says nothing. */
static enum st one_each(const struct address *a, const struct shape *s, int64_t *at, struct err *e)
{
    for (int d = 0; d < s->rank; d++) {
        const struct index *i;
        int64_t *list, n;
        enum st st = address_item(a, s, d, &i, e);
        if (st)
            return st;
        at[d] = 0;
        if (!i)
            continue;
        if (!(st = index_resolve(i, s->d[d].axis, s->d[d].n, &list, &n, e))) {
            at[d] = list[0];
            free(list);
            if (n != 1)
                st = st_fail(e, ST_SYNTAX, "one block at a time");
        }
        if (st)
            return e && e->column < 0 ? st_at(e, i->column, i->length) : st;
    }
    return ST_OK;
}

/* Bits that the codes of the block carry by their frequencies: their entropy. */
static double code_entropy(const struct block_view *v)
{
    double bits = 0;
    for (int i = 0; i < v->n; i++) {
        int same = 0;
        for (int k = 0; k < v->n; k++)
            same += v->code[k] == v->code[i];
        bits -= log2((double)same / v->n) / v->n;
    }
    return bits;
}

static void block_tables(const struct weight *w, int64_t element, const struct block_view *v,
                         int64_t most, struct result *out)
{
    const struct format_info *f = format_info(w->format);
    const struct shape shape = weight_shape(w);
    const int last = shape.rank - 1;
    int64_t at[SHAPE_MAX];
    unflat(&shape, element, at);
    struct table *t = result_table(out, "block", TABLE_RECORD);
    table_column(t, COL_ADDRESS, "weight", "");
    table_column(t, COL_STRING, "format", "");
    place_columns(t, &shape);
    table_column(t, COL_INT, "blkq", "");
    table_column(t, COL_INT, "elements", "");
    table_column(t, COL_INT, "bytes", "B");
    table_column(t, COL_FLOAT, "bits_per_weight", "bit");
    table_column(t, COL_FLOAT, "code_entropy", "bit");
    table_row(t);
    table_strn(t, w->name);
    table_str(t, f->name);
    put_place(t, &shape, element);
    table_int(t, at[last] / f->block);
    table_int(t, v->n);
    table_int(t, f->bytes);
    table_float(t, 8.0 * f->bytes / f->block);
    table_float(t, code_entropy(v));
    t = result_table(out, "fields", TABLE_ROWS);
    table_column(t, COL_STRING, "field", "");
    table_column(t, COL_STRING, "stored", "");
    for (int i = 0; i < v->n_fields; i++) {
        table_row(t);
        table_str(t, v->fields[i].name);
        table_str(t, v->fields[i].text);
    }
    t = result_table(out, "elements", TABLE_ROWS);
    table_column(t, COL_INT, axis_info(shape.d[last].axis)->name, "");
    table_column(t, COL_INT, "code", "");
    table_column(t, COL_FLOAT, "level", "");
    table_column(t, COL_INT, "sub", "");
    table_column(t, COL_FLOAT, "scale", "");
    table_column(t, COL_FLOAT, "offset", "");
    table_column(t, COL_FLOAT, "value", "");
    for (int i = 0; i < v->n && i < most; i++) {
        const int sub = i / v->sub_size;
        table_row(t);
        table_int(t, at[last] + i);
        table_int(t, v->code[i]);
        table_float(t, v->level[i]);
        table_int(t, sub);
        table_float(t, v->scale[sub]);
        table_float(t, v->offset[sub]);
        table_float(t, v->value[i]);
    }
    if (v->n > most)
        result_note(out, "%d of %d elements; `set elements %d` shows all", (int)most, v->n, v->n);
}

/* The weight that the address names, which has to have blocks. */
static enum st find_weight(struct session *s, const struct address *a, const struct weight **out,
                           struct err *e)
{
    struct match *list;
    size_t n;
    enum st st = lookup_names(s, a, &list, &n, e);
    if (st)
        return st;
    const struct weight *w = list[0].weight;
    if (n > 1)
        st = st_fail(e, ST_SYNTAX, "%zu names match; one is needed here", n);
    else if (!w)
        st = st_fail(e, ST_UNSUPPORTED, "%.*s is an activation: blocks are of weights",
                     (int)a->name.n, a->name.p);
    else if (!(st = weight_check(w, e)) && !format_info(w->format)->view) {
        st_fail(e, ST_UNSUPPORTED, "%.*s is %s: its numbers are plain, not in blocks",
                (int)w->name.n, w->name.p, format_info(w->format)->name);
        st = st_hint(e, "`x` shows the bytes, `info tensors` the formats");
    }
    if (st)
        st_at(e, a->column, a->length);
    else
        *out = w;
    free(list);
    return st;
}

enum st run_block(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    if (!c->rest.n) {
        call_fail(c, 0, e, ST_SYNTAX, "which block?");
        return st_hint(e, "for example block blk.0.attn_q.weight[row=3, blkq=0]");
    }
    struct address *a = x_alloc(sizeof *a);
    const struct weight *w = NULL;
    int64_t at[SHAPE_MAX];
    enum st st = address_parse(c->rest, a, e);
    if (!st && a->used < c->rest.n) {
        st_fail(e, ST_SYNTAX, "unexpected text after the address");
        st = st_at(e, (int)a->used, (int)(c->rest.n - a->used));
    }
    if (!st)
        st = find_weight(s, a, &w, e);
    bool by_element;
    if (!st) {
        const struct shape shape = block_shape(w, a, &by_element);
        st = one_each(a, &shape, at, e);
    }
    free(a);
    if (st)
        return e->column >= 0 ? st_at(e, e->column + c->rest_column, e->length) : st;
    const struct shape shape = weight_shape(w);
    const int block = format_info(w->format)->block, last = shape.rank - 1;
    at[last] = by_element ? at[last] / block * block : at[last] * block;
    struct block_view *view = x_alloc(sizeof *view);
    int64_t inside, element = flat(&shape, at);
    format_info(w->format)->view(block_at(w, element, &inside), view);
    block_tables(w, element, view, setting_int(&s->settings, SETTING_ELEMENTS), out);
    free(view);
    return ST_OK;
}
