/* SPDX-License-Identifier: MIT */
#include "file/gguf_write.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* ---- metadata ---- */

/* A place for the value of a key: where it was, else at the end; its bytes are taken over. */
static void set(struct gguf_meta *m, const char *key, struct gguf_kv kv, struct buf *value)
{
    size_t i = 0;
    while (i < m->n && !str_is(m->list[i].key, key))
        i++;
    x_grow(&m->owned, &m->cap_owned, m->n_owned + 2, sizeof *m->owned);
    kv.bytes = value->n;
    kv.data = m->owned[m->n_owned++] = buf_take(value);
    if (i == m->n) {
        x_grow(&m->list, &m->cap, m->n + 1, sizeof *m->list);
        m->n++;
        kv.key = str_from(m->owned[m->n_owned++] = x_strdup(key));
    } else {
        kv.key = m->list[i].key;
    }
    m->list[i] = kv;
}

static void put(struct buf *b, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        buf_addc(b, (char)(v >> 8 * i));
}

static void put_string(struct buf *b, struct str s)
{
    put(b, s.n, 8);
    buf_add(b, s.p, s.n);
}

void gguf_meta_take(struct gguf_meta *m, const struct gguf *from)
{
    x_grow(&m->list, &m->cap, m->n + from->n_kvs, sizeof *m->list);
    for (size_t i = 0; i < from->n_kvs; i++)
        m->list[m->n++] = from->kvs[i];
}

void gguf_meta_integer(struct gguf_meta *m, const char *key, enum gguf_type type, uint64_t v)
{
    struct buf b = { 0 };
    put(&b, v, type == GGUF_U16 || type == GGUF_I16 ? 2 : type == GGUF_U64 ? 8 : 4);
    set(m, key, (struct gguf_kv){ .type = type, .elem = type, .n = 1 }, &b);
}

void gguf_meta_integers(struct gguf_meta *m, const char *key, const uint32_t *v, size_t n)
{
    struct buf b = { 0 };
    for (size_t i = 0; i < n; i++)
        put(&b, v[i], 4);
    set(m, key, (struct gguf_kv){ .type = GGUF_ARRAY, .elem = GGUF_U32, .n = n }, &b);
}

void gguf_meta_string(struct gguf_meta *m, const char *key, struct str v)
{
    struct buf b = { 0 };
    put_string(&b, v);
    set(m, key, (struct gguf_kv){ .type = GGUF_STRING, .elem = GGUF_STRING, .n = 1 }, &b);
}

void gguf_meta_strings(struct gguf_meta *m, const char *key, const struct str *v, size_t n)
{
    struct buf b = { 0 };
    for (size_t i = 0; i < n; i++)
        put_string(&b, v[i]);
    set(m, key, (struct gguf_kv){ .type = GGUF_ARRAY, .elem = GGUF_STRING, .n = n }, &b);
}

void gguf_meta_drop(struct gguf_meta *m, const char *key)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->n; i++)
        if (!str_is(m->list[i].key, key))
            m->list[kept++] = m->list[i];
    m->n = kept;
}

void gguf_meta_free(struct gguf_meta *m)
{
    for (size_t i = 0; i < m->n_owned; i++)
        free(m->owned[i]);
    free(m->owned);
    free(m->list);
    *m = (struct gguf_meta){ 0 };
}

/* ---- the file ---- */

/* The header, or its length alone: one description of both. */
struct sink {
    struct buf *to; /* NULL: count only */
    uint64_t n;
};

static void emit(struct sink *s, const void *p, size_t n)
{
    if (s->to)
        buf_add(s->to, p, n);
    s->n += n;
}

static void emit_integer(struct sink *s, uint64_t v, size_t bytes)
{
    uint8_t b[8];
    for (size_t i = 0; i < bytes; i++)
        b[i] = (uint8_t)(v >> 8 * i);
    emit(s, b, bytes);
}

static void emit_string(struct sink *s, struct str v)
{
    emit_integer(s, v.n, 8);
    emit(s, v.p, v.n);
}

static void emit_kv(struct sink *s, const struct gguf_kv *kv)
{
    emit_string(s, kv->key);
    emit_integer(s, (uint64_t)kv->type, 4);
    if (kv->type == GGUF_ARRAY) {
        emit_integer(s, (uint64_t)kv->elem, 4);
        emit_integer(s, kv->n, 8);
    }
    emit(s, kv->data, kv->bytes);
}

static void emit_header(const struct gguf_file *f, struct sink *s)
{
    emit(s, "GGUF", 4);
    emit_integer(s, 3, 4);
    emit_integer(s, f->n_tensors, 8);
    emit_integer(s, f->n_kvs, 8);
    for (size_t i = 0; i < f->n_kvs; i++)
        emit_kv(s, &f->kvs[i]);
    for (size_t i = 0; i < f->n_tensors; i++) {
        const struct gguf_tensor *t = &f->tensors[i];
        emit_string(s, t->name);
        emit_integer(s, (uint64_t)t->rank, 4);
        for (int d = 0; d < t->rank; d++)
            emit_integer(s, t->ne[d], 8);
        emit_integer(s, t->type_id, 4);
        emit_integer(s, t->offset, 8);
    }
    const uint64_t up = (f->alignment - s->n % f->alignment) % f->alignment;
    for (uint64_t i = 0; i < up; i++)
        emit(s, "", 1);
}

static bool align(uint64_t v, uint64_t alignment, uint64_t *out)
{
    if (__builtin_add_overflow(v, alignment - 1, &v))
        return false;
    *out = v / alignment * alignment;
    return true;
}

enum st gguf_plan(struct gguf_file *f, struct err *e)
{
    f->alignment = GGUF_ALIGNMENT;
    for (size_t i = 0; i < f->n_kvs; i++)
        if (str_is(f->kvs[i].key, "general.alignment") && f->kvs[i].type == GGUF_U32)
            f->alignment = (uint64_t)gguf_integer(&f->kvs[i], 0);
    uint64_t at = 0;
    bool fits = f->alignment && f->alignment <= UINT32_MAX;
    for (size_t i = 0; i < f->n_tensors && fits; i++) {
        f->tensors[i].offset = at;
        fits = !__builtin_add_overflow(at, f->tensors[i].bytes, &at)
               && align(at, f->alignment, &at);
    }
    struct sink s = { 0 };
    if (fits)
        emit_header(f, &s);
    f->data_at = s.n;
    if (!fits || __builtin_add_overflow(at, s.n, &f->size) || f->size > INT64_MAX)
        return st_fail(e, ST_RANGE, "the size of the file overflows");
    return ST_OK;
}

uint64_t gguf_room(const struct gguf_file *f, size_t i)
{
    const uint64_t end = i + 1 < f->n_tensors ? f->tensors[i + 1].offset : f->size - f->data_at;
    return end - f->tensors[i].offset;
}

void gguf_header(const struct gguf_file *f, struct buf *out)
{
    struct sink s = { .to = out };
    emit_header(f, &s);
}
