/* SPDX-License-Identifier: MIT */
#include "quant/provider.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "file/temporary.h"
#include "kernels/encode.h"
#include "kernels/statistics.h"
#include "quant/second_scale.h"

/* Elements between two looks at ^C, of a sum, decoded at a time. */
enum { SLICE = 1 << 22, CHUNK = 1 << 16, PIECE = STATISTICS_CHUNK };

double quant_sqnr(double signal, double noise)
{
    if (noise > 0)
        return 10 * log10(signal / noise);
    return signal > 0 ? (double)INFINITY : (double)NAN;
}

enum st quant_format(const struct numeric *f, const struct weight *w, struct numeric *out,
                     struct err *e)
{
    struct numeric got = *f;
    enum st st = ST_OK;
    if (f->base == NUMERIC_STORAGE)
        got.storage = encode_fallback(f->storage, w->cols);
    if (got.storage != f->storage || (numeric_second_scale(f) && !second_scale_read(w)))
        got = numeric_storage(got.storage);
    const char *missing = f->base == NUMERIC_STORAGE ? encode_missing(got.storage) : NULL;
    if (missing)
        st = st_fail(e, ST_UNSUPPORTED, "%s cannot be written: %s", format_info(f->storage)->name,
                     missing);
    else if (f->fixed)
        st = st_fail(e, ST_UNSUPPORTED, "static ranges are for activations");
    else
        st = numeric_fits(&got, w->cols, e);
    if (!st)
        *out = got;
    else
        st_where(e, "%.*s", (int)w->name.n, w->name.p);
    return st;
}

uint64_t quant_bytes(const struct numeric *f, const struct weight *w)
{
    const uint64_t scales = numeric_second_scale(f) ? w->rows / weight_matrix_rows(w) : 0;
    return numeric_bytes(f, w->rows, w->cols) + scales * sizeof(float);
}

/* ---- making ---- */

/* Room for what is made: up to half of the budget in memory, on the disk beyond, where there is any
 * for it. */
static enum st room(void **out, size_t bytes, const char *what, struct err *e)
{
    const size_t half = mem_budget() / 2, used = mem_used();
    if (half && (used > half || bytes > half - used)
        && !temporary_alloc(out, bytes, what, NULL))
        return ST_OK;
    return mem_alloc(out, bytes, what, e);
}

static bool tick(const struct quant_request *q, double elements)
{
    return progress_tick(q->progress, "quantizing", q->done + elements, q->total);
}

/* Does the importance belong to a weight of this shape? */
static bool fits(const struct imatrix_entry *x, const struct weight *w, float *scratch)
{
    return x && imatrix_saw(x)
           && imatrix_importance(x, w->cols, w->rows / weight_matrix_rows(w), 0, scratch);
}

/* The numbers of w in format f. */
static enum st make_storage(const struct quant_request *q, const struct weight *w, enum format f,
                            char *data, bool *weighted, struct err *e)
{
    const uint64_t per_matrix = weight_matrix_rows(w);
    const uint64_t slice = w->cols && SLICE / w->cols ? SLICE / w->cols : 1;
    float *by = x_scratch((size_t)w->cols * sizeof *by);
    size_t row_bytes = 0;
    enum st st = ST_OK;
    if (!format_row_bytes(f, w->cols, &row_bytes))
        st = st_fail(e, ST_RANGE, "rows of %llu", (unsigned long long)w->cols);
    *weighted = !st && fits(q->importance, w, by);
    for (uint64_t r = 0; r < w->rows && !st;) {
        const uint64_t left = per_matrix - r % per_matrix;
        if (*weighted && r % per_matrix == 0) /* fits: cannot fail */
            imatrix_importance(q->importance, w->cols, w->rows / per_matrix, r / per_matrix, by);
        const struct quant_piece p = { .from = w,
                                       .row = r,
                                       .rows = left < slice ? left : slice,
                                       .importance = *weighted ? by : NULL,
                                       .pool = q->pool,
                                       .cancel = q->progress ? q->progress->cancel : NULL };
        st = tick(q, (double)(r * w->cols)) ? q->method->encode(&p, f, data + r * row_bytes, e)
                                            : st_fail(e, ST_CANCELLED, "interrupted");
        if (st == ST_RANGE && r)
            st_hint(e, "rows are counted from row %llu", (unsigned long long)r);
        r += p.rows;
    }
    free(by);
    return st;
}

