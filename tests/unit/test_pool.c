/* SPDX-License-Identifier: MIT */
/* Thread pool: every chunk once, same results on any number of threads, nesting, cancellation. */
#include "tests/harness/unit.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels/pool.h"

enum { CHUNKS = 1000 };

static const int counts[] = { 1, 2, 3, 16 };
static bool (*const loops[])(struct pool *, int64_t, pool_fn *, void *,
                             const volatile sig_atomic_t *) = { pool_for, pool_for_runs };

struct census {
    struct pool *pool;
    atomic_int visits[CHUNKS];
    atomic_int busy[POOL_MAX_THREADS]; /* chunks that run now, by worker */
    atomic_int faults;
    double part[CHUNKS];
};

static void visit(void *data, int64_t chunk, int worker)
{
    struct census *c = data;
    double sum = 0;
    if (worker < 0 || worker >= pool_threads(c->pool) || atomic_fetch_add(&c->busy[worker], 1) != 0)
        atomic_fetch_add(&c->faults, 1);
    for (int i = 1; i < 50; i++)
        sum += 1.0 / (double)(chunk * 50 + i);
    c->part[chunk] = sum;
    atomic_fetch_add(&c->visits[chunk], 1);
    atomic_fetch_sub(&c->busy[worker], 1);
}

static double total(const struct census *c)
{
    double sum = 0;
    for (int i = 0; i < CHUNKS; i++)
        sum += c->part[i];
    return sum;
}

static void each_chunk_once_and_same_bits(void **state)
{
    (void)state;
    static struct census c;
    double first = 0;
    for (int i = -2; i < 8; i++) {
        const int k = i < 0 ? -1 : i / 2;
        struct pool *p = k < 0 ? NULL : pool_new(counts[k]);
        memset(&c, 0, sizeof c);
        c.pool = p;
        assert_int_equal(pool_threads(p), k < 0 ? 1 : counts[k]);
        assert_true(loops[i & 1](p, CHUNKS, visit, &c, NULL));
        for (int chunk = 0; chunk < CHUNKS; chunk++)
            assert_int_equal(c.visits[chunk], 1);
        assert_int_equal(c.faults, 0);
        if (i == -2)
            first = total(&c);
        assert_true(total(&c) == first);
        pool_free(p);
    }
}

static void add(void *data, int64_t chunk, int worker)
{
    (void)worker;
    atomic_fetch_add((_Atomic int64_t *)data, chunk + 1);
}

/* Many short loops of every size: no chunk is lost between two of them. */
static void many_short_loops(void **state)
{
    (void)state;
    for (int k = 0; k < 4; k++) {
        struct pool *p = pool_new(counts[k]);
        for (int64_t loop = 0; loop < 3000; loop++) {
            _Atomic int64_t sum = 0;
            int64_t n = loop % 20;
            assert_true(loops[loop / 20 % 2](p, n, add, &sum, NULL));
            assert_int_equal(sum, n * (n + 1) / 2);
        }
        pool_free(p);
    }
}

struct nest {
    struct pool *pool;
    _Atomic int64_t sum;
    atomic_int faults;
};

struct inner {
    struct nest *nest;
    int worker;
    int64_t last; /* plain: inner chunks run one after the other */
};

static void inner_chunk(void *data, int64_t chunk, int worker)
{
    struct inner *in = data;
    if (worker != in->worker || chunk != in->last + 1)
        atomic_fetch_add(&in->nest->faults, 1);
    in->last = chunk;
    atomic_fetch_add(&in->nest->sum, chunk);
}

static void outer_chunk(void *data, int64_t chunk, int worker)
{
    struct nest *nest = data;
    struct inner in = { nest, worker, -1 };
    (void)chunk;
    if (!pool_for(nest->pool, 10, inner_chunk, &in, NULL))
        atomic_fetch_add(&nest->faults, 1);
}

static void nested_loops_run_inline(void **state)
{
    (void)state;
    for (int k = 0; k < 4; k++) {
        struct nest nest = { .pool = pool_new(counts[k]) };
        if (counts[k] > 1) {
            assert_true(pool_for(nest.pool, 100, outer_chunk, &nest, NULL));
            assert_int_equal(nest.sum, 100 * 45);
            assert_int_equal(nest.faults, 0);
        }
        pool_free(nest.pool);
    }
}

static void count_strangers(void *data, int64_t chunk, int worker)
{
    (void)chunk;
    atomic_fetch_add((_Atomic int64_t *)data, worker < 2);
}

static void outer_of_another(void *data, int64_t chunk, int worker)
{
    struct nest *nest = data;
    _Atomic int64_t known = 0;
    (void)chunk, (void)worker;
    if (!pool_for(nest->pool, 10, count_strangers, &known, NULL) || known != 10)
        atomic_fetch_add(&nest->faults, 1);
    known = 0;
    if (!pool_for(NULL, 10, count_strangers, &known, NULL) || known != 10)
        atomic_fetch_add(&nest->faults, 1);
}

/* Scratch memory is counted by the threads of the pool that a loop was given, not by those of the
 * pool in whose chunk it runs. */
static void workers_are_those_of_the_pool(void **state)
{
    (void)state;
    struct pool *outer = pool_new(16);
    struct nest nest = { .pool = pool_new(2) };
    for (int i = 0; i < 20; i++)
        assert_true(pool_for(outer, 200, outer_of_another, &nest, NULL));
    assert_int_equal(nest.faults, 0);
    pool_free(nest.pool);
    pool_free(outer);
}

