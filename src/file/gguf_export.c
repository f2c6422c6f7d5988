/* SPDX-License-Identifier: MIT */
#include "file/gguf_export.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/memory.h"
#include "file/save.h"
#include "file/stretch.h"

enum { PIECE = 1 << 22 /* bytes between two looks at the user, into what is no file */ };

/* One line of the log: tensor i of the part, from its first byte to the next tensor's, is whole. */
struct record {
    uint64_t i, identity, hash, check; /* check: of the three before it */
};

/* A part under way. */
struct writing {
    const struct gguf_part *part;
    struct buf header;
    char *target, *partial, *log; /* partial NULL: written straight */
    int fd, log_fd;
    bool ours;              /* the partial file is locked */
    struct record *records; /* [n_tensors], those done */
    size_t done;            /* tensors */
};

struct exporting {
    struct writing *list;
    size_t n;
    const struct gguf_source *source;
    struct progress *front;
    const char *label;     /* what is being done, for the front end */
    uint64_t moved, total; /* bytes written and read back */
    enum st stopped;       /* ST_CANCELLED, once it asks for that */
    struct stretch_io io;
    struct err *e;
};

static enum st fail(struct exporting *x, const struct writing *w, const char *what, int errnum)
{
    st_fail(x->e, ST_IO, "%s%s%s", what, errnum ? ": " : "", errnum ? strerror(errnum) : "");
    st_where(x->e, "%s", w->part->path);
    return ST_IO;
}

/* So many bytes more were written or read back; false, with the reason: the user wants to stop. */
static bool moved(void *data, uint64_t bytes)
{
    struct exporting *x = data;
    x->moved += bytes;
    if (!progress_tick(x->front, x->label, (double)x->moved, (double)x->total))
        x->stopped = st_fail(x->e, ST_CANCELLED, "interrupted");
    return !x->stopped;
}

static uint64_t check_of(const struct record *r)
{
    return hash_bytes(r, offsetof(struct record, check), 0);
}

/* Where tensor i of the part lies, with the padding behind it. */
static struct stretch stretch_of(const struct writing *w, size_t i)
{
    const struct gguf_file *f = w->part->file;
    const uint64_t n = f->tensors[i].bytes;
    return (struct stretch){ f->data_at + f->tensors[i].offset, n, gguf_room(f, i) - n };
}

/* Hash of tensor i of the part as it lies in the file; *whole = false: it ends before. */
static enum st hash_stored(struct exporting *x, const struct writing *w, size_t i, uint64_t *hash,
                           bool *whole)
{
    const struct stretch s = stretch_of(w, i);
    x->label = "verifying";
    *whole = stretch_read(&x->io, w->fd, &s, hash);
    return x->stopped;
}

/* ---- beginning, or going on ---- */

static char *beside(const char *target, const char *suffix)
{
    struct buf b = { 0 };
    buf_printf(&b, "%s%s", target, suffix);
    return buf_take(&b);
}

static enum st open_straight(struct exporting *x, struct writing *w)
{
    w->fd = open(w->part->path, O_WRONLY | O_CLOEXEC);
    return w->fd < 0 ? fail(x, w, "the file cannot be written", errno) : ST_OK;
}

static enum st open_part(struct exporting *x, struct writing *w)
{
    struct stat old;
    if (!*w->part->path)
        return fail(x, w, "a file needs a name", 0);
    const bool exists = !stat(w->part->path, &old);
    if (exists && S_ISDIR(old.st_mode))
        return fail(x, w, "this is a directory", 0);
    if (exists && !S_ISREG(old.st_mode))
        return open_straight(x, w);
    w->target = save_target(w->part->path);
    w->partial = beside(w->target, ".qdb-part");
    w->log = beside(w->target, ".qdb-log");
    const int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
    w->fd = open(w->partial, flags, 0666);
    w->log_fd = w->fd < 0 ? -1 : open(w->log, flags, 0666);
    if (w->fd < 0 || w->log_fd < 0 || (exists && fchmod(w->fd, old.st_mode & 0777)))
        return fail(x, w, "the file cannot be written", errno);
    /* The one that had it may have ended between the opening and the locking: then it is no longer
     * a partial file. */
    struct stat here, there;
    w->ours = !flock(w->fd, LOCK_EX | LOCK_NB) && !fstat(w->fd, &here) && !stat(w->partial, &there)
              && here.st_ino == there.st_ino;
    return w->ours ? ST_OK : fail(x, w, "another export is writing it", 0);
}

