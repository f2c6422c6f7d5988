/* SPDX-License-Identifier: MIT */
#include "file/map.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

static enum st fail(struct err *e, const char *path, const char *what, int errnum)
{
    st_fail(e, ST_IO, "%s%s%s", what, errnum ? ": " : "", errnum ? strerror(errnum) : "");
    st_where(e, "%s", path);
    return ST_IO;
}

static enum st refuse_kind(struct err *e, const char *path, const struct stat *s)
{
    if (S_ISDIR(s->st_mode)) {
        fail(e, path, "this is a directory, not a model file", 0);
        st_hint(e, "name a .gguf file in it");
        return ST_IO;
    }
    if (!S_ISREG(s->st_mode))
        return fail(e, path, "this is not a regular file (a pipe or a device cannot be mapped)", 0);
    return fail(e, path,
                s->st_size ? "the file is too large for this machine"
                           : "the file is empty (0 bytes)",
                0);
}

/* Every open mapping, for the handler of SIGBUS: the list changes only while nobody reads files. */
struct region {
    struct region *next;
    uintptr_t first, last;
    const char *path;
    struct stat opened;         /* as the file was */
    volatile sig_atomic_t lost; /* a page of it, for good */
    volatile sig_atomic_t used; /* since map_used looked */
    bool written;               /* it is no more what it was when it was opened, for good */
};

static struct region *regions;

/* The page is behind the end of its file: put zeros there, and reading goes on. */
static void read_zeros(int signal_number, siginfo_t *info, void *context)
{
    (void)context;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE),
                    at = (uintptr_t)info->si_addr & ~(page - 1);
    int errnum = errno;
    struct region *r = regions;
    while (r && (at < r->first || at > r->last))
        r = r->next;
    if (r
        && mmap((void *)at, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)
               != MAP_FAILED)
        r->lost = r->used = 1;
    else
        signal(signal_number, SIG_DFL); /* not ours: it strikes again */
    errno = errnum;
}

static void region_add(const struct map *m, const struct stat *opened)
{
    struct region *r = x_alloc(sizeof *r);
    *r = (struct region){ .next = regions,
                          .first = (uintptr_t)m->base,
                          .last = (uintptr_t)m->base + m->size - 1,
                          .path = m->path,
                          .opened = *opened };
    regions = r;
    struct sigaction action = { .sa_sigaction = read_zeros, .sa_flags = SA_SIGINFO };
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

static void region_remove(const struct map *m)
{
    for (struct region **r = &regions; *r; r = &(*r)->next)
        if ((*r)->first == (uintptr_t)m->base) {
            struct region *gone = *r;
            *r = gone->next;
            free(gone);
            return;
        }
}

/* A file that another one has taken the place of is still whole behind its mapping. */
static enum st region_whole(struct region *r, struct err *e)
{
    struct stat now;
    if (!r->lost && !r->written && !stat(r->path, &now) && now.st_dev == r->opened.st_dev
        && now.st_ino == r->opened.st_ino) {
        r->lost = now.st_size < r->opened.st_size;
        r->written = now.st_size != r->opened.st_size
                     || now.st_mtim.tv_sec != r->opened.st_mtim.tv_sec
                     || now.st_mtim.tv_nsec != r->opened.st_mtim.tv_nsec;
    }
    if (!r->lost && !r->written)
        return ST_OK;
    fail(e, r->path,
         r->lost ? "the file became shorter while it was open: its end reads as zeros"
                 : "the file was written to while it was open: it may hold other numbers now",
         0);
    return st_hint(e, "`close` it and open it again");
}

enum st map_use(const struct map *m, struct err *e)
{
    for (struct region *r = m->base ? regions : NULL; r; r = r->next)
        if (r->first == (uintptr_t)m->base) {
            r->used = 1;
            return region_whole(r, e);
        }
    return ST_OK;
}

enum st map_used(struct err *e)
{
    enum st st = ST_OK;
    for (struct region *r = regions; r; r = r->next) {
        if (r->used && !st)
            st = region_whole(r, e);
        r->used = 0;
    }
    return st;
}

enum st map_open(const char *path, struct map *out, struct err *e)
{
    /* O_NONBLOCK: opening a pipe that nobody writes to must not hang. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return fail(e, path, "the file cannot be opened", errno);
    struct stat s;
    if (fstat(fd, &s)) {
        int errnum = errno;
        close(fd);
        return fail(e, path, "the file cannot be examined", errnum);
    }
    if (!S_ISREG(s.st_mode) || s.st_size <= 0 || (uintmax_t)s.st_size > SIZE_MAX / 2) {
        close(fd);
        return refuse_kind(e, path, &s);
    }
    void *p = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    int errnum = errno;
    close(fd);
    if (p == MAP_FAILED)
        return fail(e, path, "the file cannot be mapped", errnum);
#ifdef MADV_HUGEPAGE
    /* What is not in memory yet is read into large pages where the file system can: translating
     * addresses costs a tenth of the time when weights stream by. No harm where it cannot. */
    madvise(p, (size_t)s.st_size, MADV_HUGEPAGE);
#endif
    *out = (struct map){ p, (size_t)s.st_size, p, x_strdup(path) };
    region_add(out, &s);
    return ST_OK;
}

struct map map_borrow(const void *p, size_t size, const char *name)
{
    return (struct map){ size ? p : NULL, size, NULL, x_strdup(name) };
}

void map_close(struct map *m)
{
    if (m->base) {
        region_remove(m);
        munmap(m->base, m->size);
    }
    free(m->path);
    *m = (struct map){ 0 };
}
