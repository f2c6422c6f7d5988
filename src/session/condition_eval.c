/* SPDX-License-Identifier: MIT */
/* The evaluation of conditions: tests of the whole array in one pass each, tests of single elements
 * block by block. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/statistics.h"
#include "session/condition_parts.h"

enum { BLOCK = 256, CHUNK = 64 * BLOCK };

/* One evaluation: what was measured of the array is kept for the next part that asks. */
struct eval {
    const struct condition *c;
    const struct condition_input *in;
    const float *x;
    int64_t n;
    bool scanned, summed;
    struct scan scan;
    struct summary sum;
};

static const struct scan *scan(struct eval *v)
{
    if (!v->scanned)
        scan_of(v->in->pool, v->x, v->n, &v->scan);
    v->scanned = true;
    return &v->scan;
}

static const struct summary *summary(struct eval *v)
{
    if (!v->summed)
        summary_of(v->in->pool, v->x, v->n, &v->sum);
    v->summed = true;
    return &v->sum;
}

/* ---- elements ---- */

static bool compare(enum compare how, double a, double b)
{
    switch (how) {
    case CMP_LT: return a < b;
    case CMP_LE: return a <= b;
    case CMP_EQ: return a == b;
    case CMP_NE: return a != b;
    case CMP_GE: return a >= b;
    case CMP_GT: return a > b;
    }
    return false;
}

#define EACH for (int i = 0; i < n; i++)

/* out[i] = out[i] KIND b[i] */
static void combine(const struct part *p, float *out, const float *b, int n)
{
    switch (p->kind) {
    case PART_ADD: EACH out[i] += b[i]; break;
    case PART_SUB: EACH out[i] -= b[i]; break;
    case PART_MUL: EACH out[i] *= b[i]; break;
    case PART_DIV: EACH out[i] /= b[i]; break;
    case PART_AND: EACH out[i] = (float)(out[i] != 0 && b[i] != 0); break;
    case PART_OR: EACH out[i] = (float)(out[i] != 0 || b[i] != 0); break;
    case PART_COMPARE:
        EACH out[i] = (float)compare(p->compare, (double)out[i], (double)b[i]);
        break;
    default: break;
    }
}

static void apply(enum part_kind kind, float *out, int n)
{
    switch (kind) {
    case PART_NEG: EACH out[i] = -out[i]; break;
    case PART_ABS: EACH out[i] = fabsf(out[i]); break;
    case PART_LOG: EACH out[i] = logf(out[i]); break;
    case PART_EXP: EACH out[i] = expf(out[i]); break;
    case PART_SQRT: EACH out[i] = sqrtf(out[i]); break;
    case PART_NOT: EACH out[i] = (float)(out[i] == 0); break;
    default: break;
    }
}

static void copy(float *out, const float *from, int64_t at, int n)
{
    if (from)
        memcpy(out, from + at, (size_t)n * sizeof *out);
    else
        EACH out[i] = NAN;
}

/* Part `part` of elements [at, at + n), n <= BLOCK. What is needed of the whole array has been
 * measured before (see prepare), so that several threads may call this. */
static void elements(const struct eval *v, int part, int64_t at, int n, float *out)
{
    const struct part *p = &v->c->parts[part];
    float b[BLOCK];
    double whole = NAN;
    switch (p->kind) {
    case PART_X: copy(out, v->x, at, n); return;
    case PART_REF: copy(out, v->in->ref, at, n); return;
    case PART_PREV: copy(out, v->in->prev, at, n); return;
    case PART_NUMBER: EACH out[i] = (float)p->number; return;
    case PART_OF_ALL:
        statistic_of_summary(p->name, &v->sum, &whole);
        EACH out[i] = (float)whole;
        return;
    default: break;
    }
    elements(v, p->a, at, n, out);
    if (p->b < 0) {
        apply(p->kind, out, n);
        return;
    }
    elements(v, p->b, at, n, b);
    combine(p, out, b, n);
}

static void prepare(struct eval *v, int part)
{
    const struct part *p = &v->c->parts[part];
    if (p->kind == PART_OF_ALL)
        summary(v);
    if (p->a >= 0)
        prepare(v, p->a);
    if (p->b >= 0)
        prepare(v, p->b);
}

struct tally {
    const struct eval *v;
    int part;
    struct {
        int64_t count, first; /* of the true elements; first = -1 if none */
    } * chunks;
};

