/* SPDX-License-Identifier: MIT */
/* Native mode: a whole product, cut into panels of rows for the threads of a pool. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/level.h"
#include "kernels/matrix.h"

enum { FINE_MOST_TOKENS = FAST_LEAST_TOKENS - 1 };

struct job {
    const struct native_ops *ops;
    const struct matrix *w;
    const struct native_format *format;
    const float *bias, *x;
    float *y;
    bool fine;               /* two tokens of codes make one of y */
    struct native_acts acts; /* of few tokens, or of groups of them */
    int64_t groups, chunks;
    struct native_packed packed; /* of many */
};

static struct native_weights weights_at(const struct job *j, int64_t first, int64_t most)
{
    const struct format_info *info = format_info(j->w->format);
    const int64_t left = j->w->rows - first;
    return (struct native_weights){
        j->format,       (const uint8_t *)j->w->data + (size_t)first * j->w->row_bytes,
        j->w->row_bytes, (int)(left < most ? left : most),
        info->block,     info->bytes
    };
}

/* ---------------------------------------------------------------- few tokens */

/* Many tokens are rounded several at a time: what threads write should share few lines. */
enum { ROUNDING_CHUNKS = 64 };

static int64_t tokens_rounded_together(int64_t tokens) { return tokens / ROUNDING_CHUNKS + 1; }

static void quantize_tokens(void *data, int64_t chunk, int worker)
{
    (void)worker;
    struct job *j = data;
    const int64_t tokens = j->fine ? j->acts.tokens / 2 : j->acts.tokens;
    const int64_t some = tokens_rounded_together(tokens), end = (chunk + 1) * some;
    for (int64_t t = chunk * some; t < end && t < tokens; t++) {
        const float *x = j->x + t * j->w->cols;
        const int64_t first = j->fine ? 2 * t : t, last = j->fine ? first + 1 : first;
        if (j->fine)
            native_acts_set_fine(&j->acts, j->format, first, x);
        else
            native_acts_set(&j->acts, j->format, first, x);
        for (int64_t i = first; j->ops->order && i <= last; i++)
            j->ops->order(j->format, &j->acts, i);
    }
}

/* y = bias + the sums of two tokens each, [2 * tokens][rows]. */
static void put_pairs_of_tokens(const struct job *j, const float *sums, int64_t tokens,
                                int64_t first, int rows)
{
    for (int64_t t = 0; t < tokens; t++, sums += 2 * rows) {
        float *y = j->y + t * j->w->rows + first;
        for (int r = 0; r < rows; r++)
            y[r] = sums[r] + sums[rows + r];
        for (int r = 0; j->bias && r < rows; r++)
            y[r] += j->bias[first + r];
    }
}

/* n tokens from token t on. */
static struct native_acts acts_from(const struct native_acts *a, const struct native_format *f,
                                    int64_t t, int64_t n)
{
    struct native_acts from = *a;
    const int64_t at = t * a->stride;
    from.tokens = n;
    from.code += at;
    from.d += at / a->block;
    from.s = a->s ? a->s + at / a->block : NULL;
    from.sum += at / f->unit;
    from.start += at / f->unit;
    return from;
}

/* Mode fast. */
static void one_fine_panel(void *data, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = data;
    const int64_t first = chunk * NATIVE_ROWS;
    const struct native_weights w = weights_at(j, first, NATIVE_ROWS);
    float sums[2 * FINE_MOST_TOKENS * NATIVE_ROWS];
    j->ops->panel(&w, &j->acts, sums, w.rows);
    put_pairs_of_tokens(j, sums, j->acts.tokens / 2, first, w.rows);
}

/* Chunks go through the rows with some tokens, whose activations stay in cache, then with others.
 */
static void one_panel(void *data, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = data;
    const int64_t panels = pool_chunks(j->w->rows, NATIVE_ROWS), tokens = j->acts.tokens;
    const int64_t group = chunk / panels, first = chunk % panels * NATIVE_ROWS;
    const int64_t t0 = group * tokens / j->groups, n = (group + 1) * tokens / j->groups - t0;
    const int64_t stride = j->w->rows;
    const struct native_weights w = weights_at(j, first, NATIVE_ROWS);
    const struct native_acts x = acts_from(&j->acts, j->format, t0, n);
    float *y = j->y + t0 * stride + first;
    j->ops->panel(&w, &x, y, stride);
    for (int64_t t = 0; j->bias && t < n; t++)
        for (int r = 0; r < w.rows; r++)
            y[t * stride + r] += j->bias[first + r];
}

/* The chunks of all products, one after the other. */
static void one_of_all(void *data, int64_t chunk, int worker)
{
    struct job *j = data;
    for (; chunk >= j->chunks; j++)
        chunk -= j->chunks;
    (j->fine ? one_fine_panel : one_panel)(j, chunk, worker);
}

/* The job, of those before j, whose rounded activations j can use; j itself if there is none. */
static struct job *rounds_for(struct job *first, struct job *j)
{
    while (first < j && first->format != j->format)
        first++;
    return first;
}

