/* SPDX-License-Identifier: MIT */
/* Codecs of the IQ formats with super-blocks of 256: weights are points of a codebook. */
#include "kernels/codebooks.h"
#include "kernels/codec.h"
#include "kernels/view.h"

enum { SUPER = 256 };

/* Magnitudes of n weights with one sign bit each, times the scale of their sub-block. */
static inline void put_signed(float *restrict y, float scale, const uint8_t *grid, unsigned signs,
                              int n)
{
    for (int j = 0; j < n; j++) {
        float a = scale * (float)grid[j];
        y[j] = signs >> j & 1 ? -a : a;
    }
}

/* The same for a view: `code` is the row of the codebook. */
static void view_signed(struct block_view *v, int at, int code, const uint8_t *grid, unsigned signs,
                        int n)
{
    put_signed(v->level + at, 1, grid, signs, n);
    for (int j = 0; j < n; j++)
        v->code[at + j] = code;
}

static inline float iq2_scale(float d, unsigned s) { return d * (0.5f + (float)s) * 0.25f; }

/* IQ2_XXS: f16 d; per 32 weights two u32: four codebook rows; four 7-bit signs, 4-bit scale. */
void decode_iq2_xxs(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    for (int64_t i = 0; i < n; i += SUPER, p += 66) {
        float d = load_f16(p);
        for (int s = 0; s < 8; s++) {
            const uint8_t *q = p + 2 + 8 * s;
            uint32_t a = load_u32(q + 4);
            float scale = iq2_scale(d, a >> 28);
            for (int l = 0; l < 4; l++, dst += 8)
                put_signed(dst, scale, codebook_iq2_xxs[q[l]], even_signs(a >> 7 * l & 127), 8);
        }
    }
}

void view_iq2_xxs(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    int scales[8];
    view_begin(v, SUPER, 32);
    for (int s = 0; s < 8; s++) {
        const uint8_t *q = p + 2 + 8 * s;
        uint32_t a = load_u32(q + 4);
        scales[s] = (int)(a >> 28);
        v->scale[s] = iq2_scale(load_f16(p), a >> 28);
        for (int l = 0; l < 4; l++)
            view_signed(v, 32 * s + 8 * l, q[l], codebook_iq2_xxs[q[l]],
                        even_signs(a >> 7 * l & 127), 8);
    }
    view_f16(v, "d", p);
    view_ints(v, "scales", scales, 8);
    view_bytes(v, "qs", p + 2, 64);
    decode_iq2_xxs(p, v->value, SUPER);
}

/* IQ2_XS: f16 d, u16 qs[32] (9 bits codebook row, 7 bits signs), u8 scales[8] (a nibble per 16). */
void decode_iq2_xs(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    for (int64_t i = 0; i < n; i += SUPER, p += 74) {
        float d = load_f16(p);
        for (int g = 0; g < 32; g++, dst += 8) {
            unsigned q = load_u16(p + 2 + 2 * g), s = p[66 + g / 4] >> g % 4 / 2 * 4 & 15;
            put_signed(dst, iq2_scale(d, s), codebook_iq2_xs[q & 511], even_signs(q >> 9), 8);
        }
    }
}

/* The 16 nibbles of the scales of IQ2_XS and IQ2_S. */
static void view_iq2_scales(struct block_view *v, float d, const uint8_t *p)
{
    int scales[16];
    for (int s = 0; s < 16; s++) {
        scales[s] = p[s / 2] >> s % 2 * 4 & 15;
        v->scale[s] = iq2_scale(d, (unsigned)scales[s]);
    }
    view_ints(v, "scales", scales, 16);
}

void view_iq2_xs(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    view_begin(v, SUPER, 16);
    view_f16(v, "d", p);
    view_iq2_scales(v, load_f16(p), p + 66);
    view_bytes(v, "qs", p + 2, 64);
    for (int g = 0; g < 32; g++) {
        unsigned q = load_u16(p + 2 + 2 * g);
        view_signed(v, 8 * g, q & 511, codebook_iq2_xs[q & 511], even_signs(q >> 9), 8);
    }
    decode_iq2_xs(p, v->value, SUPER);
}

