/* SPDX-License-Identifier: MIT */
#include "session/round.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "kernels/encode.h"
#include "session/session.h"

/* Axis tok or key, where sizes are known in a run alone, are left out of a row. */
static void rows_of(const struct shape *s, int64_t *rows, int64_t *cols)
{
    const bool tokens = s->rank > 1 && s->d[0].axis == AXIS_TOK;
    *rows = *cols = 1;
    for (int d = 0; d < s->rank; d++) {
        const bool row = tokens ? d == 0 : d < s->rank - 1;
        *(row ? rows : cols) *= s->d[d].n;
    }
}

/* To blocks of a file format and back, row by row. */
static void store(enum format f, float *x, int64_t rows, int64_t cols)
{
    size_t bytes;
    void *row;
    if (!format_row_bytes(f, (uint64_t)cols, &bytes) || mem_alloc(&row, bytes, "a row", NULL))
        return;
    for (int64_t r = 0; r < rows; r++)
        if (!encode_rows(f, x + r * cols, 1, (size_t)cols, NULL, row, NULL))
            format_info(f)->decode(row, x + r * cols, cols);
    mem_free(row);
}

/* data: [lo, hi] of every group. */
static void by_ranges(const struct edit *edit, float *x, int64_t rows, int64_t cols)
{
    const struct numeric *f = &edit->format;
    const int64_t groups = view_count(&edit->data) / 2, width = cols / groups;
    for (int64_t g = 0; g < groups; g++) {
        const struct numeric_fit fit = numeric_fit_range(f, (double)edit->data.data[2 * g],
                                                         (double)edit->data.data[2 * g + 1]);
        numeric_round(f, &fit, x + g * width, rows, width, cols);
    }
}

void round_apply(const struct edit *edit, const struct shape *shape, float *x)
{
    int64_t rows, cols;
    if (round_nothing(&edit->format))
        return;
    rows_of(shape, &rows, &cols);
    for (int64_t i = 0; edit->format.fixed && i < rows * cols; i++)
        if (!isfinite(x[i]))
            return;
    if (edit->format.fixed)
        by_ranges(edit, x, rows, cols);
    else if (edit->format.base == NUMERIC_STORAGE)
        store(edit->format.storage, x, rows, cols);
    else if (numeric_simulate(&edit->format, x, rows, cols, NULL, NULL, NULL))
        return; /* not finite: left as it is */
}

uint64_t round_same(const struct change_target *t)
{
    struct buf words = { 0 };
    const struct view *ranges = &t->edit.data;
    numeric_print(&t->edit.format, &words);
    for (int d = 0; d < t->shape.rank; d++)
        buf_printf(&words, " %d %lld", (int)t->shape.d[d].axis, (long long)t->shape.d[d].n);
    uint64_t h = hash_bytes(buf_str(&words), words.n, 0);
    if (t->edit.format.fixed)
        h = hash_bytes(ranges->data, (size_t)view_count(ranges) * sizeof *ranges->data, h);
    buf_free(&words);
    return h | 1;
}

/* Ranges over what the active run has of the point. */
static enum st measure(struct session *s, const struct change_target *t, const struct numeric *f,
                       struct view *out, struct err *e)
{
    struct session_run *r;
    enum st st = session_need_run(s, &r, e);
    if (st)
        return st;
    int64_t spans = 0, groups = 0;
    float *range = NULL;
    for (int k = 0; !st && run_has(r->run, k, t->value); k++, spans++) {
        struct tensor x;
        int64_t rows, cols;
        if ((st = run_read(r->run, k, t->value, &x, e)))
            break;
        const struct shape shape = shape_resolve(t->shape, run_span(r->run, k).n, 0);
        rows_of(&shape, &rows, &cols);
        groups = f->grain == GRAIN_TENSOR ? 1 : cols;
        if (!range) {
            range = x_alloc((size_t)groups * 2 * sizeof *range);
            for (int64_t g = 0; g < groups; g++) {
                range[2 * g] = INFINITY;
                range[2 * g + 1] = -INFINITY;
            }
        }
        for (int64_t i = 0; i < rows * cols; i++) {
            float *g = range + 2 * (groups == 1 ? 0 : i % cols);
            g[0] = x.data[i] < g[0] ? x.data[i] : g[0];
            g[1] = x.data[i] > g[1] ? x.data[i] : g[1];
        }
    }
    if (!st && !spans) {
        st = st_fail(e, ST_STATE, "%.*s has not been produced: there are no ranges",
                     (int)t->name.n, t->name.p);
        st_hint(e, "static ranges are those of the active run: `run` it first");
    }
    const struct shape shape = { 2, { { AXIS_BLKQ, groups }, { AXIS_CHAN, 2 } } };
    if (!st)
        st = view_new(&shape, NULL, out, e);
    if (!st)
        memcpy(out->data, range, (size_t)groups * 2 * sizeof *range);
    free(range);
    return st;
}

