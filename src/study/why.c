/* SPDX-License-Identifier: MIT */
#include "study/why.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

const char *why_verdict_name(enum why_verdict v)
{
    static const char *const names[] = { "arrived", "bad weight", "overflow",
                                         "table",   "made here",  "not traced",
                                         "set by a change" };
    return names[v];
}

/* ---- the terms of a step ---- */

static bool heavier(const struct op_term *a, const struct op_term *b)
{
    return fabs(a->product) > fabs(b->product) || (isnan(a->product) && !isnan(b->product));
}

static void keep_top(struct why_step *s, const struct op_term *terms, int64_t n)
{
    s->n_terms = n;
    for (int64_t i = 0; i < n; i++) {
        int64_t at = s->n_top;
        while (at > 0 && heavier(&terms[i], &s->top[at - 1]))
            at--;
        if (at == WHY_TOP)
            continue;
        if (s->n_top < WHY_TOP)
            s->n_top++;
        memmove(&s->top[at + 1], &s->top[at], (size_t)(s->n_top - 1 - at) * sizeof *s->top);
        s->top[at] = terms[i];
    }
}

/* How far the x of a term stands out of the row it belongs to: abs(x) / rms; 0 when unknown. */
static double stands_out(struct run *r, const struct why_step *s, const struct op_term *t)
{
    int span, value;
    int64_t at;
    struct tensor x;
    run_term_place(r, s->span, s->value, t, &span, &value, &at);
    if (run_read(r, span, value, &x, NULL))
        return 0;
    const int64_t n = x.shape.d[0].axis == AXIS_TOK ? shape_per_token(&x.shape)
                                                    : x.shape.d[x.shape.rank - 1].n;
    const float *row = x.data + at / n * n;
    double square = 0;
    for (int64_t i = 0; i < n; i++)
        square += (double)row[i] * (double)row[i];
    return square > 0 ? fabs(t->x) / sqrt(square / (double)n) : 0;
}

static enum why_verdict bad_value(struct why_step *s, const struct op_term *terms, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (terms[i].in >= 0 && !isfinite(terms[i].x)) {
            s->cause = terms[i];
            return WHY_ARRIVED;
        }
    for (int64_t i = 0; i < n; i++)
        if (terms[i].slot >= 0 && !isfinite(terms[i].factor)) {
            s->cause = terms[i];
            return WHY_WEIGHT;
        }
    if (n)
        s->cause = s->top[0];
    return WHY_OVERFLOW;
}

/* The operand of a product that stands out most. */
static const struct op_term *operand(struct run *r, const struct why_step *s,
                                     const struct op_term *terms, int64_t n)
{
    const struct op_term *best = terms;
    double most = -1;
    for (int64_t i = 0; i < n; i++) {
        const double one = stands_out(r, s, &terms[i]);
        if (one > most) {
            most = one;
            best = &terms[i];
        }
    }
    return best;
}

static enum why_verdict finite_value(struct run *r, struct why_step *s, const struct op_term *terms,
                                     int64_t n)
{
    const struct op_term *t = s->kind == TERMS_PRODUCT ? operand(r, s, terms, n)
                              : s->kind == TERMS_OTHER ? &terms[0]
                                                       : &s->top[0];
    s->cause = *t;
    if (t->in < 0)
        return WHY_TABLE;
    if (s->kind == TERMS_PRODUCT || (s->kind == TERMS_SUM && n <= 2))
        return WHY_ARRIVED;
    if (s->kind == TERMS_SUM && fabs(t->product) < WHY_SHARE * fabs(s->x))
        return WHY_MADE;
    return stands_out(r, s, t) > WHY_STANDS_OUT ? WHY_ARRIVED : WHY_MADE;
}

static enum st step(struct run *r, struct why_step *s, struct err *e)
{
    struct op_term *terms = NULL;
    struct tensor x;
    int64_t n = 0;
    enum st st = run_read(r, s->span, s->value, &x, e);
    if (st)
        return st;
    if (s->at < 0 || s->at >= shape_count(&x.shape))
        return st_fail(e, ST_RANGE, "there is no such element");
    s->x = (double)x.data[s->at];
    s->cause = (struct op_term){ .in = -1, .slot = -1, .token = -1, .row = -1, .col = -1 };
    st = run_terms(r, s->span, s->value, s->at, &s->kind, &terms, &n, e);
    if (st == ST_UNSUPPORTED) {
        s->verdict = WHY_UNTRACED;
        return ST_OK;
    }
    if (st)
        return st;
    keep_top(s, terms, n);
    s->verdict = !n               ? WHY_UNTRACED
                 : isfinite(s->x) ? finite_value(r, s, terms, n)
                                  : bad_value(s, terms, n);
    free(terms);
    return ST_OK;
}

enum st why_of(struct run *r, int span, int value, int64_t at, struct why *out, struct err *e)
{
    struct why w = { 0 };
    const struct graph *g = run_graph(r);
    enum st st = ST_OK;
    /* Every step goes to an earlier node, so this ends. */
    for (bool more = true; more && w.n <= (size_t)g->n_nodes;) {
        x_grow(&w.steps, &w.cap, w.n + 1, sizeof *w.steps);
        struct why_step *s = &w.steps[w.n];
        *s = (struct why_step){ .span = span, .value = value, .at = at };
        if ((st = step(r, s, e)))
            break;
        w.n++;
        more = s->verdict == WHY_ARRIVED;
        if (more)
            run_term_place(r, s->span, s->value, &s->cause, &span, &value, &at);
    }
    if (st && w.n == 0) {
        why_free(&w);
        return st;
    }
    if (st == ST_CANCELLED) {
        why_free(&w);
        return st;
    }
    *out = w;
    return ST_OK;
}

void why_end_at(struct why *w, size_t i)
{
    struct why_step *s = &w->steps[i];
    w->n = i + 1;
    s->verdict = WHY_SET;
    s->cause.in = s->cause.slot = -1;
    s->n_top = s->n_terms = 0;
}

void why_free(struct why *w)
{
    free(w->steps);
    *w = (struct why){ 0 };
}
