/* SPDX-License-Identifier: MIT */
#include "kernels/matrix.h"

#include <stdlib.h>

#include "base/memory.h"
#include "kernels/level.h"

const char *compute_name(enum compute c)
{
    static const char *const names[COMPUTE__COUNT] = { "exact", "native", "fast" };
    return (unsigned)c < COMPUTE__COUNT ? names[c] : "?";
}

enum { CHUNK = 16 /* rows of W per task of the pool */ };

struct exact_job {
    const struct level *level;
    const struct matrix *w;
    const struct format_info *format;
    struct decoder decoder;
    const float *bias, *x;
    float *y;
    int64_t tokens;
};

static void rows_of_chunk(void *data, int64_t chunk, int worker)
{
    (void)worker;
    const struct exact_job *j = data;
    const struct matrix *w = j->w;
    const int64_t end = (chunk + 1) * CHUNK < w->rows ? (chunk + 1) * CHUNK : w->rows;
    float *rows = x_alloc((size_t)(w->cols * j->level->rows) * sizeof *rows);
    for (int64_t r = chunk * CHUNK; r < end;) {
        const int n = end - r < j->level->rows ? 1 : j->level->rows;
        for (int i = 0; i < n; i++) {
            const char *src = (const char *)w->data + (size_t)(r + i) * w->row_bytes
                              + j->format->row_header;
            j->level->decode(&j->decoder, src, rows + i * w->cols, w->cols);
        }
        j->level->dot_rows(rows, n, j->x, j->tokens, w->cols, j->y + r, w->rows);
        for (int64_t t = 0; j->bias && t < j->tokens; t++)
            for (int i = 0; i < n; i++)
                j->y[t * w->rows + r + i] += j->bias[r + i];
        r += n;
    }
    free(rows);
}

static void exact_mul(const struct matrix *w, const float *bias, const float *x, int64_t tokens,
                      float *y, struct pool *pool, const volatile sig_atomic_t *cancel)
{
    struct exact_job j = { level_now(), w, format_info(w->format), decoder_of(w->format),
                           bias, x, y, tokens };
    pool_for(pool, pool_chunks(w->rows, CHUNK), rows_of_chunk, &j, cancel);
}

const char *matrix_activations(enum format f)
{
    const struct native_format *n = native_format(f);
    if (n)
        return native_act_name(n->act);
    return native_rounds(f) < 0 ? "f32" : native_act_name((enum native_act)native_rounds(f));
}

void matrix_mul(const struct matrix *w, const float *bias, const float *x, int64_t tokens, float *y,
                enum compute mode, struct pool *pool, const volatile sig_atomic_t *cancel)
{
    if (mode == COMPUTE_FAST && tokens >= FAST_LEAST_TOKENS) {
        fast_mul(w, bias, x, tokens, y, pool, cancel);
        return;
    }
    const struct native_format *f = mode == COMPUTE_NATIVE ? native_format(w->format) : NULL;
    const int rounds = mode == COMPUTE_NATIVE ? native_rounds(w->format) : -1;
    if (f) {
        native_mul(w, f, bias, x, tokens, y, pool, cancel);
        return;
    }
    float *rounded = rounds < 0 ? NULL : x_alloc((size_t)(tokens * w->cols) * sizeof *rounded);
    if (rounded)
        (rounds == NATIVE_F16 ? round_to_f16 : round_to_bf16)(x, tokens * w->cols, rounded);
    exact_mul(w, bias, rounded ? rounded : x, tokens, y, pool, cancel);
    free(rounded);
}
