/* SPDX-License-Identifier: MIT */
/* The attention kernels of a level against sums in double, and against docs/modes.md bit for bit;
 * whole attention the same way, token by token. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/attention.h"
#include "kernels/codec.h"
#include "tests/kern/checks.h"

void check_to_halves(struct trial *t)
{
    const int64_t n = draw_length(t, 0, 3000);
    const enum draw_kind kind = draw_kind(t, DRAW__COUNT);
    kern_note("%d numbers, %s", (int)n, draw_name(kind));
    GUARD(t, float, x, n, GUARD_IN);
    GUARD(t, uint16_t, h, n, GUARD_OUT);
    draw_floats(t, kind, x, n);
    guard_seal();
    CALL(t->level->to_halves, x, n, h);
    for (int64_t i = 0; i < n; i++)
        if (isnan(x[i]))
            expect_int("half is NaN", i, (h[i] & 0x7fff) > 0x7c00, 1);
        else
            expect_int("half", i, h[i], f32_to_f16(x[i]));
}

/* Head sizes that models have, and any other. */
static int64_t draw_head(struct trial *t)
{
    static const int64_t usual[] = { 8, 16, 32, 40, 64, 80, 96, 128, 256, -1 };
    return draw(t) & 1 ? draw_of(t, usual) : draw_int(t, 1, 300);
}

/* What is rounded to 13 bits: in some trials all of it lies where numbers become zero or infinite,
 * or half way between two. */
static void draw_factors(struct trial *t, enum draw_kind kind, float *x, int64_t n)
{
    enum { EDGES = 6 };
    static const float edges[2][EDGES] = {
        { 0x1p-100f, 0x1.fffffep-101f, 0x1.fff8p-101f, 0x1.fff7fep-101f, 0x1p-101f, 0x1p-102f },
        { 0x1p100f, 0x1.fffp99f, 0x1.fff8p99f, 0x1.fff7fep99f, 0x1.0008p0f, 0x1.0018p0f }
    };
    const int64_t which = draw_int(t, 0, 1);
    draw_floats(t, draw(t) & 1 ? kind : DRAW_UNIFORM, x, n);
    for (int64_t i = 0; t->number % 6 == 5 && i < n; i++)
        x[i] = copysignf(edges[which][draw_int(t, 0, EDGES - 1)], x[i]);
}

/* A part whose tokens see ever more keys, and what the kernels read and write. */
struct problem {
    struct attention a;
    struct attention_part part;
    enum draw_kind kind;
    float *in; /* queries or probabilities */
    int64_t rows, visible; /* scores of a part, the most that a token sees */
};

/* A cache of keys or values. */
static void *draw_cache(struct trial *t, struct problem *p, int64_t cached)
{
    const int64_t n = cached * p->a.kv * p->a.n;
    GUARD(t, float, exact, p->a.half ? 1 : n, GUARD_IN);
    GUARD(t, uint16_t, half, p->a.half ? n : 1, GUARD_IN);
    if (!p->a.half) {
        draw_floats(t, p->kind, exact, n);
        return exact;
    }
    for (int64_t i = 0; i < n; i++) {
        float x;
        draw_floats(t, p->kind == DRAW_BITS ? DRAW_UNIFORM : p->kind, &x, 1);
        half[i] = p->kind == DRAW_BITS ? (uint16_t)draw(t) : f32_to_f16(x);
    }
    return half;
}

static struct problem draw_problem(struct trial *t)
{
    struct problem p = { .kind = draw_kind(t, DRAW__COUNT) };
    const int64_t group = draw_int(t, 1, 9), cached = draw_int(t, 1, 90);
    const int64_t step = draw_int(t, 0, 2), count = draw_int(t, 1, 12);
    p.a = (struct attention){ .n = draw_head(t), .kv = draw_int(t, 1, 3), .half = draw(t) & 1,
                              .scale = 0.3f, .tokens = count };
    p.a.heads = p.a.kv * group;
    p.part = (struct attention_part){ .group = draw_int(t, 0, p.a.kv - 1), .count = count };
    p.rows = count * group;
    GUARD(t, int32_t, visible, count, GUARD_IN);
    for (int64_t k = 0; k < count; k++)
        p.visible = visible[k] = (int32_t)((k ? visible[k - 1] : draw_int(t, 0, 120))
                                           + (k ? draw_int(t, 0, step) : 0));
    GUARD(t, int32_t, keys, p.visible, GUARD_IN);
    for (int64_t k = 0; k < p.visible; k++)
        keys[k] = (int32_t)draw_int(t, 0, cached - 1);
    const int32_t **each = guard(t, "keys of tokens", count, sizeof *each, sizeof *each, GUARD_IN);
    for (int64_t k = 0; k < count; k++)
        each[k] = keys;
    p.a.keys = each;
    p.a.visible = visible;
    p.a.max_keys = p.visible;
    p.a.k = p.a.v = draw_cache(t, &p, cached);
    kern_note("%d queries of %d, %d keys, %s, %s", (int)p.rows, (int)p.a.n, (int)p.visible,
              p.a.half ? "halves" : "floats", draw_name(p.kind));
    return p;
}

