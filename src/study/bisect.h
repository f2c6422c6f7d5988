/* SPDX-License-Identifier: MIT */
/* Bisection of the damage that a model's weights, and edits of its points, do: which places, given
 * the numbers of the reference, or left unedited, take most of the distance to it away. Sets are
 * always measured jointly. */
#ifndef QDB_STUDY_BISECT_H
#define QDB_STUDY_BISECT_H

#include "study/evaluator.h"

enum {
    BISECT_ROWS = 16 /* that a weight is split into at most */,
    BISECT_PLACES = 8,
    BISECT_ROUNDS = 4 /* in which each row is tried to be left out */
};
enum bisect_level { BISECT_BLOCK, BISECT_SUB, BISECT_WEIGHT, BISECT_CHANNEL };
const char *bisect_level_name(enum bisect_level l); /* "block" "sub" "weight" "channel" */

/* What the reference does not have: a weight with other numbers, or an edit of a point, which is
 * mended by leaving it out. Everything is borrowed. */
struct bisect_part {
    const struct weight *w; /* of the model's file; NULL: an edit */
    struct form *now;       /* what stands for it, NULL = the file's own */
    struct form *mended;    /* what the reference has, NULL = the file's own */
    size_t transform;       /* of an edit: its number in the plan */
    int change;             /* that made the edit; 0 = not known */
};

struct bisect_task {
    struct evaluator *ev;
    struct evaluation_part part;
    const struct plan *plan; /* what the model runs under; may be NULL */
    const struct bisect_part *parts;
    size_t n_parts;
    const struct metric *metric;
    double share;            /* of the damage that is to be explained, 0 .. 1 */
    enum bisect_level level; /* the finest */
};

/* What was measured: the set of places under test mended, the rest as it is (BISECT_ONLY: the other
 * way round). */
enum bisect_act { BISECT_ALONE, BISECT_WITH, BISECT_WITHOUT, BISECT_JOINT, BISECT_ONLY };
const char *bisect_act_name(enum bisect_act a); /* "alone" "with" ... */

struct bisect_step {
    enum bisect_level level;
    enum bisect_act act;
    char *place;    /* NULL for the whole set */
    int64_t places; /* that were mended */
    int64_t segments;
    double before, after, share; /* mean damage per token; share = 1 - after / before */
    double low, high;            /* of the share; NaN below 20 segments */
};

/* A place of the set that was found. The shares are NaN when it was not measured. */
struct bisect_place {
    enum bisect_level level;
    char *name;     /* "blk.3", "blk.3.attn", a weight or a point, or a weight with [row=N] */
    bool point;     /* edits of a point, not a weight */
    int change;     /* that made them; 0 = none, or not one */
    int64_t row;    /* -1 = none */
    int64_t rows;   /* of a weight: how many differ; 0 = not looked at */
    double alone;   /* share explained when it alone is mended */
    double without; /* share explained by the others of the set */
    int *members;   /* parts of the task */
    int n_members;
};

struct bisect {
    struct bisect_place *places; /* the largest `alone` first */
    size_t n_places, cap_places;
    struct bisect_step *steps; /* in the order of measuring */
    size_t n_steps, cap_steps;
    struct clustered_mean before, after; /* damage per token, the set as it is and mended */
    struct broken_logits broken;         /* before */
    struct clustered_mean share;         /* explained by the set jointly */
    double all;                          /* share explained when all that differs is mended */
    double only;      /* damage, as a share, when the set alone is left as it is */
    double alone_sum; /* of `alone`; NaN for a single place */
    bool reached;     /* as much as asked for; else no set explains it */
    bool minimal;     /* none of the places can be left out; false: not tried to the end */
    bool complete;    /* false: interrupted; the places are those of the last level that was done */
};

/* Blocks first, then sub-layers of those found, then weights and points of those, then rows of
 * weights. At each level places are added, the one that explains most beside those already there
 * first, until the share is reached; then each is taken out again that the rest can do without,
 * until none can: the set is 1-minimal. Places are compared on the first segments, sets are judged
 * on all. Rows are ordered by their error, and the fewest of them sought that do; a weight that
 * needs more than BISECT_ROWS stays whole, and so do all of more than BISECT_PLACES weights. Then
 * each row, of all weights, is tried to be left out, until none can, or BISECT_ROUNDS times as many
 * sets have been measured as there were places. ST_STATE when there is no damage; ST_CANCELLED
 * leaves in *out what had been found. Free with bisect_free, always. */
NODISCARD enum st bisect_run(const struct bisect_task *t, struct progress *p, struct bisect *out,
                             struct err *e);
void bisect_free(struct bisect *b);

#endif
