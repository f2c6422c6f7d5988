/* SPDX-License-Identifier: MIT */
/* Importance matrices as GGUF files: tensors of sums and of counts, in pairs. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "file/gguf_write.h"
#include "file/imatrix_forms.h"

static const char sums_suffix[] = ".in_sum2", counts_suffix[] = ".counts";

static const struct gguf_tensor *partner(const struct gguf *g, const struct names *tensors,
                                         struct str base, const char *suffix)
{
    struct buf name = { 0 };
    buf_add(&name, base.p, base.n);
    buf_adds(&name, suffix);
    const int64_t i = names_find(tensors, str_of(name.p, name.n));
    buf_free(&name);
    return i == NAMES_NONE ? NULL : &g->tensors[i];
}

static enum st read_pair(struct imatrix *m, struct str name, const struct gguf_tensor *sums,
                         const struct gguf_tensor *counts, struct err *e)
{
    const char *path = m->file->map.path;
    const struct gguf_tensor *both[] = { sums, counts };
    for (int i = 0; i < 2; i++) {
        if (!both[i])
            return imatrix_fail(e, path, name,
                              i ? "has sums but no counts" : "has counts but no sums");
        if (both[i]->problem)
            return imatrix_fail(e, path, both[i]->name, both[i]->problem);
        if (both[i]->type_id != 0)
            return imatrix_fail(e, path, both[i]->name, "is not of type F32");
    }
    const uint64_t n_mat = sums->bytes / sizeof(float) / sums->ne[0];
    if (counts->bytes / sizeof(float) != n_mat)
        return imatrix_fail(e, path, name, "sums and counts are of different numbers of matrices");
    struct imatrix_entry *x;
    enum st st = imatrix_room(m, name, sums->ne[0], n_mat, &x, e);
    if (st)
        return st;
    memcpy(x->sum, sums->data, sums->bytes);
    memcpy(x->count, counts->data, counts->bytes);
    return imatrix_check(x, path, e);
}

/* A number of chunks, or of tokens in one; absent: 0. */
static enum st read_count(const struct imatrix *m, const char *key, int64_t *out, struct err *e)
{
    const struct gguf_kv *kv = gguf_find(m->file, key);
    const int64_t v = kv && gguf_is_integer(kv->type) ? gguf_integer(kv, 0) : 0;
    if (v < 0 || v > INT32_MAX) {
        st_fail(e, ST_FORMAT, "%s is %" PRId64, key, v);
        return st_where(e, "%s", m->file->map.path);
    }
    *out = v;
    return ST_OK;
}

static enum st read_keys(struct imatrix *m, struct err *e)
{
    const struct gguf_kv *kv = gguf_find(m->file, "imatrix.datasets");
    for (uint64_t i = 0; kv && kv->elem == GGUF_STRING && i < kv->n; i++)
        imatrix_add_dataset(m, gguf_string(m->file, kv, i));
    enum st st = read_count(m, "imatrix.chunk_count", &m->chunks, e);
    if (!st)
        st = read_count(m, "imatrix.chunk_size", &m->chunk_size, e);
    return st ? st : shingles_get(m->file, &m->text, e);
}

enum st imatrix_parse_gguf(struct gguf *g, struct imatrix *m, struct err *e)
{
    m->file = g;
    m->form = IMATRIX_GGUF;
    const struct gguf_kv *type = gguf_find(g, "general.type");
    struct names tensors = { 0 };
    if (!type || type->type != GGUF_STRING || !str_is(gguf_string(g, type, 0), "imatrix")) {
        st_fail(e, ST_FORMAT, "general.type is not `imatrix`: this is no importance matrix");
        return st_where(e, "%s", g->map.path);
    }
    enum st st = names_init(&tensors, g->tensors, sizeof *g->tensors, g->n_tensors, e);
    for (size_t i = 0; i < g->n_tensors && !st; i++)
        (void)names_add(&tensors, i);
    for (size_t i = 0; i < g->n_tensors && !st; i++) {
        const struct gguf_tensor *t = &g->tensors[i];
        if (str_ends(t->name, sums_suffix)) {
            const struct str name = str_of(t->name.p, t->name.n - (sizeof sums_suffix - 1));
            st = read_pair(m, name, t, partner(g, &tensors, name, counts_suffix), e);
        } else if (str_ends(t->name, counts_suffix)) {
            const struct str name = str_of(t->name.p, t->name.n - (sizeof counts_suffix - 1));
            if (!partner(g, &tensors, name, sums_suffix))
                st = read_pair(m, name, NULL, t, e);
        }
    }
    names_free(&tensors);
    if (!st)
        st = read_keys(m, e);
    if (!st && !m->n) {
        st = st_fail(e, ST_FORMAT, "there is no tensor NAME%s in it", sums_suffix);
        st_where(e, "%s", g->map.path);
    }
    return st;
}