static volatile sig_atomic_t cancel;

static void cancelling_chunk(void *data, int64_t chunk, int worker)
{
    (void)worker;
    atomic_fetch_add((_Atomic int64_t *)data, 1);
    if (chunk == 5)
        __atomic_store_n(&cancel, 1, __ATOMIC_RELAXED);
}

static void cancelling_leaves_chunks_out(void **state)
{
    (void)state;
    for (int k = 0; k < 4; k++) {
        struct pool *p = pool_new(counts[k]);
        _Atomic int64_t done = 0;
        cancel = 0;
        assert_false(pool_for(p, 1000000, cancelling_chunk, &done, &cancel));
        assert_true(done >= 6 && done < 1000000);
        assert_false(pool_for(p, 3, cancelling_chunk, &done, &cancel));
        cancel = 0;
        done = 0;
        assert_true(pool_for(p, 4, cancelling_chunk, &done, &cancel));
        assert_int_equal(done, 4);
        assert_true(pool_for(p, 0, cancelling_chunk, &done, &cancel));
        pool_free(p);
    }
}

static void *use_pool(void *argument)
{
    static _Atomic int64_t wrong;
    for (int loop = 0; loop < 500; loop++) {
        _Atomic int64_t sum = 0;
        pool_for(argument, 30, add, &sum, NULL);
        if (sum != 465)
            wrong++;
    }
    return wrong ? &wrong : NULL;
}

static void two_users_do_not_meet(void **state)
{
    (void)state;
    struct pool *p = pool_new(3);
    pthread_t other;
    void *wrong = NULL;
    assert_int_equal(pthread_create(&other, NULL, use_pool, p), 0);
    assert_null(use_pool(p));
    pthread_join(other, &wrong);
    assert_null(wrong);
    pool_free(p);
}

/* Runs of a loop of two chunks: each worker has one, and waits for the other. */
static void meet(void *data, int64_t chunk, int worker)
{
    (void)chunk;
    (void)worker;
    atomic_int *here = data;
    atomic_fetch_add(here, 1);
    while (atomic_load(here) < 2)
        sched_yield();
}

enum { AHEAD_BYTES = 4 << 20 };

static char *untouched(void)
{
    char *p = mmap(NULL, AHEAD_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    madvise(p, AHEAD_BYTES, MADV_NOHUGEPAGE);
    return p;
}

static bool touched(char *p)
{
    unsigned char in;
    const long page = sysconf(_SC_PAGESIZE);
    assert_int_equal(mincore(p, (size_t)page, &in), 0);
    return in & 1;
}

/* The first part of what is expected, and nothing else. */
static void waiting_workers_read_ahead(void **state)
{
    (void)state;
    struct pool *p = pool_new(2);
    char *const memory = untouched(), *const half = memory + AHEAD_BYTES / 2;
    const bool can = pool_threads(p) == 2 && pool_cpus() >= 2 && !touched(half);
    for (int loop = 0; can && !touched(half); loop++) {
        atomic_int here = 0;
        pool_expect(p, 1, half, AHEAD_BYTES / 2);
        pool_for_runs(p, 2, meet, &here, NULL);
        for (int i = 0; i < 1000 && !touched(half); i++)
            sched_yield();
        assert_in_range(loop, 0, 100000);
    }
    pool_expect_nothing(p);
    assert_false(touched(memory));
    assert_false(touched(memory + AHEAD_BYTES - 4096));
    munmap(memory, AHEAD_BYTES);
    pool_free(p);
    if (!can)
        skip();
}

/* Once nothing is expected, nobody reads, and no loop brings it back. */
static void memory_may_go(void **state)
{
    (void)state;
    struct pool *p = pool_new(2);
    for (int i = 0; i < 2000; i++) {
        atomic_int here = 0, again = 0;
        char *memory = untouched();
        if (pool_threads(p) == 2)
            pool_expect(p, 1, memory, AHEAD_BYTES);
        if (i % 3 && pool_threads(p) == 2)
            pool_for_runs(p, 2, meet, &here, NULL);
        if (i % 2 && pool_threads(p) == 2)
            pool_expect(p, 1, memory, AHEAD_BYTES);
        pool_expect_nothing(p);
        munmap(memory, AHEAD_BYTES);
        if (pool_threads(p) == 2)
            pool_for_runs(p, 2, meet, &again, NULL);
    }
    pool_free(p);
}

static void odd_sizes(void **state)
{
    (void)state;
    struct pool *p = pool_new(-3);
    assert_int_equal(pool_threads(p), 1);
    pool_free(p);
    pool_free(NULL);
    assert_true(pool_cpus() >= 1);
    assert_int_equal(pool_chunks(0, 64), 0);
    assert_int_equal(pool_chunks(64, 64), 1);
    assert_int_equal(pool_chunks(65, 64), 2);
    assert_int_equal(pool_chunks(INT64_MAX, 2), INT64_MAX / 2 + 1);
}

UNIT_MAIN(CASE(each_chunk_once_and_same_bits),
          CASE(many_short_loops),
          CASE(nested_loops_run_inline),
          CASE(workers_are_those_of_the_pool),
          CASE(cancelling_leaves_chunks_out),
          CASE(two_users_do_not_meet),
          CASE(waiting_workers_read_ahead),
          CASE(memory_may_go),
          CASE(odd_sizes))
