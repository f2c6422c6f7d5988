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

void score_keys(const float *q, const float *k, int64_t stride, const int32_t *keys, int64_t count,
                int64_t n, float scale, float *out)
{
    level_now()->dot_keys(q, k, stride, keys, count, n, scale, out);
}

void mix_keys(const float *p, const float *v, int64_t stride, const int32_t *keys, int64_t count,
              int64_t n, float *z)
{
    level_now()->mix_keys(p, v, stride, keys, count, n, z);
}

struct exact_job {
    const struct level *level;
    const struct matrix *w;
    const struct format_info *format;
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
            j->format->decode(src, rows + i * w->cols, w->cols);
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
    struct exact_job j = { level_now(), w, format_info(w->format), bias, x, y, tokens };
    pool_for(pool, pool_chunks(w->rows, CHUNK), rows_of_chunk, &j, cancel);
}

struct native_job {
    const struct level *level;
    const struct matrix *w;
    const struct native_format *format;
    const float *bias, *x;
    float *y;
    struct native_acts acts;
};

static void quantize_token(void *data, int64_t t, int worker)
{
    (void)worker;
    struct native_job *j = data;
    native_acts_set(&j->acts, j->format, t, j->x + t * j->w->cols);
}

static struct native_row panel_alloc(const struct native_format *f)
{
    const size_t n = NATIVE_ROWS * NATIVE_COLS, units = n / (size_t)f->unit,
                 groups = n / (size_t)f->group;
    return (struct native_row){
        .code = x_alloc(n),
        .scale = f->unit < f->group ? x_alloc(units * sizeof(int16_t)) : NULL,
        .min = f->mins ? x_alloc(units * sizeof(int16_t)) : NULL,
        .d = x_alloc(groups * sizeof(float)),
        .m = f->mins || f->act == NATIVE_Q8_1 ? x_alloc(groups * sizeof(float)) : NULL,
    };
}

static void panel_free(struct native_row *p)
{
    free(p->code);
    free(p->scale);
    free(p->min);
    free(p->d);
    free(p->m);
}

/* Row r of a panel of n columns. */
static struct native_row panel_row(const struct native_format *f, const struct native_row *p,
                                   int64_t n, int64_t r)
{
    const int64_t units = r * (n / f->unit), groups = r * (n / f->group);
    return (struct native_row){ p->code + r * n, p->scale ? p->scale + units : NULL,
                                p->min ? p->min + units : NULL, p->d + groups,
                                p->m ? p->m + groups : NULL };
}

static void native_chunk(void *data, int64_t chunk, int worker)
{
    (void)worker;
    const struct native_job *j = data;
    const struct matrix *w = j->w;
    const struct native_format *f = j->format;
    const struct format_info *info = format_info(w->format);
    const int64_t first = chunk * NATIVE_ROWS, left = w->rows - first;
    const int rows = (int)(left < NATIVE_ROWS ? left : NATIVE_ROWS);
    struct native_row panel = panel_alloc(f);
    for (int64_t c = 0; c < w->cols; c += NATIVE_COLS) {
        const int64_t n = w->cols - c < NATIVE_COLS ? w->cols - c : NATIVE_COLS;
        for (int r = 0; r < rows; r++) {
            const struct native_row row = panel_row(f, &panel, n, r);
            j->level->unpack[native_id(f)]((const uint8_t *)w->data
                                               + (size_t)(first + r) * w->row_bytes
                                               + c / info->block * info->bytes,
                                           n, &row);
        }
        j->level->native_dots(f, &panel, rows, &j->acts, c, n, j->y + first, w->rows);
    }
    for (int64_t t = 0; j->bias && t < j->acts.tokens; t++)
        for (int r = 0; r < rows; r++)
            j->y[t * w->rows + first + r] += j->bias[first + r];
    panel_free(&panel);
}

static void native_mul(const struct matrix *w, const struct native_format *f, const float *bias,
                       const float *x, int64_t tokens, float *y, struct pool *pool,
                       const volatile sig_atomic_t *cancel)
{
    struct native_job j = {
        .level = level_now(), .w = w, .format = f, .bias = bias, .x = x, .y = y
    };
    native_acts_init(&j.acts, f, tokens, w->cols);
    pool_for(pool, tokens, quantize_token, &j, NULL);
    pool_for(pool, pool_chunks(w->rows, NATIVE_ROWS), native_chunk, &j, cancel);
    native_acts_free(&j.acts);
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
