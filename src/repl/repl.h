/* SPDX-License-Identifier: MIT */
/* The line-oriented front end: runs command lines and scripts in a session, shows what they return,
 * and reads lines from a person or a pipe. */
#ifndef QDB_REPL_REPL_H
#define QDB_REPL_REPL_H

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <termios.h>

#include "base/progress.h"
#include "base/text.h"
#include "session/session.h"

/* Exit statuses of qdb. */
enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_FOUND = 3, EXIT_INTERRUPTED = 130 };

struct repl {
    struct session *s;
    struct front front;
    struct progress progress;
    bool batch;      /* no paging, no colour unless forced */
    bool mute;       /* success shows nothing */
    bool keep_going; /* a failed command does not end a script */
    int status;      /* exit status so far */
    bool stdout_tty, stderr_tty, utf8;

    /* Where we are in nested scripts; name is NULL when a person types. */
    const char *script_name;
    int script_line, script_depth;
    bool reported; /* the error that is on its way up was shown already */
    bool draining; /* the commands of breakpoints run */
    int breakpoint; /* whose command it is, 0: nobody's */
    char id[64];   /* that a program gave the line that runs, "" if none: every object carries it */

    struct buf *sink; /* output of the running command when it is redirected, else NULL */
    char *once;       /* the next output goes to this file */
    FILE *log;
    struct buf again; /* the last command, when an empty line repeats it */

    bool watching, pressed; /* for a key; there was one */
    struct termios cooked;  /* the terminal before */

    double began, drawn; /* of the running command and its last progress line; seconds */
    double label_began;
    char label[64];
};

/* The session's front and progress are those of the repl from now on; SIGINT cancels the running
 * command. */
void repl_init(struct repl *r, struct session *s);
void repl_free(struct repl *r);

/* Run all commands of a line; the first failure ends it. Errors have been shown when it returns. */
enum st repl_line(struct repl *r, struct str line);
/* At the end of the input: ST_SYNTAX, and said, if commands of a breakpoint wait for `end`. */
enum st repl_end_commands(struct repl *r);
/* Run one command again, as an empty line does. */
enum st repl_again(struct repl *r, struct str command);
/* Read and run a file of commands. */
enum st repl_file(struct repl *r, const char *path);
/* Commands from a stream that is no terminal; returns how many lines there were. A line `@ID
 * COMMAND`, with --output json, is from a program that waits for the answer: each object has
 * "id": "ID", progress comes as objects, a failure does not end the stream, and an object with
 * "done": true follows. */
size_t repl_stream(struct repl *r, const char *name, FILE *in);
/* Read lines from the person at the terminal until `quit` or the end of input. */
void repl_interactive(struct repl *r);

/* ---- between the files of this room ---- */

extern volatile sig_atomic_t repl_interrupts; /* how often ^C was typed since the command began */

void repl_show_error(struct repl *r, const struct err *e, struct str line);
/* Run the lines of a script; a failed line ends it unless keep_going. `echo`: as in `front`. */
enum st repl_script(struct repl *r, const char *name, struct str text, bool echo);
/* Bytes for standard output, the sink or the pager, and the log. */
void repl_put(struct repl *r, struct str text, bool page);
/* Give text to a shell command and wait for it: its exit status, or -1 when it did not start. */
int repl_pipe(const char *command, struct str text);
void repl_log(struct repl *r, struct str text);
/* `{"id": "ID"` and a comma, or `{` when the line has none: the beginning of an object. */
void repl_open_object(const struct repl *r, struct buf *out);
struct style;
void repl_style(const struct repl *r, bool to_terminal, struct style *out);
void repl_progress_init(struct repl *r);
void repl_progress_begin(struct repl *r);
void repl_progress_end(struct repl *r);
bool repl_keys(struct repl *r, bool on); /* struct front's keys() */
void repl_complete_init(struct repl *r); /* the Tab key of readline */

#endif
