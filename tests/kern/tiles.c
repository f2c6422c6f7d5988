/* SPDX-License-Identifier: MIT */
/* Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2: LDTILECFG, TILELOADD,
 * TILESTORED, TILEZERO, TILERELEASE, TDPBF16PS; palette 1. */
#include "tests/kern/tiles.h"

#include <math.h>
#include <signal.h>
#include <string.h>

#include "kernels/codec.h"

enum { TILES = 8, ROWS = 16, LINE = 64 };

static _Thread_local struct {
    bool configured;
    struct {
        int rows, colsb;
    } shape[TILES];
    uint8_t data[TILES][ROWS][LINE];
} tiles;

/* As a faulting instruction: whoever handles the signal and returns meets it again. */
static _Noreturn void fault(int sig)
{
    for (;;)
        raise(sig);
}

static _Noreturn void general_protection(void) { fault(SIGSEGV); }
static _Noreturn void undefined_opcode(void) { fault(SIGILL); }

static bool all_zero(const uint8_t *p, int from, int end)
{
    int i = from;
    while (i < end && !p[i])
        i++;
    return i == end;
}

/* Byte 0: the palette; 1: where an interrupted load goes on; 16 .. 31: bytes of a row of each tile;
 * 48 .. 55: rows; all others are reserved. */
void emulated_ldtilecfg(const uint8_t config[64])
{
    if (config[0] == 0) {
        tiles.configured = false;
        return;
    }
    bool good = config[0] == 1 && all_zero(config, 2, 16) && all_zero(config, 32, 48)
                && all_zero(config, 56, 64);
    for (int t = 0; t < TILES; t++) {
        const int colsb = load_u16(config + 16 + 2 * t), rows = config[48 + t];
        good = good && colsb <= LINE && rows <= ROWS && !colsb == !rows;
        tiles.shape[t].colsb = colsb;
        tiles.shape[t].rows = rows;
    }
    if (!good)
        general_protection();
    memset(tiles.data, 0, sizeof tiles.data);
    tiles.configured = true;
}

void emulated_tilerelease(void) { tiles.configured = false; }

bool emulated_tiles_held(void) { return tiles.configured; }

static void need(int tile)
{
    if (!tiles.configured || !tiles.shape[tile].rows)
        undefined_opcode();
}

void emulated_tileloadd(int tile, const void *from, int64_t stride)
{
    need(tile);
    memset(tiles.data[tile], 0, sizeof tiles.data[tile]);
    for (int r = 0; r < tiles.shape[tile].rows; r++)
        memcpy(tiles.data[tile][r], (const char *)from + r * stride,
               (size_t)tiles.shape[tile].colsb);
}

void emulated_tilestored(int tile, void *to, int64_t stride)
{
    need(tile);
    for (int r = 0; r < tiles.shape[tile].rows; r++)
        memcpy((char *)to + r * stride, tiles.data[tile][r], (size_t)tiles.shape[tile].colsb);
}

void emulated_tilezero(int tile)
{
    need(tile);
    memset(tiles.data[tile], 0, sizeof tiles.data[tile]);
}

static float flushed(float v) { return fabsf(v) < 0x1p-126f ? copysignf(0, v) : v; }

float flushing_fma(float a, float b, float sum)
{
    return flushed(fmaf(flushed(a), flushed(b), flushed(sum)));
}

static float brain(const uint8_t *p)
{
    return flushed(float_of_bits((uint32_t)load_u16(p) << 16));
}

/* One row: the first and the second of all pairs are two chains from zero; their sum is added. */
static void add_row(const uint8_t *a, int pairs, const uint8_t (*b)[LINE], int columns,
                    uint8_t *sums)
{
    for (int n = 0; n < columns; n++) {
        float first = 0, second = 0;
        for (int k = 0; k < pairs; k++) {
            first = flushed(fmaf(brain(a + 4 * k), brain(b[k] + 4 * n), first));
            second = flushed(fmaf(brain(a + 4 * k + 2), brain(b[k] + 4 * n + 2), second));
        }
        const float more = flushed(first + second);
        const float sum = flushed(flushed(float_of_bits(load_u32(sums + 4 * n))) + more);
        memcpy(sums + 4 * n, &sum, sizeof sum);
    }
}

void emulated_tdpbf16ps(int sums, int a, int b)
{
    need(sums);
    need(a);
    need(b);
    const int columns = tiles.shape[sums].colsb / 4, pairs = tiles.shape[a].colsb / 4;
    if (sums == a || sums == b || a == b || tiles.shape[sums].rows != tiles.shape[a].rows
        || tiles.shape[sums].colsb != tiles.shape[b].colsb || pairs != tiles.shape[b].rows
        || tiles.shape[sums].colsb % 4 || tiles.shape[a].colsb % 4)
        undefined_opcode();
    for (int m = 0; m < tiles.shape[sums].rows; m++)
        add_row(tiles.data[a][m], pairs, (const uint8_t(*)[LINE])tiles.data[b], columns,
                tiles.data[sums][m]);
}
