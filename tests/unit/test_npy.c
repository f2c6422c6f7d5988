/* SPDX-License-Identifier: MIT */
/* Files that qdb writes: whole or not at all; .npy out and in. */
#include "tests/harness/unit.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"
#include "file/npy.h"
#include "file/save.h"
#include "tests/harness/scratch.h"

static const float six[6] = { 0.0f, -1.5f, 3e38f, 1e-40f, 5.0f, 6.0f };

static void reads_back_what_it_wrote(void **state)
{
    (void)state;
    scratch_begin();
    static const uint64_t shapes[][4] = { { 6 }, { 2, 3 }, { 1, 6, 1 }, { 3, 1, 2, 1 } };
    for (int rank = 1; rank <= 4; rank++) {
        struct npy a;
        struct err e = ERR_INIT;
        const char *path = scratch_path("a.npy");
        assert_ok(npy_write(path, rank, shapes[rank - 1], six, NULL, &e), &e);
        assert_ok(npy_read(path, &a, &e), &e);
        assert_int_equal(a.rank, rank);
        assert_int_equal(a.n, 6);
        assert_memory_equal(a.shape, shapes[rank - 1], (size_t)rank * 8);
        assert_memory_equal(a.data, six, sizeof six);
        npy_free(&a);
    }
    struct npy scalar;
    struct err e = ERR_INIT;
    assert_ok(npy_write(scratch_path("s.npy"), 0, NULL, six + 1, NULL, &e), &e);
    assert_ok(npy_read(scratch_path("s.npy"), &scalar, &e), &e);
    assert_true(scalar.rank == 0 && scalar.n == 1 && scalar.data[0] == -1.5f);
    npy_free(&scalar);
    scratch_end();
}

/* The bytes that numpy.save writes for np.arange(3, dtype='<f4'). */
static void writes_what_numpy_writes(void **state)
{
    (void)state;
    static const char dictionary[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }";
    static const uint64_t shape[1] = { 3 };
    static const float v[3] = { 0, 1, 2 };
    scratch_begin();
    struct err e = ERR_INIT;
    assert_ok(npy_write(scratch_path("a.npy"), 1, shape, v, NULL, &e), &e);
    size_t n;
    char *got = unit_read(scratch_path("a.npy"), &n);
    assert_int_equal(n, 128 + 12);
    assert_memory_equal(got, "\x93NUMPY\1\0\x76\0", 10);
    assert_memory_equal(got + 10, dictionary, sizeof dictionary - 1);
    for (size_t i = 10 + sizeof dictionary - 1; i < 127; i++)
        assert_int_equal(got[i], ' ');
    assert_int_equal(got[127], '\n');
    assert_memory_equal(got + 128, v, sizeof v);
    free(got);
    scratch_end();
}

static enum st parse_text(const char *head, size_t data, struct npy *a, struct err *e)
{
    struct buf b = { 0 };
    size_t n = strlen(head);
    buf_add(&b, "\x93NUMPY\1\0", 8);
    buf_addc(&b, (char)n);
    buf_addc(&b, (char)(n >> 8));
    buf_adds(&b, head);
    for (size_t i = 0; i < data; i++)
        buf_addc(&b, 0);
    enum st st = npy_parse(b.p, b.n, "made.npy", a, e);
    buf_free(&b);
    return st;
}

