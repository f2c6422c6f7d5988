/* SPDX-License-Identifier: MIT */
/* Decoders and rounding against their definitions, bit for bit. */
#include <math.h>
#include <string.h>

#include "tests/kern/checks.h"

static float integer_at(const uint8_t *p, int size)
{
    int8_t one;
    int16_t two;
    int32_t four;
    int64_t eight;
    switch (size) {
    case 1: memcpy(&one, p, 1); return one;
    case 2: memcpy(&two, p, 2); return two;
    case 4: memcpy(&four, p, 4); return (float)four;
    default: memcpy(&eight, p, 8); return (float)eight;
    }
}

/* The value of a half, from its fields. */
static float half_value(unsigned h)
{
    const int e = h >> 10 & 31, mantissa = h & 1023;
    const float v = e == 31 ? mantissa ? NAN : INFINITY
                    : e     ? ldexpf((float)(1024 + mantissa), e - 25)
                            : ldexpf((float)mantissa, -24);
    return h & 0x8000 ? -v : v;
}

static float plain_value(const char *name, const uint8_t *p)
{
    uint32_t bits = 0;
    double wide;
    float v;
    const int size = format_info(format_by_name(name))->bytes;
    if (!strcmp(name, "f32")) {
        memcpy(&v, p, sizeof v);
        return v;
    }
    if (size == 2)
        memcpy(&bits, p, sizeof(uint16_t));
    if (!strcmp(name, "f16"))
        return half_value(bits);
    if (!strcmp(name, "bf16")) {
        bits <<= 16;
        memcpy(&v, &bits, sizeof v);
        return v;
    }
    if (!strcmp(name, "f64")) {
        memcpy(&wide, p, sizeof wide);
        return (float)wide;
    }
    return integer_at(p, size);
}

/* Some blocks, and their values by definition. */
struct blocks {
    enum format f;
    int64_t n;
    const uint8_t *src;
    float *dst, *want;
};

static struct blocks draw_values(struct trial *t)
{
    const char *name = decoded_name(t->variant);
    const enum format f = format_of(name);
    const struct format_info *info = format_info(f);
    const enum scales scales = (enum scales)(t->number % SCALES__COUNT);
    const int64_t n = draw_length(t, 0, 3000) / info->block * info->block;
    kern_note("%d columns, kind %d of scales", (int)n, (int)scales);
    GUARD(t, uint8_t, src, n / info->block * info->bytes, GUARD_IN);
    GUARD(t, float, dst, n, GUARD_OUT);
    GUARD(t, float, want, n, GUARD_OUT);
    draw_blocks(t, f, scales, src, n / info->block * info->bytes);
    guard_seal();
    if (info->view)
        define_values(f, src, n, want);
    else
        for (int64_t i = 0; i < n; i++)
            want[i] = plain_value(name, src + i * info->bytes);
    return (struct blocks){ f, n, src, dst, want };
}

void check_codec(struct trial *t)
{
    const struct blocks b = draw_values(t);
    CALL(format_info(b.f)->decode, b.src, b.dst, b.n);
    expect_bits("value", b.dst, b.want, b.n);
}

void check_decode(struct trial *t)
{
    const struct blocks b = draw_values(t);
    const struct decoder d = decoder_of(b.f);
    CALL(t->level->decode, &d, b.src, b.dst, b.n);
    expect_bits("value", b.dst, b.want, b.n);
}

/* To nearest, ties to even, with `bits` of significand and the least exponent `least`. */
static float rounded(float x, int bits, int least, float limit)
{
    int e;
    if (isnan(x) || isinf(x) || x == 0)
        return x;
    frexp((double)x, &e);
    const int unit = (e - 1 < least ? least : e - 1) - (bits - 1);
    const double y = ldexp(nearbyint(ldexp((double)x, -unit)), unit);
    return fabs(y) > (double)limit ? copysignf(INFINITY, x) : copysignf((float)y, x);
}

typedef void rounder(const float *x, int64_t n, float *y);

enum { MOST_ROUNDED = 2000 };

static void brains_as_floats(const float *x, int64_t n, float *y)
{
    uint16_t brains[MOST_ROUNDED];
    level_now()->to_brains(x, n, brains);
    for (int64_t i = 0; i < n; i++)
        y[i] = bf16_to_f32(brains[i]);
}

static void check_rounding(struct trial *t, rounder *kernel, int bits, int least, float limit)
{
    const enum draw_kind kind = draw_kind(t, DRAW__COUNT);
    const int64_t n = draw_length(t, 0, MOST_ROUNDED);
    kern_note("%d numbers, %s", (int)n, draw_name(kind));
    GUARD(t, float, x, n, GUARD_IN);
    GUARD(t, float, y, n, GUARD_OUT);
    GUARD(t, float, want, n, GUARD_OUT);
    draw_floats(t, kind, x, n);
    for (int64_t i = 0; i < n; i++) { /* halfway between two, as often as not */
        uint32_t u;
        memcpy(&u, &x[i], sizeof u);
        if (draw(t) & 1)
            u = (u & ~((1u << (25 - bits)) - 1)) | 1u << (23 - bits);
        memcpy(&x[i], &u, sizeof u);
        want[i] = rounded(x[i], bits, least, limit);
        if (kernel == brains_as_floats)
            want[i] = brain_in_range(want[i]);
    }
    memcpy(y, x, (size_t)n * sizeof *x);
    guard_seal();
    const bool in_place = draw(t) & 1;
    CALL(kernel, in_place ? y : x, n, y);
    expect_bits("y", y, want, n);
}

void check_round_f16(struct trial *t) { check_rounding(t, round_to_f16, 11, -14, 65504); }
void check_to_brains(struct trial *t)
{
    check_rounding(t, brains_as_floats, 8, -126, 0x1.fep127f);
}
