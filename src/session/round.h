/* SPDX-License-Identifier: MIT */
/* Activations rounded to a numeric format: per token, group, channel or tensor, by ranges of the
 * moment or by ranges measured beforehand. */
#ifndef QDB_SESSION_ROUND_H
#define QDB_SESSION_ROUND_H

#include "session/changes.h"

/* A point, and what it is to be rounded to; f32: to nothing. */
struct round_point {
    int value;
    struct numeric format;
};
bool round_nothing(const struct numeric *f);
/* Every target of the change is rounded to f whenever it is produced: a token is a row [all its
 * channels], where tokens are not the first axis each row of the last axis is. Static ranges are
 * those of the active run now, over all tokens that it has produced. ST_RANGE when the format does
 * not fit, ST_UNSUPPORTED when nothing writes it, ST_STATE when there is nothing to measure. */
NODISCARD enum st change_round(struct session *s, struct change *c, const struct numeric *f,
                               struct err *e);
/* Add what the layers that read the weights of the change read as targets, and round that. */
NODISCARD enum st change_round_inputs(struct session *s, struct change *c, const struct numeric *f,
                                      struct err *e);
/* Add these points as targets, each rounded to its own format. */
NODISCARD enum st change_round_points(struct session *s, struct change *c,
                                      const struct round_point *list, size_t n, struct err *e);
/* A number that two targets have in common when they round alike; not 0. */
uint64_t round_same(const struct change_target *t);
/* Round x of this resolved shape; values that are not finite leave all as it is. */
void round_apply(const struct edit *edit, const struct shape *shape, float *x);

#endif
