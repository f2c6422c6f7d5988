/* SPDX-License-Identifier: MIT */
/* The tile instructions of AMX, emulated: what Intel's manual defines of them, on any CPU. */
#ifndef QDB_TESTS_KERN_TILES_H
#define QDB_TESTS_KERN_TILES_H

#include <stdint.h>

#include "kernels/level.h"

/* What the CPU refuses is refused: SIGSEGV for a configuration that it does not take, SIGILL for a
 * tile that is not configured or whose shape does not fit. All state belongs to the thread. */
void emulated_ldtilecfg(const uint8_t config[64]);
void emulated_tilerelease(void);
void emulated_tileloadd(int tile, const void *from, int64_t stride);
void emulated_tilestored(int tile, void *to, int64_t stride);
void emulated_tilezero(int tile);
void emulated_tdpbf16ps(int sums, int a, int b);
/* The configuration is in use: TILERELEASE is still to come. */
bool emulated_tiles_held(void);

/* One fused multiplication and addition as TDPBF16PS and VDPBF16PS make it, whatever MXCSR says: to
 * nearest, ties to even; denormals going in and coming out count as zero. */
float flushing_fma(float a, float b, float sum);

/* Kernels for mode fast over these tiles: kernels/fast_amx.c itself, compiled for AVX512_BF16 as
 * level amx is, and for any CPU. */
extern const struct fast_ops emulated_amx, emulated_amx_c;

#endif
