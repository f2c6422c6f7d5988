/* SPDX-License-Identifier: MIT */
/* The unpackers of all integer formats, one table; included once per level. */
#ifndef QDB_KERNELS_NATIVE_UNPACK_H
#define QDB_KERNELS_NATIVE_UNPACK_H

#include "kernels/native_blocks.h"
#include "kernels/native_iq.h"
#include "kernels/native_k.h"

#define NATIVE_UNPACK(name, ...) [NATIVE_##name] = unpack_##name,
static native_unpack *const unpackers[NATIVE__COUNT] = { NATIVE_FORMATS(NATIVE_UNPACK) };

#endif
