/* SPDX-License-Identifier: MIT */
/* Codebooks: the lookup tables that define the non-uniform formats of GGUF files.
 *
 * Origin: constants of the file format, published in ggml (https://github.com/ggml-org/ggml, MIT
 * licence, Copyright (c) 2023-2026 The ggml authors). codebooks.c is generated from their values by
 * generate_codebooks.py. */
#ifndef QDB_KERNELS_CODEBOOKS_H
#define QDB_KERNELS_CODEBOOKS_H

#include <stdint.h>

/* Magnitudes of groups of 8 weights; signs are stored apart. */
extern const uint8_t codebook_iq2_xxs[256][8];
extern const uint8_t codebook_iq2_xs[512][8];
extern const uint8_t codebook_iq2_s[1024][8];
/* Magnitudes of groups of 4 weights; signs are stored apart. */
extern const uint8_t codebook_iq3_xxs[256][4];
extern const uint8_t codebook_iq3_s[512][4];
/* Groups of 8 weights -1, 0 or 1. */
extern const int8_t codebook_iq1_s[2048][8];
/* Levels of a nibble. */
extern const float codebook_iq4nl[16];
extern const float codebook_e2m1_doubled[16]; /* FP4 (E2M1) times 2 */

/* Seven stored sign bits give eight: the number of minus signs of a group is even. */
static inline uint8_t even_signs(unsigned seven)
{
    return (uint8_t)(seven | (unsigned)__builtin_parity(seven) << 7);
}

#endif
