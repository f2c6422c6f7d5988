/* SPDX-License-Identifier: MIT */
/* Lint of the hyper-parameters: against themselves and against the shapes of the tensors. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file/lint_checks.h"

#define I(x) ((long long)(x))

/* A model's metadata under its architecture's prefix. */
struct model {
    const struct weights *w;
    struct lint *l;
    struct str arch;
    int64_t blocks, width, heads, heads_kv, feed_forward; /* -1: absent or no scalar */
};

static const char *key_of(const struct model *m, const char *name, struct buf *b)
{
    buf_clear(b);
    buf_printf(b, "%.*s.%s", (int)m->arch.n, m->arch.p, name);
    return buf_str(b);
}

static const struct gguf_kv *find(const struct model *m, const char *name)
{
    struct buf b = { 0 };
    const struct gguf_kv *kv = weights_kv(m->w, key_of(m, name, &b));
    buf_free(&b);
    return kv;
}

static int64_t integer(const struct model *m, const char *name)
{
    const struct gguf_kv *kv = find(m, name);
    return kv && gguf_is_integer(kv->type) ? gguf_integer(kv, 0) : -1;
}

static void say(const struct model *m, enum lint_severity severity, const char *check,
                const char *name, const char *message)
{
    struct buf b = { 0 };
    key_of(m, name, &b);
    lint_add(m->l, severity, check, str_of(b.p, b.n), "%s", message);
    buf_free(&b);
}

static bool has_tensor(const struct model *m, const char *ending)
{
    for (size_t i = 0; i < m->w->n; i++)
        if (str_ends(m->w->list[i].name, ending))
            return true;
    return false;
}

/* No metadata number may be NaN or infinite; of one array the first is reported. */
static void check_finite(const struct weights *w, struct lint *l)
{
    const struct gguf *g = w->files[0];
    for (size_t i = 0; i < g->n_kvs; i++) {
        const struct gguf_kv *kv = &g->kvs[i];
        if (kv->elem != GGUF_F32 && kv->elem != GGUF_F64)
            continue;
        for (uint64_t k = 0; k < kv->n; k++) {
            double v = gguf_number(kv, k);
            if (isfinite(v))
                continue;
            const char *is = isnan(v) ? "NaN" : "infinite";
            if (kv->type == GGUF_ARRAY)
                lint_add(l, LINT_ERROR, "metadata-nan", kv->key, "element %llu is %s",
                         (unsigned long long)k, is);
            else
                lint_add(l, LINT_ERROR, "metadata-nan", kv->key, "the value is %s", is);
            break;
        }
    }
}

/* Number of a block: 12 of "blk.12.attn_q.weight", -1 if the name has none. */
static int64_t block_of(struct str name)
{
    if (!str_starts(name, "blk."))
        return -1;
    int64_t n = 0;
    size_t i = 4;
    for (; i < name.n && i < 12 && name.p[i] >= '0' && name.p[i] <= '9'; i++)
        n = n * 10 + (name.p[i] - '0');
    return i > 4 && i < name.n && name.p[i] == '.' ? n : -1;
}

static void check_blocks(const struct model *m)
{
    char text[128];
    int64_t highest = -1;
    for (size_t i = 0; i < m->w->n; i++) {
        int64_t b = block_of(m->w->list[i].name);
        highest = b > highest ? b : highest;
    }
    if (highest < 0 && m->blocks < 0)
        return;
    if (m->blocks <= 0)
        say(m, LINT_ERROR, "blocks", "block_count",
            m->blocks ? "absent" : "0: the model has no layers");
    else if (highest + 1 != m->blocks) {
        snprintf(text, sizeof text, "%lld, but the tensors are of %lld %s", I(m->blocks),
                 I(highest + 1), text_plural((uint64_t)highest + 1, "block", "blocks"));
        say(m, m->blocks > highest + 1 ? LINT_ERROR : LINT_WARNING, "blocks", "block_count", text);
    }
}

static void check_heads(const struct model *m)
{
    char text[128];
    if (m->heads == 0 && has_tensor(m, ".attn_q.weight"))
        say(m, LINT_ERROR, "heads", "attention.head_count",
            "0, though there are attention weights");
    if (m->heads <= 0)
        return;
    if (m->heads_kv == 0 && has_tensor(m, ".attn_k.weight"))
        say(m, LINT_ERROR, "heads", "attention.head_count_kv",
            "0, though there are attention weights");
    if (m->heads_kv > 0 && m->heads % m->heads_kv) {
        snprintf(text, sizeof text, "%lld does not divide the %lld heads", I(m->heads_kv),
                 I(m->heads));
        say(m, LINT_ERROR, "heads", "attention.head_count_kv", text);
    }
    if (integer(m, "attention.key_length") < 0 && m->width > 0 && m->width % m->heads) {
        snprintf(text, sizeof text,
                 "%lld heads do not divide the width %lld, and key_length is absent", I(m->heads),
                 I(m->width));
        say(m, LINT_ERROR, "heads", "attention.head_count", text);
    }
}

