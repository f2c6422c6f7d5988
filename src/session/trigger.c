/* SPDX-License-Identifier: MIT */
/* What a breakpoint finds at a point: the half of breakpoint.h that looks at numbers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "session/breakpoint.h"

/* The part of the point that the breakpoint speaks of; false when the span holds none of it. */
static bool cut(const struct breakpoint *b, const struct run *r, int span, const struct tensor *x,
                struct region *out)
{
    if (region_cut(b->text ? &b->address : NULL, r, span, x, out, NULL))
        return false;
    if (region_count(out) > 0)
        return true;
    region_free(out);
    return false;
}

/* The elements of x one token earlier: of the span before for its first token, NaN before the
 * first token of the run. NULL without memory; the caller frees it with mem_free. */
static float *one_token_earlier(struct run *r, int span, int value, const struct tensor *x)
{
    const int d = shape_axis(&x->shape, AXIS_TOK);
    const int64_t n = shape_count(&x->shape);
    int64_t inner = 1, outer = 1;
    void *p;
    if (d < 0 || n <= 0 || mem_alloc(&p, (size_t)n * sizeof(float), "the token before", NULL))
        return NULL;
    for (int i = 0; i < x->shape.rank; i++)
        if (i != d)
            *(i < d ? &outer : &inner) *= x->shape.d[i].n;
    const int64_t tokens = x->shape.d[d].n;
    struct tensor before = { 0 };
    /* Keys differ from span to span, so only points without them go on across spans. */
    const bool known = span > 0 && shape_axis(&x->shape, AXIS_KEY) < 0
                       && !run_read(r, span - 1, value, &before, NULL);
    const int64_t last = known ? before.shape.d[d].n - 1 : 0;
    float *out = p;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t t = 0; t < tokens; t++)
            for (int64_t i = 0; i < inner; i++)
                out[(o * tokens + t) * inner + i] =
                    t       ? x->data[(o * tokens + t - 1) * inner + i]
                    : known ? before.data[(o * (last + 1) + last) * inner + i]
                            : NAN;
    return out;
}

static void place(const struct region *part, const struct shape *whole, struct break_hit *hit)
{
    struct buf b = { 0 };
    hit->element = hit->why.at < 0 ? -1 : region_element(part, whole, hit->why.at);
    if (hit->why.at >= 0)
        region_place(part, hit->why.at, &b);
    snprintf(hit->place, sizeof hit->place, "%s", buf_str(&b));
    buf_free(&b);
}

static bool test_condition(const struct breakpoint *b, struct run *r, int span, int value,
                           const struct tensor *x, const struct region *part,
                           const struct break_sources *from, struct break_hit *hit)
{
    struct condition_input in = { .x = part, .pool = from->pool };
    struct region earlier = { 0 }, reference = { 0 };
    struct tensor other;
    float *before = NULL;
    if (condition_needs_prev(b->condition)) {
        const struct tensor prev = { x->shape, before = one_token_earlier(r, span, value, x) };
        if (before && cut(b, r, span, &prev, &earlier))
            in.prev = earlier.data;
    }
    if (condition_needs_ref(b->condition) && from->ref && from->ref(from->data, span, value, &other)
        && shape_equal(&other.shape, &x->shape) && cut(b, r, span, &other, &reference))
        in.ref = reference.data;
    const bool holds = condition_holds(b->condition, &in, &hit->why);
    region_free(&earlier);
    region_free(&reference);
    mem_free(before);
    if (holds)
        place(part, &x->shape, hit);
    return holds;
}

bool breakpoint_condition_holds(const struct breakpoint *b, struct run *r, int span, int value,
                                const struct tensor *x, const struct break_sources *from)
{
    struct region part;
    struct break_hit hit;
    if (!b->condition)
        return true;
    if (!cut(b, r, span, x, &part))
        return false;
    const bool holds = test_condition(b, r, span, value, x, &part, from, &hit);
    region_free(&part);
    return holds;
}

/* ---- watchpoints ---- */

static bool watched(const struct breakpoint *b, const struct region *x, struct pool *pool,
                    double *value, int64_t *at)
{
    if (b->statistic)
        return region_statistic(b->statistic, x, pool, value, at);
    *at = 0;
    *value = (double)x->data[0];
    return region_count(x) == 1;
}

