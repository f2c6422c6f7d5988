/* SPDX-License-Identifier: MIT */
/* Level avx512: the portable kernels for CPUs with AVX-512; this file alone is compiled for it. */
#ifdef __x86_64__
#define LEVEL_VECTOR 64
#include "kernels/level_body.h"
#include "kernels/level_native.h"

static bool supported(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
           && __builtin_cpu_supports("avx512vl");
}

const struct level level_avx512 = {
    "avx512", "AVX-512 F, BW, VL", supported,   BLOCK_ROWS, dot_rows, dot_keys,
    mix_keys, unpackers,           native_dots,
};
#else
typedef int nothing_here; /* ISO C wants a declaration */
#endif
