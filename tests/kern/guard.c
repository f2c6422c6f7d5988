/* SPDX-License-Identifier: MIT */
/* Buffers between pages that cannot be touched: a read or a write outside faults at once. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/kern/kern.h"

enum { SLOTS = 24, ROOM = 4 << 20 /* bytes of a slot */, RIM = 256, RUBBISH = 0xa5 };

static struct slot {
    char *pages, *at; /* the slot, the buffer in it */
    size_t n;
    const char *name;
    enum guard_use use;
} slots[SLOTS];
static int used;

static struct slot *take(void)
{
    if (used == SLOTS)
        kern_fail("more than %d buffers", SLOTS);
    struct slot *s = &slots[used];
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (!s->pages) { /* a fault is sure for a page on either side */
        char *p = mmap(NULL, ROOM + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            kern_fail("no memory");
        s->pages = p + page;
    }
    if (mprotect(s->pages, ROOM, PROT_READ | PROT_WRITE) != 0)
        kern_fail("no memory");
    used++;
    return s;
}

/* Bytes beside the buffer that are watched: `before` and `after`, at most RIM each. */
static void rims(const struct slot *s, size_t *before, size_t *after)
{
    const size_t left = (size_t)(s->at - s->pages), right = ROOM - left - s->n;
    *before = left < RIM ? left : RIM;
    *after = right < RIM ? right : RIM;
}

void *guard(struct trial *t, const char *name, int64_t n, size_t size, size_t align,
            enum guard_use use)
{
    struct slot *s = take();
    const size_t bytes = (size_t)n * size;
    if (bytes > ROOM - 64)
        kern_fail("buffer %s is too large", name);
    const size_t aside = (size_t)draw_int(t, 0, 15) / align * align, end = ROOM - bytes;
    const int64_t place = draw_int(t, 0, 9);
    size_t at = place < 6 ? end : place < 8 ? 0 : place < 9 ? aside : end - aside;
    at = at / align * align;
    *s = (struct slot){ s->pages, s->pages + at, bytes, name, use };
    size_t before, after;
    rims(s, &before, &after);
    memset(s->at - before, RUBBISH, before + (use == GUARD_OUT ? bytes : 0));
    memset(s->at + bytes, RUBBISH, after);
    return s->at;
}

void guard_seal(void)
{
    for (int i = 0; i < used; i++)
        if (slots[i].use == GUARD_IN)
            mprotect(slots[i].pages, ROOM, PROT_READ);
}

void guard_check(void)
{
    for (int i = 0; i < used; i++) {
        const struct slot *s = &slots[i];
        size_t before, after;
        rims(s, &before, &after);
        for (size_t k = 1; k <= before; k++)
            if ((unsigned char)s->at[-(ptrdiff_t)k] != RUBBISH)
                kern_fail("writes %zu bytes before %s", k, s->name);
        for (size_t k = 0; k < after; k++)
            if ((unsigned char)s->at[s->n + k] != RUBBISH)
                kern_fail("writes %zu bytes after the end of %s (%zu bytes)", k, s->name, s->n);
    }
}

void guard_reset(void) { used = 0; }

bool guard_describe(const void *address, char *out, size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const char *p = address;
    for (int i = 0; i < used; i++) {
        const struct slot *s = &slots[i];
        if (p < s->pages - page || p >= s->pages + ROOM + page)
            continue;
        if (p >= s->at && p < s->at + s->n)
            snprintf(out, size, "writes to byte %td of the input %s", p - s->at, s->name);
        else if (p < s->at)
            snprintf(out, size, "%td bytes before %s", s->at - p, s->name);
        else
            snprintf(out, size, "%td bytes after the end of %s (%zu bytes)", p - s->at - s->n,
                     s->name, s->n);
        return true;
    }
    return false;
}
