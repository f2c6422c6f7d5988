/* SPDX-License-Identifier: MIT */
/* Thread pool: a loop over chunks, shared by threads; the result never depends on how many. */
#include "kernels/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "kernels/peak.h"

/* The gate says which loop is open and who is inside: generation in the high half, OPEN, and the
 * number of workers inside. The fields of a loop change only while the gate is closed and empty. */
#define GATE_OPEN             (UINT64_C(1) << 31)
#define GATE_INSIDE           (GATE_OPEN - 1)
#define GATE_GENERATION(gate) ((gate) >> 32)

/* Memory that is read before it is needed: by loads, since a CPU drops most of what it is asked for
 * at such a rate. A worker reads little at a time; between two pieces it looks whether there is
 * work. AHEAD_MOST leaves half of a second-level cache of 1 MiB alone. */
enum { AHEAD_MOST = 512 << 10, AHEAD_PIECE = 1 << 10, AHEAD_LINE = 64 };

struct stretch {
    const char *at, *end;
};

struct worker {
    struct pool *pool;
    int index;
    pthread_t thread;
    struct stretch next, expected; /* after the next loop in runs, after this one */
    struct stretch ahead;          /* what it has not read yet, */
    uint64_t loop;                 /* after this loop in runs */
    _Atomic bool reads;
};

/* Chunks that are left of a worker's run: the first in the low half, the end in the high one. Lines
 * of their own. */
struct run {
    _Alignas(64) _Atomic uint64_t left;
};
#define RUN(first, end)  ((uint64_t)(end) << 32 | (uint64_t)(first))
#define RUN_FIRST(left)  ((int64_t)((left) & UINT32_MAX))
#define RUN_END(left)    ((int64_t)((left) >> 32))
#define RUN_LENGTH(left) (RUN_END(left) - RUN_FIRST(left))

struct pool {
    /* One loop. */
    pool_fn *fn;
    void *data;
    const volatile sig_atomic_t *cancel;
    int64_t chunks;
    bool in_runs;
    _Atomic int64_t next; /* the first chunk nobody has taken, unless in runs */
    struct run *runs;     /* of each worker; NULL: not to be had */
    atomic_bool left_out; /* a chunk was skipped because of cancel */
    uint64_t loop; /* the number of the last loop in runs */
    _Atomic uint64_t gate;

    /* Waiting. Sleepers are counted so that the fast path takes no lock. */
    atomic_bool stop;
    atomic_int sleeping;      /* workers that wait for a generation */
    atomic_bool caller_waits; /* the caller sleeps until the gate is empty */
    int spins;                /* turns of waiting before going to sleep */
    _Atomic uint64_t ahead;   /* the loop after which reading ahead is allowed; 0: none */
    pthread_mutex_t lock;
    pthread_cond_t opened, emptied;

    pthread_mutex_t in_use;
    int threads; /* the caller and the workers */
    struct worker workers[];
};

/* The pool whose chunk this thread is in, and its number there: a loop inside runs inline. */
static _Thread_local const struct pool *inside;
static _Thread_local int inside_as;

static inline void relax(void)
{
#if defined __x86_64__ || defined __i386__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("yield");
#endif
}

/* Set by a signal handler of another thread, perhaps. */
static inline bool cancelled(const volatile sig_atomic_t *cancel)
{
    return cancel && __atomic_load_n(cancel, __ATOMIC_RELAXED);
}

static bool run_inline(int64_t chunks, pool_fn *fn, void *data, const volatile sig_atomic_t *cancel,
                       int worker)
{
    for (int64_t i = 0; i < chunks; i++) {
        if (cancelled(cancel))
            return false;
        fn(data, i, worker);
    }
    return true;
}

/* A chunk of the worker's own run. When that is empty, the second half of the longest run becomes
 * its own, so that it reads memory in one piece again. -1: none is left. */
static int64_t take_of_runs(struct pool *p, int worker)
{
    _Atomic uint64_t *own = &p->runs[worker].left;
    for (;;) {
        uint64_t left = atomic_load_explicit(own, memory_order_relaxed);
        while (RUN_LENGTH(left) > 0)
            if (atomic_compare_exchange_weak(own, &left, left + RUN(1, 0)))
                return RUN_FIRST(left);
        int from = worker;
        for (int i = 0; i < p->threads; i++) {
            const uint64_t other = atomic_load_explicit(&p->runs[i].left, memory_order_relaxed);
            if (RUN_LENGTH(other) > RUN_LENGTH(left)) {
                left = other;
                from = i;
            }
        }
        if (from == worker)
            return -1;
        const int64_t middle = RUN_FIRST(left) + RUN_LENGTH(left) / 2;
        if (atomic_compare_exchange_strong(&p->runs[from].left, &left,
                                           RUN(RUN_FIRST(left), middle)))
            atomic_store(own, RUN(middle, RUN_END(left)));
    }
}

