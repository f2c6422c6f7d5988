/* SPDX-License-Identifier: MIT */
/* What the journal of changes and their hooks in runs share. */
#ifndef QDB_SESSION_CHANGES_PARTS_H
#define QDB_SESSION_CHANGES_PARTS_H

#include "session/changes.h"

bool change_holds_for(const struct change *c, const struct session_run *r);
/* Register the targets with a run, if the change holds for it. */
void change_attach(struct session *s, struct change *c, struct session_run *r);
/* Forget the hooks of a run (NULL = of all); `remove` them from the run, unless it goes anyway. */
void change_detach(struct change *c, const struct session_run *r, bool remove);
/* Make the hooks for evaluations, where the change means the same in a run over any tokens; they
 * are one block of memory, `anywhere`. */
void change_attach_anywhere(struct change *c);

#endif
