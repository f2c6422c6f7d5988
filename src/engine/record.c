/* SPDX-License-Identifier: MIT */
#include "engine/record.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/execute.h"

static size_t limit(void) { return (mem_budget() ? mem_budget() : mem_available()) / 4; }

static size_t bytes_of(const struct recorded *x)
{
    return x->data ? (size_t)shape_count(&x->shape) * sizeof *x->data : 0;
}

/* Forget the entries of a value from number `from` on. */
static void forget(struct run *r, struct record *v, size_t from)
{
    for (size_t i = from; i < v->n; i++) {
        r->record_bytes -= bytes_of(&v->list[i]);
        mem_free(v->list[i].data);
    }
    v->n = from < v->n ? from : v->n;
}

void record_forget_after(struct run *r, int node)
{
    for (int v = 0; r->records && v < r->g->n_values; v++)
        if (r->g->values[v].node >= node)
            forget(r, &r->records[v], 0);
}

void record_free(struct run *r)
{
    record_forget_after(r, 0);
    for (int v = 0; r->records && v < r->g->n_values; v++)
        free(r->records[v].list);
    free(r->records);
    r->records = NULL;
}

void run_record(struct run *r, int value, enum record_how how)
{
    if (!r->records && !how)
        return;
    if (!r->records)
        r->records = x_alloc((size_t)r->g->n_values * sizeof *r->records);
    struct record *v = &r->records[value];
    run_want(r, value, (how == RECORD_OPENED) - (v->how == RECORD_OPENED));
    v->how = how;
    if (!how)
        forget(r, v, 0);
}

/* The first entry of this span or a later one: they are in order. */
static size_t place(const struct record *v, int span)
{
    size_t lo = 0, hi = v->n;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (v->list[mid].span < span)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const struct recorded *run_recorded(const struct run *r, int span, int value)
{
    const struct record *v = r->records ? &r->records[value] : NULL;
    const size_t i = v ? place(v, span) : 0;
    return v && i < v->n && v->list[i].span == span ? &v->list[i] : NULL;
}

const float *record_data(const struct run *r, int span, int value)
{
    const struct recorded *x = run_recorded(r, span, value);
    return x ? x->data : NULL;
}

void record_note(struct run *r, int span, int value, const struct tensor *x)
{
    struct record *v = r->records ? &r->records[value] : NULL;
    if (!v || !v->how || run_recorded(r, span, value))
        return;
    struct recorded new = { .span = span, .shape = x->shape };
    const int64_t n = shape_count(&x->shape);
    const size_t bytes = (size_t)n * sizeof *x->data;
    void *p;
    summary_of(r->o.pool, x->data, n, &new.summary);
    if (bytes <= limit() && r->record_bytes <= limit() - bytes
        && !mem_alloc(&p, bytes, "a recorded point", NULL)) {
        memcpy(p, x->data, bytes);
        new.data = p;
        r->record_bytes += bytes;
    }
    const size_t at = place(v, span);
    x_grow(&v->list, &v->cap, v->n + 1, sizeof *v->list);
    memmove(v->list + at + 1, v->list + at, (v->n - at) * sizeof *v->list);
    v->list[at] = new;
    v->n++;
}

struct record_use run_record_use(const struct run *r)
{
    struct record_use use = { .bytes = r->record_bytes, .limit = limit() };
    for (int i = 0; r->records && i < r->g->n_values; i++) {
        const struct record *v = &r->records[i];
        use.points += v->how != RECORD_OFF;
        use.hidden += v->how == RECORD_ON && run_skips(r, i);
        use.entries += (int64_t)v->n;
        for (size_t k = 0; k < v->n; k++)
            use.whole += v->list[k].data != NULL;
    }
    return use;
}
