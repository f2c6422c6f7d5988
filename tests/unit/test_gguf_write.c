/* SPDX-License-Identifier: MIT */
/* Writing GGUF: sizes known beforehand to the byte, files whole or not at all, going on after a
 * kill, a full disk or ^C with nothing written twice that is good, and nothing kept that is not. */
#include "tests/harness/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/memory.h"
#include "file/gguf_export.h"
#include "tests/harness/scratch.h"

enum { TENSORS = 6, MOST = 9000 /* bytes of a tensor: more than a page */ };

/* A made-up file: tensors of bytes, one of them of odd length, one empty of an unknown type. */
struct made {
    struct gguf_meta meta;
    struct gguf_tensor tensors[TENSORS];
    struct gguf_file file;
    struct gguf_part part;
    struct gguf_source source;
    char path[512];
    uint8_t bytes[TENSORS][MOST];
    uint64_t salt; /* other contents */
    size_t asked;  /* how often bytes were asked for */
    size_t die_at; /* tensor at which the process is killed */
    bool broken;   /* the bytes are no more what they were */
};

static enum st give(void *data, size_t i, const void **out, struct err *e)
{
    (void)e;
    struct made *m = data;
    if (i == m->die_at)
        raise(SIGKILL);
    m->asked++;
    *out = m->bytes[i];
    return ST_OK;
}

static uint64_t identity(void *data, size_t i)
{
    struct made *m = data;
    return hash_bytes(m->bytes[i], m->tensors[i].bytes, 0);
}

static enum st whole(void *data, struct err *e)
{
    return ((struct made *)data)->broken ? st_fail(e, ST_IO, "broken") : ST_OK;
}

static struct made *made_new(uint64_t salt)
{
    static const char *const names[TENSORS] = { "a", "bb", "c.weight", "d", "e", "f" };
    static const size_t bytes[TENSORS] = { 4096, 33, MOST, 64, 5, 8191 };
    struct made *m = x_alloc(sizeof *m);
    uint64_t random = salt;
    struct err e = ERR_INIT;
    gguf_meta_string(&m->meta, "general.architecture", STR("made"));
    gguf_meta_integer(&m->meta, "general.alignment", GGUF_U32, 64);
    const struct str list[] = { STR("one"), STR(""), STR("three") };
    gguf_meta_strings(&m->meta, "made.list", list, 3);
    for (int i = 0; i < TENSORS; i++) {
        m->tensors[i] = (struct gguf_tensor){ .name = str_from(names[i]),
                                              .rank = 1 + i % 3,
                                              .ne = { bytes[i], 1, 1, 1 },
                                              .type_id = 24,
                                              .bytes = bytes[i] };
        for (size_t k = 0; k < bytes[i]; k++)
            m->bytes[i][k] = (uint8_t)unit_random(&random);
    }
    m->file = (struct gguf_file){
        .kvs = m->meta.list, .n_kvs = m->meta.n, .tensors = m->tensors, .n_tensors = TENSORS
    };
    snprintf(m->path, sizeof m->path, "%s", scratch_path("out"));
    m->part = (struct gguf_part){ .path = m->path, .file = &m->file };
    m->source = (struct gguf_source){ give, identity, whole, m };
    m->die_at = SIZE_MAX;
    assert_ok(gguf_plan(&m->file, &e), &e);
    return m;
}

static void made_free(struct made *m)
{
    gguf_meta_free(&m->meta);
    free(m);
}

static bool exists(const char *name) { return !access(scratch_path(name), F_OK); }

