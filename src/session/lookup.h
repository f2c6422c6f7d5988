/* SPDX-License-Identifier: MIT */
/* Lookup: what an address stands for in a session, as dense numbers that remember where they came from. */
#ifndef QDB_SESSION_LOOKUP_H
#define QDB_SESSION_LOOKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/run.h"
#include "graph/address.h"
#include "session/runs.h"

struct session;

/* Numbers with named axes. rank 0 is a single number. */
struct view {
    struct shape shape;
    float *data;               /* mem_alloc; row-major */
    int64_t *index[SHAPE_MAX]; /* of each dimension: the original index of each entry */
    char *name;                /* of what it shows: canonical address or expression; NULL if nothing fits */
    struct session_run *run;   /* of activations: tells what the tokens are; NULL for weights and computed things */
    int value;                 /* value of the graph, -1 for weights and computed things */
    const struct weight *weight;
};

void view_free(struct view *v);
int64_t view_count(const struct view *v);
/* An uninitialised view of this shape; index filled 0, 1, 2, ... */
NODISCARD enum st view_new(const struct shape *s, const char *name, struct view *out, struct err *e);
/* One number. */
NODISCARD enum st view_scalar(double x, struct view *out, struct err *e);

/* The model, and the run if there is one, that `who!` of an address names. */
NODISCARD enum st lookup_who(struct session *s, const struct address *a, struct session_model **m,
                             struct session_run **r, struct err *e);
/* Names that the address' glob matches, weights in file order, then points in graph order; with their kind.
 * ST_NOTFOUND with "did you mean" when there are none. The names are borrowed views; the caller frees *out. */
struct match {
    struct str name;
    const struct weight *weight; /* NULL for points */
    int value;                   /* -1 for weights */
    struct shape shape;          /* of a point, unresolved; of a weight, resolved */
};
NODISCARD enum st lookup_names(struct session *s, const struct address *a, struct match **out, size_t *n,
                               struct err *e);
/* Shape of a weight: [chan], [row][col] or [exp][row][col]. */
struct shape weight_shape(const struct weight *w);
/* Read what one match holds, sliced. Tokens are those of the run: of all spans in which the point has been
 * produced, or of the span that `@sN` names; where the axis key is longer in one span than in another, the
 * shorter rows are filled up with what masked keys hold (0; scores: -inf). */
NODISCARD enum st lookup_read(struct session *s, const struct address *a, const struct match *m, struct view *out,
                              struct err *e);
/* The only match of the address, read. ST_SYNTAX when a glob matches several. */
NODISCARD enum st lookup_one(struct session *s, const struct address *a, struct view *out, struct err *e);
/* Parse and read; columns of errors are those of text. */
NODISCARD enum st lookup_text(struct session *s, struct str text, struct view *out, struct err *e);

#endif
