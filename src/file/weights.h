/* SPDX-License-Identifier: MIT */
/* Weights: one list of named tensors and one view of the metadata, whatever file or split. */
#ifndef QDB_FILE_WEIGHTS_H
#define QDB_FILE_WEIGHTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "file/gguf.h"
#include "file/names.h"
#include "kernels/format.h"
#include "kernels/matrix.h"

/* A tensor of the model file. Matrices are [rows][cols], row-major: cols = ne[0], rows = product of
 * the rest (0 when that overflows). */
struct weight {
    struct str name;            /* borrowed */
    int rank;                   /* 1..4 */
    uint64_t ne[GGUF_MAX_RANK]; /* as in the file: ne[0] fastest */
    uint64_t rows, cols;
    enum format format;
    uint32_t type_id;
    size_t bytes, row_bytes; /* 0 when they cannot be computed */
    const uint8_t *data;     /* NULL when unreadable; problem says why */
    const char *problem;     /* static text */
    uint64_t offset;         /* in the data section of its file */
    int file;                /* index into files */
    /* NAME.scale beside NAME.weight: a float for each matrix, at any address, that its elements
     * are times; NULL: 1 */
    const uint8_t *scale;
    const struct weight *beside; /* of NAME.scale and NAME.input_scale: NAME.weight, else NULL */
};

struct weights {
    char *path;          /* of the first file */
    struct gguf **files; /* one, or all parts of a split in order */
    size_t n_files, cap_files;
    struct weight *list; /* in file order */
    size_t n;
    uint64_t n_params;    /* elements of all tensors that are not bad */
    uint64_t n_bytes;     /* bytes of the same */
    struct names by_name; /* private */
};

/* Open a GGUF file, or all parts when PATH is one part of a split (name-00001-of-00003.gguf). */
NODISCARD enum st weights_open(const char *path, struct weights **out, struct err *e);
/* The same over memory that somebody else keeps; one file, parts are not looked for. */
NODISCARD enum st weights_borrow(const void *p, size_t size, const char *name, struct weights **out,
                                 struct err *e);
void weights_close(struct weights *w);
/* To be asked by whoever is about to read them: map_use of every file. */
NODISCARD enum st weights_use(const struct weights *w, struct err *e);

const struct weight *weights_find(const struct weights *w, struct str name); /* NULL if none */
/* Metadata of the model lives in the first file. NULL / the given default when absent or of another
 * type (any scalar integer type is an integer, any scalar number a number). */
const struct gguf_kv *weights_kv(const struct weights *w, const char *key);
struct str weights_string(const struct weights *w, const char *key, const char *otherwise);
double weights_number(const struct weights *w, const char *key, double otherwise);
int64_t weights_integer(const struct weights *w, const char *key, int64_t otherwise);

/* Rows of one matrix of the weight: those of an expert where it has one for each. */
uint64_t weight_matrix_rows(const struct weight *w);
/* What the elements of a row are times. */
float weight_scale(const struct weight *w, uint64_t row);
void weight_scale_name(const struct weight *w, struct buf *out); /* NAME.scale of NAME.weight */
/* Have they none, or the same shape and the same bits for each matrix? */
bool weight_same_scales(const struct weight *a, const struct weight *b);
uint64_t weight_hash(const struct weight *w, uint64_t seed); /* of its bytes and its scales */
/* Rows [row, row + n), of one matrix, for kernels. */
struct matrix weight_matrix(const struct weight *w, uint64_t row, uint64_t n);

/* Decode rows [row, row + n) to dst [n][cols] float, scales included. ST_UNSUPPORTED when the
 * format has no decoder, ST_FORMAT when the tensor is bad, ST_RANGE when the rows do not exist. */
NODISCARD enum st weight_decode(const struct weight *w, uint64_t row, uint64_t n, float *dst,
                                struct err *e);
/* Whether it decodes, and if not the same errors as weight_decode. */
NODISCARD enum st weight_check(const struct weight *w, struct err *e);
/* Decode elements [at, at + n) of a weight that weight_check accepts, across rows: for walking a
 * tensor in pieces that do not grow with its rows. at and n are multiples of the block (n also when
 * the piece ends the tensor) and at + n <= rows * cols. */
void weight_decode_flat(const struct weight *w, uint64_t at, uint64_t n, float *dst);

#endif
