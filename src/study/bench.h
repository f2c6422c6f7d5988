/* SPDX-License-Identifier: MIT */
/* Benchmarks: what the machine can do at most, and how near kernels and models come to it. Rates
 * are of wall time. */
#ifndef QDB_STUDY_BENCH_H
#define QDB_STUDY_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/progress.h"
#include "engine/run.h"
#include "kernels/matrix.h"
#include "kernels/peak.h"

/* What was measured several times. */
struct bench_samples {
    double median, least, most;
    int n; /* 0: nothing was measured */
};

enum { BENCH_MAX_SAMPLES = 100 };

/* v [n] is sorted by it. */
struct bench_samples bench_samples_of(double *v, int n);

/* Seconds per call of fn(data, i), i counting up: some samples that take `seconds` together, each
 * of as many calls as fit. The first call warms up and says how many; when it alone takes longer it
 * is the only sample. */
typedef void bench_fn(void *data, int64_t i);
NODISCARD enum st bench_measure(bench_fn *fn, void *data, double seconds, struct progress *p,
                                struct bench_samples *out, struct err *e);

/* ---------------------------------------------------------------- the machine */

enum bench_limit {
    LIMIT_READ,
    LIMIT_READ_AHEAD,
    LIMIT_MUL_ADD,
    LIMIT_FMA,
    LIMIT_DOT8,
    LIMIT_BF16,
    LIMIT_TILE8,
    LIMIT_TILE_BF16,
    LIMIT__COUNT
};

/* Per second, the best of some samples: bytes for the first two, else operations (a multiplication
 * and an addition are two). 0: this machine, or the level in use, has no such instructions. */
struct bench_machine {
    double limit[LIMIT__COUNT];
};

const char *bench_limit_name(enum bench_limit l);
/* The instructions, "" if there are none. */
const char *bench_limit_how(enum bench_limit l);
/* One limit with the threads of the pool; bytes: the memory that is walked through; seconds: how
 * long to measure. */
NODISCARD enum st bench_limit_of(enum bench_limit l, struct pool *pool, size_t bytes,
                                 double seconds, struct progress *p, double *rate, struct err *e);
/* What bounds the operations of a product at the level in use. */
enum bench_limit bench_limit_for(enum format f, enum compute mode);
/* Bytes to walk through so that caches do not help: 160 MiB per thread, at most 2 GiB. */
size_t bench_bytes(const struct pool *pool);

/* ---------------------------------------------------------------- kernels */

enum bench_task {
    BENCH_PRODUCT, /* of a matrix */
    BENCH_DECODE,  /* weights to floats */
    BENCH_SUMMARY, /* summary_of floats */
};

/* One figure to be measured. */
struct bench_kernel {
    enum format format;
    enum bench_task task;
    enum compute mode; /* of a product, as the tokens */
    int64_t tokens;
};

enum { BENCH_COLS = 2048 /* of the weight */ };

/* All per second. share: what the machine would need at least, the larger of bytes / LIMIT_READ and
 * operations / peak, over what it took; the peak is that of bench_limit_for. */
struct bench_rate {
    double bytes; /* of weights */
    double ops;   /* 2 * rows * cols * tokens; 0 but for products */
    double share; /* 0..1 and a little more where caches help */
    double to_c;  /* time of level c over that of the level in use */
};

/* Weights of one format in memory, walked through slice by slice so that caches do not help. */
struct bench_weights;
NODISCARD enum st bench_weights_new(enum format f, size_t bytes, struct pool *pool,
                                    struct bench_weights **out, struct err *e);
void bench_weights_free(struct bench_weights *w);
/* Does this build compute the format in this mode? */
bool bench_has(enum format f, enum compute mode);

/* seconds: how long to measure at the level in use, and at most as long at level c. The level in
 * use is forced for a while: not while other threads compute. */
NODISCARD enum st bench_kernel_of(const struct bench_kernel *k, struct bench_weights *w,
                                  const struct bench_machine *m, struct pool *pool, double seconds,
                                  struct progress *p, struct bench_rate *out, struct err *e);

/* ---------------------------------------------------------------- encoders */

/* Weights to encode: rows of BENCH_COLS normal numbers of standard deviation 0.02, rounded to f16,
 * and importances, e^(2 z) of normal z. */
struct bench_source;
NODISCARD enum st bench_source_new(size_t bytes, struct bench_source **out, struct err *e);
void bench_source_free(struct bench_source *s);

/* [0] without importances, [1] with. */
struct bench_encoded {
    double bytes[2];  /* of f16 encoded per second, decoding it from f16 included */
    double relerr[2]; /* of what is decoded again; squares weighted by importance in [1] */
};
/* seconds: how long to measure. encode_missing(f) must be NULL. */
NODISCARD enum st bench_encode_of(enum format f, const struct bench_source *s, struct pool *pool,
                                  double seconds, struct progress *p, struct bench_encoded *out,
                                  struct err *e);

/* ---------------------------------------------------------------- models */

struct bench_model {
    int64_t prompt, generate; /* tokens, either may be 0 */
    int repetitions;
    uint64_t seed;
};

struct bench_model_result {
    struct bench_samples prompt;   /* tokens/s */
    struct bench_samples generate; /* tokens/s */
    double first_token;            /* s; NAN if not measured */
    uint64_t bytes_per_token;      /* of weights read to decode one token */
};

/* Random tokens through the model. Prompt: b->prompt tokens as one input, up to the logits of the
 * last one; once to warm up, which also gives the time to the first token, then b->repetitions
 * times. Generation: b->generate tokens, one at a time, from an empty context. On ST_CANCELLED *out
 * holds what is done. */
NODISCARD enum st bench_model_of(const struct model *m, const struct run_options *o,
                                 const struct bench_model *b, struct progress *p,
                                 struct bench_model_result *out, struct err *e);
/* ---------------------------------------------------------------- toggles */

/* What is timed, and how much of it. */
enum bench_toggle {
    TOGGLE_WHOLE, /* an evaluation that knows nothing: model and reference, all blocks */
    TOGGLE_LATE,  /* a change in the first block of the last tenth */
    TOGGLE_FIRST, /* a change in the first block */
    TOGGLE__COUNT
};
struct bench_toggles {
    int block[TOGGLE__COUNT];            /* of the change; -1: none */
    const struct weight *w[TOGGLE__COUNT]; /* NULL: none */
    double seconds[TOGGLE__COUNT][BENCH_MAX_SAMPLES];
    double ops[TOGGLE__COUNT]; /* of products, 2 per weight and token; NAN with experts */
    int rounds;                /* done */
    int64_t segments, tokens, scored; /* tokens: of each segment, as scored */
};

/* Half of EVALUATION_SEGMENTS segments of random tokens, measured under plans that differ in the
 * first matrix of a block: in every round it is encoded anew (q4_0 and q5_0 in turn, or what their
 * rows fall back to) and measured beside the model as its file has it, by an evaluator that may
 * keep `memory` bytes. A round before them warms up. On ST_CANCELLED *out holds what is done. */
NODISCARD enum st bench_toggle_of(const struct model *m, const struct run_options *o,
                                  size_t memory, int rounds, uint64_t seed, struct progress *p,
                                  struct bench_toggles *out, struct err *e);

/* The most memory that this process has had in use at a time (VmHWM), 0 if unknown. */
uint64_t bench_process_peak(void);

double bench_now(void); /* seconds, monotonic */

#endif
