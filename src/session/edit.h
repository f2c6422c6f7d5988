/* SPDX-License-Identifier: MIT */
/* Edits: what a change does to the elements of an activation, or a weight, that a slice names. */
#ifndef QDB_SESSION_EDIT_H
#define QDB_SESSION_EDIT_H

#include <stdint.h>

#include "base/error.h"
#include "graph/address.h"
#include "kernels/numeric.h"
#include "session/view.h"

/* What the slice of an address means in one run, for good: indices from the end are those of the
 * tokens that the run had then, an open range also takes the tokens that come later. */
struct chosen {
    struct index item[SHAPE_MAX];
};
/* s: of the point, unresolved; tokens: of the run. The slice must fit the shape (region_check). */
void chosen_of(const struct address *a, const struct shape *s, int64_t tokens, struct chosen *out);
/* Which of the chosen entries of dimension d is this one? -1: none. */
int64_t chosen_ordinal(const struct chosen *x, int d, int64_t entry);

enum edit_op {
    EDIT_SET,   /* x = number */
    EDIT_SCALE, /* x = x * number, in float32 */
    EDIT_ADD,   /* x = x + number, in float32 */
    EDIT_COPY,  /* x = data, the chosen entries of each axis in order */
    EDIT_ROUND  /* x rounded to format (session/round.h); data: static ranges; no slice */
};

struct edit {
    enum edit_op op;
    float number;
    struct view data; /* EDIT_COPY: [SHAPE_MAX] dimensions or fewer, see edit_fit */
    struct numeric format; /* EDIT_ROUND */
};

/* Make *v fit a target with these dimensions, n entries chosen of each (-1 = not known yet): its
 * axes are found by name, or from the last one on where names do not say; an axis it lacks or has
 * one entry of holds for all. ST_RANGE when it does not fit. */
NODISCARD enum st edit_fit(struct view *v, const struct shape *target, struct err *e);

/* Apply to x, the activation of one span in this resolved shape; first: number in the run of the
 * span's first token. Elements beyond the data of EDIT_COPY keep their value. */
void edit_apply(const struct edit *edit, const struct chosen *chosen, const struct shape *shape,
                int64_t first, float *x);

/* The chosen elements of x become those of `from`, which has the same shape. */
void edit_splice(const struct chosen *chosen, const struct shape *shape, int64_t first,
                 const float *from, float *x);

#endif
