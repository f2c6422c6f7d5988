/* SPDX-License-Identifier: MIT */
/* Level c: the portable kernels for any CPU; this file alone is compiled for it. */
#define LEVEL_VECTOR 16
#include "kernels/level_body.h"
#include "kernels/level_native.h"

static bool supported(void) { return true; }

const struct level level_c = {
    "c",         "portable C; vectors of the baseline instruction set",
    supported,   BLOCK_ROWS,
    dot_rows,    dot_keys,
    mix_keys,    unpackers,
    native_dots,
};
