/* SPDX-License-Identifier: MIT */
/* The rules are those of llama.cpp's llama-quantize of August 2026, read there and put down anew;
 * the tests compare with what it prints. */
#include "quant/mix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "kernels/encode.h"

/* clang-format off */
/* Types by the numbers that files use. */
enum type {
    F16 = 1, Q4_0 = 2, Q4_1 = 3, Q5_0 = 6, Q5_1 = 7, Q8_0 = 8, Q2_K = 10, Q3_K = 11, Q4_K = 12,
    Q5_K = 13, Q6_K = 14, IQ2_XXS = 16, IQ2_XS = 17, IQ3_XXS = 18, IQ1_S = 19, IQ4_NL = 20,
    IQ3_S = 21, IQ2_S = 22, IQ4_XS = 23, IQ1_M = 29, TQ1_0 = 34, TQ2_0 = 35, MXFP4 = 39,
    Q2_0 = 42
};

/* Mixes by their general.file_type. */
enum file_type {
    M_Q4_0 = 2, M_Q5_0 = 8, M_Q2_K = 10, M_Q3_K_S = 11, M_Q3_K_M = 12, M_Q3_K_L = 13,
    M_Q4_K_S = 14, M_Q4_K_M = 15, M_Q5_K_S = 16, M_Q5_K_M = 17, M_IQ2_XXS = 19, M_IQ2_XS = 20,
    M_Q2_K_S = 21, M_IQ3_XS = 22, M_IQ3_XXS = 23, M_IQ1_S = 24, M_IQ4_NL = 25, M_IQ3_S = 26,
    M_IQ3_M = 27, M_IQ2_S = 28, M_IQ2_M = 29, M_IQ4_XS = 30, M_IQ1_M = 31, M_TQ1_0 = 36,
    M_TQ2_0 = 37, M_MXFP4_MOE = 38, M_Q2_0 = 41
};

/* clang-format on */

static const struct mix mixes[] = {
    { "F32", "f32", 0, "all matrices as they were trained" },
    { "F16", "f16", 1, "16 bits" },
    { "BF16", "bf16", 32, "16 bits" },
    { "Q8_0", "q8_0", 7, "8.5 bits per weight" },
    { "Q6_K", "q6_k", 18, "6.6 bits" },
    { "Q5_K_M", "q5_k", 17, "5.5 bits, more for the values and down projections of some blocks" },
    { "Q5_K_S", "q5_k", 16, "5.5 bits" },
    { "Q5_1", "q5_1", 9, "6 bits, blocks of 32" },
    { "Q5_0", "q5_0", 8, "5.5 bits, blocks of 32" },
    { "Q4_K_M", "q4_k", 15, "4.5 bits, more for the values and down projections of some blocks" },
    { "Q4_K_S", "q4_k", 14, "4.5 bits, more for the first blocks" },
    { "Q4_1", "q4_1", 3, "5 bits, blocks of 32" },
    { "Q4_0", "q4_0", 2, "4.5 bits, blocks of 32" },
    { "IQ4_NL", "iq4_nl", 25, "4.5 bits, uneven levels, blocks of 32" },
    { "IQ4_XS", "iq4_xs", 30, "4.25 bits, uneven levels" },
    { "MXFP4_MOE", "mxfp4", 38, "experts in mxfp4, the rest in q8_0" },
    { "Q3_K_L", "q3_k", 13, "3.4 bits, 5.5 for values and down projections" },
    { "Q3_K_M", "q3_k", 12, "3.4 bits, 4.5 for values and down projections" },
    { "Q3_K_S", "q3_k", 11, "3.4 bits" },
    { "IQ3_M", "iq3_s", 27, "3.4 bits, more for values and the first blocks" },
    { "IQ3_S", "iq3_s", 26, "3.4 bits" },
    { "IQ3_XS", "iq3_s", 22, "3.4 bits, 3.1 in the middle blocks" },
    { "IQ3_XXS", "iq3_xxs", 23, "3.1 bits" },
    { "Q2_K", "q2_k", 10, "2.6 bits, more for values and down projections" },
    { "Q2_K_S", "q2_k", 21, "2.6 bits" },
    { "IQ2_M", "iq2_s", 29, "2.6 bits" },
    { "IQ2_S", "iq2_xs", 28, "2.3 bits" },
    { "IQ2_XS", "iq2_xs", 20, "2.3 bits" },
    { "IQ2_XXS", "iq2_xxs", 19, "2.1 bits" },
    { "IQ1_M", "iq1_m", 31, "1.75 bits" },
    { "IQ1_S", "iq1_s", 24, "1.6 bits" },
    { "TQ2_0", "tq2_0", 37, "ternary, 2.1 bits" },
    { "TQ1_0", "tq1_0", 36, "ternary, 1.7 bits" },
    { "Q2_0", "q2_0", 41, "2.25 bits, blocks of 64" },
    { "Q1_0", "q1_0", 40, "signs, blocks of 128" },
};

