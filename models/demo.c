/* SPDX-License-Identifier: MIT */
#include "models/demo.h"

#include <string.h>

/* models/demo/NAME.gguf for each, the default first. Makefile.am has the same list. */
#define DEMOS(X) X(sink) X(add)

#ifdef __APPLE__
#define RODATA "__TEXT,__const"
#define SYMBOL "_demo_"
#else
#define RODATA ".rodata"
#define SYMBOL "demo_"
#endif

/* The assembler reads the file; the makefile gives it the folder to look in. */
#define EMBED(name) \
    __asm__(".pushsection " RODATA "\n" \
            ".balign 64\n" \
            ".globl " SYMBOL #name "_start\n" SYMBOL #name "_start:\n" \
            ".incbin \"models/demo/" #name ".gguf\"\n" \
            ".globl " SYMBOL #name "_end\n" SYMBOL #name "_end:\n" \
            ".popsection\n"); \
    extern const uint8_t demo_##name##_start[], demo_##name##_end[];
DEMOS(EMBED)

#define ROW(name) { #name, demo_##name##_start, demo_##name##_end },
static const struct demo_model models[] = { DEMOS(ROW) { NULL, NULL, NULL } };

const struct demo_model *demo_models(size_t *n)
{
    *n = sizeof models / sizeof *models - 1;
    return models;
}

const struct demo_model *demo_find(const char *name)
{
    for (const struct demo_model *m = models; m->name; m++)
        if (!strcmp(m->name, name))
            return m;
    return NULL;
}
