/* SPDX-License-Identifier: MIT */
#include "kernels/decoder.h"

#include <string.h>

#include "kernels/native.h"

struct decoder decoder_of(enum format f)
{
    const struct format_info *info = format_info(f);
    const struct native_format *n = native_format(f);
    struct decoder d = { DECODE_CODEC, 0, info->block, info->bytes, info->decode };
    if (n) {
        d.way = DECODE_NATIVE;
        d.native = (int)native_id(n);
    } else if (!strcmp(info->name, "f32")) {
        d.way = DECODE_F32;
    } else if (!strcmp(info->name, "f16")) {
        d.way = DECODE_F16;
    }
    return d;
}
