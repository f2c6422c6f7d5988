/* SPDX-License-Identifier: MIT */
/* Native mode: a whole product, cut into panels of rows for the threads of a pool. */
#include "kernels/level.h"
#include "kernels/matrix.h"

struct job {
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
    struct job *j = data;
    native_acts_set(&j->acts, j->format, t, j->x + t * j->w->cols);
}

static void one_panel(void *data, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = data;
    const struct format_info *info = format_info(j->w->format);
    const int64_t first = chunk * NATIVE_ROWS, left = j->w->rows - first, stride = j->w->rows;
    const struct native_weights w = {
        j->format,       (const uint8_t *)j->w->data + (size_t)first * j->w->row_bytes,
        j->w->row_bytes, (int)(left < NATIVE_ROWS ? left : NATIVE_ROWS),
        info->block,     info->bytes
    };
    j->level->native_panel(&w, &j->acts, j->y + first, stride);
    for (int64_t t = 0; j->bias && t < j->acts.tokens; t++)
        for (int r = 0; r < w.rows; r++)
            j->y[t * stride + first + r] += j->bias[first + r];
}

void native_mul(const struct matrix *w, const struct native_format *f, const float *bias,
                const float *x, int64_t tokens, float *y, struct pool *pool,
                const volatile sig_atomic_t *cancel)
{
    struct job j = { .level = level_now(), .w = w, .format = f, .bias = bias, .x = x, .y = y };
    native_acts_init(&j.acts, f, tokens, w->cols);
    pool_for(pool, tokens, quantize_token, &j, NULL);
    pool_for(pool, pool_chunks(w->rows, NATIVE_ROWS), one_panel, &j, cancel);
    native_acts_free(&j.acts);
}
