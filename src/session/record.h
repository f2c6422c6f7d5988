/* SPDX-License-Identifier: MIT */
/* Which points the runs of a session record: the setting `record`. */
#ifndef QDB_SESSION_RECORD_H
#define QDB_SESSION_RECORD_H

#include "session/session.h"

/* The setting has changed: all runs follow. ST_NOTFOUND when no point of the active model matches.
 */
NODISCARD enum st record_follow(struct session *s, struct err *e);
/* A run begins, or a run is to follow. Returns the points that are chosen. */
int record_apply(const struct session *s, struct run *r);

#endif