static enum st make_simulated(const struct quant_request *q, const struct numeric *f, float *data,
                              struct err *e)
{
    const struct weight *w = q->from;
    const uint64_t slice = w->cols && SLICE / w->cols ? SLICE / w->cols : 1;
    enum st st = ST_OK;
    for (uint64_t r = 0; r < w->rows && !st; r += slice) {
        const uint64_t n = w->rows - r < slice ? w->rows - r : slice;
        st = tick(q, (double)(r * w->cols)) ? weight_decode(w, r, n, data + r * w->cols, e)
                                            : st_fail(e, ST_CANCELLED, "interrupted");
    }
    if (st)
        return st;
    return numeric_simulate(f, data, (int64_t)w->rows, (int64_t)w->cols, q->pool,
                            q->progress ? q->progress->cancel : NULL, e);
}

/* The format in which the form lies in memory. */
static enum format stored(const struct numeric *f, const struct weight *w)
{
    if (f->base == NUMERIC_STORAGE)
        return f->storage;
    if (f->base != NUMERIC_DROP)
        return format_by_name("f32");
    return format_by_name(w->cols % 32 ? "f16" : "q8_0"); /* zero bytes are zeros in both */
}

/* The same, with what is left when a scale for each matrix has been taken out. */
static enum st make_scaled(const struct quant_request *q, enum format f, char *data, float **scales,
                           bool *weighted, struct err *e)
{
    struct weight rest = *q->from;
    const uint64_t per = weight_matrix_rows(&rest), n = rest.rows / per;
    enum st st = second_scales(q->from, q->pool, q->progress ? q->progress->cancel : NULL, scales,
                               e);
    if (st)
        return st;
    float *times = x_alloc((size_t)n * sizeof *times);
    for (uint64_t i = 0; i < n; i++)
        times[i] = weight_scale(q->from, i * per) / (*scales)[i];
    rest.scale = (const uint8_t *)times;
    if ((st = make_storage(q, &rest, f, data, weighted, e))) {
        mem_free(*scales);
        *scales = NULL;
    }
    free(times);
    return st;
}

static enum st make(const struct quant_request *q, const struct numeric *f, struct form **out,
                    bool *weighted, struct err *e)
{
    void *data;
    float *scales = NULL;
    size_t row, bytes = 0;
    const enum format in = stored(f, q->of);
    enum st st = weight_check(q->from, e);
    if (!st && (!format_row_bytes(in, q->of->cols, &row) || !mul_ok(row, q->of->rows, &bytes)))
        st = st_fail(e, ST_RANGE, "the size overflows");
    char what[64];
    snprintf(what, sizeof what, "%.*s", (int)(q->of->name.n > 60 ? 60 : q->of->name.n),
             q->of->name.p);
    if (!st)
        st = room(&data, bytes, what, e);
    if (st)
        return st;
    if (numeric_second_scale(f))
        st = make_scaled(q, f->storage, data, &scales, weighted, e);
    else if (f->base == NUMERIC_STORAGE)
        st = make_storage(q, q->from, f->storage, data, weighted, e);
    else if (f->base == NUMERIC_DROP)
        memset(data, 0, bytes);
    else
        st = make_simulated(q, f, data, e);
    if (st) {
        mem_free(data);
        if (st != ST_CANCELLED && st != ST_NOMEM)
            st_where(e, "%.*s", (int)q->of->name.n, q->of->name.p);
        return st;
    }
    return form_new_scaled(q->model, q->of, in, data, scales, out, e);
}

/* ---- what it cost ---- */

struct sums {
    const struct weight *from, *w;
    double (*part)[2]; /* [chunks] signal, noise */
    float *scratch;    /* [workers][2][PIECE] */
    uint64_t n;
};