const struct mix *mix_at(size_t i) { return i < sizeof mixes / sizeof *mixes ? &mixes[i] : NULL; }

const struct mix *mix_find(struct str name)
{
    static const struct {
        const char *alias, *name;
    } aliases[] = { { "Q3_K", "Q3_K_M" }, { "Q4_K", "Q4_K_M" }, { "Q5_K", "Q5_K_M" } };
    const struct mix *m;
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (name.n == strlen(aliases[i].alias) && !strncasecmp(name.p, aliases[i].alias, name.n))
            name = str_from(aliases[i].name);
    for (size_t i = 0; (m = mix_at(i)); i++)
        if (name.n == strlen(m->name) && !strncasecmp(name.p, m->name, name.n))
            return m;
    return NULL;
}

/* ---- which weights ---- */

static bool contains(struct str name, const char *part)
{
    const size_t n = strlen(part);
    for (size_t i = 0; i + n <= name.n; i++)
        if (!memcmp(name.p + i, part, n))
            return true;
    return false;
}

static int dims(const struct weight *w)
{
    int n = w->rank;
    while (n > 1 && w->ne[n - 1] == 1)
        n--;
    return n;
}

bool mix_allows(const struct weight *w)
{
    static const char *const small[] = {
        "_norm.weight",
        "ffn_gate_inp.weight",
        "ffn_gate_tid2eid.weight",
        "altup",
        "laurel",
        "per_layer_model_proj",
        "ssm_conv1d",
        "shortconv.conv.weight",
        "indexer.k_proj.weight",
        "indexer.q_proj.weight",
        "time_mix_first.weight",
        "time_mix_w0.weight",
        "time_mix_w1.weight",
        "time_mix_w2.weight",
        "time_mix_v0.weight",
        "time_mix_v1.weight",
        "time_mix_v2.weight",
        "time_mix_a0.weight",
        "time_mix_a1.weight",
        "time_mix_a2.weight",
        "time_mix_g1.weight",
        "time_mix_g2.weight",
        "time_mix_decay_w1.weight",
        "time_mix_decay_w2.weight",
        "time_mix_lerp_fused.weight",
        "attn_rel_b.weight",
        ".position_embd",
        "sam.pos_embd",
        "sam.neck.",
        "sam.net_",
        ".rel_pos",
        ".patch_embd",
        ".patch_merger",
        "a.rvq.codebook",
        "mm.a.code_embd",
    };
    if (dims(w) < 2 || !str_ends(w->name, "weight") || str_is(w->name, "position_embd.weight")
        || str_is(w->name, "token_types.weight"))
        return false;
    for (size_t i = 0; i < sizeof small / sizeof *small; i++)
        if (contains(w->name, small[i]))
            return false;
    return true;
}

/* What a weight is for, as far as the rules tell apart. */
/* clang-format off */
enum role {
    ROLE_OUTPUT, ROLE_EMBD, ROLE_QKV, ROLE_KV_B, ROLE_V, ROLE_K, ROLE_Q, ROLE_ATTN_OUTPUT,
    ROLE_UP, ROLE_GATE, ROLE_DOWN, ROLE_OTHER
};
/* clang-format on */

static enum role role_of(struct str name)
{
    static const struct {
        const char *part;
        enum role role;
    } parts[] = {
        { "attn_qkv.weight", ROLE_QKV }, { "attn_kv_b.weight", ROLE_KV_B },
        { "attn_v.weight", ROLE_V },     { "attn_k.weight", ROLE_K },
        { "attn_q.weight", ROLE_Q },     { "attn_output.weight", ROLE_ATTN_OUTPUT },
        { "ffn_up", ROLE_UP },           { "ffn_gate", ROLE_GATE },
        { "ffn_down", ROLE_DOWN },
    };
    if (str_is(name, "output.weight"))
        return ROLE_OUTPUT;
    if (str_is(name, "token_embd.weight") || str_is(name, "per_layer_token_embd.weight"))
        return ROLE_EMBD;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (contains(name, parts[i].part))
            return parts[i].role;
    return ROLE_OTHER;
}

