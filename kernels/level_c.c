/* SPDX-License-Identifier: MIT */
/* Level c: the portable kernels for any CPU; this file alone is compiled for it. */
#define LEVEL_VECTOR 16
#include "kernels/attention_body.h"
#include "kernels/level_body.h"

#include "kernels/fast_body.h"
#include "kernels/halves_body.h"
#include "kernels/level_decode.h"
#include "kernels/level_native.h"
#include "kernels/logits_body.h"
#include "kernels/moments_body.h"
#include "kernels/panel_body.h"
#include "kernels/rows_body.h"
#include "kernels/scan_body.h"
#include "kernels/words_body.h"

static const struct fast_ops fast = FAST_OPS("f32");

const struct level level_c = {
    .name = "c",
    .brief = "portable C, baseline vectors",
    .rows = LEVEL_MAX_ROWS,
    .dot_rows = dot_rows,
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
    .encode = &encode_c,
};
