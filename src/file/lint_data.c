/* SPDX-License-Identifier: MIT */
/* Lint of the data: values that are no numbers, dead rows, the same bytes under two names. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "file/lint_checks.h"

enum {
    PIECE = 1 << 16,        /* elements decoded at a time: a multiple of every block */
    PLAIN_BLOCK = 256,      /* elements looked at together where the format has no blocks */
    DUPLICATE_BYTES = 1024, /* smaller tensors are often equal by chance (norms of ones) */
};

/* Infinity's bits: as unsigned integers, magnitudes of floats sort as the numbers do, NaN above. */
#define INF_BITS 0x7f800000u

struct scan {
    uint64_t nan, inf, bad_blocks, zero_blocks, zero_rows, blocks;
    uint64_t first_bad; /* element */
    uint64_t first_zero_row;
    uint32_t largest; /* bits of the largest finite magnitude */
    uint64_t hash;
};

struct duplicate {
    size_t bytes;
    uint64_t hash;
    const struct weight *w;
};

static uint32_t magnitude(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits & 0x7fffffffu;
}

static uint32_t largest_of(const float *v, uint64_t n)
{
    int32_t lane[8] = { 0 }, m = 0; /* signed, because SSE2 compares no unsigned integers */
    for (; n >= 8; n -= 8, v += 8)
        for (int i = 0; i < 8; i++) {
            int32_t bits = (int32_t)magnitude(v[i]);
            lane[i] = bits > lane[i] ? bits : lane[i];
        }
    for (uint64_t i = 0; i < n; i++)
        lane[i] = (int32_t)magnitude(v[i]) > lane[i] ? (int32_t)magnitude(v[i]) : lane[i];
    for (int i = 0; i < 8; i++)
        m = lane[i] > m ? lane[i] : m;
    return (uint32_t)m;
}

static void look_closer(struct scan *s, const float *v, uint64_t n, uint64_t at)
{
    s->bad_blocks++;
    for (uint64_t i = 0; i < n; i++) {
        uint32_t m = magnitude(v[i]);
        if (m < INF_BITS) {
            s->largest = m > s->largest ? m : s->largest;
            continue;
        }
        if (!(s->nan + s->inf))
            s->first_bad = at + i;
        if (m == INF_BITS)
            s->inf++;
        else
            s->nan++;
    }
}

/* Elements [at, at + n) of one row; returns the largest magnitude's bits. */
static uint32_t scan_row(struct scan *s, const float *v, uint64_t n, uint64_t at, uint64_t block)
{
    uint32_t row = 0;
    for (uint64_t i = 0; i < n; i += block) {
        uint64_t k = n - i < block ? n - i : block;
        uint32_t m = largest_of(v + i, k);
        s->blocks++;
        s->zero_blocks += !m;
        row = m > row ? m : row;
        if (m >= INF_BITS)
            look_closer(s, v + i, k, at + i);
        else if (m > s->largest)
            s->largest = m;
    }
    return row;
}

/* Four independent lanes, so that the multiplications overlap. Not against attackers: equal hashes
 * are compared byte by byte. */
static uint64_t hash_bytes(uint64_t h, const uint8_t *p, size_t n)
{
    const uint64_t k = 0x9e3779b97f4a7c15u;
    uint64_t lane[4] = { h, h ^ 1, h ^ 2, h ^ 3 };
    for (; n >= 32; n -= 32, p += 32)
        for (int i = 0; i < 4; i++) {
            uint64_t v;
            memcpy(&v, p + 8 * i, 8);
            lane[i] = (lane[i] ^ v) * k;
            lane[i] ^= lane[i] >> 29;
        }
    for (size_t i = 0; i < n; i++)
        lane[i & 3] = (lane[i & 3] ^ p[i]) * k;
    for (int i = 1; i < 4; i++)
        lane[0] = (lane[0] ^ (lane[i] >> 31) ^ lane[i]) * k;
    return lane[0];
}

struct walk {
    float *values;  /* [PIECE] */
    uint64_t limit; /* elements per tensor */
    struct progress *progress;
    double done, total; /* bytes */
};

static enum st scan_weight(struct walk *k, const struct weight *w, struct scan *s, struct err *e)
{
    const struct format_info *f = format_info(w->format);
    uint64_t unit = (uint64_t)f->block, block = f->quantized ? unit : PLAIN_BLOCK;
    uint64_t all = w->rows * w->cols,
             end = all < k->limit ? all : (k->limit + unit - 1) / unit * unit;
    end = end < all ? end : all;
    uint32_t row_max = 0;
    for (uint64_t at = 0; at < end;) {
        uint64_t n = end - at < PIECE ? end - at : PIECE;
        weight_decode_flat(w, at, n, k->values);
        const uint8_t *raw = w->data + at / unit * (uint64_t)f->bytes;
        s->hash = hash_bytes(s->hash, raw, (size_t)(n / unit) * (size_t)f->bytes);
        for (uint64_t i = 0; i < n;) {
            uint64_t column = (at + i) % w->cols, left = w->cols - column;
            uint64_t part = left < n - i ? left : n - i;
            uint32_t m = scan_row(s, k->values + i, part, at + i, block);
            row_max = column && row_max > m ? row_max : m;
            if (part == left && !row_max && !s->zero_rows++)
                s->first_zero_row = (at + i) / w->cols;
            i += part;
        }
        at += n;
        double bytes = (double)(n / unit) * f->bytes;
        if (!progress_tick(k->progress, "lint", k->done += bytes, k->total))
            return st_fail(e, ST_CANCELLED, "lint was interrupted; not all data has been seen");
    }
    return ST_OK;
}

