/* SPDX-License-Identifier: MIT */
/* safetensors files: named float32 arrays behind one JSON header, out. */
#ifndef QDB_FILE_SAFETENSORS_H
#define QDB_FILE_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/progress.h"

enum { SAFETENSORS_MAX_RANK = 8 };

struct safetensor {
    const char *name;  /* of its own in the file */
    const char *about; /* a remark for the header's __metadata__, NULL if none */
    int rank;          /* 0: a scalar */
    uint64_t shape[SAFETENSORS_MAX_RANK];
    const float *data; /* row-major */
};

/* A remark on the file itself. */
struct safetensor_note {
    const char *key, *text;
};

/* Write n tensors to PATH, whole or not at all. ST_IO; ST_RANGE when the sizes or the header
 * (at most 100 MB) are too large for the format. */
NODISCARD enum st safetensors_write(const char *path, const struct safetensor *list, size_t n,
                                    struct err *e);
/* The same, telling how far it is; ST_CANCELLED. */
NODISCARD enum st safetensors_write_long(const char *path, const struct safetensor *list, size_t n,
                                         struct progress *progress, struct err *e);
/* The same with remarks in front, whose keys are not names of tensors. */
NODISCARD enum st safetensors_write_about(const char *path, const struct safetensor_note *notes,
                                          size_t n_notes, const struct safetensor *list, size_t n,
                                          struct progress *progress, struct err *e);

#endif
