/* SPDX-License-Identifier: MIT */
#include "study/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "kernels/level.h"
#include "kernels/statistics.h"
#include "kernels/native.h"
#include "study/sample.h"

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

struct bench_samples bench_samples_of(double *v, int n)
{
    if (n <= 0)
        return (struct bench_samples){ NAN, NAN, NAN, 0 };
    qsort(v, (size_t)n, sizeof *v, by_value);
    return (struct bench_samples){ (v[(n - 1) / 2] + v[n / 2]) / 2, v[0], v[n - 1], n };
}

enum { SAMPLES = 5 };

enum st bench_measure(bench_fn *fn, void *data, double seconds, struct progress *p,
                      struct bench_samples *out, struct err *e)
{
    double v[SAMPLES], start = bench_now(), once;
    int64_t i = 0;
    fn(data, i++);
    once = bench_now() - start;
    int n = 0;
    if (once >= seconds)
        v[n++] = once;
    const double each = seconds / SAMPLES;
    while (n < SAMPLES && once < seconds && !progress_cancelled(p)) {
        int64_t calls = 0;
        double now;
        start = now = bench_now();
        do {
            fn(data, i++);
            calls++;
            now = bench_now();
        } while (now - start < each && !progress_cancelled(p));
        v[n++] = (now - start) / (double)calls;
    }
    if (progress_cancelled(p))
        return st_fail(e, ST_CANCELLED, "interrupted");
    *out = bench_samples_of(v, n);
    return ST_OK;
}

/* ---------------------------------------------------------------- the machine */

size_t bench_bytes(const struct pool *pool)
{
    const size_t bytes = (size_t)pool_threads(pool) * (160u << 20), most = (size_t)2 << 30;
    return bytes < most ? bytes : most;
}

static const struct {
    const char *name, *how;
    enum peak_kind peak; /* from LIMIT_MUL_ADD on */
} limits[LIMIT__COUNT] = {
    [LIMIT_READ] = { "read", "128 bit loads", PEAK__COUNT },
    [LIMIT_READ_AHEAD] = { "read-ahead", "128 bit loads, 1 KiB prefetched", PEAK__COUNT },
    [LIMIT_MUL_ADD] = { "mul-add", "", PEAK_MUL_ADD },
    [LIMIT_FMA] = { "fma", "", PEAK_FMA },
    [LIMIT_DOT8] = { "dot8", "", PEAK_DOT8 },
    [LIMIT_BF16] = { "bf16", "", PEAK_BF16 },
    [LIMIT_TILE8] = { "tile8", "", PEAK_TILE8 },
    [LIMIT_TILE_BF16] = { "tile-bf16", "", PEAK_TILE_BF16 },
};

const char *bench_limit_name(enum bench_limit l) { return limits[l].name; }

const char *bench_limit_how(enum bench_limit l)
{
    if (l < LIMIT_MUL_ADD)
        return limits[l].how;
    const struct peak *p = peak_find(level_now(), limits[l].peak);
    return p ? p->how : "";
}

struct walk {
    struct pool *pool;
    char *p;
    size_t bytes, piece, ahead; /* a multiple of 512 */
    const struct peak *peak;
    int64_t rounds;
    const volatile sig_atomic_t *cancel;
    uint64_t sum[POOL_MAX_THREADS][8]; /* a line each */
};

static size_t piece_bytes(const struct walk *w, size_t at)
{
    return w->bytes - at < w->piece ? w->bytes - at : w->piece;
}

static void fill_piece(void *data, int64_t chunk, int worker)
{
    (void)worker;
    const struct walk *w = data;
    const size_t at = (size_t)chunk * w->piece;
    memset(w->p + at, 1, piece_bytes(w, at));
}

static void read_piece(void *data, int64_t chunk, int worker)
{
    struct walk *w = data;
    const size_t at = (size_t)chunk * w->piece;
    w->sum[worker][0] += peak_read(w->p + at, piece_bytes(w, at), w->ahead);
}

