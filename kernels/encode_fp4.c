/* SPDX-License-Identifier: MIT */
/* Packers of MXFP4 and NVFP4, whose codes are 4-bit floats (E2M1). */
#include "kernels/encoder.h"

void pack_mxfp4(const struct block_codes *b, uint8_t *out)
{
    out[0] = (uint8_t)b->scale[0];
    put_nibbles(b->code, out + 1);
}

/* Nibbles by sub-blocks of 16: of the first 8 the low halves, of the others the high ones. */
void pack_nvfp4(const struct block_codes *b, uint8_t *out)
{
    for (int s = 0; s < 4; s++) {
        const uint8_t *c = b->code + 16 * s;
        out[s] = (uint8_t)b->scale[s];
        for (int j = 0; j < 8; j++)
            out[4 + 8 * s + j] = (uint8_t)(c[j] | c[j + 8] << 4);
    }
}
