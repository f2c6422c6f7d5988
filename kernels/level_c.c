/* SPDX-License-Identifier: MIT */
/* Level c: the portable kernels for any CPU; this file alone is compiled for it. */
#define LEVEL_ROWS 1
#define LEVEL_TOKENS 4
#include "kernels/level_body.h"

static bool supported(void) { return true; }

const struct level level_c = {
    "c", "portable C; vectors of the baseline instruction set", supported, LEVEL_ROWS, dot_rows, dot,
};
