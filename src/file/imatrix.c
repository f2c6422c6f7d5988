/* SPDX-License-Identifier: MIT */
#include "file/imatrix.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "file/gguf_read.h"
#include "file/imatrix_forms.h"
#include "file/save.h"

/* Tokens that no text has, 10^12. */
#define MOST_TOKENS 0x1p40f

enum st imatrix_fail(struct err *e, const char *path, struct str name, const char *what)
{
    char shown[READER_NAME];
    reader_show(shown, name);
    st_fail(e, ST_FORMAT, "`%s`: %s", shown, what);
    if (path)
        st_where(e, "%s", path);
    return ST_FORMAT;
}

enum st imatrix_room(struct imatrix *m, struct str name, uint64_t n_in, uint64_t n_mat,
                     struct imatrix_entry **out, struct err *e)
{
    size_t values, bytes;
    void *p;
    if (!mul_ok(n_in, n_mat, &values) || !add_ok(values, n_mat, &bytes)
        || !mul_ok(bytes, sizeof(float), &bytes) || !add_ok(bytes, name.n, &bytes))
        return st_fail(e, ST_RANGE, "the size of an entry overflows");
    enum st st = mem_alloc(&p, bytes, "an importance matrix", e);
    if (!st && (st = mem_grow(&m->list, &m->cap, m->n + 1, sizeof *m->list, "entries", e)))
        mem_free(p);
    if (st)
        return st;
    struct imatrix_entry *x = &m->list[m->n++];
    *x = (struct imatrix_entry){ .memory = p, .n_in = n_in, .n_mat = n_mat, .sum = p };
    x->count = x->sum + values;
    memcpy(x->count + n_mat, name.p, name.n);
    x->name = str_of((char *)(x->count + n_mat), name.n);
    *out = x;
    return ST_OK;
}

/* An index of the entries; a name that is there twice is an error. */
static enum st index_entries(struct imatrix *m, const char *path, struct err *e)
{
    names_free(&m->by_name);
    enum st st = names_init(&m->by_name, m->list, sizeof *m->list, m->n, e);
    for (size_t i = 0; i < m->n && !st; i++)
        if (names_add(&m->by_name, i) != NAMES_NONE)
            st = imatrix_fail(e, path, m->list[i].name, "occurs twice");
    return st;
}

enum st imatrix_check(const struct imatrix_entry *x, const char *path, struct err *e)
{
    char what[160];
    if (!x->n_in || !x->n_mat)
        return imatrix_fail(e, path, x->name, "has no values");
    for (uint64_t i = 0; i < x->n_mat * x->n_in; i++)
        if (!(x->sum[i] >= 0) || isinf(x->sum[i])) {
            snprintf(what, sizeof what,
                     "channel %llu of matrix %llu is %g; a sum of squares "
                     "cannot be",
                     (unsigned long long)(i % x->n_in), (unsigned long long)(i / x->n_in),
                     (double)x->sum[i]);
            return imatrix_fail(e, path, x->name, what);
        }
    for (uint64_t k = 0; k < x->n_mat; k++)
        if (!(x->count[k] >= 0) || x->count[k] > MOST_TOKENS
            || x->count[k] != floorf(x->count[k])) {
            snprintf(what, sizeof what,
                     "the count of matrix %llu is %g; a number of tokens cannot be",
                     (unsigned long long)k, (double)x->count[k]);
            return imatrix_fail(e, path, x->name, what);
        }
    return ST_OK;
}

struct imatrix *imatrix_new(void) { return x_alloc(sizeof(struct imatrix)); }

enum st imatrix_add(struct imatrix *m, struct str name, uint64_t n_in, uint64_t n_mat,
                    struct imatrix_entry **out, struct err *e)
{
    struct imatrix_entry *x;
    if (imatrix_find(m, name))
        return st_fail(e, ST_RANGE, "%.*s occurs twice", (int)name.n, name.p);
    enum st st = imatrix_room(m, name, n_in, n_mat, &x, e);
    if (st)
        return st;
    memset(x->sum, 0, (size_t)(n_in * n_mat + n_mat) * sizeof(float));
    *out = x;
    return index_entries(m, NULL, e);
}

void imatrix_add_dataset(struct imatrix *m, struct str name)
{
    x_grow(&m->datasets, &m->cap_datasets, m->n_datasets + 1, sizeof *m->datasets);
    m->datasets[m->n_datasets++] = x_strndup(name.p, name.n);
}

void imatrix_free(struct imatrix *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n; i++)
        mem_free(m->list[i].memory);
    for (size_t i = 0; i < m->n_datasets; i++)
        free(m->datasets[i]);
    names_free(&m->by_name);
    mem_free(m->list);
    free(m->datasets);
    gguf_free(m->file);
    shingles_drop(m->text);
    free(m);
}

const struct imatrix_entry *imatrix_find(const struct imatrix *m, struct str name)
{
    const int64_t i = m->n ? names_find(&m->by_name, name) : NAMES_NONE;
    return i == NAMES_NONE ? NULL : &m->list[i];
}

