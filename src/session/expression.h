/* SPDX-License-Identifier: MIT */
/* Expressions over numbers, weights and activations:
 *
 *   expr    = term { ("+"|"-") term }        term = factor { ("*"|"/") factor }
 *   factor  = ("-"|"+") factor | number | "$" | "$"N | "$"NAME | "(" expr ")"
 *           | abs|log|exp|sqrt "(" expr ")"  element by element
 *           | STAT "(" expr ")"              one number (kernels/statistics.h)
 *           | STAT "(" expr "," expr ")"     one number: the reference, then what is compared with
 * it | address                        (graph/address.h)
 *
 * Axes are matched by name. The result has those of the left, then the new ones of the right;
 * entries of an axis that both have are paired in order, so their numbers must be equal, or one of
 * them 1. A `*` or `/` that could be part of a name is one when such a name exists. */
#ifndef QDB_SESSION_EXPRESSION_H
#define QDB_SESSION_EXPRESSION_H

#include "base/error.h"
#include "base/text.h"
#include "session/view.h"

struct session;

/* Evaluate the whole text. *out is the caller's (view_free); errors carry columns of text. */
NODISCARD enum st expression_eval(struct session *s, struct str text, struct view *out,
                                  struct err *e);
/* Evaluate the longest expression at the beginning; *used: where it ended, blanks behind it
 * included. */
NODISCARD enum st expression_prefix(struct session *s, struct str text, struct view *out,
                                    size_t *used, struct err *e);

#endif
