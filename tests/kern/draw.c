/* SPDX-License-Identifier: MIT */
/* Numbers and bytes to try kernels with: random ones, and those that kernels get wrong. */
#include <math.h>
#include <string.h>

#include "tests/kern/kern.h"

uint64_t draw(struct trial *t) /* splitmix64 */
{
    uint64_t z = t->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

int64_t draw_int(struct trial *t, int64_t lo, int64_t hi)
{
    return lo + (int64_t)(draw(t) % (uint64_t)(hi - lo + 1));
}

double draw_unit(struct trial *t) { return (double)(draw(t) >> 11) * 0x1p-52 - 1; }

int64_t draw_of(struct trial *t, const int64_t *list)
{
    int n = 0;
    while (list[n] >= 0)
        n++;
    return list[draw_int(t, 0, n - 1)];
}

int64_t draw_length(struct trial *t, int64_t least, int64_t most)
{
    int64_t n = 0;
    switch (draw_int(t, 0, 9)) {
    case 0: case 1: case 2: case 3: n = draw_int(t, 0, 40); break;
    case 4: case 5: n = draw_int(t, 0, 300); break;
    case 6: case 7: n = 64 * draw_int(t, 1, 16) + draw_int(t, -1, 1); break;
    default: n = draw_int(t, 0, most); break;
    }
    return n < least ? least : n > most ? most : n;
}

const char *draw_name(enum draw_kind kind)
{
    static const char *const names[DRAW__COUNT] = { "uniform", "wide",     "outlier", "cancel",
                                                    "whole",   "zero",     "denormal", "huge",
                                                    "odd",     "any bits" };
    return (unsigned)kind < DRAW__COUNT ? names[kind] : "?";
}

enum draw_kind draw_kind(struct trial *t, enum draw_kind end)
{
    return t->number < (int)end ? (enum draw_kind)t->number
                                : (enum draw_kind)draw_int(t, 0, (int64_t)end - 1);
}

static float of_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static float odd_number(struct trial *t)
{
    static const uint32_t odd[] = { 0x7fc00000, 0xffc00000, 0x7f800001, 0x7f800000, 0xff800000 };
    return of_bits(odd[draw_int(t, 0, 4)]);
}

static float number(struct trial *t, enum draw_kind kind)
{
    const double u = draw_unit(t);
    switch (kind) {
    case DRAW_UNIFORM: return (float)u;
    case DRAW_WIDE: return (float)ldexp(u, (int)draw_int(t, -12, 11));
    case DRAW_OUTLIER: return (float)(draw_int(t, 0, 40) ? u : 1000 * u);
    case DRAW_CANCEL: return (float)u;
    case DRAW_WHOLE: return (float)draw_int(t, -127, 127);
    case DRAW_ZERO: return draw(t) & 1 ? 0.0f : -0.0f;
    case DRAW_DENORMAL:
        return draw_int(t, 0, 3) ? of_bits((uint32_t)draw(t) & 0x807fffff)
                                 : (float)ldexp(u, (int)draw_int(t, -130, -60));
    case DRAW_HUGE: return (float)ldexp(u, (int)draw_int(t, 60, 127));
    case DRAW_ODD: return draw_int(t, 0, 60) ? (float)u : odd_number(t);
    case DRAW_BITS: return of_bits((uint32_t)draw(t));
    case DRAW__COUNT: break;
    }
    return 0;
}

void draw_floats(struct trial *t, enum draw_kind kind, float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = kind == DRAW_CANCEL && i % 2 ? -x[i - 1] : number(t, kind);
}

void draw_bytes(struct trial *t, uint8_t *p, int64_t n)
{
    static const uint8_t extreme[] = { 0x00, 0xff, 0x7f, 0x80, 0x55, 0xaa, 0x0f, 0xf0 };
    if (draw_int(t, 0, 3) == 0) {
        memset(p, extreme[draw_int(t, 0, 7)], (size_t)n);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        p[i] = (uint8_t)(draw(t) >> 32);
}
