/* SPDX-License-Identifier: MIT */
#include "session/written.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "study/writer.h"

/* The only value that the watchpoint names; -1 if there are several. */
static int watched_value(const struct breakpoint *b, const struct graph *g)
{
    int found = -1;
    for (int v = 0; v < g->n_values; v++)
        if (breakpoint_matches(b, g, v)) {
            if (found >= 0)
                return -1;
            found = v;
        }
    return found;
}

int watched_stream(const struct breakpoint *b, const struct graph *g)
{
    if (b->kind != BREAK_WATCH || b->statistic || !b->text)
        return -1;
    const int v = watched_value(b, g);
    return v >= 0 && stream_before(g, v) >= 0 ? v : -1;
}

bool writes_stream(const struct graph *g, int watched, int value)
{
    while (watched >= 0 && watched != value)
        watched = stream_before(g, watched);
    return watched >= 0;
}

static struct position after(const struct graph *g, int span, int value)
{
    return (struct position){ span, g->values[value].node + 1 };
}

/* The number that the slice gives for dimension d of the shape; -1 if it gives none, or several. */
static int64_t entry_of(const struct address *a, const struct shape *s, int d, int64_t size)
{
    const struct index *item;
    int64_t *list = NULL, n, entry = -1;
    if (!address_item(a, s, d, &item, NULL) && item
        && !index_resolve(item, s->d[d].axis, size, &list, &n, NULL) && n == 1)
        entry = list[0];
    free(list);
    return entry;
}

/* Where the element lies: its span, and the element there. */
static bool find_element(const struct breakpoint *b, const struct run *r, int value, int *span,
                         int64_t *element, struct stop *stop)
{
    const struct shape *s = &run_graph(r)->values[value].shape;
    if (s->rank != 2 || s->d[0].axis != AXIS_TOK)
        return false;
    const int64_t tok = entry_of(&b->address, s, 0, run_n_tokens(r));
    const int64_t chan = entry_of(&b->address, s, 1, s->d[1].n);
    if (tok < 0 || chan < 0)
        return false;
    *span = run_span_of(r, tok);
    *element = (tok - run_span(r, *span).first) * s->d[1].n + chan;
    snprintf(stop->hit.place, sizeof stop->hit.place, "tok=%" PRId64 ", chan=%" PRId64, tok, chan);
    return true;
}

static void say_written(struct stop *stop, int value, int64_t element, double before, double now)
{
    stop->wrote = true;
    stop->written = value;
    stop->hit.element = element;
    stop->hit.changed = true;
    stop->hit.before = before;
    stop->hit.why.value = now;
    stop->hit.why.at = 0;
    snprintf(stop->hit.why.what, sizeof stop->hit.why.what, "value");
}

static bool read_element(struct run *r, int span, int value, int64_t element, double *out)
{
    struct tensor x;
    if (run_read(r, span, value, &x, NULL) || element >= shape_count(&x.shape))
        return false;
    *out = (double)x.data[element];
    return true;
}

bool written_now(const struct breakpoint *b, int watched, const struct event *ev, struct stop *stop)
{
    struct run *r = ev->run;
    const struct graph *g = run_graph(r);
    struct stop found = { .reason = STOP_WATCHPOINT, .breakpoint = b->number, .inside = -1 };
    int span;
    int64_t element;
    if (!writes_stream(g, watched, ev->value)
        || !find_element(b, r, watched, &span, &element, &found) || span != ev->at.span)
        return false;
    const double now = (double)ev->x->data[element];
    const int from = stream_before(g, ev->value), added = stream_added(g, ev->value);
    double before = 0, x = now;
    if (from >= 0
        && (!read_element(r, span, from, element, &before)
            || !read_element(r, span, added, element, &x)))
        return false;
    if (!write_counts(x, before, b->percent))
        return false;
    say_written(&found, added, element, before, now);
    *stop = found;
    return true;
}

/* Writes after which the condition does not hold are passed by. */
static void leave(const struct breakpoint *b, struct run *r, int span, struct write *list, size_t n,
                  const struct break_sources *from)
{
    for (size_t k = 0; b->condition && k < n; k++) {
        const int value = k ? list[k].sum : list[k].value;
        struct tensor x;
        list[k].left = run_read(r, span, value, &x, NULL)
                       || !breakpoint_condition_holds(b, r, span, value, &x, from);
    }
}

bool written_before(const struct breakpoint *b, struct run *r, struct position before,
                    const struct break_sources *from, struct position *at, struct stop *stop)
{
    const struct graph *g = run_graph(r);
    struct stop found = { .reason = STOP_WATCHPOINT, .breakpoint = b->number, .inside = -1 };
    struct write *list;
    size_t n;
    int span, value = watched_value(b, g);
    int64_t element;
    if (!find_element(b, r, value, &span, &element, &found))
        return false;
    while (value >= 0 && position_compare(after(g, span, value), before) >= 0)
        value = stream_before(g, value);
    if (value < 0 || writes_of(r, span, value, element, &list, &n, NULL))
        return false;
    leave(b, r, span, list, n, from);
    const int k = largest_write(list, n, b->percent);
    if (k >= 0) {
        say_written(&found, list[k].value, element, k ? list[k - 1].after : 0, list[k].after);
        *at = after(g, span, k ? list[k].sum : list[k].value);
        *stop = found;
    }
    free(list);
    return k >= 0;
}
