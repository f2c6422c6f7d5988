/* SPDX-License-Identifier: MIT */
/* Finding special tokens in text: control tokens on request, the user's tokens always. */
#ifndef QDB_TEXT_SPECIAL_H
#define QDB_TEXT_SPECIAL_H

#include "text/vocab.h"

/* Longer ones are never looked for: it bounds the time that hostile vocabularies can cost. */
enum { SPECIAL_MAX = 1024 };

struct special {
    struct str text;
    int32_t id;
};

struct specials {
    struct special *list; /* by their bytes */
    size_t n;
    struct buf texts;      /* those that are not as in the file */
    uint8_t first[2][256]; /* [control tokens wanted]: may one begin with this byte? */
};

/* `spaces`: U+2581 in a user's token stands for a space. */
NODISCARD enum st specials_load(struct specials *s, const struct vocab *v, bool spaces,
                                struct err *e);
void specials_free(struct specials *s);
/* The leftmost, then longest special token in text from `at` on: id and place; false if none. */
bool specials_next(const struct specials *s, const struct vocab *v, struct str text, size_t at,
                   bool control, int32_t *id, size_t *from, size_t *to);

#endif
