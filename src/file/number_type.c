/* SPDX-License-Identifier: MIT */
#include "file/number_type.h"

#include <stdint.h>
#include <string.h>

#include "kernels/format.h"

static const struct {
    size_t bytes;
    const char *safetensors, *numpy; /* NULL: not there */
} types[] = {
    [NUMBER_F32] = { 4, "F32", "<f4" },
    [NUMBER_F16] = { 2, "F16", "<f2" },
    [NUMBER_BF16] = { 2, "BF16", NULL },
    [NUMBER_F64] = { 8, "F64", "<f8" },
};

size_t number_bytes(enum number_type t) { return types[t].bytes; }

enum number_type number_of_safetensors(struct str name)
{
    int t = 0;
    while (t < NUMBER__COUNT && !str_is(name, types[t].safetensors))
        t++;
    return (enum number_type)t;
}

enum number_type number_of_numpy(struct str name)
{
    int t = 0;
    while (t < NUMBER__COUNT && !(types[t].numpy && str_is(name, types[t].numpy)))
        t++;
    return (enum number_type)t;
}

void number_floats(enum number_type t, const void *p, size_t n, float *out)
{
    const uint8_t *at = p;
    for (size_t i = 0; i < n && t != NUMBER_F32; i++, at += types[t].bytes) {
        uint16_t h;
        double d;
        if (t == NUMBER_F64) {
            memcpy(&d, at, sizeof d);
            out[i] = (float)d;
            continue;
        }
        memcpy(&h, at, sizeof h);
        out[i] = t == NUMBER_F16 ? f16_to_f32(h) : bf16_to_f32(h);
    }
    if (t == NUMBER_F32 && n)
        memcpy(out, p, n * sizeof *out);
}
