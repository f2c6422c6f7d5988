/* SPDX-License-Identifier: MIT */
/* Searches of the encoders for any CPU; this file alone is compiled for it. */
#define LEVEL_VECTOR 16
#include "kernels/encode_table_body.h"
#include "kernels/level.h"

const struct encode_ops encode_c = ENCODE_OPS;
