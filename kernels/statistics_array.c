/* SPDX-License-Identifier: MIT */
/* Statistics of one array: summary, quantiles, histogram. */
#include <math.h>
#include <string.h>

#include "kernels/level.h"
#include "kernels/statistics.h"

enum { CHUNK = STATISTICS_CHUNK, WAVE = 64 };

/* Copy the finite values of x[0..n) to out, count the others; returns how many are finite. */
static int keep_finite(const float *x, int n, float *out, struct summary_part *p)
{
    int m = 0;
    for (int i = 0; i < n; i++) {
        if (isnan(x[i]))
            p->nan++;
        else if (isinf(x[i]))
            p->inf++;
        else
            out[m++] = x[i];
    }
    return m;
}

/* Moments of one chunk of n <= CHUNK values. */
static void part_of(const float *x, int n, struct summary_part *p)
{
    struct moments m = { 0 };
    memset(p, 0, sizeof *p);
    p->n = n;
    if (n && !level_now()->moments(x, n, &m)) {
        float finite[CHUNK];
        p->n = keep_finite(x, n, finite, p);
        if (p->n)
            level_now()->moments(finite, (int)p->n, &m);
    }
    if (!p->n)
        return;
    p->min = m.min;
    p->max = m.max;
    p->zero = m.zero;
    p->sum = m.sum;
    p->squares = m.squares;
    p->m2 = m.m2;
    p->m3 = m.m3;
    p->m4 = m.m4;
}

/* a becomes the moments of both (Pébay 2008, formulas for pairwise merging up to order 4). */
static void merge(struct summary_part *a, const struct summary_part *b)
{
    a->nan += b->nan;
    a->inf += b->inf;
    if (b->n == 0)
        return;
    if (a->n == 0) {
        int64_t nan = a->nan, inf = a->inf;
        *a = *b;
        a->nan = nan;
        a->inf = inf;
        return;
    }
    double na = (double)a->n, nb = (double)b->n, n = na + nb;
    double d = b->sum / nb - a->sum / na, dn = d / n;
    a->m4 += b->m4 + d * dn * dn * dn * na * nb * (na * na - na * nb + nb * nb) +
             6 * dn * dn * (na * na * b->m2 + nb * nb * a->m2) + 4 * dn * (na * b->m3 - nb * a->m3);
    a->m3 += b->m3 + d * dn * dn * na * nb * (na - nb) + 3 * dn * (na * b->m2 - nb * a->m2);
    a->m2 += b->m2 + d * dn * na * nb;
    a->sum += b->sum;
    a->squares += b->squares;
    a->n += b->n;
    a->zero += b->zero;
    a->min = b->min < a->min ? b->min : a->min;
    a->max = b->max > a->max ? b->max : a->max;
}

static float part_absmax(const struct summary_part *p)
{
    return p->n == 0 ? -1 : fmaxf(fabsf(p->min), fabsf(p->max));
}

/* Merge the moments of the next chunk, whose n values are at x. */
static void merge_next(struct summary_stream *s, const struct summary_part *p, const float *x,
                       int n)
{
    float largest = part_absmax(p);
    if (largest > part_absmax(&s->total)) {
        int i = 0;
        while (fabsf(x[i]) != largest)
            i++;
        s->absmax_at = s->seen + i;
    }
    merge(&s->total, p);
    s->seen += n;
}

struct wave {
    const float *x;
    struct summary_part part[WAVE];
};

static void wave_chunk(void *data, int64_t chunk, int worker)
{
    struct wave *w = data;
    (void)worker;
    part_of(w->x + chunk * CHUNK, CHUNK, &w->part[chunk]);
}

void summary_begin(struct summary_stream *s)
{
    memset(&s->total, 0, sizeof s->total);
    s->seen = 0;
    s->absmax_at = -1;
    s->n_rest = 0;
}

void summary_add(struct summary_stream *s, struct pool *pool, const float *x, int64_t n)
{
    struct wave w;
    if (n <= 0)
        return;
    if (s->n_rest > 0) {
        int take = n < CHUNK - s->n_rest ? (int)n : CHUNK - s->n_rest;
        memcpy(s->rest + s->n_rest, x, (size_t)take * sizeof *x);
        s->n_rest += take;
        x += take;
        n -= take;
        if (s->n_rest < CHUNK)
            return;
        part_of(s->rest, CHUNK, &w.part[0]);
        merge_next(s, &w.part[0], s->rest, CHUNK);
        s->n_rest = 0;
    }
    while (n >= CHUNK) {
        int64_t chunks = n / CHUNK < WAVE ? n / CHUNK : WAVE;
        w.x = x;
        pool_for(pool, chunks, wave_chunk, &w, NULL);
        for (int64_t i = 0; i < chunks; i++)
            merge_next(s, &w.part[i], x + i * CHUNK, CHUNK);
        x += chunks * CHUNK;
        n -= chunks * CHUNK;
    }
    if (n > 0)
        memcpy(s->rest, x, (size_t)n * sizeof *x);
    s->n_rest = (int)n;
}

