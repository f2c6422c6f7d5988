/* SPDX-License-Identifier: MIT */
#include "file/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "file/gguf_read.h"
#include "kernels/decoder.h"
#include "kernels/level.h"

/* ---- opening ---- */

static enum st add_file(struct weights *w, struct map map, struct err *e)
{
    struct gguf *g;
    enum st st = gguf_parse(map, &g, e);
    if (st)
        return st;
    x_grow(&w->files, &w->cap_files, w->n_files + 1, sizeof *w->files);
    w->files[w->n_files++] = g;
    return ST_OK;
}

static enum st add_path(struct weights *w, const char *path, struct err *e)
{
    struct map map;
    enum st st = map_open(path, &map, e);
    return st ? st : add_file(w, map, e);
}

static int64_t scalar(const struct gguf *g, const char *key, int64_t otherwise)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    return kv && gguf_is_integer(kv->type) ? gguf_integer(kv, 0) : otherwise;
}

/* Name of part i (from 0) of n. */
static char *part_path(const char *stem, int stem_length, int64_t i, int64_t n)
{
    struct buf b = { 0 };
    buf_printf(&b, "%.*s-%05lld-of-%05lld.gguf", stem_length, stem, (long long)i + 1, (long long)n);
    return buf_take(&b);
}

enum { SPLIT_TAIL = sizeof "-00001-of-00003.gguf" - 1, SPLIT_MAX = 65535 };

static enum st bad_part(struct err *e, const char *path, const char *what, int64_t is,
                        int64_t should)
{
    st_fail(e, ST_FORMAT, "%s is %lld; %lld would belong here", what, (long long)is,
            (long long)should);
    st_where(e, "%s", path);
    return ST_FORMAT;
}

/* The opened file says that it is one part of `count`; open them all in order. */
static enum st open_parts(struct weights *w, const char *path, int64_t count, struct err *e)
{
    struct gguf *given = w->files[0];
    int64_t no = scalar(given, "split.no", -1), total = scalar(given, "split.tensors.count", -1);
    int stem = (int)strlen(path) - SPLIT_TAIL;
    char *expected = count <= SPLIT_MAX && no >= 0 && no < count && stem > 0
                         ? part_path(path, stem, no, count)
                         : NULL;
    bool named = expected && !strcmp(expected, path);
    free(expected);
    if (!named) {
        st_fail(e, ST_FORMAT,
                "the file is part %lld of %lld of a split, but its name does not say so",
                (long long)no + 1, (long long)count);
        st_where(e, "%s", path);
        st_hint(e, "parts are found by name: NAME-00001-of-00003.gguf");
        return ST_FORMAT;
    }
    w->n_files = 0;
    enum st st = ST_OK;
    uint64_t n = 0;
    for (int64_t i = 0; i < count && !st; i++) {
        char *part = part_path(path, stem, i, count);
        if (i == no) {
            x_grow(&w->files, &w->cap_files, w->n_files + 1, sizeof *w->files);
            w->files[w->n_files++] = given;
            given = NULL;
        } else if ((st = add_path(w, part, e)))
            st_hint(e, "all %lld parts of the split must lie beside each other", (long long)count);
        else if (scalar(w->files[i], "split.no", -1) != i)
            st = bad_part(e, part, "split.no", scalar(w->files[i], "split.no", -1), i);
        else if (scalar(w->files[i], "split.count", -1) != count)
            st = bad_part(e, part, "split.count", scalar(w->files[i], "split.count", -1), count);
        if (!st)
            n += w->files[i]->n_tensors;
        free(part);
    }
    gguf_free(given);
    if (!st && total >= 0 && n != (uint64_t)total)
        st = bad_part(e, path, "split.tensors.count", total, (int64_t)n);
    return st;
}

/* ---- the list ---- */

static void fill(struct weights *w, struct weight *x, const struct gguf_tensor *t, int file)
{
    *x = (struct weight){ .name = t->name,
                          .rank = t->rank,
                          .cols = t->ne[0],
                          .format = t->format,
                          .type_id = t->type_id,
                          .bytes = t->bytes,
                          .data = t->data,
                          .problem = t->problem,
                          .offset = t->offset,
                          .file = file };
    memcpy(x->ne, t->ne, sizeof x->ne);
    x->rows = 1;
    for (int d = 1; d < GGUF_MAX_RANK; d++)
        if (__builtin_mul_overflow(x->rows, t->ne[d], &x->rows)) {
            x->rows = 0;
            break;
        }
    if (x->problem)
        return;
    x->row_bytes = x->bytes / x->rows;
    w->n_params += x->rows * x->cols;
    w->n_bytes += x->bytes;
}

