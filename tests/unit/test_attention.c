/* SPDX-License-Identifier: MIT */
/* Attention: on every level the same bits, fused or apart, together or token by token, within the
 * bounds of docs/modes.md. */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/attention.h"
#include "kernels/codec.h"
#include "kernels/level.h"
#include "kernels/rows.h"

static uint64_t seed = 1;

/* In -1..1, a few larger. */
static float draw(void)
{
    const double x = (double)(int64_t)(unit_random(&seed) >> 11) / 4503599627370496.0 - 1;
    return (float)(unit_random(&seed) % 64 ? x : x * 20);
}

static int64_t below(int64_t n) { return (int64_t)(unit_random(&seed) % (uint64_t)n); }

/* Two sequences, which take turns in stretches; behind some tokens of the first. */
struct problem {
    struct attention a;
    float *q, *p, *score, *z;
    void *k, *v;
    int32_t *rows[2], *visible;
    const int32_t **keys;
    int64_t all_rows;
};

static void fill_cache(void *to, int64_t n, bool half)
{
    for (int64_t i = 0; i < n; i++)
        if (half)
            ((uint16_t *)to)[i] = f32_to_f16(draw());
        else
            ((float *)to)[i] = draw();
}

static void begin(struct problem *p, bool half, int64_t n, int64_t kv, int64_t group, int64_t past,
                  int64_t tokens, int64_t stretch)
{
    *p = (struct problem){ .all_rows = past + tokens };
    struct attention *a = &p->a;
    *a = (struct attention){ .tokens = tokens, .heads = kv * group, .kv = kv, .n = n,
                             .scale = 0.3f, .half = half };
    p->visible = x_alloc((size_t)tokens * sizeof *p->visible);
    p->keys = x_alloc((size_t)tokens * sizeof *p->keys);
    int32_t count[2] = { 0 };
    for (int s = 0; s < 2; s++)
        p->rows[s] = x_alloc((size_t)p->all_rows * sizeof(int32_t));
    for (int64_t row = 0; row < p->all_rows; row++) {
        const int s = stretch && row >= past ? (int)((row - past) / stretch % 2) : 0;
        p->rows[s][count[s]++] = (int32_t)row;
        if (row >= past) {
            p->keys[row - past] = p->rows[s];
            p->visible[row - past] = count[s];
            a->max_keys = count[s] > a->max_keys ? count[s] : a->max_keys;
        }
    }
    const int64_t cache = p->all_rows * kv * n, out = tokens * a->heads * n;
    p->k = x_alloc((size_t)cache * sizeof(float));
    p->v = x_alloc((size_t)cache * sizeof(float));
    p->q = x_alloc((size_t)out * sizeof(float));
    p->z = x_alloc((size_t)out * sizeof(float));
    p->score = x_alloc((size_t)(a->heads * tokens * a->max_keys) * sizeof(float));
    p->p = x_alloc((size_t)(a->heads * tokens * a->max_keys) * sizeof(float));
    fill_cache(p->k, cache, half);
    fill_cache(p->v, cache, half);
    fill_cache(p->q, out, false);
    a->q = p->q;
    a->k = p->k;
    a->v = p->v;
    a->keys = p->keys;
    a->visible = p->visible;
}

static void end(struct problem *p)
{
    free(p->q), free(p->p), free(p->score), free(p->z), free(p->k), free(p->v);
    free(p->rows[0]), free(p->rows[1]), free(p->visible), free((void *)p->keys);
}

static size_t z_bytes(const struct problem *p)
{
    return (size_t)(p->a.tokens * p->a.heads * p->a.n) * sizeof(float);
}

static size_t score_bytes(const struct problem *p)
{
    return (size_t)(p->a.heads * p->a.tokens * p->a.max_keys) * sizeof(float);
}

/* The three steps apart, into p->score, p->p and p->z. */
static void apart(struct problem *p, struct pool *pool)
{
    struct attention *a = &p->a;
    attention_scores(a, p->score, pool, NULL);
    for (int64_t i = 0; i < a->heads * a->tokens; i++)
        row_softmax(p->score + i * a->max_keys, a->visible[i % a->tokens], a->max_keys,
                    p->p + i * a->max_keys);
    attention_mix(a, p->p, p->z, pool, NULL);
}

/* The same bits, or both no number. */
static void assert_same(const float *a, const float *b, size_t bytes, const char *what)
{
    for (size_t i = 0; i < bytes / sizeof *a; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0 && !(isnan(a[i]) && isnan(b[i])))
            fail_msg("%s: entry %zu is %.9g, not %.9g", what, i, (double)b[i], (double)a[i]);
}

