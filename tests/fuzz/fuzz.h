/* SPDX-License-Identifier: MIT */
/* What a fuzz target provides; driver.c has the main(), or libFuzzer under clang. */
#ifndef QDB_TESTS_FUZZ_FUZZ_H
#define QDB_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Feed one input to the code under test. Must return 0, free everything, and depend on nothing
 * else. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Optional: words of the input language that mutations insert, ending in NULL. */
extern const char *const fuzz_words[] __attribute__((weak));

#endif
