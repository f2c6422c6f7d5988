/* SPDX-License-Identifier: MIT */
/* A run that is brought under one plan after the other, and goes back no further than to the first
 * node at which they differ. */
#ifndef QDB_STUDY_FOLLOW_H
#define QDB_STUDY_FOLLOW_H

#include "engine/run.h"

/* The transforms of the plan that a run is under, with their handles. Zero-initialise. */
struct follower {
    struct plan_transform *transforms;
    int *handles;
    size_t n_transforms;
};

/* Bring the run of the model under the plan (NULL: as its file has it), whose transforms' data must
 * stay until follower_settle. */
void follow(struct follower *f, struct run *r, const struct model *m, const struct plan *plan);
/* The data of transforms will be gone: those that plan_transform.same tells are remembered, the
 * rest is taken off the run. */
void follower_settle(struct follower *f, struct run *r);
void follower_free(struct follower *f);

#endif
