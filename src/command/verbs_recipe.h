/* SPDX-License-Identifier: MIT */
/* Recipes for the verbs that write and read them. */
#ifndef QDB_COMMAND_VERBS_RECIPE_H
#define QDB_COMMAND_VERBS_RECIPE_H

#include "command/command.h"

struct recipe;

/* `export recipe FILE [for KIND]` */
NODISCARD enum st export_recipe(struct session *s, const struct call *c, struct result *out,
                                struct err *e);
/* The recipe that word i names, `for KIND` behind it; nothing may follow. */
NODISCARD enum st recipe_word(const struct call *c, int i, struct recipe **out, struct err *e);

#endif