/* ---- the rules ---- */

struct rules {
    int mix;                             /* enum file_type */
    bool importance, tied, falcon, wide; /* wide: the 70B class, whose values are 8 times smaller */
    struct str arch;
    int layers, experts, shared_heads;   /* query heads per head of keys and values */
    size_t given_up;
    int layers_of_values, values, downs; /* weights of values; how many of each went by */
};

static bool any(int x, const int *list)
{
    while (*list >= 0)
        if (x == *list++)
            return true;
    return false;
}
#define ONE_OF(x, ...) any((x), (const int[]){ __VA_ARGS__, -1 })

static bool more_bits(int layer, int layers)
{
    return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

static bool tiny(int mix)
{
    return ONE_OF(mix, M_IQ2_XXS, M_IQ2_XS, M_IQ1_S, M_IQ2_S, M_IQ2_M, M_IQ1_M);
}

/* Number after "blk.", -1 if there is none. */
static int layer_of(struct str name)
{
    int n = 0;
    if (!str_starts(name, "blk.") || name.n < 6 || name.p[4] < '0' || name.p[4] > '9')
        return -1;
    for (size_t i = 4; i < name.n && name.p[i] >= '0' && name.p[i] <= '9' && n < 100000; i++)
        n = n * 10 + (name.p[i] - '0');
    return n;
}

static int output_rule(const struct rules *r, const struct weight *w, int type)
{
    const struct format_info *info = format_info(format_by_id((uint32_t)type));
    if (r->mix == M_MXFP4_MOE || r->falcon || w->ne[0] % (uint64_t)info->block)
        return Q8_0;
    if (tiny(r->mix) || r->mix == M_IQ3_XXS)
        return Q5_K;
    return type == Q8_0 ? Q8_0 : Q6_K;
}

static int embedding_rule(const struct rules *r, int type)
{
    if (ONE_OF(r->mix, M_IQ2_XXS, M_IQ2_XS, M_IQ1_S, M_IQ1_M))
        return Q2_K;
    if (ONE_OF(r->mix, M_IQ2_S, M_IQ2_M, M_IQ3_XXS))
        return IQ3_S;
    return ONE_OF(r->mix, M_TQ1_0, M_TQ2_0, M_Q2_0) ? Q4_K : type;
}

/* Mixes of about 2 bits and fewer. */
static int tiny_rule(struct rules *r, enum role role, int type)
{
    const bool larger = r->mix == M_IQ2_S || r->mix == M_IQ2_M;
    if (role == ROLE_V || role == ROLE_QKV || role == ROLE_KV_B) {
        r->values++;
        return r->shared_heads >= 4 || r->experts >= 4 ? Q4_K : larger ? IQ3_S : Q2_K;
    }
    if (role == ROLE_K && r->experts == 8)
        return Q4_K;
    if (role == ROLE_DOWN)
        return r->downs++ < r->layers / 8 ? larger ? IQ3_S : Q2_K : type;
    if (role != ROLE_ATTN_OUTPUT)
        return type;
    if (r->experts == 8)
        return Q5_K;
    return ONE_OF(r->mix, M_IQ1_S, M_IQ1_M) ? IQ2_XXS : larger ? IQ3_S : type;
}

static int values_rule(struct rules *r, int type)
{
    const int i = r->values++;
    const bool shared = r->shared_heads >= 4;
    switch (r->mix) {
    case M_Q2_K: type = shared ? Q4_K : Q3_K; break;
    case M_IQ3_XXS: type = shared ? Q4_K : r->importance ? IQ3_XXS : IQ3_S; break;
    case M_Q2_K_S:
    case M_IQ3_XS:
    case M_IQ3_S: type = shared ? Q4_K : type; break;
    case M_IQ3_M: type = Q4_K; break;
    case M_Q3_K_M: type = i < 2 ? Q5_K : Q4_K; break;
    case M_Q3_K_L: type = Q5_K; break;
    case M_IQ4_NL:
    case M_IQ4_XS: type = shared ? Q5_K : type; break;
    case M_Q4_K_M:
    case M_Q5_K_M: type = more_bits(i, r->layers_of_values) ? Q6_K : type; break;
    case M_Q4_K_S: type = i < 4 ? Q5_K : type; break;
    default: break;
    }
    if (r->wide && (type == Q3_K || type == Q4_K))
        type = Q5_K;
    return r->experts == 8 ? Q8_0 : type;
}

static int queries_rule(const struct rules *r, enum role role, int type)
{
    if (role == ROLE_K && r->experts == 8)
        return Q8_0;
    return r->mix == M_IQ3_XS ? IQ3_XXS : r->mix == M_IQ3_XXS ? IQ2_S : type;
}

static int down_rule(const struct rules *r, int i, int type)
{
    const int n = r->layers;
    switch (r->mix) {
    case M_Q2_K: return Q3_K;
    case M_Q2_K_S: return i < n / 8 ? Q4_K : type;
    case M_IQ3_XXS: return r->importance ? type : i < n / 8 ? Q4_K : Q3_K;
    case M_Q3_K_M: return i < n / 16 ? Q5_K : !r->falcon || more_bits(i, n) ? Q4_K : Q3_K;
    case M_IQ3_M: return i < n / 8 || (r->experts == 8 && more_bits(i, n)) ? Q4_K : type;
    case M_Q3_K_L: return r->falcon ? Q4_K : Q5_K;
    case M_Q4_K_M:
        if (r->falcon)
            return i < n / 16 ? Q6_K : more_bits(i, n) ? Q5_K : Q4_K;
        return more_bits(i, n) ? Q6_K : type;
    case M_IQ4_NL:
    case M_IQ4_XS: return i < n / 8 && !r->importance ? Q5_K : type;
    case M_Q5_K_M: return more_bits(i, n) ? Q6_K : type;
    case M_Q4_K_S: return !r->falcon && i < n / 8 ? Q5_K : type;
    case M_Q4_0: return r->importance && i < n / 8 ? Q4_1 : type;
    case M_Q5_0: return r->importance && i < n / 8 ? Q5_1 : type;
    default: return type;
    }
}

static int attention_output_rule(const struct rules *r, int type)
{
    if (r->falcon)
        return r->mix == M_Q3_K_L ? Q4_K : type;
    if (r->experts == 8)
        return ONE_OF(r->mix, M_Q2_K, M_IQ3_XS, M_IQ3_XXS, M_Q3_K_S, M_Q3_K_M, M_IQ4_NL, M_Q4_K_S,
                      M_Q4_K_M, M_IQ3_S, M_IQ3_M, M_IQ4_XS)
                   ? Q5_K
                   : type;
    switch (r->mix) {
    case M_Q2_K: return Q3_K;
    case M_IQ3_XXS: return IQ3_S;
    case M_Q3_K_M:
    case M_IQ3_M: return Q4_K;
    case M_Q3_K_L: return Q5_K;
    default: return type;
    }
}

static int up_rule(const struct rules *r, int i, int type)
{
    const bool middle = i >= r->layers / 8 && i < 7 * r->layers / 8;
    return r->mix == M_IQ3_XS && middle ? IQ3_XXS : type;
}

static int rule(struct rules *r, const struct weight *w, int type, int *counted)
{
    const enum role role = role_of(w->name);
    /* in models with experts the layer is in the name; else it is how many went by */
    const int layer = r->experts > 1 ? layer_of(w->name) : counted[role];
    const bool expert = w->ne[2] > 1 && w->rank > 2;
    if (role == ROLE_OUTPUT || (r->tied && role == ROLE_EMBD))
        return output_rule(r, w, type);
    if (r->mix == M_MXFP4_MOE)
        return expert
                       && (!str_is(r->arch, "bailingmoe3") || role == ROLE_UP || role == ROLE_GATE
                           || role == ROLE_DOWN)
                   ? MXFP4
                   : Q8_0;
    if (role == ROLE_EMBD)
        return embedding_rule(r, type);
    if (tiny(r->mix))
        return tiny_rule(r, role, type);
    switch (role) {
    case ROLE_V:
    case ROLE_QKV:
    case ROLE_KV_B: return values_rule(r, type);
    case ROLE_K:
    case ROLE_Q: return queries_rule(r, role, type);
    case ROLE_ATTN_OUTPUT: return attention_output_rule(r, type);
    case ROLE_DOWN: counted[role]++; return down_rule(r, layer, type);
    case ROLE_UP:
    case ROLE_GATE: counted[role]++; return up_rule(r, layer, type);
    default: return type;
    }
}

/* ---- a model ---- */

/* A number of the metadata, of an array its first. */
static int fact(const struct weights *w, struct str arch, const char *key, int otherwise)
{
    struct buf b = { 0 };
    buf_printf(&b, "%.*s.%s", (int)arch.n, arch.p, key);
    const struct gguf_kv *kv = weights_kv(w, buf_str(&b));
    int64_t v = otherwise;
    if (kv)
        v = gguf_integer(kv, 0);
    buf_free(&b);
    return v < 0 || v > 1 << 20 ? otherwise : (int)v;
}

static struct rules rules_of(const struct mix *mix, const struct weights *w, bool importance)
{
    const struct str arch = weights_string(w, "general.architecture", "");
    struct rules r = { .mix = mix->file_type, .importance = importance, .arch = arch };
    r.falcon = str_is(arch, "falcon");
    r.layers = fact(w, arch, "block_count", 0);
    r.experts = fact(w, arch, "expert_count", 0);
    const int heads = fact(w, arch, "attention.head_count", 0);
    const int kv = fact(w, arch, "attention.head_count_kv", heads);
    r.shared_heads = kv ? heads / kv : 0;
    r.wide = (str_is(arch, "llama") && r.layers == 80 && heads != kv)
             || (r.layers == 80
                 && (str_is(arch, "deci") || str_is(arch, "olmo") || str_is(arch, "qwen2")))
             || (r.layers == 68 && str_is(arch, "jais2"));
    r.tied = !weights_find(w, STR("output.weight"));
    for (size_t i = 0; i < w->n; i++) {
        const enum role role = role_of(w->list[i].name);
        r.layers_of_values += role == ROLE_V || role == ROLE_QKV || role == ROLE_KV_B;
    }
    return r;
}

/* By layer, then by name: the order in which llama-quantize counts. */
static int by_layer(const void *a, const void *b)
{
    const struct weight *x = *(const struct weight *const *)a,
                        *y = *(const struct weight *const *)b;
    const int i = layer_of(x->name), j = layer_of(y->name);
    if (i != j)
        return i < j ? -1 : 1;
    const size_t n = x->name.n < y->name.n ? x->name.n : y->name.n;
    const int c = memcmp(x->name.p, y->name.p, n);
    return c ? c : (x->name.n > y->name.n) - (x->name.n < y->name.n);
}

static enum st one(struct rules *r, const struct weight *w, enum format usual, int *counted,
                   enum format *out, struct err *e)
{
    const struct format_info *info = format_info(usual);
    if (!info->quantized) {
        *out = usual;
        return ST_OK;
    }
    const enum role role = role_of(w->name);
    const bool layered = role == ROLE_DOWN || role == ROLE_UP || role == ROLE_GATE;
    const int layer = layer_of(w->name);
    if (r->experts > 1 && layered && !tiny(r->mix) && r->mix != M_MXFP4_MOE
        && (layer < 0 || layer >= r->layers)) {
        st_fail(e, ST_FORMAT, "the layer of an expert is not in its name");
        return st_where(e, "%.*s", (int)w->name.n, w->name.p);
    }
    *out = format_by_id((uint32_t)rule(r, w, info->id, counted));
    r->given_up += encode_fallback(*out, w->cols) != *out && !encode_falls_back(*out);
    return ST_OK;
}

enum st mix_formats(const struct mix *mix, const struct weights *w, bool importance,
                    enum format *out, size_t *given_up, struct err *e)
{
    struct rules r = rules_of(mix, w, importance);
    const enum format usual = format_by_name(mix->usual);
    const struct weight **order = x_alloc((w->n + 1) * sizeof *order);
    int counted[ROLE_OTHER + 1] = { 0 };
    enum st st = ST_OK;
    for (size_t i = 0; i < w->n; i++)
        order[i] = &w->list[i];
    qsort(order, w->n, sizeof *order, by_layer);
    for (size_t i = 0; i < w->n && !st; i++) {
        enum format *f = &out[order[i] - w->list];
        *f = FORMAT_NONE;
        if (mix_allows(order[i]) && order[i]->cols)
            st = one(&r, order[i], usual, counted, f, e);
    }
    free(order);
    if (given_up)
        *given_up = r.given_up;
    return st;
}