/* Is the header that is there ours? */
static bool same_header(const struct writing *w)
{
    char *there = x_scratch(w->header.n + 1);
    const bool same = read_at(w->fd, there, w->header.n, 0) == w->header.n
                      && !memcmp(there, w->header.p, w->header.n);
    free(there);
    return same;
}

/* Count the tensors that an earlier attempt left whole. */
static enum st find_done(struct exporting *x, struct writing *w)
{
    const uint64_t before = x->moved;
    enum st st = ST_OK;
    struct record r;
    for (size_t i = 0; i < w->part->file->n_tensors && same_header(w); i++) {
        const size_t got = read_at(w->log_fd, &r, sizeof r, i * sizeof r);
        const uint64_t identity = x->source->identity(x->source->data, w->part->first + i);
        uint64_t hash;
        bool whole;
        if (got < sizeof r || r.check != check_of(&r) || r.i != i || r.identity != identity)
            break;
        if ((st = hash_stored(x, w, i, &hash, &whole)) || !whole || hash != r.hash)
            break;
        w->records[w->done++] = r;
    }
    x->moved = before;
    return st;
}

/* The files end behind what is whole. */
static enum st begin(struct exporting *x, struct writing *w)
{
    const struct gguf_file *f = w->part->file;
    if (!w->partial) {
        const int bad = write_all(w->fd, w->header.p, w->header.n);
        return bad ? fail(x, w, "writing failed", bad) : ST_OK;
    }
    enum st st = find_done(x, w);
    if (st)
        return st;
    uint64_t end = w->done ? f->data_at + f->tensors[w->done - 1].offset + gguf_room(f, w->done - 1)
                           : 0;
    if (ftruncate(w->fd, (off_t)end) || lseek(w->fd, 0, SEEK_SET) < 0
        || ftruncate(w->log_fd, (off_t)(w->done * sizeof(struct record)))
        || lseek(w->log_fd, 0, SEEK_END) < 0)
        return fail(x, w, "the file cannot be written", errno);
    const int bad = w->done ? 0 : write_all(w->fd, w->header.p, w->header.n);
    x->moved += end;
    return bad ? fail(x, w, "writing failed", bad) : ST_OK;
}

/* Is there room for what is still to be written? Parts may lie in one file system. */
static enum st check_space(struct exporting *x)
{
    uint64_t need = 0;
    const struct writing *w = &x->list[0];
    struct stat there;
    for (size_t i = 0; i < x->n; i++)
        if (!fstat(x->list[i].fd, &there) && x->list[i].partial)
            need += x->list[i].part->file->size
                    - ((uint64_t)there.st_size < x->list[i].part->file->size
                           ? (uint64_t)there.st_size
                           : x->list[i].part->file->size);
    return w->partial ? save_room(w->fd, need, w->part->path, x->e) : ST_OK;
}

/* ---- writing ---- */

/* Into what is no file, from its start to its end. */
static int write_straight(struct exporting *x, const struct writing *w, const char *p, uint64_t n)
{
    int bad = 0;
    for (uint64_t at = 0; at < n && !bad && !x->stopped;) {
        const size_t take = n - at < PIECE ? (size_t)(n - at) : PIECE;
        bad = write_all(w->fd, p + at, take);
        at += take;
        moved(x, take);
    }
    return bad;
}

static enum st write_bytes(struct exporting *x, const struct writing *w, const void *p, size_t i,
                           uint64_t *hash)
{
    const struct stretch s = stretch_of(w, i);
    int bad;
    x->label = "writing";
    if (w->partial) {
        bad = stretch_write(&x->io, w->fd, &s, p, hash);
    } else {
        void *zeros = x_alloc((size_t)s.pad);
        bad = write_straight(x, w, p, s.n);
        bad = bad ? bad : write_straight(x, w, zeros, s.pad);
        free(zeros);
    }
    return bad ? fail(x, w, "writing failed", bad) : x->stopped;
}

static enum st write_tensor(struct exporting *x, struct writing *w, size_t i)
{
    const size_t of_all = w->part->first + i;
    struct record r = { .i = i, .identity = x->source->identity(x->source->data, of_all) };
    const void *p = NULL;
    enum st st = x->source->bytes(x->source->data, of_all, &p, x->e);
    if (st || (st = write_bytes(x, w, p, i, &r.hash)))
        return st;
    r.check = check_of(&r);
    w->records[w->done++] = r;
    const int bad = w->partial ? write_all(w->log_fd, &r, sizeof r) : 0;
    return bad ? fail(x, w, "writing failed", bad) : ST_OK;
}

