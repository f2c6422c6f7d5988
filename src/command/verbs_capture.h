/* SPDX-License-Identifier: MIT */
/* What other verbs leave to captures. */
#ifndef QDB_COMMAND_VERBS_CAPTURE_H
#define QDB_COMMAND_VERBS_CAPTURE_H

#include "command/command.h"
#include "study/compare.h"

/* `save capture FILE [GLOB]`. */
enum st save_capture(struct session *s, const struct call *c, struct result *out, struct err *e);
/* `compare GLOB` where the active model is a capture. */
enum st compare_capture(struct session *s, const struct call *c, struct result *out,
                        struct err *e);

/* Columns of a comparison, and the cells of a row but its place, which is the last column. */
void error_columns(struct table *t);
void error_cells(struct table *t, const char *point, const struct point_error *p);

#endif
