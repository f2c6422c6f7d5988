/* SPDX-License-Identifier: MIT */
/* Memory: checked sizes, small allocations that cannot fail, large ones within a budget. */
#ifndef QDB_BASE_MEMORY_H
#define QDB_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

static inline bool mul_ok(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool add_ok(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* Small things whose size qdb itself decides, never a file: zeroed, exit with a message when the
 * system has nothing left. The caller owns the result and frees it with free(). */
void *x_alloc(size_t bytes);
void *x_realloc(void *p, size_t bytes);
/* The same for scratch memory: aligned to 64 bytes, contents undefined. */
void *x_scratch(size_t bytes);
char *x_strdup(const char *s);
char *x_strndup(const char *s, size_t n);

/* Grow an array so that it holds `need` elements, doubling: x_grow(&a, &cap, need, sizeof *a).
 * New elements are zeroed. */
void x_grow(void *array_pointer, size_t *cap, size_t need, size_t size);

/* Large buffers (activations, decoded rows, caches): 64-byte aligned, contents undefined, counted
 * against the budget of the process. Error ST_NOMEM names what, the sizes, and the way out.
 * *out is written on success only; mem_free(NULL) is fine. */
NODISCARD enum st mem_alloc(void **out, size_t bytes, const char *what, struct err *e);
void mem_free(void *p);
/* A buffer in an open file of mem_map_bytes() bytes instead (false: that overflows), shared with
 * it; fd may be closed then. Counted apart from the budget. */
bool mem_map_bytes(size_t bytes, size_t *of_file);
NODISCARD enum st mem_map(void **out, int fd, size_t bytes, const char *what, struct err *e);
/* As x_grow, for an array whose length a file decides: from mem_alloc, and with its errors. */
NODISCARD enum st mem_grow(void *array_pointer, size_t *cap, size_t need, size_t size,
                           const char *what, struct err *e);

void mem_set_budget(size_t bytes); /* 0 = no limit */
size_t mem_budget(void);
size_t mem_used(void);
size_t mem_peak(void);
size_t mem_mapped(void); /* by mem_map */
size_t mem_available(void); /* bytes the system could give now (MemAvailable), 0 if unknown */

#endif
