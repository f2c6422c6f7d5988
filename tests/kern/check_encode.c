/* SPDX-License-Identifier: MIT */
/* The encoders of a level: the bytes of level c, of many blocks and of one alone, and what they say
 * of the values. */
#include <math.h>
#include <string.h>

#include "kernels/encoder.h"
#include "tests/kern/checks.h"

static const struct {
    const char *name;
    float limit;
} encoders[ENCODE__COUNT] = {
#define ENCODER(name, limit) { #name, limit },
    ENCODE_FORMATS(ENCODER)
};

const char *encoder_name(int i) { return i < ENCODE__COUNT ? encoders[i].name : NULL; }

/* Blocks to encode: x and weights (NULL: all alike) of the same shape. */
struct blocks {
    const struct format_info *info;
    int64_t n, values; /* blocks, values of them all */
    float *x;
    const float *w;
};

static struct blocks draw_values(struct trial *t)
{
    const float limit = encoders[t->variant].limit;
    const enum draw_kind kind = draw_kind(t, isinf(limit) ? DRAW__COUNT : DRAW_TAME);
    struct blocks b = { .info = format_info(format_of(encoders[t->variant].name)) };
    const bool weighted = draw(t) & 1, plain = b.info->block == 1;
    b.n = plain ? draw_length(t, 0, 3000) : draw_int(t, 1, draw_int(t, 0, 2) ? 9 : 35);
    b.values = b.n * b.info->block;
    kern_note("%d blocks, %s, %s", (int)b.n, draw_name(kind), weighted ? "weighted" : "all alike");
    GUARD(t, float, x, b.values, GUARD_IN);
    GUARD(t, float, w, b.values, GUARD_IN);
    draw_floats(t, kind, x, b.values);
    draw_floats(t, draw_int(t, 0, 5) ? DRAW_WIDE : DRAW_ZERO, w, b.values);
    for (int64_t i = 0; i < b.values; i++) {
        if (fabsf(x[i]) > limit)
            x[i] = copysignf(limit, x[i]);
        w[i] = fabsf(w[i]);
    }
    b.x = x;
    b.w = weighted ? w : NULL;
    return b;
}

static void expect_bytes(const char *what, const uint8_t *got, const uint8_t *want, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        expect_int(what, i, got[i], want[i]);
}

/* No more of an error than nothing at all would make; each block may be looked at by itself. */
static void expect_close(const struct blocks *b, const float *y)
{
    const int size = b->info->block;
    for (int64_t first = 0; first < b->values; first += size) {
        double error = 0, most = 0;
        for (int64_t i = first; i < first + size; i++) {
            const double w = b->w ? (double)b->w[i] : 1, x = (double)b->x[i];
            error += w * ((double)y[i] - x) * ((double)y[i] - x);
            most += w * x * x;
        }
        if (isfinite(most))
            expect_near("weighted error of block", first / size, error, 0, most * 1.0001);
    }
}

void check_encode(struct trial *t)
{
    const struct blocks b = draw_values(t);
    const int64_t bytes = b.n * b.info->bytes;
    GUARD(t, uint8_t, out, bytes, GUARD_OUT);
    GUARD(t, uint8_t, want, bytes, GUARD_OUT);
    GUARD(t, float, y, b.values, GUARD_OUT);
    guard_seal();
    level_c.encode->blocks[t->variant](b.x, b.w, b.n, want);
    CALL(t->level->encode->blocks[t->variant], b.x, b.w, b.n, out);
    expect_bytes("byte", out, want, bytes);
    if (!b.n)
        return;
    const int64_t one = draw_int(t, 0, b.n - 1), at = one * b.info->block;
    CALL(t->level->encode->blocks[t->variant], b.x + at, b.w ? b.w + at : NULL, 1, out);
    expect_bytes("byte of a block alone", out, want + one * b.info->bytes, b.info->bytes);
    b.info->decode(want, y, b.values);
    expect_close(&b, y);
}

void check_encode_largest(struct trial *t)
{
    const enum draw_kind kind = draw_kind(t, DRAW__COUNT);
    const int64_t n = draw_length(t, 0, 3000);
    kern_note("%d numbers, %s", (int)n, draw_name(kind));
    GUARD(t, float, x, n, GUARD_IN);
    draw_floats(t, kind, x, n);
    guard_seal();
    uint32_t got, want = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= 0x7fffffff;
        want = bits > want ? bits : want;
    }
    CALL_TO(got, t->level->encode->largest, x, n);
    expect_int("largest", 0, got, want);
}