static void mul_few(struct job *jobs, int n, int64_t tokens, struct pool *pool,
                    const volatile sig_atomic_t *cancel)
{
    int64_t chunks = 0;
    for (struct job *j = jobs; j < jobs + n; j++) {
        struct job *const same = rounds_for(jobs, j);
        j->groups = j->ops->few ? pool_chunks(tokens, j->ops->few(j->format, tokens)) : 1;
        j->groups = j->fine ? 1 : j->groups;
        j->chunks = pool_chunks(j->w->rows, NATIVE_ROWS) * j->groups;
        chunks += j->chunks;
        j->acts = same->acts;
        if (same != j)
            continue;
        native_acts_init(&j->acts, j->format, j->fine ? 2 * tokens : tokens, j->w->cols);
        pool_for(pool, pool_chunks(tokens, tokens_rounded_together(tokens)), quantize_tokens, j,
                 NULL);
    }
    pool_for_runs(pool, chunks, one_of_all, jobs, cancel);
    for (struct job *j = jobs; j < jobs + n; j++)
        if (rounds_for(jobs, j) == j)
            native_acts_free(&j->acts);
}

/* ---------------------------------------------------------------- many tokens */

/* Rows of a chunk: two panels of 16 that share the activations while they are in cache. */
enum { CHUNK = 32 };

static int act_block(const struct native_format *f) { return f->act == NATIVE_Q8_K ? 256 : 32; }

/* Token i of n, rounded in rows of codes, d and sums, goes to its place in a block. */
static void put_token(const struct native_format *f, const struct native_block *row, int64_t cols,
                      const struct native_block *to, int64_t i, int64_t n)
{
    for (int64_t c = 0; c < cols; c += 4)
        memcpy(to->code + c * n + 4 * i, row->code + c, 4);
    for (int64_t g = 0; g < cols / act_block(f); g++)
        to->d[g * n + i] = row->d[g];
    for (int64_t u = 0; u < cols / f->unit; u++) {
        to->start[u * n + i] = -f->zero * row->sum[u];
        if (f->mins)
            to->sum[(u / 2 * n + i) * 2 + u % 2] = row->sum[u];
    }
}

static void pack_block(void *data, int64_t b, int worker)
{
    (void)worker;
    struct job *j = data;
    const struct native_format *f = j->format;
    const int64_t cols = j->w->cols, first = packed_first(&j->packed, b);
    const int64_t n = packed_first(&j->packed, b + 1) - first;
    const struct native_block to = packed_block(&j->packed, first, n, 0, 0, 0);
    struct native_acts row;
    native_acts_init(&row, f, j->fine ? 2 : 1, cols);
    for (int64_t i = 0; i < n; i++) {
        const int64_t t = first + i, half = j->fine ? t % 2 : 0;
        if (j->fine && (!half || !i))
            native_acts_set_fine(&row, f, 0, j->x + t / 2 * cols); /* this one and the next */
        if (!j->fine)
            native_acts_set(&row, f, 0, j->x + t * cols);
        const struct native_acts of = acts_from(&row, f, half, 1);
        const struct native_block from = { of.code, NULL, of.sum, of.d };
        put_token(f, &from, cols, &to, i, n);
    }
    native_acts_free(&row);
}

static void one_chunk(void *data, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = data;
    const int64_t first = chunk * CHUNK;
    const struct native_weights w = weights_at(j, first, CHUNK);
    if (j->fine) {
        float sums[2 * FINE_MOST_TOKENS * CHUNK];
        j->ops->many(&w, &j->packed, NULL, sums, w.rows);
        put_pairs_of_tokens(j, sums, j->packed.tokens / 2, first, w.rows);
        return;
    }
    j->ops->many(&w, &j->packed, j->bias ? j->bias + first : NULL, j->y + first, j->w->rows);
}

/* Room for the activations of all tokens; the caller frees it. */
static void *packed_init(struct native_packed *x, const struct native_format *f, int64_t tokens,
                         int64_t cols, int most)
{
    const size_t n = (size_t)(tokens * cols), units = n / (size_t)f->unit;
    const size_t scales = n / (size_t)act_block(f);
    char *room = x_realloc(NULL, n + 6 * units + 4 * scales);
    *x = (struct native_packed){ .tokens = tokens,
                                 .blocks = pool_chunks(tokens, most),
                                 .cols = cols,
                                 .units = cols / f->unit,
                                 .scales = cols / act_block(f),
                                 .start = (int32_t *)room,
                                 .d = (float *)(room + 4 * units),
                                 .code = (int8_t *)(room + 4 * units + 4 * scales),
                                 .sum = (int16_t *)(room + 4 * units + 4 * scales + n) };
    return room;
}

static void mul_many(struct job *j, int64_t tokens, struct pool *pool,
                     const volatile sig_atomic_t *cancel)
{
    void *room = packed_init(&j->packed, j->format, j->fine ? 2 * tokens : tokens, j->w->cols,
                             j->ops->block);
    pool_for(pool, j->packed.blocks, pack_block, j, NULL);
    pool_for(pool, pool_chunks(j->w->rows, CHUNK), one_chunk, j, cancel);
    free(room);
}

void native_mul(const struct matrix_product *p, int n, bool fine, const float *x, int64_t tokens,
                struct pool *pool, const volatile sig_atomic_t *cancel)
{
    struct job jobs[PRODUCTS_MOST];
    int few = 0; /* products that are made together */
    for (int i = 0; i < n; i++) {
        struct job *j = &jobs[few];
        *j = (struct job){ .ops = level_now()->native,
                           .w = p[i].w,
                           .format = native_format(p[i].w->format),
                           .bias = p[i].bias,
                           .x = x,
                           .y = p[i].y,
                           .fine = fine };
        if (j->ops->few && !j->ops->few(j->format, fine ? 2 * tokens : tokens))
            mul_many(j, tokens, pool, cancel);
        else
            few++;
    }
    mul_few(jobs, few, tokens, pool, cancel);
}
