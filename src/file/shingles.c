/* SPDX-License-Identifier: MIT */
#include "file/shingles.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"

static const char key_list[] = "qdb.calibration.shingles", key_most[] = "qdb.calibration.most",
                  key_vocabulary[] = "qdb.calibration.vocabulary";

struct shingles *shingles_new(uint32_t vocabulary)
{
    struct shingles *x = x_alloc(sizeof *x);
    *x = (struct shingles){ .uses = 1, .vocabulary = vocabulary, .most = UINT32_MAX };
    return x;
}

struct shingles *shingles_keep(struct shingles *x)
{
    if (x)
        x->uses++;
    return x;
}

void shingles_drop(struct shingles *x)
{
    if (!x || --x->uses)
        return;
    free(x->list);
    free(x);
}

static int by_size(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Sort, each once, and no more than may be kept. */
static void settle(struct shingles *x)
{
    size_t kept = 0;
    if (x->n)
        qsort(x->list, x->n, sizeof *x->list, by_size);
    for (size_t i = 0; i < x->n && x->list[i] <= x->most; i++)
        if (!kept || x->list[i] != x->list[kept - 1])
            x->list[kept++] = x->list[i];
    if (kept > SHINGLES_MOST) {
        kept = SHINGLES_MOST;
        x->most = x->list[kept - 1];
    }
    x->n = kept;
}

static void put(struct shingles *x, uint32_t hash)
{
    if (hash > x->most)
        return;
    if (x->n == 4 * (size_t)SHINGLES_MOST)
        settle(x);
    x_grow(&x->list, &x->cap, x->n + 1, sizeof *x->list);
    x->list[x->n++] = hash;
}

static uint32_t hash_of(const int32_t *ids)
{
    return (uint32_t)(hash_bytes(ids, SHINGLE_TOKENS * sizeof *ids, 0) >> 32);
}

void shingles_add(struct shingles *x, const int32_t *ids, int64_t n)
{
    for (int64_t i = 0; i + SHINGLE_TOKENS <= n; i++)
        put(x, hash_of(ids + i));
    settle(x);
}

void shingles_merge(struct shingles *x, const struct shingles *from)
{
    x->most = from->most < x->most ? from->most : x->most;
    for (size_t i = 0; i < from->n; i++)
        put(x, from->list[i]);
    settle(x);
}

void shingles_count(const struct shingles *x, const int32_t *ids, int64_t n,
                    struct shingle_share *sum)
{
    for (int64_t i = 0; i + SHINGLE_TOKENS <= n; i++) {
        const uint32_t hash = hash_of(ids + i);
        if (hash > x->most)
            continue;
        sum->asked++;
        sum->found += x->n && bsearch(&hash, x->list, x->n, sizeof hash, by_size);
    }
}

void shingles_put(const struct shingles *x, struct gguf_meta *meta)
{
    gguf_meta_integers(meta, key_list, x->list, x->n);
    gguf_meta_integer(meta, key_most, GGUF_U32, x->most);
    gguf_meta_integer(meta, key_vocabulary, GGUF_U32, x->vocabulary);
}

void shingles_unput(struct gguf_meta *meta)
{
    static const char *const keys[] = { key_list, key_most, key_vocabulary };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        gguf_meta_drop(meta, keys[i]);
}

enum st shingles_get(const struct gguf *g, struct shingles **out, struct err *e)
{
    const struct gguf_kv *list = gguf_find(g, key_list), *most = gguf_find(g, key_most),
                         *vocabulary = gguf_find(g, key_vocabulary);
    *out = NULL;
    if (!list)
        return ST_OK;
    bool good = list->type == GGUF_ARRAY && list->elem == GGUF_U32 && list->n <= SHINGLES_MOST
                && most && most->type == GGUF_U32 && vocabulary && vocabulary->type == GGUF_U32;
    struct shingles *x = shingles_new(good ? (uint32_t)gguf_integer(vocabulary, 0) : 0);
    for (uint64_t i = 0; good && i < list->n; i++) {
        const uint32_t hash = (uint32_t)gguf_integer(list, i);
        good = !i || hash > x->list[i - 1];
        put(x, hash);
    }
    x->most = good ? (uint32_t)gguf_integer(most, 0) : 0;
    if (good && (!x->n || x->list[x->n - 1] <= x->most)) {
        *out = x;
        return ST_OK;
    }
    shingles_drop(x);
    st_fail(e, ST_FORMAT, "%s: not as it was written", key_list);
    return st_where(e, "%s", g->map.path);
}
