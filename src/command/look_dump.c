/* SPDX-License-Identifier: MIT */
/* Values into files that other programs read. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command/look.h"
#include "file/npy.h"
#include "file/save.h"
#include "session/expression.h"

/* The shortest decimal that reads back as this float. */
static void float_text(float x, struct buf *out)
{
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)x);
        if (strtof(text, NULL) == x)
            break;
    }
    buf_adds(out, text);
}

static void csv_header(const struct view *v, struct buf *b)
{
    for (int d = 0; d < v->shape.rank; d++)
        buf_printf(b, "%s,", axis_info(v->shape.d[d].axis)->name);
    buf_adds(b, "value\n");
}

/* One line per value: the true index along each axis, then the value. */
static enum st write_csv(const struct view *v, const char *path, struct err *e)
{
    struct save f;
    struct buf b = { 0 };
    enum st st = save_open(&f, path, e);
    if (st)
        return st;
    int64_t at[SHAPE_MAX] = { 0 };
    csv_header(v, &b);
    for (int64_t i = 0, n = view_count(v); i < n; i++) {
        for (int d = 0; d < v->shape.rank; d++)
            buf_printf(&b, "%" PRId64 ",", v->index[d][at[d]]);
        float_text(v->data[i], &b);
        buf_addc(&b, '\n');
        fwrite(b.p, 1, b.n, f.f);
        buf_clear(&b);
        for (int d = v->shape.rank - 1; d >= 0 && ++at[d] == v->shape.d[d].n; d--)
            at[d] = 0;
    }
    buf_free(&b);
    return save_commit(&f, e);
}

static void json_number(float x, struct buf *b)
{
    if (isfinite(x))
        float_text(x, b);
    else
        buf_adds(b, isnan(x) ? "\"nan\"" : x > 0 ? "\"inf\"" : "\"-inf\"");
}

/* {"name", "axes", "index": the true indices of each axis, "data": row-major, the last axis
 * fastest} */
static enum st write_json(const struct view *v, const char *path, struct err *e)
{
    struct save f;
    struct buf b = { 0 };
    enum st st = save_open(&f, path, e);
    if (st)
        return st;
    buf_adds(&b, "{\"name\": ");
    buf_json(&b, str_from(v->name ? v->name : ""));
    buf_adds(&b, ", \"axes\": [");
    for (int d = 0; d < v->shape.rank; d++)
        buf_printf(&b, "%s\"%s\"", d ? ", " : "", axis_info(v->shape.d[d].axis)->name);
    buf_adds(&b, "], \"index\": [");
    for (int d = 0; d < v->shape.rank; d++) {
        buf_adds(&b, d ? ", [" : "[");
        for (int64_t i = 0; i < v->shape.d[d].n; i++)
            buf_printf(&b, "%s%" PRId64, i ? ", " : "", v->index[d][i]);
        buf_addc(&b, ']');
    }
    buf_adds(&b, "], \"data\": [");
    for (int64_t i = 0, n = view_count(v); i < n; i++) {
        buf_adds(&b, i ? ", " : "");
        json_number(v->data[i], &b);
        fwrite(b.p, 1, b.n, f.f);
        buf_clear(&b);
    }
    buf_adds(&b, "]}\n");
    fwrite(b.p, 1, b.n, f.f);
    buf_free(&b);
    return save_commit(&f, e);
}

static enum st write_npy(const struct view *v, const char *path, struct err *e)
{
    uint64_t shape[SHAPE_MAX] = { 0 };
    for (int d = 0; d < v->shape.rank; d++)
        shape[d] = (uint64_t)v->shape.d[d].n;
    return npy_write(path, v->shape.rank, shape, v->data, e);
}

static enum st write_bin(const struct view *v, const char *path, struct err *e)
{
    return save_bytes(path, v->data, (size_t)view_count(v) * sizeof *v->data, e);
}

static const struct writer {
    const char *suffix;
    enum st (*write)(const struct view *v, const char *path, struct err *e);
} writers[] = {
    { ".npy", write_npy },
    { ".csv", write_csv },
    { ".json", write_json },
    { ".bin", write_bin },
};

/* The expression is what stands before the file, and before the word `to` in front of it. */
static struct str operand(const struct call *c)
{
    int last = c->n_words - 1;
    if (last > 1 && str_is(c->words[last - 1].text, "to"))
        last--;
    const struct word *w = &c->words[last - 1];
    return str_of(c->rest.p, (size_t)(w->column + w->length - c->rest_column));
}

enum st run_dump(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    if (c->n_words < 2) {
        call_fail(c, c->n_words, e, ST_SYNTAX, c->n_words ? "into which file?" : "dump what?");
        return st_hint(e, "for example dump blk.0.out to out.npy");
    }
    const struct word *file = &c->words[c->n_words - 1];
    const struct writer *w = NULL;
    for (size_t i = 0; i < sizeof writers / sizeof *writers; i++)
        if (str_ends(file->text, writers[i].suffix))
            w = &writers[i];
    if (!w) {
        call_fail(c, c->n_words - 1, e, ST_UNSUPPORTED,
                  "the suffix says how it is written, and this one is unknown");
        return st_hint(e, ".npy .csv .json .bin");
    }
    struct view v;
    enum st st = expression_eval(s, operand(c), &v, e);
    if (st)
        return e->column >= 0 ? st_at(e, e->column + c->rest_column, e->length) : st;
    struct buf path = { 0 };
    buf_add(&path, file->text.p, file->text.n);
    if (!(st = w->write(&v, buf_str(&path), e))) {
        struct buf axes = { 0 };
        shape_print(&v.shape, &axes);
        struct table *t = result_table(out, "dump", TABLE_ROWS);
        table_column(t, COL_STRING, "of", "");
        table_column(t, COL_STRING, "axes", "");
        table_column(t, COL_INT, "values", "");
        table_column(t, COL_STRING, "file", "");
        table_row(t);
        table_str(t, v.name);
        table_str(t, buf_str(&axes));
        table_int(t, view_count(&v));
        table_str(t, buf_str(&path));
        buf_free(&axes);
    }
    buf_free(&path);
    view_free(&v);
    return st;
}
