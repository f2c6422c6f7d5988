/* SPDX-License-Identifier: MIT */
/* Packers of the formats with one scale per block of 32: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0. */
#include <string.h>

#include "kernels/encoder.h"
#include "kernels/format.h"

enum { N = 32 };

float encode_half(float f)
{
    const float h = f16_to_f32(f32_to_f16(f));
    return h > ENCODE_HALF ? ENCODE_HALF : h < -ENCODE_HALF ? -ENCODE_HALF : h;
}

void put_half(float f, uint8_t *out)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    const uint32_t size = (bits & 0x7fffffffu) - (112u << 23); /* a normal half: no rounding left */
    const uint16_t h = size - (1u << 23) < 30u << 23
                           ? (uint16_t)((bits >> 16 & 0x8000u) | size >> 13)
                           : f32_to_f16(f);
    memcpy(out, &h, sizeof h);
}

void put_nibbles(const uint8_t *code, uint8_t *out)
{
    for (int j = 0; j < N / 2; j++)
        out[j] = (uint8_t)((code[j] & 15) | code[j + N / 2] << 4);
}

/* Bit 4 of each code. */
static void put_fifth_bits(const uint8_t *code, uint8_t *out)
{
    uint32_t bits = 0;
    for (int j = 0; j < N; j += 8) { /* bit 4 of eight bytes, brought together by a product */
        uint64_t v;
        memcpy(&v, code + j, sizeof v);
        v = v >> 4 & UINT64_C(0x0101010101010101);
        bits |= (uint32_t)(v * UINT64_C(0x0102040810204080) >> 56) << j;
    }
    memcpy(out, &bits, sizeof bits);
}

void pack_q4_0(const struct block_codes *b, uint8_t *out)
{
    put_half(b->d, out);
    put_nibbles(b->code, out + 2);
}

void pack_q4_1(const struct block_codes *b, uint8_t *out)
{
    put_half(b->d, out);
    put_half(b->m, out + 2);
    put_nibbles(b->code, out + 4);
}

void pack_q5_0(const struct block_codes *b, uint8_t *out)
{
    put_half(b->d, out);
    put_fifth_bits(b->code, out + 2);
    put_nibbles(b->code, out + 6);
}

void pack_q5_1(const struct block_codes *b, uint8_t *out)
{
    put_half(b->d, out);
    put_half(b->m, out + 2);
    put_fifth_bits(b->code, out + 4);
    put_nibbles(b->code, out + 8);
}

void pack_q8_0(const struct block_codes *b, uint8_t *out)
{
    put_half(b->d, out);
    for (int j = 0; j < N; j++)
        out[2 + j] = (uint8_t)(b->code[j] - 127);
}
