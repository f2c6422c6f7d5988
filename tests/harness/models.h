/* SPDX-License-Identifier: MIT */
/* Models and runs for tests: opened or built, run to the end, read; what fails, fails the case. */
#ifndef QDB_TESTS_HARNESS_MODELS_H
#define QDB_TESTS_HARNESS_MODELS_H

#include "engine/run.h"
#include "tests/harness/gguf_build.h"

/* Open a file, or build one; the case fails when it does not open. Free with model_free. */
struct model *models_open(const char *path);
/* Ends the build. The image lives as long as the program. */
struct model *models_build(struct build *b);

/* The weight of that name; the case fails when there is none. */
const struct weight *models_weight(const struct model *m, const char *name);
/* All of its numbers, [rows][cols]; free. */
float *models_decoded(const struct weight *w);

/* A run of ids as sequence 0, not yet moved. Free with run_free. */
struct run *models_run(const struct model *m, const struct run_options *o, const int32_t *ids,
                       int64_t n);
/* Move to the end. */
void models_finish(struct run *r);
/* Read a point by name, as it is seen under that name; borrowed until the next call on the run. */
struct tensor models_read(struct run *r, int span, const char *point);
/* Copy of the logits (or last values) of all tokens, [tok][n]; free. */
float *models_output(struct run *r, const char *point, int64_t *n);

/* Perplexity of a text on all CPUs, in chunks of `context` tokens, `chunks` at most (0: all). */
double models_perplexity(const char *path, const char *text, enum compute mode, int64_t context,
                         int64_t chunks);

#endif
