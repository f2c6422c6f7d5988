/* SPDX-License-Identifier: MIT */
/* Models and runs of a session: opening, naming, choosing. Several of each live at once; one model
 * and one run are active. */
#ifndef QDB_SESSION_RUNS_H
#define QDB_SESSION_RUNS_H

#include "base/error.h"
#include "base/text.h"
#include "engine/run.h"
#include "study/floor.h"

struct capture;
struct session;
struct trace_points;

/* An open model under its label. */
struct level;

struct session_model {
    char *name;  /* "a", "b", ... or as the user said */
    char *path;
    struct model *model;
    struct fast_floor floor; /* of mode fast at floor_level, when it has been asked for */
    const struct level *floor_level;
    struct capture *capture; /* what it holds when it is one, which has no weights; else NULL */
};

/* A run under its name. */
struct session_run {
    char *name;
    struct session_model *model;
    struct run *run;
    bool generated; /* tokens after the prompt came from `gen` */
    size_t n_prompt; /* tokens of the prompt */
    struct run *ref; /* the same tokens through the reference, NULL until they are needed */
    const struct session_model *ref_model; /* whose run that is */
};

struct session_models {
    struct session_model **models;
    size_t n_models, cap_models;
    struct session_run **runs;
    size_t n_runs, cap_runs;
    struct session_model *model; /* active, NULL if none */
    struct session_model *ref;   /* the reference, NULL if none */
    struct trace_points *trace;  /* or this one; bound to the graph of trace_model */
    const struct session_model *trace_model;
    struct session_run *run;     /* active, NULL if none; belongs to `model` */
    struct pool *pool;           /* made when first needed; threads as the setting says */
    int next_label;
};

/* The tensors of a file, or of a demo model when path is "--demo[=NAME]". */
NODISCARD enum st session_open_weights(const char *path, struct weights **out, struct err *e);
/* Open a file, or a demo model when path is "--demo[=NAME]". The model becomes active. name NULL:
 * the next free letter. ST_STATE when the name is taken. */
NODISCARD enum st session_open(struct session *s, const char *path, const char *name,
                               struct session_model **out, struct err *e);
/* Runs of the model go with it. */
void session_close(struct session *s, struct session_model *m);
void session_kill(struct session *s, struct session_run *r);
void session_models_free(struct session *s);
void session_drop_trace(struct session *s); /* the reference is no trace any more */

struct session_model *session_find_model(const struct session *s,
                                         struct str name); /* NULL if none */
struct session_run *session_find_run(const struct session *s, struct str name);
/* The same run, to be moved; NULL if it is not of this session, or gone. */
struct session_run *session_run_of(const struct session *s, const struct session_run *r);
/* ST_IO when its file, or that of the reference, is no more what was opened. */
NODISCARD enum st session_use_bytes(const struct session *s, const struct session_model *m,
                                      struct err *e);
/* The active one, whatever has become of its file. */
NODISCARD enum st session_active_model(const struct session *s, struct session_model **out,
                                       struct err *e);
/* The active one, to be read, or ST_STATE with what to do about it, or session_use_bytes. */
NODISCARD enum st session_need_model(const struct session *s, struct session_model **out,
                                     struct err *e);
NODISCARD enum st session_need_graph(const struct session *s, struct session_model **out,
                                     struct err *e);
NODISCARD enum st session_need_tokenizer(const struct session *s, struct session_model **out,
                                         struct err *e);
NODISCARD enum st session_need_run(const struct session *s, struct session_run **out,
                                   struct err *e);
void session_use_model(struct session *s, struct session_model *m);
void session_use_run(struct session *s, struct session_run *r);

/* A new run of the active model over these ids; replaces a run of the
 * same name. name NULL: "main". */
NODISCARD enum st session_prompt(struct session *s, const int32_t *ids, int64_t n, const char *name,
                                 struct session_run **out, struct err *e);
/* The floor of mode fast at the level in use, measured on the text of the first call. */
NODISCARD enum st session_fast_floor(struct session *s, struct session_model *m,
                                     const int32_t *ids, int64_t n, struct fast_floor *out,
                                     struct err *e);
/* Options of a run as the settings say. */
struct run_options session_run_options(struct session *s);
/* The same for evaluations over texts and tasks: mode native where none is set. */
struct run_options session_measure_options(struct session *s);
struct pool *session_pool(struct session *s);
/* Text of tokens of the run's model with control bytes visible, appended. */
void session_token_text(const struct session_run *r, int32_t id, struct buf *out);

#endif