bool round_nothing(const struct numeric *f)
{
    return f->base == NUMERIC_STORAGE && f->storage == format_by_name("f32");
}

static enum st round_target(struct session *s, struct change_target *t, const struct numeric *f,
                            struct err *e)
{
    int64_t rows, cols;
    const struct shape shape = shape_resolve(t->shape, 1, 1);
    rows_of(&shape, &rows, &cols);
    const char *missing = f->base == NUMERIC_STORAGE ? encode_missing(f->storage) : NULL;
    const bool nothing = round_nothing(f), keys = shape_axis(&t->shape, AXIS_KEY) >= 0;
    enum st st = ST_OK;
    if (missing && !nothing)
        st = st_fail(e, ST_UNSUPPORTED, "%s cannot be written: %s", format_info(f->storage)->name,
                     missing);
    else if (numeric_second_scale(f))
        st = st_fail(e, ST_UNSUPPORTED, "a scale for the tensor is one of weights");
    else if (keys && !nothing
             && (f->fixed || f->grain == GRAIN_GROUP || f->base == NUMERIC_STORAGE))
        st = st_fail(e, ST_UNSUPPORTED, "rows of keys have no fixed length");
    else if (!nothing)
        st = numeric_fits(f, (uint64_t)cols, e);
    if (!st && f->fixed)
        st = measure(s, t, f, &t->edit.data, e);
    if (st)
        st_where(e, "%.*s", (int)t->name.n, t->name.p);
    t->edit.op = EDIT_ROUND;
    t->edit.format = *f;
    return st;
}

enum st change_round(struct session *s, struct change *c, const struct numeric *f, struct err *e)
{
    enum st st = ST_OK;
    for (size_t i = 0; i < c->n_targets && !st; i++)
        st = round_target(s, &c->targets[i], f, e);
    return st;
}

/* The target of the value, a new one where there is none. */
static struct change_target *target_of(struct change *c, const struct graph *g, int value)
{
    for (size_t i = 0; i < c->n_targets; i++)
        if (c->targets[i].value == value)
            return &c->targets[i];
    x_grow(&c->targets, &c->cap_targets, c->n_targets + 1, sizeof *c->targets);
    c->targets[c->n_targets++] = (struct change_target){ .value = value,
                                                         .name = str_from(g->values[value].name),
                                                         .shape = g->values[value].shape };
    return &c->targets[c->n_targets - 1];
}

enum st change_round_points(struct session *s, struct change *c, const struct round_point *list,
                            size_t n, struct err *e)
{
    enum st st = ST_OK;
    for (size_t i = 0; i < n && !st; i++)
        st = round_target(s, target_of(c, c->model->model->graph, list[i].value), &list[i].format,
                          e);
    return st;
}

enum st change_round_inputs(struct session *s, struct change *c, const struct numeric *f,
                            struct err *e)
{
    const struct graph *g = c->model->model->graph;
    for (int n = 0; g && n < g->n_nodes; n++)
        for (size_t i = 0; i < c->n_forms; i++)
            if (g->nodes[n].w[0] == c->forms[i].w && g->nodes[n].n_in
                && op_info(g->nodes[n].op)->matrix)
                target_of(c, g, g->nodes[n].in[0]);
    if (!c->n_targets)
        return st_fail(e, ST_UNSUPPORTED, "no layer of a graph reads these weights");
    return change_round(s, c, f, e);
}