void summary_end(struct summary_stream *s, struct summary *out)
{
    struct summary_part kept = s->total, last;
    int64_t seen = s->seen, at = s->absmax_at;
    part_of(s->rest, s->n_rest, &last);
    merge_next(s, &last, s->rest, s->n_rest);
    const struct summary_part *t = &s->total;
    double n = (double)t->n, variance = t->m2 / n;
    bool constant = t->min == t->max; /* rounding must not give it a spread */
    *out = (struct summary){ s->seen, t->nan, t->inf, t->zero, s->absmax_at, NAN, NAN, NAN, NAN,
                             NAN,     NAN,    NAN,    NAN };
    if (t->n > 0) {
        out->min = (double)t->min;
        out->max = (double)t->max;
        out->absmax = (double)part_absmax(t);
        out->mean = constant ? out->min : t->sum / n;
        out->sd = constant ? 0 : sqrt(variance);
        out->rms = constant ? fabs(out->min) : sqrt(t->squares / n);
        out->l2 = sqrt(t->squares);
        if (!constant)
            out->kurt = t->m4 / n / (variance * variance) - 3;
    }
    s->total = kept;
    s->seen = seen;
    s->absmax_at = at;
}

void summary_of(struct pool *pool, const float *x, int64_t n, struct summary *out)
{
    struct summary_stream s;
    summary_begin(&s);
    summary_add(&s, pool, x, n);
    summary_end(&s, out);
}

/* Selection (Hoare's partition around the median of three): afterwards a[k] is what sorting would
 * put there, nothing before it is larger, nothing after it smaller. All values are finite. */
#define SELECTION(name, type)                                                              \
    static type name##_middle(type a, type b, type c)                                      \
    {                                                                                      \
        type lo = a < b ? a : b, hi = a < b ? b : a;                                       \
        return c < lo ? lo : c > hi ? hi : c;                                              \
    }                                                                                      \
    static type name(type *a, int64_t lo, int64_t hi, int64_t k)                           \
    {                                                                                      \
        while (lo < hi) {                                                                  \
            type pivot = name##_middle(a[lo], a[lo + (hi - lo) / 2], a[hi]);               \
            int64_t i = lo, j = hi;                                                        \
            while (i <= j) {                                                               \
                while (a[i] < pivot)                                                       \
                    i++;                                                                   \
                while (a[j] > pivot)                                                       \
                    j--;                                                                   \
                if (i <= j) {                                                              \
                    type t = a[i];                                                         \
                    a[i++] = a[j];                                                         \
                    a[j--] = t;                                                            \
                }                                                                          \
            }                                                                              \
            if (k <= j)                                                                    \
                hi = j;                                                                    \
            else if (k >= i)                                                               \
                lo = i;                                                                    \
            else                                                                           \
                break;                                                                     \
        }                                                                                  \
        return a[k];                                                                       \
    }

SELECTION(select_f32, float)
SELECTION(select_f64, double)

#define QUANTILES(name, type, select)                                                      \
    int64_t name(type *scratch, int64_t n, const double *p, int k, double *out)            \
    {                                                                                      \
        int64_t m = 0;                                                                     \
        for (int64_t i = 0; i < n; i++)                                                    \
            if (isfinite(scratch[i]))                                                      \
                scratch[m++] = scratch[i];                                                 \
        for (int i = 0; i < k; i++) {                                                      \
            double place = p[i] * (double)(m - 1), whole = floor(place);                   \
            out[i] = NAN;                                                                  \
            if (m == 0 || !(p[i] >= 0 && p[i] <= 1))                                       \
                continue;                                                                  \
            double low = (double)select(scratch, 0, m - 1, (int64_t)whole);                \
            out[i] = low;                                                                  \
            if (place > whole)                                                             \
                out[i] += (place - whole) *                                                \
                          ((double)select(scratch, (int64_t)whole + 1, m - 1,              \
                                          (int64_t)whole + 1) - low);                      \
        }                                                                                  \
        return m;                                                                          \
    }

QUANTILES(quantiles, float, select_f32)
QUANTILES(quantiles_f64, double, select_f64)

double median(float *scratch, int64_t n)
{
    const double half = 0.5;
    double out;
    quantiles(scratch, n, &half, 1, &out);
    return out;
}

double median_f64(double *scratch, int64_t n)
{
    const double half = 0.5;
    double out;
    quantiles_f64(scratch, n, &half, 1, &out);
    return out;
}

double histogram_edge(enum histogram_scale scale, double lo, double hi, int bins, int i)
{
    double share = (double)i / bins;
    if (i == 0 || i == bins)
        return i == 0 ? lo : hi;
    if (scale == HISTOGRAM_LOG)
        return exp(log(lo) + share * (log(hi) - log(lo)));
    return lo + share * (hi - lo);
}

bool histogram_of(const float *x, int64_t n, enum histogram_scale scale, double lo, double hi,
                  int bins, int64_t *count, struct histogram_rest *rest)
{
    bool logs = scale == HISTOGRAM_LOG;
    if (bins < 1 || !(lo < hi) || !isfinite(hi - lo) || (logs && !(lo > 0)))
        return false;
    double origin = logs ? log(lo) : lo, width = ((logs ? log(hi) : hi) - origin) / bins;
    memset(count, 0, (size_t)bins * sizeof *count);
    memset(rest, 0, sizeof *rest);
    for (int64_t i = 0; i < n; i++) {
        double v = logs ? fabs((double)x[i]) : (double)x[i];
        if (!isfinite(v)) {
            rest->nonfinite++;
        } else if (logs && v == 0) {
            rest->zero++;
        } else if (v < lo) {
            rest->below++;
        } else if (v > hi) {
            rest->above++;
        } else {
            double at = ((logs ? log(v) : v) - origin) / width;
            count[at >= bins ? bins - 1 : at > 0 ? (int)at : 0]++;
        }
    }
    return true;
}
