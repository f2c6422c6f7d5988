/* SPDX-License-Identifier: MIT */
/* Thread pool: a loop over chunks, shared by threads; the result never depends on how many. */
#ifndef QDB_KERNELS_POOL_H
#define QDB_KERNELS_POOL_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool;

enum { POOL_MAX_THREADS = 256 };

/* One chunk of a loop. `worker` is 0 .. pool_threads() - 1, for scratch memory that two chunks must
 * not share at one time; which worker runs a chunk is chance, so results must not depend on it. */
typedef void pool_fn(void *data, int64_t chunk, int worker);

/* A pool of `threads` threads, the caller of pool_for among them; fewer when the system refuses
 * some; NULL, a valid pool of one thread, when nothing can be had. Workers take no signals. */
struct pool *pool_new(int threads);
void pool_free(struct pool *p);
int pool_threads(const struct pool *p); /* 1 for NULL */
int pool_cpus(void);                    /* CPUs this process may use, at least 1 */

/* Call fn(data, chunk, worker) once for every chunk in 0 .. chunks - 1, and return when all are
 * done. What a chunk is must be decided from the problem's size alone. Chunks are handed out in
 * ascending order. Called from inside a chunk, or while another thread uses the pool, the loop runs
 * on the calling thread alone. `cancel` (may be NULL) is polled between chunks; false: some chunks
 * were left out because of it. */
bool pool_for(struct pool *p, int64_t chunks, pool_fn *fn, void *data,
              const volatile sig_atomic_t *cancel);

/* The same, but each worker begins with its own run of neighbouring chunks, and goes on with the
 * second half of the longest run that others have left: for chunks that read memory, which streams
 * best in one piece. More than INT32_MAX chunks are handed out as by pool_for. */
bool pool_for_runs(struct pool *p, int64_t chunks, pool_fn *fn, void *data,
                   const volatile sig_atomic_t *cancel);

/* The first chunk of a worker's run; of the worker after the last one, their end. */
int64_t pool_run_first(const struct pool *p, int64_t chunks, int worker);

/* What a worker, 1 .. pool_threads() - 1, will read first in the loop in runs after the next one.
 * When it has nothing to do it reads that into its cache while it waits for that loop. Told before
 * the next loop in runs, by the one thread that runs loops. */
void pool_expect(struct pool *p, int worker, const void *data, size_t bytes);
/* Nothing of that any more: when this returns nobody reads, and the memory may go. */
void pool_expect_nothing(struct pool *p);

/* Chunks of `size` that cover n things. */
static inline int64_t pool_chunks(int64_t n, int64_t size) { return n / size + (n % size != 0); }

#endif
