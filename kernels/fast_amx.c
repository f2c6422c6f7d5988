/* SPDX-License-Identifier: MIT */
/* Mode fast with the tiles of AMX; this file alone is compiled for it. */
#ifdef __x86_64__
#define LEVEL_VECTOR 64
#define FAST_BF16
#define FAST_TILES
#include "kernels/tiles.h"

#include "kernels/fast_body.h"
#include "kernels/level.h"

const struct fast_ops fast_amx = FAST_OPS("bf16");
#else
typedef int nothing_here; /* ISO C wants a declaration */
#endif
