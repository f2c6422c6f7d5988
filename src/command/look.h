/* SPDX-License-Identifier: MIT */
/* What the verbs that look at data share. */
#ifndef QDB_COMMAND_LOOK_H
#define QDB_COMMAND_LOOK_H

#include "command/command.h"
#include "session/lookup.h"

/* "16f" of `print/16f`. */
struct look_format {
    char letter;   /* '\0' if none */
    int64_t count; /* 0 if none; negative looks back */
};
/* Parse c->format; `letters` are those that the verb knows. */
NODISCARD enum st look_format(const struct call *c, const char *letters, struct look_format *out,
                              struct err *e);

/* Evaluate the expression at the beginning of the arguments; *next: the first word behind it. */
NODISCARD enum st look_operand(struct session *s, const struct call *c, struct view *out, int *next,
                               struct err *e);
/* Read everything that the address names and hand each view to fn, which may take it over (leaving
 * an empty one). Of several, those without the sliced axis, those that the run has not produced yet
 * and those that cannot be decoded are counted in *left, and an error only when nothing else is
 * there. */
struct look_left {
    int axes, ahead, unreadable;
    bool enough; /* set by fn: the rest is not read */
    /* What to do about one that does not fit into memory; NULL: it is an error. */
    enum st (*large)(void *data, const struct address *a, const struct match *m, struct err *e);
};
typedef enum st look_fn(void *data, struct view *v, struct err *e);
NODISCARD enum st look_each(struct session *s, const struct address *a, struct look_left *left,
                            look_fn *fn, void *data, struct err *e);
void look_left_notes(const struct look_left *left, struct result *out);

/* A whole number as word i, in lo..hi. */
NODISCARD enum st look_number(const struct call *c, int i, int64_t lo, int64_t hi, int64_t *out,
                              struct err *e);

/* What stands at entry `at` of dimension d: the text of a token of the run, of the vocabulary;
 * appended. look_has_text: whether that axis has texts. */
bool look_has_text(const struct view *v, int d);
void look_text(const struct view *v, int d, int64_t entry, struct buf *out);

/* The elements as a table `elements`: at most `most`, in the print format of the letter (f e g h x
 * b T). */
void look_elements(const struct view *v, int64_t most, char letter, struct result *out);
/* Other ways to show a view. They hear the user, who may be NULL: ST_CANCELLED. */
NODISCARD enum st look_summary(const struct view *v, struct progress *p, struct table *t,
                               struct err *e);
struct table *look_summary_table(struct result *out);
NODISCARD enum st look_histogram(const struct view *v, int bins, bool log, struct progress *p,
                                 struct result *out, struct err *e);
NODISCARD enum st look_heat(const struct view *v, struct progress *p, struct result *out,
                            struct err *e);
NODISCARD enum st look_top(const struct view *v, int64_t n, struct progress *p, struct result *out,
                           struct err *e);
/* n elements of a weight from `first` on, as they are stored: x b bytes, d codes, q codes with
 * scales. */
NODISCARD enum st look_storage(const struct weight *w, int64_t first, int64_t n, char letter,
                               struct result *out, struct err *e);

/* Element i of a shape in storage order, and the entries of its dimensions. */
int64_t look_flat(const struct shape *s, const int64_t *at);
void look_split(const struct shape *s, int64_t i, int64_t *at);
/* Columns that say where an element stands, and the cells. */
void look_place_columns(struct table *t, const struct shape *s);
void look_put_place(struct table *t, const struct shape *s, int64_t i);
/* The block of w that holds element i, and how many elements lie in front of i in it. */
const uint8_t *look_block_at(const struct weight *w, int64_t i, int64_t *inside);
/* The same block taken apart, the scale beside the weight folded in. */
void look_view(const struct weight *w, int64_t i, int64_t *inside, struct block_view *v);

/* Show what an expression is worth, in a print format; *v is the caller's. */
NODISCARD enum st look_show(struct session *s, const struct view *v, struct look_format f,
                            struct result *out, struct err *e);

/* Add what the displays are worth now; one that has no value here is a note. */
NODISCARD enum st displays_show(struct session *s, struct result *out, struct err *e);
void displays_list(const struct session *s, struct result *out);

#define PRINT_LETTERS "feghxbdqstimT"

/* The verbs. */
enum st run_print(struct session *s, const struct call *c, struct result *out, struct err *e);
enum st run_x(struct session *s, const struct call *c, struct result *out, struct err *e);
enum st run_summary(struct session *s, const struct call *c, struct result *out, struct err *e);
enum st run_hist(struct session *s, const struct call *c, struct result *out, struct err *e);
enum st run_heat(struct session *s, const struct call *c, struct result *out, struct err *e);
enum st run_channels(struct session *s, const struct call *c, struct result *out, struct err *e);
enum st run_block(struct session *s, const struct call *c, struct result *out, struct err *e);
enum st run_display(struct session *s, const struct call *c, struct result *out, struct err *e);
enum st run_undisplay(struct session *s, const struct call *c, struct result *out, struct err *e);
enum st run_dump(struct session *s, const struct call *c, struct result *out, struct err *e);

#endif
