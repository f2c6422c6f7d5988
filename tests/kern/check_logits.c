/* SPDX-License-Identifier: MIT */
/* Rows of logits: divergence tile by tile, and the largest few. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/logits.h"
#include "kernels/statistics.h"
#include "tests/kern/checks.h"

typedef long double wide;

struct rows {
    const float *row[2];
    int64_t n, target;
    int64_t tiles[64]; /* where tiles end */
};

/* A token that is nearly impossible for the reference, and wholly for the other; not too near
 * e^-708, where it depends on the tiles whether it counts. */
static void plant_impossible(struct trial *t, float *ref, float *x, int64_t n)
{
    const int64_t i = draw_int(t, 0, n - 1);
    ref[i] = (float)-(draw(t) & 1 ? draw_int(t, 500, 700) : draw_int(t, 715, 900));
    x[i] = -INFINITY;
}

static struct rows draw_rows(struct trial *t)
{
    const bool impossible = t->number % 8 == 7;
    const enum draw_kind kind = impossible ? DRAW_UNIFORM : draw_kind(t, DRAW__COUNT);
    const int64_t n = draw_length(t, 1, 9000);
    GUARD(t, float, ref, n, GUARD_IN);
    GUARD(t, float, x, n, GUARD_IN);
    struct rows r = { { ref, x }, n, draw_int(t, -1, n - 1), { 0 } };
    draw_floats(t, kind, ref, n);
    draw_floats(t, kind, x, n);
    for (int64_t i = 0; draw(t) & 1 && i < n; i++) /* near the reference, as models are */
        x[i] = ref[i] + x[i] * 0.001f;
    for (int64_t i = 0; !(draw(t) & 7) && i < n; i++) /* forbidden tokens */
        (draw(t) & 1 ? ref : x)[draw_int(t, 0, n - 1)] = -INFINITY;
    if (!(draw(t) & 7))
        memcpy(x, ref, (size_t)n * sizeof *x);
    if (impossible)
        plant_impossible(t, ref, x, n);
    int k = 0;
    for (int64_t at = 0; at < n; r.tiles[k++] = at)
        at = k == 63 ? n : at + draw_length(t, 1, n - at);
    kern_note("%d logits in %d tiles, %s", (int)n, k, draw_name(kind));
    guard_seal();
    return r;
}

static void add_all(const struct rows *r, struct logits_pair *out)
{
    struct logits_stream s;
    logits_begin(&s, r->target);
    for (int64_t at = 0, k = 0; at < r->n; at = r->tiles[k++])
        logits_add(&s, r->row[0] + at, r->row[1] + at, r->tiles[k] - at);
    logits_end(&s, out);
}

/* What logits.h says of a row. */
static void define_row(const float *x, int64_t n, wide *most, wide *log_sum, int64_t *top)
{
    wide sum = 0;
    bool nan = false;
    *most = -INFINITY;
    *top = -1;
    for (int64_t i = 0; i < n; i++) {
        nan = nan || isnan(x[i]);
        if (!isnan(x[i]) && (*top < 0 || x[i] > x[*top])) {
            *top = i;
            *most = (wide)x[i];
        }
    }
    for (int64_t i = 0; i < n && !isinf(*most); i++)
        sum += expl((wide)x[i] - *most);
    *log_sum = nan ? (wide)NAN : isinf(*most) ? *most : *most + logl(sum);
}

static void expect_kl(const struct rows *r, const wide most[2], const wide all[2], double got)
{
    wide kl = 0, size = 1 + fabsl(all[0]) + fabsl(all[1]), before = -INFINITY;
    bool may_count = false;
    for (int64_t i = 0; i < r->n; i++) {
        const wide a = (wide)r->row[0][i], b = (wide)r->row[1][i], p = expl(a - all[0]);
        before = fmaxl(before, a);
        if (a - most[0] < -708) { /* it is small beside what comes later, maybe in another tile */
            may_count = may_count || (isinf(b) && a - before >= -708);
            continue;
        }
        kl += p * ((a - all[0]) - (b - all[1]));
        size += isinf(b) ? 0 : p * (fabsl(a) + fabsl(b));
    }
    if (may_count && got == (double)INFINITY)
        return;
    if (!isfinite(all[0]) || !isfinite(all[1]))
        kl = (wide)NAN;
    expect_near("kl", 0, got, (double)kl, 8e-15 * (double)size);
    if (isfinite(kl) && !memcmp(r->row[0], r->row[1], (size_t)r->n * sizeof(float)))
        expect_near("kl of a row with itself", 0, got, 0, 0);
    /* the definition in double, where it draws no other line: p = 0 beside q = 0 */
    double plain = 0;
    CALL_TO(plain, kl_of_logits, r->row[0], r->row[1], r->n, -708.0 + (double)(most[0] - all[0]));
    if (isfinite(plain))
        expect_near("kl_of_logits", 0, got, plain, 1e-12 * (double)size);
}

void check_logits_pair(struct trial *t)
{
    const struct rows r = draw_rows(t);
    struct logits_pair got, want;
    level_force(&level_c);
    add_all(&r, &want);
    level_force(t->level);
    CALL(add_all, &r, &got);
    wide most[2], all[2];
    for (int i = 0; i < 2; i++) {
        int64_t top;
        define_row(r.row[i], r.n, &most[i], &all[i], &top);
        expect_int("top", i, got.top[i], top);
        expect_near("log_sum", i, got.log_sum[i], (double)all[i],
                    8e-15 * (1 + fabs((double)all[i])));
        expect_near("log_sum at level c", i, got.log_sum[i], want.log_sum[i], 0);
        const double logit = r.target < 0 ? (double)NAN : (double)r.row[i][r.target];
        expect_near("log_prob", i, got.log_prob[i], logit - got.log_sum[i], 0);
    }
    expect_kl(&r, most, all, got.kl);
    expect_near("kl at level c", 0, got.kl, want.kl, 0);
    CALL(logits_pair_of, r.row[0], r.row[1], r.n, r.target, &got);
    expect_kl(&r, most, all, got.kl);
}

static const float *sorted;

static int by_rank(const void *a, const void *b)
{
    const int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
    const float x = sorted[i], y = sorted[j];
    if (isnan(x) != isnan(y))
        return isnan(x) ? 1 : -1;
    if (!isnan(x) && x != y)
        return x > y ? -1 : 1;
    return i < j ? -1 : i > j;
}

void check_logits_top(struct trial *t)
{
    const enum draw_kind kind = draw_kind(t, DRAW__COUNT);
    const int64_t n = draw_length(t, 0, 5000), k = draw_length(t, 0, 300);
    kern_note("%d of %d logits, %s", (int)k, (int)n, draw_name(kind));
    GUARD(t, float, x, n, GUARD_IN);
    GUARD(t, int32_t, id, k, GUARD_OUT);
    GUARD(t, int32_t, all, n, GUARD_OUT);
    draw_floats(t, kind, x, n);
    guard_seal();
    int64_t have;
    for (int64_t i = 0; i < n; i++)
        all[i] = (int32_t)i;
    sorted = x;
    qsort(all, (size_t)n, sizeof *all, by_rank);
    CALL_TO(have, logits_top, x, n, k, id);
    expect_int("how many", 0, have, k < n ? k : n);
    for (int64_t i = 0; i < have; i++)
        expect_int("id", i, id[i], all[i]);
}
