/* SPDX-License-Identifier: MIT */
/* Packers of the K formats, whose blocks of 256 have scales per sub-block. */
#include <string.h>

#include "kernels/encoder.h"
#include "kernels/format.h"

static void put_half(float f, uint8_t *out)
{
    const uint16_t h = f32_to_f16(f);
    memcpy(out, &h, sizeof h);
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
