/* SPDX-License-Identifier: MIT */
/* The base: errors, memory, text, tables. */
#include "tests/harness/unit.h"

static void test_x(void **state) { (void)state; }
UNIT_MAIN(CASE(test_x))