static void sum_chunk(void *data, int64_t chunk, int worker)
{
    const struct sums *s = data;
    float *x = s->scratch + (size_t)worker * 2 * PIECE, *y = x + PIECE;
    const uint64_t first = (uint64_t)chunk * CHUNK;
    const uint64_t end = s->n - first < CHUNK ? s->n : first + CHUNK;
    double signal = 0, noise = 0;
    for (uint64_t at = first; at < end; at += PIECE) {
        const uint64_t n = end - at < PIECE ? end - at : PIECE;
        weight_decode_flat(s->from, at, n, x);
        weight_decode_flat(s->w, at, n, y);
        struct pair_sums sums;
        pair_sums_of(x, y, (int)n, &sums);
        signal += sums.ref;
        noise += sums.error;
    }
    s->part[chunk][0] = signal;
    s->part[chunk][1] = noise;
}

static enum st measure(const struct quant_request *q, const struct form *f, struct quant_note *note,
                       struct err *e)
{
    struct sums s = { .from = q->from, .w = &f->w, .n = q->from->rows * q->from->cols };
    const int64_t chunks = pool_chunks((int64_t)s.n, CHUNK);
    const size_t scratch = (size_t)pool_threads(q->pool) * 2 * PIECE * sizeof(float);
    void *p;
    enum st st = mem_alloc(&p, scratch + (size_t)chunks * sizeof *s.part, "errors of weights", e);
    if (st)
        return st;
    s.scratch = p;
    s.part = (double(*)[2])(void *)((char *)p + scratch);
    if (!pool_for(q->pool, chunks, sum_chunk, &s, q->progress ? q->progress->cancel : NULL))
        st = st_fail(e, ST_CANCELLED, "interrupted");
    note->signal = note->noise = 0;
    for (int64_t i = 0; i < chunks && !st; i++) {
        note->signal += s.part[i][0];
        note->noise += s.part[i][1];
    }
    mem_free(p);
    return st;
}

/* ---- what was made is kept ---- */

struct entry {
    uint64_t content;        /* of what it was made from: content_of() */
    const struct weight *of; /* the weight that it stands for */
    struct form *form;
    struct quant_note note; /* with `asked` as the key */
    uint64_t used;
};

struct quant_cache {
    struct entry *list;
    size_t n, cap;
    uint64_t clock;
};

struct quant_cache *quant_cache_new(void) { return x_alloc(sizeof(struct quant_cache)); }

static void drop(struct quant_cache *c, size_t i)
{
    form_drop(c->list[i].form);
    c->list[i] = c->list[--c->n];
}

void quant_cache_free(struct quant_cache *c)
{
    while (c && c->n)
        drop(c, c->n - 1);
    if (c)
        free(c->list);
    free(c);
}

void quant_cache_forget(struct quant_cache *c, const struct weights *w)
{
    for (size_t i = c ? c->n : 0; i-- > 0;)
        if (c->list[i].of >= w->list && c->list[i].of < w->list + w->n)
            drop(c, i);
}

/* Until what nobody uses takes at most `limit` bytes; the oldest first. */
static void shrink(struct quant_cache *c, size_t limit)
{
    for (;;) {
        size_t bytes = 0, oldest = c->n;
        for (size_t i = 0; i < c->n; i++)
            if (c->list[i].form->uses == 1) {
                bytes += c->list[i].form->w.bytes;
                if (oldest == c->n || c->list[i].used < c->list[oldest].used)
                    oldest = i;
            }
        if (bytes <= limit || oldest == c->n)
            return;
        drop(c, oldest);
    }
}

/* All that the form depends on but the format asked for and the method: the numbers, where their
 * rows end, and what weighs them. */
static uint64_t content_of(const struct quant_request *q)
{
    const struct weight *w = q->from;
    const struct imatrix_entry *x = q->importance;
    const uint64_t facts[] = { (uint64_t)w->format, w->rows, w->cols, q->of->ne[2] };
    const uint64_t h = weight_hash(w, hash_bytes(facts, sizeof facts, 0));
    return x ? imatrix_hash(x, h) : h;
}