static void refuses_other_arrays(void **state)
{
    (void)state;
#define HEAD(descr, order, shape) \
    "{'descr': '" descr "', 'fortran_order': " order ", 'shape': (" shape "), }\n"
    static const struct {
        const char *head;
        size_t data;
        enum st st;
    } cases[] = {
        { HEAD("<i8", "False", "1,"), 8, ST_UNSUPPORTED },
        { HEAD("<f8", "False", "1,"), 4, ST_FORMAT },
        { HEAD(">f4", "False", "1,"), 4, ST_UNSUPPORTED },
        { HEAD("<f4", "True", "1,"), 4, ST_UNSUPPORTED },
        { HEAD("<f4", "False", "2,"), 4, ST_FORMAT },
        { HEAD("<f4", "False", "1,"), 5, ST_FORMAT },
        { HEAD("<f4", "False", "4611686018427387904, 4"), 0, ST_FORMAT },
        { HEAD("<f4", "False", "99999999999999999999"), 4, ST_FORMAT },
        { HEAD("<f4", "False", "-1"), 4, ST_FORMAT },
        { HEAD("<f4", "False", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"), 4, ST_FORMAT },
        { "{'descr': '<f4', 'shape': (1,)}", 4, ST_FORMAT },
        { "{'descr': '<f4', 'other': 1}", 4, ST_FORMAT },
        { "", 4, ST_FORMAT },
        { "{", 4, ST_FORMAT },
        { "{'shape': (", 4, ST_FORMAT },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct npy a;
        struct err e = ERR_INIT;
        assert_fails(parse_text(cases[i].head, cases[i].data, &a, &e), cases[i].st, &e);
        assert_string_equal(e.where, "made.npy");
    }
    struct npy a;
    struct err e = ERR_INIT;
    assert_ok(parse_text("{'shape':(1),'fortran_order':False,'descr':'<f4'}", 4, &a, &e), &e);
    npy_free(&a);
    assert_int_equal(mem_used(), 0);
}

static void survives_a_cut_at_every_byte(void **state)
{
    (void)state;
    static const uint64_t shape[2] = { 2, 3 };
    scratch_begin();
    struct err e = ERR_INIT;
    assert_ok(npy_write(scratch_path("a.npy"), 2, shape, six, NULL, &e), &e);
    size_t n;
    char *whole = unit_read(scratch_path("a.npy"), &n);
    for (size_t cut = 0; cut < n; cut++) {
        char *part = malloc(cut ? cut : 1);
        memcpy(part, whole, cut);
        struct npy a;
        assert_fails(npy_parse(part, cut, "cut.npy", &a, &e), ST_FORMAT, &e);
        free(part);
    }
    free(whole);
    scratch_end();
}

static void content_is(const char *name, const char *want)
{
    char *got = unit_read(scratch_path(name), NULL);
    assert_string_equal(got, want);
    free(got);
}

static void keeps_the_old_file_until_the_new_one_is_whole(void **state)
{
    (void)state;
    scratch_begin();
    scratch_write("out", "old", 3);
    assert_int_equal(chmod(scratch_path("out"), 0640), 0);
    struct save s;
    struct err e = ERR_INIT;
    assert_ok(save_open(&s, scratch_path("out"), &e), &e);
    fputs("half", s.f);
    fflush(s.f);
    content_is("out", "old");
    save_abort(&s);
    content_is("out", "old");
    assert_ok(save_bytes(scratch_path("out"), "new", 3, &e), &e);
    content_is("out", "new");
    struct stat st;
    assert_int_equal(stat(scratch_path("out"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    /* Nothing else is left in the folder: it can be removed once `out` is gone. */
    assert_int_equal(unlink(scratch_path("out")), 0);
    assert_int_equal(rmdir(scratch_path("")), 0);
}

static void follows_links_and_refuses_folders(void **state)
{
    (void)state;
    scratch_begin();
    struct err e = ERR_INIT;
    scratch_write("real", "old", 3);
    assert_int_equal(symlink("real", scratch_path("link")), 0);
    assert_ok(save_bytes(scratch_path("link"), "new", 3, &e), &e);
    content_is("real", "new");
    struct stat st;
    assert_int_equal(lstat(scratch_path("link"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_fails(save_bytes(scratch_path(""), "x", 1, &e), ST_IO, &e);
    assert_fails(save_bytes(scratch_path("no/such/folder"), "x", 1, &e), ST_IO, &e);
    assert_non_null(strstr(e.msg, "No such file"));
    assert_non_null(strstr(e.where, "no/such/folder"));
    assert_fails(save_bytes("/dev/full", "x", 1, &e), ST_IO, &e);
    assert_ok(save_bytes("/dev/null", "x", 1, &e), &e);
    scratch_end();
}

UNIT_MAIN(CASE(reads_back_what_it_wrote), CASE(writes_what_numpy_writes),
          CASE(refuses_other_arrays), CASE(survives_a_cut_at_every_byte),
          CASE(keeps_the_old_file_until_the_new_one_is_whole),
          CASE(follows_links_and_refuses_folders))
