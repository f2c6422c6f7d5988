/* SPDX-License-Identifier: MIT */
/* What is too large to read whole, read in pieces. */
#ifndef QDB_SESSION_PIECES_H
#define QDB_SESSION_PIECES_H

#include "session/lookup.h"

typedef enum st piece_fn(void *data, const struct view *v, struct err *e);
/* Read what one match holds, as lookup_read does, in pieces along its tokens or rows, as many at a
 * time as memory allows, in order. Where the address has a slice of that axis, a position or a
 * selector, it is not cut any further: ST_NOMEM stays what it was. */
NODISCARD enum st lookup_pieces(struct session *s, const struct address *a, const struct match *m,
                                piece_fn *fn, void *data, struct err *e);

#endif
