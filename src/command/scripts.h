/* SPDX-License-Identifier: MIT */
/* Scripts of commands that are part of the program, such as the guided tour. */
#ifndef QDB_COMMAND_SCRIPTS_H
#define QDB_COMMAND_SCRIPTS_H

#include <stddef.h>

/* Lines are commands; lines that begin with `#:` are shown as prose, other comments are not shown.
 * `#:---` is a blank line where a person is given time to read. */
struct script {
    const char *name, *text;
};

const struct script *script_find(const char *name); /* NULL if there is none */

/* One file each. */
extern const char script_tour[];

#endif
