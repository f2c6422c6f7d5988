/* SPDX-License-Identifier: MIT */
/* GGUF v2 and v3: metadata and tensor directory of one file, read over a map without copying. */
#ifndef QDB_FILE_GGUF_H
#define QDB_FILE_GGUF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "file/map.h"
#include "file/names.h"
#include "kernels/format.h"

enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPE__COUNT
};

enum {
    GGUF_MAX_RANK = 4,
    GGUF_MAX_NAME = 127, /* of a tensor; some programs stop at 63 (lint says so) */
    GGUF_MAX_KEY = 65535,
    GGUF_ALIGNMENT = 32, /* where the file does not say */
};

struct gguf_kv {
    struct str key;      /* borrowed from the map, as are all strings */
    enum gguf_type type; /* GGUF_ARRAY: elem and n say of what */
    enum gguf_type elem; /* = type for a scalar */
    uint64_t n;          /* elements of the array, 1 for a scalar */
    const uint8_t *data; /* first element, unaligned; a string begins with its u64 length */
    size_t bytes;        /* of all elements */
    uint64_t *strings;   /* arrays of strings: offset in the map of each element's length field */
};

struct gguf_tensor {
    struct str name;
    int rank;                   /* 1..4 (0 dimensions in the file read as one of 1) */
    uint64_t ne[GGUF_MAX_RANK]; /* ne[0] = row length (contiguous); unused = 1 */
    uint32_t type_id;           /* the number in the file */
    enum format format;         /* FORMAT_NONE: unknown type, then bytes = 0 and data = NULL */
    uint64_t offset;            /* in the data section */
    size_t bytes;               /* 0 when it cannot be computed */
    const uint8_t *data;        /* in the map; NULL when the tensor is bad (see problem) */
    const char *problem;        /* NULL, or what is wrong with it: static text */
};

struct gguf {
    struct map map;
    uint32_t version;
    uint64_t alignment;
    uint64_t data_offset; /* first byte of the data section; may lie behind the end of the file */
    struct gguf_kv *kvs;
    size_t n_kvs;
    struct names by_key; /* private */
    struct gguf_tensor *tensors;
    size_t n_tensors;
};

/* Parse a map. Takes the map over (closes it on failure too). A header that cannot be read through
 * is ST_FORMAT or ST_UNSUPPORTED and names file, byte offset and fact; a tensor that is bad by
 * itself (outside the file, overlapping, unknown type, bad row length) is kept with `problem` set,
 * so that a half-bad file opens. Order and gaps are free. */
NODISCARD enum st gguf_parse(struct map map, struct gguf **out, struct err *e);
void gguf_free(struct gguf *g);

const struct gguf_kv *gguf_find(const struct gguf *g, const char *key); /* NULL if absent */
const char *gguf_type_name(enum gguf_type type);
bool gguf_is_integer(enum gguf_type type); /* integers of any width, not bool */
bool gguf_is_number(enum gguf_type type);  /* integers, floats, bool */
/* The i-th element as text or number; the caller has checked elem and n (see the two above).
 * Wider than the result: saturated. */
struct str gguf_string(const struct gguf *g, const struct gguf_kv *kv, uint64_t i);
double gguf_number(const struct gguf_kv *kv, uint64_t i);
int64_t gguf_integer(const struct gguf_kv *kv, uint64_t i);
/* The value for people: numbers as they are, strings quoted and made visible (at most `width` bytes
 * each), of an array the first `items` elements and how many there are. */
void gguf_print(const struct gguf *g, const struct gguf_kv *kv, uint64_t items, size_t width,
                struct buf *out);

#endif