int64_t pool_run_first(const struct pool *p, int64_t chunks, int worker)
{
    return chunks * worker / pool_threads(p);
}

static int64_t take_chunk(struct pool *p, int worker)
{
    if (p->in_runs)
        return take_of_runs(p, worker);
    const int64_t i = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
    return i < p->chunks ? i : -1;
}

/* Take chunks of the open loop until there are none. */
static void run_shared(struct pool *p, int worker)
{
    inside = p;
    inside_as = worker;
    for (;;) {
        const int64_t i = take_chunk(p, worker);
        if (i < 0)
            break;
        if (cancelled(p->cancel)) {
            atomic_store(&p->left_out, true);
            break;
        }
        p->fn(p->data, i, worker);
    }
    inside = NULL;
}

/* Enter the loop if it is still open. */
static bool enter(struct pool *p)
{
    uint64_t gate = atomic_load(&p->gate);
    while (gate & GATE_OPEN)
        if (atomic_compare_exchange_weak(&p->gate, &gate, gate + 1))
            return true;
    return false;
}

/* The last one out of a closed gate wakes the caller. */
static void leave(struct pool *p)
{
    uint64_t before = atomic_fetch_sub(&p->gate, 1);
    if ((before & (GATE_OPEN | GATE_INSIDE)) == 1 && atomic_load(&p->caller_waits)) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_signal(&p->emptied);
        pthread_mutex_unlock(&p->lock);
    }
}

/* What the worker shall read when it has nothing to do. Called in a loop: nobody changes what is
 * expected. */
static void expect(const struct pool *p, struct worker *w)
{
    if (w->loop == p->loop)
        return; /* it has begun to */
    w->loop = p->loop;
    w->ahead = w->expected;
}

/* Read a piece ahead; false: there is nothing to read. */
static bool read_ahead(struct pool *p, struct worker *w)
{
    if (w->ahead.end - w->ahead.at < AHEAD_PIECE)
        return false;
    atomic_store(&w->reads, true);
    const bool allowed = atomic_load(&p->ahead) == w->loop;
    if (allowed)
        peak_read(w->ahead.at, AHEAD_PIECE, 0);
    atomic_store(&w->reads, false);
    w->ahead.at += AHEAD_PIECE;
    return allowed;
}

/* Wait until the generation is no longer `seen`, or the pool stops; returns the generation. */
static uint64_t wait_generation(struct pool *p, struct worker *w, uint64_t seen)
{
    uint64_t now;
    for (int i = 0; i < p->spins;) {
        now = GATE_GENERATION(atomic_load(&p->gate));
        if (now != seen || atomic_load(&p->stop))
            return now;
        if (!read_ahead(p, w)) {
            relax();
            i++;
        }
    }
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->sleeping, 1);
    while ((now = GATE_GENERATION(atomic_load(&p->gate))) == seen && !atomic_load(&p->stop))
        pthread_cond_wait(&p->opened, &p->lock);
    atomic_fetch_sub(&p->sleeping, 1);
    pthread_mutex_unlock(&p->lock);
    return now;
}

static void *work(void *argument)
{
    struct worker *w = argument;
    struct pool *p = w->pool;
    uint64_t seen = 0;
    for (;;) {
        seen = wait_generation(p, w, seen);
        if (atomic_load(&p->stop))
            return NULL;
        if (enter(p)) {
            run_shared(p, w->index);
            expect(p, w);
            leave(p);
        }
    }
}

static void open_gate(struct pool *p)
{
    uint64_t generation = (GATE_GENERATION(atomic_load(&p->gate)) + 1) & UINT32_MAX;
    atomic_store(&p->gate, generation << 32 | GATE_OPEN);
    int sleeping = atomic_load(&p->sleeping);
    if (sleeping == 0)
        return;
    pthread_mutex_lock(&p->lock);
    if (p->chunks - 1 >= sleeping)
        pthread_cond_broadcast(&p->opened);
    else
        for (int64_t i = 1; i < p->chunks; i++)
            pthread_cond_signal(&p->opened);
    pthread_mutex_unlock(&p->lock);
}

/* Let nobody in any more (there are no chunks left) and wait until everybody is out. */
static void close_gate(struct pool *p)
{
    atomic_fetch_and(&p->gate, ~GATE_OPEN);
    for (int i = 0; i < p->spins; i++) {
        if (!(atomic_load(&p->gate) & GATE_INSIDE))
            return;
        relax();
    }
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->caller_waits, true);
    while (atomic_load(&p->gate) & GATE_INSIDE)
        pthread_cond_wait(&p->emptied, &p->lock);
    atomic_store(&p->caller_waits, false);
    pthread_mutex_unlock(&p->lock);
}

