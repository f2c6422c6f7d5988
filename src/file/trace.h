/* SPDX-License-Identifier: MIT */
/* Traces: a folder with what some engine computed for one prompt. trace.json says which tokens it
 * was; every *.safetensors and *.npy beside it holds activations under their names. */
#ifndef QDB_FILE_TRACE_H
#define QDB_FILE_TRACE_H

#include <stdint.h>

#include "base/error.h"
#include "file/safetensors_read.h"

/* One activation of all tokens. */
struct trace_tensor {
    char *name;
    int file; /* index into files, -1: a .npy of its own */
    size_t at; /* in that file's list */
    int rank;
    uint64_t shape[SAFETENSORS_MAX_RANK];
    size_t n;
};

struct trace {
    char *path;                  /* of the folder */
    char *engine, *model, *dtype; /* as trace.json says; "" if it does not */
    int32_t *ids;
    size_t n_ids, cap_ids;
    struct stored_tensors *files;
    size_t n_files, cap_files;
    struct trace_tensor *list; /* sorted by name */
    size_t n, cap;
};

enum { TRACE_MAX_TOKENS = 1 << 24 };

/* Open a folder, or a capture; every header is read and checked, the numbers are not. trace.json:
 *     {"format": "qdb-trace", "version": 1, "tokens": [IDS],
 *      "engine": "...", "model": "...", "dtype": "..."}
 * of which the first three are needed. ST_IO, ST_FORMAT, ST_UNSUPPORTED name the file and the fact;
 * one name in two files is ST_FORMAT. */
NODISCARD enum st trace_open(const char *path, struct trace *out, struct err *e);
void trace_close(struct trace *t);
const struct trace_tensor *trace_find(const struct trace *t, const char *name);
/* All elements, out [n]. */
NODISCARD enum st trace_read(const struct trace *t, const struct trace_tensor *x, float *out,
                             struct err *e);
/* The text of trace.json alone: fuzzing. *out is closed with trace_close. */
NODISCARD enum st trace_parse(const char *text, size_t n, const char *name, struct trace *out,
                              struct err *e);

/* Write trace.json and trace.safetensors into a folder that exists or can be made. */
NODISCARD enum st trace_write(const char *path, const struct trace *about,
                              const struct safetensor *list, size_t n, struct err *e);

#endif
