/* SPDX-License-Identifier: MIT */
/* The recorder: statistics of chosen points of a run as they are produced, and their numbers as
 * long as memory allows. What is recorded is read without being computed again. */
#ifndef QDB_ENGINE_RECORD_H
#define QDB_ENGINE_RECORD_H

#include "engine/run.h"
#include "kernels/statistics.h"

/* One point of one span. */
struct recorded {
    int span;
    struct summary summary;
    struct shape shape;
    float *data; /* NULL: statistics alone */
};

enum record_how { RECORD_OFF, RECORD_ON, RECORD_OPENED /* inside fused kernels too */ };

/* From here on; what lies behind is recorded when it is run again. Off forgets what there is. */
void run_record(struct run *r, int value, enum record_how how);
/* NULL: it is not recorded. Borrowed until the run moves or changes. */
const struct recorded *run_recorded(const struct run *r, int span, int value);

struct record_use {
    int points, hidden;     /* that are chosen; those inside fused kernels, which stay closed */
    int64_t entries, whole; /* recorded, and those of them with their numbers */
    size_t bytes, limit; /* of numbers: a quarter of the memory budget at most */
};
struct record_use run_record_use(const struct run *r);

#endif
