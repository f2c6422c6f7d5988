/* SPDX-License-Identifier: MIT */
#include "session/edit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* Indices from the end become indices from the start, of n entries. */
static void count_from_start(struct index *i, int64_t n)
{
    if (i->kind == INDEX_ONE && i->from < 0)
        i->from += n;
    for (int k = 0; i->kind == INDEX_LIST && k < i->n_list; k++)
        i->list[k] += i->list[k] < 0 ? n : 0;
    if (i->kind != INDEX_RANGE)
        return;
    if (i->has_from && i->from < 0)
        i->from = i->from + n > 0 ? i->from + n : 0;
    if (i->has_to && i->to < 0)
        i->to += n;
    if (!i->has_from) {
        i->from = i->step > 0 ? 0 : n - 1;
        i->has_from = true;
    }
}

void chosen_of(const struct address *a, const struct shape *s, int64_t tokens, struct chosen *out)
{
    *out = (struct chosen){ 0 };
    for (int d = 0; d < s->rank; d++) {
        const struct index *item;
        if (a && !address_item(a, s, d, &item, NULL) && item)
            out->item[d] = *item;
        count_from_start(&out->item[d], s->d[d].n < 0 ? tokens : s->d[d].n);
    }
}

int64_t chosen_ordinal(const struct chosen *x, int d, int64_t entry)
{
    const struct index *i = &x->item[d];
    if (i->kind == INDEX_ONE)
        return entry == i->from ? 0 : -1;
    if (i->kind == INDEX_LIST) {
        for (int k = 0; k < i->n_list; k++)
            if (i->list[k] == entry)
                return k;
        return -1;
    }
    if (i->kind != INDEX_RANGE)
        return entry;
    const bool up = i->step > 0;
    if (up ? entry < i->from : entry > i->from)
        return -1;
    if (i->has_to && (up ? entry >= i->to : entry <= i->to))
        return -1;
    return (entry - i->from) % i->step ? -1 : (entry - i->from) / i->step;
}

/* Which dimension of the target each one of v is, by name; false when names do not say. */
static bool by_axis(const struct view *v, const struct shape *target, int *of)
{
    for (int d = 0; d < v->shape.rank; d++) {
        of[d] = shape_axis(target, v->shape.d[d].axis);
        if (of[d] < 0 || (d && of[d] <= of[d - 1]))
            return false;
    }
    return true;
}

static enum st no_fit(const struct view *v, const struct shape *target, struct err *e)
{
    struct buf have = { 0 }, want = { 0 };
    shape_print(&v->shape, &have);
    shape_print(target, &want);
    st_fail(e, ST_RANGE, "the shapes differ: [%s] for [%s]", buf_str(&have), buf_str(&want));
    st_hint(e, "an axis that is missing, or has one entry, stands for all; a slice chooses");
    buf_free(&have);
    buf_free(&want);
    return ST_RANGE;
}

enum st edit_fit(struct view *v, const struct shape *target, struct err *e)
{
    int of[SHAPE_MAX] = { 0 };
    const int rank = v->shape.rank;
    if (!by_axis(v, target, of)) {
        if (rank > target->rank)
            return no_fit(v, target, e);
        for (int d = 0; d < rank; d++)
            of[d] = target->rank - rank + d;
    }
    struct shape fitted = *target;
    for (int d = 0; d < fitted.rank; d++)
        fitted.d[d].n = 1;
    for (int d = 0; d < rank; d++) {
        const int64_t n = v->shape.d[d].n, want = target->d[of[d]].n;
        if (n != 1 && want >= 0 && n != want)
            return no_fit(v, target, e);
        fitted.d[of[d]].n = n;
    }
    for (int d = 0; d < SHAPE_MAX; d++) { /* entries count from 0 from here on */
        free(v->index[d]);
        v->index[d] = NULL;
    }
    v->shape = fitted;
    return ST_OK;
}

/* The chosen entries of one dimension: where they lie in the activation and in the data. */
struct picks {
    int64_t n, *at, *from;
};

static void pick(const struct edit *edit, const struct chosen *chosen, const struct shape *shape,
                 int d, int64_t first, struct picks *out)
{
    const int64_t n = shape->d[d].n, shift = shape->d[d].axis == AXIS_TOK ? first : 0;
    const int64_t have = edit->op == EDIT_COPY ? edit->data.shape.d[d].n : 1;
    *out = (struct picks){ 0, x_alloc((size_t)n * sizeof *out->at),
                           x_alloc((size_t)n * sizeof *out->from) };
    for (int64_t i = 0; i < n; i++) {
        const int64_t k = chosen_ordinal(chosen, d, i + shift);
        if (k < 0 || (have != 1 && k >= have))
            continue;
        out->at[out->n] = i;
        out->from[out->n++] = have == 1 ? 0 : k;
    }
}

static void apply(const struct edit *edit, const struct picks *p, const struct shape *shape, int d,
                  float *x, const float *from)
{
    int64_t step = 1, from_step = 1;
    for (int k = d + 1; k < shape->rank; k++) {
        step *= shape->d[k].n;
        from_step *= edit->op == EDIT_COPY ? edit->data.shape.d[k].n : 0;
    }
    for (int64_t i = 0; i < p[d].n; i++) {
        float *at = x + p[d].at[i] * step;
        const float *source = from ? from + p[d].from[i] * from_step : NULL;
        if (d + 1 < shape->rank)
            apply(edit, p, shape, d + 1, at, source);
        else
            switch (edit->op) {
            case EDIT_SET: *at = edit->number; break;
            case EDIT_SCALE: *at *= edit->number; break;
            case EDIT_ADD: *at += edit->number; break;
            case EDIT_COPY: *at = *source; break;
            case EDIT_ROUND: break; /* elsewhere: round_apply */
            }
    }
}

static void apply_all(const struct edit *edit, struct picks *p, const struct shape *shape, float *x,
                      const float *from)
{
    if (shape->rank)
        apply(edit, p, shape, 0, x, from);
    for (int d = 0; d < shape->rank; d++) {
        free(p[d].at);
        free(p[d].from);
    }
}

void edit_apply(const struct edit *edit, const struct chosen *chosen, const struct shape *shape,
                int64_t first, float *x)
{
    struct picks p[SHAPE_MAX];
    for (int d = 0; d < shape->rank; d++)
        pick(edit, chosen, shape, d, first, &p[d]);
    apply_all(edit, p, shape, x, edit->op == EDIT_COPY ? edit->data.data : NULL);
}

void edit_splice(const struct chosen *chosen, const struct shape *shape, int64_t first,
                 const float *from, float *x)
{
    const struct edit places = { .op = EDIT_SET },
                      copy = { .op = EDIT_COPY, .data = { .shape = *shape } };
    struct picks p[SHAPE_MAX];
    for (int d = 0; d < shape->rank; d++) {
        pick(&places, chosen, shape, d, first, &p[d]);
        memcpy(p[d].from, p[d].at, (size_t)p[d].n * sizeof *p[d].from);
    }
    apply_all(&copy, p, shape, x, from);
}
