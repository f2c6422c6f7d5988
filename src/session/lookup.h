/* SPDX-License-Identifier: MIT */
/* Lookup: what an address stands for in a session, as dense numbers that remember where they came
 * from. */
#ifndef QDB_SESSION_LOOKUP_H
#define QDB_SESSION_LOOKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/run.h"
#include "graph/address.h"
#include "session/runs.h"
#include "session/view.h"

struct session;

/* The model, and the run if there is one, that `who!` of an address names. A trace is neither:
 * ST_UNSUPPORTED. */
NODISCARD enum st lookup_who(struct session *s, const struct address *a, struct session_model **m,
                             struct session_run **r, struct err *e);
/* Names that the address' glob matches, weights in file order, then points in graph order; with
 * their kind. ST_NOTFOUND with "did you mean" when there are none. The names are borrowed views;
 * the caller frees *out. */
struct match {
    struct str name;
    const struct weight *weight;       /* NULL for points */
    int value;                         /* -1 for weights */
    const struct captured *captured;   /* of a capture; value is -1 */
    const struct point_alias *derived; /* computed from `value`; NULL: it is that value */
    bool beside; /* of the reference that goes with the active run, not of a run of its own */
    struct shape shape; /* of a point, unresolved; of a weight, resolved */
};
NODISCARD enum st lookup_names(struct session *s, const struct address *a, struct match **out,
                               size_t *n, struct err *e);
/* ST_UNSUPPORTED, which names the point to take instead, if a match is computed from a point. */
NODISCARD enum st match_is_point(const struct session_model *m, const struct match *x,
                                 struct err *e);
/* Fill *e with "no point matches ...", and with what the name or glob may have meant; of says among
 * which names of the model it was looked for. Returns ST_NOTFOUND. */
enum { NAMES_WEIGHTS = 1, NAMES_POINTS = 2, NAMES_FOREIGN = 4 /* of other engines */ };
enum st lookup_no_name(const struct session_model *m, struct str name, unsigned of, struct err *e);
/* What the runs of the model that the address names read for its weight w: what `quant` and `plan`
 * put in its place, until they change it again, else w. */
const struct weight *lookup_stored(struct session *s, const struct address *a,
                                   const struct weight *w);
/* Shape of a weight: [chan], [row][col] or [exp][row][col]. */
struct shape weight_shape(const struct weight *w);
/* Read what one match holds, sliced. Tokens are those of the run: of all spans in which the point
 * has been produced, or of the span that `@sN` names; where the axis key is longer in one span than
 * in another, the shorter rows are filled up with what masked keys hold (0; scores: -inf). */
NODISCARD enum st lookup_read(struct session *s, const struct address *a, const struct match *m,
                              struct view *out, struct err *e);
/* The only match of the address, read. ST_SYNTAX when a glob matches several. */
NODISCARD enum st lookup_one(struct session *s, const struct address *a, struct view *out,
                             struct err *e);
/* For who shows only the ends of what `text` stands for: the address of a weight, sliced or not, is
 * read, but when that are more than LOOKUP_LARGE elements, only about `most` from the ends. *all:
 * how many there are. False when it is something else or cannot be read; then read it as all else.
 */
enum { LOOKUP_LARGE = 1 << 20 };
bool lookup_ends(struct session *s, struct str text, int64_t most, struct view *out, int64_t *all);
/* Parse and read; columns of errors are those of text. */
NODISCARD enum st lookup_text(struct session *s, struct str text, struct view *out, struct err *e);

#endif
