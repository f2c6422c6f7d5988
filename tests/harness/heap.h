/* SPDX-License-Identifier: MIT */
/* The heap, counted: a program that links heap.c has a malloc that keeps the high-water mark. */
#ifndef QDB_TESTS_HARNESS_HEAP_H
#define QDB_TESTS_HARNESS_HEAP_H

#include <stdbool.h>
#include <stddef.h>

/* False where malloc is not ours to replace: under a sanitizer, or with another C library. */
bool heap_is_counted(void);
/* Forget the mark. After that: the most bytes held at one time above those held now, and the
 * largest single request, granted or not. */
void heap_mark(void);
size_t heap_peak(void);
size_t heap_largest(void);

#endif
