/* SPDX-License-Identifier: MIT */
/* Help, search and explanations, all from the tables of verbs, settings, words and formats. */
#ifndef QDB_COMMAND_HELP_H
#define QDB_COMMAND_HELP_H

#include "command/command.h"

/* Classes of verbs in the order they are shown: name and what they are for. */
struct verb_class {
    const char *name;  /* as in struct verb */
    const char *title; /* as people call it; not the name of a verb */
    const char *brief;
};

const struct verb_class *verb_class_at(size_t i); /* NULL after the last */

enum st run_help(struct session *s, const struct call *c, struct result *out, struct err *e);
enum st run_apropos(struct session *s, const struct call *c, struct result *out, struct err *e);
enum st run_explain(struct session *s, const struct call *c, struct result *out, struct err *e);
/* Call add() for every word that `explain` knows. */
void explain_words(void (*add)(void *data, const char *word), void *data);

enum { HELP_WIDTH = 78 };
/* Add text to the lines of the table `name`, wrapped at HELP_WIDTH bytes; newlines stay. */
void help_wrapped(struct result *out, const char *name, const char *text);
enum st setting_help(enum setting_id id, struct session *s, struct result *out);

#endif