static void tally_chunk(void *data, int64_t chunk, int worker)
{
    (void)worker;
    const struct tally *t = data;
    const int64_t end = (chunk + 1) * CHUNK < t->v->n ? (chunk + 1) * CHUNK : t->v->n;
    float out[BLOCK];
    t->chunks[chunk].count = 0;
    t->chunks[chunk].first = -1;
    for (int64_t at = chunk * CHUNK; at < end; at += BLOCK) {
        const int n = end - at < BLOCK ? (int)(end - at) : BLOCK;
        elements(t->v, t->part, at, n, out);
        for (int i = 0; i < n; i++)
            if (out[i] != 0 && !t->chunks[chunk].count++)
                t->chunks[chunk].first = at + i;
    }
}

/* How many elements part `part` is true of, and the first of them. */
static int64_t count_true(struct eval *v, int part, int64_t *first)
{
    const int64_t chunks = pool_chunks(v->n, CHUNK);
    struct tally t = { v, part, x_alloc((size_t)chunks * sizeof *t.chunks + 1) };
    int64_t count = 0;
    *first = -1;
    prepare(v, part);
    if (chunks)
        pool_for(v->in->pool, chunks, tally_chunk, &t, NULL);
    for (int64_t i = 0; i < chunks; i++) {
        if (*first < 0)
            *first = t.chunks[i].first;
        count += t.chunks[i].count;
    }
    free(t.chunks);
    return count;
}

/* ---- statistics ---- */

static int64_t find(const float *x, int64_t n, bool (*is)(float x, double value), double value)
{
    for (int64_t i = 0; i < n; i++)
        if (is(x[i], value))
            return i;
    return -1;
}

static bool is_nan(float x, double value) { return (void)value, isnan(x); }
static bool is_inf(float x, double value) { return (void)value, isinf(x); }
static bool is_same(float x, double value) { return (double)x == value; }

/* The element that a statistic of the whole array can be seen at. */
static int64_t place_of(const char *name, const struct region *x, int64_t n, double value)
{
    if (!strcmp(name, "nan"))
        return find(x->data, n, is_nan, 0);
    if (!strcmp(name, "inf"))
        return find(x->data, n, is_inf, 0);
    if (!strcmp(name, "min") || !strcmp(name, "max"))
        return find(x->data, n, is_same, value);
    return -1;
}

/* Mean of a statistic of rows of probabilities, and the first of them that has the largest value;
 * NaN where the last axis is not that of keys. Row t has the keys that its token may see. */
static double over_rows(const char *name, const struct region *x, int64_t *at)
{
    const struct shape *s = &x->shape;
    const int64_t n = s->rank ? s->d[s->rank - 1].n : 1, rows = n ? region_count(x) / n : 0;
    const int tok = shape_axis(s, AXIS_TOK);
    const int key = s->rank && s->d[s->rank - 1].axis == AXIS_KEY ? s->rank - 1 : -1;
    int64_t inner = 1, counted = 0;
    double sum = 0, best = -INFINITY;
    for (int d = tok + 1; d < s->rank - 1; d++)
        inner *= s->d[d].n;
    *at = -1;
    if (key < 0)
        return NAN;
    for (int64_t r = 0; r < rows; r++) {
        int64_t seen = n;
        while (tok >= 0 && seen > 1
               && region_entry(x, key, seen - 1) > region_entry(x, tok, r / inner % s->d[tok].n))
            seen--;
        double value;
        if (!statistic_of(name, NULL, x->data + r * n, seen, &value) || isnan(value))
            continue;
        sum += value;
        counted++;
        if (value > best) {
            best = value;
            *at = r * n;
        }
    }
    return counted ? sum / (double)counted : NAN;
}

static double quantile(const char *name, const struct region *x)
{
    const double p = !strcmp(name, "p1") ? 0.01 : !strcmp(name, "p99") ? 0.99 : 0.5;
    const int64_t n = region_count(x);
    double out = NAN;
    void *scratch;
    if (!n || mem_alloc(&scratch, (size_t)n * sizeof(float), "sorting", NULL))
        return out;
    memcpy(scratch, x->data, (size_t)n * sizeof(float));
    quantiles(scratch, n, &p, 1, &out);
    mem_free(scratch);
    return out;
}

