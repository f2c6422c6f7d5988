/* SPDX-License-Identifier: MIT */
#include "study/writer.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"

static bool is_sum(const struct graph *g, int value)
{
    return g->nodes[g->values[value].node].op == OP_ADD;
}

/* Which input of an addition is the stream: the one that is a sum itself, else the first. */
static int stream_input(const struct graph *g, const struct node *add)
{
    return !is_sum(g, add->in[0]) && is_sum(g, add->in[1]);
}

int stream_before(const struct graph *g, int value)
{
    const struct node *node = &g->nodes[g->values[value].node];
    return is_sum(g, value) ? node->in[stream_input(g, node)] : -1;
}

int stream_added(const struct graph *g, int value)
{
    const struct node *node = &g->nodes[g->values[value].node];
    return is_sum(g, value) ? node->in[!stream_input(g, node)] : value;
}

bool write_counts(double x, double before, double percent)
{
    return !isfinite(x) || fabs(x) > percent / 100 * fabs(before);
}

static enum st element(struct run *r, int span, int value, int64_t at, double *out, struct err *e)
{
    struct tensor x;
    enum st st = run_read(r, span, value, &x, e);
    if (!st && (at < 0 || at >= shape_count(&x.shape)))
        st = st_fail(e, ST_RANGE, "there is no such element");
    if (!st)
        *out = (double)x.data[at];
    return st;
}

enum st writes_of(struct run *r, int span, int value, int64_t at, struct write **out, size_t *n,
                  struct err *e)
{
    const struct graph *g = run_graph(r);
    struct write *list = NULL;
    size_t count = 0, cap = 0;
    enum st st = ST_OK;
    for (int sum = value; sum >= 0 && !st;) { /* from the last addition back to the first */
        const int before = stream_before(g, sum);
        struct write w = { .value = stream_added(g, sum), .sum = before < 0 ? -1 : sum };
        st = element(r, span, sum, at, &w.after, e);
        if (!st)
            st = element(r, span, w.value, at, &w.x, e);
        x_grow(&list, &cap, count + 1, sizeof *list);
        list[count++] = w;
        sum = before;
    }
    if (st) {
        free(list);
        return st;
    }
    for (size_t i = 0; i < count / 2; i++) {
        const struct write w = list[i];
        list[i] = list[count - 1 - i];
        list[count - 1 - i] = w;
    }
    *out = list;
    *n = count;
    return ST_OK;
}

int largest_write(const struct write *list, size_t n, double percent)
{
    int best = -1;
    for (size_t i = 0; i < n; i++) {
        if (list[i].left)
            continue;
        if (!isfinite(list[i].x))
            return (int)i;
        const double before = i ? list[i - 1].after : 0, x = fabs(list[i].x);
        if (write_counts(x, before, percent) && (best < 0 || x > fabs(list[best].x)))
            best = (int)i;
    }
    return best;
}

/* Entries of the heads in the input of a product; 0 when it has none. */
static int64_t heads_of(const struct graph *g, const struct node *node, int64_t *size)
{
    const struct shape *s = &g->values[node->in[0]].shape;
    const int head = node->op == OP_LINEAR ? shape_axis(s, AXIS_HEAD) : -1;
    if (head < 0)
        return 0;
    *size = shape_per_token(s) / s->d[head].n;
    return s->d[head].n;
}

static double *per_unit(const struct op_term *terms, int64_t count, int64_t units, int64_t size)
{
    double *sum = x_alloc((size_t)units * sizeof *sum);
    for (int64_t i = 0; i < units; i++)
        sum[i] = 0;
    for (int64_t i = 0; i < count; i++)
        if (terms[i].in >= 0)
            sum[terms[i].at / size] += terms[i].product;
    return sum;
}

enum st head_writes_of(struct run *r, int span, int value, int64_t at, double **out, size_t *n,
                       struct err *e)
{
    const struct graph *g = run_graph(r);
    enum term_kind kind;
    struct op_term *terms;
    int64_t count, size, heads = heads_of(g, &g->nodes[g->values[value].node], &size);
    *out = NULL;
    *n = 0;
    if (!heads)
        return ST_OK;
    enum st st = run_terms(r, span, value, at, &kind, &terms, &count, e);
    if (st)
        return st;
    *out = per_unit(terms, count, heads, size);
    *n = (size_t)heads;
    free(terms);
    return ST_OK;
}

static bool more(double a, double b) { return fabs(a) > fabs(b) || (isnan(a) && !isnan(b)); }

/* The unit of a product that gave most, and its largest term. */
static void take_apart(const struct graph *g, const struct node *node, const struct op_term *terms,
                       int64_t count, double x, struct writer *out)
{
    int64_t size = 1;
    const int64_t heads = heads_of(g, node, &size);
    out->units = heads ? heads : shape_per_token(&g->values[node->in[0]].shape);
    double *sum = per_unit(terms, count, out->units, size);
    for (int64_t i = 0; i < out->units; i++)
        if (!i || more(sum[i], sum[out->number]))
            out->number = i;
    out->unit = heads ? WRITER_HEAD : WRITER_NEURON;
    out->gave = sum[out->number];
    const struct op_term *best = NULL;
    for (int64_t i = 0; i < count; i++)
        if (terms[i].in < 0 && more(terms[i].product, out->gave)) {
            out->unit = WRITER_NONE; /* a bias */
            out->gave = terms[i].product;
            best = &terms[i];
        }
    for (int64_t i = 0; i < count && out->unit != WRITER_NONE; i++)
        if (terms[i].in >= 0 && terms[i].at / size == out->number
            && (!best || more(terms[i].product, best->product)))
            best = &terms[i];
    free(sum);
    out->term = *best;
    out->gave *= out->factor;
    out->share = out->gave / x;
}

/* A term of a value that has but one, or one that the others only scale: what is written came
 * through it. */
static bool passes(const struct node *node)
{
    return node->op == OP_RMS_NORM || node->op == OP_LAYER_NORM || node->op == OP_SCALE
           || node->op == OP_SLICE;
}

enum st writer_of(struct run *r, int span, int value, int64_t at, struct writer *out, struct err *e)
{
    const struct graph *g = run_graph(r);
    struct writer w = { .made_by = -1,
                        .factor = 1,
                        .gave = NAN,
                        .share = NAN,
                        .term = { .in = -1, .slot = -1, .token = -1, .row = -1, .col = -1 } };
    double x;
    enum st st = element(r, span, value, at, &x, e);
    for (bool again = true; again && !st;) {
        const struct node *node = &g->nodes[g->values[value].node];
        enum term_kind kind;
        struct op_term *terms;
        int64_t n;
        again = false;
        st = run_terms(r, span, value, at, &kind, &terms, &n, e);
        if (st)
            break;
        if (passes(node) && n) {
            w.factor *= terms[0].factor;
            run_term_place(r, span, value, &terms[0], &span, &value, &at);
            again = true;
        } else if (node->op == OP_LINEAR && n) {
            w.made_by = value;
            take_apart(g, node, terms, n, x, &w);
        } else
            for (int64_t i = 0; i < n; i++)
                if (terms[i].slot >= 0) { /* the row of a table */
                    w.made_by = value;
                    w.term = terms[i];
                    w.gave = w.factor * terms[i].product;
                    w.share = w.gave / x;
                }
        free(terms);
    }
    if (st && st != ST_UNSUPPORTED) /* an op that is not traced: nothing more is known */
        return st;
    *out = w;
    return ST_OK;
}