#define U(x) ((unsigned long long)(x))

static void report_bad(const struct weight *w, const struct scan *s, struct lint *l)
{
    uint64_t row = s->first_bad / w->cols, column = s->first_bad % w->cols;
    const struct format_info *f = format_info(w->format);
    if (f->quantized)
        lint_add(l, LINT_ERROR, s->nan ? "nan" : "inf", w->name,
                 "%llu NaN and %llu infinite values in %llu of %llu blocks; the first in row %llu, "
                 "block %llu (column %llu)",
                 U(s->nan), U(s->inf), U(s->bad_blocks), U(s->blocks), U(row),
                 U(column / (uint64_t)f->block), U(column));
    else
        lint_add(l, LINT_ERROR, s->nan ? "nan" : "inf", w->name,
                 "%llu NaN and %llu infinite values; the first in row %llu, column %llu", U(s->nan),
                 U(s->inf), U(row), U(column));
}

static void report_zeros(const struct weight *w, const struct scan *s, struct lint *l)
{
    const struct format_info *f = format_info(w->format);
    if (s->zero_blocks == s->blocks) {
        bool bias = str_ends(w->name, ".bias");
        lint_add(l, bias ? LINT_NOTE : LINT_WARNING, "zero", w->name, "all values are zero");
        return;
    }
    if (s->zero_rows && w->rows > 1)
        lint_add(l, LINT_NOTE, "zero-row", w->name,
                 "%llu of %llu rows %s all zero, the first is row %llu", U(s->zero_rows),
                 U(w->rows), text_plural(s->zero_rows, "is", "are"), U(s->first_zero_row));
    uint64_t in_rows = f->quantized ? s->zero_rows * (w->cols / (uint64_t)f->block) : UINT64_MAX;
    if (s->zero_blocks > in_rows)
        lint_add(l, LINT_NOTE, "zero-block", w->name,
                 "%llu of %llu blocks %s nothing but zeros (a scale of 0)%s", U(s->zero_blocks),
                 U(s->blocks), text_plural(s->zero_blocks, "holds", "hold"),
                 s->zero_rows ? ", also outside the zero rows" : "");
}

static void report(const struct weight *w, const struct scan *s, bool whole, struct lint *l)
{
    float largest;
    memcpy(&largest, &s->largest, sizeof largest);
    if (s->nan + s->inf)
        report_bad(w, s, l);
    if (whole)
        report_zeros(w, s, l);
    if (largest > 65504.0f && w->rank > 1)
        lint_add(l, LINT_NOTE, "range", w->name,
                 "the largest magnitude is %.6g; float16 ends at 65504", (double)largest);
}

static int by_content(const void *a, const void *b)
{
    const struct duplicate *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->w < y->w ? -1 : x->w > y->w;
}

static void report_duplicates(struct duplicate *d, size_t n, struct lint *l)
{
    qsort(d, n, sizeof *d, by_content);
    for (size_t i = 1, first = 0; i < n; i++) {
        if (d[i].bytes != d[first].bytes || d[i].hash != d[first].hash
            || d[i].w->type_id != d[first].w->type_id
            || memcmp(d[i].w->data, d[first].w->data, d[i].bytes)
            || !weight_same_scales(d[i].w, d[first].w)) {
            first = i;
            continue;
        }
        struct buf other = { 0 };
        buf_visible(&other, d[first].w->name);
        bool tied = str_is(d[i].w->name, "output.weight")
                    || str_is(d[first].w->name, "output.weight");
        lint_add(l, LINT_WARNING, "duplicate", d[i].w->name, "the same %zu bytes as %s%s",
                 d[i].bytes, buf_str(&other), tied ? " (a tied output need not be stored)" : "");
        buf_free(&other);
    }
}

enum st lint_data(const struct weights *w, uint64_t max_elements, struct progress *p,
                  struct lint *l, struct err *e)
{
    void *values = NULL, *list = NULL;
    enum st st = mem_alloc(&values, PIECE * sizeof(float), "lint", e);
    if (!st)
        st = mem_alloc(&list, (w->n + 1) * sizeof(struct duplicate), "lint", e);
    struct walk k = { values, max_elements ? max_elements : UINT64_MAX / 2, p, 0,
                      (double)w->n_bytes };
    struct duplicate *d = list;
    size_t n = 0;
    for (size_t i = 0; i < w->n && !st; i++) {
        const struct weight *x = &w->list[i];
        if (weight_check(x, NULL))
            continue; /* lint_directory and lint_types have said so */
        struct scan s = { 0 };
        if ((st = scan_weight(&k, x, &s, e)))
            break;
        bool whole = x->rows * x->cols <= k.limit;
        report(x, &s, whole, l);
        if (whole && x->rank > 1 && x->bytes >= DUPLICATE_BYTES && s.zero_blocks < s.blocks)
            d[n++] = (struct duplicate){ x->bytes, s.hash, x };
    }
    if (!st)
        report_duplicates(d, n, l);
    mem_free(list);
    mem_free(values);
    return st;
}
