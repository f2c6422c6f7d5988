/* SPDX-License-Identifier: MIT */
/* The planter: copies of a model file with one fault put in where a test says. */
#ifndef QDB_TESTS_HARNESS_PLANT_H
#define QDB_TESTS_HARNESS_PLANT_H

#include "engine/run.h"

/* A file as it was. */
struct original {
    char *bytes;
    size_t n;
    struct model *m;
};

/* Fails the case when it cannot be opened. */
struct original original_open(const char *path);
void original_free(struct original *o);
/* All bytes, to be spoiled; the caller frees. */
char *original_copy(const struct original *o);
/* Where block `block` of a row of the weight lies in a copy. */
uint8_t *plant_at(const struct original *o, char *copy, const struct weight *w, int64_t row,
                  int64_t block);
/* A matrix of this format, drawn; the embedding too. */
const struct weight *plant_draw(const struct original *o, const char *format, uint64_t *seed);

enum { PLANT_PATH = 32 };
/* Write the copy to a file of its own, which the caller removes. */
void plant_write(const struct original *o, const char *copy, char path[PLANT_PATH]);
/* The copy as a model; its file is gone already. */
struct model *plant_model(const struct original *o, const char *copy);

/* A run of these tokens through the whole model. */
struct run *plant_run(const struct model *m, enum compute mode, const int32_t *ids, int64_t n);

/* How a tool did: plants that it found; what it said, and how much of that was the plant. */
struct plant_score {
    int plants, found, claims, right;
};
/* One plant more. */
void plant_score_add(struct plant_score *s, int claims, int right);
/* All were found, and of 100 claims 95 are right; the figures are printed. */
void plant_score_expect(const char *what, const struct plant_score *s);

#endif
