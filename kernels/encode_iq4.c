/* SPDX-License-Identifier: MIT */
/* Packers of IQ4_NL and IQ4_XS, whose codes stand for 16 uneven levels. */
#include "kernels/codebooks.h"
#include "kernels/encoder.h"

int code_of_iq4(int level)
{
    for (int c = 0; c < 16; c++)
        if ((int)codebook_iq4nl[c] == level)
            return c;
    return -1;
}

void pack_iq4_nl(const struct block_codes *b, uint8_t *out)
{
    put_half(b->d, out);
    put_nibbles(b->code, out + 2);
}

/* Scales are stored with 32 added: low halves in four bytes, two high bits each before them. */
void pack_iq4_xs(const struct block_codes *b, uint8_t *out)
{
    unsigned high = 0;
    put_half(b->d, out);
    for (int s = 0; s < 8; s++)
        high |= (unsigned)(b->scale[s] + 32) >> 4 << 2 * s;
    out[2] = (uint8_t)high;
    out[3] = (uint8_t)(high >> 8);
    for (int s = 0; s < 8; s += 2)
        out[4 + s / 2] = (uint8_t)(((b->scale[s] + 32) & 15) | ((b->scale[s + 1] + 32) & 15) << 4);
    for (int s = 0; s < 8; s++)
        put_nibbles(b->code + 32 * s, out + 8 + 16 * s);
}
