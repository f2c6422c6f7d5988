/* SPDX-License-Identifier: MIT */
/* Level avx2: the portable kernels for CPUs with AVX2; this file alone is compiled for it. */
#ifdef __x86_64__
#define LEVEL_VECTOR 32
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

static const struct fast_ops fast = FAST_OPS("f32");

const struct level level_avx2 = {
    .name = "avx2",
    .brief = "AVX2, F16C, FMA",
    .needs = FEATURES(AVX2) | FEATURES(FMA) | FEATURES(F16C),
    .rows = LEVEL_MAX_ROWS,
    .dot_rows = dot_rows,
    .plain_rows = PLAIN_KERNELS,
    .halves_rows = halves_rows,
    .panels = { &panel_halves, &panel_brains },
    .attention_scores = attention_scores_level,
    .attention_mix = attention_mix_level,
    .to_halves = to_halves,
    .to_brains = to_brains,
    .row = ROW_KERNELS,
    .logits = LOGITS_KERNELS,
    .scan = SCAN_KERNELS,
    .moments = moments_of_floats,
    .native = &native,
    .decode = decode,
    .fast = &fast,
    .words = &words_ops,
    .encode = &encode_avx2,
};
#else
typedef int nothing_here; /* ISO C wants a declaration */
#endif
