/* SPDX-License-Identifier: MIT */
/* Native mode: the table of formats, and activations in 8 bits. */
#include "kernels/native.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/codec.h"
#include "kernels/level.h"
#include "kernels/pool.h"

#define NATIVE_ROW(name, ...) [NATIVE_##name] = { #name, __VA_ARGS__ },
static const struct native_format table[NATIVE__COUNT] = { NATIVE_FORMATS(NATIVE_ROW) };

const char *native_act_name(enum native_act a)
{
    static const char *const names[NATIVE_ACT__COUNT] = { "q8_0", "q8_1", "q8_k", "f16", "bf16" };
    return (unsigned)a < NATIVE_ACT__COUNT ? names[a] : "?";
}

const struct native_format *native_format(enum format f)
{
    const struct format_info *info = format_info(f);
    for (int i = 0; info && i < NATIVE__COUNT; i++)
        if (!strcmp(table[i].name, info->name))
            return &table[i];
    return NULL;
}

enum native_id native_id(const struct native_format *n) { return (enum native_id)(n - table); }

int native_rounds(enum format f)
{
    const struct format_info *info = format_info(f);
    if (info && !strcmp(info->name, "f16"))
        return NATIVE_F16;
    return info && !strcmp(info->name, "bf16") ? NATIVE_BF16 : -1;
}

void native_acts_init(struct native_acts *a, const struct native_format *f, int64_t tokens,
                      int64_t cols)
{
    const int block = f->act == NATIVE_Q8_K ? 256 : 32;
    /* Rows a power of two apart would share cache sets: one block more. */
    const int64_t stride = pool_chunks(cols, NATIVE_STEP) * NATIVE_STEP + block;
    *a = (struct native_acts){ .tokens = tokens, .cols = cols, .stride = stride, .block = block };
    const size_t n = (size_t)(tokens * a->stride + NATIVE_SLACK);
    a->code = x_scratch(n);
    a->d = x_scratch(n / (size_t)block * sizeof *a->d);
    a->sum = x_scratch(n / (size_t)f->unit * sizeof *a->sum);
    a->start = x_scratch(n / (size_t)f->unit * sizeof *a->start);
    a->s = f->act == NATIVE_Q8_1 ? x_scratch(n / (size_t)block * sizeof *a->s) : NULL;
}

void native_acts_free(struct native_acts *a)
{
    free(a->code);
    free(a->d);
    free(a->sum);
    free(a->start);
    free(a->s);
    *a = (struct native_acts){ 0 };
}

static void set_start(struct native_acts *a, const struct native_format *f, int64_t t)
{
    const int16_t *sum = a->sum + t * (a->stride / f->unit);
    int32_t *start = a->start + t * (a->stride / f->unit);
    for (int64_t i = 0; i < a->cols / f->unit; i++)
        start[i] = -f->zero * sum[i];
}

void native_acts_set(struct native_acts *a, const struct native_format *f, int64_t t,
                     const float *x)
{
    const int64_t first = t * (a->stride / a->block);
    level_now()->native->acts(f, x, a->cols, a->code + t * a->stride, a->d + first,
                              a->s ? a->s + first : NULL, a->sum + t * (a->stride / f->unit));
    set_start(a, f, t);
}

void native_acts_set_fine(struct native_acts *a, const struct native_format *f, int64_t t,
                          const float *x)
{
    const int64_t units = a->stride / f->unit, blocks = a->stride / a->block;
    int8_t *const code[2] = { a->code + t * a->stride, a->code + (t + 1) * a->stride };
    float *const d[2] = { a->d + t * blocks, a->d + (t + 1) * blocks };
    float *const s[2] = { a->s ? a->s + t * blocks : NULL, a->s ? a->s + (t + 1) * blocks : NULL };
    int16_t *const sum[2] = { a->sum + t * units, a->sum + (t + 1) * units };
    level_now()->native->fine_acts(f, x, a->cols, code, d, s, sum);
    set_start(a, f, t);
    set_start(a, f, t + 1);
}

void round_to_f16(const float *x, int64_t n, float *y)
{
    enum { PIECE = 512 };
    uint16_t h[PIECE];
    for (int64_t i = 0; i < n; i += PIECE) {
        const int64_t m = n - i < PIECE ? n - i : PIECE;
        level_now()->to_halves(x + i, m, h);
        for (int64_t k = 0; k < m; k++)
            y[i + k] = half_to_float(h[k]);
    }
}
