/* SPDX-License-Identifier: MIT */
/* Watchpoints of an element of the residual stream: which write before a position changed it most.
 */
#ifndef QDB_SESSION_WRITTEN_H
#define QDB_SESSION_WRITTEN_H

#include "session/control.h"

/* The value of the stream of which it watches one element; -1: it does not. */
int watched_stream(const struct breakpoint *b, const struct graph *g);
/* Does an addition to the stream that ends in value `watched` make this value, or is it its
 * beginning? */
bool writes_stream(const struct graph *g, int watched, int value);
/* Has the point that is there now written the watched element, by more than the watchpoint's
 * percentage of what was there? stop says what happened. */
bool written_now(const struct breakpoint *b, int watched, const struct event *ev,
                 struct stop *stop);
/* The write that changed the watched element (watched_stream) most among those made before position
 * `before` and after which the watchpoint's condition holds, if it did by more than its percentage
 * of what was there: *at is the position after it, and stop says what happened. False: there is
 * none, or it cannot be told. */
bool written_before(const struct breakpoint *b, struct run *r, struct position before,
                    const struct break_sources *from, struct position *at, struct stop *stop);

#endif
