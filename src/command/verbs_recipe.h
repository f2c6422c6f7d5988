/* SPDX-License-Identifier: MIT */
/* Recipes for the verbs that write and read them. */
#ifndef QDB_COMMAND_VERBS_RECIPE_H
#define QDB_COMMAND_VERBS_RECIPE_H

#include "command/command.h"

/* `export recipe FILE [for KIND]` */
NODISCARD enum st export_recipe(struct session *s, const struct call *c, struct result *out,
                                struct err *e);

#endif
