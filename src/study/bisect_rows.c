/* SPDX-License-Identifier: MIT */
/* Bisection within a weight: which of its rows carry the damage. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "study/bisect_search.h"

enum { FEW = BISECT_ROWS };

struct row {
    int64_t row;
    double error; /* squared distance to the reference's */
};

static int by_error(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->error != y->error)
        return x->error < y->error ? 1 : -1;
    return (x->row > y->row) - (x->row < y->row);
}

static const struct weight *shown(const struct weight *file, const struct form *f)
{
    return f ? &f->w : file;
}

/* The rows that differ, the worst first. A row with NaN comes before all. */
static enum st rows_of(const struct weight *now, const struct weight *right, struct row **out,
                       int64_t *n, struct err *e)
{
    const size_t cols = now->cols;
    float *x;
    enum st st = mem_alloc((void **)&x, 2 * cols * sizeof *x, "two rows of a weight", e);
    if (st)
        return st;
    struct row *list = x_alloc(now->rows * sizeof *list + 1);
    *n = 0;
    for (uint64_t r = 0; r < now->rows && !st; r++) {
        double error = 0;
        st = weight_decode(now, r, 1, x, e);
        if (!st)
            st = weight_decode(right, r, 1, x + cols, e);
        if (st || !memcmp(x, x + cols, cols * sizeof *x))
            continue;
        for (size_t i = 0; i < cols; i++) {
            const double d = (double)x[i] - (double)x[cols + i];
            error += d * d;
        }
        list[(*n)++] = (struct row){ (int64_t)r, isfinite(error) ? error : (double)INFINITY };
    }
    mem_free(x);
    if (st)
        free(list);
    else {
        qsort(list, (size_t)*n, sizeof *list, by_error);
        *out = list;
    }
    return st;
}

/* The weight with rows pick[0..n) of the reference: in its own format where the reference has the
 * same and neither is times a scale, else in f32. */
static enum st with_rows(const struct model *m, const struct bisect_part *b, const struct row *pick,
                         int64_t n, struct form **out, struct err *e)
{
    const struct weight *now = shown(b->w, b->now), *right = shown(b->w, b->mended);
    const bool same = now->format == right->format && now->row_bytes == right->row_bytes
                      && !now->scale && !right->scale;
    const size_t cols = now->cols, row = same ? now->row_bytes : cols * sizeof(float);
    size_t bytes;
    void *data;
    if (!mul_ok(row, now->rows, &bytes))
        return st_fail(e, ST_NOMEM, "a weight is too large");
    enum st st = mem_alloc(&data, bytes, "a weight with rows of the reference", e);
    if (st)
        return st;
    if (same)
        memcpy(data, now->data, bytes);
    else
        st = weight_decode(now, 0, now->rows, data, e);
    for (int64_t i = 0; i < n && !st; i++) {
        uint8_t *to = (uint8_t *)data + (size_t)pick[i].row * row;
        if (same)
            memcpy(to, right->data + (size_t)pick[i].row * row, row);
        else
            st = weight_decode(right, (uint64_t)pick[i].row, 1, (float *)(void *)to, e);
    }
    if (st) {
        mem_free(data);
        return st;
    }
    return form_new(m, b->w, same ? now->format : format_by_name("f32"), data, out, e);
}

/* Measure with these rows mended. */
static enum st try_rows(struct search *s, int i, const struct row *pick, int64_t n,
                        const char *name, double *share, struct err *e)
{
    struct form *f;
    enum st st = with_rows(evaluator_of(s->t->ev)->model, &s->t->parts[i], pick, n, &f, e);
    if (st)
        return st;
    form_drop(s->partly[i]);
    s->partly[i] = f;
    return search_try(s, s->before.segments, BISECT_WITH, name, n, share, NULL, e);
}

