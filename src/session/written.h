/* SPDX-License-Identifier: MIT */
/* Watchpoints of an element of the residual stream: which write before a position changed it most.
 */
#ifndef QDB_SESSION_WRITTEN_H
#define QDB_SESSION_WRITTEN_H

#include "session/control.h"

/* Is it a watchpoint of one element of one point of the stream? */
bool watches_stream(const struct breakpoint *b, const struct graph *g);
/* The write that changed the watched element most among those made before position `before`, if it
 * did by more than the watchpoint's percentage of what was there: *at is the position after it, and
 * stop says what happened. False: there is none, or it cannot be told. */
bool written_before(const struct breakpoint *b, struct run *r, struct position before,
                    struct position *at, struct stop *stop);

#endif
