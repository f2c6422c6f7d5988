/* SPDX-License-Identifier: MIT */
/* Captures: what a run computed, and how, in one safetensors file; opened elsewhere it can be
 * looked at without the model. */
#ifndef QDB_SESSION_CAPTURE_H
#define QDB_SESSION_CAPTURE_H

#include "base/table.h"
#include "file/safetensors_read.h"
#include "session/session.h"

/* A point that a capture holds. */
struct captured {
    const struct stored_tensor *x;
    struct shape shape;
};

struct capture {
    struct stored_tensors file;
    struct captured *list; /* in the order of the file */
    size_t n;
};

/* Does the file begin like a safetensors file? Then session_open() takes it for a capture. */
bool capture_is(const char *path);
/* ST_FORMAT when the file is no capture, or axes and sizes of a point do not fit. Takes the file
 * over, also on failure. */
NODISCARD enum st capture_parse(struct stored_tensors *file, struct capture **out, struct err *e);
void capture_free(struct capture *c);
/* What it says of itself, as a table `capture`, and what it holds, as `points`. */
void capture_facts(const struct capture *c, struct result *out);

/* Write points (values of the run's graph, n of them) of a finished run. The hash of the model is
 * over the header of each of its files, and of each weight its name, its size, and the first and
 * last 4096 bytes. */
NODISCARD enum st capture_write(struct session *s, struct session_run *r, const int *values,
                                size_t n, const char *path, struct err *e);

#endif
