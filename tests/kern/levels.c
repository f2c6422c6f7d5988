/* SPDX-License-Identifier: MIT */
/* The levels that are proved: those of the machine, and level amx over emulated tiles. */
#include <string.h>

#include "tests/kern/kern.h"
#include "tests/kern/tiles.h"

#ifdef __x86_64__
static struct level emulated[2];

static void emulate(void)
{
    emulated[0] = level_avx512bf16;
    emulated[0].name = "amx-emulated";
    emulated[0].fast = &emulated_amx;
    emulated[1] = level_c;
    emulated[1].name = "amx-emulated-c";
    emulated[1].fast = &emulated_amx_c;
    emulated[1].words = NULL;
}

enum { EMULATED_LEVELS = sizeof emulated / sizeof *emulated };
#else
static const struct level emulated[1];
static void emulate(void) { }
enum { EMULATED_LEVELS = 0 };
#endif

const struct level *tested_level(size_t i, enum kern_levels which)
{
    size_t real = 0;
    emulate();
    while (level_at(real))
        real++;
    if (which == KERN_ONCE && i > 0)
        return NULL;
    if (i < real)
        return level_at(i);
    i -= real;
    return which == KERN_TILES && i < EMULATED_LEVELS ? &emulated[i] : NULL;
}

bool is_tested_level(const char *name)
{
    const struct level *l;
    for (size_t i = 0; (l = tested_level(i, KERN_TILES)); i++)
        if (!strcmp(l->name, name))
            return true;
    return false;
}
