/* SPDX-License-Identifier: MIT */
/* `why`: where a value comes from, as tables. */
#ifndef QDB_COMMAND_WHY_H
#define QDB_COMMAND_WHY_H

#include "command/command.h"

struct op_term;

/* Trace the element that the last stop was about, back to where it was made: its value, or, where
 * x->error says so, its difference to the reference. */
NODISCARD enum st why_show(struct session *s, const struct element *x, struct result *out,
                           struct err *e);
NODISCARD enum st why_show_error(struct session *s, const struct element *x, struct result *out,
                                 struct err *e);
/* Which write changed an element of the stream: x names the value that was added. */
NODISCARD enum st why_show_writer(struct session *s, const struct element *x, struct result *out,
                                  struct err *e);

/* What these share. */
void why_put_position(struct run *r, int span, int value, struct table *t);
void why_put_place(struct run *r, int span, int value, int64_t at, struct table *t);
/* What a term of an element of this value was read from, and where in it: an activation, a weight
 * or a constant. */
void why_put_source(struct run *r, int span, int value, const struct op_term *term,
                    struct table *t);
/* The block of a weight that holds element [row][col], as it is stored in the file. m: whose
 * changes may stand for it, NULL = nobody's. */
void why_show_block(const char *table, struct session *s, const struct session_model *m,
                    const struct weight *w, int64_t row, int64_t col, struct result *out);
/* Note the change that sets the element, if one does; true: whatever it was before. */
bool why_note_change(const struct session *s, const struct session_run *r, int span, int value,
                     int64_t at, struct result *out);

#endif
