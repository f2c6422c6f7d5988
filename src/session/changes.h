/* SPDX-License-Identifier: MIT */
/* Changes: the journal of what has been overridden in the runs of a model. A change holds for every
 * run of its model, those to come too, until it is taken back. */
#ifndef QDB_SESSION_CHANGES_H
#define QDB_SESSION_CHANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/run.h"
#include "quant/provider.h"
#include "session/edit.h"

struct session;
struct session_model;
struct session_run;

/* A point that a change touches; or a weight, until change_bake() makes a form of it. */
struct change_target {
    int value; /* -1: a weight */
    const struct weight *weight;
    struct str name;    /* borrowed from the graph, or from the file */
    struct shape shape; /* under that name, unresolved */
    struct edit edit;
};

/* A weight that a change replaces; its own use of the form. */
struct change_form {
    const struct weight *w; /* of the model's file */
    struct form *by;        /* NULL: the file's own again */
    struct quant_note note; /* what is known of it; method NULL: nothing */
};

/* The importance matrix that weighed the errors of a change's encoders. */
struct change_imatrix {
    char *file, *dataset;  /* dataset NULL: it does not say */
    struct shingles *text; /* NULL: not known */
    size_t entries;
    int64_t chunks; /* 0: it does not say */
};

/* A target in one run. */
struct change_hook;

struct change {
    int number; /* never given twice */
    char *text; /* the command that makes it again */
    struct session_model *model;
    const struct session_run *only; /* the only run it holds for, NULL = all */
    const struct session_run *but;  /* the run that it does not hold for, NULL = none */
    bool splice; /* targets get what the reference has there; their edits mean nothing */
    char *address_text;
    struct address address; /* borrows address_text; its slice holds for every target */
    struct change_target *targets;
    size_t n_targets, cap_targets;
    struct change_form *forms;
    size_t n_forms, cap_forms;
    struct change_imatrix *imatrix; /* of the forms whose note says weighted; NULL = none */
    struct change_hook **hooks;
    size_t n_hooks, cap_hooks;
    struct change_hook *anywhere; /* [n_targets]: for evaluations, see changes_plan; or NULL */
};

struct changes {
    struct change **list;
    size_t n, cap;
    struct change **undone; /* for changes_redo; the one taken back last is the last */
    size_t n_undone, cap_undone;
    int last; /* the number given last */
};

/* A change of the points that an address names (weights: of its weights as well, which hold for
 * every run of the model); RUN!ADDR: of that run alone. Its targets are there,
 * their edits are EDIT_SET to 0. Of several points those that the slice does not fit are left out.
 * ST_NOTFOUND, ST_SYNTAX, ST_RANGE with a caret in `address`. The caller gives it to changes_add or
 * change_free. */
NODISCARD enum st change_at(struct session *s, struct str address, bool weights,
                            struct change **out, struct err *e);
/* Edits of weights become forms in f32, made of what stands for the weights now. ST_NOMEM, or why a
 * weight cannot be decoded. */
NODISCARD enum st change_bake(struct session *s, struct change *c, struct err *e);
/* A change that takes what a sub-layer adds to the residual stream away: "blk.3", "blk.3.attn".
 */
NODISCARD enum st change_skip(struct session *s, struct str what, struct change **out,
                              struct err *e);
/* Give every target the data of v (copied), or the same elements of another run, or their means
 * over the tokens that the slice chooses in the run that it is made in. */
NODISCARD enum st change_copy(struct session *s, struct change *c, const struct view *v,
                              struct err *e);
NODISCARD enum st change_patch(struct session *s, struct change *c, const struct session_run *from,
                               struct err *e);
NODISCARD enum st change_mean(struct session *s, struct change *c, struct err *e);
/* A change of weights of the model alone, of none yet; and one weight more, in the form (a use is
 * added; NULL: the file's own). Of two forms for one weight the later one holds. */
struct change *change_of_weights(struct session_model *m);
void change_form(struct change *c, const struct weight *w, struct form *by);
void change_quant(struct change *c, const struct weight *w, struct form *by,
                  const struct quant_note *note);
/* Note where the importances came from (once). */
void change_weighted(struct change *c, const char *path, const struct imatrix *m);
void change_imatrix_free(struct change_imatrix *x);
void change_free(struct change *c);

/* The reference is another one now: runs go back to before the first splice. */
void changes_new_reference(struct session *s);

/* Take the change over: it gets a number and holds from now on. Runs that are past it go back to
 * before the first node that it touches. */
void changes_add(struct session *s, struct change *c, const char *text);
struct change *changes_find(const struct session *s, int number); /* NULL if none */
void changes_undo(struct session *s, struct change *c);
/* Make the change that was taken back last again, under its number; NULL when there is none: a new
 * change forgets them. */
struct change *changes_redo(struct session *s);
/* Runs that it holds for now. */
size_t change_runs(const struct session *s, const struct change *c);

/* Do its elements get values that do not depend on what they were? */
bool change_replaces(const struct change *c);
/* The last change that sets this element of a span of the run; NULL if none does. */
const struct change *changes_setting(const struct session *s, const struct session_run *r, int span,
                                     int value, int64_t at);

/* Does any change hold for the model? */
bool changes_hold(const struct session *s, const struct session_model *m);
/* What stands for a weight of the model under the changes; NULL: the file's own. */
struct form *changes_form(const struct session *s, const struct session_model *m,
                          const struct weight *w);
/* The entry of the change that decides about the weight; NULL if none speaks of it. */
const struct change_form *changes_entry(const struct session *s, const struct session_model *m,
                                        const struct weight *w);
/* What a value is rounded to in runs of the model (in `r`; NULL: in evaluations): the last change
 * that says so holds. NULL: nothing does. */
const struct change_target *changes_rounding(const struct session *s,
                                             const struct session_model *m,
                                             const struct session_run *r, int value);
/* The importance matrix behind the weights as they stand now: that of the last change that weighted
 * one of them. NULL: none. */
const struct change_imatrix *changes_imatrix(const struct session *s,
                                             const struct session_model *m);
/* What of the changes cannot hold in an evaluation. */
struct changes_left {
    size_t n; /* changes of tokens of a prompt, or of one run */
    const struct change *first;
    const char *logits; /* a point that makes the logits, which evaluations do by themselves */
};

/* The changes of a model as a plan for evaluations, which run over other tokens than a prompt's;
 * *left: those that belong to tokens, to one run, or to the logits, and so cannot hold there.
 * It must be freed (plan_free) before a change is made or taken back. */
void changes_plan(const struct session *s, const struct session_model *m, struct plan *out,
                  struct changes_left *left);
/* The same where a run of the reference goes beside (run_set_beside): splices hold as well. */
void changes_plan_beside(const struct session *s, const struct session_model *m, struct plan *out,
                         struct changes_left *left);

/* The same for evaluations over the tokens of run r, as one span: changes of those tokens and of
 * this run hold as well. The run must stay. */
void changes_plan_run(const struct session *s, const struct session_run *r, struct plan *out,
                      struct changes_left *left);
/* The change that a transform of one of these plans is of. */
const struct change *changes_behind(const struct session *s, const struct plan_transform *t);

/* A run has come: everything that holds for it is registered. A run or a model goes. */
void changes_new_run(struct session *s, struct session_run *r);
void changes_forget_run(struct session *s, const struct session_run *r);
void changes_forget_model(struct session *s, const struct session_model *m);
void changes_free(struct session *s);

/* A number that stands for the changes that what lies before this position went through. */
uint64_t changes_before(const struct session *s, const struct session_run *r, struct position at);

#endif
