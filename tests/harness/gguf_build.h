/* SPDX-License-Identifier: MIT */
/* Build GGUF images in memory, sound or deliberately broken, for tests. */
#ifndef QDB_TESTS_HARNESS_GGUF_BUILD_H
#define QDB_TESTS_HARNESS_GGUF_BUILD_H

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "file/gguf.h"

/* Begin with = BUILD_INIT; end with build_free. The image is header, keys, directory, padding,
 * data, in the order of the calls. Nothing is checked: what a test asks for, it gets. */
struct build {
    uint32_t version;
    uint64_t alignment;        /* of the data; general.alignment is left to the test */
    uint64_t n_kvs, n_tensors; /* counted by the calls; a test may make them lie */
    struct buf kvs, directory, data;
    size_t header; /* bytes before the padding, set by build_image */
};

#define BUILD_INIT \
    { \
        .version = 3, .alignment = GGUF_ALIGNMENT \
    }

/* Raw little-endian pieces, for keys and directories that no writer would write (bytes: any). */
void build_put(struct buf *b, uint64_t v, int bytes);
void build_put_string(struct buf *b, struct str s);

/* Key and value type; the value follows with build_put. */
void build_key(struct build *b, const char *key, enum gguf_type type);
/* Key, array type and length claim; the elements follow with build_put. */
void build_array(struct build *b, const char *key, enum gguf_type elem, uint64_t n);
void build_integer(struct build *b, const char *key, enum gguf_type type, int64_t v);
void build_float(struct build *b, const char *key, enum gguf_type type, double v);
void build_string(struct build *b, const char *key, const char *v);
void build_strings(struct build *b, const char *key, const char *const *v, size_t n);

/* A directory record only. ne[rank], ne[0] = row length. */
void build_record(struct build *b, const char *name, uint32_t type, int rank, const uint64_t *ne,
                  uint64_t offset);
/* A record and its data at the next aligned offset. */
void build_tensor(struct build *b, const char *name, uint32_t type, int rank, const uint64_t *ne,
                  const void *data, size_t bytes);
/* A matrix [rows][cols] of f32; values NULL: made up, other ones for each tensor. */
void build_f32(struct build *b, const char *name, uint64_t cols, uint64_t rows,
               const float *values);

/* The file as it would lie on disk; the caller frees it. The build may go on after. */
uint8_t *build_image(struct build *b, size_t *size);
/* Keys and tensors of a llama model of one block that lint finds nothing wrong with: width 32,
 * 4 heads, 2 K/V heads, feed-forward 64, vocabulary 6, f32. */
void build_llama(struct build *b);
void build_llama_keys(struct build *b); /* without the tensors */
void build_free(struct build *b);

#endif