static double statistic_at_point(struct eval *v, const char *name, int64_t *at)
{
    const struct statistic *t = statistic_find(name);
    double out = NAN;
    *at = -1;
    if (!t)
        return out;
    if (t->kind == STATISTIC_ROW)
        return over_rows(t->name, v->in->x, at);
    if (t->kind == STATISTIC_QUANTILE)
        return quantile(t->name, v->in->x);
    if (statistic_of_summary(t->name, summary(v), &out))
        *at = strcmp(t->name, "absmax") ? place_of(t->name, v->in->x, v->n, out) : v->sum.absmax_at;
    return out;
}

bool region_statistic(const char *name, const struct region *x, struct pool *pool, double *value,
                      int64_t *at)
{
    const struct statistic *t = statistic_find(name);
    const struct condition_input in = { .x = x, .pool = pool };
    struct eval v = { .in = &in, .x = x->data, .n = region_count(x) };
    if (!t
        || (t->kind != STATISTIC_ARRAY && t->kind != STATISTIC_QUANTILE
            && t->kind != STATISTIC_ROW))
        return false;
    *value = statistic_at_point(&v, t->name, at);
    return true;
}

/* Against the reference: mean over the rows of the last axis for distributions, else of all. */
static double pair_at_point(struct eval *v, const char *name)
{
    const struct shape *s = &v->in->x->shape;
    const int64_t n = strcmp(name, "kl") || !s->rank ? v->n : s->d[s->rank - 1].n;
    double sum = 0, one;
    int64_t at = 0;
    if (!v->in->ref || n <= 0)
        return NAN;
    for (; at < v->n && statistic_between(name, v->in->ref + at, v->x + at, n, &one); at += n)
        sum += one;
    return at ? sum / (double)(at / n) : NAN;
}

/* ---- tests ---- */

/* Rows [rows][cols] of a point that begins with its tokens, the first token of the run apart; one
 * row with everything elsewhere. */
static int64_t rows_of(const struct eval *v, int64_t *apart)
{
    const struct shape *s = &v->in->x->shape;
    const bool tokens = s->rank > 1 && s->d[0].axis == AXIS_TOK;
    *apart = tokens && s->d[0].n && region_entry(v->in->x, 0, 0) == 0;
    return tokens ? s->d[0].n : 1;
}

static bool has_outlier(struct eval *v, double k, double *value, int64_t *at)
{
    int64_t apart;
    const int64_t rows = rows_of(v, &apart), cols = rows ? v->n / rows : 0, n = v->n - apart * cols;
    struct scan s;
    if (n <= 0)
        return false;
    /* Channels that are zero only make the rms smaller, so this misses none. */
    scan_of(v->in->pool, v->x + apart * cols, n, &s);
    if (s.finite && (double)s.absmax <= 0.9999 * k * sqrt(s.squares / (double)n))
        return false;
    struct outlier_report report;
    float *absmax = x_alloc((size_t)cols * 2 * sizeof *absmax);
    int32_t *row = x_alloc((size_t)cols * 2 * sizeof *row);
    double *squares = x_alloc((size_t)cols * sizeof *squares);
    struct channel_table t = { absmax, row, row + cols, squares, NULL };
    outliers_of(v->x, rows, cols, apart, k, &t, absmax + cols, &report);
    free(absmax);
    free(row);
    free(squares);
    if (!report.hits || report.absmax_col < 0)
        return false;
    *at = report.absmax_row * cols + report.absmax_col;
    *value = report.absmax * k / report.threshold;
    return true;
}

/* Share of the values that have the largest magnitude, when several do. */
static double saturated(struct eval *v, int64_t *at)
{
    struct ties t;
    ties_of(v->in->pool, v->x, v->n, &t);
    *at = t.first;
    if (t.scan.finite)
        return t.count > 1 && t.scan.absmax > 0 ? (double)t.count / (double)v->n : 0;
    const struct summary *s = summary(v); /* the finite ones of them */
    int64_t count = 0;
    *at = s->absmax_at;
    for (int64_t i = 0; s->absmax > 0 && i < v->n; i++)
        count += (double)fabsf(v->x[i]) == s->absmax;
    return count > 1 ? (double)count / (double)v->n : 0;
}

/* Median over tokens of the relative error, the first token of the run apart when there are more.
 */
