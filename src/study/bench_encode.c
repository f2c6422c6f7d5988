/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "kernels/encode.h"
#include "study/bench.h"
#include "study/sample.h"

struct bench_source {
    struct matrix all;
    float importance[BENCH_COLS];
};

enum { ERROR_ROWS = 64 /* that errors are measured on */ };

/* Box and Muller 1958. */
static double normal(uint64_t *state)
{
    const double u = 1 - sample_uniform(state), v = sample_uniform(state);
    return sqrt(-2 * log(u)) * cos(2 * acos(-1) * v);
}

enum st bench_source_new(size_t bytes, struct bench_source **out, struct err *e)
{
    const size_t row_bytes = BENCH_COLS * sizeof(uint16_t);
    const size_t rows = bytes / row_bytes > ERROR_ROWS ? bytes / row_bytes : ERROR_ROWS;
    uint64_t state = 1;
    void *data;
    enum st st = mem_alloc(&data, rows * row_bytes, "weights to encode", e);
    if (st)
        return st;
    struct bench_source *s = x_alloc(sizeof *s);
    uint16_t *half = data;
    s->all = (struct matrix){ format_by_name("f16"), data, row_bytes, (int64_t)rows, BENCH_COLS,
                              NULL };
    for (size_t i = 0; i < rows * BENCH_COLS; i++)
        half[i] = i < (size_t)ERROR_ROWS * BENCH_COLS
                      ? f32_to_f16((float)(0.02 * normal(&state)))
                      : half[i - (size_t)ERROR_ROWS * BENCH_COLS];
    for (int i = 0; i < BENCH_COLS; i++)
        s->importance[i] = (float)exp(2 * normal(&state));
    *out = s;
    return ST_OK;
}

void bench_source_free(struct bench_source *s)
{
    if (!s)
        return;
    mem_free((void *)s->all.data);
    free(s);
}

struct encoding {
    const struct bench_source *s;
    const float *importance;
    enum format f;
    struct pool *pool;
    const volatile sig_atomic_t *cancel;
    void *out;
    enum st st;
    struct err *e;
};

static void encode_once(void *data, int64_t i)
{
    struct encoding *j = data;
    (void)i;
    if (!j->st)
        j->st = encode_matrix(j->pool, &j->s->all, j->f, j->importance, j->out, j->cancel, j->e);
}

/* l2 of the error over l2 of the weights, of the first rows. */
static double error_of(const struct encoding *j)
{
    float x[FORMAT_MAX_BLOCK], y[FORMAT_MAX_BLOCK];
    const struct format_info *info = format_info(j->f);
    const int n = info->block > 32 ? info->block : 32; /* a multiple of every block */
    const int64_t all = (int64_t)ERROR_ROWS * BENCH_COLS;
    double error = 0, squares = 0;
    for (int64_t at = 0; at < all; at += n) {
        const struct format_info *f16 = format_info(j->s->all.format);
        f16->decode((const uint16_t *)j->s->all.data + at, x, n);
        info->decode((const char *)j->out + at / info->block * info->bytes, y, n);
        for (int i = 0; i < n; i++) {
            const double w = j->importance ? (double)j->importance[(at + i) % BENCH_COLS] : 1;
            error += w * pow((double)y[i] - (double)x[i], 2);
            squares += w * pow((double)x[i], 2);
        }
    }
    return sqrt(error / squares);
}

enum st bench_encode_of(enum format f, const struct bench_source *s, struct pool *pool,
                        double seconds, struct progress *p, struct bench_encoded *out,
                        struct err *e)
{
    struct encoding j = { .s = s, .f = f, .pool = pool, .cancel = p ? p->cancel : NULL, .e = e };
    struct bench_encoded done;
    size_t row_bytes;
    if (!format_row_bytes(f, BENCH_COLS, &row_bytes))
        return st_fail(e, ST_UNSUPPORTED, "%s does not divide a row of %d", format_info(f)->name,
                       BENCH_COLS);
    enum st st = mem_alloc(&j.out, (size_t)s->all.rows * row_bytes, "encoded weights", e);
    for (int i = 0; i < 2 && !st; i++) {
        struct bench_samples t;
        j.importance = i ? s->importance : NULL;
        st = bench_measure(encode_once, &j, seconds / 2, p, &t, e);
        st = st ? st : j.st;
        if (st)
            break;
        done.bytes[i] = (double)s->all.rows * (double)s->all.row_bytes / t.median;
        done.relerr[i] = error_of(&j);
    }
    mem_free(j.out);
    if (!st)
        *out = done;
    return st;
}
