/* SPDX-License-Identifier: MIT */
/* Rendering: results and errors as text for people, JSON, CSV or Markdown. Pure: bytes into a
 * buffer. */
#ifndef QDB_REPL_RENDER_H
#define QDB_REPL_RENDER_H

#include "base/error.h"
#include "base/table.h"
#include "base/text.h"
#include "session/settings.h"

struct style {
    enum output_choice mode;
    int width;        /* columns of a line, 0 = no limit */
    int digits;       /* significant digits where a column does not say */
    bool color, utf8; /* what the output understands */
    enum glyphs_choice glyphs;
    enum heat_choice heat;
};

/* Tables of a result in the mode of the style (not json: that needs the command), then its notes.
 * In csv the notes would not parse, so they go to *messages; elsewhere to *out. */
void render_result(struct buf *out, struct buf *messages, const struct result *r,
                   const struct style *style);
/* One JSON object on one line. e may be NULL or hold no error. Floats read back exactly; NaN and
 * the infinities are strings, absent cells null. */
void render_json(struct buf *out, struct str command, const struct result *r, const struct err *e);
/* An error for people: what and where, the line as typed with a caret, the hint. `prefix` is
 * "FILE:LINE: " in scripts, else "". line may be empty. */
void render_error(struct buf *out, const struct err *e, struct str line, const char *prefix,
                  const struct style *style);

/* ---- between the renderers ---- */

/* Append s so that nothing in it can steer a terminal: control bytes, invalid UTF-8 and characters
 * that reorder a line become \xNN and \u{N}. `lines`: newlines and tabs stay. */
void render_safe(struct buf *out, struct str s, bool lines);
/* A cell as people read it; absent is "-", or what stands instead. */
bool render_nothing(const struct cell *cell); /* it is absent, and nothing stands instead */
void render_cell(struct buf *out, const struct column *column, const struct cell *cell,
                 const struct style *style);
/* Cut or pad s to `columns` terminal columns. */
void render_padded(struct buf *out, struct str s, int columns, bool right,
                   const struct style *style);
void render_paint(struct buf *out, const char *sgr,
                  const struct style *style); /* "1", "0", only with colour */

void render_table_text(struct buf *out, const struct table *t, const struct style *style);
void render_heat(struct buf *out, const struct table *t, const struct style *style);
void render_hist(struct buf *out, const struct table *t, const struct style *style);

#endif