static void all_pieces(struct walk *w, pool_fn *fn)
{
    pool_for(w->pool, pool_chunks((int64_t)w->bytes, (int64_t)w->piece), fn, w, w->cancel);
}

static void read_once(void *data, int64_t i)
{
    (void)i;
    all_pieces(data, read_piece);
}

static void compute_piece(void *data, int64_t chunk, int worker)
{
    (void)chunk;
    (void)worker;
    struct walk *w = data;
    w->peak->run(w->rounds);
}

static void compute_once(void *data, int64_t i)
{
    (void)i;
    struct walk *w = data;
    pool_for(w->pool, pool_threads(w->pool), compute_piece, w, NULL);
}

static enum st read_limit(struct walk *w, double seconds, struct progress *p, double *rate,
                          struct err *e)
{
    void *memory;
    struct bench_samples s;
    enum st st = mem_alloc(&memory, w->bytes, "memory to read", e);
    if (st)
        return st;
    w->p = memory;
    all_pieces(w, fill_piece); /* the system takes its time to find so much */
    st = bench_measure(read_once, w, seconds, p, &s, e);
    mem_free(memory);
    if (!st)
        *rate = (double)w->bytes / s.least;
    return st;
}

enum st bench_limit_of(enum bench_limit l, struct pool *pool, size_t bytes, double seconds,
                       struct progress *p, double *rate, struct err *e)
{
    struct walk *w = x_alloc(sizeof *w);
    struct bench_samples s;
    enum st st = ST_OK;
    w->pool = pool;
    w->bytes = bytes < 4096 ? 4096 : bytes / 512 * 512;
    w->piece = w->bytes / (size_t)pool_threads(pool) / 512 * 512;
    w->piece = w->piece > 4u << 20 ? 4u << 20 : w->piece < 512 ? 512 : w->piece;
    w->ahead = l == LIMIT_READ_AHEAD ? 1024 : 0;
    w->peak = l < LIMIT_MUL_ADD ? NULL : peak_find(level_now(), limits[l].peak);
    w->rounds = 20000; /* some 100 us */
    w->cancel = p ? p->cancel : NULL;
    double v = 0;
    if (l < LIMIT_MUL_ADD)
        st = read_limit(w, seconds, p, &v, e);
    else if (w->peak && !(st = bench_measure(compute_once, w, seconds, p, &s, e)))
        v = pool_threads(pool) * peak_ops(w->peak, w->rounds) / s.least;
    free(w);
    if (!st)
        *rate = v;
    return st;
}

/* ---------------------------------------------------------------- kernels */

bool bench_has(enum format f, enum compute mode)
{
    const struct format_info *info = format_info(f);
    return info && info->decode && BENCH_COLS % info->block == 0
           && mode < COMPUTE__COUNT;
}

struct bench_weights {
    struct matrix all; /* all rows */
    float *x;          /* [MOST_TOKENS][BENCH_COLS] */
    float *y;          /* [MOST_TOKENS][rows of a slice] */
    int64_t y_rows;
};

enum { MOST_TOKENS = 512, SLICE = 4 << 20 /* bytes of weights per call, few tokens */ };

/* A block whose values are of sane size: random bytes, drawn again until they are. */
static void draw_block(const struct format_info *f, uint64_t *state, uint8_t *block)
{
    float x[FORMAT_MAX_BLOCK];
    for (int tries = 0; tries < 1000; tries++) {
        for (int i = 0; i < f->bytes; i++)
            block[i] = (uint8_t)(sample_uniform(state) * 256);
        f->decode(block, x, f->block);
        bool sane = true;
        for (int i = 0; i < f->block; i++)
            sane = sane && isfinite(x[i]) && fabsf(x[i]) < 1e6f
                   && (fabsf(x[i]) > 1e-6f || x[i] == 0);
        if (sane)
            return;
    }
    memset(block, 0, (size_t)f->bytes);
}

struct fill {
    char *p;
    const char *row; /* one row, repeated */
    size_t row_bytes;
};