/* The file at `out` is what m describes, and nothing else lies there. */
static void written(const struct made *m)
{
    struct map map;
    struct gguf *g;
    struct err e = ERR_INIT;
    assert_ok(map_open(scratch_path("out"), &map, &e), &e);
    assert_int_equal(map.size, m->file.size);
    assert_ok(gguf_parse(map, &g, &e), &e);
    assert_int_equal(g->alignment, 64);
    assert_int_equal(g->n_kvs, 3);
    const struct gguf_kv *list = gguf_find(g, "made.list");
    assert_int_equal(list->n, 3);
    assert_true(str_is(gguf_string(g, list, 2), "three"));
    assert_int_equal(g->n_tensors, TENSORS);
    for (int i = 0; i < TENSORS; i++) {
        assert_null(g->tensors[i].problem);
        assert_true(str_eq(g->tensors[i].name, m->tensors[i].name));
        assert_int_equal(g->tensors[i].rank, 1 + i % 3);
        assert_int_equal(g->tensors[i].bytes, m->tensors[i].bytes);
        assert_memory_equal(g->tensors[i].data, m->bytes[i], m->tensors[i].bytes);
    }
    gguf_free(g);
    assert_false(exists("out.qdb-part"));
    assert_false(exists("out.qdb-log"));
}

static void old_file_is_whole(void)
{
    char *got = unit_read(scratch_path("out"), NULL);
    assert_string_equal(got, "old");
    free(got);
}

static struct gguf_exported finish(struct made *m)
{
    struct gguf_exported done = { 0 };
    struct err e = ERR_INIT;
    m->asked = 0;
    assert_ok(gguf_export(&m->part, 1, &m->source, NULL, NULL, &done, &e), &e);
    assert_int_equal(done.bytes, m->file.size);
    assert_int_equal(done.tensors, TENSORS);
    assert_int_equal(done.kept + m->asked, TENSORS);
    written(m);
    return done;
}

static void predicts_the_size_and_writes_it(void **state)
{
    (void)state;
    scratch_begin();
    struct made *m = made_new(1);
    struct buf header = { 0 };
    gguf_header(&m->file, &header);
    assert_int_equal(header.n, m->file.data_at);
    assert_int_equal(m->file.data_at % 64, 0);
    buf_free(&header);
    assert_int_equal(finish(m).kept, 0);
    made_free(m);
    scratch_end();
}

static void metadata_keeps_its_order(void **state)
{
    (void)state;
    struct gguf_meta m = { 0 };
    gguf_meta_string(&m, "a", STR("x"));
    gguf_meta_integer(&m, "b", GGUF_U16, 7);
    gguf_meta_string(&m, "c", STR("y"));
    gguf_meta_integer(&m, "a", GGUF_U32, 70000);
    gguf_meta_drop(&m, "c");
    gguf_meta_drop(&m, "c");
    assert_int_equal(m.n, 2);
    assert_true(str_is(m.list[0].key, "a") && str_is(m.list[1].key, "b"));
    assert_int_equal(gguf_integer(&m.list[0], 0), 70000);
    assert_int_equal(m.list[1].bytes, 2);
    gguf_meta_free(&m);
}

/* Run the export in a child that is killed when tensor i is asked for. */
static void kill_at(struct made *m, size_t i)
{
    const pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        struct gguf_exported done;
        struct err e = ERR_INIT;
        m->die_at = i;
        _exit(gguf_export(&m->part, 1, &m->source, NULL, NULL, &done, &e) ? 1 : 0);
    }
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
}

static void goes_on_after_a_kill(void **state)
{
    (void)state;
    scratch_begin();
    struct made *m = made_new(1);
    for (size_t i = 0; i < TENSORS; i++) {
        scratch_write("out", "old", 3);
        kill_at(m, i);
        old_file_is_whole();
        assert_int_equal(finish(m).kept, i);
    }
    /* twice: further each time */
    scratch_write("out", "old", 3);
    kill_at(m, 2);
    kill_at(m, 4);
    assert_int_equal(finish(m).kept, 4);
    made_free(m);
    scratch_end();
}

