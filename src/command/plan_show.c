/* SPDX-License-Identifier: MIT */
#include "command/cells.h"
#include "command/plan_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/quant.h"
#include "graph/glob.h"
#include "quant/second_scale.h"

/* A weight and what stands for it. */
struct row {
    const struct weight *w;
    struct numeric to;
    const char *method; /* NULL: as in the file */
    enum format from;   /* of the numbers, where there is a method */
    bool from_reference;
    uint64_t bytes;
    double signal, noise; /* 0 when unknown */
};

static void as_in_file(struct row *r, const struct weight *w)
{
    *r = (struct row){ .w = w, .to = numeric_storage(w->format), .bytes = w->bytes };
}

static void row_now(const struct session *s, const struct session_model *m, const struct weight *w,
                    struct row *r)
{
    const struct change_form *f = changes_entry(s, m, w);
    as_in_file(r, w);
    if (!f || !f->by)
        return;
    r->to = f->note.method ? f->note.format : numeric_storage(f->by->w.format);
    r->method = f->note.method ? f->note.method->name : "by hand";
    r->bytes = f->note.method ? f->note.bytes : f->by->w.bytes;
    r->from = f->note.from;
    r->from_reference = f->note.from_reference;
    r->signal = f->note.signal;
    r->noise = f->note.noise;
}

/* ---- totals ---- */

struct total {
    char *name;
    uint64_t elements, bytes;
    double signal, noise;
    size_t weights, changed;
};

struct totals {
    struct total *list;
    size_t n, cap;
};

static void add(struct totals *t, struct str name, const struct row *r)
{
    size_t i = 0;
    while (i < t->n && !str_is(name, t->list[i].name))
        i++;
    if (i == t->n) {
        x_grow(&t->list, &t->cap, t->n + 1, sizeof *t->list);
        t->list[t->n++].name = x_strndup(name.p, name.n);
    }
    struct total *x = &t->list[i];
    x->elements += r->w->rows * r->w->cols;
    x->bytes += r->bytes;
    x->signal += r->signal;
    x->noise += r->noise;
    x->weights++;
    x->changed += r->method != NULL;
}

static void show_totals(struct totals *t, const char *table, const char *column, uint64_t all,
                        struct result *out)
{
    struct table *x = result_table(out, table, TABLE_ROWS);
    table_column(x, COL_STRING, column, "");
    TABLE_COLUMNS(x, { COL_INT, "weights" }, { COL_INT, "changed" }, { COL_INT, "bytes", "B" },
                  { COL_FLOAT, "share", "", 3 }, { COL_FLOAT, "bpw", "bit", 5 },
                  { COL_FLOAT, "sqnr", "dB", 4 });
    for (size_t i = 0; i < t->n; i++) {
        const struct total *r = &t->list[i];
        table_row(x);
        table_str(x, r->name);
        table_int(x, (int64_t)r->weights);
        table_int(x, (int64_t)r->changed);
        table_int(x, (int64_t)r->bytes);
        table_float(x, all ? (double)r->bytes / (double)all : 0);
        put_number(x, r->elements ? 8 * (double)r->bytes / (double)r->elements : (double)NAN);
        put_number(x, quant_sqnr(r->signal, r->noise));
        free(r->name);
    }
    free(t->list);
}

/* "blk.12.attn_q.weight": the block "blk.12" and the role "attn_q"; else the name without its
 * ending, and "other". */
static void parts(struct str name, struct str *block, struct str *role)
{
    size_t dot = 0, end = name.n;
    if (str_ends(name, ".weight"))
        end -= 7;
    *block = STR("other");
    if (str_starts(name, "blk."))
        for (dot = 4; dot < name.n && name.p[dot] != '.';)
            dot++;
    if (dot && dot + 1 < end) {
        *block = str_of(name.p, dot);
        dot++;
    } else
        dot = 0;
    *role = str_of(name.p + dot, end - dot);
}

/* ---- the tables ---- */

static void show_rows(const struct row *rows, size_t n, struct result *out)
{
    struct table *t = result_table(out, "weights", TABLE_ROWS);
    struct buf b = { 0 };
    TABLE_COLUMNS(t, { COL_ADDRESS, "weight" }, { COL_STRING, "file" }, { COL_STRING, "to" },
                  { COL_STRING, "method" }, { COL_STRING, "from" }, { COL_FLOAT, "bpw", "bit", 5 },
                  { COL_INT, "bytes", "B" }, { COL_INT, "file_bytes", "B" },
                  { COL_FLOAT, "sqnr", "dB", 4 });
    for (size_t i = 0; i < n; i++) {
        const struct row *r = &rows[i];
        const struct format_info *own = format_info(r->w->format);
        const double elements = (double)r->w->rows * (double)r->w->cols;
        buf_clear(&b);
        if (r->to.base != NUMERIC_STORAGE || r->to.storage != FORMAT_NONE)
            numeric_print(&r->to, &b);
        table_row(t);
        table_strn(t, r->w->name);
        table_str(t, own ? own->name : "unknown");
        table_str(t, b.n ? buf_str(&b) : "unknown");
        table_str(t, r->method);
        if (r->method && format_info(r->from))
            table_fmt(t, "%s%s", format_info(r->from)->name, r->from_reference ? " (ref)" : "");
        else
            table_skip(t);
        put_number(t, elements > 0 ? 8 * (double)r->bytes / elements : (double)NAN);
        table_int(t, (int64_t)r->bytes);
        table_int(t, (int64_t)r->w->bytes);
        put_number(t, quant_sqnr(r->signal, r->noise));
    }
    buf_free(&b);
}

