/* SPDX-License-Identifier: MIT */
/* `bench model`. */
#ifndef QDB_COMMAND_VERBS_BENCH_H
#define QDB_COMMAND_VERBS_BENCH_H

#include "command/command.h"

enum st run_bench_model(struct session *s, const struct call *c, struct result *out, struct err *e);

#endif