/* The fewest of the worst rows that do; *n = 0: more than FEW. */
static enum st find_rows(struct search *s, int i, struct row *rows, int64_t *n, const char *name,
                         struct err *e)
{
    int64_t least = 1, most = *n;
    double share = s->target;
    enum st st = ST_OK;
    if (most > FEW) {
        most = FEW;
        st = try_rows(s, i, rows, most, name, &share, e);
    }
    if (st || share < s->target) {
        *n = 0;
        return st;
    }
    for (int64_t k = 1; least < most && !st; k = (least + most) / 2) {
        if ((st = try_rows(s, i, rows, k, name, &share, e)))
            break;
        if (share >= s->target)
            most = k;
        else
            least = k + 1;
    }
    *n = most;
    return st;
}

static void name_rows(struct search *s, size_t place, const struct row *rows, int64_t n)
{
    struct bisect *b = s->out;
    const struct bisect_place of = b->places[place];
    x_grow(&b->places, &b->cap_places, b->n_places + (size_t)n - 1, sizeof *b->places);
    for (int64_t k = 0; k < n; k++) {
        struct bisect_place *p = k ? &b->places[b->n_places++] : &b->places[place];
        struct buf name = { 0 };
        buf_printf(&name, "%s[row=%lld]", of.name, (long long)rows[k].row);
        *p = (struct bisect_place){ .level = BISECT_CHANNEL,
                                    .name = buf_take(&name),
                                    .row = rows[k].row,
                                    .alone = NAN,
                                    .without = NAN,
                                    .members = x_alloc(sizeof *p->members),
                                    .n_members = 1 };
        p->members[0] = of.members[0];
    }
    free(of.name);
    free(of.members);
}

enum st search_rows(struct search *s, size_t place, struct err *e)
{
    struct bisect_place *p = &s->out->places[place];
    const int i = p->members[0];
    const struct bisect_part *b = &s->t->parts[i];
    struct row *rows;
    int64_t all, n;
    if (!b->w || b->w->rows < 2)
        return ST_OK;
    enum st st = rows_of(shown(b->w, b->now), shown(b->w, b->mended), &rows, &all, e);
    if (st)
        return st;
    n = all;
    if (!n) { /* the same numbers in another format */
        free(rows);
        return ST_OK;
    }
    p->rows = all;
    st = find_rows(s, i, rows, &n, p->name, e);
    struct form *f = NULL;
    if (!st && n)
        st = with_rows(evaluator_of(s->t->ev)->model, b, rows, n, &f, e);
    form_drop(s->partly[i]);
    s->partly[i] = f; /* the next weight is searched beside these */
    if (!st && n)
        name_rows(s, place, rows, n);
    free(rows);
    return st;
}

enum st search_mend_rows(struct search *s, int i, const int64_t *rows, int64_t n, struct err *e)
{
    struct row *pick = x_alloc((size_t)n * sizeof *pick + 1);
    for (int64_t k = 0; k < n; k++)
        pick[k] = (struct row){ rows[k], 0 };
    struct form *f;
    enum st st = with_rows(evaluator_of(s->t->ev)->model, &s->t->parts[i], pick, n, &f, e);
    free(pick);
    if (st)
        return st;
    form_drop(s->partly[i]);
    s->partly[i] = f;
    return ST_OK;
}

enum st search_complement(struct search *s, int i, struct err *e)
{
    const struct bisect_part *b = &s->t->parts[i];
    const struct weight *now = shown(b->w, b->now), *part = &s->partly[i]->w;
    float *x;
    int64_t n = 0;
    enum st st = mem_alloc((void **)&x, 2 * now->cols * sizeof *x, "two rows of a weight", e);
    if (st)
        return st;
    struct row *rows = x_alloc(now->rows * sizeof *rows + 1);
    for (uint64_t r = 0; r < now->rows && !st; r++) {
        if (!(st = weight_decode(now, r, 1, x, e)))
            st = weight_decode(part, r, 1, x + now->cols, e);
        if (!st && !memcmp(x, x + now->cols, now->cols * sizeof *x))
            rows[n++] = (struct row){ (int64_t)r, 0 };
    }
    struct form *f;
    if (!st && !(st = with_rows(evaluator_of(s->t->ev)->model, b, rows, n, &f, e))) {
        form_drop(s->partly[i]);
        s->partly[i] = f;
    }
    free(rows);
    mem_free(x);
    return st;
}