static void keeps_nothing_that_is_not_ours(void **state)
{
    (void)state;
    scratch_begin();
    struct made *m = made_new(1), *other = made_new(2);
    /* another model's half file */
    kill_at(other, 4);
    assert_int_equal(finish(m).kept, 0);
    /* a byte that has changed on the disk, in the padding of tensor 1 too */
    for (int pad = 0; pad < 2; pad++) {
        kill_at(m, 4);
        const int fd = open(scratch_path("out.qdb-part"), O_RDWR);
        const off_t at = (off_t)(m->file.data_at + m->tensors[1].offset)
                         + (pad ? (off_t)m->tensors[1].bytes : 0);
        assert_int_equal(pwrite(fd, "\xa5", 1, at), 1);
        close(fd);
        assert_int_equal(finish(m).kept, 1);
    }
    /* a partial file that is too short for its log, a log with half a record, other metadata */
    kill_at(m, 5);
    assert_int_equal(
        truncate(scratch_path("out.qdb-part"), (off_t)(m->file.data_at + m->tensors[2].offset + 1)),
        0);
    assert_int_equal(finish(m).kept, 2);
    kill_at(m, 5);
    assert_int_equal(truncate(scratch_path("out.qdb-log"), 3 * 32 + 7), 0);
    assert_int_equal(finish(m).kept, 3);
    kill_at(m, 5);
    gguf_meta_string(&m->meta, "general.architecture", STR("Made"));
    assert_int_equal(finish(m).kept, 0);
    made_free(m);
    made_free(other);
    scratch_end();
}

static void a_limit_on_its_size_leaves_the_old_file(void **state)
{
    (void)state;
    scratch_begin();
    struct made *m = made_new(1);
    scratch_write("out", "old", 3);
    const pid_t child = fork();
    if (!child) {
        const rlim_t most = (rlim_t)(m->file.data_at + m->tensors[2].offset + 100);
        const struct rlimit limit = { most, most };
        struct gguf_exported done;
        struct err e = ERR_INIT;
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        const enum st st = gguf_export(&m->part, 1, &m->source, NULL, NULL, &done, &e);
        _exit(st == ST_IO && strstr(e.msg, "too large") && strstr(e.hint, "tensor 3 of 6") ? 0 : 1);
    }
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how));
    assert_int_equal(WEXITSTATUS(how), 0);
    old_file_is_whole();
    assert_int_equal(finish(m).kept, 2);
    made_free(m);
    scratch_end();
}

static void asks_for_space_before_it_writes(void **state)
{
    (void)state;
    scratch_begin();
    struct made *m = made_new(1);
    struct err e = ERR_INIT;
    struct gguf_exported done;
    struct statvfs disk;
    assert_int_equal(statvfs(scratch_path(""), &disk), 0);
    scratch_write("out", "old", 3);
    m->tensors[5].bytes = m->tensors[5].ne[0] = (size_t)disk.f_frsize * disk.f_blocks;
    assert_ok(gguf_plan(&m->file, &e), &e);
    assert_fails(gguf_export(&m->part, 1, &m->source, NULL, NULL, &done, &e), ST_IO, &e);
    assert_non_null(strstr(e.msg, "the disk has"));
    assert_int_equal(m->asked, 0);
    old_file_is_whole();
    assert_false(exists("out.qdb-part"));
    m->tensors[5].bytes = SIZE_MAX - 100;
    assert_fails(gguf_plan(&m->file, &e), ST_RANGE, &e);
    made_free(m);
    scratch_end();
}

/* A front end whose user wants to stop at the n-th look. */
struct stopper {
    struct progress p;
    volatile sig_atomic_t cancel;
    int left;
};

static void count_down(struct progress *p, const char *label, double done, double total)
{
    struct stopper *s = p->data;
    (void)label;
    assert_true(done <= total);
    s->cancel = !s->left--;
}

static void an_interrupt_leaves_the_old_file_and_goes_on(void **state)
{
    (void)state;
    scratch_begin();
    struct made *m = made_new(1);
    size_t kept_before = 0;
    bool stopped = true;
    for (int looks = 0; stopped; looks++) {
        struct stopper s = { .left = looks };
        struct gguf_exported done;
        struct err e = ERR_INIT;
        s.p = (struct progress){ count_down, &s.cancel, &s };
        scratch_write("out", "old", 3);
        const enum st st = gguf_export(&m->part, 1, &m->source, NULL, &s.p, &done, &e);
        stopped = st != ST_OK;
        if (stopped) {
            assert_int_equal(st, ST_CANCELLED);
            old_file_is_whole();
            const size_t kept = finish(m).kept;
            assert_true(kept >= kept_before);
            kept_before = kept;
        }
        assert_true(looks < 100);
    }
    assert_int_equal(kept_before, TENSORS);
    made_free(m);
    scratch_end();
}

