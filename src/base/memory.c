/* SPDX-License-Identifier: MIT */
#include "base/memory.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/text.h"

static _Atomic size_t budget, used, peak, mapped;

static NORETURN void die(size_t bytes)
{
    fprintf(stderr, "qdb: out of memory (%zu bytes)\n", bytes);
    exit(1);
}

void *x_alloc(size_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);
    if (!p)
        die(bytes);
    return p;
}

void *x_scratch(size_t bytes)
{
    size_t rounded;
    void *p = add_ok(bytes, 64, &rounded) ? aligned_alloc(64, rounded & ~(size_t)63) : NULL;
    if (!p)
        die(bytes);
    return p;
}

void *x_realloc(void *p, size_t bytes)
{
    void *q = realloc(p, bytes ? bytes : 1);
    if (!q)
        die(bytes);
    return q;
}

char *x_strndup(const char *s, size_t n)
{
    char *p = x_alloc(n + 1);
    if (n) /* an empty text may have no place */
        memcpy(p, s, n);
    return p;
}

char *x_strdup(const char *s) { return x_strndup(s, strlen(s)); }

void x_grow(void *array_pointer, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap)
        return;
    size_t n = *cap ? *cap : 8, bytes;
    while (n < need)
        n *= 2;
    if (!mul_ok(n, size, &bytes))
        die(SIZE_MAX);
    void *p;
    memcpy(&p, array_pointer, sizeof p);
    p = x_realloc(p, bytes);
    memset((char *)p + *cap * size, 0, (n - *cap) * size);
    memcpy(array_pointer, &p, sizeof p);
    *cap = n;
}

/* The size of a large buffer, a multiple of 64, stands in the 64 bytes before it for mem_free to
 * give it back, plus one where these are mapped from a file. */
enum { HEAD = 64, MAPPED = 1 };
enum { HUGE_PAGE = 2 << 20 };

bool mem_map_bytes(size_t bytes, size_t *of_file)
{
    size_t total;
    if (!add_ok(bytes, HEAD + 63, &total))
        return false;
    *of_file = total & ~(size_t)63;
    return true;
}

enum st mem_alloc(void **out, size_t bytes, const char *what, struct err *e)
{
    size_t total, rounded, limit = budget, now = used;
    if (!mem_map_bytes(bytes, &total) || !add_ok(total, HUGE_PAGE, &rounded))
        return st_fail(e, ST_NOMEM, "%s: size overflows", what);
    if (limit && (now > limit || total > limit - now)) {
        char need[16], lim[16], use[16];
        st_fail(e, ST_NOMEM, "%s needs %s; the budget is %s, %s of it in use", what,
                text_bytes(need, sizeof need, bytes), text_bytes(lim, sizeof lim, limit),
                text_bytes(use, sizeof use, now));
        return st_hint(e, "a larger `--mem` or `set mem-budget`, a smaller `set span`, or `kill`");
    }
    size_t align = total >= HUGE_PAGE ? HUGE_PAGE : 64;
    rounded = (total + align - 1) / align * align;
    char *p = aligned_alloc(align, rounded);
    if (!p)
        return st_fail(e, ST_NOMEM, "%s: the system refused %zu bytes", what, bytes);
    if (total >= HUGE_PAGE)
        madvise(p, total, MADV_HUGEPAGE);
    memcpy(p, &total, sizeof total);
    now = atomic_fetch_add(&used, total) + total;
    size_t high = peak;
    while (now > high && !atomic_compare_exchange_weak(&peak, &high, now))
        ;
    *out = p + HEAD;
    return ST_OK;
}

void mem_free(void *p)
{
    if (!p)
        return;
    char *base = (char *)p - HEAD;
    size_t total;
    memcpy(&total, base, sizeof total);
    if (total & MAPPED) {
        atomic_fetch_sub(&mapped, total - MAPPED);
        munmap(base, total - MAPPED);
        return;
    }
    atomic_fetch_sub(&used, total);
    free(base);
}

enum st mem_map(void **out, int fd, size_t bytes, const char *what, struct err *e)
{
    size_t total;
    if (!mem_map_bytes(bytes, &total))
        return st_fail(e, ST_NOMEM, "%s: size overflows", what);
    char *p = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return st_fail(e, ST_NOMEM, "%s: the system refused to map %zu bytes", what, bytes);
    const size_t head = total | MAPPED;
    memcpy(p, &head, sizeof head);
    atomic_fetch_add(&mapped, total);
    *out = p + HEAD;
    return ST_OK;
}

enum st mem_grow(void *array_pointer, size_t *cap, size_t need, size_t size, const char *what,
                 struct err *e)
{
    if (need <= *cap)
        return ST_OK;
    size_t n = need > 2 * *cap ? need : 2 * *cap, bytes;
    if (!mul_ok(n, size, &bytes))
        return st_fail(e, ST_NOMEM, "%s: size overflows", what);
    void *old, *p;
    enum st st = mem_alloc(&p, bytes, what, e);
    if (st)
        return st;
    memcpy(&old, array_pointer, sizeof old);
    if (old)
        memcpy(p, old, *cap * size);
    memset((char *)p + *cap * size, 0, (n - *cap) * size);
    mem_free(old);
    memcpy(array_pointer, &p, sizeof p);
    *cap = n;
    return ST_OK;
}

void mem_set_budget(size_t bytes) { budget = bytes; }
size_t mem_budget(void) { return budget; }
size_t mem_used(void) { return used; }
size_t mem_peak(void) { return peak; }
size_t mem_mapped(void) { return mapped; }

size_t mem_available(void)
{
    FILE *f = fopen("/proc/meminfo", "r");
    if (!f)
        return 0;
    char line[128];
    unsigned long long kb = 0;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu kB", &kb) == 1)
            break;
    fclose(f);
    return (size_t)kb * 1024;
}