static double divergence(struct eval *v, int64_t *at)
{
    int64_t apart;
    const int64_t rows = rows_of(v, &apart), cols = rows ? v->n / rows : 0;
    double out = NAN, worst = -INFINITY;
    *at = -1;
    if (!v->in->ref || !cols)
        return out;
    if (rows == apart)
        apart = 0;
    float *error = x_alloc((size_t)rows * sizeof *error);
    for (int64_t r = apart; r < rows; r++) {
        struct pair_error e;
        pair_error_of(v->in->ref + r * cols, v->x + r * cols, cols, &e);
        const double one = e.nonfinite ? INFINITY : e.relerr;
        error[r - apart] = one > 1e30 ? 1e30f : (float)one;
        if (one > worst) {
            worst = one;
            *at = r * cols + (e.maxerr_at < 0 ? 0 : e.maxerr_at);
        }
    }
    out = median(error, rows - apart);
    free(error);
    return out;
}

static bool decided(struct condition_hit *hit, const char *what, double value, int64_t at)
{
    snprintf(hit->what, sizeof hit->what, "%s", what);
    hit->value = value;
    hit->at = at;
    return true;
}

static bool bad(struct eval *v, const struct part *p, struct condition_hit *hit)
{
    const bool nan = p->kind == PART_NAN;
    if (scan(v)->finite)
        return false;
    const int64_t at = find(v->x, v->n, nan ? is_nan : is_inf, 0);
    return at >= 0
           && decided(hit, nan ? "nan" : "inf", (double)(nan ? summary(v)->nan : summary(v)->inf),
                      at);
}

static bool named_test(struct eval *v, const struct part *p, struct condition_hit *hit)
{
    double value = 0;
    int64_t at = -1;
    switch (p->kind) {
    case PART_NAN:
    case PART_INF: return bad(v, p, hit);
    case PART_FINITE: return scan(v)->finite && decided(hit, "finite", 1, -1);
    case PART_DEAD:
        return v->n && scan(v)->finite && v->scan.absmax == 0 && decided(hit, "dead", 1, -1);
    case PART_OUTLIER:
        return has_outlier(v, p->number, &value, &at) && decided(hit, "outlier", value, at);
    case PART_SAT:
        value = saturated(v, &at);
        return value > p->number && decided(hit, "sat", value, at);
    case PART_SINK:
        value = over_rows("sink", v->in->x, &at);
        return value > p->number && decided(hit, "sink", value, at);
    case PART_DIVERGE:
        value = divergence(v, &at);
        return value > p->number && decided(hit, "relerr", value, at);
    default: return false;
    }
}

static bool holds(struct eval *v, int part, struct condition_hit *hit);

/* The first of the two that has something to show says why. */
static bool both(struct eval *v, const struct part *p, struct condition_hit *hit)
{
    struct condition_hit second;
    if (!holds(v, p->a, hit) || !holds(v, p->b, &second))
        return false;
    if (!*hit->what)
        *hit = second;
    return true;
}

static bool holds(struct eval *v, int part, struct condition_hit *hit)
{
    const struct part *p = &v->c->parts[part];
    const struct part *a = p->a >= 0 ? &v->c->parts[p->a] : NULL;
    double value;
    int64_t at;
    switch (p->kind) {
    case PART_OR: return holds(v, p->a, hit) || holds(v, p->b, hit);
    case PART_AND: return both(v, p, hit);
    case PART_NOT: return !holds(v, p->a, hit) && decided(hit, "", 0, -1);
    case PART_ANY: return count_true(v, p->a, &at) && decided(hit, "any", (double)v->x[at], at);
    case PART_ALL: return v->n && count_true(v, p->a, &at) == v->n && decided(hit, "all", 1, -1);
    case PART_COMPARE: break;
    default: return named_test(v, p, hit);
    }
    const char *what = a->name;
    if (a->kind == PART_COUNT || a->kind == PART_FRAC) {
        value = (double)count_true(v, a->a, &at);
        what = a->kind == PART_COUNT ? "count" : "frac";
        if (a->kind == PART_FRAC)
            value = v->n ? value / (double)v->n : NAN;
    } else if (a->kind == PART_PAIR) {
        value = pair_at_point(v, a->name);
        at = -1;
    } else
        value = statistic_at_point(v, a->name, &at);
    return compare(p->compare, value, p->number) && decided(hit, what, value, at);
}

bool condition_holds(const struct condition *c, const struct condition_input *in,
                     struct condition_hit *hit)
{
    struct eval v = { .c = c, .in = in, .x = in->x->data, .n = region_count(in->x) };
    struct condition_hit none;
    return v.n > 0 && holds(&v, c->root, hit ? hit : &none);
}
