/* SPDX-License-Identifier: MIT */
/* Codecs of the K formats: super-blocks of 256 with quantized scales per sub-block. */
#include "kernels/codec.h"
#include "kernels/view.h"

enum { SUPER = 256 };

/* Q2_K: u8 scales[16] (low nibble scale, high nibble minimum), u8 qs[64], f16 d, f16 dmin.
 * Each half of 128 has 32 bytes of qs; bits 2g.. of them are group g of 32 elements. */
void decode_q2_k(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    float *restrict y = dst;
    for (int64_t i = 0; i < n; i += SUPER, p += 84) {
        float d = load_f16(p + 80), dmin = load_f16(p + 82);
        for (int s = 0; s < 16; s++, y += 16) {
            const uint8_t *q = p + 16 + s / 8 * 32 + s % 2 * 16;
            float scale = d * (float)(p[s] & 15), min = dmin * (float)(p[s] >> 4);
            int shift = s % 8 / 2 * 2;
            KEEP_LOOP
            for (int l = 0; l < 16; l++)
                y[l] = scale * (float)(q[l] >> shift & 3) - min;
        }
    }
}

void view_q2_k(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    int scales[16], mins[16];
    float d = load_f16(p + 80), dmin = load_f16(p + 82);
    view_begin(v, SUPER, 16);
    for (int s = 0; s < 16; s++) {
        scales[s] = p[s] & 15;
        mins[s] = p[s] >> 4;
        v->scale[s] = d * (float)scales[s];
        v->offset[s] = -(dmin * (float)mins[s]);
    }
    for (int i = 0; i < SUPER; i++) {
        v->code[i] = p[16 + i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
        v->level[i] = (float)v->code[i];
    }
    view_f16(v, "d", p + 80);
    view_f16(v, "dmin", p + 82);
    view_ints(v, "scales", scales, 16);
    view_ints(v, "mins", mins, 16);
    view_bytes(v, "qs", p + 16, 64);
    decode_q2_k(p, v->value, SUPER);
}

/* The 16 scales of Q3_K: low nibbles in bytes 0..7 (scales 0..7 low halves, 8..15 high halves), two
 * high bits each in bytes 8..11; stored with an offset of 32. */
static inline int q3_k_scale(const uint8_t *s, int k)
{
    int low = k < 8 ? s[k] & 15 : s[k - 8] >> 4;
    return (low | (s[8 + k % 4] >> 2 * (k / 4) & 3) << 4) - 32;
}

/* Q3_K: u8 hmask[32], u8 qs[64], u8 scales[12], f16 d. Low two bits as in Q2_K; bit g of hmask[l]
 * is the high bit of element l of group g (0..7) of 32; d * scale * (q - 4). */
void decode_q3_k(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    float *restrict y = dst;
    for (int64_t i = 0; i < n; i += SUPER, p += 110) {
        float d = load_f16(p + 108);
        for (int s = 0; s < 16; s++, y += 16) {
            const uint8_t *h = p + s % 2 * 16, *q = p + 32 + s / 8 * 32 + s % 2 * 16;
            float scale = d * (float)q3_k_scale(p + 96, s);
            int group = s / 2, shift = s % 8 / 2 * 2;
            KEEP_LOOP
            for (int l = 0; l < 16; l++)
                y[l] = scale * (float)((q[l] >> shift & 3) + (h[l] >> group & 1) * 4 - 4);
        }
    }
}

void view_q3_k(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    int scales[16];
    float d = load_f16(p + 108);
    view_begin(v, SUPER, 16);
    for (int s = 0; s < 16; s++) {
        scales[s] = q3_k_scale(p + 96, s);
        v->scale[s] = d * (float)scales[s];
    }
    for (int i = 0; i < SUPER; i++) {
        int low = p[32 + i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
        v->code[i] = low | (p[i % 32] >> i / 32 & 1) << 2;
        v->level[i] = (float)(v->code[i] - 4);
    }
    view_f16(v, "d", p + 108);
    view_ints(v, "scales", scales, 16);
    view_bytes(v, "hmask", p, 32);
    view_bytes(v, "qs", p + 32, 64);
    decode_q3_k(p, v->value, SUPER);
}

/* Q4_K: f16 d, f16 dmin, u8 scales[12], u8 qs[128]. 8 sub-blocks of 32; byte l of group g (0..3)
 * has element 64 g + l low and 64 g + 32 + l high; d * scale * q - dmin * min. */
void decode_q4_k(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    float *restrict y = dst;
    for (int64_t i = 0; i < n; i += SUPER, p += 144) {
        float d = load_f16(p), dmin = load_f16(p + 2);
        const uint8_t *q = p + 16;
        for (int s = 0; s < 8; s += 2, q += 32, y += 64) {
            uint8_t sc1, m1, sc2, m2;
            k4_scale_min(p + 4, s, &sc1, &m1);
            k4_scale_min(p + 4, s + 1, &sc2, &m2);
            float scale1 = d * (float)sc1, min1 = dmin * (float)m1;
            float scale2 = d * (float)sc2, min2 = dmin * (float)m2;
            for (int l = 0; l < 32; l++) {
                y[l] = scale1 * (float)(q[l] & 15) - min1;
                y[l + 32] = scale2 * (float)(q[l] >> 4) - min2;
            }
        }
    }
}

/* Fields and scales that Q4_K and Q5_K share: d, dmin, scales, mins. */
static void view_k4_scales(const uint8_t *p, struct block_view *v)
{
    int scales[8], mins[8];
    float d = load_f16(p), dmin = load_f16(p + 2);
    view_begin(v, SUPER, 32);
    for (int s = 0; s < 8; s++) {
        uint8_t sc, m;
        k4_scale_min(p + 4, s, &sc, &m);
        scales[s] = sc;
        mins[s] = m;
        v->scale[s] = d * (float)sc;
        v->offset[s] = -(dmin * (float)m);
    }
    view_f16(v, "d", p);
    view_f16(v, "dmin", p + 2);
    view_ints(v, "scales", scales, 8);
    view_ints(v, "mins", mins, 8);
}

void view_q4_k(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    view_k4_scales(p, v);
    for (int i = 0; i < SUPER; i++) {
        v->code[i] = p[16 + i / 64 * 32 + i % 32] >> i % 64 / 32 * 4 & 15;
        v->level[i] = (float)v->code[i];
    }
    view_bytes(v, "qs", p + 16, 128);
    decode_q4_k(p, v->value, SUPER);
}

/* Q5_K: as Q4_K with u8 qh[32] before qs[128]: bit s of qh[l] is the fifth bit of element l of
 * sub-block s. */
void decode_q5_k(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    float *restrict y = dst;
    for (int64_t i = 0; i < n; i += SUPER, p += 176) {
        float d = load_f16(p), dmin = load_f16(p + 2);
        const uint8_t *h = p + 16, *q = p + 48;
        for (int s = 0; s < 8; s += 2, q += 32, y += 64) {
            uint8_t sc1, m1, sc2, m2;
            k4_scale_min(p + 4, s, &sc1, &m1);
            k4_scale_min(p + 4, s + 1, &sc2, &m2);
            float scale1 = d * (float)sc1, min1 = dmin * (float)m1;
            float scale2 = d * (float)sc2, min2 = dmin * (float)m2;
            for (int l = 0; l < 32; l++) {
                y[l] = scale1 * (float)((q[l] & 15) | (h[l] >> s & 1) << 4) - min1;
                y[l + 32] = scale2 * (float)(q[l] >> 4 | (h[l] >> (s + 1) & 1) << 4) - min2;
            }
        }
    }
}

void view_q5_k(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    view_k4_scales(p, v);
    for (int i = 0; i < SUPER; i++) {
        int low = p[48 + i / 64 * 32 + i % 32] >> i % 64 / 32 * 4 & 15;
        v->code[i] = low | (p[16 + i % 32] >> i / 32 & 1) << 4;
        v->level[i] = (float)v->code[i];
    }
    view_bytes(v, "qh", p + 16, 32);
    view_bytes(v, "qs", p + 48, 128);
    decode_q5_k(p, v->value, SUPER);
}

/* Q6_K: u8 ql[128], u8 qh[64], i8 scales[16], f16 d. Per half of 128, element 32 k + l (k 0..3) has
 * its low four bits in ql[32 (k % 2) + l], low half for k < 2, its high two in bits 2k of qh[l]. */
void decode_q6_k(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    float *restrict y = dst;
    for (int64_t i = 0; i < n; i += SUPER, p += 210) {
        float d = load_f16(p + 208);
        for (int s = 0; s < 16; s += 8, y += 128) {
            const uint8_t *ql = p + s * 8, *qh = p + 128 + s * 4;
            float scale[8];
            for (int k = 0; k < 8; k++)
                scale[k] = d * (float)(int8_t)p[192 + s + k];
            for (int h = 0; h < 2; h++) {
                KEEP_LOOP
                for (int j = 0; j < 16; j++) {
                    int l = 16 * h + j, a = ql[l], b = ql[l + 32], c = qh[l];
                    y[l] = scale[h] * (float)(((a & 15) | (c & 3) << 4) - 32);
                    y[l + 32] = scale[h + 2] * (float)(((b & 15) | (c >> 2 & 3) << 4) - 32);
                    y[l + 64] = scale[h + 4] * (float)((a >> 4 | (c >> 4 & 3) << 4) - 32);
                    y[l + 96] = scale[h + 6] * (float)((b >> 4 | c >> 6 << 4) - 32);
                }
            }
        }
    }
}

void view_q6_k(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    int scales[16];
    float d = load_f16(p + 208);
    view_begin(v, SUPER, 16);
    for (int s = 0; s < 16; s++) {
        scales[s] = (int8_t)p[192 + s];
        v->scale[s] = d * (float)scales[s];
    }
    for (int i = 0; i < SUPER; i++) {
        int half = i / 128, k = i % 128 / 32, l = i % 32;
        int low = p[64 * half + 32 * (k % 2) + l] >> (k < 2 ? 0 : 4) & 15;
        v->code[i] = low | (p[128 + 32 * half + l] >> 2 * k & 3) << 4;
        v->level[i] = (float)(v->code[i] - 32);
    }
    view_f16(v, "d", p + 208);
    view_ints(v, "scales", scales, 16);
    view_bytes(v, "ql", p, 128);
    view_bytes(v, "qh", p + 128, 64);
    decode_q6_k(p, v->value, SUPER);
}

/* Q8_K: f32 d, i8 qs[256], i16 bsums[16] (sums of 16, for integer products); d * q. */
void decode_q8_k(const void *src, float *dst, int64_t n)
{
    const uint8_t *restrict p = src;
    float *restrict y = dst;
    for (int64_t i = 0; i < n; i += SUPER, p += 292, y += SUPER) {
        float d = float_of_bits(load_u32(p));
        for (int j = 0; j < SUPER; j++)
            y[j] = d * (float)(int8_t)p[4 + j];
    }
}

void view_q8_k(const void *block, struct block_view *v)
{
    const uint8_t *p = block;
    int sums[16];
    view_begin(v, SUPER, SUPER);
    view_uniform(v, float_of_bits(load_u32(p)), 0);
    for (int i = 0; i < SUPER; i++) {
        v->code[i] = (int8_t)p[4 + i];
        v->level[i] = (float)v->code[i];
    }
    for (int s = 0; s < 16; s++)
        sums[s] = (int16_t)load_u16(p + 260 + 2 * s);
    view_f32(v, "d", p);
    view_ints(v, "qs", v->code, SUPER);
    view_ints(v, "bsums", sums, 16);
    decode_q8_k(p, v->value, SUPER);
}
