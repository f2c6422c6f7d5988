/* SPDX-License-Identifier: MIT */
/* Tiles of AMX for mode fast: sums of two by two tiles in tmm0 .. tmm3 (rows of weights 16 i, block
 * of tokens j: tmm 2 i + j), weights in tmm4 and tmm5, activations in tmm6 and tmm7. The
 * instructions are spelled out, so that any compiler knows them; the configuration is an operand of
 * 64 bytes, so that all of them count as read. */
#ifndef QDB_KERNELS_TILES_H
#define QDB_KERNELS_TILES_H

#include <stdint.h>

/* A test that has defined the instructions already runs the kernels on any CPU. */
#ifndef TILE_CONFIGURE
#define TILE_CONFIGURE(config) __asm__ volatile("ldtilecfg %0" : : "m"(config))
#define TILE_RELEASE()         __asm__ volatile("tilerelease" ::)
#define TILE_LOAD(tile, from, stride) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile \
                     : \
                     : "r"(from), "r"((int64_t)(stride)) \
                     : "memory")
#define TILE_STORE(tile, to, stride) \
    __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" \
                     : \
                     : "r"(to), "r"((int64_t)(stride)) \
                     : "memory")
#define TILE_ZERO(tile) __asm__ volatile("tilezero %%tmm" #tile ::)
/* sums += weights * activations, of brain floats. */
#define TILE_PRODUCT(sums, weights, acts) \
    __asm__ volatile("tdpbf16ps %%tmm" #acts ", %%tmm" #weights ", %%tmm" #sums ::)
#endif

/* Eight tiles of sixteen rows of 64 bytes; they belong to the thread. */
static inline void tiles_begin(void)
{
    static const uint8_t config[64] = {
        [0] = 1,   [16] = 64, [18] = 64, [20] = 64, [22] = 64, [24] = 64, [26] = 64, [28] = 64,
        [30] = 64, [48] = 16, [49] = 16, [50] = 16, [51] = 16, [52] = 16, [53] = 16, [54] = 16,
        [55] = 16,
    };
    TILE_CONFIGURE(config);
}

static inline void tiles_end(void) { TILE_RELEASE(); }

#endif
