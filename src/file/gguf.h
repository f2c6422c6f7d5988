/* SPDX-License-Identifier: MIT */
/* GGUF v2 and v3: metadata and tensor directory of one file, read over a map without copying strings. */
#ifndef QDB_FILE_GGUF_H
#define QDB_FILE_GGUF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "file/map.h"
#include "kernels/format.h"

enum gguf_type {
    GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL, GGUF_STRING,
    GGUF_ARRAY, GGUF_U64, GGUF_I64, GGUF_F64, GGUF_TYPE__COUNT
};

struct gguf_kv {
    struct str key;       /* borrowed from the map, as are all strings */
    enum gguf_type type;  /* GGUF_ARRAY: elem and n say of what */
    enum gguf_type elem;
    uint64_t n;           /* elements of the array, 1 for a scalar */
    const uint8_t *data;  /* first element, unaligned; a string element begins with its u64 length */
    uint64_t *strings;    /* arrays of strings: offset in the map of each element's length field; one allocation */
};

struct gguf_tensor {
    struct str name;
    int rank;               /* 1..4 */
    uint64_t ne[4];         /* ne[0] = row length (contiguous); unused = 1 */
    uint32_t type_id;       /* the number in the file */
    enum format format;     /* FORMAT_NONE: unknown type, then bytes = 0 and data = NULL */
    uint64_t offset;        /* in the data section */
    size_t bytes;
    const uint8_t *data;    /* in the map; NULL when the tensor is bad (see problem) */
    const char *problem;    /* NULL, or what is wrong with it: static text */
};

struct gguf {
    struct map map;
    uint32_t version;
    uint64_t alignment;
    uint64_t data_offset;
    struct gguf_kv *kvs;
    size_t n_kvs;
    struct gguf_tensor *tensors;
    size_t n_tensors;
};

/* Parse a map. Takes the map over (closes it on failure too). A header that cannot be read through
 * is an error that names file, offset and fact; a tensor that is bad by itself (outside the file,
 * overlapping, unknown type, bad row length) is kept with `problem` set, so that a half-bad file opens. */
NODISCARD enum st gguf_parse(struct map map, struct gguf **out, struct err *e);
void gguf_free(struct gguf *g);

const struct gguf_kv *gguf_find(const struct gguf *g, const char *key);
/* The i-th element as text or number; the caller has checked the type. */
struct str gguf_string(const struct gguf *g, const struct gguf_kv *kv, uint64_t i);
double gguf_number(const struct gguf_kv *kv, uint64_t i); /* any numeric or bool type */
int64_t gguf_integer(const struct gguf_kv *kv, uint64_t i);
const char *gguf_type_name(enum gguf_type type);

#endif
