/* SPDX-License-Identifier: MIT */
#include "file/gguf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "file/gguf_read.h"

enum {
    /* The smallest records that the format allows; they bound the counts a header may claim. */
    MIN_KV = 8 + 1 + 4 + 1,             /* key length, key, type, a bool */
    MIN_TENSOR = 8 + 1 + 4 + 0 + 4 + 8, /* name length, name, rank, no dimension, type, offset */
};

static const struct {
    const char *name;
    int bytes; /* 0: not of fixed size */
} types[GGUF_TYPE__COUNT] = {
    [GGUF_U8] = { "u8", 1 },       [GGUF_I8] = { "i8", 1 },     [GGUF_U16] = { "u16", 2 },
    [GGUF_I16] = { "i16", 2 },     [GGUF_U32] = { "u32", 4 },   [GGUF_I32] = { "i32", 4 },
    [GGUF_F32] = { "f32", 4 },     [GGUF_BOOL] = { "bool", 1 }, [GGUF_STRING] = { "string", 0 },
    [GGUF_ARRAY] = { "array", 0 }, [GGUF_U64] = { "u64", 8 },   [GGUF_I64] = { "i64", 8 },
    [GGUF_F64] = { "f64", 8 },
};

const char *gguf_type_name(enum gguf_type type)
{
    return (unsigned)type < GGUF_TYPE__COUNT ? types[type].name : "?";
}

/* An index of what was read: items of `stride` bytes that begin with their name. A name that occurs
 * twice is an error. Names are indexed, and records stored, only when they have been read: the
 * counts in the header are claims, on which nothing is allocated. */
static enum st index_names(struct reader *r, struct names *x, const void *items, size_t stride,
                           size_t n, const char *kind)
{
    enum st st = names_init(x, items, stride, n, r->e);
    for (size_t i = 0; i < n && !st; i++) {
        struct str name = *(const struct str *)((const char *)items + i * stride);
        if (names_add(x, i) == NAMES_NONE)
            continue;
        char what[READER_NAME];
        reader_show(what, name);
        size_t at = (size_t)((const uint8_t *)name.p - r->p) - 8; /* its length */
        st = reader_fail(r, at, ST_FORMAT, "the %s `%s` occurs twice", kind, what);
    }
    return st;
}

/* ---- key-value pairs ---- */

/* Walk an array of strings, noting where each begins: one index, no copies. The first walk, without
 * an index, shows that they are there: the count is only a claim. */
static enum st read_strings(struct reader *r, struct gguf_kv *kv, const char *key)
{
    if (kv->n > reader_left(r) / 8)
        return reader_fail(r, r->at, ST_FORMAT,
                           "array `%s` claims %llu %s; %zu %s left", key,
                           (unsigned long long)kv->n, text_plural(kv->n, "string", "strings"),
                           reader_left(r), text_plural(reader_left(r), "byte is", "bytes are"));
    size_t start = r->at;
    struct str s;
    enum st st = ST_OK;
    for (uint64_t i = 0; i < kv->n && !st; i++)
        st = reader_string(r, &s, key);
    void *index;
    if (!st && kv->n)
        st = mem_alloc(&index, (size_t)kv->n * sizeof *kv->strings, "an index of strings", r->e);
    if (st || !kv->n)
        return st;
    kv->strings = index;
    r->at = start;
    for (uint64_t i = 0; i < kv->n && !st; i++) {
        kv->strings[i] = r->at;
        st = reader_string(r, &s, key);
    }
    return st;
}

