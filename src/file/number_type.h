/* SPDX-License-Identifier: MIT */
/* Types of numbers in arrays that other programs wrote, as floats. */
#ifndef QDB_FILE_NUMBER_TYPE_H
#define QDB_FILE_NUMBER_TYPE_H

#include <stddef.h>

#include "base/text.h"

enum number_type { NUMBER_F32, NUMBER_F16, NUMBER_BF16, NUMBER_F64, NUMBER__COUNT };

size_t number_bytes(enum number_type t);
/* "F32" of safetensors, "<f4" of NumPy; NUMBER__COUNT for others. */
enum number_type number_of_safetensors(struct str name);
enum number_type number_of_numpy(struct str name);
/* n little-endian numbers, which need not be aligned. F64 is rounded. */
void number_floats(enum number_type t, const void *p, size_t n, float *out);

#endif
