/* SPDX-License-Identifier: MIT */
/* `task FILE`, for the verb task. */
#ifndef QDB_COMMAND_VERBS_TASK_H
#define QDB_COMMAND_VERBS_TASK_H

#include "command/command.h"

NODISCARD enum st task_file(struct session *s, const struct call *c, struct result *out,
                            struct err *e);

#endif
