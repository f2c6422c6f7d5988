/* SPDX-License-Identifier: MIT */
/* Measuring the active model against the reference on the resident evaluation set: one evaluator
 * serves every command until the set, a model, the mode or the level of kernels changes. */
#ifndef QDB_SESSION_MEASURE_H
#define QDB_SESSION_MEASURE_H

#include "session/session.h"
#include "study/evaluator.h"

/* The halves of the set. */
#define PART_TUNE  ((struct evaluation_part){ .from = 0, .step = 2 })
#define PART_CHECK ((struct evaluation_part){ .from = 1, .step = 2 })
#define PART_ALL   ((struct evaluation_part){ .from = 0, .step = 1 })

/* What is measured: the active model under its changes, beside the reference. */
struct subject {
    struct session_model *model;
    struct session_model *ref; /* the model itself, as its file has it, when there is no other */
    struct plan plan;          /* the changes */
    struct changes_left left;  /* of them: see changes_plan */
};
/* ST_STATE without a reference and without a change, unless `alone` allows that. Free with
 * subject_free, before a change is made or taken back. */
NODISCARD enum st subject_of(struct session *s, bool alone, struct subject *out, struct err *e);
/* The same over the tokens of run r of the model (changes_plan_run): another plan for x. */
void subject_on_run(const struct session *s, const struct session_run *r, struct subject *x);
void subject_free(struct subject *x);
/* The evaluator of the resident set, ST_STATE without one. It stays the session's. */
NODISCARD enum st session_evaluator(struct session *s, const struct subject *x,
                                    struct evaluator **out, struct err *e);
/* Is it there, and for this subject in the mode and at the level of now? */
bool session_evaluator_serves(struct session *s, const struct subject *x);
/* An evaluator of another set, which it borrows; the caller frees it. memory: see struct
 * evaluation. */
NODISCARD enum st subject_evaluator(struct session *s, const struct subject *x,
                                    const struct evaluation_set *set, size_t memory,
                                    struct evaluator **out, struct err *e);
/* Bytes that an evaluator may keep. */
size_t session_measure_memory(void);
/* A command that measured is done: nothing of its plans is looked at any more. */
void session_measure_settle(struct session *s);
/* A model or the set goes. */
void session_measure_forget(struct session *s);

#endif