/* Append a planned file: its header, then the data of the tensors. */
static void print_file(const struct gguf_file *f, const void *const *data, struct buf *out)
{
    static const char zeros[GGUF_ALIGNMENT];
    gguf_header(f, out);
    for (size_t i = 0; i < f->n_tensors; i++) {
        uint64_t pad = gguf_room(f, i) - f->tensors[i].bytes;
        buf_add(out, data[i], f->tensors[i].bytes);
        for (; pad; pad -= pad < sizeof zeros ? pad : sizeof zeros)
            buf_add(out, zeros, pad < sizeof zeros ? pad : sizeof zeros);
    }
}

/* The tensors of the file that it was read from, in its order, those that are not ours too. */
static enum st print_again(const struct imatrix *m, struct buf *out, struct err *e)
{
    const struct gguf *g = m->file;
    const void **data = x_alloc((g->n_tensors + 1) * sizeof *data);
    struct gguf_tensor *tensors = x_alloc((g->n_tensors + 1) * sizeof *tensors);
    struct gguf_file f = { .kvs = g->kvs, .n_kvs = g->n_kvs, .tensors = tensors };
    for (size_t i = 0; i < g->n_tensors; i++) {
        if (!g->tensors[i].data)
            continue;
        tensors[f.n_tensors] = g->tensors[i];
        data[f.n_tensors++] = g->tensors[i].data;
    }
    const size_t before = out->n;
    enum st st = gguf_plan(&f, e);
    if (!st)
        print_file(&f, data, out);
    /* some writers leave out the padding after the last tensor */
    if (!st && f.n_tensors && out->n - before > g->map.size
        && f.size - gguf_room(&f, f.n_tensors - 1) + tensors[f.n_tensors - 1].bytes <= g->map.size)
        out->n = before + g->map.size;
    free(tensors);
    free(data);
    return st;
}

static void print_keys(const struct imatrix *m, struct gguf_meta *meta)
{
    struct str *list = x_alloc((m->n_datasets + 1) * sizeof *list);
    for (size_t i = 0; i < m->n_datasets; i++)
        list[i] = str_from(m->datasets[i]);
    gguf_meta_string(meta, "general.type", STR("imatrix"));
    gguf_meta_strings(meta, "imatrix.datasets", list, m->n_datasets);
    gguf_meta_integer(meta, "imatrix.chunk_count", GGUF_U32, (uint64_t)m->chunks);
    gguf_meta_integer(meta, "imatrix.chunk_size", GGUF_U32,
                      (uint64_t)(m->chunk_size > 0 ? m->chunk_size : IMATRIX_CHUNK));
    if (m->text)
        shingles_put(m->text, meta);
    free(list);
}

static enum st print_new(const struct imatrix *m, struct buf *out, struct err *e)
{
    struct gguf_meta meta = { 0 };
    const void **data = x_alloc((2 * m->n + 1) * sizeof *data);
    char **names = x_alloc((2 * m->n + 1) * sizeof *names);
    struct gguf_tensor *tensors = x_alloc((2 * m->n + 1) * sizeof *tensors);
    for (size_t i = 0; i < 2 * m->n; i++) {
        const struct imatrix_entry *x = &m->list[i / 2];
        struct buf name = { 0 };
        buf_add(&name, x->name.p, x->name.n);
        buf_adds(&name, i % 2 ? counts_suffix : sums_suffix);
        names[i] = buf_take(&name);
        const uint64_t cols = i % 2 ? 1 : x->n_in;
        tensors[i] = (struct gguf_tensor){ .name = str_from(names[i]),
                                           .rank = 2,
                                           .ne = { cols, x->n_mat, 1, 1 },
                                           .bytes = (size_t)(cols * x->n_mat) * sizeof(float) };
        data[i] = i % 2 ? x->count : x->sum;
    }
    print_keys(m, &meta);
    struct gguf_file f = {
        .kvs = meta.list, .n_kvs = meta.n, .tensors = tensors, .n_tensors = 2 * m->n
    };
    enum st st = gguf_plan(&f, e);
    if (!st)
        print_file(&f, data, out);
    for (size_t i = 0; i < 2 * m->n; i++)
        free(names[i]);
    free(tensors);
    free(names);
    free(data);
    gguf_meta_free(&meta);
    return st;
}

enum st imatrix_print_gguf(const struct imatrix *m, struct buf *out, struct err *e)
{
    return m->file ? print_again(m, out, e) : print_new(m, out, e);
}
