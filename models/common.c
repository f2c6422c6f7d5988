/* SPDX-License-Identifier: MIT */
#include "models/common.h"

#include <math.h>

enum { MAX_BLOCKS = 4096, MAX_HEADS = 4096 };
static const int64_t max_width = 1 << 24;

void decoder_block(struct builder *b, struct decoder *d, int i)
{
    d->heads = b_int_of(b, "attention.head_count", i, 1, MAX_HEADS);
    d->kv_heads = d->heads;
    if (b->st)
        return;
    int64_t kv = b_int_or(b, "attention.head_count_kv", 1, MAX_HEADS, d->heads);
    d->kv_heads = kv == d->heads ? kv : b_int_of(b, "attention.head_count_kv", i, 1, MAX_HEADS);
    if (b->st)
        return;
    if (d->heads % d->kv_heads)
        b_fail(b, "%d query heads are no multiple of %d key heads", (int)d->heads, (int)d->kv_heads);
    d->head_size = b_int_or(b, "attention.key_length", 1, max_width, d->width / d->heads);
}

struct decoder decoder_read(struct builder *b)
{
    struct decoder d = { 0 };
    d.blocks = (int)b_int(b, "block_count", 1, MAX_BLOCKS);
    d.width = b_int(b, "embedding_length", 1, max_width);
    d.ff = b_int_or(b, "feed_forward_length", 1, max_width, 0);
    d.context = b_int_or(b, "context_length", 1, (int64_t)1 << 32, 2048);
    d.experts = b_int_or(b, "expert_count", 0, 65536, 0);
    d.used_experts = d.experts ? b_int(b, "expert_used_count", 1, d.experts) : 0;
    double rms = b_float_or(b, "attention.layer_norm_rms_epsilon", 0, 1, 1e-5);
    d.eps = (float)b_float_or(b, "attention.layer_norm_epsilon", 0, 1, rms);
    struct graph *g = b->g;
    g->width = d.width;
    g->context = d.context;
    if (weights_kv(b->w, "mamba.ssm.inner_size"))
        return d;
    decoder_block(b, &d, 0);
    g->heads = d.heads;
    g->kv_heads = d.kv_heads;
    g->head_size = d.head_size;
    return d;
}

static const float *rope_factors(struct builder *b, int64_t n_rot)
{
    const struct weight *w = weights_find(b->w, STR("rope_freqs.weight"));
    if (!w || b->st)
        return NULL;
    if ((int64_t)w->cols != n_rot / 2 || w->rows != 1) {
        b_fail(b, "rope_freqs.weight has %llu entries, expected %lld", (unsigned long long)(w->rows * w->cols),
               (long long)n_rot / 2);
        return NULL;
    }
    const float *v = b_vector(b, w);
    for (int64_t i = 0; v && i < n_rot / 2; i++)
        if (!(v[i] > 0 && isfinite(v[i])))
            b_fail(b, "rope_freqs.weight: factor %lld is %g", (long long)i, (double)v[i]);
    return v;
}

struct rope rope_read(struct builder *b, const struct decoder *d, bool half_split)
{
    struct rope r = { .half_split = half_split, .scale = 1, .magnitude = 1, .beta_fast = 32, .beta_slow = 1 };
    r.n_rot = b_int_or(b, "rope.dimension_count", 2, d->head_size, d->head_size);
    r.base = b_float_or(b, "rope.freq_base", 1.000001, 1e12, 10000);
    double factor = b_float_or(b, "rope.scaling.factor", 1e-6, 1e6, b_float_or(b, "rope.scale_linear", 1e-6, 1e6, 1));
    struct str kind = b_string_or(b, "rope.scaling.type", "linear");
    r.original_context = b_float_or(b, "rope.scaling.original_context_length", 1, 1e12, (double)d->context);
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
        r.magnitude *= 1 + 0.1 * log(factor); /* the paper's correction of the attention temperature */
    }
    return r;
}
