/* SPDX-License-Identifier: MIT */
#include "file/safetensors_read.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "file/json_read.h"

enum { MAX_HEADER = 100000000, MAX_NAME = 4096, MAX_NOTE = 1 << 20 };

/* {"a": "b", ...} */
static void read_notes(struct stored_tensors *s, struct jread *j)
{
    struct buf key = { 0 }, text = { 0 };
    for (jread_open(j, '{'); jread_next(j);) {
        if (!jread_key(j, &key, MAX_NAME) || !jread_string(j, &text, MAX_NOTE))
            break;
        x_grow(&s->notes, &s->cap_notes, s->n_notes + 1, sizeof *s->notes);
        s->notes[s->n_notes++] =
            (struct stored_note){ x_strdup(buf_str(&key)), x_strdup(buf_str(&text)) };
    }
    buf_free(&key);
    buf_free(&text);
}

static void read_shape(struct stored_tensor *t, struct jread *j)
{
    int64_t n;
    for (jread_open(j, '['); jread_next(j);) {
        if (t->rank == SAFETENSORS_MAX_RANK) {
            jread_fail(j, "a shape of more than 8 axes");
            return;
        }
        if (!jread_int(j, 0, INT64_MAX, &n))
            return;
        t->shape[t->rank++] = (uint64_t)n;
        if (!mul_ok(t->n, (size_t)n, &t->n)) {
            jread_fail(j, "a shape too large");
            return;
        }
    }
}

static void read_offsets(struct stored_tensor *t, struct jread *j, const uint8_t *data, size_t size)
{
    int64_t begin = 0, end = 0;
    jread_open(j, '[');
    if (jread_next(j) && jread_int(j, 0, INT64_MAX, &begin) && jread_next(j)
        && jread_int(j, 0, INT64_MAX, &end) && jread_next(j))
        jread_fail(j, "expected two offsets");
    if (j->problem)
        return;
    if (begin > end || (uint64_t)end > size) {
        jread_fail(j, "offsets outside the file");
        return;
    }
    t->data = data + begin;
    t->bytes = (size_t)(end - begin);
}

/* {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, keys in any order. */
static void read_entry(struct stored_tensor *t, struct jread *j, const uint8_t *data, size_t size)
{
    struct buf key = { 0 };
    unsigned seen = 0;
    size_t needed;
    for (jread_open(j, '{'); jread_next(j) && jread_key(j, &key, MAX_NAME);) {
        const unsigned bit = !strcmp(buf_str(&key), "dtype")          ? 1
                             : !strcmp(buf_str(&key), "shape")        ? 2
                             : !strcmp(buf_str(&key), "data_offsets") ? 4
                                                                      : 0;
        if (!bit || seen & bit)
            jread_fail(j, "expected dtype, shape and data_offsets, each once");
        else if (bit == 1 && jread_string(j, &key, MAX_NAME))
            t->type = number_of_safetensors(str_of(buf_str(&key), key.n));
        else if (bit == 2)
            read_shape(t, j);
        else if (bit == 4)
            read_offsets(t, j, data, size);
        seen |= bit;
    }
    buf_free(&key);
    if (j->problem)
        return;
    if (seen != 7)
        jread_fail(j, "expected dtype, shape and data_offsets, each once");
    else if (t->type != NUMBER__COUNT
             && (!mul_ok(t->n, number_bytes(t->type), &needed) || needed != t->bytes))
        jread_fail(j, "the offsets do not fit the shape");
}

