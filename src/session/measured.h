/* SPDX-License-Identifier: MIT */
/* What a change did to the output: the KL on the half `tune` before it and behind it. */
#ifndef QDB_SESSION_MEASURED_H
#define QDB_SESSION_MEASURED_H

#include "session/measure.h"

struct measured {
    struct divergence now;
    struct clustered_mean was;    /* mean KL before */
    struct clustered_mean change; /* of KL, now minus before, paired by segment; NaN if unknown */
    bool itself;                  /* the reference is the file itself */
    enum compute mode;
    size_t left_out; /* changes that an evaluation leaves out */
};

/* Call before a change is entered: remembers the figure of what holds, unless it is known. Nothing
 * happens without a resident set. */
NODISCARD enum st session_measure_before(struct session *s, struct err *e);
/* Behind it. *known: false without a resident set, or when nothing can be measured. ST_CANCELLED:
 * *out holds the segments that were done, if *known. */
NODISCARD enum st session_measure_after(struct session *s, struct measured *out, bool *known,
                                        struct err *e);
/* What is remembered belongs to an evaluator that goes. */
void session_measured_forget(struct session *s);

#endif
