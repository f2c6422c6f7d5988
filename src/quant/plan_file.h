/* SPDX-License-Identifier: MIT */
/* Plans as text: a line per weight that is not as in the file, and per point that is rounded.
 * Comments begin with `#`; a line may end in \r. Without points it is `qdb plan 1`, which knows no
 * `act`.
 *
 *   qdb plan 2
 *   FORMAT METHOD NE0xNE1[xNE2[xNE3]] NAME
 *   act FORMAT POINT */
#ifndef QDB_QUANT_PLAN_FILE_H
#define QDB_QUANT_PLAN_FILE_H

#include "quant/method.h"

enum { PLAN_FILE_MAX = 1 << 26 }; /* bytes of a file */

struct plan_line {
    struct numeric format;
    const struct quant_method *method; /* NULL: a point, which has no shape here */
    int rank;
    uint64_t ne[GGUF_MAX_RANK];
    struct str name; /* borrowed from the text; no line break in it, no \r at its end */
    int line;        /* counted from 1 */
};

/* free() *out. ST_FORMAT with the number of the line and what is wrong there; a name that is there
 * twice is refused. */
NODISCARD enum st plan_file_parse(struct str text, struct plan_line **out, size_t *n,
                                  struct err *e);
/* Append the lines of a file; points: some are about points. ST_UNSUPPORTED for a name that no line
 * can hold. */
void plan_file_begin(bool points, struct buf *out);
NODISCARD enum st plan_file_line(const struct plan_line *l, struct buf *out, struct err *e);

#endif
