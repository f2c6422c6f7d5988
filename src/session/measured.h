/* SPDX-License-Identifier: MIT */
/* What a change did to the output: the KL on the half `tune` before it and behind it. */
#ifndef QDB_SESSION_MEASURED_H
#define QDB_SESSION_MEASURED_H

#include "session/measure.h"

struct measured {
    struct divergence now;
    struct clustered_mean was;    /* mean KL before; NaN if unknown */
    bool was_itself, is_itself;   /* 0 by definition: no change of the reference held, or holds */
    struct clustered_mean change; /* of KL, now minus before, paired by segment; NaN if unknown */
    bool itself;                  /* the reference is the file itself */
    enum compute mode;
    double floor; /* of mode fast; NaN in others, and when the measurement ended before it */
    struct changes_left left;
};

/* What holds before a change is entered. */
struct measured_before {
    bool known; /* false: there is no evaluation set, or nothing can be measured */
    struct subject x;
    bool unchanged; /* its plan is empty */
    uint64_t key;
};

/* Nothing is measured yet. Free with measured_before_free; the changes there are must live on. */
void session_measure_before(struct session *s, struct measured_before *out);
void measured_before_free(struct measured_before *b);
/* Behind it: measures what holds now, and beside it, a few segments each in turn, what held before
 * where that is not known. *known: false without an evaluation set, or when nothing can be
 * measured. ST_CANCELLED: *out holds the segments that were done, if *known. */
NODISCARD enum st session_measure_after(struct session *s, const struct measured_before *before,
                                        struct measured *out, bool *known, struct err *e);
/* The same of what was measured already, however far; false: that is nothing. It costs nothing. */
bool session_measure_known(struct session *s, const struct measured_before *before,
                           struct measured *out);
/* What is remembered belongs to an evaluator that goes. */
void session_measured_forget(struct session *s);

#endif