/* n elements of fixed size; a bool must be 0 or 1. */
static enum st read_plain(struct reader *r, struct gguf_kv *kv, const char *key)
{
    size_t size = (size_t)types[kv->elem].bytes;
    if (kv->n > reader_left(r) / size)
        return reader_fail(r, r->at, ST_FORMAT,
                           "`%s` claims %llu %s of %zu %s; %zu %s left", key,
                           (unsigned long long)kv->n, types[kv->elem].name, size,
                           text_plural(size, "byte", "bytes"), reader_left(r),
                           text_plural(reader_left(r), "byte is", "bytes are"));
    if (kv->elem == GGUF_BOOL)
        for (uint64_t i = 0; i < kv->n; i++)
            if (kv->data[i] > 1)
                return reader_fail(r, r->at + i, ST_FORMAT,
                                   "bool `%s` is %d; only 0 and 1 are legal", key, kv->data[i]);
    r->at += (size_t)kv->n * size;
    return ST_OK;
}

static enum st read_type(struct reader *r, enum gguf_type *out, const char *key)
{
    uint32_t t;
    enum st st = reader_u32(r, &t, key);
    if (st)
        return st;
    if (t >= GGUF_TYPE__COUNT)
        return reader_fail(r, r->at - 4, ST_FORMAT, "`%s` has the unknown value type %lu", key,
                           (unsigned long)t);
    *out = (enum gguf_type)t;
    return ST_OK;
}

static enum st read_value(struct reader *r, struct gguf_kv *kv, const char *key)
{
    enum st st = read_type(r, &kv->type, key);
    if (st)
        return st;
    kv->elem = kv->type;
    kv->n = 1;
    if (kv->type == GGUF_ARRAY) {
        if ((st = read_type(r, &kv->elem, key)))
            return st;
        if (kv->elem == GGUF_ARRAY)
            return reader_fail(r, r->at - 4, ST_UNSUPPORTED,
                               "`%s` is an array of arrays, which qdb does not read", key);
        if ((st = reader_u64(r, &kv->n, key)))
            return st;
    }
    size_t start = r->at;
    kv->data = r->p + start;
    struct str s;
    if (kv->elem != GGUF_STRING)
        st = read_plain(r, kv, key);
    else if (kv->type == GGUF_ARRAY)
        st = read_strings(r, kv, key);
    else
        st = reader_string(r, &s, key);
    kv->bytes = r->at - start;
    return st;
}

/* A string of 1 to `most` bytes; what is read is called by it from then on. */
static enum st read_name(struct reader *r, struct str *name, int most, char *what)
{
    const size_t start = r->at;
    const enum st st = reader_string(r, name, what);
    if (st)
        return st;
    if (!name->n || name->n > (size_t)most)
        return reader_fail(r, start, ST_FORMAT, "%s is %zu bytes long; 1 to %d are legal", what,
                           name->n, most);
    reader_show(what, *name);
    return ST_OK;
}

static enum st read_kv(struct reader *r, struct gguf *g, size_t i, uint64_t n)
{
    struct gguf_kv *kv = &g->kvs[i];
    char what[READER_NAME];
    snprintf(what, sizeof what, "key %zu of %llu", i + 1, (unsigned long long)n);
    const enum st st = read_name(r, &kv->key, GGUF_MAX_KEY, what);
    return st ? st : read_value(r, kv, what);
}

static enum st read_kvs(struct reader *r, struct gguf *g, uint64_t n)
{
    if (n > reader_left(r) / MIN_KV || n >= INT32_MAX)
        return reader_fail(r, 16, ST_FORMAT,
                           "%llu %s cannot fit into the %zu %s left",
                           (unsigned long long)n, text_plural(n, "key", "keys"), reader_left(r),
                           text_plural(reader_left(r), "byte that is", "bytes that are"));
    enum st st = ST_OK;
    for (size_t cap = 0; g->n_kvs < n && !st;) {
        st = mem_grow(&g->kvs, &cap, g->n_kvs + 1, sizeof *g->kvs, "the metadata", r->e);
        if (!st)
            st = read_kv(r, g, g->n_kvs++, n);
    }
    return st ? st : index_names(r, &g->by_key, g->kvs, sizeof *g->kvs, g->n_kvs, "key");
}

