/* SPDX-License-Identifier: MIT */
/* Levels avx512, avx512bf16 and amx: the portable kernels for CPUs with AVX-512; this file alone is
 * compiled for it. The levels differ in mode fast and in the way to multiply
 * brain floats. */
#ifdef __x86_64__
#define LEVEL_VECTOR 64
#include "kernels/attention_body.h"
#include "kernels/level_body.h"

#include "kernels/fast_body.h"
#include "kernels/halves_body.h"
#include "kernels/level_decode.h"
#include "kernels/level_native.h"
#include "kernels/logits_body.h"
#include "kernels/moments_body.h"
#include "kernels/panel_body.h"
#include "kernels/plain_body.h"
#include "kernels/rows_body.h"
#include "kernels/scan_body.h"
#include "kernels/words_body.h"

/* AMD's CPUs start one vdpbf16ps per cycle (twice the products of an FMA unit), Intel's one every
 * other cycle, where two FMA a cycle are four times as fast. */
static bool bf16_slow(void) { return !__builtin_cpu_is("amd"); }

static const struct fast_ops fast = FAST_OPS("f32");

#define AVX512_FEATURES \
    FEATURES(AVX2) | FEATURES(F16C) | FEATURES(FMA) | FEATURES(AVX512F) | FEATURES(AVX512BW) \
        | FEATURES(AVX512VL) | FEATURES(AVX512VNNI)
#define AVX512_KERNELS(few, brains) \
    .rows = LEVEL_MAX_ROWS, .dot_rows = dot_rows, .plain_rows = PLAIN_KERNELS, \
    .halves_rows = (few), .panels = { &panel_halves, (brains) }, \
    .attention_scores = attention_scores_level, .attention_mix = attention_mix_level, \
    .to_halves = to_halves, .to_brains = to_brains, .row = ROW_KERNELS, .logits = LOGITS_KERNELS, \
    .scan = SCAN_KERNELS, .moments = moments_of_floats, .native = &native, .decode = decode, \
    .encode = &encode_avx512

const struct level level_avx512 = {
    .name = "avx512",
    .brief = "AVX-512 F, BW, VL, VNNI",
    .needs = AVX512_FEATURES,
    AVX512_KERNELS(halves_rows, &panel_brains),
    .fast = &fast,
    .words = &words_ops,
};

const struct level level_avx512bf16 = {
    .name = "avx512bf16",
    .brief = "avx512, with BF16",
    .needs = AVX512_FEATURES | FEATURES(AVX512BF16),
    .slow = bf16_slow,
    AVX512_KERNELS(halves_rows_pairs, &panel_pairs),
    .fast = &fast_bf16,
};
const struct level level_amx = {
    .name = "amx",
    .brief = "avx512bf16, AMX for mode fast",
    .needs = AVX512_FEATURES | FEATURES(AVX512BF16) | FEATURES(AMX_TILE) | FEATURES(AMX_BF16),
    AVX512_KERNELS(halves_rows, &panel_brains),
    .fast = &fast_amx,
};
#else
typedef int nothing_here; /* ISO C wants a declaration */
#endif
