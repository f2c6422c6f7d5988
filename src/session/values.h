/* SPDX-License-Identifier: MIT */
/* Values: what `print` has shown ($1, $2, ...) and what the user has named ($x). */
#ifndef QDB_SESSION_VALUES_H
#define QDB_SESSION_VALUES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/table.h"
#include "base/text.h"
#include "session/view.h"

struct weights;

struct named_value {
    char *name;
    struct view view;
};

struct values {
    struct view *history; /* $1 is the first; dropped ones have no data */
    size_t n_history, cap_history;
    struct named_value *named;
    size_t n_named, cap_named;
};

/* Take the view over as the next $N; returns N. When the history holds more than an eighth of the
 * memory budget, the oldest large ones are dropped. */
size_t values_keep(struct values *v, struct view *view);
/* Take the view over under a name, in place of what had it. */
void values_name(struct values *v, struct str name, struct view *view);
/* $N; number 0 is the last one. NULL: there is none, or it was dropped. */
const struct view *values_number(const struct values *v, size_t number);
const struct view *values_named(const struct values *v, struct str name);
/* A run or a model goes: values stay, but know no more where they came from. */
void values_forget_run(struct values *v, const struct session_run *r);
void values_forget_weights(struct values *v, const struct weights *w);
void values_free(struct values *v);
/* All of them as a table `values`. */
void values_list(const struct values *v, struct result *out);
/* A row of the table `value`, made when there is none: what it is called, what it is, its axes or
 * its number. */
void values_show(const char *as, const struct view *v, struct result *out);

#endif
