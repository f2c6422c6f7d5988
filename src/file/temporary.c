/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "file/temporary.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#if defined(HAVE_LINUX_MAGIC_H) && defined(HAVE_SYS_VFS_H)
#include <linux/magic.h>
#include <sys/vfs.h>
#endif

#include "base/memory.h"
#include "base/text.h"
#include "file/save.h"

/* Is the file's folder kept in memory? Not as far as systems other than Linux say. */
static bool in_memory(int fd)
{
#if defined(HAVE_LINUX_MAGIC_H) && defined(HAVE_SYS_VFS_H)
    struct statfs f;
    return fstatfs(fd, &f) || f.f_type == TMPFS_MAGIC || f.f_type == RAMFS_MAGIC;
#else
    (void)fd;
    return false;
#endif
}

/* Give the file its size, and where that can be done its room on the disk. */
static bool take_room(int fd, size_t bytes)
{
#ifdef HAVE_POSIX_FALLOCATE
    return !posix_fallocate(fd, 0, (off_t)bytes);
#else
    return !ftruncate(fd, (off_t)bytes);
#endif
}

/* A nameless file of so many bytes in a folder; -1: not there. */
static int open_in(const char *folder, size_t bytes)
{
    struct buf name = { 0 };
    if (!folder || !*folder)
        return -1;
    buf_printf(&name, "%s/qdb-XXXXXX", folder);
    char *path = buf_take(&name);
    const int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    free(path);
    if (fd < 0)
        return -1;
    if (!in_memory(fd) && !save_room(fd, bytes, folder, NULL) && take_room(fd, bytes))
        return fd;
    close(fd);
    return -1;
}

enum st temporary_alloc(void **out, size_t bytes, const char *what, struct err *e)
{
    const char *const folders[] = { getenv("TMPDIR"), "/var/tmp", "/tmp" };
    char need[16];
    size_t total;
    int fd = -1;
    if (!mem_map_bytes(bytes, &total) || total > INT64_MAX)
        return st_fail(e, ST_NOMEM, "%s: size overflows", what);
    for (size_t i = 0; fd < 0 && i < sizeof folders / sizeof *folders; i++)
        fd = open_in(folders[i], total);
    if (fd < 0)
        return st_fail(e, ST_IO, "%s: no disk for temporary files has room for %s", what,
                       text_bytes(need, sizeof need, bytes));
    enum st st = mem_map(out, fd, bytes, what, e);
    close(fd);
    return st;
}
