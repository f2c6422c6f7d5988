/* SPDX-License-Identifier: MIT */
#include "kernels/level.h"

#include <stdatomic.h>
#include <string.h>

static const struct level *const levels[] = {
    &level_c,
#ifdef __x86_64__
    &level_avx2,
    &level_avx512,
    &level_avx512bf16,
#endif
};

static _Atomic(const struct level *) chosen;

const struct level *level_at(size_t i)
{
    return i < sizeof levels / sizeof *levels ? levels[i] : NULL;
}

const struct level *level_find(const char *name)
{
    for (size_t i = 0; level_at(i); i++)
        if (!strcmp(levels[i]->name, name))
            return levels[i];
    return NULL;
}

bool level_supported(const struct level *l) { return !features_missing(l->needs); }

const struct level *level_now(void)
{
    if (!chosen)
        for (size_t i = 0; level_at(i); i++)
            if (level_supported(levels[i]) && !(levels[i]->slow && levels[i]->slow()))
                chosen = levels[i];
    return chosen;
}

void level_force(const struct level *l) { chosen = l; }