/* IQ2_S: f16 d, u8 qs[32] and two bits each of u8 qh[8] (codebook row), u8 signs[32], u8 scales[8].
 * File order: d, qs, signs, qh, scales. */
static inline int iq2_s_row(const uint8_t *p, int g)
{
    return p[2 + g] | (p[66 + g / 4] >> g % 4 * 2 & 3) << 8;
}

void decode_iq2_s(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    for (int64_t i = 0; i < n; i += SUPER, p += 82) {
        float d = load_f16(p);
        for (int g = 0; g < 32; g++, dst += 8) {
            unsigned s = p[74 + g / 4] >> g % 4 / 2 * 4 & 15;
            put_signed(dst, iq2_scale(d, s), codebook_iq2_s[iq2_s_row(p, g)], p[34 + g], 8);
        }
    }
}

void view_iq2_s(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    view_begin(v, SUPER, 16);
    view_f16(v, "d", p);
    view_iq2_scales(v, load_f16(p), p + 74);
    view_bytes(v, "qs", p + 2, 32);
    view_bytes(v, "signs", p + 34, 32);
    view_bytes(v, "qh", p + 66, 8);
    for (int g = 0; g < 32; g++) {
        int row = iq2_s_row(p, g);
        view_signed(v, 8 * g, row, codebook_iq2_s[row], p[34 + g], 8);
    }
    decode_iq2_s(p, v->value, SUPER);
}

/* IQ3_XXS: f16 d, u8 qs[64] (a codebook row per 4 weights), per 32 a u32: four 7-bit signs,
 * 4-bit scale. */
static inline float iq3_xxs_scale(float d, unsigned s) { return d * (0.5f + (float)s) * 0.5f; }

void decode_iq3_xxs(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    for (int64_t i = 0; i < n; i += SUPER, p += 98) {
        float d = load_f16(p);
        for (int g = 0; g < 32; g++, dst += 8) {
            uint32_t a = load_u32(p + 66 + g / 4 * 4);
            float scale = iq3_xxs_scale(d, a >> 28);
            unsigned signs = even_signs(a >> 7 * (g % 4) & 127);
            put_signed(dst, scale, codebook_iq3_xxs[p[2 + 2 * g]], signs, 4);
            put_signed(dst + 4, scale, codebook_iq3_xxs[p[3 + 2 * g]], signs >> 4, 4);
        }
    }
}

void view_iq3_xxs(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    int scales[8];
    view_begin(v, SUPER, 32);
    for (int s = 0; s < 8; s++) {
        uint32_t a = load_u32(p + 66 + 4 * s);
        scales[s] = (int)(a >> 28);
        v->scale[s] = iq3_xxs_scale(load_f16(p), a >> 28);
    }
    for (int g = 0; g < 64; g++) {
        uint32_t a = load_u32(p + 66 + g / 8 * 4);
        unsigned signs = even_signs(a >> 7 * (g % 8 / 2) & 127) >> g % 2 * 4;
        view_signed(v, 4 * g, p[2 + g], codebook_iq3_xxs[p[2 + g]], signs, 4);
    }
    view_f16(v, "d", p);
    view_ints(v, "scales", scales, 8);
    view_bytes(v, "qs", p + 2, 64);
    view_bytes(v, "scales_signs", p + 66, 32);
    decode_iq3_xxs(p, v->value, SUPER);
}

/* IQ3_S: f16 d, u8 qs[64] with the ninth bits in u8 qh[8] (codebook row per 4), u8 signs[32],
 * u8 scales[4] (a nibble per 32). */
static inline int iq3_s_row(const uint8_t *p, int g)
{
    return p[2 + g] | (p[66 + g / 8] >> g % 8 & 1) << 8;
}

static inline int iq3_s_factor(const uint8_t *p, int s)
{
    return 1 + 2 * (p[106 + s / 2] >> s % 2 * 4 & 15);
}

