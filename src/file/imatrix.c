/* SPDX-License-Identifier: MIT */
#include "file/imatrix.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "file/gguf_read.h"
#include "file/gguf_write.h"
#include "file/save.h"

enum { CHUNK_SIZE = 512 /* where nothing says */ };

static const char sums_suffix[] = ".in_sum2", counts_suffix[] = ".counts";

/* ---- entries ---- */

static enum st fail_entry(struct err *e, const char *path, struct str name, const char *what)
{
    char shown[READER_NAME];
    reader_show(shown, name);
    st_fail(e, ST_FORMAT, "`%s`: %s", shown, what);
    if (path)
        st_where(e, "%s", path);
    return ST_FORMAT;
}

/* Room for an entry at the end of the list, its arrays not set. */
static enum st add(struct imatrix *m, struct str name, uint64_t n_in, uint64_t n_mat,
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
            st = fail_entry(e, path, m->list[i].name, "occurs twice");
    return st;
}

static enum st check_entry(const struct imatrix_entry *x, const char *path, struct err *e)
{
    char what[160];
    if (!x->n_in || !x->n_mat)
        return fail_entry(e, path, x->name, "has no values");
    for (uint64_t i = 0; i < x->n_mat * x->n_in; i++)
        if (!(x->sum[i] >= 0) || isinf(x->sum[i])) {
            snprintf(what, sizeof what,
                     "channel %llu of matrix %llu is %g; a sum of squares "
                     "cannot be",
                     (unsigned long long)(i % x->n_in), (unsigned long long)(i / x->n_in),
                     (double)x->sum[i]);
            return fail_entry(e, path, x->name, what);
        }
    for (uint64_t k = 0; k < x->n_mat; k++)
        if (!(x->count[k] >= 0) || isinf(x->count[k])) {
            snprintf(what, sizeof what, "the count of matrix %llu is %g", (unsigned long long)k,
                     (double)x->count[k]);
            return fail_entry(e, path, x->name, what);
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
    enum st st = add(m, name, n_in, n_mat, &x, e);
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
    free(m);
}

const struct imatrix_entry *imatrix_find(const struct imatrix *m, struct str name)
{
    const int64_t i = m->n ? names_find(&m->by_name, name) : NAMES_NONE;
    return i == NAMES_NONE ? NULL : &m->list[i];
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

/* ---- the older form ---- */

static enum st read_floats(struct reader *r, float *out, size_t n)
{
    memcpy(out, r->p + r->at, n * sizeof *out);
    r->at += n * sizeof *out;
    return ST_OK;
}

static enum st read_length(struct reader *r, const char *what, uint32_t least, size_t unit,
                           uint32_t *out)
{
    enum st st = reader_u32(r, out, what);
    if (!st && (*out < least || *out > INT32_MAX || *out > reader_left(r) / unit))
        st = reader_fail(r, r->at - 4, ST_FORMAT, "%s claims %ld; %zu bytes are left", what,
                         (long)(int32_t)*out, reader_left(r));
    return st;
}

static enum st read_dat_entry(struct reader *r, struct imatrix *m)
{
    uint32_t n_name, calls, n;
    enum st st = read_length(r, "the name of an entry", 1, 1, &n_name);
    if (st)
        return st;
    const struct str name = str_of((const char *)r->p + r->at, n_name);
    r->at += n_name;
    if ((st = reader_u32(r, &calls, "a number of calls"))
        || (st = read_length(r, "the values of an entry", 1, sizeof(float), &n)))
        return st;
    if (calls > INT32_MAX)
        return reader_fail(r, r->at - 8, ST_FORMAT, "%ld calls", (long)(int32_t)calls);
    struct imatrix_entry *x;
    if ((st = add(m, name, n, 1, &x, r->e)) || (st = read_floats(r, x->sum, n)))
        return st;
    x->count[0] = (float)calls;
    if ((uint32_t)x->count[0] != calls)
        return reader_fail(r, r->at, ST_FORMAT, "%lu calls are too many", (unsigned long)calls);
    return check_entry(x, r->path, r->e);
}

static enum st parse_dat(struct reader *r, struct imatrix *m)
{
    uint32_t n, chunks, length;
    enum { LEAST = 4 + 1 + 4 + 4 + 4 }; /* bytes of an entry */
    m->form = IMATRIX_DAT;
    enum st st = reader_u32(r, &n, "the number of entries");
    if (!st && (!n || n > reader_left(r) / LEAST)) {
        st = reader_fail(r, 0, ST_FORMAT, "%ld entries cannot fit into %zu bytes", (long)(int32_t)n,
                         reader_left(r));
        st_hint(r->e, "an importance matrix is a GGUF file, or begins with its number of entries");
    }
    for (uint32_t i = 0; i < n && !st; i++)
        st = read_dat_entry(r, m);
    if (st || !reader_left(r))
        return st;
    m->has_trailer = true;
    if ((st = reader_u32(r, &chunks, "the number of chunks"))
        || (st = read_length(r, "the name of the text", 0, 1, &length)))
        return st;
    m->chunks = (int32_t)chunks;
    const struct str text = str_of((const char *)r->p + r->at, length);
    if (length && memchr(text.p, 0, length))
        return reader_fail(r, r->at, ST_FORMAT, "the name of the text has a zero byte");
    imatrix_add_dataset(m, text);
    r->at += length;
    return reader_left(r)
               ? reader_fail(r, r->at, ST_FORMAT, "%zu bytes after the end", reader_left(r))
               : ST_OK;
}

static void put_u32(struct buf *b, uint64_t v)
{
    const char bytes[] = { (char)v, (char)(v >> 8), (char)(v >> 16), (char)(v >> 24) };
    buf_add(b, bytes, 4);
}

static float largest(const float *x, uint64_t n)
{
    float most = 0;
    for (uint64_t i = 0; i < n; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

/* The values of an entry as the older form has them: means of squares, times the calls. */
static void print_dat_entry(const struct imatrix *m, const struct imatrix_entry *x, struct buf *out)
{
    const float size = (float)(m->chunk_size > 0 ? m->chunk_size : CHUNK_SIZE);
    const bool same = m->form == IMATRIX_DAT;
    const float calls = same ? x->count[0] : ceilf(largest(x->count, x->n_mat) / size);
    put_u32(out, x->name.n);
    buf_add(out, x->name.p, x->name.n);
    put_u32(out, (uint64_t)calls);
    put_u32(out, x->n_in * x->n_mat);
    for (uint64_t i = 0; i < x->n_in * x->n_mat; i++) {
        const float count = x->count[i / x->n_in];
        const float v = same ? x->sum[i] : (count > 0 ? x->sum[i] / count : 1) * calls;
        buf_add(out, &v, sizeof v);
    }
}

static enum st print_dat(const struct imatrix *m, struct buf *out, struct err *e)
{
    uint64_t n = 0, dropped = 0;
    for (size_t i = 0; i < m->n; i++) {
        const struct imatrix_entry *x = &m->list[i];
        if (x->n_in * x->n_mat > INT32_MAX || largest(x->count, x->n_mat) > 0x1p31f)
            return st_fail(e, ST_RANGE, "%.*s is too large for the older form", (int)x->name.n,
                           x->name.p);
        dropped += m->form == IMATRIX_GGUF && largest(x->count, x->n_mat) <= 0;
    }
    n = m->n - dropped;
    put_u32(out, n);
    for (size_t i = 0; i < m->n; i++)
        if (m->form == IMATRIX_DAT || largest(m->list[i].count, m->list[i].n_mat) > 0)
            print_dat_entry(m, &m->list[i], out);
    if (m->form == IMATRIX_DAT && !m->has_trailer)
        return ST_OK;
    const char *last = m->n_datasets ? m->datasets[m->n_datasets - 1] : "";
    put_u32(out, (uint64_t)m->chunks);
    put_u32(out, strlen(last));
    buf_adds(out, last);
    return ST_OK;
}

/* ---- GGUF ---- */

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
            return fail_entry(e, path, name,
                              i ? "has sums but no counts" : "has counts but no sums");
        if (both[i]->problem)
            return fail_entry(e, path, both[i]->name, both[i]->problem);
        if (both[i]->type_id != 0)
            return fail_entry(e, path, both[i]->name, "is not of type F32");
    }
    const uint64_t n_mat = sums->bytes / sizeof(float) / sums->ne[0];
    if (counts->bytes / sizeof(float) != n_mat)
        return fail_entry(e, path, name, "sums and counts are of different numbers of matrices");
    struct imatrix_entry *x;
    enum st st = add(m, name, sums->ne[0], n_mat, &x, e);
    if (st)
        return st;
    memcpy(x->sum, sums->data, sums->bytes);
    memcpy(x->count, counts->data, counts->bytes);
    return check_entry(x, path, e);
}

static void read_keys(struct imatrix *m)
{
    const struct gguf_kv *kv = gguf_find(m->file, "imatrix.datasets");
    for (uint64_t i = 0; kv && kv->elem == GGUF_STRING && i < kv->n; i++)
        imatrix_add_dataset(m, gguf_string(m->file, kv, i));
    const struct gguf_kv *chunks = gguf_find(m->file, "imatrix.chunk_count");
    const struct gguf_kv *size = gguf_find(m->file, "imatrix.chunk_size");
    m->chunks = chunks && gguf_is_integer(chunks->type) ? gguf_integer(chunks, 0) : 0;
    m->chunk_size = size && gguf_is_integer(size->type) ? gguf_integer(size, 0) : 0;
}

/* Takes the file over. */
static enum st parse_gguf(struct gguf *g, struct imatrix *m, struct err *e)
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
    read_keys(m);
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
                      (uint64_t)(m->chunk_size > 0 ? m->chunk_size : CHUNK_SIZE));
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

/* ---- both ---- */

static enum st parse(struct map map, struct imatrix *m, struct err *e)
{
    struct gguf *g;
    if (map.size >= 4 && !memcmp(map.p, "GGUF", 4)) {
        enum st st = gguf_parse(map, &g, e);
        return st ? st : parse_gguf(g, m, e);
    }
    struct reader r = { map.p, map.size, 0, map.path, e };
    enum st st = parse_dat(&r, m);
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
    }
    for (size_t i = 0; i < from->n_datasets; i++)
        imatrix_add_dataset(m, str_from(from->datasets[i]));
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
        return print_dat(m, out, e);
    if (m->form == IMATRIX_GGUF)
        return m->file ? print_again(m, out, e) : print_new(m, out, e);
    struct imatrix *other = imatrix_new();
    enum st st = imatrix_merge(other, m, CHUNK_SIZE, e);
    if (!st)
        st = print_new(other, out, e);
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
