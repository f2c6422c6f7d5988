/* SPDX-License-Identifier: MIT */
/* Part: a vector of floats of the size that a level has, LEVEL_VECTOR bytes. Vectors never cross a
 * call: everything that takes one is inlined. */
#ifndef QDB_KERNELS_PART_BODY_H
#define QDB_KERNELS_PART_BODY_H

typedef float part __attribute__((vector_size(LEVEL_VECTOR)));

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")

#endif
