/* SPDX-License-Identifier: MIT */
#include "file/save.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"

static enum st fail(struct save *s, const char *what, int errnum, struct err *e)
{
    st_fail(e, ST_IO, "%s%s%s", what, errnum ? ": " : "", errnum ? strerror(errnum) : "");
    st_where(e, "%s", s->path);
    save_abort(s);
    return ST_IO;
}

static void end(struct save *s)
{
    free(s->path);
    free(s->target);
    free(s->temporary);
    *s = (struct save){ 0 };
}

/* Permissions of the file that is replaced, else those that open() would have given. */
static mode_t mode_for(const char *target, struct stat *old)
{
    if (!stat(target, old))
        return old->st_mode & 0777;
    mode_t mask = umask(022);
    umask(mask);
    return 0666 & ~mask;
}

static enum st open_temporary(struct save *s, struct err *e)
{
    struct buf name = { 0 };
    buf_printf(&name, "%s.XXXXXX", s->target);
    char *temporary = buf_take(&name);
    int fd = mkostemp(temporary, O_CLOEXEC);
    int errnum = errno;
    if (fd < 0) {
        free(temporary);
        return fail(s, "the file cannot be written", errnum, e);
    }
    s->temporary = temporary;
    struct stat old;
    if (fchmod(fd, mode_for(s->target, &old)) || !(s->f = fdopen(fd, "wb"))) {
        errnum = errno;
        close(fd);
        return fail(s, "the file cannot be written", errnum, e);
    }
    return ST_OK;
}

char *save_target(const char *path)
{
    char *real = realpath(path, NULL);
    return real ? real : x_strdup(path);
}

enum st save_open(struct save *s, const char *path, struct err *e)
{
    *s = (struct save){ .path = x_strdup(path) };
    struct stat old;
    bool exists = !stat(path, &old);
    if (exists && S_ISDIR(old.st_mode))
        return fail(s, "this is a directory", 0, e);
    if (exists && !S_ISREG(old.st_mode)) {
        s->f = fopen(path, "wbe");
        return s->f ? ST_OK : fail(s, "the file cannot be written", errno, e);
    }
    s->target = save_target(path);
    return open_temporary(s, e);
}

enum st save_room(int fd, uint64_t bytes, const char *path, struct err *e)
{
    struct statvfs disk;
    char ask[32], have[32];
    if (fstatvfs(fd, &disk) || !disk.f_blocks || bytes / disk.f_frsize < disk.f_bavail)
        return ST_OK;
    st_fail(e, ST_IO, "%s are needed, but the disk has %s left",
            text_bytes(ask, sizeof ask, bytes),
            text_bytes(have, sizeof have, (uint64_t)disk.f_bavail * disk.f_frsize));
    return st_where(e, "%s", path);
}

enum st save_space(struct save *s, uint64_t bytes, struct err *e)
{
    enum st st = s->temporary ? save_room(fileno(s->f), bytes, s->path, e) : ST_OK;
    if (st)
        save_abort(s);
    return st;
}

/* The rename itself must reach the disk; a file system that cannot do it is no reason to fail. */
void save_sync_folder(const char *target)
{
    char *copy = x_strdup(target);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(copy);
}

/* Why did an earlier write fail? Its reason is gone, but another one fails alike. */
static int retry(struct save *s)
{
    static const char page[4096];
    errno = 0;
    return write(fileno(s->f), page, sizeof page) < 0 ? errno : 0;
}

enum st save_commit(struct save *s, struct err *e)
{
    errno = 0;
    bool bad = fflush(s->f) || ferror(s->f);
    if (bad && !errno)
        errno = s->errnum ? s->errnum : s->temporary ? retry(s) : 0;
    if (!bad && s->temporary)
        bad = fsync(fileno(s->f)) != 0;
    int errnum = errno;
    if (fclose(s->f) && !bad) {
        errnum = errno;
        bad = true;
    }
    s->f = NULL;
    if (bad)
        return fail(s, "writing failed", errnum, e);
    if (s->temporary) {
        if (rename(s->temporary, s->target))
            return fail(s, "the file cannot be replaced", errno, e);
        save_sync_folder(s->target);
    }
    end(s);
    return ST_OK;
}

void save_abort(struct save *s)
{
    if (s->f)
        fclose(s->f);
    if (s->temporary)
        unlink(s->temporary);
    end(s);
}

enum st save_write(struct save *s, const void *p, size_t n, struct progress *progress,
                   struct err *e)
{
    enum { PIECE = 4 << 20 };
    for (size_t at = 0; at < n; at += PIECE) {
        if (!progress_tick(progress, "writing", (double)at, (double)n))
            return st_fail(e, ST_CANCELLED, "interrupted");
        fwrite((const char *)p + at, 1, n - at < PIECE ? n - at : PIECE, s->f);
        if (ferror(s->f)) {
            s->errnum = errno; /* save_commit tells it */
            break;
        }
    }
    return ST_OK;
}

enum st save_end(struct save *s, enum st written, struct err *e)
{
    if (!written)
        return save_commit(s, e);
    save_abort(s);
    return written;
}

enum st save_bytes(const char *path, const void *p, size_t n, struct err *e)
{
    struct save s;
    enum st st = save_open(&s, path, e);
    return st ? st : save_end(&s, save_write(&s, p, n, NULL, e), e);
}