/* What is watched at the place before this one: the point that matches before it in the span, or
 * the last one of a span before that holds the tokens. */
static bool watched_before(const struct breakpoint *b, struct run *r, int span, int value,
                           struct pool *pool, double *out)
{
    const struct graph *g = run_graph(r);
    int node = g->values[value].node;
    for (; span >= 0; node = g->n_nodes, span--)
        while (--node >= 0) {
            struct tensor x;
            struct region part;
            int64_t at;
            const int v = g->nodes[node].out;
            if (!breakpoint_matches(b, g, v) || run_read(r, span, v, &x, NULL)
                || !cut(b, r, span, &x, &part))
                continue;
            const bool good = watched(b, &part, pool, out, &at);
            region_free(&part);
            if (good)
                return true;
        }
    return false;
}

static bool same(double a, double b) { return a == b || (isnan(a) && isnan(b)); }

static bool test_watch(const struct breakpoint *b, struct run *r, int span, int value,
                       const struct shape *whole, const struct region *x, struct pool *pool,
                       struct break_hit *hit)
{
    struct break_hit now = { .changed = true };
    if (!watched(b, x, pool, &now.why.value, &now.why.at))
        return false;
    snprintf(now.why.what, sizeof now.why.what, "%s", b->statistic ? b->statistic : "value");
    place(x, whole, &now); /* reading another point may take the place of this one */
    if (!watched_before(b, r, span, value, pool, &now.before) || same(now.why.value, now.before)
        || fabs(now.why.value - now.before) <= b->percent / 100 * fabs(now.before))
        return false;
    *hit = now;
    return true;
}

bool breakpoint_test(const struct breakpoint *b, struct run *r, int span, int value,
                     const struct tensor *x, const struct break_sources *from,
                     struct break_hit *hit)
{
    struct region part;
    *hit = (struct break_hit){ .why = { .at = -1 }, .element = -1 };
    if (!b->enabled || !breakpoint_matches(b, run_graph(r), value) || !cut(b, r, span, x, &part))
        return false;
    bool holds = true;
    if (b->condition)
        holds = test_condition(b, r, span, value, x, &part, from, hit);
    if (holds && b->kind == BREAK_WATCH)
        holds = test_watch(b, r, span, value, &x->shape, &part, from->pool, hit);
    region_free(&part);
    return holds;
}

/* ---- dynamic prints ---- */

/* One conversion of a format for a number: %g and its kin with flags, width and precision; %d
 * rounds. Returns what follows it. */
static const char *convert(const char *p, double value, struct buf *out)
{
    char spec[24] = "%", text[400];
    size_t n = 1;
    for (p++; *p && strchr("-+ #0123456789.", *p); p++)
        if (n < sizeof spec - 4)
            spec[n++] = *p;
    const bool integer = *p == 'd' || *p == 'i';
    char *point = memchr(spec, '.', n);
    if (integer) {
        n = point ? (size_t)(point - spec) : n;
        memcpy(spec + n, ".0", 2);
        n += 2;
    }
    spec[n] = integer ? 'f' : *p && strchr("eEfFgGa", *p) ? *p : 'g';
    spec[n + 1] = '\0';
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(text, sizeof text, spec, value);
#pragma GCC diagnostic pop
    buf_adds(out, text);
    return *p ? p + 1 : p;
}

void breakpoint_say(const struct breakpoint *b, const struct run *r, int span,
                    const struct tensor *x, struct pool *pool, struct buf *out)
{
    struct region part;
    double numbers[PRINT_MAX];
    int next = 0;
    if (!cut(b, r, span, x, &part))
        return;
    for (int i = 0; i < b->n_statistics; i++) {
        int64_t at;
        if (!region_statistic(b->statistics[i], &part, pool, &numbers[i], &at))
            numbers[i] = NAN;
    }
    region_free(&part);
    for (const char *p = b->format; *p;)
        if (p[0] == '%' && p[1] == '%') {
            buf_addc(out, '%');
            p += 2;
        } else if (*p == '%')
            p = convert(p, next < b->n_statistics ? numbers[next] : NAN, out), next++;
        else
            buf_addc(out, *p++);
}