static enum st read_alignment(struct reader *r, struct gguf *g)
{
    g->alignment = GGUF_ALIGNMENT;
    const struct gguf_kv *kv = gguf_find(g, "general.alignment");
    if (!kv)
        return ST_OK;
    size_t at = (size_t)(kv->data - r->p);
    if (kv->type != GGUF_U32)
        return reader_fail(r, at, ST_FORMAT, "general.alignment is of type %s; u32 is legal",
                           gguf_type_name(kv->type));
    uint64_t a = (uint64_t)gguf_integer(kv, 0);
    if (!a || (a & (a - 1)))
        return reader_fail(r, at, ST_FORMAT, "general.alignment is %llu, not a power of two",
                           (unsigned long long)a);
    g->alignment = a;
    return ST_OK;
}

/* ---- the tensor directory ---- */

static enum st read_tensor(struct reader *r, struct gguf *g, size_t i, uint64_t n)
{
    struct gguf_tensor *t = &g->tensors[i];
    char what[READER_NAME];
    snprintf(what, sizeof what, "the name of tensor %zu of %llu", i + 1, (unsigned long long)n);
    uint32_t rank;
    enum st st = read_name(r, &t->name, GGUF_MAX_NAME, what);
    if (!st)
        st = reader_u32(r, &rank, what);
    if (st)
        return st;
    if (rank > GGUF_MAX_RANK)
        return reader_fail(r, r->at - 4, ST_FORMAT,
                           "tensor `%s` has %lu dimensions; at most %d are legal", what,
                           (unsigned long)rank, GGUF_MAX_RANK);
    t->rank = rank ? (int)rank : 1;
    for (uint32_t d = 0; d < GGUF_MAX_RANK; d++) {
        t->ne[d] = 1;
        if (d < rank && (st = reader_u64(r, &t->ne[d], what)))
            return st;
        if (t->ne[d] > INT64_MAX)
            return reader_fail(r, r->at - 8, ST_FORMAT, "dimension %lu of tensor `%s` is %llu",
                               (unsigned long)d, what, (unsigned long long)t->ne[d]);
    }
    if ((st = reader_u32(r, &t->type_id, what)))
        return st;
    return reader_u64(r, &t->offset, what);
}

static enum st read_tensors(struct reader *r, struct gguf *g, uint64_t n)
{
    if (n > reader_left(r) / MIN_TENSOR || n >= INT32_MAX)
        return reader_fail(r, 8, ST_FORMAT,
                           "%llu %s cannot fit into the %zu %s left",
                           (unsigned long long)n, text_plural(n, "tensor", "tensors"),
                           reader_left(r),
                           text_plural(reader_left(r), "byte that is", "bytes that are"));
    enum st st = ST_OK;
    for (size_t cap = 0; g->n_tensors < n && !st;) {
        st = mem_grow(&g->tensors, &cap, g->n_tensors + 1, sizeof *g->tensors,
                      "the tensor directory", r->e);
        if (!st)
            st = read_tensor(r, g, g->n_tensors++, n);
    }
    struct names seen = { 0 };
    if (!st)
        st = index_names(r, &seen, g->tensors, sizeof *g->tensors, g->n_tensors, "tensor name");
    names_free(&seen);
    return st;
}

/* What is wrong with a tensor taken by itself; fills format and bytes as far as they exist. */
static const char *check_tensor(const struct gguf *g, struct gguf_tensor *t)
{
    uint64_t rows = 1, all;
    for (int d = 1; d < GGUF_MAX_RANK; d++)
        if (__builtin_mul_overflow(rows, t->ne[d], &rows))
            return "its dimensions overflow";
    if (__builtin_mul_overflow(rows, t->ne[0], &all) || all > INT64_MAX)
        return "its dimensions overflow";
    t->format = format_by_id(t->type_id);
    if (t->format == FORMAT_NONE)
        return format_removed(t->type_id) ? "its type was removed from the format"
                                          : "its type is unknown";
    if (!all)
        return "it has a dimension of 0";
    if (t->ne[0] % (uint64_t)format_info(t->format)->block)
        return "its row length is not a multiple of the block of its type";
    size_t row;
    if (!format_row_bytes(t->format, t->ne[0], &row) || !mul_ok(row, rows, &t->bytes)) {
        t->bytes = 0;
        return "its size overflows";
    }
    if (t->offset % g->alignment)
        return "its offset is not a multiple of the alignment";
    uint64_t room = g->map.size > g->data_offset ? g->map.size - g->data_offset : 0;
    if (t->offset >= room)
        return "its data lies outside the file";
    if (t->bytes > room - t->offset)
        return "its data ends outside the file";
    return NULL;
}

