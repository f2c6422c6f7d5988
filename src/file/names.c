/* SPDX-License-Identifier: MIT */
#include "file/names.h"

#include <string.h>
#include <sys/random.h>

#include "base/memory.h"

static uint64_t mix(uint64_t a, uint64_t b)
{
    __uint128_t m = (__uint128_t)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint64_t hash(const struct names *x, struct str s)
{
    const uint64_t odd = 0x9e3779b97f4a7c15u;
    uint64_t h = x->key ^ s.n;
    for (size_t i = 0; i < s.n; i += 8) {
        uint64_t w = 0;
        memcpy(&w, s.p + i, s.n - i < 8 ? s.n - i : 8);
        h = mix(h ^ w, odd ^ x->key);
    }
    return mix(h, odd);
}

enum st names_init(struct names *x, const void *base, size_t stride, size_t n, struct err *e)
{
    size_t slots = 16;
    while (slots / 2 < n)
        slots *= 2;
    void *p;
    enum st st = mem_alloc(&p, slots * sizeof *x->slots, "the index of names", e);
    if (st)
        return st;
    memset(p, 0, slots * sizeof *x->slots);
    *x = (struct names){ base, stride, p, slots, 0 };
    if (getentropy(&x->key, sizeof x->key))
        x->key = 0; /* still correct, only not protected against crafted collisions */
    return ST_OK;
}

void names_free(struct names *x)
{
    mem_free(x->slots);
    *x = (struct names){ 0 };
}

static struct str name_of(const struct names *x, size_t i)
{
    return *(const struct str *)((const char *)x->base + i * x->stride);
}

/* The slot that holds the name, or the free one where it belongs. */
static size_t probe(const struct names *x, struct str name)
{
    size_t s = (size_t)hash(x, name) & (x->n_slots - 1);
    while (x->slots[s] && !str_eq(name_of(x, x->slots[s] - 1), name))
        s = (s + 1) & (x->n_slots - 1);
    return s;
}

int64_t names_add(struct names *x, size_t i)
{
    size_t s = probe(x, name_of(x, i));
    if (x->slots[s])
        return (int64_t)x->slots[s] - 1;
    x->slots[s] = (uint32_t)i + 1;
    return NAMES_NONE;
}

int64_t names_find(const struct names *x, struct str name)
{
    if (!x->n_slots)
        return NAMES_NONE;
    size_t s = probe(x, name);
    return x->slots[s] ? (int64_t)x->slots[s] - 1 : NAMES_NONE;
}