/* A loop in runs begins: what was expected after it is what workers read ahead from now on. */
static void share_runs(struct pool *p)
{
    p->loop++;
    atomic_store(&p->ahead, p->loop);
    for (int i = 0; i < p->threads; i++) {
        struct worker *w = &p->workers[i];
        w->expected = w->next;
        w->next = (struct stretch){ 0 };
        atomic_store(&p->runs[i].left,
                     RUN(pool_run_first(p, p->chunks, i), pool_run_first(p, p->chunks, i + 1)));
    }
}

void pool_expect(struct pool *p, int worker, const void *data, size_t bytes)
{
    const size_t skip = -(uintptr_t)data % AHEAD_LINE;
    if (inside || bytes <= skip)
        return;
    bytes = bytes - skip < AHEAD_MOST ? bytes - skip : AHEAD_MOST;
    p->workers[worker].next.at = (const char *)data + skip;
    p->workers[worker].next.end = (const char *)data + skip + bytes;
}

void pool_expect_nothing(struct pool *p)
{
    if (inside)
        return;
    if (p)
        atomic_store(&p->ahead, 0);
    for (int i = 1; i < pool_threads(p); i++) {
        p->workers[i].next = (struct stretch){ 0 };
        while (atomic_load(&p->workers[i].reads))
            relax();
    }
}

static bool run_loop(struct pool *p, int64_t chunks, pool_fn *fn, void *data,
                     const volatile sig_atomic_t *cancel, bool in_runs)
{
    if (inside) /* numbers of one pool are none of another, which may have fewer threads */
        return run_inline(chunks, fn, data, cancel, inside == p ? inside_as : 0);
    if (!p || p->threads == 1 || chunks <= 1 || pthread_mutex_trylock(&p->in_use) != 0)
        return run_inline(chunks, fn, data, cancel, 0);
    p->fn = fn;
    p->data = data;
    p->cancel = cancel;
    p->chunks = chunks;
    p->in_runs = in_runs && p->runs && chunks <= INT32_MAX;
    if (p->in_runs)
        share_runs(p);
    atomic_store(&p->next, 0);
    atomic_store(&p->left_out, false);
    open_gate(p);
    run_shared(p, 0);
    close_gate(p);
    bool complete = !atomic_load(&p->left_out);
    pthread_mutex_unlock(&p->in_use);
    return complete;
}

bool pool_for(struct pool *p, int64_t chunks, pool_fn *fn, void *data,
              const volatile sig_atomic_t *cancel)
{
    return run_loop(p, chunks, fn, data, cancel, false);
}

bool pool_for_runs(struct pool *p, int64_t chunks, pool_fn *fn, void *data,
                   const volatile sig_atomic_t *cancel)
{
    return run_loop(p, chunks, fn, data, cancel, true);
}

/* Start worker number p->threads; signals stay with the threads of the caller. */
static bool start_worker(struct pool *p)
{
    struct worker *w = &p->workers[p->threads];
    sigset_t all, before;
    w->pool = p;
    w->index = p->threads;
    sigfillset(&all);
    sigdelset(&all, SIGBUS); /* a file cut short: the reader itself must hear of it */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&w->thread, NULL, work, w) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    p->threads += started;
    return started;
}

struct pool *pool_new(int threads)
{
    if (threads < 1)
        threads = 1;
    if (threads > POOL_MAX_THREADS)
        threads = POOL_MAX_THREADS;
    struct pool *p = calloc(1, sizeof *p + (size_t)threads * sizeof p->workers[0]);
    if (!p)
        return NULL;
    pthread_mutex_init(&p->lock, NULL);
    pthread_mutex_init(&p->in_use, NULL);
    pthread_cond_init(&p->opened, NULL);
    pthread_cond_init(&p->emptied, NULL);
    /* Some 25 us, longer than most of what one thread does alone between the products of a token;
     * to be woken takes 5 to 10. Spinning on a core that another one needs only delays it. */
    p->spins = threads <= pool_cpus() ? 2000 : 0;
    p->runs = aligned_alloc(_Alignof(struct run), (size_t)threads * sizeof *p->runs);
    p->threads = 1;
    while (p->threads < threads && start_worker(p))
        ;
    return p;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->stop, true);
    pthread_cond_broadcast(&p->opened);
    pthread_mutex_unlock(&p->lock);
    for (int i = 1; i < p->threads; i++)
        pthread_join(p->workers[i].thread, NULL);
    pthread_cond_destroy(&p->emptied);
    pthread_cond_destroy(&p->opened);
    pthread_mutex_destroy(&p->in_use);
    pthread_mutex_destroy(&p->lock);
    free(p->runs);
    free(p);
}

int pool_threads(const struct pool *p) { return p ? p->threads : 1; }

int pool_cpus(void)
{
#ifdef CPU_COUNT
    cpu_set_t set;
    long n = sched_getaffinity(0, sizeof set, &set) ? 0 : CPU_COUNT(&set);
#else
    long n = 0;
#endif
    if (n < 1)
        n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n < POOL_MAX_THREADS ? (int)n : POOL_MAX_THREADS;
}
