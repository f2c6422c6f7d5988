/* SPDX-License-Identifier: MIT */
/* Blocks of every format, drawn and taken apart without the help of the kernels that use them. */
#include "tests/kern/formats.h"

#include <math.h>
#include <string.h>

#include "kernels/codec.h"

enum { NONE = -1, ELSEWHERE = -2 };

/* Where a block keeps its scale and minimum as halves, and how many times smaller the scale of
 * native mode is, in which all values are whole. */
static const struct layout {
    const char *name;
    int d, m, whole;
} layouts[] = {
    { "q1_0", 0, NONE, 1 },          { "q2_0", 0, NONE, 1 },
    { "q4_0", 0, NONE, 1 },          { "q4_1", 0, 2, 1 },
    { "q5_0", 0, NONE, 1 },          { "q5_1", 0, 2, 1 },
    { "q8_0", 0, NONE, 1 },          { "q8_1", 0, NONE, 1 },
    { "iq4_nl", 0, NONE, 1 },        { "mxfp4", ELSEWHERE, NONE, 1 },
    { "nvfp4", ELSEWHERE, NONE, 1 }, { "q2_k", 80, 82, 1 },
    { "q3_k", 108, NONE, 1 },        { "q4_k", 0, 2, 1 },
    { "q5_k", 0, 2, 1 },             { "q6_k", 208, NONE, 1 },
    { "q8_k", ELSEWHERE, NONE, 1 },  { "tq1_0", 52, NONE, 1 },
    { "tq2_0", 64, NONE, 1 },        { "iq1_s", 0, NONE, 8 },
    { "iq1_m", ELSEWHERE, NONE, 8 }, { "iq2_xxs", 0, NONE, 8 },
    { "iq2_xs", 0, NONE, 8 },        { "iq2_s", 0, NONE, 8 },
    { "iq3_xxs", 0, NONE, 4 },       { "iq3_s", 0, NONE, 1 },
    { "iq4_xs", 0, NONE, 1 },
};

static const struct layout *layout_of(enum format f)
{
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (!strcmp(layouts[i].name, format_info(f)->name))
            return &layouts[i];
    return NULL;
}

/* The i-th format of which a test holds. */
static const char *nth(int i, bool (*holds)(enum format f))
{
    for (int f = 0; f < format_count(); f++)
        if (holds((enum format)f) && i-- == 0)
            return format_info((enum format)f)->name;
    return NULL;
}

static bool decodes(enum format f) { return format_info(f)->decode; }
static bool is_native(enum format f) { return native_format(f); }
const char *decoded_name(int i) { return nth(i, decodes); }
const char *native_name(int i) { return nth(i, is_native); }
enum format format_of(const char *name) { return format_by_name(name); }

static void put_half(uint8_t *p, uint16_t h)
{
    p[0] = (uint8_t)h;
    p[1] = (uint8_t)(h >> 8);
}

/* Give a block these scales; 0x3c00 makes every scale of native mode 1 / whole. */
static void put_scales(const struct layout *l, uint8_t *p, uint16_t d, uint16_t m)
{
    const float q8_k = half_to_float(d);
    if (l->d >= 0)
        put_half(p + l->d, d);
    if (l->m >= 0)
        put_half(p + l->m, m);
    if (!strcmp(l->name, "q8_k"))
        memcpy(p, &q8_k, sizeof q8_k);
    if (!strcmp(l->name, "mxfp4"))
        p[0] = d == 0x3c00 ? 128 : (uint8_t)(120 + d % 16);
    for (int i = 0; i < 4 && !strcmp(l->name, "nvfp4"); i++)
        p[i] = d == 0x3c00 ? 0x40 : (uint8_t)(0x30 + (d + i) % 32);
    for (int i = 0; i < 4 && !strcmp(l->name, "iq1_m"); i++)
        p[49 + 2 * i] = (uint8_t)((p[49 + 2 * i] & 15) | (d >> 4 * i & 15) << 4);
}

static uint16_t draw_half(struct trial *t, enum scales scales)
{
    static const uint16_t extreme[] = { 0x0000, 0x8000, 0x0001, 0x83ff, 0x7bff, 0xfbff, 0x0400 };
    if (scales == SCALES_USUAL)
        return (uint16_t)((draw(t) & 0x8000) | (uint64_t)draw_int(t, 0x2000, 0x2fff));
    if (draw_int(t, 0, 2) == 0)
        return extreme[draw_int(t, 0, 6)];
    return (uint16_t)((draw(t) & 0x8000) | (uint64_t)draw_int(t, 0, 0x7bff));
}

/* Plain numbers: only the kinds of numbers matter. */
static void draw_plain(struct trial *t, enum format f, enum scales scales, uint8_t *p,
                       int64_t bytes)
{
    const char *name = format_info(f)->name;
    const enum draw_kind kind = scales == SCALES_USUAL    ? DRAW_UNIFORM
                                : scales == SCALES_FINITE ? (enum draw_kind)draw_int(t, 0, 6)
                                                          : DRAW_BITS;
    const int size = format_info(f)->bytes;
    draw_bytes(t, p, bytes);
    for (int64_t i = 0; i + size <= bytes && kind != DRAW_BITS; i += size) {
        float v;
        draw_floats(t, kind == DRAW_CANCEL ? DRAW_WIDE : kind, &v, 1);
        const double wide = (double)v;
        if (!strcmp(name, "f32"))
            memcpy(p + i, &v, sizeof v);
        else if (!strcmp(name, "f64"))
            memcpy(p + i, &wide, sizeof wide);
        else if (!strcmp(name, "f16"))
            put_half(p + i, f32_to_f16(v));
        else if (!strcmp(name, "bf16"))
            put_half(p + i, f32_to_bf16(v));
    }
}