static void show(const struct row *rows, size_t n, const struct export_size *file,
                 struct result *out)
{
    struct totals roles = { 0 }, blocks = { 0 };
    uint64_t bytes = 0, elements = 0, inner = 0, inner_elements = 0, before = 0;
    size_t changed = 0;
    show_rows(rows, n, out);
    for (size_t i = 0; i < n; i++) {
        struct str block, role;
        const struct row *r = &rows[i];
        const uint64_t size = r->w->rows * r->w->cols;
        parts(r->w->name, &block, &role);
        add(&roles, role, r);
        add(&blocks, block, r);
        bytes += r->bytes;
        before += r->w->bytes;
        elements += size;
        changed += r->method != NULL;
        if (!str_is(role, "token_embd") && !str_is(role, "output")) {
            inner += r->bytes;
            inner_elements += size;
        }
    }
    show_totals(&roles, "roles", "role", bytes, out);
    show_totals(&blocks, "blocks", "block", bytes, out);
    struct table *t = result_table(out, "plan", TABLE_RECORD);
    TABLE_COLUMNS(t, { COL_INT, "weights" }, { COL_INT, "changed" }, { COL_INT, "bytes", "B" },
                  { COL_INT, "bytes_before", "B" }, { COL_INT, "file", "B" },
                  { COL_INT, "size", "B" }, { COL_FLOAT, "bpw", "bit", 5 },
                  { COL_FLOAT, "bpw_inner", "bit", 5 });
    table_row(t);
    table_int(t, (int64_t)n);
    table_int(t, (int64_t)changed);
    table_int(t, (int64_t)bytes);
    table_int(t, (int64_t)before);
    quant_put_size(t, file);
    put_number(t, elements ? 8 * (double)bytes / (double)elements : (double)NAN);
    put_number(t, inner_elements ? 8 * (double)inner / (double)inner_elements : (double)NAN);
}

/* What points are rounded to, of those that the glob names (none: all). */
static size_t show_points(const struct session *s, const struct session_model *m,
                          const struct call *c, struct result *out)
{
    const struct graph *g = m->model->graph;
    struct table *t = NULL;
    struct buf b = { 0 };
    size_t n = 0;
    for (int v = 0; g && v < g->n_values; v++) {
        const struct change_target *x = changes_rounding(s, m, NULL, v);
        const struct str name = str_from(g->values[v].name);
        if (!x || round_nothing(&x->edit.format)
            || (c->n_words > 1 && !glob_match(c->words[1].text, name)))
            continue;
        if (!n++) {
            t = result_table(out, "points", TABLE_ROWS);
            TABLE_COLUMNS(t, { COL_ADDRESS, "point" }, { COL_STRING, "rounded_to" },
                          { COL_STRING, "ranges" });
        }
        buf_clear(&b);
        numeric_print(&x->edit.format, &b);
        table_row(t);
        table_strn(t, name);
        table_str(t, buf_str(&b));
        table_str(t, x->edit.format.fixed ? "static" : "of the moment");
    }
    buf_free(&b);
    return n;
}

enum st info_plan(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_model *m;
    size_t n = 0;
    enum st st = session_need_model(s, &m, e);
    if (st)
        return st;
    const struct weights *all = m->model->weights;
    struct row *rows = x_alloc((all->n + 1) * sizeof *rows);
    for (size_t i = 0; i < all->n; i++)
        if (c->n_words < 2 || glob_match(c->words[1].text, all->list[i].name))
            row_now(s, m, &all->list[i], &rows[n++]);
    const size_t points = show_points(s, m, c, out);
    if (!n && points) {
        free(rows);
        return ST_OK;
    }
    if (!n && c->n_words > 1) {
        free(rows);
        call_fail(c, 1, e, ST_NOTFOUND, "no weight of that name");
        return st_hint(e, "`info tensors` lists the weights; `**` is all of them");
    }
    const struct export_size file = export_size(s, m);
    show(rows, n, &file, out);
    quant_say_no_file(&file, out);
    free(rows);
    return ST_OK;
}

enum st plan_preview(struct session *s, const struct session_model *m,
                     const struct quant_item *list, size_t n, struct result *out, struct err *e)
{
    const struct weights *all = m->model->weights;
    struct row *rows = x_alloc((all->n + 1) * sizeof *rows);
    struct fallbacks fallbacks = { 0 };
    enum st st = ST_OK;
    for (size_t i = 0; i < all->n; i++)
        row_now(s, m, &all->list[i], &rows[i]);
    for (size_t i = 0; i < n && !st; i++) {
        struct row *r = &rows[list[i].w - all->list];
        as_in_file(r, list[i].w);
        if (list[i].orig)
            continue;
        const struct weight *from = quantize_source(s, list[i].w);
        st = quant_format(&list[i].format, list[i].w, &r->to, e);
        if (st || (from == list[i].w && second_scale_stored(from, &r->to)))
            continue;
        fallbacks_count(&fallbacks, list[i].w, &list[i].format, &r->to);
        r->bytes = quant_bytes(&r->to, list[i].w);
        r->method = "to be made";
        r->from = from->format;
        r->from_reference = from != list[i].w;
    }
    if (!st)
        show(rows, all->n, &(struct export_size){ .known = false }, out);
    quant_say_fallbacks(&fallbacks, out);
    free(rows);
    return st;
}
