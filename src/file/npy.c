/* SPDX-License-Identifier: MIT */
#include "file/npy.h"

#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "file/map.h"
#include "file/number_type.h"
#include "file/save.h"

/* Layout: 6 bytes of magic, version, u16 (u32 from version 2) header length, a Python dictionary in
 * text padded with spaces to a multiple of 64, the numbers. */
static const char magic[6] = "\x93NUMPY";

static bool count(int rank, const uint64_t *shape, size_t *n)
{
    *n = 1;
    for (int i = 0; i < rank; i++)
        if (__builtin_mul_overflow(*n, shape[i], n))
            return false;
    size_t bytes;
    return mul_ok(*n, sizeof(float), &bytes) && bytes <= SIZE_MAX / 2;
}

enum st npy_write(const char *path, int rank, const uint64_t *shape, const float *data,
                  struct progress *progress, struct err *e)
{
    size_t n;
    if (rank < 0 || rank > NPY_MAX_RANK || !count(rank, shape, &n))
        return st_fail(e, ST_RANGE, "an array of %d axes cannot be written", rank);
    struct buf head = { 0 };
    buf_adds(&head, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    for (int i = 0; i < rank; i++)
        buf_printf(&head,
                   rank == 1 ? "%llu,"
                   : i       ? ", %llu"
                             : "%llu",
                   (unsigned long long)shape[i]);
    buf_adds(&head, "), }");
    while ((10 + head.n + 1) % 64)
        buf_addc(&head, ' ');
    buf_addc(&head, '\n');
    struct save s;
    enum st st = save_open(&s, path, e);
    if (!st) {
        fwrite(magic, 1, sizeof magic, s.f);
        const uint8_t version[4] = { 1, 0, (uint8_t)head.n, (uint8_t)(head.n >> 8) };
        fwrite(version, 1, sizeof version, s.f);
        fwrite(head.p, 1, head.n, s.f);
        st = save_end(&s, save_write(&s, data, n * sizeof *data, progress, e), e);
    }
    buf_free(&head);
    return st;
}

/* ---- reading ---- */

struct text {
    const char *p, *end;
};

static void blanks(struct text *t)
{
    while (t->p < t->end && (*t->p == ' ' || *t->p == '\n'))
        t->p++;
}

static bool take(struct text *t, const char *s)
{
    blanks(t);
    size_t n = strlen(s);
    if ((size_t)(t->end - t->p) < n || memcmp(t->p, s, n))
        return false;
    t->p += n;
    return true;
}

static bool read_shape(struct text *t, struct npy *a)
{
    if (!take(t, "("))
        return false;
    for (a->rank = 0; !take(t, ")"); a->rank++) {
        blanks(t);
        const char *start = t->p;
        while (t->p < t->end && *t->p >= '0' && *t->p <= '9')
            t->p++;
        int64_t v;
        struct err ignored;
        if (a->rank == NPY_MAX_RANK
            || parse_i64(str_of(start, (size_t)(t->p - start)), 0, INT64_MAX, &v, &ignored))
            return false;
        a->shape[a->rank] = (uint64_t)v;
        take(t, ",");
    }
    return true;
}

/* '<f4' */
static bool read_type(struct text *t, enum number_type *out)
{
    if (!take(t, "'"))
        return false;
    const char *from = t->p, *quote = memchr(from, '\'', (size_t)(t->end - from));
    if (!quote)
        return false;
    *out = number_of_numpy(str_of(from, (size_t)(quote - from)));
    t->p = quote + 1;
    return *out != NUMBER__COUNT;
}

/* {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } in any order. */
static enum st read_header(struct text t, struct npy *a, enum number_type *number, struct err *e)
{
    bool type = false, order = false, shape = false, supported = true;
    if (!take(&t, "{"))
        return st_fail(e, ST_FORMAT, "the .npy header is not a dictionary");
    while (!take(&t, "}")) {
        if (take(&t, "'descr':")) {
            type = read_type(&t, number);
            supported = supported && type;
        } else if (take(&t, "'fortran_order':")) {
            order = take(&t, "False");
            supported = supported && order;
        } else if (!take(&t, "'shape':") || !(shape = read_shape(&t, a)))
            return st_fail(e, ST_FORMAT, "the .npy header cannot be read");
        if (!supported)
            return st_fail(e, ST_UNSUPPORTED,
                           "qdb reads .npy files of '<f4', '<f2' and '<f8' in C order");
        take(&t, ",");
    }
    if (!type || !order || !shape)
        return st_fail(e, ST_FORMAT, "the .npy header lacks descr, fortran_order or shape");
    return ST_OK;
}

/* *data: the first number behind the header; what is said fits what is there. */
static enum st parse_header(const uint8_t *p, size_t size, struct npy *out, enum number_type *type,
                            const uint8_t **data, struct err *e)
{
    if (size < 12 || memcmp(p, magic, sizeof magic))
        return st_fail(e, ST_FORMAT, "not a .npy file");
    if (p[6] < 1 || p[6] > 3)
        return st_fail(e, ST_UNSUPPORTED, ".npy version %d; qdb reads 1 to 3", p[6]);
    size_t start = p[6] == 1 ? 10 : 12, n = (size_t)p[8] | (size_t)p[9] << 8;
    if (p[6] > 1)
        n |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
    if (n > size - start)
        return st_fail(e, ST_FORMAT, "the .npy header of %zu bytes ends outside the file", n);
    struct npy a = { 0 };
    const char *head = (const char *)p + start;
    enum st st = read_header((struct text){ head, head + n }, &a, type, e);
    if (st)
        return st;
    size_t bytes = size - start - n, needed;
    if (!count(a.rank, a.shape, &a.n) || !mul_ok(a.n, number_bytes(*type), &needed)
        || needed != bytes)
        return st_fail(e, ST_FORMAT, "the .npy shape does not fit the %zu bytes of data", bytes);
    *data = p + start + n;
    *out = a;
    return ST_OK;
}

static enum st parse(const uint8_t *p, size_t size, struct npy *out, struct err *e)
{
    struct npy a;
    enum number_type type = NUMBER_F32;
    const uint8_t *from;
    void *data;
    enum st st = parse_header(p, size, &a, &type, &from, e);
    if (!st)
        st = mem_alloc(&data, a.n * sizeof(float), "the array", e);
    if (st)
        return st;
    a.data = data;
    number_floats(type, from, a.n, a.data);
    *out = a;
    return ST_OK;
}

enum st npy_look(const char *path, struct npy *out, struct err *e)
{
    struct map map;
    enum number_type type = NUMBER_F32;
    const uint8_t *from;
    enum st st = map_open(path, &map, e);
    if (st)
        return st;
    if ((st = parse_header(map.p, map.size, out, &type, &from, e)))
        st_where(e, "%s", path);
    map_close(&map);
    return st;
}

enum st npy_parse(const void *p, size_t n, const char *name, struct npy *out, struct err *e)
{
    enum st st = parse(p, n, out, e);
    if (st)
        st_where(e, "%s", name);
    return st;
}

enum st npy_read(const char *path, struct npy *out, struct err *e)
{
    struct map map;
    enum st st = map_open(path, &map, e);
    if (st)
        return st;
    st = npy_parse(map.p, map.size, path, out, e);
    map_close(&map);
    return st;
}

void npy_free(struct npy *a)
{
    mem_free(a->data);
    *a = (struct npy){ 0 };
}
