/* SPDX-License-Identifier: MIT */
/* `set`, `show` and `with`. */
#ifndef QDB_COMMAND_VERBS_SETTINGS_H
#define QDB_COMMAND_VERBS_SETTINGS_H

#include "command/command.h"

enum st run_set(struct session *s, const struct call *c, struct result *out, struct err *e);
enum st run_show(struct session *s, const struct call *c, struct result *out, struct err *e);
enum st run_with(struct session *s, const struct call *c, struct result *out, struct err *e);

#endif