static float *scratch_for(struct trial *t, const struct problem *p)
{
    return guard(t, "scratch", attention_scratch(&p->a, p->part.count), sizeof(float), 64,
                 GUARD_OUT);
}

/* 13 significant bits, ties to even; what is then below 2^-100 is zero, from 2^100 on infinite. */
static float round13(float x)
{
    int e;
    if (!isfinite(x) || x == 0)
        return x;
    const float m = frexpf(x, &e), near = ldexpf(nearbyintf(ldexpf(m, 13)), e - 13);
    return fabsf(near) < 0x1p-100f    ? copysignf(0, x)
           : fabsf(near) >= 0x1p100f ? copysignf(INFINITY, x)
                                      : near;
}

/* Number i of what row j of token t has in a cache. */
static float cached(const struct attention *a, const void *cache, int64_t t, int64_t group,
                    int64_t j, int64_t i)
{
    const int64_t at = (a->keys[t][j] * a->kv + group) * a->n + i;
    return a->half ? load_f16((const uint16_t *)cache + at) : ((const float *)cache)[at];
}

/* The largest head, and the most keys that a token sees here. */
enum { MOST_TERMS = 1024 };

/* The factors of a sum; the first of them are rounded where the mode says so. */
struct terms {
    int64_t n;
    float a[MOST_TERMS], b[MOST_TERMS];
};

static void terms_add(struct terms *s, bool half, float a, float b)
{
    if (s->n == MOST_TERMS)
        kern_fail("more than %d terms", MOST_TERMS);
    s->a[s->n] = half ? round13(a) : a;
    s->b[s->n++] = b;
}

/* Those of a score: of head h and token t with the token's key j. */
static void score_terms(const struct attention *a, int64_t h, int64_t t, int64_t j,
                        struct terms *s)
{
    s->n = 0;
    for (int64_t i = 0; i < a->n; i++)
        terms_add(s, a->half, a->q[(t * a->heads + h) * a->n + i],
                  cached(a, a->k, t, h / (a->heads / a->kv), j, i));
}

/* Those of channel i of what head h and token t mix, by probabilities p. */
static void mix_terms(const struct attention *a, int64_t h, int64_t t, int64_t i, const float *p,
                      struct terms *s)
{
    s->n = 0;
    for (int64_t j = 0; j < a->visible[t]; j++)
        terms_add(s, a->half, p[j], cached(a, a->v, t, h / (a->heads / a->kv), j, i));
}

/* Every bit: leaves of so many products, added pairwise. */
static float define_sum(const struct terms *s, int64_t leaf)
{
    float product[MOST_TERMS];
    for (int64_t i = 0; i < s->n; i++)
        product[i] = s->a[i] * s->b[i];
    return define_tree(product, s->n, leaf);
}

static float define_score(const struct attention *a, const struct terms *s)
{
    return define_sum(s, a->half ? 32 : 8) * a->scale;
}

static float define_mixture(const struct terms *s) { return define_sum(s, 32); }

/* The sum in double, times scale, within 2^-bits of its terms. */
static void expect_sum(const char *what, int64_t at, float got, const struct terms *s,
                       double scale, int bits)
{
    double sum = 0, size = 0;
    for (int64_t i = 0; i < s->n; i++) {
        sum += (double)s->a[i] * (double)s->b[i];
        size += fabs((double)s->a[i] * (double)s->b[i]);
    }
    if (isnan(sum))
        expect_int(what, at, isnan(got), 1);
    else if (size < (double)FLT_MAX / 2)
        expect_near(what, at, (double)got, sum * scale,
                    (ldexp(size, -bits) + ldexp((double)s->n, -149)) * fabs(scale) + 0x1p-149);
}

