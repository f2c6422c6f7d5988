/* SPDX-License-Identifier: MIT */
/* The reference: a model that runs are compared with, through which every prompt can go in step, or
 * a trace of one prompt. */
#ifndef QDB_SESSION_REFERENCE_H
#define QDB_SESSION_REFERENCE_H

#include "session/session.h"
#include "study/source.h"

/* Make an open model the reference. It must have the graph of the active model: the same points
 * with the same shapes, the same vocabulary; formats of weights may differ. ST_UNSUPPORTED names
 * the first difference. NULL: no reference. */
NODISCARD enum st session_set_ref(struct session *s, struct session_model *m, struct err *e);

/* The run of the reference that goes with r: the same tokens in the same spans and the same compute
 * mode, brought to at least position `to`. Owned by r. Without a reference the run's model as the
 * file has it stands for one where changes hold for it; else ST_STATE. */
NODISCARD enum st session_ref_run(struct session *s, struct session_run *r, struct position to,
                                  struct progress *p, struct run **out, struct err *e);

/* Make a folder with a trace the reference, instead of a model: its arrays must fit the points of
 * the active model. ST_IO, ST_FORMAT, ST_RANGE; the reference stays as it was. */
NODISCARD enum st session_set_trace(struct session *s, const char *path, struct err *e);

/* The trace that is the reference, as points of the model. There must be one. ST_RANGE, ST_FORMAT:
 * it does not fit. */
NODISCARD enum st session_trace(struct session *s, const struct session_model *m,
                                struct trace_points **out, struct err *e);

/* What r is compared with: the run above, or the trace, whose tokens must be those of r; ST_RANGE
 * names the first that is not. */
NODISCARD enum st session_reference(struct session *s, struct session_run *r, struct position to,
                                    struct progress *p, struct ref_source *out, struct err *e);

#endif
