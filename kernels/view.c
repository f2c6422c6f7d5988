/* SPDX-License-Identifier: MIT */
/* Building blocks of the functions that take one quantization block apart for people. */
#include "kernels/view.h"

#include <stdio.h>
#include <string.h>

#include "kernels/codec.h"

enum { TEXT_SIZE = sizeof ((struct block_view *)0)->fields[0].text };

void view_begin(struct block_view *v, int n, int sub_size)
{
    memset(v, 0, sizeof *v);
    v->n = n;
    v->sub_size = sub_size;
    view_uniform(v, 1, 0);
}

void view_uniform(struct block_view *v, float scale, float offset)
{
    for (int i = 0; i < BLOCK_MAX_SUB; i++) {
        v->scale[i] = scale;
        v->offset[i] = offset;
    }
}

static _Thread_local bool no_fields; /* while view_numbers is at work */

void view_numbers(const struct format_info *info, const void *block, struct block_view *v)
{
    no_fields = true;
    info->view(block, v);
    no_fields = false;
}

/* The text of a new field, or NULL when there is no room for one, or nobody wants it. */
static char *field(struct block_view *v, const char *name)
{
    if (no_fields || v->n_fields == BLOCK_MAX_FIELDS)
        return NULL;
    snprintf(v->fields[v->n_fields].name, sizeof v->fields[0].name, "%s", name);
    return v->fields[v->n_fields++].text;
}

void view_f16(struct block_view *v, const char *name, const void *p)
{
    char *out = field(v, name);
    if (out)
        snprintf(out, TEXT_SIZE, "0x%04x = %.6g", load_u16(p), (double)load_f16(p));
}

void view_f32(struct block_view *v, const char *name, const void *p)
{
    char *out = field(v, name);
    uint32_t bits = load_u32(p);
    if (out)
        snprintf(out, TEXT_SIZE, "0x%08x = %.9g", bits, (double)float_of_bits(bits));
}

void view_times(struct block_view *v, float scale)
{
    for (int i = 0; i < BLOCK_MAX_SUB; i++) {
        v->scale[i] *= scale;
        v->offset[i] *= scale;
    }
    for (int i = 0; i < v->n; i++)
        v->value[i] *= scale;
}

/* Append a word after a space; when it might not leave room for "...", write that: false. */
static bool append(char *out, size_t *at, const char *word)
{
    if (*at + strlen(word) + sizeof " ..." + 1 > TEXT_SIZE) {
        memcpy(out + *at, " ...", sizeof " ...");
        return false;
    }
    *at += (size_t)snprintf(out + *at, TEXT_SIZE - *at, "%s%s", *at ? " " : "", word);
    return true;
}

void view_bytes(struct block_view *v, const char *name, const uint8_t *p, int n)
{
    char *out = field(v, name), word[8];
    size_t at = 0;
    for (int i = 0; out && i < n; i++) {
        snprintf(word, sizeof word, "%02x", p[i]);
        if (!append(out, &at, word))
            break;
    }
}

void view_ints(struct block_view *v, const char *name, const int *p, int n)
{
    char *out = field(v, name), word[16];
    size_t at = 0;
    for (int i = 0; out && i < n; i++) {
        snprintf(word, sizeof word, "%d", p[i]);
        if (!append(out, &at, word))
            break;
    }
}
