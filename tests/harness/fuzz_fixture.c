/* SPDX-License-Identifier: MIT */
/* A fuzz target with a bug that only some inputs meet, so that the driver itself can be tested. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

const char *const fuzz_words[] = { "boom", NULL };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (memmem(data, size, "boom", 4))
        abort();
    return 0;
}