/* What the disk has is what was written, and opens. */
static enum st verify(struct exporting *x, struct writing *w)
{
    struct gguf *g;
    struct map map;
    if (fsync(w->fd))
        return fail(x, w, "writing failed", errno);
    posix_fadvise(w->fd, 0, 0, POSIX_FADV_DONTNEED);
    bool same = same_header(w);
    enum st st = ST_OK;
    for (size_t i = 0; i < w->done && same && !st; i++) {
        uint64_t hash;
        st = hash_stored(x, w, i, &hash, &same);
        same = same && hash == w->records[i].hash;
    }
    if (st)
        return st;
    if (!same) {
        unlink(w->log); /* nothing of it is to be kept */
        w->done = 0;
        return fail(x, w, "what was read back is not what was written", 0);
    }
    if ((st = map_open(w->partial, &map, x->e)) || (st = gguf_parse(map, &g, x->e)))
        return st;
    gguf_free(g);
    return ST_OK;
}

static enum st write_all_parts(struct exporting *x)
{
    enum st st = ST_OK;
    for (size_t k = 0; k < x->n && !st; k++) {
        struct writing *w = &x->list[k];
        while (w->done < w->part->file->n_tensors && !st)
            st = write_tensor(x, w, w->done);
        if (!st && w->partial)
            st = verify(x, w);
    }
    if (!st)
        st = x->source->whole(x->source->data, x->e);
    for (size_t k = x->n; k-- > 0 && !st;) { /* the first part last: it is the one that is opened */
        struct writing *w = &x->list[k];
        if (!w->partial)
            continue;
        if (rename(w->partial, w->target))
            return fail(x, w, "the file cannot be replaced", errno);
        unlink(w->log);
        save_sync_folder(w->target);
    }
    return st;
}

/* What stays behind after a failure, and how to go on. */
static void leave(struct exporting *x, enum st st)
{
    size_t done = 0, of = 0;
    for (size_t k = 0; k < x->n; k++)
        done += x->list[k].done, of += x->list[k].part->file->n_tensors;
    const bool keep = done && (st == ST_CANCELLED || st == ST_IO)
                      && !x->source->whole(x->source->data, x->e);
    for (size_t k = 0; k < x->n && !keep; k++)
        if (x->list[k].ours) {
            unlink(x->list[k].partial);
            unlink(x->list[k].log);
        }
    struct buf on = { 0 };
    struct stat old;
    if (done < of)
        buf_printf(&on, "goes on from tensor %zu of %zu", done + 1, of);
    if (keep && x->list[0].partial)
        st_hint(x->e, "%sthe same command %s (removing %s gives it up)",
                stat(x->list[0].target, &old) ? "" : "the old file is whole; ",
                on.n ? buf_str(&on) : "compares it again and ends", x->list[0].partial);
    buf_free(&on);
}

static void end(struct exporting *x)
{
    for (size_t k = 0; k < x->n; k++) {
        struct writing *w = &x->list[k];
        if (w->fd >= 0)
            close(w->fd);
        if (w->log_fd >= 0)
            close(w->log_fd);
        free(w->target);
        free(w->partial);
        free(w->log);
        free(w->records);
        buf_free(&w->header);
    }
    free(x->list);
    stretch_end(&x->io);
}

enum st gguf_export(const struct gguf_part *parts, size_t n, const struct gguf_source *source,
                    struct pool *pool, struct progress *p, struct gguf_exported *out,
                    struct err *e)
{
    struct exporting x = { .n = n, .source = source, .front = p, .e = e };
    struct gguf_exported sums = { 0 };
    enum st st = ST_OK;
    stretch_begin(&x.io, pool);
    x.io.moved = moved;
    x.io.data = &x;
    x.list = x_alloc(n * sizeof *x.list);
    for (size_t k = 0; k < n; k++) {
        x.list[k] = (struct writing){ .part = &parts[k], .fd = -1, .log_fd = -1 };
        x.list[k].records = x_alloc((parts[k].file->n_tensors + 1) * sizeof(struct record));
        gguf_header(parts[k].file, &x.list[k].header);
        sums.bytes += parts[k].file->size;
        sums.tensors += parts[k].file->n_tensors;
    }
    x.total = 2.0 * (double)sums.bytes < 1e18 ? 2 * sums.bytes : sums.bytes;
    for (size_t k = 0; k < n && !st; k++)
        st = open_part(&x, &x.list[k]);
    if (!st)
        st = check_space(&x);
    for (size_t k = 0; k < n && !st; k++)
        if (!(st = begin(&x, &x.list[k])))
            sums.kept += x.list[k].done;
    if (!st)
        st = write_all_parts(&x);
    if (st)
        leave(&x, st);
    else
        *out = sums;
    end(&x);
    return st;
}
