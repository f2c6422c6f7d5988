/* SPDX-License-Identifier: MIT */
/* Importance matrices in the older form: entries of a name, calls and means, one after another. */
#include <math.h>
#include <string.h>

#include "file/imatrix_forms.h"

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
    if ((st = imatrix_room(m, name, n, 1, &x, r->e)) || (st = read_floats(r, x->sum, n)))
        return st;
    x->count[0] = (float)calls;
    if ((uint32_t)x->count[0] != calls)
        return reader_fail(r, r->at, ST_FORMAT, "%lu calls are too many", (unsigned long)calls);
    return imatrix_check(x, r->path, r->e);
}

enum st imatrix_parse_dat(struct reader *r, struct imatrix *m)
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
    if (chunks > INT32_MAX)
        return reader_fail(r, r->at - 8, ST_FORMAT, "%ld chunks", (long)(int32_t)chunks);
    m->chunks = (int64_t)chunks;
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
    const float size = (float)(m->chunk_size > 0 ? m->chunk_size : IMATRIX_CHUNK);
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

enum st imatrix_print_dat(const struct imatrix *m, struct buf *out, struct err *e)
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
