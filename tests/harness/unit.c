/* SPDX-License-Identifier: MIT */
#include "tests/harness/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An allocation that is too large fails, as it does without the sanitizer. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "allocator_may_return_null=1"; }

void unit_begin(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0); /* a crash loses no result */
    cmocka_set_message_output(CM_OUTPUT_TAP);
}

/* The harness's filter joins this line with cmocka's "not ok N # SKIP name". */
void unit_reason(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("# skip: ", stdout);
    vfprintf(stdout, fmt, ap);
    fputc('\n', stdout);
    va_end(ap);
}

void unit_assert_st(enum st got, enum st want, const struct err *e, const char *call,
                    const char *file, int line)
{
    if (got != want) {
        print_error("%s: %s, expected %s", call, st_name(got), st_name(want));
        if (got && e)
            print_error(" (%s: %s)", e->where, e->msg);
        print_error("\n");
        _fail(file, line);
    }
    if (want && e && (e->st != want || !e->msg[0])) {
        print_error("%s: the error says %s: \"%s\"\n", call, st_name(e->st), e->msg);
        _fail(file, line);
    }
}

void unit_assert_within(double got, double want, double tolerance, const char *file, int line)
{
    if (got - want <= tolerance && want - got <= tolerance)
        return;
    print_error("got %.17g, expected %.17g\n", got, want);
    _fail(file, line);
}

static const char *join(const char *folder, const char *name)
{
    static char paths[16][4096];
    static unsigned next;
    char *path = paths[next++ % 16];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static const char *top(void)
{
    const char *folder = getenv("QDB_TOP");
    return folder && *folder ? folder : ".";
}

const char *top_path(const char *name) { return join(top(), name); }

const char *golden_path(const char *name) { return join(top_path("tests/golden"), name); }

const char *data_path(const char *name)
{
    const char *folder = getenv("QDB_DATA");
    const char *path = join(folder && *folder ? folder : top_path("../shared/data"), name);
    return access(path, R_OK) ? NULL : path;
}

const char *unit_need(const char *path, const char *name)
{
    if (!path)
        SKIP_CASE("%s is not here; QDB_DATA names the folder", name);
    return path;
}

char *unit_read(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s cannot be opened", path);
    size_t cap = 1 << 16, used = 0, got;
    char *p = malloc(cap + 1);
    while (p && (got = fread(p + used, 1, cap - used, f)) > 0) {
        used += got;
        if (used == cap)
            p = realloc(p, (cap *= 2) + 1);
    }
    fclose(f);
    assert_non_null(p);
    p[used] = '\0';
    if (n)
        *n = used;
    return p;
}

uint64_t unit_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

double unit_normal(uint64_t *state) /* Box and Muller 1958 */
{
    const double u = ((double)(unit_random(state) >> 11) + 0.5) * 0x1p-53;
    const double v = (double)(unit_random(state) >> 11) * 0x1p-53;
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}
