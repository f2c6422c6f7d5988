/* SPDX-License-Identifier: MIT */
/* Searches of the encoders for CPUs with AVX-512; this file alone is compiled for it. */
#ifdef __x86_64__
#define LEVEL_VECTOR 64
#include "kernels/encode_table_body.h"
#include "kernels/level.h"

const struct encode_ops encode_avx512 = ENCODE_OPS;
#else
typedef int nothing_here; /* ISO C wants a declaration */
#endif