/* Shapes of problems: usual ones, all head sizes, ragged counts, two sequences. */
static void problem_at(struct problem *p, int i)
{
    const bool half = i % 2;
    if (i < 4)
        begin(p, half, i < 2 ? 64 : 128, 2, i < 2 ? 3 : 8, 70 * i, 75, 0);
    else if (i < 8)
        begin(p, half, 32, 1, 1 + i, 1100, 1 + (i - 4) / 2 * 2, i < 6 ? 0 : 1); /* decoding */
    else
        begin(p, half, 1 + (i - 8) / 2, 1 + below(2), 1 + below(5), below(40), 1 + below(60),
              i % 3 ? 0 : 1 + below(9));
}

enum { PROBLEMS = 8 + 2 * 161 };

static void levels_agree(void **unused)
{
    (void)unused;
    for (int i = 0; i < PROBLEMS; i++) {
        struct problem p;
        problem_at(&p, i);
        level_force(&level_c);
        apart(&p, NULL);
        float *z = memcpy(x_alloc(z_bytes(&p)), p.z, z_bytes(&p));
        float *score = memcpy(x_alloc(score_bytes(&p)), p.score, score_bytes(&p));
        for (size_t l = 0; level_at(l); l++) {
            if (!level_supported(level_at(l)))
                continue;
            level_force(level_at(l));
            apart(&p, NULL);
            assert_same(score, p.score, score_bytes(&p), "scores");
            assert_same(z, p.z, z_bytes(&p), "values");
            memset(p.z, 0x55, z_bytes(&p));
            attention_fused(&p.a, p.z, NULL, NULL);
            assert_same(z, p.z, z_bytes(&p), "fused");
        }
        level_force(NULL);
        free(z), free(score);
        end(&p);
    }
}

/* 13 significant bits, as modes.md says it. */
static double round13(double x)
{
    int e;
    if (x == 0 || fabs(x) < 0x1p-100)
        return 0;
    const double m = frexp(x, &e);
    return ldexp(nearbyint(ldexp(m, 13)), e - 13);
}

static double cached(const struct problem *p, const void *data, int64_t t, int64_t j, int64_t h,
                     int64_t i)
{
    const struct attention *a = &p->a;
    const int64_t at = (a->keys[t][j] * a->kv + h / (a->heads / a->kv)) * a->n + i;
    return a->half ? (double)load_f16((const uint16_t *)data + at)
                   : (double)((const float *)data)[at];
}

static void check_scores(const struct problem *p, int64_t h, int64_t t)
{
    const struct attention *a = &p->a;
    const float *row = p->score + (h * a->tokens + t) * a->max_keys;
    for (int64_t j = 0; j < a->max_keys; j++) {
        double sum = 0, size = 0;
        for (int64_t i = 0; j < a->visible[t] && i < a->n; i++) {
            double q = p->q[(t * a->heads + h) * a->n + i];
            q = (a->half ? round13(q) : q) * cached(p, p->k, t, j, h, i) * a->scale;
            sum += q;
            size += fabs(q);
        }
        if (j >= a->visible[t])
            assert_true(row[j] == -INFINITY);
        else if (!(fabs(row[j] - sum) <= ldexp(size, a->half ? -18 : -20)))
            fail_msg("score %.9g, not %.9g", (double)row[j], sum);
    }
}

static void check_values(const struct problem *p, int64_t h, int64_t t)
{
    const struct attention *a = &p->a;
    const float *prob = p->p + (h * a->tokens + t) * a->max_keys;
    for (int64_t i = 0; i < a->n; i++) {
        double sum = 0, size = 0;
        for (int64_t j = 0; j < a->visible[t]; j++) {
            const double w = (a->half ? round13(prob[j]) : (double)prob[j])
                             * cached(p, p->v, t, j, h, i);
            sum += w;
            size += fabs(w);
        }
        const float z = p->z[(t * a->heads + h) * a->n + i];
        if (!(fabs(z - sum) <= ldexp(size, -18)))
            fail_msg("value %.9g, not %.9g", (double)z, sum);
    }
}

static void within_the_bounds(void **unused)
{
    (void)unused;
    for (int i = 0; i < PROBLEMS; i += i < 8 ? 1 : 5) {
        struct problem p;
        problem_at(&p, i);
        apart(&p, NULL);
        for (int64_t h = 0; h < p.a.heads; h++)
            for (int64_t t = 0; t < p.a.tokens; t++) {
                check_scores(&p, h, t);
                check_values(&p, h, t);
            }
        end(&p);
    }
}

