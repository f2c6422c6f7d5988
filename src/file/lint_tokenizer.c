/* SPDX-License-Identifier: MIT */
/* Lint of the tokenizer's tables: lengths that agree, ids that exist, tokens that occur once. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "file/lint_checks.h"

#define U(x) ((unsigned long long)(x))

static const struct gguf_kv *array(const struct weights *w, const char *key, struct lint *l)
{
    const struct gguf_kv *kv = weights_kv(w, key);
    if (kv && kv->type != GGUF_ARRAY) {
        lint_add(l, LINT_ERROR, "tokenizer", kv->key, "not an array but one %s",
                 gguf_type_name(kv->type));
        return NULL;
    }
    return kv;
}

static void check_length(const struct weights *w, const char *key, uint64_t n, struct lint *l)
{
    const struct gguf_kv *kv = array(w, key, l);
    if (kv && kv->n != n)
        lint_add(l, LINT_ERROR, "tokenizer", kv->key, "%llu %s for %llu tokens", U(kv->n),
                 text_plural(kv->n, "entry", "entries"), U(n));
}

static void check_types(const struct weights *w, struct lint *l)
{
    const struct gguf_kv *kv = weights_kv(w, "tokenizer.ggml.token_type");
    if (!kv || kv->type != GGUF_ARRAY || !gguf_is_integer(kv->elem))
        return;
    for (uint64_t i = 0; i < kv->n; i++) {
        int64_t t = gguf_integer(kv, i);
        if (t >= 0 && t <= 6)
            continue;
        lint_add(l, LINT_WARNING, "tokenizer", kv->key, "token %llu has the unknown type %lld",
                 U(i), (long long)t);
        return;
    }
}

/* tokenizer.ggml.bos_token_id and its kin. */
static void check_ids(const struct weights *w, uint64_t n, struct lint *l)
{
    const struct gguf *g = w->files[0];
    for (size_t i = 0; i < g->n_kvs; i++) {
        const struct gguf_kv *kv = &g->kvs[i];
        if (!str_starts(kv->key, "tokenizer.ggml.") || !str_ends(kv->key, "_token_id")
            || !gguf_is_integer(kv->type))
            continue;
        int64_t id = gguf_integer(kv, 0);
        bool none = id == -1 || id == UINT32_MAX; /* how some writers say "no such token" */
        if (!none && (id < 0 || (uint64_t)id >= n))
            lint_add(l, LINT_ERROR, "tokenizer", kv->key, "%lld is no token; there are %llu",
                     (long long)id, U(n));
    }
}

static void check_size(const struct weights *w, uint64_t n, struct lint *l)
{
    struct str arch = weights_string(w, "general.architecture", "");
    struct buf key = { 0 };
    buf_printf(&key, "%.*s.vocab_size", (int)arch.n, arch.p);
    int64_t said = weights_integer(w, buf_str(&key), -1);
    if (said >= 0 && (uint64_t)said != n)
        lint_add(l, LINT_WARNING, "tokenizer", str_of(key.p, key.n),
                 "%lld, but there are %llu tokens", (long long)said, U(n));
    buf_free(&key);
    const struct weight *x = weights_find(w, STR("token_embd.weight"));
    if (!x || !x->rows || x->rows == n)
        return;
    if (x->rows < n)
        lint_add(l, LINT_ERROR, "tokenizer", x->name, "%llu %s for %llu tokens", U(x->rows),
                 text_plural(x->rows, "row", "rows"), U(n));
    else
        lint_add(l, LINT_NOTE, "tokenizer", x->name, "%llu rows for %llu tokens (padded)",
                 U(x->rows), U(n));
}

static enum st check_twins(const struct weights *w, const struct gguf_kv *kv, struct lint *l,
                           struct err *e)
{
    void *p;
    struct names seen;
    enum st st = kv->n < INT32_MAX ? ST_OK : ST_RANGE; /* then no check */
    if (st)
        return ST_OK;
    if ((st = mem_alloc(&p, (size_t)kv->n * sizeof(struct str), "the tokens", e)))
        return st;
    struct str *tokens = p;
    for (uint64_t i = 0; i < kv->n; i++)
        tokens[i] = gguf_string(w->files[0], kv, i);
    st = names_init(&seen, tokens, sizeof *tokens, (size_t)kv->n, e);
    uint64_t twins = 0, empty = 0, a = 0, b = 0;
    for (uint64_t i = 0; i < kv->n && !st; i++) {
        int64_t other = names_add(&seen, (size_t)i);
        empty += !tokens[i].n;
        if (other != NAMES_NONE && !twins++) {
            a = (uint64_t)other;
            b = i;
        }
    }
    if (twins)
        lint_add(l, LINT_WARNING, "tokenizer", kv->key,
                 "%llu %s twice; the first is %llu, the same as %llu", U(twins),
                 text_plural(twins, "token occurs", "tokens occur"), U(b), U(a));
    if (empty)
        lint_add(l, LINT_WARNING, "tokenizer", kv->key, "%llu %s empty", U(empty),
                 text_plural(empty, "token is", "tokens are"));
    if (!st)
        names_free(&seen);
    mem_free(tokens);
    return st;
}

static void check_merges(const struct weights *w, struct lint *l)
{
    const struct gguf_kv *kv = array(w, "tokenizer.ggml.merges", l);
    if (!kv || kv->elem != GGUF_STRING)
        return;
    for (uint64_t i = 0; i < kv->n; i++) {
        struct str s = gguf_string(w->files[0], kv, i);
        if (s.n > 2 && memchr(s.p + 1, ' ', s.n - 2))
            continue;
        lint_add(l, LINT_WARNING, "tokenizer", kv->key,
                 "merge %llu is not two pieces with a blank between", U(i));
        return;
    }
}

enum st lint_tokenizer(const struct weights *w, struct lint *l, struct err *e)
{
    const struct gguf_kv *tokens = array(w, "tokenizer.ggml.tokens", l);
    if (!tokens || tokens->elem != GGUF_STRING) {
        if (weights_kv(w, "tokenizer.ggml.model"))
            lint_add(l, LINT_WARNING, "tokenizer", STR("tokenizer.ggml.tokens"),
                     "there is a tokenizer, but no list of tokens");
        return ST_OK;
    }
    if (!tokens->n)
        lint_add(l, LINT_ERROR, "tokenizer", tokens->key, "no tokens");
    check_length(w, "tokenizer.ggml.scores", tokens->n, l);
    check_length(w, "tokenizer.ggml.token_type", tokens->n, l);
    check_types(w, l);
    check_ids(w, tokens->n, l);
    check_size(w, tokens->n, l);
    check_merges(w, l);
    return check_twins(w, tokens, l, e);
}
