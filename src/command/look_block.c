/* SPDX-License-Identifier: MIT */
/* One quantization block, field by field. */
#include <stdlib.h>

#include "base/memory.h"
#include "command/look.h"
#include "kernels/statistics.h"

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

static double entropy_of_block(const struct block_view *v)
{
    int64_t count[CODE_SPAN] = { 0 };
    for (int i = 0; i < v->n; i++)
        count[v->code[i] - CODE_MIN]++;
    return code_entropy(count, CODE_SPAN);
}

static void block_tables(const struct weight *w, int64_t element, const struct block_view *v,
                         int64_t most, struct result *out)
{
    const struct format_info *f = format_info(w->format);
    const struct shape shape = weight_shape(w);
    const int last = shape.rank - 1;
    int64_t at[SHAPE_MAX];
    look_split(&shape, element, at);
    struct table *t = result_table(out, "block", TABLE_RECORD);
    TABLE_COLUMNS(t, { COL_ADDRESS, "weight" }, { COL_STRING, "format" });
    look_place_columns(t, &shape);
    TABLE_COLUMNS(t, { COL_INT, "blkq" }, { COL_INT, "elements" }, { COL_INT, "bytes", "B" },
                  { COL_FLOAT, "bits_per_weight", "bit" }, { COL_FLOAT, "code_entropy", "bit" });
    table_row(t);
    table_strn(t, w->name);
    table_str(t, f->name);
    look_put_place(t, &shape, element);
    table_int(t, at[last] / f->block);
    table_int(t, v->n);
    table_int(t, f->bytes);
    table_float(t, 8.0 * f->bytes / f->block);
    table_float(t, entropy_of_block(v));
    t = result_table(out, "fields", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "field" }, { COL_STRING, "stored" });
    for (int i = 0; i < v->n_fields; i++) {
        table_row(t);
        table_str(t, v->fields[i].name);
        table_str(t, v->fields[i].text);
    }
    t = result_table(out, "elements", TABLE_ROWS);
    table_column(t, COL_INT, axis_info(shape.d[last].axis)->name, "");
    TABLE_COLUMNS(t, { COL_INT, "code" }, { COL_FLOAT, "level" }, { COL_INT, "sub" },
                  { COL_FLOAT, "scale" }, { COL_FLOAT, "offset" }, { COL_FLOAT, "value" });
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
    const struct weight *w = list[0].weight ? lookup_stored(s, a, list[0].weight) : NULL;
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
    int64_t inside, element = look_flat(&shape, at);
    look_view(w, element, &inside, view);
    block_tables(w, element, view, setting_int(&s->settings, SETTING_ELEMENTS), out);
    free(view);
    return ST_OK;
}
