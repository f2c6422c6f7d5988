/* SPDX-License-Identifier: MIT */
#include "kernels/matrix.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/level.h"

const char *compute_name(enum compute c)
{
    static const char *const names[COMPUTE__COUNT] = { "exact", "native", "fast" };
    return (unsigned)c < COMPUTE__COUNT ? names[c] : "?";
}

void matrix_row(const struct matrix *w, int64_t r, float *out)
{
    const struct format_info *f = format_info(w->format);
    const float scale = matrix_scale(w);
    f->decode((const char *)w->data + (size_t)r * w->row_bytes, out, w->cols);
    for (int64_t i = 0; w->scale && i < w->cols; i++)
        out[i] *= scale;
}

enum {
    CHUNK = NATIVE_ROWS, /* rows of W per task of the pool */
    LINE = 64            /* bytes of a line of the caches */
};

struct exact_job {
    const struct level *level;
    const struct matrix *w;
    const struct format_info *format;
    struct decoder decoder;
    const float *bias;
    const void *x; /* floats; brain floats with `halves` and weights in bf16 */
    float *y;
    int64_t tokens;
    bool halves; /* weights and activations in 16 bits: in the order of mode native */
};

/* Rows r .. r + n as floats: where they lie, or decoded into `room`. Rows that cross the lines of
 * caches are worth a copy when they are read for many tokens. */
static const float *float_rows(const struct exact_job *j, int64_t r, int n, float *room)
{
    const struct matrix *w = j->w;
    const char *src = (const char *)w->data + (size_t)r * w->row_bytes;
    const size_t row = (size_t)w->cols * sizeof *room;
    const size_t whole = j->tokens < j->level->rows ? sizeof *room : LINE;
    if (j->decoder.way == DECODE_F32 && (uintptr_t)src % whole == 0 && w->row_bytes == row)
        return (const float *)(const void *)src;
    for (int i = 0; i < n; i++)
        j->level->decode(&j->decoder, src + (size_t)i * w->row_bytes, room + i * w->cols, w->cols);
    return room;
}

/* The kind of a format that the level multiplies as it lies in memory, or PLAIN__COUNT. */
static enum plain_kind plain_kind_of(const struct exact_job *j)
{
    static const char *const names[PLAIN__COUNT] = { "f32", "f16", "bf16" };
    int kind = 0;
    while (kind < PLAIN__COUNT && strcmp(j->format->name, names[kind]))
        kind++;
    const bool pairs = j->halves && kind == PLAIN_BF16; /* no level needs floats of them */
    return pairs || (kind < PLAIN__COUNT && j->level->plain_rows[kind]) ? (enum plain_kind)kind
                                                                        : PLAIN__COUNT;
}

static void plain_chunk(void *data, int64_t chunk, int worker)
{
    (void)worker;
    const struct exact_job *j = data;
    const struct matrix *w = j->w;
    const int64_t first = chunk * CHUNK, left = w->rows - first;
    const int rows = left < CHUNK ? (int)left : CHUNK;
    const uint8_t *from = (const uint8_t *)w->data + (size_t)first * w->row_bytes;
    const enum plain_kind kind = plain_kind_of(j);
    if (j->halves)
        j->level->halves_rows(kind, from, w->row_bytes, rows, j->x, j->tokens, w->cols,
                              j->y + first, w->rows);
    else
        j->level->plain_rows[kind](from, w->row_bytes, rows, j->x, j->tokens, w->cols,
                                   j->y + first, w->rows);
    for (int64_t t = 0; j->bias && t < j->tokens; t++)
        for (int r = 0; r < rows; r++)
            j->y[t * w->rows + first + r] += j->bias[first + r];
}

static void rows_of_chunk(void *data, int64_t chunk, int worker)
{
    (void)worker;
    const struct exact_job *j = data;
    const struct matrix *w = j->w;
    const int64_t end = (chunk + 1) * CHUNK < w->rows ? (chunk + 1) * CHUNK : w->rows;
    /* Many tokens share what is decoded; for few it had better stay in the first-level cache. */
    const int most = j->tokens < j->level->rows ? 2 : j->level->rows;
    float *room = x_scratch((size_t)(w->cols * most) * sizeof *room);
    for (int64_t r = chunk * CHUNK; r < end;) {
        const int n = end - r < most ? (int)(end - r) : most;
        const float *rows = float_rows(j, r, n, room);
        if (j->halves)
            j->level->halves_rows(PLAIN_F32, (const uint8_t *)rows,
                                  (size_t)w->cols * sizeof *rows, n, j->x, j->tokens, w->cols,
                                  j->y + r, w->rows);
        else
            j->level->dot_rows(rows, n, j->x, j->tokens, w->cols, j->y + r, w->rows);
        for (int64_t t = 0; j->bias && t < j->tokens; t++)
            for (int i = 0; i < n; i++)
                j->y[t * w->rows + r + i] += j->bias[r + i];
        r += n;
    }
    free(room);
}

static void exact_mul(const struct matrix *w, const float *bias, const void *x, int64_t tokens,
                      bool halves, float *y, struct pool *pool,
                      const volatile sig_atomic_t *cancel)
{
    struct exact_job j = { level_now(), w, format_info(w->format), decoder_of(w->format),
                           bias, x, y, tokens, halves };
    if (tokens <= MATRIX_FEW && plain_kind_of(&j) < PLAIN__COUNT)
        pool_for_runs(pool, pool_chunks(w->rows, CHUNK), plain_chunk, &j, cancel);
    else
        pool_for(pool, pool_chunks(w->rows, CHUNK), rows_of_chunk, &j, cancel);
}

