/* SPDX-License-Identifier: MIT */
/* The embedded demo models are the files of models/demo. */
#include "tests/harness/unit.h"

#include <stdlib.h>
#include <string.h>

#include "models/demo.h"

static void demo_models_are_the_files(void **state)
{
    (void)state;
    size_t count, n;
    const struct demo_model *list = demo_models(&count);
    for (size_t i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof name, "models/demo/%s.gguf", list[i].name);
        char *file = unit_read(top_path(name), &n);
        assert_int_equal(list[i].end - list[i].start, n);
        assert_memory_equal(list[i].start, file, n);
        assert_memory_equal(file, "GGUF", 4);
        assert_int_equal((uintptr_t)list[i].start % 64, 0);
        assert_ptr_equal(demo_find(list[i].name), &list[i]);
        free(file);
    }
    assert_null(demo_find("no such model"));
}

UNIT_MAIN(CASE(demo_models_are_the_files))