/* Scales in a byte: any, and where exponents end. */
static void draw_byte_scales(struct trial *t, const struct layout *l, uint8_t *p)
{
    static const int64_t exponents[] = { 0, 1, 2, 120, 126, 127, 128, 253, 254, 255, -1 };
    if (!strcmp(l->name, "mxfp4"))
        p[0] = (uint8_t)draw_of(t, exponents);
    for (int i = 0; i < 4 && !strcmp(l->name, "nvfp4"); i++)
        p[i] = (uint8_t)(draw(t) >> 32);
}

void draw_blocks(struct trial *t, enum format f, enum scales scales, uint8_t *p, int64_t bytes)
{
    const struct layout *l = layout_of(f);
    if (!l) {
        draw_plain(t, f, scales, p, bytes);
        return;
    }
    draw_bytes(t, p, bytes);
    for (int64_t i = 0; i < bytes && scales != SCALES_BITS; i += format_info(f)->bytes) {
        put_scales(l, p + i, draw_half(t, scales), draw_half(t, scales));
        if (scales == SCALES_FINITE)
            draw_byte_scales(t, l, p + i);
    }
    /* What a kernel makes up behind the end of a row must not meet it. */
    if (scales == SCALES_BITS && bytes && draw_int(t, 0, 3) == 0)
        put_scales(l, p + bytes - format_info(f)->bytes, 0x7c00, 0);
}

void extreme_blocks(struct trial *t, enum format f, uint8_t *p, int64_t bytes)
{
    static const uint8_t all[] = { 0x00, 0xff, 0x80 };
    const struct layout *l = layout_of(f);
    const uint8_t byte = all[draw_int(t, 0, 2)];
    for (int64_t i = 0; i < bytes; i += format_info(f)->bytes) {
        memset(p + i, byte, (size_t)format_info(f)->bytes);
        if (!strcmp(l->name, "q6_k")) /* -32 times -128 */
            memset(p + i + 192, 0x80, 16);
        put_scales(l, p + i, 0x3c00, 0x3c00);
    }
}

void define_values(enum format f, const uint8_t *src, int64_t n, float *out)
{
    const struct format_info *info = format_info(f);
    const bool offset = layout_of(f)->m >= 0, moved = !strncmp(info->name, "iq1", 3);
    for (int64_t c = 0; c < n; c += info->block, src += info->bytes) {
        struct block_view v;
        info->view(src, &v);
        for (int i = 0; i < v.n; i++) {
            const int s = i / v.sub_size;
            const float product = v.scale[s] * v.level[i];
            out[c + i] = offset ? product + v.offset[s] : product; /* +0 would lose a -0 */
            if (moved) { /* by an eighth, before the product */
                const bool up = !signbit(v.offset[s]) == !signbit(v.scale[s]);
                out[c + i] = v.scale[s] * (v.level[i] + (up ? 0.125f : -0.125f));
            }
        }
    }
}

/* d and m of a group at column `at` of a block. */
static float group_scale(const struct layout *l, const uint8_t *p, int at)
{
    if (!strcmp(l->name, "mxfp4"))
        return ldexpf(1, p[0] - 128);
    if (!strcmp(l->name, "nvfp4")) {
        const int e = p[at / 16] >> 3 & 15, mantissa = p[at / 16] & 7;
        if (p[at / 16] == 0x7f)
            return 0;
        return e ? ldexpf((float)(8 + mantissa), e - 11) : ldexpf((float)mantissa, -10);
    }
    unsigned half = l->d >= 0 ? load_u16(p + l->d) : 0;
    for (int i = 0; i < 4 && !strcmp(l->name, "iq1_m"); i++)
        half |= (unsigned)(p[49 + 2 * i] >> 4) << 4 * i;
    return half_to_float((uint16_t)half) / (float)l->whole;
}

void define_native(const struct native_format *n, const uint8_t *src, int64_t cols,
                   const struct native_definition *out)
{
    const enum format f = format_by_name(n->name);
    const struct format_info *info = format_info(f);
    const struct layout *l = layout_of(f);
    const bool minimum = n->mins || n->act == NATIVE_Q8_1;
    for (int64_t c = 0; c < cols; c += info->block, src += info->bytes) {
        struct block_view v;
        uint8_t ones[512];
        memcpy(ones, src, (size_t)info->bytes);
        put_scales(l, ones, 0x3c00, 0x3c00);
        info->view(ones, &v);
        for (int i = 0; i < v.n; i++) {
            const int s = i / v.sub_size;
            const double value = (double)v.scale[s] * v.level[i] + (minimum ? 0 : v.offset[s]);
            out->product[c + i] = (int32_t)lrint(value * l->whole);
            out->min[c + i] = n->mins ? (int32_t)lrint(-v.offset[s]) : 0;
        }
        for (int i = 0; i < v.n; i += n->group) {
            out->d[(c + i) / n->group] = group_scale(l, src, i);
            out->m[(c + i) / n->group] = minimum ? half_to_float(load_u16(src + l->m)) : 0;
        }
    }
}
