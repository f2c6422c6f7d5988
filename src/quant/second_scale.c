/* SPDX-License-Identifier: MIT */
#include "quant/second_scale.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"

/* The names that llama.cpp (2026-08) reads scales beside; a tensor that it does not expect makes a
 * file broken for it. */
bool second_scale_read(const struct weight *w)
{
    static const char *const names[] = {
        "attn_q",      "attn_k",        "attn_v",         "attn_output",  "attn_qkv",
        "attn_gate",   "ffn_gate",      "ffn_up",         "ffn_down",     "ffn_gate_exps",
        "ffn_up_exps", "ffn_down_exps", "ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp",
        "ssm_in",      "ssm_out",       "ssm_alpha",      "ssm_beta"
    };
    struct str s = w->name;
    if (w->rank < 2 || !str_ends(s, ".weight"))
        return false;
    s.n -= sizeof ".weight" - 1;
    if (str_is(s, "output"))
        return true;
    size_t at = s.n;
    while (at && s.p[at - 1] != '.')
        at--;
    bool known = false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        known |= str_is(str_of(s.p + at, s.n - at), names[i]);
    return known && str_starts(s, "blk.");
}

struct numeric second_scale_format(const struct weight *w)
{
    struct numeric f = numeric_storage(w->format);
    if (w->scale && w->format == format_by_name("nvfp4"))
        f.grain = GRAIN_TENSOR;
    return f;
}

bool second_scale_stored(const struct weight *w, const struct numeric *f)
{
    const struct numeric is = second_scale_format(w);
    return f->base == NUMERIC_STORAGE && f->storage == is.storage
           && numeric_second_scale(f) == numeric_second_scale(&is);
}

struct peaks {
    const struct weight *from;
    float *of;      /* [rows] */
    float *scratch; /* [threads][cols] */
};

static void peak_of_row(void *data, int64_t row, int worker)
{
    const struct peaks *p = data;
    const uint64_t n = p->from->cols;
    float *x = p->scratch + (uint64_t)worker * n, peak = 0;
    weight_decode_flat(p->from, (uint64_t)row * n, n, x);
    for (uint64_t i = 0; i < n; i++)
        peak = fabsf(x[i]) > peak ? fabsf(x[i]) : peak;
    p->of[row] = peak;
}

static float scale_for(double peak)
{
    enum { TOP = 448 * 6, LEAST = -126 };
    int exponent;
    if (!(peak > 0) || isinf(peak))
        return 1;
    const double part = frexp(peak / TOP, &exponent);
    exponent -= part == 0.5;
    return (float)ldexp(1, exponent > LEAST ? exponent : LEAST);
}

enum st second_scales(const struct weight *from, struct pool *pool,
                      const volatile sig_atomic_t *cancel, float **out, struct err *e)
{
    const uint64_t per = weight_matrix_rows(from), n = from->rows / per;
    struct peaks p = { .from = from };
    void *scales, *room;
    enum st st = mem_alloc(&scales, (size_t)n * sizeof(float), "scales of matrices", e);
    if (st)
        return st;
    if ((st = mem_alloc(&room,
                        (size_t)((uint64_t)pool_threads(pool) * from->cols + from->rows)
                            * sizeof(float),
                        "the largest of each row", e))) {
        mem_free(scales);
        return st;
    }
    p.of = room;
    p.scratch = p.of + from->rows;
    if (!pool_for(pool, (int64_t)from->rows, peak_of_row, &p, cancel))
        st = st_fail(e, ST_CANCELLED, "interrupted");
    for (uint64_t i = 0; i < n; i++) {
        float peak = 0;
        for (uint64_t r = i * per; r < (i + 1) * per; r++)
            peak = p.of[r] > peak ? p.of[r] : peak;
        ((float *)scales)[i] = scale_for((double)peak);
    }
    mem_free(room);
    if (st)
        mem_free(scales);
    else
        *out = scales;
    return st;
}
