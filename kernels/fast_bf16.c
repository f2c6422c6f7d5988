/* SPDX-License-Identifier: MIT */
/* Mode fast with AVX512_BF16; this file alone is compiled for it. */
#ifdef __x86_64__
#define LEVEL_VECTOR 64
#define FAST_BF16
#include "kernels/fast_body.h"
#include "kernels/level.h"

const struct fast_ops fast_bf16 = FAST_OPS("bf16");
#else
typedef int nothing_here; /* ISO C wants a declaration */
#endif
