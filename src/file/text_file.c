/* SPDX-License-Identifier: MIT */
#include "file/text_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "file/save.h"

/* The path with a leading `~/` replaced; the caller frees it. */
static char *expand(const char *path)
{
    const char *home = path[0] == '~' && path[1] == '/' ? getenv("HOME") : NULL;
    if (!home)
        return x_strdup(path);
    struct buf b = { 0 };
    buf_printf(&b, "%s%s", home, path + 1);
    return buf_take(&b);
}

static enum st system_error(const char *path, struct err *e)
{
    int number = errno;
    if (number == EINTR) /* ^C while a pipe gives nothing */
        return st_fail(e, ST_CANCELLED, "interrupted");
    st_fail(e, ST_IO, "%s", strerror(number));
    return st_where(e, "%s", path);
}

static enum st open_file(const char *path, const char *mode, FILE **out, struct err *e)
{
    char *name = expand(path);
    FILE *f = fopen(name, mode);
    enum st st = f ? ST_OK : system_error(path, e);
    free(name);
    if (!f)
        return st;
    struct stat info;
    if (fstat(fileno(f), &info) == 0 && S_ISDIR(info.st_mode)) {
        fclose(f);
        st_fail(e, ST_IO, "this is a directory");
        return st_where(e, "%s", path);
    }
    *out = f;
    return ST_OK;
}

enum st text_file_read(const char *path, size_t most, struct buf *out, struct err *e)
{
    FILE *f;
    enum st st = open_file(path, "rb", &f, e);
    if (st)
        return st;
    struct buf b = { 0 };
    const char *zero;
    char part[8192];
    size_t n;
    while (b.n <= most && (n = fread(part, 1, sizeof part, f)) > 0)
        buf_add(&b, part, n);
    if (ferror(f))
        st = system_error(path, e);
    else if (b.n > most) {
        st_fail(e, ST_RANGE, "the file is longer than %zu bytes", most);
        st = st_where(e, "%s", path);
    } else if (b.n && (zero = memchr(b.p, '\0', b.n))) {
        st_fail(e, ST_SYNTAX, "is not a text: byte %zu is 0", (size_t)(zero - b.p));
        st = st_where(e, "%s", path);
    } else {
        const struct str text = text_unmarked(str_of(buf_str(&b), b.n));
        buf_add(out, text.p, text.n);
    }
    fclose(f);
    buf_free(&b);
    return st;
}

enum st text_file_write(const char *path, bool append, struct str text, struct err *e)
{
    FILE *f;
    if (!append) {
        char *name = expand(path);
        enum st written = save_bytes(name, text.p, text.n, e);
        free(name);
        return written;
    }
    enum st st = open_file(path, "ab", &f, e);
    if (st)
        return st;
    bool ok = fwrite(text.p, 1, text.n, f) == text.n;
    ok = fclose(f) == 0 && ok;
    return ok ? ST_OK : system_error(path, e);
}

enum st text_file_append(const char *path, FILE **out, struct err *e)
{
    return open_file(path, "ab", out, e);
}

void text_file_folders(const char *path)
{
    char *name = expand(path);
    for (char *p = *name ? strchr(name + 1, '/') : NULL; p; p = strchr(p + 1, '/')) {
        *p = '\0';
        mkdir(name, 0700);
        *p = '/';
    }
    free(name);
}
