/* SPDX-License-Identifier: MIT */
/* Stretches of a file: the same bytes and hash whatever the threads, and nothing goes unseen. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file/stretch.h"
#include "tests/harness/scratch.h"
#include "tests/harness/unit.h"

/* Several pieces of each, none of them whole. */
enum { AT = 100, BYTES = 1000003, PAD = 600001, END = AT + BYTES + PAD };

static const struct stretch stretch = { AT, BYTES, PAD };

/* A file of ones with the stretch written over it, and its hash. */
static int written(const uint8_t *from, struct pool *pool, uint64_t *hash)
{
    uint8_t *ones = malloc(END + 10);
    memset(ones, 1, END + 10);
    scratch_write("file", ones, END + 10);
    free(ones);
    const int fd = open(scratch_path("file"), O_RDWR);
    struct stretch_io io;
    stretch_begin(&io, pool);
    assert_int_equal(stretch_write(&io, fd, &stretch, from, hash), 0);
    stretch_end(&io);
    return fd;
}

static bool stored(int fd, struct pool *pool, uint64_t *hash)
{
    struct stretch_io io;
    stretch_begin(&io, pool);
    const bool whole = stretch_read(&io, fd, &stretch, hash);
    stretch_end(&io);
    return whole;
}

static void flip(int fd, off_t at)
{
    uint8_t b;
    assert_int_equal(pread(fd, &b, 1, at), 1);
    b ^= 0x10;
    assert_int_equal(pwrite(fd, &b, 1, at), 1);
}

static uint8_t *draw(uint64_t seed)
{
    uint8_t *p = malloc(BYTES);
    for (int i = 0; i < BYTES; i++)
        p[i] = (uint8_t)unit_random(&seed);
    return p;
}

static void threads_change_nothing(void **state)
{
    (void)state;
    scratch_begin();
    uint8_t *from = draw(1), *got = malloc(END + 10);
    uint64_t first = 0, hash;
    for (int threads = 1; threads <= 4; threads += 3) {
        struct pool *pool = pool_new(threads);
        const int fd = written(from, pool, &hash);
        first = threads == 1 ? hash : first;
        assert_true(hash == first);
        assert_int_equal(read_at(fd, got, END + 10, 0), END + 10);
        assert_int_equal(got[AT - 1], 1);
        assert_memory_equal(got + AT, from, BYTES);
        for (int i = 0; i < PAD; i++)
            assert_int_equal(got[AT + BYTES + i], 0);
        assert_int_equal(got[END], 1);
        assert_true(stored(fd, pool, &hash) && hash == first);
        close(fd);
        pool_free(pool);
    }
    free(from);
    free(got);
    scratch_end();
}

static void a_changed_byte_is_seen(void **state)
{
    (void)state;
    scratch_begin();
    uint8_t *from = draw(2);
    uint64_t hash, now;
    const int fd = written(from, NULL, &hash);
    static const int at[] = { AT, AT + BYTES / 2, AT + BYTES - 1, AT + BYTES, END - 1 };
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        flip(fd, at[i]);
        assert_true(stored(fd, NULL, &now) && now != hash);
        flip(fd, at[i]);
        assert_true(stored(fd, NULL, &now) && now == hash);
    }
    flip(fd, AT - 1); /* these are not of the stretch */
    flip(fd, END);
    assert_true(stored(fd, NULL, &now) && now == hash);
    close(fd);
    free(from);
    scratch_end();
}

static void what_is_missing_is_said(void **state)
{
    (void)state;
    scratch_begin();
    uint8_t *from = draw(3);
    uint64_t hash;
    int fd = written(from, NULL, &hash);
    assert_int_equal(ftruncate(fd, END), 0);
    assert_true(stored(fd, NULL, &hash));
    assert_int_equal(ftruncate(fd, END - 1), 0);
    assert_false(stored(fd, NULL, &hash));
    close(fd);
    fd = open(scratch_path("file"), O_RDONLY);
    struct stretch_io io;
    stretch_begin(&io, NULL);
    assert_int_equal(stretch_write(&io, fd, &stretch, from, &hash), EBADF);
    stretch_end(&io);
    close(fd);
    free(from);
    scratch_end();
}

UNIT_MAIN(CASE(threads_change_nothing), CASE(a_changed_byte_is_seen),
          CASE(what_is_missing_is_said))
