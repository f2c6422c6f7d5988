/* SPDX-License-Identifier: MIT */
/* Decoders: how the levels bring any format to floats, the same bits as the format's codec. */
#ifndef QDB_KERNELS_DECODER_H
#define QDB_KERNELS_DECODER_H

#include <stdint.h>

#include "kernels/format.h"

enum decode_way {
    DECODE_CODEC,  /* by the codec of the format */
    DECODE_F32,    /* nothing to do */
    DECODE_F16,    /* half floats */
    DECODE_NATIVE, /* native mode's unpacker, then codes times scales */
};

/* A format, looked up once. */
struct decoder {
    enum decode_way way;
    int native; /* enum native_id, of DECODE_NATIVE */
    int block, bytes;
    void (*codec)(const void *src, float *dst, int64_t n);
};

struct decoder decoder_of(enum format f);

/* Bytes of n elements, n a multiple of the block. */
static inline int64_t decoder_bytes(const struct decoder *d, int64_t n)
{
    return n / d->block * d->bytes;
}

#endif
