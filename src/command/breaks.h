/* SPDX-License-Identifier: MIT */
/* What the verbs of breakpoints share: addresses and conditions among the words of a call. */
#ifndef QDB_COMMAND_BREAKS_H
#define QDB_COMMAND_BREAKS_H

#include "command/command.h"

extern const struct arg_after breaks_after[]; /* completion of `if COND` */

/* An error in a text that stands at `column` of the line; returns st. */
enum st breaks_shift(struct err *e, enum st st, int column);
/* The words from i on as they were typed. */
struct str breaks_text(const struct call *c, int i);
/* The condition that begins at word i; ST_STATE when it needs a reference and there is none. *out
 * is the caller's. */
NODISCARD enum st breaks_compiled(const struct session *s, const struct call *c, int i,
                                  struct condition **out, struct err *e);
/* `if COND` at word i, or nothing there (*out stays NULL). *out is the caller's. */
NODISCARD enum st breaks_condition(const struct session *s, const struct call *c, int i,
                                   struct condition **out, struct err *e);
/* A new breakpoint at the address `text`, which stands at `column` of the line; checked against the
 * active model. */
NODISCARD enum st breaks_add(struct session *s, enum break_kind kind, struct str text, int column,
                             struct breakpoint **out, struct err *e);
/* Take back the breakpoint added last. */
void breaks_undo(struct session *s, const struct breakpoint *b);
void breaks_show(const struct session *s, const struct breakpoint *b, struct result *out);

#endif
