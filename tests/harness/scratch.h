/* SPDX-License-Identifier: MIT */
/* A folder of its own for a test that needs files. */
#ifndef QDB_TESTS_HARNESS_SCRATCH_H
#define QDB_TESTS_HARNESS_SCRATCH_H

#include <stddef.h>

/* Make it (one at a time) and return its path; scratch_end removes it with all that is in it. */
const char *scratch_begin(void);
void scratch_end(void);
/* Path of NAME in it; static storage that the next sixteen calls leave alone. */
const char *scratch_path(const char *name);
void scratch_write(const char *name, const void *p, size_t n); /* fails the case if it cannot */
/* A safetensors file: this header, sound or not, and n zeros. */
void scratch_tensors(const char *name, const char *header, size_t n);

#endif
