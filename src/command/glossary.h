/* SPDX-License-Identifier: MIT */
/* The words of the field and of qdb, explained in three plain lines each. */
#ifndef QDB_COMMAND_GLOSSARY_H
#define QDB_COMMAND_GLOSSARY_H

#include <stddef.h>

#include "base/text.h"
#include "kernels/statistics.h"

struct glossary_entry {
    const char *word;
    const char *also; /* other spellings, separated by `|`; NULL if none */
    const char *lines[3];
};

const struct glossary_entry *glossary_at(size_t i); /* NULL after the last */
const struct glossary_entry *glossary_find(
    struct str word); /* case and `-` `_` ` ` do not matter */

/* The statistic of that name, alias or other word; NULL if there is none. */
const struct statistic *glossary_statistic(struct str word);
const char *glossary_synonym(size_t i); /* the other words for statistics; NULL after the last */

#endif
