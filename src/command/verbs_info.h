/* SPDX-License-Identifier: MIT */
/* `info` and its topics. */
#ifndef QDB_COMMAND_VERBS_INFO_H
#define QDB_COMMAND_VERBS_INFO_H

#include "command/command.h"

enum st run_info(struct session *s, const struct call *c, struct result *out, struct err *e);

#define INFO_TOPICS \
    "arch|breaks|capture|changes|checkpoints|displays|formats|kernels|kv|memory|model|models|" \
    "names|plan|points|record|runs|tensors|tokenizer|tokens|values"

#endif
