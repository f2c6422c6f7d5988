/* SPDX-License-Identifier: MIT */
/* Level avx512: the portable kernels for CPUs with AVX-512; this file alone is compiled for it. */
#ifdef __x86_64__
#define LEVEL_VECTOR 64
#include "kernels/attention_body.h"
#include "kernels/level_body.h"
#include "kernels/level_native.h"

const struct level level_avx512 = {
    .name = "avx512",
    .brief = "AVX-512 F, BW, VL, VNNI",
    .needs = FEATURES(AVX2) | FEATURES(F16C) | FEATURES(AVX512F) | FEATURES(AVX512BW)
             | FEATURES(AVX512VL) | FEATURES(AVX512VNNI),
    .rows = BLOCK_ROWS,
    .dot_rows = dot_rows,
    .attention_scores = attention_scores_level,
    .attention_mix = attention_mix_level,
    .to_halves = to_halves,
    .native_panel = native_panel,
};
#else
typedef int nothing_here; /* ISO C wants a declaration */
#endif