static void check_numbers(const struct model *m)
{
    static const char *const epsilon[] = { "attention.layer_norm_rms_epsilon",
                                           "attention.layer_norm_epsilon" };
    for (int i = 0; i < 2; i++) {
        const struct gguf_kv *kv = find(m, epsilon[i]);
        double v = kv && gguf_is_number(kv->type) ? gguf_number(kv, 0) : 1e-5;
        if (v < 0 || v > 0.01)
            say(m, LINT_WARNING, "epsilon", epsilon[i], "not a small positive number");
        else if (v == 0)
            say(m, LINT_WARNING, "epsilon", epsilon[i], "0: a row of zeros becomes NaN");
    }
    const struct gguf_kv *base = find(m, "rope.freq_base");
    if (base && gguf_is_number(base->type) && gguf_number(base, 0) <= 0)
        say(m, LINT_ERROR, "rope", "rope.freq_base", "not positive");
    int64_t rope = integer(m, "rope.dimension_count"), head = integer(m, "attention.key_length");
    if (head < 0 && m->heads > 0 && m->width > 0)
        head = m->width / m->heads;
    if (rope > 0 && rope % 2)
        say(m, LINT_ERROR, "rope", "rope.dimension_count", "odd; rotations need pairs");
    if (rope > 0 && head > 0 && rope > head)
        say(m, LINT_ERROR, "rope", "rope.dimension_count", "larger than a head");
    if (integer(m, "context_length") == 0)
        say(m, LINT_ERROR, "context", "context_length", "0");
    int64_t experts = integer(m, "expert_count"), used = integer(m, "expert_used_count");
    if (experts > 0 && (used == 0 || used > experts))
        say(m, LINT_ERROR, "experts", "expert_used_count", "not in 1..expert_count");
}

/* Shapes that every decoder block of this naming shares: which axis is of which size. */
static void check_shapes(const struct model *m)
{
    static const struct {
        const char *ending;
        bool rows;         /* the tensor's rows, else its columns */
        bool feed_forward; /* ... are the feed-forward width, else the width of the model */
    } rules[] = {
        { ".attn_norm.weight", false, false },  { ".attn_q.weight", false, false },
        { ".attn_k.weight", false, false },     { ".attn_v.weight", false, false },
        { ".attn_output.weight", true, false }, { ".ffn_norm.weight", false, false },
        { ".ffn_gate.weight", false, false },   { ".ffn_gate.weight", true, true },
        { ".ffn_up.weight", false, false },     { ".ffn_down.weight", true, false },
        { ".ffn_down.weight", false, true },    { "token_embd.weight", false, false },
    };
    for (size_t i = 0; i < m->w->n; i++) {
        const struct weight *x = &m->w->list[i];
        bool embedding = str_is(x->name, "token_embd.weight");
        if (!embedding && block_of(x->name) < 0)
            continue;
        for (size_t r = 0; r < sizeof rules / sizeof *rules; r++) {
            int64_t want = rules[r].feed_forward ? m->feed_forward : m->width;
            uint64_t is = rules[r].rows ? x->rows : x->cols;
            if (want < 0 || is == (uint64_t)want || !str_ends(x->name, rules[r].ending))
                continue;
            lint_add(m->l, embedding ? LINT_ERROR : LINT_WARNING, "shape", x->name,
                     "%llu %s, but %.*s.%s is %lld", (unsigned long long)is,
                     rules[r].rows ? "rows" : "columns", (int)m->arch.n, m->arch.p,
                     rules[r].feed_forward ? "feed_forward_length" : "embedding_length", I(want));
        }
    }
}

static void check_output(const struct model *m)
{
    const struct weight *in = weights_find(m->w, STR("token_embd.weight"));
    const struct weight *out = weights_find(m->w, STR("output.weight"));
    if (in && !out)
        lint_add(m->l, LINT_NOTE, "tied", in->name, "serves as the output matrix too (tied)");
    if (in && out && in->rows && out->rows && in->rows != out->rows)
        lint_add(m->l, LINT_ERROR, "shape", out->name, "%llu rows, token_embd.weight has %llu",
                 (unsigned long long)out->rows, (unsigned long long)in->rows);
}

void lint_hyper_parameters(const struct weights *w, struct lint *l)
{
    check_finite(w, l);
    struct model m = { .w = w, .l = l, .arch = weights_string(w, "general.architecture", "") };
    struct str type = weights_string(w, "general.type", "model");
    if (!w->n)
        lint_add(l, LINT_NOTE, "no-tensors", STR("file"),
                 "there are no tensors (a vocabulary alone?)");
    if (!w->n || str_is(type, "imatrix"))
        return;
    if (!m.arch.n) {
        lint_add(l, LINT_ERROR, "architecture", STR("general.architecture"), "absent");
        return;
    }
    m.blocks = integer(&m, "block_count");
    m.width = integer(&m, "embedding_length");
    m.heads = integer(&m, "attention.head_count");
    m.heads_kv = integer(&m, "attention.head_count_kv");
    m.feed_forward = integer(&m, "feed_forward_length");
    if (m.width == 0)
        say(&m, LINT_ERROR, "width", "embedding_length", "0");
    if (m.feed_forward == 0 && has_tensor(&m, ".ffn_down.weight"))
        say(&m, LINT_ERROR, "width", "feed_forward_length",
            "0, though there are feed-forward weights");
    if (str_is(type, "model"))
        check_blocks(&m);
    check_heads(&m);
    check_numbers(&m);
    if (str_is(type, "model"))
        check_shapes(&m);
    check_output(&m);
}
