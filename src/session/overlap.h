/* SPDX-License-Identifier: MIT */
/* The text that weighed a model's encoders beside the text it is measured on: where they overlap,
 * the figures flatter the model. */
#ifndef QDB_SESSION_OVERLAP_H
#define QDB_SESSION_OVERLAP_H

#include "file/shingles.h"
#include "session/session.h"

/* A text is one where SHINGLE_TOKENS tokens in a row are the same; the first token of a segment,
 * which may have been replaced, does not count. */
struct overlap {
    bool weighted;              /* an importance matrix is behind the weights */
    bool same_name;             /* as far as names tell: a text of the same name */
    struct shingle_share share; /* of the set's sequences; asked 0: not known */
};

/* The matrix that weighed the changes of m, else (or without `changes`) that which its file names.
 * The set was encoded with the tokens of `by`; text: its name. */
struct overlap session_overlap(const struct session *s, const struct session_model *m, bool changes,
                               const struct session_model *by, const struct evaluation_set *set,
                               const char *text);
double overlap_share(const struct overlap *x); /* NaN where it is not known */

#endif
