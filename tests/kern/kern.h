/* SPDX-License-Identifier: MIT */
/* The proof of the kernels: what a check of one kernel is, and what it is written with. */
#ifndef QDB_TESTS_KERN_H
#define QDB_TESTS_KERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h" /* PRINTF_LIKE */
#include "kernels/level.h"

/* One run of a check with data of its own. */
struct trial {
    const struct level *level; /* under test */
    int variant, number;
    uint64_t random; /* state of the sequence; equal for all levels */
};

/* At which levels a kernel is proved. */
enum kern_levels {
    KERN_ONCE,   /* it has only one form */
    KERN_LEVELS, /* at each */
    KERN_TILES   /* also over emulated tiles */
};

/* A row of the table: a kernel, or one per variant (a format), which runs in a process of its own
 * per level, so that a crash is the failure of this row alone. */
struct kern {
    const char *name;
    const char *brief;                    /* what is compared with what */
    enum kern_levels levels;
    const char *(*variant)(int i);        /* name of variant i; NULL past the end */
    int trials;                           /* as many as a full run takes */
    void (*trial)(struct trial *t);       /* returns, or ends in kern_fail */
};

extern const struct kern kern_table[];   /* ends with a row without a name */
extern const struct kern kern_faulty[];  /* kernels that are wrong, to test the tester */

/* ---- levels.c ---- */

/* NULL past the end. */
const struct level *tested_level(size_t i, enum kern_levels which);
bool is_tested_level(const char *name);

/* ---- kern.c: results ---- */

/* The trial has failed; nothing after this is run. */
void kern_fail(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((noreturn));
/* The level has no such kernel. */
void kern_skip(const char *reason) __attribute__((noreturn));
/* What is being tried, for people: shown with a failure or a crash. */
void kern_note(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Equal bit for bit, or both NaN; `what` names the array. */
void expect_bits(const char *what, const float *got, const float *want, int64_t n);
/* abs(got - want) <= bound, or both NaN, or the same infinity. */
void expect_near(const char *what, int64_t i, double got, double want, double bound);
void expect_int(const char *what, int64_t i, int64_t got, int64_t want);

/* ---- guard.c: buffers between pages that cannot be touched ---- */

enum guard_use {
    GUARD_IN, /* to be filled, then sealed: writing to it faults */
    GUARD_OUT /* filled with rubbish */
};

/* A buffer of n elements of `size` bytes, at an address that is a multiple of `align` (1: any). It
 * ends at a page that cannot be touched, or begins after one, or lies some bytes from there; what
 * is beside it must stay as it is. Valid until the trial ends. */
void *guard(struct trial *t, const char *name, int64_t n, size_t size, size_t align,
            enum guard_use use);
#define GUARD(t, type, name, n, use) \
    type *name = guard(t, #name, (n), sizeof(type), sizeof(type), use)
/* Inputs become read-only. Call it after they are filled. */
void guard_seal(void);
/* Fails the trial when something beside a buffer was written to. */
void guard_check(void);
void guard_reset(void);
/* The buffer at or next to an address, in words. False: none is near. */
bool guard_describe(const void *address, char *out, size_t size);

/* ---- draw.c: numbers and bytes ---- */

uint64_t draw(struct trial *t);
int64_t draw_int(struct trial *t, int64_t lo, int64_t hi); /* lo .. hi */
double draw_unit(struct trial *t);                         /* [-1, 1) */
/* One of a list of numbers that ends with -1. */
int64_t draw_of(struct trial *t, const int64_t *list);
/* A length from 0 or 1 on: mostly short, around a multiple of 64, at times up to `most`. */
int64_t draw_length(struct trial *t, int64_t least, int64_t most);

enum draw_kind {
    DRAW_UNIFORM, /* -1 .. 1 */
    DRAW_WIDE,    /* both signs, many magnitudes, so that the order of additions shows */
    DRAW_OUTLIER, /* a few are a thousand times larger */
    DRAW_CANCEL,  /* pairs that cancel */
    DRAW_WHOLE,   /* small integers */
    DRAW_ZERO,    /* +0 and -0 */
    DRAW_DENORMAL,
    DRAW_HUGE, /* next to overflow */
    DRAW_TAME, /* kinds above this one hold finite numbers */
    DRAW_ODD = DRAW_TAME, /* uniform, with a NaN or an infinity at some places */
    DRAW_BITS,            /* any bits */
    DRAW__COUNT
};
const char *draw_name(enum draw_kind kind);
/* The first trials take the kinds in turn. */
enum draw_kind draw_kind(struct trial *t, enum draw_kind end);
void draw_floats(struct trial *t, enum draw_kind kind, float *x, int64_t n);
/* Random bytes, or one byte over and over. */
void draw_bytes(struct trial *t, uint8_t *p, int64_t n);

/* ---- call.c: calls under watch ---- */

/* Call a kernel: the stack below is filled with rubbish before; after, the registers that a
 * function must keep, the direction flag and the controls of the floating-point units must be what
 * they were. */
#ifdef __x86_64__
#define CALL_GATE(fn) ((__typeof__(&*(fn)))call_entry)
#else
#define CALL_GATE(fn) (fn)
#endif
#define CALL(fn, ...) \
    do { \
        call_begin((void (*)(void))(fn)); \
        CALL_GATE(fn)(__VA_ARGS__); \
        call_end(#fn); \
    } while (0)
#define CALL_TO(result, fn, ...) \
    do { \
        call_begin((void (*)(void))(fn)); \
        (result) = CALL_GATE(fn)(__VA_ARGS__); \
        call_end(#fn); \
    } while (0)
void call_begin(void (*fn)(void));
extern void (*call_entry)(void); /* takes the arguments of any function */
void call_end(const char *name);

#endif
