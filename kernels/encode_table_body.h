/* SPDX-License-Identifier: MIT */
/* The table of a level's searches; each encode_LEVEL.c includes this with its LEVEL_VECTOR. */
#ifndef QDB_KERNELS_ENCODE_TABLE_H
#define QDB_KERNELS_ENCODE_TABLE_H

#include "kernels/encode_affine_body.h"
#include "kernels/encode_even_body.h"
#include "kernels/encode_fp4_body.h"
#include "kernels/encode_plain_body.h"
#include "kernels/encode_super_body.h"

#define ENCODE_BLOCKS(name, limit) [ENCODE_##name] = encode_##name,
#define ENCODE_OPS { .blocks = { ENCODE_FORMATS(ENCODE_BLOCKS) }, .largest = largest_bits }

#endif
