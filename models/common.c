/* SPDX-License-Identifier: MIT */
#include "models/common.h"

#include <math.h>

enum { MAX_BLOCKS = 4096, MAX_HEADS = 4096 };
static const int64_t max_width = 1 << 24;

void heads_read(struct builder *b, struct sizes *d, int i)
{
    d->heads = d->kv_heads = b_int_of(b, "attention.head_count", i, 1, MAX_HEADS);
    if (!b->st && b_int_or(b, "attention.head_count_kv", 1, MAX_HEADS, 0))
        d->kv_heads = b_int_of(b, "attention.head_count_kv", i, 1, MAX_HEADS);
    if (!b->st && d->heads % d->kv_heads)
        b_fail(b, "%d query heads are no multiple of %d key heads", (int)d->heads,
               (int)d->kv_heads);
    d->head_size = b_int_or(b, "attention.key_length", 1, max_width, 0);
    if (!b->st && !d->head_size && d->width % d->heads)
        b_fail(b, "a width of %d is no multiple of %d heads", (int)d->width, (int)d->heads);
    if (!b->st && !d->head_size)
        d->head_size = d->width / d->heads;
    d->value_size = b_int_or(b, "attention.value_length", 1, max_width, d->head_size);
    if (i == 0) {
        b->g->heads = d->heads;
        b->g->kv_heads = d->kv_heads;
        b->g->head_size = d->head_size;
    }
}

struct sizes sizes_read(struct builder *b)
{
    struct sizes d = { 0 };
    d.blocks = (int)b_int(b, "block_count", 1, MAX_BLOCKS);
    d.width = b_int(b, "embedding_length", 1, max_width);
    d.context = b_int_or(b, "context_length", 1, (int64_t)1 << 32, 2048);
    double rms = b_float_or(b, "attention.layer_norm_rms_epsilon", 0, 1, 1e-5);
    d.eps = (float)b_float_or(b, "attention.layer_norm_epsilon", 0, 1, rms);
    b->g->width = d.width;
    b->g->context = d.context;
    return d;
}

float score_scale(const struct sizes *d) { return (float)(1 / sqrt((double)d->head_size)); }

static const float *rope_factors(struct builder *b, int64_t n_rot)
{
    const struct weight *w = weights_find(b->w, STR("rope_freqs.weight"));
    if (!w || b->st)
        return NULL;
    if ((int64_t)w->cols != n_rot / 2 || w->rows != 1) {
        b_fail(b, "rope_freqs.weight has %llu entries, expected %lld",
               (unsigned long long)(w->rows * w->cols), (long long)n_rot / 2);
        return NULL;
    }
    const float *v = b_vector(b, w);
    for (int64_t i = 0; v && i < n_rot / 2; i++)
        if (!(v[i] > 0 && isfinite(v[i])))
            b_fail(b, "rope_freqs.weight: factor %lld is %g", (long long)i, (double)v[i]);
    return v;
}

struct rope rope_read(struct builder *b, const struct sizes *d, bool half_split)
{
    struct rope r = {
        .half_split = half_split, .scale = 1, .magnitude = 1, .beta_fast = 32, .beta_slow = 1
    };
    r.n_rot = b_int_or(b, "rope.dimension_count", 2, d->head_size, d->head_size);
    r.base = b_float_or(b, "rope.freq_base", 1.000001, 1e12, 10000);
    double factor = b_float_or(b, "rope.scaling.factor", 1e-6, 1e6,
                               b_float_or(b, "rope.scale_linear", 1e-6, 1e6, 1));
    struct str kind = b_string_or(b, "rope.scaling.type", "linear");
    r.original_context = b_float_or(b, "rope.scaling.original_context_length", 1, 1e12,
                                    (double)d->context);
    r.factors = rope_factors(b, r.n_rot);
    if (str_is(kind, "none"))
        return r;
    if (!str_is(kind, "linear") && !str_is(kind, "yarn")) {
        b_fail(b, "rope scaling `%.*s` is not known", (int)(kind.n > 40 ? 40 : kind.n), kind.p);
        return r;
    }
    r.scale = 1 / factor;
    r.magnitude = b_float_or(b, "rope.scaling.attn_factor", 1e-6, 1e6, 1);
    if (str_is(kind, "yarn")) {
        r.ext = b_float_or(b, "rope.scaling.yarn_ext_factor", 0, 1, 1);
        r.beta_fast = b_float_or(b, "rope.scaling.yarn_beta_fast", 1e-3, 1e6, 32);
        r.beta_slow = b_float_or(b, "rope.scaling.yarn_beta_slow", 1e-3, 1e6, 1);
        r.magnitude *= b_float_or(b, "rope.scaling.yarn_attn_factor", 1e-6, 1e6, 1);
        r.magnitude *=
            1 + 0.1 * log(factor); /* the paper's correction of the attention temperature */
    }
    return r;
}
