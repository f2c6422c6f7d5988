/* SPDX-License-Identifier: MIT */
/* `attn`, `entropy` and `heads`. */
#ifndef QDB_COMMAND_VERBS_ATTENTION_H
#define QDB_COMMAND_VERBS_ATTENTION_H

#include "command/command.h"

enum st run_heads(struct session *s, const struct call *c, struct result *out, struct err *e);
enum st run_attn(struct session *s, const struct call *c, struct result *out, struct err *e);
enum st run_entropy(struct session *s, const struct call *c, struct result *out, struct err *e);

/* The N of N, blk.N, or of the name of a point in block N. */
NODISCARD enum st block_word(const struct call *c, int i, const struct graph *g, int64_t *block,
                             struct err *e);

#endif
