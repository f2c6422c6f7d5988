/* SPDX-License-Identifier: MIT */
#include "graph/shape.h"

#include <inttypes.h>
#include <string.h>

static const struct axis_info axes[AXIS__COUNT] = {
    [AXIS_SEQ] = { "seq", "", "which of several sequences" },
    [AXIS_TOK] = { "tok", "token t", "token of the span" },
    [AXIS_HEAD] = { "head", "h", "attention head" },
    [AXIS_CHAN] = { "chan", "d dh ff channel",
                    "channel: the contiguous last axis of an activation" },
    [AXIS_KEY] = { "key", "k", "the token that is attended to" },
    [AXIS_EXP] = { "exp", "expert", "expert of a mixture" },
    [AXIS_VOCAB] = { "vocab", "v", "token of the vocabulary" },
    [AXIS_ROW] = { "row", "r out", "row of a weight: one output channel" },
    [AXIS_COL] = { "col", "c in", "column of a weight: one input channel" },
    [AXIS_BLKQ] = { "blkq", "", "quantization block within a row" },
    [AXIS_PATCH] = { "patch", "", "patch of an image" },
    [AXIS_STATE] = { "state", "", "element of a recurrent state" },
};

const struct axis_info *axis_info(enum axis a) { return &axes[a]; }

enum axis axis_find(struct str name)
{
    for (int a = 0; a < AXIS__COUNT; a++) {
        if (str_is(name, axes[a].name))
            return (enum axis)a;
        for (const char *p = axes[a].aliases; *p;) {
            size_t n = strcspn(p, " ");
            if (str_eq(name, str_of(p, n)))
                return (enum axis)a;
            p += n + (p[n] == ' ');
        }
    }
    return AXIS__COUNT;
}

struct shape shape_resolve(struct shape s, int64_t tokens, int64_t keys)
{
    for (int i = 0; i < s.rank; i++)
        if (s.d[i].n == DIM_TOKENS)
            s.d[i].n = tokens;
        else if (s.d[i].n == DIM_KEYS)
            s.d[i].n = keys;
    return s;
}

int64_t shape_count(const struct shape *s)
{
    int64_t n = 1;
    for (int i = 0; i < s->rank; i++)
        if (__builtin_mul_overflow(n, s->d[i].n, &n))
            return -1;
    return n;
}

int64_t shape_per_token(const struct shape *s)
{
    int64_t n = 1;
    for (int i = 0; i < s->rank; i++)
        if (s->d[i].axis != AXIS_TOK && s->d[i].axis != AXIS_PATCH
            && __builtin_mul_overflow(n, s->d[i].n, &n))
            return -1;
    return n;
}

int shape_axis(const struct shape *s, enum axis a)
{
    for (int i = 0; i < s->rank; i++)
        if (s->d[i].axis == a)
            return i;
    return -1;
}

bool shape_equal(const struct shape *a, const struct shape *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->d[i].axis != b->d[i].axis || a->d[i].n != b->d[i].n)
            return false;
    return true;
}

void shape_print(const struct shape *s, struct buf *out)
{
    for (int i = 0; i < s->rank; i++) {
        buf_printf(out, "%s%s", i ? ", " : "", axes[s->d[i].axis].name);
        if (s->d[i].n >= 0)
            buf_printf(out, " %" PRId64, s->d[i].n);
    }
}
