/* SPDX-License-Identifier: MIT */
/* Write GGUF files of any size, one tensor at a time: nothing changes at their paths before all of
 * them are whole and have been read back; what was interrupted goes on where it stopped. */
#ifndef QDB_FILE_GGUF_EXPORT_H
#define QDB_FILE_GGUF_EXPORT_H

#include "base/progress.h"
#include "file/gguf_write.h"
#include "kernels/pool.h"

/* One file: `file` has been planned. */
struct gguf_part {
    const char *path;
    const struct gguf_file *file;
    size_t first; /* number of its first tensor among all the parts' */
};

/* Where the bytes come from; i counts the tensors of all parts. */
struct gguf_source {
    /* The bytes of tensor i, as many as its part says, borrowed until the next call. */
    enum st (*bytes)(void *data, size_t i, const void **out, struct err *e);
    /* A number that is another one when the bytes are other ones. */
    uint64_t (*identity)(void *data, size_t i);
    /* Asked when all have been given: an error when they were not what they seemed. */
    enum st (*whole)(void *data, struct err *e);
    void *data;
};

struct gguf_exported {
    uint64_t bytes;       /* of all files */
    size_t tensors, kept; /* of all files; of them found whole from an earlier attempt */
};

/* While it is under way PATH.qdb-part holds the data and PATH.qdb-log what of it is whole; after an
 * error that came later than the first tensor, or ^C, they stay, unless the source is not whole,
 * and the same call goes on from there after comparing what is there with its hash. The disk's free
 * space is checked first. A path that is no regular file (a pipe, a device) is written straight and
 * not read back. The threads of the pool (may be NULL) share writing, reading back and hashing.
 * ST_IO, ST_CANCELLED, or what the source says. */
NODISCARD enum st gguf_export(const struct gguf_part *parts, size_t n,
                              const struct gguf_source *source, struct pool *pool,
                              struct progress *p, struct gguf_exported *out, struct err *e);

#endif
