/* SPDX-License-Identifier: MIT */
#include "quant/file_type.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/encode.h"

/* Are these the formats that the mix gives to the weights it speaks of? */
static bool is_mix(const struct mix *mix, const struct weights *w, const enum format *f)
{
    enum format *its = x_alloc((w->n + 1) * sizeof *its);
    bool same = false;
    for (int importance = 0; importance < 2 && !same; importance++) {
        same = !mix_formats(mix, w, importance, its, NULL, NULL);
        for (size_t i = 0; i < w->n && same; i++)
            same = its[i] == FORMAT_NONE || encode_fallback(its[i], w->list[i].cols) == f[i];
    }
    free(its);
    return same;
}

/* The format that holds most elements. */
static const struct format_info *prevailing(const struct weights *w, const enum format *f)
{
    uint64_t *elements = x_alloc((size_t)(format_count() + 1) * sizeof *elements), most = 0;
    enum format best = FORMAT_NONE;
    for (size_t i = 0; i < w->n; i++) {
        if (!format_info(f[i]))
            continue;
        elements[f[i]] += w->list[i].rows * w->list[i].cols;
        if (elements[f[i]] > most) {
            most = elements[f[i]];
            best = f[i];
        }
    }
    free(elements);
    return format_info(best);
}

int file_type_of(const struct weights *w, const enum format *f, const struct mix *named)
{
    /* what loaders call a format by itself, where that is not the first mix of it */
    static const struct {
        const char *format;
        int file_type;
    } alone[] = {
        { "q3_k", 12 }, { "iq3_s", 26 }, { "iq2_s", 28 }, { "iq2_xs", 20 }, { "nvfp4", 39 }
    };
    const struct format_info *most = prevailing(w, f);
    if (named && is_mix(named, w, f))
        return named->file_type;
    if (!most)
        return -1;
    int first = -1;
    for (size_t i = 0; mix_at(i); i++) {
        if (strcmp(mix_at(i)->usual, most->name))
            continue;
        if (is_mix(mix_at(i), w, f))
            return mix_at(i)->file_type;
        first = first < 0 ? mix_at(i)->file_type : first;
    }
    for (size_t i = 0; i < sizeof alone / sizeof *alone; i++)
        if (!strcmp(alone[i].format, most->name))
            return alone[i].file_type;
    return first;
}
