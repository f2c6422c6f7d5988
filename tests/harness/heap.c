/* SPDX-License-Identifier: MIT */
#include "tests/harness/heap.h"

#include <stdlib.h>

#ifdef __has_feature /* clang */
#define HAS(sanitizer) __has_feature(sanitizer)
#else
#define HAS(sanitizer) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || HAS(address_sanitizer) \
    || HAS(thread_sanitizer) || !defined(__GLIBC__)

bool heap_is_counted(void) { return false; }
void heap_mark(void) {}
size_t heap_peak(void) { return 0; }
size_t heap_largest(void) { return 0; }

#else

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>

/* What glibc's own malloc is called when a program brings another. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t alignment, size_t n);
void __libc_free(void *p);

static _Atomic size_t held, base, peak, largest;

static void raise_to(_Atomic size_t *mark, size_t v)
{
    size_t was = *mark;
    while (v > was && !atomic_compare_exchange_weak(mark, &was, v))
        ;
}

static void *taken(void *p)
{
    if (p)
        raise_to(&peak, held += malloc_usable_size(p));
    return p;
}

static void given_back(void *p)
{
    if (p)
        held -= malloc_usable_size(p);
}

void *malloc(size_t n)
{
    raise_to(&largest, n);
    return taken(__libc_malloc(n));
}

void *calloc(size_t n, size_t size)
{
    size_t bytes;
    raise_to(&largest, __builtin_mul_overflow(n, size, &bytes) ? SIZE_MAX : bytes);
    return taken(__libc_calloc(n, size));
}

/* While it moves, both are held: counted as if it always did. */
void *realloc(void *p, size_t n)
{
    raise_to(&largest, n);
    size_t old = p ? malloc_usable_size(p) : 0;
    void *q = taken(__libc_realloc(p, n));
    if (q || !n)
        held -= old;
    return q;
}

void *aligned_alloc(size_t alignment, size_t n)
{
    raise_to(&largest, n);
    return taken(__libc_memalign(alignment, n));
}

int posix_memalign(void **out, size_t alignment, size_t n)
{
    void *p = aligned_alloc(alignment, n);
    if (!p)
        return ENOMEM;
    *out = p;
    return 0;
}

void free(void *p)
{
    given_back(p);
    __libc_free(p);
}

bool heap_is_counted(void) { return true; }

void heap_mark(void)
{
    base = held;
    peak = base;
    largest = 0;
}

size_t heap_peak(void) { return peak - base; }
size_t heap_largest(void) { return largest; }

#endif
