/* SPDX-License-Identifier: MIT */
/* The session: the only state above the engine. Models, runs, breakpoints, settings; every front
 * end works on it through the commands. */
#ifndef QDB_SESSION_SESSION_H
#define QDB_SESSION_SESSION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/progress.h"
#include "base/table.h"
#include "base/text.h"
#include "file/imatrix.h"
#include "session/breakpoint.h"
#include "session/changes.h"
#include "session/displays.h"
#include "session/runs.h"
#include "session/settings.h"
#include "session/values.h"
#include "study/evaluate.h"
#include "study/metric.h"

/* What an argument of a command is, for completion and help. */
enum arg_kind {
    ARG_NONE,
    ARG_FILE,
    ARG_VERB,
    ARG_ADDRESS, /* weights and points, slices after `[` */
    ARG_POINT,
    ARG_WEIGHT,
    ARG_FORMAT,  /* numeric formats */
    ARG_ENCODED, /* formats of files that rows can be encoded into */
    ARG_KERNEL,  /* formats of files that can be decoded, or a compute mode */
    ARG_COMPUTE, /* a compute mode */
    ARG_MIX,
    ARG_EXPR,
    ARG_SETTING,
    ARG_WORD, /* `explain` words */
    ARG_RUN,
    ARG_MODEL,
    ARG_OWNER, /* a model or a run */
    ARG_NUMBER,
    ARG_TEXT,
    ARG_BREAK, /* number of a breakpoint */
    ARG_POSITION,
    ARG_BLOCK,     /* blk.N */
    ARG_SUB,       /* blk.N or blk.N.attn */
    ARG_CONDITION, /* the rest of the line is a condition */
    ARG_WATCH,     /* STAT(POINT), or the address of one element */
    ARG_COMMAND, /* the rest of the line is a command again */
};

struct session;

/* What a front end lends to the commands that reach back to it (source, once, log, history). Any
 * member may be NULL: the command then says that it is not possible here. */
struct front {
    void *data;
    /* Run the lines of `text` as if they were typed, showing each result; `name` is for messages.
     * `echo`: show the commands too, and lines that begin with `#:` as prose. */
    enum st (*script)(struct front *f, const char *name, struct str text, bool echo, struct err *e);
    /* The output of the next command goes to this file. */
    enum st (*once)(struct front *f, const char *path, struct err *e);
    /* Copy what is typed and shown to this file too; NULL ends it. */
    enum st (*log)(struct front *f, const char *path, struct err *e);
    /* Typed line i, 0 is the oldest that is kept; NULL at the end. */
    const char *(*history)(struct front *f, size_t i);
    /* Show a person now what the command that runs has found, before it goes on; *out is emptied
     * then. Elsewhere all of it is shown at its end. */
    void (*so_far)(struct front *f, struct result *out);
    /* While this is on, a key that a person presses cancels the command as ^C does, and begins the
     * next line. When it is turned off: has one? */
    bool (*keys)(struct front *f, bool on);
    /* Ask a question that is answered with y or n. */
    bool (*confirm)(struct front *f, const char *question);
};

/* A name that stands for the beginning of a command. */
struct alias {
    char *name, *text;
};

/* A plan that was given a name, as text (quant/plan_file.h). */
struct session_plan {
    char *name, *text;
};

/* A place of a run that was given a name. */
struct mark {
    char *name;
    const struct session_run *run;
    struct position at;
    uint64_t changes; /* changes_before() when it was named */
};

/* The element that the last breakpoint, catch or watchpoint stopped at. */
struct element {
    const struct session_run *run; /* NULL = none; gone with the run */
    int span, value;
    int64_t at;
    bool error; /* it is about the difference to the reference, not about the value */
};

/* Where the last `x` ended: elements of what the address names. */
struct examine {
    char *address; /* without a slice; NULL before the first one */
    int64_t first, next, count;
    char letter;
};

/* Lines of dynamic prints since a stop was last shown; `lost` counts those beyond the limit. */
struct said {
    char **lines;
    size_t n, cap;
    int64_t lost;
};

