/* SPDX-License-Identifier: MIT */
/* What the verbs quant and plan share: make a list of formats a change and say what it cost. */
#ifndef QDB_COMMAND_QUANT_H
#define QDB_COMMAND_QUANT_H

#include "command/command.h"
#include "session/export.h"
#include "session/measured.h"
#include "session/round.h"

/* Activations that are rounded along with a list of weights. */
struct quant_rounding {
    const struct numeric *inputs; /* of the layers that read the weights; NULL: as they are */
    const struct round_point *points;
    size_t n_points;
};

/* Make, measure, enter under `text`, and show the stop line. act: NULL = none. */
NODISCARD enum st quant_apply(struct session *s, struct session_model *m,
                              const struct quant_item *list, size_t n,
                              const struct quant_method *method,
                              const struct quant_rounding *act,
                              const char *text, struct result *out, struct err *e);
/* The points of an address are rounded to f from now on; the same way. */
NODISCARD enum st quant_points(struct session *s, struct str address, const struct numeric *f,
                               const char *text, struct result *out, struct err *e);
/* Changes that are taken back, or made again: what is known of where the active model was and is,
 * for nothing: the size of the file, and the KL where it has been measured. */
struct quant_place {
    struct export_size size;
    struct measured_before measured;
};
void quant_moved_from(struct session *s, struct quant_place *out);
void quant_moved(struct session *s, struct quant_place *from, struct result *out);
/* Cells of columns `file` and `size`, of which one is there: bytes of what `export gguf` writes, or
 * of what it refuses. */
void quant_put_size(struct table *t, const struct export_size *z);
/* A note why it refuses, if it does. */
void quant_say_no_file(const struct export_size *z, struct result *out);
/* A note about weights that got another format than was asked for, if there are any. */
void quant_say_fallbacks(const struct fallbacks *f, struct result *out);

#endif
