/* SPDX-License-Identifier: MIT */
/* `outliers`. */
#ifndef QDB_COMMAND_VERBS_OUTLIERS_H
#define QDB_COMMAND_VERBS_OUTLIERS_H

#include "command/command.h"

enum st run_outliers(struct session *s, const struct call *c, struct result *out, struct err *e);

#endif