static int by_offset(const void *a, const void *b)
{
    const struct gguf_tensor *x = *(struct gguf_tensor *const *)a,
                             *y = *(struct gguf_tensor *const *)b;
    return x->offset < y->offset ? -1 : x->offset > y->offset ? 1 : x < y ? -1 : x > y;
}

/* Two tensors on the same bytes: one of them is wrong, and nothing says which. */
static enum st check_overlap(struct gguf *g, struct err *e)
{
    void *p;
    enum st st = mem_alloc(&p, (g->n_tensors + 1) * sizeof(struct gguf_tensor *),
                           "the tensor order", e);
    if (st)
        return st;
    struct gguf_tensor **order = p, *last = NULL;
    size_t n = 0;
    for (size_t i = 0; i < g->n_tensors; i++)
        if (!g->tensors[i].problem)
            order[n++] = &g->tensors[i];
    qsort(order, n, sizeof *order, by_offset);
    for (size_t i = 0; i < n; i++) {
        if (last && order[i]->offset < last->offset + last->bytes)
            last->problem = order[i]->problem = "its data overlaps another tensor";
        if (!last || order[i]->offset + order[i]->bytes > last->offset + last->bytes)
            last = order[i];
    }
    mem_free(order);
    return ST_OK;
}

static enum st place_tensors(struct reader *r, struct gguf *g)
{
    uint64_t up = g->alignment - 1;
    g->data_offset = ((uint64_t)r->at + up) & ~up; /* < 2^63 + 2^32 */
    for (size_t i = 0; i < g->n_tensors; i++) {
        g->tensors[i].format = FORMAT_NONE;
        g->tensors[i].problem = check_tensor(g, &g->tensors[i]);
    }
    enum st st = check_overlap(g, r->e);
    if (st)
        return st;
    for (size_t i = 0; i < g->n_tensors; i++)
        if (!g->tensors[i].problem)
            g->tensors[i].data = g->map.p + g->data_offset + g->tensors[i].offset;
    return ST_OK;
}

static enum st parse(struct gguf *g, struct err *e)
{
    struct reader r = { g->map.p, g->map.size, 0, g->map.path, e };
    uint64_t n_tensors, n_kvs;
    enum st st = reader_magic(&r, &g->version);
    if (!st)
        st = reader_u64(&r, &n_tensors, "the number of tensors");
    if (!st)
        st = reader_u64(&r, &n_kvs, "the number of keys");
    if (!st)
        st = read_kvs(&r, g, n_kvs);
    if (!st)
        st = read_alignment(&r, g);
    if (!st)
        st = read_tensors(&r, g, n_tensors);
    return st ? st : place_tensors(&r, g);
}

enum st gguf_parse(struct map map, struct gguf **out, struct err *e)
{
    struct gguf *g = x_alloc(sizeof *g);
    g->map = map;
    enum st st = parse(g, e);
    if (st)
        gguf_free(g);
    else
        *out = g;
    return st;
}

void gguf_free(struct gguf *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->n_kvs; i++)
        mem_free(g->kvs[i].strings);
    names_free(&g->by_key);
    mem_free(g->kvs);
    mem_free(g->tensors);
    map_close(&g->map);
    free(g);
}
