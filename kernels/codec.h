/* SPDX-License-Identifier: MIT */
/* Codecs: the decode and view functions behind the table of formats, and how they read bytes. */
#ifndef QDB_KERNELS_CODEC_H
#define QDB_KERNELS_CODEC_H

#include <stdint.h>
#include <string.h>

#include "kernels/format.h"

/* Files are little-endian, and so are the machines qdb runs on; blocks have any alignment. */
static inline uint16_t load_u16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t load_u32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* gcc unrolls short loops before its vectoriser sees them, unless they are marked. */
#if defined __GNUC__ && !defined __clang__
#define KEEP_LOOP _Pragma("GCC unroll 1")
#else
#define KEEP_LOOP
#endif

static inline float float_of_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t bits_of_float(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* Half to float without branches, so that loops over it vectorise. Exact; NaN payloads are kept. */
static inline float half_to_float(uint16_t h)
{
    uint32_t magnitude = h & 0x7fffu, sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t normal = (magnitude << 13) + (112u << 23);
    uint32_t small = bits_of_float((float)(int32_t)magnitude * 0x1p-24f);
    uint32_t is_small = 0u - (magnitude < 0x400u), is_special = 0u - (magnitude >= 0x7c00u);
    normal += is_special & 112u << 23;
    return float_of_bits((small & is_small) | (normal & ~is_small) | sign);
}

static inline float load_f16(const void *p) { return half_to_float(load_u16(p)); }

/* Block scales of the microscaling formats, halved because their codebook is doubled to integers.
 * E8M0 is 2^(e - 127), here 2^(e - 128); 255 is decoded as 2^127, not NaN, as files are read. */
float e8m0_half(uint8_t e);
/* UE4M3 (bias 7); 0 and 0x7f are zero, the top bit is ignored otherwise. */
float ue4m3_half(uint8_t e);

/* Sub-block j (0..7) of the 12 packed bytes of Q4_K and Q5_K: 6-bit scale and 6-bit minimum. */
static inline void k4_scale_min(const uint8_t *s, int j, uint8_t *scale, uint8_t *min)
{
    if (j < 4) {
        *scale = s[j] & 63;
        *min = s[j + 4] & 63;
    } else {
        *scale = (uint8_t)((s[j + 4] & 15) | (s[j - 4] >> 6) << 4);
        *min = (uint8_t)(s[j + 4] >> 4 | (s[j] >> 6) << 4);
    }
}

/* Eight bits to eight bytes, `on` where a bit is set, the lowest bit first. */
static inline void spread_bits(uint8_t bits, uint8_t on, uint8_t *out)
{
    uint64_t v = bits * UINT64_C(0x0101010101010101) & UINT64_C(0x8040201008040201);
    v = ((v + UINT64_C(0x7f7f7f7f7f7f7f7f)) >> 7 & UINT64_C(0x0101010101010101)) * on;
    memcpy(out, &v, sizeof v);
}

/* Four pairs of bits to four bytes, the lowest pair first. */
static inline void spread_pairs(uint8_t bits, uint8_t *out)
{
    uint32_t b = bits, v = (b | b << 6 | b << 12 | b << 18) & 0x03030303u;
    memcpy(out, &v, sizeof v);
}

#define DECODER(name) void decode_##name(const void *src, float *dst, int64_t n)
#define VIEWER(name) void view_##name(const void *block, struct block_view *v)
#define CODEC(name) \
    DECODER(name);  \
    VIEWER(name)

/* codec_plain.c */
DECODER(f32);
DECODER(f16);
DECODER(bf16);
DECODER(f64);
DECODER(i8);
DECODER(i16);
DECODER(i32);
DECODER(i64);

/* codec_blocks.c */
CODEC(q1_0);
CODEC(q2_0);
CODEC(q4_0);
CODEC(q4_1);
CODEC(q5_0);
CODEC(q5_1);
CODEC(q8_0);
CODEC(q8_1);
CODEC(iq4_nl);
CODEC(mxfp4);
CODEC(nvfp4);

/* codec_k.c */
CODEC(q2_k);
CODEC(q3_k);
CODEC(q4_k);
CODEC(q5_k);
CODEC(q6_k);
CODEC(q8_k);

/* codec_iq.c */
CODEC(iq1_s);
CODEC(iq1_m);
CODEC(iq2_xxs);
CODEC(iq2_xs);
CODEC(iq2_s);
CODEC(iq3_xxs);
CODEC(iq3_s);
CODEC(iq4_xs);

/* codec_ternary.c */
CODEC(tq1_0);
CODEC(tq2_0);

#endif