/* Token by token, in sevens, on any number of threads. */
static void neither_spans_nor_threads_matter(void **unused)
{
    (void)unused;
    for (int i = 0; i < 60; i++) {
        struct problem p;
        problem_at(&p, i);
        attention_fused(&p.a, p.z, NULL, NULL);
        for (int k = 0; k < 4; k++) {
            static const int64_t spans[] = { 1, 7, 1000, 1000 };
            struct pool *pool = pool_new(k == 3 ? 16 : k + 1);
            float *z = x_alloc(z_bytes(&p));
            const int64_t each = p.a.heads * p.a.n;
            for (int64_t t = 0; t < p.a.tokens; t += spans[k]) {
                struct attention a = p.a;
                a.tokens = p.a.tokens - t < spans[k] ? p.a.tokens - t : spans[k];
                a.q += t * each;
                a.keys += t;
                a.visible += t;
                a.max_keys = 0;
                for (int64_t j = 0; j < a.tokens; j++)
                    a.max_keys = a.visible[j] > a.max_keys ? a.visible[j] : a.max_keys;
                attention_fused(&a, z + t * each, pool, NULL);
            }
            assert_same(p.z, z, z_bytes(&p), "spans");
            free(z);
            pool_free(pool);
        }
        end(&p);
    }
}

/* What a token does not see cannot reach it; what it sees does. */
static void no_number_stays_where_it_is(void **unused)
{
    (void)unused;
    for (int i = 0; i < 24; i++) {
        struct problem p;
        problem_at(&p, i);
        attention_fused(&p.a, p.z, NULL, NULL);
        float *z = memcpy(x_alloc(z_bytes(&p)), p.z, z_bytes(&p));
        const int64_t row = p.all_rows - p.a.tokens / 2 - 1; /* of a token in the middle */
        void *cache = i % 4 < 2 ? p.k : p.v;
        for (int64_t c = row * p.a.kv * p.a.n; c < (row + 1) * p.a.kv * p.a.n; c++)
            if (p.a.half)
                ((uint16_t *)cache)[c] = i % 8 < 4 ? 0x7e00 : 0x7c00;
            else
                ((float *)cache)[c] = i % 8 < 4 ? NAN : INFINITY;
        attention_fused(&p.a, p.z, NULL, NULL);
        for (int64_t t = 0; t < p.a.tokens; t++) {
            bool sees = false;
            for (int64_t j = 0; j < p.a.visible[t]; j++)
                sees |= p.a.keys[t][j] == row;
            const int64_t each = p.a.heads * p.a.n;
            if (!sees)
                assert_memory_equal(p.z + t * each, z + t * each, (size_t)each * sizeof *z);
            else if (cache == p.v || i % 8 < 4)
                for (int64_t c = 0; c < each; c++)
                    assert_false(isfinite(p.z[t * each + c]));
        }
        free(z);
        end(&p);
    }
}

/* Queries too large or too small for the mode's rounding: the same bits on all levels. */
static void extremes_agree(void **unused)
{
    (void)unused;
    static const float odd[] = { 0x1p-149f, 0x1p-101f, 0x1.fffffep-101f, 0x1p-100f, 3e38f,
                                 0x1p100f,  0x1.fffffep99f, INFINITY, NAN, -0.0f, -0x1p-120f,
                                 0x1.001p0f, 0x1.003p0f, 65504.0f };
    enum { ODD = sizeof odd / sizeof *odd };
    struct problem p;
    begin(&p, true, 64, 1, 2, 20, 30, 0);
    for (int64_t i = 0; i < 64 * 2 * 30; i++)
        if (below(3) == 0)
            p.q[i] = odd[i / 64 % 2 ? below(ODD) : below(7)];
    for (int i = 0; i < 300; i++)
        ((uint16_t *)p.k)[below(50 * 64)] = i % 2 ? 1 : 0x7bff;
    level_force(&level_c);
    attention_scores(&p.a, p.score, NULL, NULL);
    for (size_t l = 1; level_at(l); l++) {
        if (!level_supported(level_at(l)))
            continue;
        level_force(level_at(l));
        attention_scores(&p.a, p.p, NULL, NULL);
        assert_same(p.score, p.p, score_bytes(&p), "extremes");
    }
    level_force(NULL);
    end(&p);
}

static void halves_agree(void **unused)
{
    (void)unused;
    enum { N = 1 << 16 };
    float *x = x_alloc(N * sizeof *x);
    uint16_t *h = x_alloc(N * sizeof *h);
    for (uint32_t i = 0; i < N; i++) {
        const uint32_t bits = i << 16 | (uint32_t)(unit_random(&seed) & 0xffff);
        memcpy(&x[i], &bits, sizeof bits);
    }
    for (size_t l = 0; level_at(l); l++) {
        if (!level_supported(level_at(l)))
            continue;
        for (int n = N - 40; n <= N; n += 7) {
            level_at(l)->to_halves(x, n, h);
            for (int i = 0; i < n; i++)
                if (isnan(x[i]))
                    assert_true((h[i] & 0x7fff) > 0x7c00);
                else
                    assert_int_equal(h[i], f32_to_f16(x[i]));
        }
    }
    free(x), free(h);
}

UNIT_MAIN(CASE(levels_agree),
          CASE(within_the_bounds),
          CASE(neither_spans_nor_threads_matter),
          CASE(no_number_stays_where_it_is),
          CASE(extremes_agree),
          CASE(halves_agree))