static void read_header(struct stored_tensors *s, struct jread *j, const uint8_t *data, size_t size)
{
    struct buf name = { 0 };
    for (jread_open(j, '{'); jread_next(j) && jread_key(j, &name, MAX_NAME);) {
        if (!strcmp(buf_str(&name), "__metadata__")) {
            read_notes(s, j);
            continue;
        }
        struct stored_tensor t = { .type = NUMBER__COUNT, .n = 1 };
        read_entry(&t, j, data, size);
        if (j->problem)
            break;
        if (strlen(buf_str(&name)) != name.n) {
            jread_fail(j, "a name with a zero byte");
            break;
        }
        t.name = x_strdup(buf_str(&name));
        x_grow(&s->list, &s->cap, s->n + 1, sizeof *s->list);
        s->list[s->n++] = t;
    }
    jread_end(j);
    buf_free(&name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum st check_names(const struct stored_tensors *s, struct err *e)
{
    char **names = x_alloc((s->n + 1) * sizeof *names);
    enum st st = ST_OK;
    for (size_t i = 0; i < s->n; i++)
        names[i] = s->list[i].name;
    qsort(names, s->n, sizeof *names, by_name);
    for (size_t i = 1; i < s->n && !st; i++)
        if (!strcmp(names[i - 1], names[i]))
            st = st_fail(e, ST_FORMAT, "two tensors are named `%.80s`", names[i]);
    free(names);
    return st;
}

static int by_place(const void *a, const void *b)
{
    const struct stored_tensor *x = *(const struct stored_tensor *const *)a,
                               *y = *(const struct stored_tensor *const *)b;
    return x->data != y->data ? (x->data < y->data ? -1 : 1)
                              : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static enum st check_places(const struct stored_tensors *s, struct err *e)
{
    const struct stored_tensor **list = x_alloc((s->n + 1) * sizeof *list);
    enum st st = ST_OK;
    for (size_t i = 0; i < s->n; i++)
        list[i] = &s->list[i];
    qsort(list, s->n, sizeof *list, by_place);
    for (size_t i = 1; i < s->n && !st; i++)
        if (list[i]->data < list[i - 1]->data + list[i - 1]->bytes)
            st = st_fail(e, ST_FORMAT, "`%.80s` and `%.80s` share bytes", list[i - 1]->name,
                         list[i]->name);
    free(list);
    return st;
}

static enum st parse(struct stored_tensors *s, struct err *e)
{
    const uint8_t *p = s->map.p;
    uint64_t n = 0;
    for (int i = 0; i < 8 && s->map.size >= 8; i++)
        n |= (uint64_t)p[i] << (8 * i);
    if (s->map.size < 8 || n > s->map.size - 8)
        return st_fail(e, ST_FORMAT, "not a safetensors file: a header of %" PRIu64
                                     " bytes does not fit into %zu", n, s->map.size);
    if (n > MAX_HEADER)
        return st_fail(e, ST_FORMAT, "a header of %" PRIu64 " bytes; the format allows %d", n,
                       MAX_HEADER);
    struct jread j = jread_of((const char *)p + 8, (size_t)n);
    read_header(s, &j, p + 8 + n, s->map.size - 8 - (size_t)n);
    enum st st = jread_status(&j, 8, e);
    st = st ? st : check_names(s, e);
    return st ? st : check_places(s, e);
}

static enum st opened(struct map map, struct stored_tensors *out, struct err *e)
{
    struct stored_tensors s = { .map = map };
    const enum st st = parse(&s, e);
    if (st) {
        st_where(e, "%s", map.path);
        stored_close(&s);
    } else
        *out = s;
    return st;
}

enum st stored_open(const char *path, struct stored_tensors *out, struct err *e)
{
    struct map map;
    const enum st st = map_open(path, &map, e);
    return st ? st : opened(map, out, e);
}

enum st stored_borrow(const void *p, size_t n, const char *name, struct stored_tensors *out,
                      struct err *e)
{
    return opened(map_borrow(p, n, name), out, e);
}

void stored_close(struct stored_tensors *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->list[i].name);
    for (size_t i = 0; i < s->n_notes; i++) {
        free(s->notes[i].key);
        free(s->notes[i].text);
    }
    free(s->list);
    free(s->notes);
    map_close(&s->map);
    *s = (struct stored_tensors){ 0 };
}

const struct stored_tensor *stored_find(const struct stored_tensors *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (!strcmp(s->list[i].name, name))
            return &s->list[i];
    return NULL;
}

const char *stored_note(const struct stored_tensors *s, const char *key)
{
    for (size_t i = 0; i < s->n_notes; i++)
        if (!strcmp(s->notes[i].key, key))
            return s->notes[i].text;
    return NULL;
}

enum st stored_floats(const struct stored_tensor *t, float *out, struct err *e)
{
    if (t->type == NUMBER__COUNT)
        return st_fail(e, ST_UNSUPPORTED, "%.80s: read are F32, F16, BF16 and F64", t->name);
    number_floats(t->type, t->data, t->n, out);
    return ST_OK;
}
