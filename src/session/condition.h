/* SPDX-License-Identifier: MIT */
/* Conditions: true or false of the numbers at a point. Compiled once; evaluated where the point is
 * produced, without a copy of the data.
 *
 *   cond    = and { ("or"|"||") and }      and = not { ("and"|"&&") not }
 *   not     = ("not"|"!") not | "(" cond ")" | test
 *   test    = ("any"|"all") elem | ("count"|"frac") elem CMP number
 *           | STAT [ "(" "x" ")" ] CMP number          STAT of kernels/statistics.h
 *           | STAT "(" "ref" ["," "x"] ")" CMP number  against the reference run: relerr cos kl ...
 *           | nan | inf | finite | dead | outlier[(K)] | sat[(SHARE)] | sink[(P)] | diverge[(TOL)]
 *   elem    = "(" true or false of one element ")", or a comparison that ends with the test
 *             made of x, ref, prev (the token before), sigma, mean, rms, absmax, numbers,
 *             + - * /, abs log exp sqrt, |x|, comparisons, and or not
 *   CMP     = < <= == != >= >
 *
 * A comparison with NaN is false, but for !=. */
#ifndef QDB_SESSION_CONDITION_H
#define QDB_SESSION_CONDITION_H

#include <stdbool.h>

#include "base/error.h"
#include "base/text.h"
#include "kernels/pool.h"
#include "session/region.h"

struct condition;

/* Compile; *out is the caller's (condition_free). Errors carry columns of text. */
NODISCARD enum st condition_parse(struct str text, struct condition **out, struct err *e);
void condition_free(struct condition *c);              /* NULL is fine */
/* The words that can begin a test: its name, or NULL for some i; opens: `(` belongs behind it. */
size_t condition_words(void);
const char *condition_word(size_t i, bool *opens);
const char *condition_text(const struct condition *c); /* as it was written */

/* What the test of a point needs beside its numbers. */
bool condition_needs_ref(const struct condition *c);
bool condition_needs_prev(const struct condition *c);

struct condition_input {
    const struct region *x;
    const float *ref;  /* the same elements in the reference run, or NULL: tests of it are false */
    const float *prev; /* the same elements of the token before, NaN where there is none; or NULL */
    struct pool *pool; /* may be NULL */
};

/* Why it is true. */
struct condition_hit {
    char what[32]; /* name of the statistic or test, or "" */
    double value;  /* of it */
    int64_t at;    /* element of the region that shows it best, -1 if none does */
};

bool condition_holds(const struct condition *c, const struct condition_input *in,
                     struct condition_hit *hit);

/* The statistic `name` (a row of kernels/statistics.h that needs no reference) of a region, and the
 * element that shows it, -1 if none; false: no such statistic. */
bool region_statistic(const char *name, const struct region *x, struct pool *pool, double *value,
                      int64_t *at);

#endif
