/* SPDX-License-Identifier: MIT */
/* Kernels that are wrong in known ways, each of which the tester must find: `kern --faulty`. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "tests/kern/kern.h"
#include "tests/kern/tiles.h"

/* All of them double n numbers. */
typedef void doubler(const float *x, int64_t n, float *y);

static void right(const float *x, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] + x[i];
}

static void reads_after(const float *x, int64_t n, float *y)
{
    right(x, n, y);
    *(volatile float *)y = y[0] + 0 * ((const volatile float *)x)[n];
}

static void reads_before(const float *x, int64_t n, float *y)
{
    right(x, n, y);
    *(volatile float *)y = y[0] + 0 * ((const volatile float *)x)[-1];
}

static void writes_after(const float *x, int64_t n, float *y)
{
    right(x, n, y);
    ((volatile float *)y)[n] = 0;
}

static void writes_before(const float *x, int64_t n, float *y)
{
    right(x, n, y);
    ((volatile char *)y)[-1] = 1;
}

static void writes_input(const float *x, int64_t n, float *y)
{
    right(x, n, y);
    ((volatile float *)(uintptr_t)x)[n / 2] = x[n / 2];
}

static void forgets_the_tail(const float *x, int64_t n, float *y) { right(x, n / 4 * 4, y); }

static void is_off_by_an_ulp(const float *x, int64_t n, float *y)
{
    right(x, n, y);
    y[n - 1] = nextafterf(y[n - 1], 1e30f);
}

static void loses_the_sign_of_zero(const float *x, int64_t n, float *y)
{
    right(x, n, y);
    for (int64_t i = 0; i < n; i++)
        y[i] += 0.0f;
}

static void flushes_denormals(const float *x, int64_t n, float *y)
{
    right(x, n, y);
    for (int64_t i = 0; i < n; i++)
        if (fabsf(y[i]) < 0x1p-126f)
            y[i] = copysignf(0, y[i]);
}

static void trusts_the_stack(const float *x, int64_t n, float *y)
{
    float sum[64];
    __asm__("" : "=m"(sum)); /* hides that it is not set */
    right(x, n, y);
    y[0] += sum[n % 64] * 0x1p-140f;
}

static void is_illegal(const float *x, int64_t n, float *y)
{
    right(x, n, y);
#ifdef __x86_64__
    __asm__ volatile("ud2");
#else
    raise(SIGILL);
#endif
}

static void aborts(const float *x, int64_t n, float *y)
{
    right(x, n, y);
    abort();
}

#ifdef __x86_64__
static void divides_by_zero(const float *x, int64_t n, float *y)
{
    right(x, n, y);
    __asm__ volatile("xor %%ecx, %%ecx\n\tidiv %%ecx" ::: "eax", "ecx", "edx", "cc");
}

static void leaves_denormals_off(const float *x, int64_t n, float *y)
{
    right(x, n, y);
    _mm_setcsr(_mm_getcsr() | 0x8040);
}

static void loses_a_register(const float *x, int64_t n, float *y)
{
    right(x, n, y);
    __asm__ volatile("xor %r14d, %r14d"); /* and does not say so */
}
#endif

static const struct {
    const char *name;
    doubler *fn;
} wrong[] = {
    { "right", right },
    { "reads after", reads_after },
    { "reads before", reads_before },
    { "writes after", writes_after },
    { "writes before", writes_before },
    { "writes its input", writes_input },
    { "forgets the tail", forgets_the_tail },
    { "is off by an ulp", is_off_by_an_ulp },
    { "loses the sign of zero", loses_the_sign_of_zero },
    { "flushes denormals", flushes_denormals },
    { "trusts the stack", trusts_the_stack },
    { "is illegal", is_illegal },
    { "aborts", aborts },
#ifdef __x86_64__
    { "divides by zero", divides_by_zero },
    { "leaves denormals off", leaves_denormals_off },
    { "loses a register", loses_a_register },
#endif
};

static const char *fault(int i)
{
    return i < (int)(sizeof wrong / sizeof *wrong) ? wrong[i].name : NULL;
}

static void double_numbers(struct trial *t)
{
    const enum draw_kind kind = draw_kind(t, DRAW__COUNT);
    const int64_t n = draw_length(t, 1, 2000);
    kern_note("%d numbers, %s", (int)n, draw_name(kind));
    GUARD(t, float, x, n, GUARD_IN);
    GUARD(t, float, y, n, GUARD_OUT);
    GUARD(t, float, want, n, GUARD_OUT);
    draw_floats(t, kind, x, n);
    guard_seal();
    right(x, n, want);
    CALL(wrong[t->variant].fn, x, n, y);
    expect_bits("y", y, want, n);
}

/* ---------------------------------------------------------------- tiles */

/* Configurations are those of two tiles of 4 rows of 16 bytes and one, the second factor, that fits
 * them, but for one byte; what is then done needs all three. */
static const struct {
    const char *name;
    int byte, value; /* of the configuration; byte < 0: as it is */
    bool unconfigured;
} tile_faults[] = {
    { "tiles", -1, 0, false },
    { "another palette", 0, 2, false },
    { "a reserved byte", 2, 1, false },
    { "a reserved tile", 32, 16, false },
    { "a row of reserved tiles", 56, 4, false },
    { "rows too wide", 16, 65, false },
    { "too many rows", 48, 17, false },
    { "bytes without rows", 49, 0, false },
    { "rows without bytes", 18, 0, false },
    { "sums of fewer rows", 48, 3, false },
    { "sums of fewer columns", 16, 12, false },
    { "factors that do not meet", 50, 3, false },
    { "half a pair", 18, 18, false },
    { "no palette", 0, 0, false },
    { "tiles let go", -1, 0, true },
};

static const char *tile_fault(int i)
{
    return i < (int)(sizeof tile_faults / sizeof *tile_faults) ? tile_faults[i].name : NULL;
}

/* sums [4][4] = a [4][4 pairs] of ones * b [4 pairs][4] of twos */
static void multiply_tiles(struct trial *t)
{
    uint8_t config[64] = { [0] = 1,   [16] = 16, [18] = 16, [20] = 16,
                           [48] = 4, [49] = 4,  [50] = 4 };
    uint16_t a[5][8] = { { 0 } }, b[4][8]; /* a: more than the widest rows */
    float sums[4][4] = { { 0 } };
    for (int i = 0; i < 32; i++) {
        a[i / 8][i % 8] = 0x3f80;
        b[i / 8][i % 8] = 0x4000;
    }
    if (tile_faults[t->variant].byte >= 0)
        config[tile_faults[t->variant].byte] = (uint8_t)tile_faults[t->variant].value;
    emulated_ldtilecfg(config);
    if (tile_faults[t->variant].unconfigured)
        emulated_tilerelease();
    emulated_tilezero(0);
    emulated_tileloadd(1, a, sizeof *a);
    emulated_tileloadd(2, b, sizeof *b);
    emulated_tdpbf16ps(0, 1, 2);
    emulated_tilestored(0, sums, sizeof *sums);
    emulated_tilerelease();
    for (int i = 0; i < 16; i++)
        expect_near("sums", i, (double)sums[i / 4][i % 4], 16, 0);
}

const struct kern kern_faulty[] = {
    { "faulty", "a doubled number", KERN_ONCE, fault, 100, double_numbers },
    { "tiles", "sixteen", KERN_ONCE, tile_fault, 1, multiply_tiles },
    { 0 },
};