/* What is said after an interrupt: of the old file only where there was one. */
static void an_old_file_is_spoken_of_where_it_is(void **state)
{
    (void)state;
    scratch_begin();
    struct made *m = made_new(1);
    for (int old = 0; old < 2; old++) {
        struct stopper s = { .left = TENSORS };
        struct gguf_exported done;
        struct err e = ERR_INIT;
        s.p = (struct progress){ count_down, &s.cancel, &s };
        if (old)
            scratch_write("out", "old", 3);
        assert_fails(gguf_export(&m->part, 1, &m->source, NULL, &s.p, &done, &e), ST_CANCELLED, &e);
        assert_non_null(strstr(e.hint, "the same command "));
        assert_true(!strstr(e.hint, "the old file is whole") == !old);
        finish(m);
        assert_int_equal(remove(scratch_path("out")), 0);
    }
    made_free(m);
    scratch_end();
}

static void a_broken_source_leaves_nothing(void **state)
{
    (void)state;
    scratch_begin();
    struct made *m = made_new(1);
    struct gguf_exported done;
    struct err e = ERR_INIT;
    scratch_write("out", "old", 3);
    m->broken = true;
    assert_fails(gguf_export(&m->part, 1, &m->source, NULL, NULL, &done, &e), ST_IO, &e);
    assert_string_equal(e.msg, "broken");
    old_file_is_whole();
    assert_false(exists("out.qdb-part"));
    m->broken = false;
    assert_int_equal(finish(m).kept, 0);
    made_free(m);
    scratch_end();
}

static void two_at_once_are_told_apart(void **state)
{
    (void)state;
    scratch_begin();
    struct made *m = made_new(1);
    struct gguf_exported done;
    struct err e = ERR_INIT;
    kill_at(m, 3);
    const int fd = open(scratch_path("out.qdb-part"), O_RDWR);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_fails(gguf_export(&m->part, 1, &m->source, NULL, NULL, &done, &e), ST_IO, &e);
    assert_non_null(strstr(e.msg, "another export"));
    close(fd);
    assert_int_equal(finish(m).kept, 3);
    made_free(m);
    scratch_end();
}

static void hashes_tell_bytes_apart(void **state)
{
    (void)state;
    uint8_t a[200] = { 0 };
    uint64_t seen[1 + 8 * sizeof a + sizeof a];
    size_t n = 0;
    seen[n++] = hash_bytes(a, sizeof a, 0);
    for (size_t bit = 0; bit < 8 * sizeof a; bit++) {
        a[bit / 8] ^= (uint8_t)(1 << bit % 8);
        seen[n++] = hash_bytes(a, sizeof a, 0);
        a[bit / 8] = 0;
    }
    for (size_t length = 0; length < sizeof a; length++)
        seen[n++] = hash_bytes(a, length, 0);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            assert_true(seen[i] != seen[k]);
    assert_true(hash_bytes(a, 3, 1) != hash_bytes(a, 3, 2));
}

UNIT_MAIN(CASE(predicts_the_size_and_writes_it), CASE(metadata_keeps_its_order),
          CASE(goes_on_after_a_kill), CASE(keeps_nothing_that_is_not_ours),
          CASE(a_limit_on_its_size_leaves_the_old_file), CASE(asks_for_space_before_it_writes),
          CASE(an_interrupt_leaves_the_old_file_and_goes_on), CASE(a_broken_source_leaves_nothing),
          CASE(an_old_file_is_spoken_of_where_it_is), CASE(two_at_once_are_told_apart),
          CASE(hashes_tell_bytes_apart))
