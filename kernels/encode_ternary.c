/* SPDX-License-Identifier: MIT */
/* Packers of the ternary formats; codes 0, 1, 2 stand for -1, 0, 1. */
#include "kernels/encoder.h"

/* `bytes` bytes with digit k of byte j from code[k * bytes + j]: the number that the digits of base
 * 3 make, as a fraction of 3^5 = 243, rounded up to one of 256. */
static void put_trits(const uint8_t *code, int bytes, int digits, uint8_t *out)
{
    for (int j = 0; j < bytes; j++) {
        unsigned v = 0;
        for (int k = 0; k < 5; k++)
            v = 3 * v + (k < digits ? code[k * bytes + j] : 0);
        out[j] = (uint8_t)((v * 256 + 242) / 243);
    }
}

void pack_tq1_0(const struct block_codes *b, uint8_t *out)
{
    put_trits(b->code, 32, 5, out);
    put_trits(b->code + 160, 16, 5, out + 32);
    put_trits(b->code + 240, 4, 4, out + 48);
    put_half(b->d, out + 52);
}

void pack_tq2_0(const struct block_codes *b, uint8_t *out)
{
    for (int h = 0; h < 2; h++)
        for (int l = 0; l < 32; l++) {
            const uint8_t *c = b->code + 128 * h + l;
            out[32 * h + l] = (uint8_t)(c[0] | c[32] << 2 | c[64] << 4 | c[96] << 6);
        }
    put_half(b->d, out + 64);
}