static enum st build_list(struct weights *w, struct err *e)
{
    for (size_t f = 0; f < w->n_files; f++)
        w->n += w->files[f]->n_tensors;
    void *p;
    enum st st = w->n < INT32_MAX ? ST_OK : st_fail(e, ST_FORMAT, "%zu tensors are too many", w->n);
    if (!st)
        st = mem_alloc(&p, w->n * sizeof *w->list, "the list of weights", e);
    if (st)
        return st;
    w->list = p;
    if ((st = names_init(&w->by_name, w->list, sizeof *w->list, w->n, e)))
        return st;
    size_t i = 0;
    for (size_t f = 0; f < w->n_files; f++)
        for (size_t t = 0; t < w->files[f]->n_tensors; t++, i++) {
            fill(w, &w->list[i], &w->files[f]->tensors[t], (int)f);
            if (names_add(&w->by_name, i) == NAMES_NONE)
                continue;
            char name[READER_NAME];
            reader_show(name, w->list[i].name);
            st_fail(e, ST_FORMAT, "tensor `%s` is in two parts of the split", name);
            st_where(e, "%s", w->files[f]->map.path);
            return ST_FORMAT;
        }
    return ST_OK;
}

/* Numbers that belong to a matrix NAME.weight are tensors of their own: NAME.scale its products are
 * times, NAME.input_scale is what activations in 4 bits would be divided by: nothing here reads it.
 * Other tensors of these names (of another type, or number of elements) are something else. */
static void find_scales(struct weights *w)
{
    static const char *const tails[] = { ".scale", ".input_scale" };
    for (size_t i = 0; i < 2 * w->n; i++) {
        struct weight *x = &w->list[i / 2];
        if (!str_ends(x->name, tails[i % 2]) || x->problem || x->format != format_by_name("f32"))
            continue;
        struct buf name = { 0 };
        buf_printf(&name, "%.*s.weight", (int)(x->name.n - strlen(tails[i % 2])), x->name.p);
        const int64_t of = names_find(&w->by_name, str_of(name.p, name.n));
        struct weight *matrix = of == NAMES_NONE ? NULL : &w->list[of];
        buf_free(&name);
        if (!matrix || matrix->problem || matrix->rank < 2
            || x->rows * x->cols != matrix->rows / weight_matrix_rows(matrix))
            continue;
        x->beside = matrix;
        if (i % 2 == 0)
            matrix->scale = x->data;
    }
}

static enum st finish(struct weights *w, enum st st, struct weights **out, struct err *e)
{
    if (!st)
        st = build_list(w, e);
    if (!st)
        find_scales(w);
    if (st)
        weights_close(w);
    else
        *out = w;
    return st;
}

enum st weights_open(const char *path, struct weights **out, struct err *e)
{
    struct weights *w = x_alloc(sizeof *w);
    enum st st = add_path(w, path, e);
    int64_t count = st ? 0 : scalar(w->files[0], "split.count", 0);
    if (count > 1)
        st = open_parts(w, path, count, e);
    if (!st)
        w->path = x_strdup(w->files[0]->map.path);
    return finish(w, st, out, e);
}

enum st weights_borrow(const void *p, size_t size, const char *name, struct weights **out,
                       struct err *e)
{
    struct weights *w = x_alloc(sizeof *w);
    w->path = x_strdup(name);
    return finish(w, add_file(w, map_borrow(p, size, name), e), out, e);
}

enum st weights_use(const struct weights *w, struct err *e)
{
    enum st st = ST_OK;
    for (size_t i = 0; i < w->n_files && !st; i++)
        st = map_use(&w->files[i]->map, e);
    return st;
}

void weights_close(struct weights *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->n_files; i++)
        gguf_free(w->files[i]);
    names_free(&w->by_name);
    mem_free(w->list);
    free(w->files);
    free(w->path);
    free(w);
}

/* ---- looking things up ---- */

const struct weight *weights_find(const struct weights *w, struct str name)
{
    int64_t i = names_find(&w->by_name, name);
    return i == NAMES_NONE ? NULL : &w->list[i];
}

const struct gguf_kv *weights_kv(const struct weights *w, const char *key)
{
    return gguf_find(w->files[0], key);
}