/* What was made of the same content, in the format that the weight gets: for the weight itself,
 * else for another one. */
static struct entry *find(struct quant_cache *c, const struct quant_request *q, uint64_t content,
                          const struct numeric *format)
{
    struct entry *other = NULL;
    for (size_t i = 0; c && i < c->n; i++) {
        struct entry *x = &c->list[i];
        if (x->content != content || x->note.method != q->method
            || !numeric_equal(&x->note.asked, &q->format)
            || !numeric_equal(&x->note.format, format))
            continue;
        if (x->of == q->of)
            return x;
        other = x;
    }
    return other;
}

static void keep(struct quant_cache *c, const struct quant_request *q, uint64_t content,
                 struct form *f, const struct quant_note *note)
{
    if (!c)
        return;
    x_grow(&c->list, &c->cap, c->n + 1, sizeof *c->list);
    c->list[c->n++] = (struct entry){ content, q->of, form_keep(f), *note, ++c->clock };
    shrink(c, mem_budget() ? mem_budget() / 4 : SIZE_MAX);
}

static enum st copy_scales(const struct form *f, float **out, struct err *e)
{
    const size_t bytes = (size_t)(f->w.rows / weight_matrix_rows(&f->w)) * sizeof(float);
    void *p;
    enum st st = mem_alloc(&p, bytes, "scales of matrices", e);
    if (!st)
        *out = memcpy(p, f->scales, bytes);
    return st;
}

/* What is known, under the name of the weight that it is to stand for. */
static enum st again(struct quant_cache *c, const struct quant_request *q, struct entry *known,
                     struct form **out, struct quant_note *note, struct err *e)
{
    struct form *f = known->form;
    struct quant_note n = known->note;
    void *bytes;
    n.from_reference = q->from != q->of;
    known->used = ++c->clock;
    if (known->of == q->of)
        form_keep(f);
    else {
        const uint64_t content = known->content;
        enum st st = room(&bytes, f->w.bytes, "a form", e);
        if (st)
            return st;
        memcpy(bytes, f->w.data, f->w.bytes);
        struct form *copy;
        float *scales = NULL;
        if (f->scales && (st = copy_scales(f, &scales, e))) {
            mem_free(bytes);
            return st;
        }
        if ((st = form_new_scaled(q->model, q->of, f->w.format, bytes, scales, &copy, e)))
            return st;
        memcpy(copy->simulates, f->simulates, sizeof copy->simulates);
        copy->packed = f->packed;
        f = copy;
        keep(c, q, content, f, &n);
    }
    *note = n;
    *out = f;
    return ST_OK;
}

enum st quant_make(struct quant_cache *c, const struct quant_request *q, struct form **out,
                   struct quant_note *note, struct err *e)
{
    struct form *f;
    struct quant_note n = { .method = q->method,
                            .asked = q->format,
                            .from = q->from->format,
                            .from_reference = q->from != q->of };
    enum st st = quant_format(&q->format, q->of, &n.format, e);
    if (st)
        return st;
    const uint64_t content = c ? content_of(q) : 0;
    struct entry *known = find(c, q, content, &n.format);
    if (known)
        return again(c, q, known, out, note, e);
    st = make(q, &n.format, &f, &n.weighted, e);
    if (st == ST_NOMEM && c) { /* what is kept for convenience goes first */
        shrink(c, 0);
        st = make(q, &n.format, &f, &n.weighted, e);
    }
    if (st)
        return st;
    n.bytes = quant_bytes(&n.format, q->of);
    if (n.format.base != NUMERIC_STORAGE) {
        struct buf b = { 0 };
        numeric_print(&n.format, &b);
        snprintf(f->simulates, sizeof f->simulates, "%s", buf_str(&b));
        f->packed = n.bytes;
        buf_free(&b);
    }
    if (!q->unmeasured && (st = measure(q, f, &n, e))) {
        form_drop(f);
        return st;
    }
    keep(c, q, content, f, &n);
    *note = n;
    *out = f;
    return ST_OK;
}
