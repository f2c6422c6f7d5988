/* SPDX-License-Identifier: MIT */
#include "command/scripts.h"

#include <string.h>

static const struct script table[] = {
    { "tour", script_tour },
};

const struct script *script_find(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].name, name))
            return &table[i];
    return NULL;
}