void check_attention_scores(struct trial *t)
{
    struct problem p = draw_problem(t);
    const int64_t group = p.a.heads / p.a.kv, n = p.a.n;
    GUARD(t, float, q, p.a.tokens * p.a.heads * n, GUARD_IN);
    GUARD(t, float, out, p.rows * p.visible, GUARD_OUT);
    GUARD(t, float, want, p.rows * p.visible, GUARD_OUT);
    float *scratch = scratch_for(t, &p);
    draw_factors(t, p.kind, q, p.a.tokens * p.a.heads * n);
    p.a.q = q;
    guard_seal();
    const int64_t from = draw_int(t, 0, p.visible), end = draw_int(t, from, p.visible);
    memset(out, 0, (size_t)(p.rows * p.visible) * sizeof *out);
    memset(want, 0, (size_t)(p.rows * p.visible) * sizeof *out);
    p.part.token_stride = p.visible;
    p.part.head_stride = p.part.count * p.visible;
    p.part.score = out;
    CALL(t->level->attention_scores, &p.a, &p.part, from, end, scratch);
    for (int64_t h = 0; h < group; h++)
        for (int64_t k = 0; k < p.part.count; k++)
            for (int64_t j = from; j < end && j < p.a.visible[k]; j++) {
                struct terms s;
                const int64_t at = (h * p.part.count + k) * p.visible + j;
                score_terms(&p.a, p.part.group * group + h, k, j, &s);
                want[at] = define_score(&p.a, &s);
                expect_sum("score", at, out[at], &s, (double)p.a.scale, p.a.half ? 18 : 20);
            }
    expect_bits("scores", out, want, p.rows * p.visible);
}

void check_attention_mix(struct trial *t)
{
    struct problem p = draw_problem(t);
    const int64_t group = p.a.heads / p.a.kv, n = p.a.n, all = p.a.tokens * p.a.heads * n;
    GUARD(t, float, prob, p.rows * p.visible, GUARD_IN);
    GUARD(t, float, z, all, GUARD_OUT);
    GUARD(t, float, want, all, GUARD_OUT);
    float *scratch = scratch_for(t, &p);
    draw_factors(t, p.kind, prob, p.rows * p.visible);
    p.part.token_stride = p.visible;
    p.part.head_stride = p.part.count * p.visible;
    p.part.score = prob;
    guard_seal();
    const int64_t from = draw_int(t, 0, n - 1), end = draw_int(t, from + 1, n);
    memset(z, 0, (size_t)all * sizeof *z);
    memset(want, 0, (size_t)all * sizeof *z);
    CALL(t->level->attention_mix, &p.a, &p.part, from, end, z, scratch);
    for (int64_t h = 0; h < group; h++)
        for (int64_t k = 0; k < p.part.count; k++)
            for (int64_t i = from; i < end; i++) {
                struct terms s;
                const int64_t head = p.part.group * group + h, at = (k * p.a.heads + head) * n + i;
                mix_terms(&p.a, head, k, i, prob + (h * p.part.count + k) * p.visible, &s);
                want[at] = define_mixture(&s);
                expect_sum("z", at, z[at], &s, 1, 18);
            }
    expect_bits("z", z, want, all);
}

/* ---- whole products ---- */

/* Two sequences in one span: the tokens behind `past` rows of the cache go to one or the other in
 * turns of `turn`, and each sees what its own has so far. */
static void draw_sequences(struct trial *t, struct problem *p, int64_t past)
{
    const int64_t tokens = p->a.tokens, turn = draw_int(t, 1, 2 * tokens);
    int32_t *rows[2], count[2] = { 0 };
    for (int s = 0; s < 2; s++)
        rows[s] = guard(t, "keys", past + tokens, sizeof **rows, sizeof **rows, GUARD_IN);
    const int32_t **keys = guard(t, "keys of tokens", tokens, sizeof *keys, sizeof *keys, GUARD_IN);
    GUARD(t, int32_t, visible, tokens, GUARD_IN);
    for (int64_t row = 0; row < past + tokens; row++) {
        const int64_t k = row - past;
        const int s = k < 0 ? (int)draw_int(t, 0, 3) == 0 : (int)(k / turn % 2);
        rows[s][count[s]++] = (int32_t)row;
        if (k < 0)
            continue;
        keys[k] = rows[s];
        visible[k] = count[s];
        p->visible = count[s] > p->visible ? count[s] : p->visible;
    }
    p->a.keys = keys;
    p->a.visible = visible;
    p->a.max_keys = p->visible;
}

