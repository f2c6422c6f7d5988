/* SPDX-License-Identifier: MIT */
/* What `record` and `info record` show. */
#ifndef QDB_COMMAND_VERBS_RECORD_H
#define QDB_COMMAND_VERBS_RECORD_H

#include "command/command.h"

enum st record_show(struct session *s, struct result *out, struct err *e);

#endif
