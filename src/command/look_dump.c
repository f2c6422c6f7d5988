/* SPDX-License-Identifier: MIT */
/* Values into files that other programs read. */
#include "config.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "command/look.h"
#include "command/points.h"
#include "file/npy.h"
#include "file/safetensors.h"
#include "file/save.h"
#include "file/trace.h"
#include "session/expression.h"

enum { LINES = 1 << 14 }; /* between two looks at the user */

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
static enum st write_csv(const struct view *v, const char *path, struct progress *p,
                         struct err *e)
{
    struct save f;
    struct buf b = { 0 };
    enum st st = save_open(&f, path, e);
    if (st)
        return st;
    int64_t at[SHAPE_MAX] = { 0 };
    csv_header(v, &b);
    for (int64_t i = 0, n = view_count(v); i < n && !st; i++) {
        if (i % LINES == 0 && !progress_tick(p, "writing", (double)i, (double)n))
            st = st_fail(e, ST_CANCELLED, "interrupted");
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
    if (st)
        save_abort(&f);
    return st ? st : save_commit(&f, e);
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
static enum st write_json(const struct view *v, const char *path, struct progress *p,
                         struct err *e)
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
    for (int64_t i = 0, n = view_count(v); i < n && !st; i++) {
        if (i % LINES == 0 && !progress_tick(p, "writing", (double)i, (double)n))
            st = st_fail(e, ST_CANCELLED, "interrupted");
        buf_adds(&b, i ? ", " : "");
        json_number(v->data[i], &b);
        fwrite(b.p, 1, b.n, f.f);
        buf_clear(&b);
    }
    buf_adds(&b, "]}\n");
    fwrite(b.p, 1, b.n, f.f);
    buf_free(&b);
    if (st)
        save_abort(&f);
    return st ? st : save_commit(&f, e);
}

static enum st write_npy(const struct view *v, const char *path, struct progress *p,
                         struct err *e)
{
    uint64_t shape[SHAPE_MAX] = { 0 };
    for (int d = 0; d < v->shape.rank; d++)
        shape[d] = (uint64_t)v->shape.d[d].n;
    return npy_write(path, v->shape.rank, shape, v->data, p, e);
}

static enum st write_bin(const struct view *v, const char *path, struct progress *p,
                         struct err *e)
{
    struct save f;
    const size_t bytes = (size_t)view_count(v) * sizeof *v->data;
    enum st st = save_open(&f, path, e);
    return st ? st : save_end(&f, save_write(&f, v->data, bytes, p, e), e);
}

static const struct writer {
    const char *suffix;
    enum st (*write)(const struct view *v, const char *path, struct progress *p, struct err *e);
} writers[] = {
    { ".npy", write_npy },
    { ".csv", write_csv },
    { ".json", write_json },
    { ".bin", write_bin },
};

static const char *const safetensors_suffix = ".safetensors";

/* The expression is what stands before the file, and before the word `to` in front of it. */
static struct str operand(const struct call *c)
{
    int last = c->n_words - 1;
    if (last > 1 && str_is(c->words[last - 1].text, "to"))
        last--;
    const struct word *w = &c->words[last - 1];
    return str_of(c->rest.p, (size_t)(w->column + w->length - c->rest_column));
}

/* Columns of the operand are those of the line. */
static enum st at_operand(const struct call *c, enum st st, struct err *e)
{
    return st && e->column >= 0 ? st_at(e, e->column + c->rest_column, e->length) : st;
}

static void put_dumped(struct result *out, const struct view *list, size_t n, const char *path)
{
    struct table *t = result_table(out, "dump", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "of" }, { COL_STRING, "axes" }, { COL_INT, "values" },
                     { COL_STRING, "file" });
    for (size_t i = 0; i < n; i++) {
        struct buf axes = { 0 };
        shape_print(&list[i].shape, &axes);
        table_row(t);
        table_str(t, list[i].name);
        table_str(t, buf_str(&axes));
        table_int(t, view_count(&list[i]));
        table_str(t, path);
        buf_free(&axes);
    }
}

/* What a safetensors file is going to hold. */
struct collected {
    struct view *list;
    size_t n, cap;
};

static void free_collected(struct collected *all)
{
    for (size_t i = 0; i < all->n; i++)
        view_free(&all->list[i]);
    free(all->list);
}

static enum st collect(void *data, struct view *v, struct err *e)
{
    (void)e;
    struct collected *all = data;
    x_grow(&all->list, &all->cap, all->n + 1, sizeof *all->list);
    all->list[all->n++] = *v;
    *v = (struct view){ .value = -1 };
    return ST_OK;
}

/* Everything that an address names, or the value of an expression. */
static enum st collect_operand(struct session *s, const struct call *c, struct collected *all,
                               struct look_left *left, struct err *e)
{
    struct str text = operand(c);
    struct view v;
    struct address *a = x_alloc(sizeof *a);
    struct err ignored = ERR_INIT;
    enum st st;
    if (!address_parse(text, a, &ignored) && a->used == text.n)
        st = look_each(s, a, left, collect, all, e);
    else if (!(st = expression_eval(s, text, &v, e)))
        st = collect(all, &v, e);
    free(a);
    return at_operand(c, st, e);
}