uint64_t imatrix_hash(const struct imatrix_entry *x, uint64_t seed)
{
    seed = hash_bytes(x->sum, (size_t)(x->n_mat * x->n_in) * sizeof *x->sum, seed);
    return hash_bytes(x->count, (size_t)x->n_mat * sizeof *x->count, seed);
}

bool imatrix_saw(const struct imatrix_entry *x)
{
    for (uint64_t i = 0; i < x->n_mat * x->n_in; i++)
        if (x->sum[i] > 0 && x->count[i / x->n_in] > 0)
            return true;
    return false;
}

bool imatrix_importance(const struct imatrix_entry *x, uint64_t n_in, uint64_t n_mat, uint64_t mat,
                        float *out)
{
    /* one matrix may stand for all that see the same input; the older form has them in a row */
    const bool in_a_row = n_in && x->n_mat == 1 && x->n_in / n_in == n_mat && x->n_in % n_in == 0;
    if (!in_a_row && (x->n_in != n_in || (x->n_mat != n_mat && x->n_mat != 1)))
        return false;
    const float *sum = x->sum + (in_a_row || x->n_mat > 1 ? mat * n_in : 0);
    const float count = x->count[x->n_mat > 1 ? mat : 0];
    bool seen = false;
    for (uint64_t i = 0; i < n_in; i++)
        seen |= sum[i] > 0;
    for (uint64_t i = 0; i < n_in; i++)
        out[i] = !seen ? 1 : count > 0 ? sum[i] / count : sum[i];
    return true;
}

static enum st parse(struct map map, struct imatrix *m, struct err *e)
{
    struct gguf *g;
    if (map.size >= 4 && !memcmp(map.p, "GGUF", 4)) {
        enum st st = gguf_parse(map, &g, e);
        return st ? st : imatrix_parse_gguf(g, m, e);
    }
    struct reader r = { map.p, map.size, 0, map.path, e };
    enum st st = imatrix_parse_dat(&r, m);
    map_close(&map);
    return st;
}

enum st imatrix_parse(struct map map, struct imatrix **out, struct err *e)
{
    struct imatrix *m = imatrix_new();
    char *path = x_strdup(map.path);
    enum st st = parse(map, m, e);
    if (!st)
        st = index_entries(m, path, e);
    free(path);
    if (st)
        imatrix_free(m);
    else
        *out = m;
    return st;
}

enum st imatrix_open(const char *path, struct imatrix **out, struct err *e)
{
    struct map map;
    enum st st = map_open(path, &map, e);
    return st ? st : imatrix_parse(map, out, e);
}

enum st imatrix_merge(struct imatrix *m, const struct imatrix *from, int64_t chunk_size,
                      struct err *e)
{
    const float times = from->form == IMATRIX_DAT ? (float)chunk_size : 1;
    for (size_t i = 0; i < from->n; i++) {
        const struct imatrix_entry *x = &from->list[i];
        struct imatrix_entry *y = (struct imatrix_entry *)imatrix_find(m, x->name);
        enum st st = y ? ST_OK : imatrix_add(m, x->name, x->n_in, x->n_mat, &y, e);
        if (!st && (y->n_in != x->n_in || y->n_mat != x->n_mat))
            st = st_fail(e, ST_RANGE, "%.*s has another shape in one of the files", (int)x->name.n,
                         x->name.p);
        if (st)
            return st;
        for (uint64_t k = 0; k < x->n_in * x->n_mat; k++)
            y->sum[k] += times * x->sum[k];
        for (uint64_t k = 0; k < x->n_mat; k++)
            y->count[k] += times * x->count[k];
        if ((st = imatrix_check(y, NULL, e)))
            return st;
    }
    if (m->chunks > INT32_MAX - from->chunks)
        return st_fail(e, ST_RANGE, "the files have more than %d chunks", INT32_MAX);
    for (size_t i = 0; i < from->n_datasets; i++)
        imatrix_add_dataset(m, str_from(from->datasets[i]));
    if (from->text && !m->text)
        m->text = shingles_new(from->text->vocabulary);
    if (from->text && from->text->vocabulary == m->text->vocabulary)
        shingles_merge(m->text, from->text);
    m->chunks += from->chunks;
    m->chunk_size = m->chunk_size      ? m->chunk_size
                    : from->chunk_size ? from->chunk_size
                                       : chunk_size;
    return ST_OK;
}

enum st imatrix_print(const struct imatrix *m, enum imatrix_form form, struct buf *out,
                      struct err *e)
{
    if (form == IMATRIX_DAT)
        return imatrix_print_dat(m, out, e);
    if (m->form == IMATRIX_GGUF)
        return imatrix_print_gguf(m, out, e);
    struct imatrix *other = imatrix_new();
    enum st st = imatrix_merge(other, m, IMATRIX_CHUNK, e);
    if (!st)
        st = imatrix_print_gguf(other, out, e);
    imatrix_free(other);
    return st;
}

enum st imatrix_save(const struct imatrix *m, enum imatrix_form form, const char *path,
                     struct err *e)
{
    struct buf b = { 0 };
    enum st st = imatrix_print(m, form, &b, e);
    if (!st)
        st = save_bytes(path, b.p, b.n, e);
    buf_free(&b);
    return st;
}