/* The evaluation set that stays in memory, encoded by the model that was active. */
struct session_data {
    char *path; /* of the text; NULL = none */
    struct evaluation_set set;
    uint64_t text; /* hash of the whole of it, as tokens */
};

/* Looks at the half `check` of a text against a reference. */
struct looked {
    uint64_t text;
    char *reference; /* path */
    int64_t looks;
};

/* What measures on that set (session/measure.h), and the model, reference, mode and level of
 * kernels that it was made for. */
struct session_measure {
    struct evaluator *evaluator; /* NULL = none yet */
    const struct session_model *model, *ref;
    enum compute mode;
    const struct level *level;
};

struct session {
    struct settings settings;
    struct session_models models;
    struct breakpoints breaks;
    struct changes changes;
    struct said said;
    /* commands that a stop asks for: run by the front end once it is shown */
    struct break_commands pending;
    int64_t moves; /* how often a run has moved forward */
    struct element hit;
    bool caught;        /* a catch has fired: a batch ends */
    struct mark *marks; /* those of a killed run go with it */
    size_t n_marks, cap_marks;
    struct values values;
    struct session_data data;
    struct looked *looked; /* they stay when the set goes */
    size_t n_looked, cap_looked;
    struct session_measure measure;
    struct session_measured *measured; /* session/measured.h; NULL = nothing */
    struct quant_cache *forms;         /* that were made; NULL = none yet */
    struct session_plan *plans;
    size_t n_plans, cap_plans;
    struct metric metric;
    struct imatrix *imatrix; /* what encoders weight errors with; NULL = none */
    char *imatrix_path;      /* the file or text it comes from */
    struct displays displays;
    struct examine examine;
    int list_next; /* node at which `list` goes on */
    struct progress *progress; /* of the front end that is calling; NULL = silent */
    struct front *front;       /* of the front end that is calling; NULL = none */
    bool interactive;          /* a person is at the other end: confirmations make sense */
    const char *kernels_by;    /* who forced a level of kernels: "--kernels"; NULL = nobody */
    bool quit;                 /* set by `quit`: the front end leaves its loop */
    int quit_status;           /* what `quit N` asked for, -1 if nothing */
    struct alias *aliases;
    size_t n_aliases, cap_aliases;
};

struct session *session_new(void);
void session_free(struct session *s);

/* `NAME = EXPR`: keep the value of the expression as $NAME. Columns of errors are those of `expr`.
 */
enum st session_assign(struct session *s, struct str name, struct str expr, struct result *out,
                       struct err *e);

/* Call add() for every name of this kind in the session that begins with `prefix`: weights and
 * points, axes after `[`, runs, models, positions, numbers of breakpoints. Nothing for kinds that
 * the session does not know. */
void session_names(struct session *s, enum arg_kind kind, struct str prefix,
                   void (*add)(void *data, const char *name), void *data);

/* Keep a line of a dynamic print for the next stop. */
void session_say(struct session *s, const char *line);
void session_said_clear(struct session *s);

/* While the commands of a breakpoint are being typed, every one is kept, up to `end`. script, line:
 * where it stands; NULL: at a prompt. */
bool session_collects(const struct session *s);
void session_collect(struct session *s, struct str command, const char *script, int line);
void session_collect_drop(struct session *s); /* forget those typed so far */

/* Keep this evaluation set, which is taken over, instead of the one there was; NULL: none. text:
 * what tells one text from another. */
void session_data(struct session *s, const char *path, uint64_t text,
                  const struct evaluation_set *set);
/* One look more at the half `check` of the set against this reference: how many that makes. */
int64_t session_look(struct session *s, const char *reference);

/* Keep this importance matrix, which is taken over, instead of the one there was; NULL: none. */
void session_imatrix(struct session *s, const char *path, struct imatrix *m);

/* Does any change hold for the active model? The prompt shows it. */
bool session_changed(const struct session *s);
/* Has something before the named place been changed, or changed back, since it was named? */
bool session_stale(const struct session *s, const struct mark *k);

#endif
