/* SPDX-License-Identifier: MIT */
/* Displays: expressions that are shown at each stop. */
#ifndef QDB_SESSION_DISPLAYS_H
#define QDB_SESSION_DISPLAYS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

struct display {
    int number;
    char letter;   /* print format, '\0' if none */
    int64_t count; /* of the format, 0 if none */
    char *text;    /* the expression as typed */
};

struct displays {
    struct display *list;
    size_t n, cap;
    int last; /* the number given last */
};

/* Valid until the list changes. */
const struct display *displays_add(struct displays *d, char letter, int64_t count, struct str text);
bool displays_delete(struct displays *d, int number); /* false: there is none */
void displays_free(struct displays *d);

#endif