/* Some tokens of many heads; or few that see many keys, which are then shared out in pieces. */
static struct problem draw_whole(struct trial *t)
{
    const bool few = t->number % 4 == 1;
    const int64_t tokens = draw_int(t, 1, few ? 4 : 32), past = draw_int(t, 0, few ? 900 : 60);
    struct problem p = { .kind = draw_kind(t, DRAW__COUNT) };
    p.a = (struct attention){ .tokens = tokens, .kv = draw_int(t, 1, 2), .n = draw_head(t),
                              .scale = 0.3f, .half = draw(t) & 1 };
    p.a.n = p.a.n > 80 ? p.a.n / 4 : p.a.n;
    p.a.heads = p.a.kv * draw_int(t, 1, 8);
    draw_sequences(t, &p, past);
    p.a.k = draw_cache(t, &p, past + tokens);
    p.a.v = draw_cache(t, &p, past + tokens);
    GUARD(t, float, q, tokens * p.a.heads * p.a.n, GUARD_IN);
    draw_floats(t, draw(t) & 1 ? p.kind : DRAW_UNIFORM, q, tokens * p.a.heads * p.a.n);
    p.a.q = q;
    kern_note("%d tokens, %d heads of %d, %d of keys, %d keys, %s, %s", (int)tokens,
              (int)p.a.heads, (int)p.a.n, (int)p.a.kv, (int)p.visible,
              p.a.half ? "halves" : "floats", draw_name(p.kind));
    return p;
}

/* Token by token: scores and probabilities [heads][tok][max_keys], and z. */
static void define_whole(const struct problem *p, float *score, float *prob, float *z)
{
    const struct attention *a = &p->a;
    struct terms s;
    for (int64_t h = 0; h < a->heads; h++)
        for (int64_t k = 0; k < a->tokens; k++) {
            const int64_t at = (h * a->tokens + k) * a->max_keys, seen = a->visible[k];
            for (int64_t j = 0; j < a->max_keys; j++)
                score[at + j] = -INFINITY;
            for (int64_t j = 0; j < seen; j++) {
                score_terms(a, h, k, j, &s);
                score[at + j] = define_score(a, &s);
            }
            level_c.row.softmax(score + at, seen, a->max_keys, prob + at);
            for (int64_t i = 0; i < a->n; i++) {
                mix_terms(a, h, k, i, prob + at, &s);
                z[(k * a->heads + h) * a->n + i] = define_mixture(&s);
            }
        }
}

void check_attention(struct trial *t)
{
    const struct problem p = draw_whole(t);
    const int64_t scores = p.a.heads * p.a.tokens * p.visible, n = p.a.tokens * p.a.heads * p.a.n;
    GUARD(t, float, score, scores, GUARD_OUT);
    GUARD(t, float, want_score, scores, GUARD_OUT);
    GUARD(t, float, prob, scores, GUARD_IN);
    GUARD(t, float, z, n, GUARD_OUT);
    GUARD(t, float, fused, n, GUARD_OUT);
    GUARD(t, float, want, n, GUARD_OUT);
    define_whole(&p, want_score, prob, want);
    guard_seal();
    struct pool *pool = pool_new((int)draw_int(t, 1, 3));
    CALL(attention_scores, &p.a, score, pool, NULL);
    CALL(attention_mix, &p.a, prob, z, pool, NULL);
    CALL(attention_fused, &p.a, fused, pool, NULL);
    pool_free(pool);
    expect_bits("scores", score, want_score, scores);
    expect_bits("z", z, want, n);
    expect_bits("z of all in one", fused, want, n);
}

/* What is cancelled beforehand writes nothing. */
void check_attention_cancel(struct trial *t)
{
    const struct problem p = draw_whole(t);
    const int64_t scores = p.a.heads * p.a.tokens * p.visible, n = p.a.tokens * p.a.heads * p.a.n;
    const volatile sig_atomic_t cancel = 1;
    GUARD(t, float, score, scores, GUARD_OUT);
    GUARD(t, float, untouched_score, scores, GUARD_OUT);
    GUARD(t, float, prob, scores, GUARD_IN);
    GUARD(t, float, z, n, GUARD_OUT);
    GUARD(t, float, untouched, n, GUARD_OUT);
    draw_floats(t, DRAW_UNIFORM, prob, scores);
    guard_seal();
    struct pool *pool = pool_new((int)draw_int(t, 1, 3));
    CALL(attention_scores, &p.a, score, pool, &cancel);
    expect_bits("scores", score, untouched_score, scores);
    CALL(attention_mix, &p.a, prob, z, pool, &cancel);
    expect_bits("z", z, untouched, n);
    CALL(attention_fused, &p.a, z, pool, &cancel);
    expect_bits("z of all in one", z, untouched, n);
    pool_free(pool);
}
