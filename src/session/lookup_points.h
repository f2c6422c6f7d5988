/* SPDX-License-Identifier: MIT */
/* The points among what an address names: which spans hold them, and their elements in a view. */
#ifndef QDB_SESSION_LOOKUP_POINTS_H
#define QDB_SESSION_LOOKUP_POINTS_H

#include "session/lookup.h"
#include "session/reference.h"

/* Where a point is read: spans [first, end) of a run, or what the reference has in their place. */
struct point_spans {
    struct session_run *r;
    int first, end;
    struct ref_source *ref; /* NULL: the run itself */
};

/* Spans of the run that hold the point: all that are through, or the one that @ names. */
NODISCARD enum st points_spans(const struct session_run *r, const struct address *a, int value,
                               int *first, int *end, struct err *e);
/* Spans of out->r in which the reference, brought that far, has the point, whether the run has come
 * to it or not; *ref is filled, and used by *out. Errors as session_reference(). */
NODISCARD enum st points_beside(struct session *s, const struct address *a, const struct match *m,
                                struct point_spans *out, struct ref_source *ref, struct err *e);
/* Sizes of the point over the spans: tokens of the run up to `end`, the longest key axis. */
struct shape points_shape(const struct session_run *r, const struct match *m, int end);
/* What is asked of a point, entry by entry of `lists`; td: its token dimension (-1 none), kd: its
 * key dimension (-1 none). */
NODISCARD enum st points_read(const struct point_spans *from, const struct match *m, int td, int kd,
                              int64_t *const *lists, struct view *v, struct err *e);
NODISCARD enum st points_read_captured(const struct match *m, int64_t *const *lists, struct view *v,
                                       struct err *e);

#endif
