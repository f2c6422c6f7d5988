/* SPDX-License-Identifier: MIT */
/* Parts of the verb plan: plans as tables (a row per weight, totals by role and by block), and as
 * lists of what weights are to become. */
#ifndef QDB_COMMAND_PLAN_PARTS_H
#define QDB_COMMAND_PLAN_PARTS_H

#include "command/command.h"
#include "quant/mix.h"
#include "quant/plan_file.h"
#include "session/quantize.h"
#include "session/round.h"

/* `info plan [GLOB]`: what stands for every weight that the glob (word 1 of the call) names. */
enum st info_plan(struct session *s, const struct call *c, struct result *out, struct err *e);

/* What a list would make of the model, without making it: formats and bytes. */
NODISCARD enum st plan_preview(struct session *s, const struct session_model *m,
                               const struct quant_item *list, size_t n, struct result *out,
                               struct err *e);

struct plan_items {
    struct quant_item *list;
    size_t n, cap;
    struct round_point *points; /* that are rounded, or are so no more */
    size_t n_points, cap_points;
};

void plan_add(struct plan_items *x, const struct quant_item *item);
void plan_add_point(struct plan_items *x, const struct round_point *p);
void plan_items_free(struct plan_items *x);
/* The words of the call are WHAT NAME [dry]; else an error that asks `what`. */
NODISCARD enum st plan_words(const struct call *c, const char *what, bool *dry, struct err *e);
/* Make the list, which is freed, one change; `dry`: show what it would be. */
NODISCARD enum st plan_finish(struct session *s, struct session_model *m, const struct call *c,
                              bool dry, struct plan_items *x, struct result *out, struct err *e);

/* Weights that a mix makes of the model; a note where llama-quantize gives up. */
NODISCARD enum st plan_of_mix(struct session *s, const struct session_model *m,
                              const struct mix *mix, struct plan_items *x, struct result *out,
                              struct err *e);
/* The weights of the mix, or of the plan, that a word names: *mix NULL for a plan. *x is the
 * caller's to free, also on failure. */
NODISCARD enum st plan_of_word(struct session *s, const struct session_model *m,
                               const struct word *w, struct plan_items *x, const struct mix **mix,
                               struct result *out, struct err *e);

/* A plan as text, taken apart: that of a name, of a file, or of "now". */
struct plan_lines {
    struct buf text;
    struct plan_line *list;
    size_t n;
};

/* The caret is at the word. End with plan_lines_free. */
NODISCARD enum st plan_lines_of(struct session *s, const struct session_model *m,
                                const struct word *w, struct plan_lines *out, struct err *e);
void plan_lines_free(struct plan_lines *l);
/* ST_RANGE, with the number of the line, when one names what the model does not have. */
NODISCARD enum st plan_lines_fit(const struct session_model *m, const struct plan_lines *l,
                                 struct err *e);

/* `plan diff A [B]` of the active model. */
NODISCARD enum st plan_diff(struct session *s, struct session_model *m, const struct call *c,
                            struct result *out, struct err *e);
/* `plan stock [MIX [dry]]` and `plan infer FILE [dry]` of the active model. */
NODISCARD enum st plan_stock(struct session *s, struct session_model *m, const struct call *c,
                             struct result *out, struct err *e);
NODISCARD enum st plan_infer(struct session *s, struct session_model *m, const struct call *c,
                             struct result *out, struct err *e);

#endif
