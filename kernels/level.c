/* SPDX-License-Identifier: MIT */
#include "kernels/level.h"

#include <stdatomic.h>
#include <string.h>

#include "base/text.h"

static const struct level *const levels[] = {
    &level_c,
#ifdef __x86_64__
    &level_avx2,
    &level_avx512,
    &level_avx512bf16,
    &level_amx,
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

/* The names of a set of features; `why` (may be NULL): those alone that are missing for it. */
static void names_of(unsigned set, const char *why, struct buf *out)
{
    const char *gap = "";
    for (int f = 0; f < FEATURE__COUNT; f++) {
        const char *missing = feature_missing((enum feature)f);
        if (!(set >> f & 1) || (why && (!missing || strcmp(missing, why))))
            continue;
        buf_printf(out, "%s%s", gap, feature_name((enum feature)f));
        gap = " ";
    }
}

void level_needs(const struct level *l, struct buf *out) { names_of(l->needs, NULL, out); }

void level_missing(const struct level *l, struct buf *out)
{
    const unsigned missing = features_missing(l->needs);
    for (int f = 0; f < FEATURE__COUNT; f++) {
        const char *why = missing >> f & 1 ? feature_missing((enum feature)f) : NULL;
        bool said = !why;
        for (int g = 0; g < f && !said; g++) /* each reason once */
            said = missing >> g & 1 && !strcmp(feature_missing((enum feature)g), why);
        if (said)
            continue;
        buf_printf(out, "%s%s: ", out->n ? "; " : "", why);
        names_of(missing, why, out);
    }
}

const struct level *level_now(void)
{
    if (!chosen)
        for (size_t i = 0; level_at(i); i++)
            if (level_supported(levels[i]) && !(levels[i]->slow && levels[i]->slow()))
                chosen = levels[i];
    return chosen;
}

void level_force(const struct level *l) { chosen = l; }
