/* SPDX-License-Identifier: MIT */
/* The kernels of level amx once more, over emulated tiles, under the name that EMULATED says. */
#include "tests/kern/tiles.h"

#define TILE_CONFIGURE(config)            emulated_ldtilecfg(config)
#define TILE_RELEASE()                    emulated_tilerelease()
#define TILE_LOAD(tile, from, stride)     emulated_tileloadd(tile, from, stride)
#define TILE_STORE(tile, to, stride)      emulated_tilestored(tile, to, stride)
#define TILE_ZERO(tile)                   emulated_tilezero(tile)
#define TILE_PRODUCT(sums, weights, acts) emulated_tdpbf16ps(sums, weights, acts)

#define fast_amx EMULATED
#include "kernels/fast_amx.c"
