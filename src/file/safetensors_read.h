/* SPDX-License-Identifier: MIT */
/* safetensors files that others wrote: named arrays of floats. */
#ifndef QDB_FILE_SAFETENSORS_READ_H
#define QDB_FILE_SAFETENSORS_READ_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "file/map.h"
#include "file/number_type.h"
#include "file/safetensors.h"

/* One array; its bytes lie within the file. */
struct stored_tensor {
    char *name;
    enum number_type type; /* NUMBER__COUNT: one that is no float; its size is not checked */
    int rank;
    uint64_t shape[SAFETENSORS_MAX_RANK];
    size_t n, bytes; /* elements; bytes that they take */
    const uint8_t *data;
};

/* A remark of the header's __metadata__. */
struct stored_note {
    char *key, *text;
};

struct stored_tensors {
    struct map map;
    struct stored_tensor *list; /* in the order of the header */
    size_t n, cap;
    struct stored_note *notes;
    size_t n_notes, cap_notes;
};

/* Headers up to 100 MB, as the format has it. ST_IO; ST_FORMAT when the header is no JSON of the
 * right kind, names a tensor twice, or speaks of bytes that are not there, are another tensor's or
 * do not fit the shape; ST_NOMEM. */
NODISCARD enum st stored_open(const char *path, struct stored_tensors *out, struct err *e);
/* The same of memory that somebody else keeps. */
NODISCARD enum st stored_borrow(const void *p, size_t n, const char *name,
                                struct stored_tensors *out, struct err *e);
void stored_close(struct stored_tensors *s);
const struct stored_tensor *stored_find(const struct stored_tensors *s, const char *name);
const char *stored_note(const struct stored_tensors *s, const char *key); /* NULL if none */
/* All elements as floats, out [n]. ST_UNSUPPORTED when they are none. */
NODISCARD enum st stored_floats(const struct stored_tensor *t, float *out, struct err *e);

#endif
