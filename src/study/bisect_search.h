/* SPDX-License-Identifier: MIT */
/* A bisection under way: what its parts share. */
#ifndef QDB_STUDY_BISECT_SEARCH_H
#define QDB_STUDY_BISECT_SEARCH_H

#include "study/bisect.h"

struct search {
    const struct bisect_task *t;
    struct bisect *out;
    struct progress *front;
    struct measurement before;
    enum bisect_level level;
    int64_t screen;        /* segments on which places are compared */
    bool *mended;          /* [n_parts] under test */
    struct form **partly;  /* [n_parts] in the place of what is mended; NULL = the whole */
    double done, expected; /* measurements */
    double target;         /* share to be reached */
};

/* A place under test. */
struct group {
    char *name;
    int *members; /* parts of the task */
    int n, depth; /* depth: first node that reads one, or whose value is edited */
    int change;   /* of the edit that it is; 0 = none */
    double alone; /* share by itself, on the first segments; NaN when not measured */
    double gain;  /* share that it adds */
    double with;  /* share, on the first segments, of the set that it was added to and it */
    int fresh;    /* size of the set that it was added to; -1 = never */
    bool in;
};

/* Measure under a plan, showing progress. */
NODISCARD enum st search_measure(struct search *s, const struct plan *plan, struct measurement *m,
                                 struct err *e);
/* Measure what is mended now on the first `segments`. *share: explained; *screened (may be NULL):
 * on the first `screen` of them. place: for the step. */
NODISCARD enum st search_try(struct search *s, int64_t segments, enum bisect_act act,
                             const char *place, int64_t places, double *share, double *screened,
                             struct err *e);
/* Mend the groups that are in, but for one (NULL: none); nothing else. Returns how many. */
int search_mend(struct search *s, const struct group *g, int n, const struct group *but);
/* Mark the groups that explain the target, 1-minimally. */
NODISCARD enum st search_set(struct search *s, struct group *g, int n, struct err *e);
/* Which rows of weight i must be mended, every other weight being as it is now: replaces the place
 * of the weight, number `place` of the result, by its rows where they are few. */
NODISCARD enum st search_rows(struct search *s, size_t place, struct err *e);

/* Mend these rows of weight i, and no others. */
NODISCARD enum st search_mend_rows(struct search *s, int i, const int64_t *rows, int64_t n,
                                   struct err *e);
/* Of weight i, which is mended in part: mend the other rows instead. */
NODISCARD enum st search_complement(struct search *s, int i, struct err *e);

#endif