struct str weights_string(const struct weights *w, const char *key, const char *otherwise)
{
    const struct gguf_kv *kv = weights_kv(w, key);
    if (kv && kv->type == GGUF_STRING)
        return gguf_string(w->files[0], kv, 0);
    return otherwise ? str_from(otherwise) : (struct str){ 0 };
}

double weights_number(const struct weights *w, const char *key, double otherwise)
{
    const struct gguf_kv *kv = weights_kv(w, key);
    return kv && gguf_is_number(kv->type) ? gguf_number(kv, 0) : otherwise;
}

int64_t weights_integer(const struct weights *w, const char *key, int64_t otherwise)
{
    return scalar(w->files[0], key, otherwise);
}

/* ---- decoding ---- */

static enum st at_tensor(struct err *e, const struct weight *w, enum st st)
{
    char name[READER_NAME];
    reader_show(name, w->name);
    st_where(e, "%s", name);
    return st;
}

enum st weight_check(const struct weight *w, struct err *e)
{
    enum st st;
    const struct format_info *f = format_info(w->format);
    if (w->problem || !w->data || !f)
        st = st_fail(e, ST_FORMAT, "the tensor cannot be read: %s",
                     w->problem ? w->problem : "no data");
    else if (!f->decode)
        st = st_fail(e, ST_UNSUPPORTED, "%s is known by name and size only; it cannot be decoded",
                     f->type);
    else
        return ST_OK;
    return at_tensor(e, w, st);
}

uint64_t weight_matrix_rows(const struct weight *w)
{
    return w->rank > 2 && w->ne[1] ? w->ne[1] : w->rows;
}

static const uint8_t *scale_of(const struct weight *w, uint64_t row)
{
    return w->scale ? w->scale + row / weight_matrix_rows(w) * sizeof(float) : NULL;
}

float weight_scale(const struct weight *w, uint64_t row)
{
    float scale = 1;
    if (w->scale)
        memcpy(&scale, scale_of(w, row), sizeof scale);
    return scale;
}

void weight_scale_name(const struct weight *w, struct buf *out)
{
    const int tail = str_ends(w->name, ".weight") ? sizeof ".weight" - 1 : 0;
    buf_printf(out, "%.*s.scale", (int)w->name.n - tail, w->name.p);
}

bool weight_same_scales(const struct weight *a, const struct weight *b)
{
    if (!a->scale && !b->scale)
        return true;
    bool same = !memcmp(a->ne, b->ne, sizeof a->ne);
    for (uint64_t r = 0; same && r < a->rows; r += weight_matrix_rows(a)) {
        const float of_a = weight_scale(a, r), of_b = weight_scale(b, r);
        same = !memcmp(&of_a, &of_b, sizeof of_a);
    }
    return same;
}

uint64_t weight_hash(const struct weight *w, uint64_t seed)
{
    const uint64_t h = hash_bytes(w->data, w->bytes, seed), n = w->rows / weight_matrix_rows(w);
    return w->scale ? hash_bytes(w->scale, (size_t)n * sizeof(float), h) : h;
}

struct matrix weight_matrix(const struct weight *w, uint64_t row, uint64_t n)
{
    return (struct matrix){ w->format,        w->data + row * w->row_bytes,
                            w->row_bytes,     (int64_t)n,
                            (int64_t)w->cols, scale_of(w, row) };
}

void weight_decode_flat(const struct weight *w, uint64_t at, uint64_t n, float *dst)
{
    const struct decoder d = decoder_of(w->format);
    const uint64_t matrix = w->scale ? weight_matrix_rows(w) * w->cols : 0;
    level_now()->decode(&d, w->data + decoder_bytes(&d, (int64_t)at), dst, (int64_t)n);
    for (uint64_t i = 0; w->scale && i < n;) {
        const uint64_t left = matrix - (at + i) % matrix, end = left < n - i ? i + left : n;
        const float scale = weight_scale(w, (at + i) / w->cols);
        for (; i < end; i++)
            dst[i] *= scale;
    }
}

enum st weight_decode(const struct weight *w, uint64_t row, uint64_t n, float *dst, struct err *e)
{
    enum st st = weight_check(w, e);
    if (st)
        return st;
    if (row > w->rows || n > w->rows - row) {
        st_fail(e, ST_RANGE, "rows %llu..%llu do not exist; there are %llu",
                (unsigned long long)row, (unsigned long long)(row + n - 1),
                (unsigned long long)w->rows);
        return at_tensor(e, w, ST_RANGE);
    }
    weight_decode_flat(w, row * w->cols, n * w->cols, dst);
    return ST_OK;
}
