/* SPDX-License-Identifier: MIT */
#include "tests/harness/scratch.h"

#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/harness/gguf_build.h"
#include "tests/harness/unit.h"

static char folder[256];

const char *scratch_begin(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.200s/qdb-test.XXXXXX", tmp && *tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(folder));
    return folder;
}

static int drop(const char *path, const struct stat *s, int type, struct FTW *at)
{
    (void)s, (void)type, (void)at;
    return remove(path);
}

void scratch_end(void) { assert_int_equal(nftw(folder, drop, 16, FTW_DEPTH | FTW_PHYS), 0); }

const char *scratch_path(const char *name)
{
    static char paths[16][512];
    static unsigned next;
    char *path = paths[next++ % 16];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

void scratch_write(const char *name, const void *p, size_t n)
{
    FILE *f = fopen(scratch_path(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

void scratch_tensors(const char *name, const char *header, size_t n)
{
    struct buf b = { 0 };
    build_put_string(&b, str_from(header));
    while (n--)
        buf_addc(&b, '\0');
    scratch_write(name, b.p, b.n);
    buf_free(&b);
}
