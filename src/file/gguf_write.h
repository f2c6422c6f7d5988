/* SPDX-License-Identifier: MIT */
/* Making GGUF v3: metadata taken from a file or made, where everything will lie, and the header. */
#ifndef QDB_FILE_GGUF_WRITE_H
#define QDB_FILE_GGUF_WRITE_H

#include "file/gguf.h"

/* The metadata of a file to be: all zero to begin with; end with gguf_meta_free. Values taken from
 * an open file are borrowed from it, byte for byte; a key that is set again keeps its place. */
struct gguf_meta {
    struct gguf_kv *list;
    size_t n, cap;
    void **owned;
    size_t n_owned, cap_owned;
};
void gguf_meta_take(struct gguf_meta *m, const struct gguf *from);
void gguf_meta_integer(struct gguf_meta *m, const char *key, enum gguf_type type, uint64_t v);
void gguf_meta_integers(struct gguf_meta *m, const char *key, const uint32_t *v,
                        size_t n); /* U32 */
void gguf_meta_string(struct gguf_meta *m, const char *key, struct str v);
void gguf_meta_strings(struct gguf_meta *m, const char *key, const struct str *v, size_t n);
void gguf_meta_drop(struct gguf_meta *m, const char *key); /* fine if it is not there */
void gguf_meta_free(struct gguf_meta *m);

/* What a file is to hold. Of a tensor count name, rank, ne, type_id and bytes, which may be 0 for
 * none; gguf_plan fills in the offset. */
struct gguf_file {
    const struct gguf_kv *kvs;
    size_t n_kvs;
    struct gguf_tensor *tensors;
    size_t n_tensors;
    uint64_t alignment; /* from general.alignment; filled by gguf_plan, as are the next two */
    uint64_t data_at;   /* first byte of the data section */
    uint64_t size;      /* of the whole file, the padding after the last tensor included */
};

/* Decide where everything lies: tensors in their order, each padded to the alignment.
 * ST_RANGE when the size overflows. */
NODISCARD enum st gguf_plan(struct gguf_file *f, struct err *e);
/* Bytes from the start of tensor i to the start of the next one. */
uint64_t gguf_room(const struct gguf_file *f, size_t i);
/* Append everything in front of the data: data_at bytes. The file has been planned. */
void gguf_header(const struct gguf_file *f, struct buf *out);

#endif
