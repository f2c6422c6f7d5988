/* SPDX-License-Identifier: MIT */
/* Execution control: how a session moves a run forward and back, and why it stopped. */
#ifndef QDB_SESSION_CONTROL_H
#define QDB_SESSION_CONTROL_H

#include "base/error.h"
#include "base/text.h"
#include "session/session.h"

enum stop_reason {
    STOP_NONE,
    STOP_BREAKPOINT,
    STOP_WATCHPOINT,
    STOP_CATCH,
    STOP_STEP,
    STOP_POSITION,
    STOP_START,
    STOP_END,
    STOP_INTERRUPTED
};

struct stop {
    enum stop_reason reason;
    int breakpoint;       /* number, 0 if none */
    struct break_hit hit; /* of that one */
    int inside;           /* value in a fused kernel where the catch already holds, -1 if none */
    bool wrote;           /* STOP_WATCHPOINT: back to the write that changed an element most */
    int written;          /* the value that was added then */
};

const char *stop_name(enum stop_reason r);

/* Forward to `to`, or to the first breakpoint before it. reason: what reaching `to` is called. */
NODISCARD enum st control_forward(struct session *s, struct session_run *r, struct position to,
                                  enum stop_reason reason, struct stop *stop, struct err *e);
/* n nodes, or n units of the level. */
NODISCARD enum st control_step(struct session *s, struct session_run *r, enum level_choice level,
                               int64_t n, struct stop *stop, struct err *e);
NODISCARD enum st control_reverse(struct session *s, struct session_run *r, enum level_choice level,
                                  int64_t n, struct stop *stop, struct err *e);
/* Back to the previous place where a breakpoint, watchpoint or catch holds, or to the start. A
 * watchpoint of one element of one point of the residual stream holds where the element was written
 * most: at the largest addition before the position (session/written.h). */
NODISCARD enum st control_reverse_continue(struct session *s, struct session_run *r,
                                           struct stop *stop, struct err *e);
/* To a position anywhere, forward (without stopping) or back. */
NODISCARD enum st control_goto(struct session *s, struct session_run *r, struct position to,
                               struct stop *stop, struct err *e);

/* "s2:blk.3.ffn_down.out": the point produced last; "s0:start" at the very beginning; appended to
 * out. */
void position_print(const struct run *r, struct position p, struct buf *out);
/* Parse what position_print writes; without "sN:" the span of the position now. "sN:end" is the end
 * of a span, "start" the beginning of the run, "end" its end. */
NODISCARD enum st position_parse(const struct run *r, struct str text, struct position *out,
                                 struct err *e);

#endif
