/* SPDX-License-Identifier: MIT */
#include "command/scripts.h"

#include <string.h>

static const struct script table[] = {
    { "tour", "a guided tour of the main job", script_tour },
};

const struct script *script_at(size_t i)
{
    return i < sizeof table / sizeof *table ? &table[i] : NULL;
}

const struct script *script_find(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].name, name))
            return &table[i];
    return NULL;
}