const char *matrix_activations(enum format f)
{
    const struct native_format *n = native_format(f);
    if (n)
        return native_act_name(n->act);
    return native_rounds(f) < 0 ? "f32" : native_act_name((enum native_act)native_rounds(f));
}

struct rounding {
    const float *x;
    float *y; /* or brain floats */
    int64_t cols;
    bool brains;
};

static void round_token(void *data, int64_t t, int worker)
{
    (void)worker;
    const struct rounding *j = data;
    const float *x = j->x + t * j->cols;
    if (j->brains)
        level_now()->to_brains(x, j->cols, (uint16_t *)j->y + t * j->cols);
    else
        round_to_f16(x, j->cols, j->y + t * j->cols);
}

/* The product of the elements as they are stored. */
static void stored_mul(const struct matrix *w, const float *bias, const float *x, int64_t tokens,
                       float *y, enum compute mode, struct pool *pool,
                       const volatile sig_atomic_t *cancel)
{
    const struct native_format *f = mode == COMPUTE_EXACT ? NULL : native_format(w->format);
    if (mode == COMPUTE_FAST && tokens >= (f ? FAST_LEAST_TOKENS : FAST_LEAST_FLOATS)) {
        fast_mul(w, bias, x, tokens, y, pool, cancel);
        return;
    }
    const int rounds = mode == COMPUTE_NATIVE ? native_rounds(w->format) : -1;
    if (f) {
        native_mul(&(struct matrix_product){ w, bias, y }, 1, mode == COMPUTE_FAST, x, tokens, pool,
                   cancel);
        return;
    }
    if (rounds < 0) {
        exact_mul(w, bias, x, tokens, false, y, pool, cancel);
        return;
    }
    if (tokens > MATRIX_FEW) {
        panel_mul(w, bias, x, tokens, y, pool, cancel);
        return;
    }
    struct rounding j = { x, x_scratch((size_t)(tokens * w->cols) * sizeof *x), w->cols,
                          rounds == NATIVE_BF16 };
    pool_for(pool, tokens, round_token, &j, NULL);
    exact_mul(w, bias, j.y, tokens, true, y, pool, cancel);
    free(j.y);
}

struct scaling {
    const float *bias;
    float *y;
    int64_t rows;
    float scale;
};

static void scale_token(void *data, int64_t t, int worker)
{
    (void)worker;
    const struct scaling *j = data;
    float *y = j->y + t * j->rows;
    for (int64_t r = 0; r < j->rows; r++)
        y[r] *= j->scale;
    for (int64_t r = 0; j->bias && r < j->rows; r++)
        y[r] += j->bias[r];
}

void matrix_mul(const struct matrix *w, const float *bias, const float *x, int64_t tokens, float *y,
                enum compute mode, struct pool *pool, const volatile sig_atomic_t *cancel)
{
    stored_mul(w, w->scale ? NULL : bias, x, tokens, y, mode, pool, cancel);
    struct scaling j = { bias, y, w->rows, matrix_scale(w) };
    if (w->scale)
        pool_for(pool, tokens, scale_token, &j, cancel);
}

bool matrix_in_one(const struct matrix_product *p, int n, int64_t tokens, enum compute mode)
{
    if (mode == COMPUTE_EXACT || (mode == COMPUTE_FAST && tokens >= FAST_LEAST_TOKENS))
        return false;
    for (int i = 0; i < n; i++)
        if (p[i].w->scale || !native_format(p[i].w->format))
            return false;
    return true;
}

void matrix_mul_all(const struct matrix_product *p, int n, const float *x, int64_t tokens,
                    enum compute mode, struct pool *pool, const volatile sig_atomic_t *cancel)
{
    if (matrix_in_one(p, n, tokens, mode)) {
        native_mul(p, n, mode == COMPUTE_FAST, x, tokens, pool, cancel);
        return;
    }
    for (int i = 0; i < n; i++)
        matrix_mul(p[i].w, p[i].bias, x, tokens, p[i].y, mode, pool, cancel);
}

void matrix_expect(const struct matrix_product *p, int n, int64_t tokens, enum compute mode,
                   struct pool *pool)
{
    const int loop = matrix_in_one(p, n, tokens, mode) ? n : 1; /* products of the next loop */
    int64_t chunks = 0;
    for (int i = 0; i < loop; i++)
        chunks += pool_chunks(p[i].w->rows, CHUNK);
    for (int worker = 1; worker < pool_threads(pool); worker++) {
        int64_t row = pool_run_first(pool, chunks, worker) * CHUNK;
        const struct matrix_product *at = p;
        for (; at < p + loop && row >= pool_chunks(at->w->rows, CHUNK) * CHUNK; at++)
            row -= pool_chunks(at->w->rows, CHUNK) * CHUNK;
        if (at < p + loop)
            pool_expect(pool, worker, (const char *)at->w->data + (size_t)row * at->w->row_bytes,
                        (size_t)(at->w->rows - row) * at->w->row_bytes);
    }
}