void decode_iq3_s(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    for (int64_t i = 0; i < n; i += SUPER, p += 110) {
        float d = load_f16(p);
        for (int g = 0; g < 64; g++, dst += 4) {
            float scale = d * (float)iq3_s_factor(p, g / 8);
            put_signed(dst, scale, codebook_iq3_s[iq3_s_row(p, g)], p[74 + g / 2] >> g % 2 * 4, 4);
        }
    }
}

void view_iq3_s(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    int factors[8];
    view_begin(v, SUPER, 32);
    for (int s = 0; s < 8; s++) {
        factors[s] = iq3_s_factor(p, s);
        v->scale[s] = load_f16(p) * (float)factors[s];
    }
    for (int g = 0; g < 64; g++) {
        int row = iq3_s_row(p, g);
        view_signed(v, 4 * g, row, codebook_iq3_s[row], p[74 + g / 2] >> g % 2 * 4, 4);
    }
    view_f16(v, "d", p);
    view_ints(v, "1+2*scales", factors, 8);
    view_bytes(v, "qs", p + 2, 64);
    view_bytes(v, "qh", p + 66, 8);
    view_bytes(v, "signs", p + 74, 32);
    decode_iq3_s(p, v->value, SUPER);
}

/* Ternary points of IQ1_S and IQ1_M, moved by an eighth up or down. */
static inline void put_moved(float *restrict y, float scale, const int8_t *grid, float delta)
{
    for (int j = 0; j < 8; j++)
        y[j] = scale * ((float)grid[j] + delta);
}

static void view_moved(struct block_view *v, int at, int row)
{
    for (int j = 0; j < 8; j++) {
        v->code[at + j] = row;
        v->level[at + j] = codebook_iq1_s[row][j];
    }
}

/* IQ1_S: f16 d, u8 qs[32], u16 qh[8]: per 32, three high bits of four codebook rows, a 3-bit scale,
 * the sign of delta. */
static inline int iq1_s_row(const uint8_t *p, int g)
{
    return p[2 + g] | (load_u16(p + 34 + g / 4 * 2) >> g % 4 * 3 & 7) << 8;
}

static inline int iq1_s_factor(unsigned qh) { return 2 * (int)(qh >> 12 & 7) + 1; }
static inline float iq1_s_delta(unsigned qh) { return qh & 0x8000 ? -0.125f : 0.125f; }

void decode_iq1_s(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    for (int64_t i = 0; i < n; i += SUPER, p += 50) {
        float d = load_f16(p);
        for (int g = 0; g < 32; g++, dst += 8) {
            unsigned qh = load_u16(p + 34 + g / 4 * 2);
            float scale = d * (float)iq1_s_factor(qh);
            put_moved(dst, scale, codebook_iq1_s[iq1_s_row(p, g)], iq1_s_delta(qh));
        }
    }
}

void view_iq1_s(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    int factors[8];
    view_begin(v, SUPER, 32);
    for (int s = 0; s < 8; s++) {
        unsigned qh = load_u16(p + 34 + 2 * s);
        factors[s] = iq1_s_factor(qh);
        v->scale[s] = load_f16(p) * (float)factors[s];
        v->offset[s] = v->scale[s] * iq1_s_delta(qh);
    }
    for (int g = 0; g < 32; g++)
        view_moved(v, 8 * g, iq1_s_row(p, g));
    view_f16(v, "d", p);
    view_ints(v, "1+2*scales", factors, 8);
    view_bytes(v, "qs", p + 2, 32);
    view_bytes(v, "qh", p + 34, 16);
    decode_iq1_s(p, v->value, SUPER);
}

/* IQ1_M: u8 qs[32], u8 qh[16] (a nibble per 8: three row bits, sign of delta), four u16 of scales:
 * twelve bits hold a 3-bit scale per 16 weights, the top nibbles together are the f16 d. */