static enum st write_tensors(const struct collected *all, const char *path, struct progress *p,
                             struct err *e)
{
    struct safetensor *list = x_alloc(all->n * sizeof *list);
    struct buf *axes = x_alloc(all->n * sizeof *axes);
    for (size_t i = 0; i < all->n; i++) {
        const struct view *v = &all->list[i];
        shape_print(&v->shape, &axes[i]);
        list[i] = (struct safetensor){ .name = v->name ? v->name : "value",
                                       .about = buf_str(&axes[i]),
                                       .rank = v->shape.rank,
                                       .data = v->data };
        for (int d = 0; d < v->shape.rank; d++)
            list[i].shape[d] = (uint64_t)v->shape.d[d].n;
    }
    enum st st = safetensors_write_long(path, list, all->n, p, e);
    for (size_t i = 0; i < all->n; i++)
        buf_free(&axes[i]);
    free(axes);
    free(list);
    return st;
}

static enum st dump_tensors(struct session *s, const struct call *c, const char *path,
                            struct result *out, struct err *e)
{
    struct collected all = { 0 };
    struct look_left left = { 0 };
    enum st st = collect_operand(s, c, &all, &left, e);
    if (!st && (st = write_tensors(&all, path, s->progress, e)))
        st_at(e, c->words[c->n_words - 1].column, c->words[c->n_words - 1].length);
    if (!st) {
        put_dumped(out, all.list, all.n, path);
        look_left_notes(&left, out);
    }
    free_collected(&all);
    return st;
}

static enum st dump_one(struct session *s, const struct call *c, const struct writer *w,
                        const char *path, struct result *out, struct err *e)
{
    struct view v;
    enum st st = at_operand(c, expression_eval(s, operand(c), &v, e), e);
    if (st)
        return st;
    if (!(st = w->write(&v, path, s->progress, e)))
        put_dumped(out, &v, 1, path);
    else
        st_at(e, c->words[c->n_words - 1].column, c->words[c->n_words - 1].length);
    view_free(&v);
    return st;
}

/* --- traces ------------------------------------------------------------------------------------
 */

static bool is_folder(const char *path)
{
    struct stat info;
    const size_t n = strlen(path);
    return (n && path[n - 1] == '/') || (!stat(path, &info) && S_ISDIR(info.st_mode));
}

/* The whole points that the first word names, into all. */
static enum st collect_points(struct session *s, const struct call *c, struct session_run **r,
                              struct collected *all, struct err *e)
{
    int *values;
    size_t n;
    enum st st = points_named(s, c, 0, r, &values, &n, e);
    if (!st && !run_done((*r)->run)) {
        call_fail(c, 0, e, ST_STATE, "a trace is of a whole prompt, and the run is on its way");
        st = st_hint(e, "`continue` brings it to the end");
    }
    for (size_t i = 0; i < n && !st; i++) {
        struct buf name = { 0 };
        struct view v;
        const char *point = run_graph((*r)->run)->values[values[i]].name;
        buf_printf(&name, "%s:%s!%s", (*r)->model->name, (*r)->name, point);
        st = progress_tick(s->progress, "reading", (double)i, (double)n)
                 ? lookup_text(s, str_from(buf_str(&name)), &v, e)
                 : st_fail(e, ST_CANCELLED, "interrupted");
        if (!st)
            st = collect(all, &v, e);
        buf_free(&name);
    }
    free(values);
    return st;
}

static enum st write_trace(const struct session_run *r, const struct collected *all,
                           const char *path, struct err *e)
{
    const char *model = strrchr(r->model->path, '/');
    struct buf engine = { 0 };
    buf_printf(&engine, "qdb %s, %s", PACKAGE_VERSION, compute_name(run_mode(r->run)));
    struct trace about = { .engine = engine.p,
                           .model = (char *)(model ? model + 1 : r->model->path),
                           .dtype = (char *)"float32",
                           .ids = (int32_t *)run_tokens(r->run),
                           .n_ids = (size_t)run_n_tokens(r->run) };
    struct safetensor *list = x_alloc((all->n + 1) * sizeof *list);
    for (size_t i = 0; i < all->n; i++) {
        const struct view *v = &all->list[i];
        list[i] = (struct safetensor){ .name = v->name, .rank = v->shape.rank, .data = v->data };
        for (int d = 0; d < v->shape.rank; d++)
            list[i].shape[d] = (uint64_t)v->shape.d[d].n;
    }
    const enum st st = trace_write(path, &about, list, all->n, e);
    free(list);
    buf_free(&engine);
    return st;
}

static enum st dump_trace(struct session *s, const struct call *c, const char *path,
                          struct result *out, struct err *e)
{
    struct collected all = { 0 };
    struct session_run *r;
    enum st st = collect_points(s, c, &r, &all, e);
    if (!st && (st = write_trace(r, &all, path, e)))
        st_at(e, c->words[c->n_words - 1].column, c->words[c->n_words - 1].length);
    if (!st)
        put_dumped(out, all.list, all.n, path);
    free_collected(&all);
    return st;
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
    char *path = x_strndup(file->text.p, file->text.n);
    const bool folder = is_folder(path);
    if (!w && !folder && !str_ends(file->text, safetensors_suffix)) {
        free(path);
        call_fail(c, c->n_words - 1, e, ST_UNSUPPORTED,
                  "the suffix says how it is written, and this one is unknown");
        return st_hint(e, ".npy .csv .json .bin .safetensors; DIR/ for a trace");
    }
    enum st st = folder ? dump_trace(s, c, path, out, e)
                 : w    ? dump_one(s, c, w, path, out, e)
                        : dump_tensors(s, c, path, out, e);
    free(path);
    return st;
}