static void fill_row(void *data, int64_t row, int worker)
{
    (void)worker;
    const struct fill *f = data;
    memcpy(f->p + (size_t)row * f->row_bytes, f->row, f->row_bytes);
}

void bench_weights_free(struct bench_weights *w)
{
    if (!w)
        return;
    mem_free((void *)w->all.data);
    mem_free(w->x);
    mem_free(w->y);
    free(w);
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Rows per call for many tokens: 64 per thread, more where panels of mode fast are taller. */
static int64_t many_rows(const struct pool *pool)
{
    const int panel = level_now()->fast->rows;
    return (panel > 64 ? 4 * panel : 64) * (int64_t)pool_threads(pool);
}

/* Rows per call: 4 MiB of weights, and not too many for many tokens. */
static int64_t slice_rows(const struct bench_weights *w, int64_t tokens, const struct pool *pool)
{
    int64_t rows = (int64_t)(SLICE / w->all.row_bytes);
    if (tokens > 16)
        rows = least(rows, many_rows(pool));
    rows = least(rows < 32 ? 32 : rows, w->all.rows);
    return least(rows, w->y_rows);
}

enum st bench_weights_new(enum format f, size_t bytes, struct pool *pool,
                          struct bench_weights **out, struct err *e)
{
    const struct format_info *info = format_info(f);
    struct bench_weights *w = x_alloc(sizeof *w);
    void *data = NULL, *x = NULL, *y = NULL;
    size_t row_bytes = 0;
    uint64_t state = 1;
    enum st st = ST_OK;
    if (!format_row_bytes(f, BENCH_COLS, &row_bytes))
        st = st_fail(e, ST_UNSUPPORTED, "%s does not divide a row of %d", info->name, BENCH_COLS);
    const size_t rows = row_bytes && bytes / row_bytes > 64 ? bytes / row_bytes : 64;
    const size_t y_rows = row_bytes && SLICE / row_bytes > 64 ? SLICE / row_bytes : 64;
    if (!st)
        st = mem_alloc(&data, rows * row_bytes, "weights to multiply", e);
    w->all = (struct matrix){ f, data, row_bytes, (int64_t)rows, BENCH_COLS, NULL };
    if (!st)
        st = mem_alloc(&x, (size_t)MOST_TOKENS * BENCH_COLS * sizeof(float), "activations", e);
    w->x = x;
    w->y_rows = (int64_t)y_rows;
    const size_t few = 16 * y_rows, many = MOST_TOKENS * (size_t)many_rows(pool);
    if (!st)
        st = mem_alloc(&y, (few > many ? few : many) * sizeof(float), "products", e);
    w->y = y;
    if (st) {
        bench_weights_free(w);
        return st;
    }
    uint8_t *row = x_alloc(row_bytes);
    for (size_t at = 0; at + (size_t)info->bytes <= row_bytes; at += (size_t)info->bytes)
        draw_block(info, &state, row + at);
    struct fill fill = { data, (const char *)row, row_bytes };
    pool_for(pool, (int64_t)rows, fill_row, &fill, NULL);
    free(row);
    for (int64_t i = 0; i < (int64_t)MOST_TOKENS * BENCH_COLS; i++)
        w->x[i] = (float)(sample_uniform(&state) * 2 - 1);
    *out = w;
    return ST_OK;
}

struct product {
    const struct bench_kernel *k;
    struct bench_weights *w;
    struct pool *pool;
    const volatile sig_atomic_t *cancel;
    int64_t rows; /* per call */
    struct matrix slice;
};

/* Slice i of the weights, round and round. */
static void choose_slice(struct product *j, int64_t i)
{
    const int64_t slices = j->w->all.rows / j->rows;
    j->slice = j->w->all;
    j->slice.rows = j->rows;
    j->slice.data = (const char *)j->w->all.data
                    + (size_t)(i % slices * j->rows) * j->slice.row_bytes;
}

static void multiply(void *data, int64_t i)
{
    struct product *j = data;
    choose_slice(j, i);
    matrix_mul(&j->slice, NULL, j->w->x, j->k->tokens, j->w->y, j->k->mode, j->pool, j->cancel);
}

static void decode_row(void *data, int64_t row, int worker)
{
    (void)worker;
    const struct product *j = data;
    float x[BENCH_COLS];
    const struct decoder d = decoder_of(j->slice.format);
    level_now()->decode(&d, (const char *)j->slice.data + (size_t)row * j->slice.row_bytes, x,
                        BENCH_COLS);
    __asm__ volatile("" : : "r"(x) : "memory"); /* somebody may look at them */
}

static void decode_slice(void *data, int64_t i)
{
    struct product *j = data;
    choose_slice(j, i);
    pool_for(j->pool, j->slice.rows, decode_row, j, j->cancel);
}

static void summarize_slice(void *data, int64_t i)
{
    struct product *j = data;
    struct summary sum;
    choose_slice(j, i);
    summary_of(j->pool, j->slice.data, j->slice.rows * BENCH_COLS, &sum);
    __asm__ volatile("" : : "r"(&sum) : "memory");
}

static enum st at_level(const struct level *l, struct product *j, double seconds,
                        struct progress *p, struct bench_samples *out, struct err *e)
{
    const struct level *now = level_now();
    level_force(l);
    static void (*const work[])(void *, int64_t) = { multiply, decode_slice, summarize_slice };
    const enum st st = bench_measure(work[j->k->task], j, seconds, p, out, e);
    level_force(now);
    return st;
}

/* In products of many tokens. */
static enum bench_limit limit_of_native(enum format f)
{
    const bool pairs = level_now()->panels[PANEL_BRAINS]->columns > PANEL_LANES;
    if (native_format(f))
        return LIMIT_DOT8;
    switch (native_rounds(f)) {
    case NATIVE_F16: return LIMIT_FMA;
    case NATIVE_BF16: return pairs ? LIMIT_BF16 : LIMIT_FMA;
    default: return LIMIT_MUL_ADD;
    }
}

static enum bench_limit limit_of_fast(enum format f)
{
    if (level_now()->fast->bytes != 2)
        return native_format(f) && level_now()->words ? LIMIT_DOT8 : LIMIT_FMA;
    return *bench_limit_how(LIMIT_TILE_BF16) ? LIMIT_TILE_BF16 : LIMIT_BF16;
}

enum bench_limit bench_limit_for(enum format f, enum compute mode)
{
    const enum bench_limit l = mode == COMPUTE_NATIVE ? limit_of_native(f)
                               : mode == COMPUTE_FAST ? limit_of_fast(f)
                                                      : LIMIT_MUL_ADD;
    return *bench_limit_how(l) ? l : LIMIT_MUL_ADD;
}

enum st bench_kernel_of(const struct bench_kernel *k, struct bench_weights *w,
                        const struct bench_machine *m, struct pool *pool, double seconds,
                        struct progress *p, struct bench_rate *out, struct err *e)
{
    struct product j = { k, w, pool, p ? p->cancel : NULL, slice_rows(w, k->tokens, pool), { 0 } };
    const bool product = k->task == BENCH_PRODUCT;
    struct bench_samples now, plain;
    enum st st = at_level(level_now(), &j, seconds, p, &now, e);
    plain = now;
    if (!st && level_now() != &level_c)
        st = at_level(&level_c, &j, seconds / 2, p, &plain, e);
    if (st)
        return st;
    const double bytes = (double)j.rows * (double)w->all.row_bytes;
    const double ops = !product ? 0 : 2.0 * (double)(j.rows * BENCH_COLS * k->tokens);
    const double peak = m->limit[product ? bench_limit_for(k->format, k->mode)
                                         : LIMIT_MUL_ADD];
    *out = (struct bench_rate){ bytes / now.median, ops / now.median,
                                fmax(bytes / m->limit[LIMIT_READ], ops / peak) / now.median,
                                plain.median / now.median };
    return ST_OK;
}