static inline uint16_t iq1_m_d(const uint8_t *p)
{
    unsigned a = load_u16(p + 48), b = load_u16(p + 50), c = load_u16(p + 52), e = load_u16(p + 54);
    return (uint16_t)(a >> 12 | (b >> 8 & 0xf0) | (c >> 4 & 0xf00) | (e & 0xf000));
}

static inline int iq1_m_factor(const uint8_t *p, int s)
{
    return 2 * (load_u16(p + 48 + s / 4 * 2) >> s % 4 * 3 & 7) + 1;
}

static inline int iq1_m_nibble(const uint8_t *p, int g) { return p[32 + g / 2] >> g % 2 * 4 & 15; }

static inline int iq1_m_row(const uint8_t *p, int g)
{
    return p[g] | (iq1_m_nibble(p, g) & 7) << 8;
}

static inline float iq1_m_delta(const uint8_t *p, int g)
{
    return iq1_m_nibble(p, g) & 8 ? -0.125f : 0.125f;
}

void decode_iq1_m(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    for (int64_t i = 0; i < n; i += SUPER, p += 56) {
        float d = half_to_float(iq1_m_d(p));
        for (int g = 0; g < 32; g++, dst += 8) {
            float scale = d * (float)iq1_m_factor(p, g / 2);
            put_moved(dst, scale, codebook_iq1_s[iq1_m_row(p, g)], iq1_m_delta(p, g));
        }
    }
}

void view_iq1_m(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    uint16_t d = iq1_m_d(p);
    int factors[16];
    view_begin(v, SUPER, 8);
    for (int s = 0; s < 16; s++)
        factors[s] = iq1_m_factor(p, s);
    for (int g = 0; g < 32; g++) {
        v->scale[g] = half_to_float(d) * (float)factors[g / 2];
        v->offset[g] = v->scale[g] * iq1_m_delta(p, g);
        view_moved(v, 8 * g, iq1_m_row(p, g));
    }
    view_f16(v, "d (in scales)", &d);
    view_ints(v, "1+2*scales", factors, 16);
    view_bytes(v, "qs", p, 32);
    view_bytes(v, "qh", p + 32, 16);
    view_bytes(v, "scales", p + 48, 8);
    decode_iq1_m(p, v->value, SUPER);
}

/* IQ4_XS: f16 d, u16 scales_h, u8 scales_l[4], u8 qs[128]. 6-bit scales per 32, minus 32; nibbles
 * into the codebook of IQ4_NL, low halves first in each 16 bytes. */
static inline int iq4_xs_scale(const uint8_t *p, int s)
{
    int low = p[4 + s / 2] >> s % 2 * 4 & 15, high = load_u16(p + 2) >> 2 * s & 3;
    return (low | high << 4) - 32;
}

void decode_iq4_xs(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    float *restrict y = dst;
    for (int64_t i = 0; i < n; i += SUPER, p += 136) {
        float d = load_f16(p);
        for (int s = 0; s < 8; s++, y += 32) {
            const uint8_t *q = p + 8 + 16 * s;
            float scale = d * (float)iq4_xs_scale(p, s), level[16];
            for (int j = 0; j < 16; j++)
                level[j] = scale * codebook_iq4nl[j];
            for (int j = 0; j < 16; j++) {
                y[j] = level[q[j] & 15];
                y[j + 16] = level[q[j] >> 4];
            }
        }
    }
}

void view_iq4_xs(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    int scales[8];
    view_begin(v, SUPER, 32);
    for (int s = 0; s < 8; s++) {
        scales[s] = iq4_xs_scale(p, s);
        v->scale[s] = load_f16(p) * (float)scales[s];
    }
    for (int i = 0; i < SUPER; i++) {
        v->code[i] = p[8 + i / 32 * 16 + i % 16] >> i % 32 / 16 * 4 & 15;
        v->level[i] = codebook_iq4nl[v->code[i]];
    }
    view_f16(v, "d", p);
    view_ints(v, "scales", scales, 8);
    view_bytes(v, "qs", p + 8, 128);
    decode_iq4_xs(p, v->value, SUPER);
}
