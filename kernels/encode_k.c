/* SPDX-License-Identifier: MIT */
/* Packers of the K formats, whose blocks of 256 have scales per sub-block. */
#include "kernels/encoder.h"

/* Two bits each: of every 128 codes, those 32 g .. 32 g + 31 are bits 2 g of 32 bytes. */
static void put_pairs(const uint8_t *code, uint8_t *out)
{
    for (int h = 0; h < 2; h++, code += 128, out += 32)
        for (int l = 0; l < 32; l++)
            out[l] = (uint8_t)((code[l] & 3) | (code[l + 32] & 3) << 2 | (code[l + 64] & 3) << 4
                               | code[l + 96] << 6);
}

/* Bit `bit` of each code: that of code 32 g + l is bit g of byte l. */
static void put_bits(const uint8_t *code, int bit, uint8_t *out)
{
    for (int l = 0; l < 32; l++) {
        unsigned bits = 0;
        for (int g = 0; g < 8; g++)
            bits |= (unsigned)(code[32 * g + l] >> bit & 1) << g;
        out[l] = (uint8_t)bits;
    }
}

void pack_q2_k(const struct block_codes *b, uint8_t *out)
{
    for (int s = 0; s < 16; s++)
        out[s] = (uint8_t)(b->scale[s] | b->min[s] << 4);
    put_pairs(b->code, out + 16);
    put_half(b->d, out + 80);
    put_half(b->m, out + 82);
}

/* Scales are stored with 32 added, low halves first, then two bits of each. */
void pack_q3_k(const struct block_codes *b, uint8_t *out)
{
    put_bits(b->code, 2, out);
    put_pairs(b->code, out + 32);
    for (int k = 0; k < 8; k++)
        out[96 + k] = (uint8_t)(((b->scale[k] + 32) & 15) | ((b->scale[k + 8] + 32) & 15) << 4);
    for (int k = 0; k < 4; k++) {
        unsigned bits = 0;
        for (int g = 0; g < 4; g++)
            bits |= (unsigned)(b->scale[k + 4 * g] + 32) >> 4 << 2 * g;
        out[104 + k] = (uint8_t)bits;
    }
    put_half(b->d, out + 108);
}

/* Six bits each of eight scales and minima, in 12 bytes. */
static void put_k4_scales(const struct block_codes *b, uint8_t *s)
{
    for (int j = 0; j < 4; j++) {
        s[j] = (uint8_t)(b->scale[j] | b->scale[j + 4] >> 4 << 6);
        s[j + 4] = (uint8_t)(b->min[j] | b->min[j + 4] >> 4 << 6);
        s[j + 8] = (uint8_t)((b->scale[j + 4] & 15) | (b->min[j + 4] & 15) << 4);
    }
}

/* Nibbles: of each 64 elements, the first 32 low and the others high. */
static void put_k4_nibbles(const uint8_t *code, uint8_t *out)
{
    for (int g = 0; g < 4; g++)
        for (int l = 0; l < 32; l++)
            out[32 * g + l] = (uint8_t)((code[64 * g + l] & 15) | code[64 * g + 32 + l] << 4);
}

void pack_q4_k(const struct block_codes *b, uint8_t *out)
{
    put_half(b->d, out);
    put_half(b->m, out + 2);
    put_k4_scales(b, out + 4);
    put_k4_nibbles(b->code, out + 16);
}

void pack_q5_k(const struct block_codes *b, uint8_t *out)
{
    put_half(b->d, out);
    put_half(b->m, out + 2);
    put_k4_scales(b, out + 4);
    put_bits(b->code, 4, out + 16);
    put_k4_nibbles(b->code, out + 48);
}

void pack_q6_k(const struct block_codes *b, uint8_t *out)
{
    for (int h = 0; h < 2; h++) {
        const uint8_t *c = b->code + 128 * h;
        uint8_t *ql = out + 64 * h, *qh = out + 128 + 32 * h;
        for (int l = 0; l < 32; l++) {
            ql[l] = (uint8_t)((c[l] & 15) | c[l + 64] << 4);
            ql[l + 32] = (uint8_t)((c[l + 32] & 15) | c[l + 96] << 4);
            qh[l] = (uint8_t)(c[l] >> 4 | c[l + 32] >> 4 << 2 | c[l + 64] >> 4 << 4
                              | c[l + 96] >> 4 << 6);
        }
    }
    for (int s = 0; s < 16; s++)
        out[192 + s] = (uint8_t)b->scale[s];
    put_half(b->d, out + 208);
}
