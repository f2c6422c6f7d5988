/* SPDX-License-Identifier: MIT */
/* NumPy's .npy files: arrays of float32 in C order, out and in; in also float16 and float64. */
#ifndef QDB_FILE_NPY_H
#define QDB_FILE_NPY_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/progress.h"

enum { NPY_MAX_RANK = 16 };

struct npy {
    int rank; /* 0: a scalar */
    uint64_t shape[NPY_MAX_RANK];
    size_t n;    /* elements */
    float *data; /* owned, see npy_free */
};

/* Write shape[rank] (the last axis contiguous) to PATH, whole or not at all. ST_IO, ST_RANGE,
 * ST_CANCELLED. progress NULL: silently. */
NODISCARD enum st npy_write(const char *path, int rank, const uint64_t *shape, const float *data,
                            struct progress *progress, struct err *e);
/* Read a little-endian file of floats in C order, as float32. ST_IO, ST_FORMAT, ST_UNSUPPORTED
 * (another type or order), ST_NOMEM. *out is written on success only. */
NODISCARD enum st npy_read(const char *path, struct npy *out, struct err *e);
/* Its header alone: data is NULL. */
NODISCARD enum st npy_look(const char *path, struct npy *out, struct err *e);
/* The same as npy_read from memory; `name` is for messages. */
NODISCARD enum st npy_parse(const void *p, size_t n, const char *name, struct npy *out,
                            struct err *e);
void npy_free(struct npy *a);

#endif
