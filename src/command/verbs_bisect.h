/* SPDX-License-Identifier: MIT */
/* What other verbs need of the metric. */
#ifndef QDB_COMMAND_VERBS_BISECT_H
#define QDB_COMMAND_VERBS_BISECT_H

#include "command/command.h"

/* As it is typed. */
void metric_print(const struct session *s, const struct metric *metric, struct buf *out);
/* ST_STATE when the session's metric is about tokens that the model does not have. */
NODISCARD enum st metric_fits(const struct session *s, const struct session_model *m,
                              struct err *e);

#endif
