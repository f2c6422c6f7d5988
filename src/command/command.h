/* SPDX-License-Identifier: MIT */
/* Commands: ONE table of verbs (name, alias, arguments, help, examples, function -> tables), and
 * the way from a line of text to a call. Help, completion, the man page and apropos come from the
 * table. */
#ifndef QDB_COMMAND_COMMAND_H
#define QDB_COMMAND_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/table.h"
#include "base/text.h"
#include "session/session.h"

enum verb_flag {
    VERB_REPEATS = 1, /* an empty line repeats it */
    VERB_EXACT = 2,   /* changes mode or destroys work: never chosen by prefix */
    VERB_RAW =
        4, /* takes the rest of the line as it stands: no `;`, `|`, `>`, quotes; n_words = 0 */
    VERB_COMPARES = 8, /* its arguments may hold comparisons: `>` is no redirection, and `|` is a
                        * pipe only between blanks */
    VERB_HIDDEN = 16,  /* not in help and completion */
    VERB_WRAPS = 32, /* another command follows, after `--` if that is among the words: it rules */
};

enum { CALL_MAX_WORDS = 64, VERB_MAX_ARGS = 4 };

/* One word of a command line: text with quotes taken away, and where it stood in the line. A word
 * ends at a blank outside (), [], {} and quotes. "..." knows \n \t \r \" \\ \xNN \u{N}, '...' takes
 * everything as it stands; a quote that does not begin the word (tok="Paris") protects blanks and
 * stays in the text. */
struct word {
    struct str text;
    int column, length;
    bool quoted;
};

/* A parsed command, borrowed while the verb runs. */
struct call {
    const struct verb *verb;
    struct str line; /* the whole command as typed */
    struct str rest; /* everything after the verb (and its /format), blanks trimmed */
    int rest_column;
    struct str format;                 /* "16f" of `x/16f`, empty if none */
    struct word words[CALL_MAX_WORDS]; /* the arguments, the verb not among them */
    int n_words;
    bool repeat;       /* called again by an empty line: continue where the last one ended */
    struct str assign; /* `NAME = EXPR`: the name (verb is NULL, EXPR is in rest) */
};

/* What stands behind one of these words ("ctx|chunks") instead of what its place would hold; each
 * of them may be said once. A condition goes on to the end of the line. */
struct arg_after {
    const char *words; /* NULL ends a list */
    enum arg_kind kind;
    const char *offers; /* fixed words, NULL if none */
};

/* One of the things that a verb does, named by its first word: what stands behind that word. */
struct verb_sub {
    const char *name;                   /* NULL ends a list */
    enum arg_kind kinds[VERB_MAX_ARGS]; /* in order; the last one repeats */
    const char *words;                  /* as of a verb */
    enum st (*run)(struct session *s, const struct call *c, struct result *out, struct err *e);
};

struct verb {
    const char *name, *alias; /* alias NULL if none; two aliases separated by a blank */
    const char *class;        /* files data break run change analyse support */
    const char *args;         /* synopsis: "ADDR [by STAT] [N]", NULL if none */
    const char *brief;        /* one line */
    const char *help;         /* paragraphs; definitions of what is shown, units */
    const char *examples;     /* lines of commands that work on the demo model */
    unsigned flags;
    enum arg_kind kinds[VERB_MAX_ARGS]; /* of the arguments in order; the last one repeats */
    const char
        *words; /* fixed words that may stand among the arguments: "model|kv|-f", for completion */
    const struct arg_after *after; /* NULL if none */
    const struct verb_sub *subs;   /* NULL: `kinds` and `words` hold for all words */
    /* Fill *out with tables and notes; on error fill *e, whatever is in *out is the partial result.
     */
    enum st (*run)(struct session *s, const struct call *c, struct result *out, struct err *e);
};

/* The tables of verbs, each ending with a row without name; one per verbs_*.c. */
extern const struct verb verbs_files[], verbs_input[], verbs_break[], verbs_catch[], verbs_change[],
    verbs_look[], verbs_control[], verbs_analyse[], verbs_study[], verbs_bench[], verbs_compare[],
    verbs_diverge[], verbs_bisect[], verbs_check[], verbs_patch[], verbs_worst[], verbs_export[],
    verbs_imatrix[], verbs_kl[], verbs_plan[], verbs_ppl[], verbs_qerr[], verbs_quant[],
    verbs_recipe[], verbs_record[], verbs_report[], verbs_why[], verbs_stream[], verbs_range[],
    verbs_support[];

static inline const char *verb_args(const struct verb *v) { return v->args ? v->args : ""; }
size_t verb_count(void);
const struct verb *verb_at(size_t i); /* all verbs in the order of the tables */
/* Exact name, fixed alias, unique prefix; else ST_NOTFOUND with "did you mean" or the candidates.
 */
NODISCARD enum st verb_find(struct str name, const struct verb **out, struct err *e);

bool verb_is_fixed(struct str name); /* the exact name or a fixed alias of a verb */
/* The verb that a command begins with, through user aliases too; NULL if there is none. */
const struct verb *command_verb(const struct session *s, struct str command);
/* Append a word so that it is read back as one word: quoted where it must be. */
void command_quote(struct buf *out, struct str word);

/* One command cut from a line, and where its output goes. */
enum target_kind { TARGET_FRONT, TARGET_SHELL, TARGET_FILE, TARGET_APPEND };

struct piece {
    struct str command; /* trimmed; empty when the line holds no (further) command */
    int column;         /* of the command in the line */
    enum target_kind to;
    struct str target; /* the shell's command line or the file's name */
};

/* Cut the next command from a line with `;`, `#`, `| sh`, `> file`, `>> file`. *at starts at 0 and
 * moves on; storage for an unquoted file name is put in *store (emptied first). Columns of errors
 * are those of the line. */
NODISCARD enum st command_next(const struct session *s, struct str line, size_t *at,
                               struct piece *out, struct buf *store, struct err *e);
/* Parse one command (no `;`, `|`, `>` left in it). Storage for unquoted words is put in *store
 * (emptied first), which must outlive *out. */
NODISCARD enum st command_parse(struct str line, struct call *out, struct buf *store,
                                struct err *e);
/* Parse and run one command in the session; user aliases are expanded. The caller frees *out with
 * result_free, also on error. Columns of errors are those of `line`. */
enum st command_run(struct session *s, struct str line, bool repeat, struct result *out,
                    struct err *e);

/* The help of one verb as a text table. */
enum st verb_help(const struct verb *v, struct result *out);
/* The verbs and settings as Markdown (docs/commands.md) and as sections of the manual page. */
void manual_markdown(struct buf *out);
void manual_roff(struct buf *out);
/* The examples of every verb: a line `# VERB`, then its commands. */
void manual_examples(struct buf *out);

/* For verbs. */
/* An error about argument i of the call, or about the end of the line when there is no such
 * argument. */
enum st call_fail(const struct call *c, int i, struct err *e, enum st st, const char *fmt, ...)
    PRINTF_LIKE(5, 6);

/* `as NAME` at argument i, the last of the call: a name that addresses can hold. Not given when the
 * words end there. */
enum { NAME_SIZE = 64 };
NODISCARD enum st call_name(const struct call *c, int i, char name[NAME_SIZE], bool *given,
                            struct err *e);

/* Run the rest of the line from column `from` on as a command, its result being ours. */
NODISCARD enum st call_rest(struct session *s, const struct call *c, int from, struct result *out,
                            struct err *e);

/* Before work is lost: ask the person, when there is one and `set confirm` is on. ST_STATE = no. */
NODISCARD enum st confirm(struct session *s, struct err *e, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
