/* SPDX-License-Identifier: MIT */
/* From a line to what is shown: commands are run, results rendered and brought where they belong.
 */
#include "repl/repl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "command/command.h"
#include "command/lex.h"
#include "file/text_file.h"
#include "repl/render.h"

enum { MAX_DEPTH = 16 };

/* ---------------------------------------------------------------- one command */

static void set_status(struct repl *r, enum st st, const struct result *result)
{
    if (st == ST_CANCELLED)
        r->status = EXIT_INTERRUPTED;
    else if (st && r->status != EXIT_INTERRUPTED)
        r->status = EXIT_FAILED;
    else if (!st && result->status == RESULT_FOUND && r->status == 0)
        r->status = EXIT_FOUND;
}

void repl_show_error(struct repl *r, const struct err *e, struct str line)
{
    struct buf out = { 0 }, prefix = { 0 };
    struct style style;
    repl_style(r, r->stderr_tty, &style);
    if (r->script_name)
        buf_printf(&prefix, "%s:%d: ", r->script_name, r->script_line);
    if (r->breakpoint)
        buf_printf(&prefix, "commands of breakpoint %d: ", r->breakpoint);
    render_error(&out, e, line, buf_str(&prefix), &style);
    fflush(stdout);
    fwrite(buf_str(&out), 1, out.n, stderr);
    repl_log(r, str_of(buf_str(&out), out.n));
    buf_free(&out);
    buf_free(&prefix);
}

void repl_open_object(const struct repl *r, struct buf *out)
{
    buf_addc(out, '{');
    if (!r->id[0])
        return;
    buf_adds(out, "\"id\": ");
    buf_json(out, str_from(r->id));
    buf_adds(out, ", ");
}

/* Render the result of a command, and its error where the mode shows errors in the output. */
static void show(struct repl *r, const struct piece *p, const struct result *result,
                 const struct err *e)
{
    struct buf out = { 0 }, messages = { 0 };
    struct style style;
    repl_style(r, r->stdout_tty && !r->sink && !r->once, &style);
    if (style.mode == OUTPUT_JSON) {
        struct buf object = { 0 };
        render_json(&object, p->command, result, e);
        repl_open_object(r, &out);
        buf_add(&out, object.p + 1, object.n - 1);
        buf_free(&object);
    } else
        render_result(&out, &messages, result, &style);
    repl_put(r, str_of(buf_str(&out), out.n), style.mode == OUTPUT_TEXT);
    if (messages.n) {
        fflush(stdout);
        fwrite(messages.p, 1, messages.n, stderr);
    }
    buf_free(&out);
    buf_free(&messages);
}

/* A person reads on while the command goes on; everything else gets one answer. */
static void front_so_far(struct front *f, struct result *out)
{
    struct repl *r = f->data;
    struct style style;
    if (!r->s->interactive || r->sink || r->mute)
        return;
    repl_style(r, r->stdout_tty, &style);
    if (style.mode != OUTPUT_TEXT)
        return;
    struct buf text = { 0 }, messages = { 0 };
    render_result(&text, &messages, out, &style);
    buf_addc(&text, '\n');
    repl_progress_end(r);
    repl_put(r, str_of(text.p, text.n), false);
    buf_free(&text);
    buf_free(&messages);
    result_free(out);
}

static bool front_keys(struct front *f, bool on) { return repl_keys(f->data, on); }

/* Bring collected output to a file or a shell command. */
static enum st deliver(const struct piece *p, struct str text, struct err *e)
{
    if (p->to != TARGET_SHELL) {
        char *path = x_strndup(p->target.p, p->target.n);
        enum st st = text_file_write(path, p->to == TARGET_APPEND, text, e);
        free(path);
        return st;
    }
    char *command = x_strndup(p->target.p, p->target.n);
    int status = repl_pipe(command, text);
    free(command);
    if (status == 0)
        return ST_OK;
    if (status < 0)
        return st_fail(e, ST_IO, "the shell did not start: %s", strerror(errno));
    return st_fail(e, ST_IO, "the shell command ended with status %d", status);
}

/* Take `once FILE` up for a command that has no target of its own. */
static char *take_once(struct repl *r, struct piece *p)
{
    if (p->to != TARGET_FRONT || !r->once || r->sink)
        return NULL;
    char *path = r->once;
    r->once = NULL;
    p->to = TARGET_FILE;
    p->target = str_from(path);
    return path;
}

static enum st run_piece(struct repl *r, struct str line, struct piece *p, bool repeat)
{
    struct result result = { 0 };
    struct err e = ERR_INIT;
    struct buf collected = { 0 }, *outer = r->sink;
    size_t mark = r->s->settings.n_holds;
    char *once = take_once(r, p);
    if (p->to != TARGET_FRONT)
        r->sink = &collected;
    r->reported = false;
    repl_progress_begin(r);
    enum st st = command_run(r->s, p->command, repeat, &result, &e);
    repl_progress_end(r);
    const bool nothing = st && !collected.n && !result.n_tables;
    if (nothing)
        r->sink = outer; /* a file is not replaced by the nothing of a command that failed */
    if (st == ST_CANCELLED && !*e.msg)
        st_fail(&e, st, "interrupted");
    set_status(r, st, &result);
    if (st || !r->mute)
        show(r, p, &result, &e);
    bool shown = r->reported;
    if (st && !shown && setting_int(&r->s->settings, SETTING_OUTPUT) != OUTPUT_JSON) {
        if (e.column >= 0)
            e.column += p->column;
        repl_show_error(r, &e, line);
    }
    r->sink = outer;
    if (p->to != TARGET_FRONT && !nothing) {
        struct err late = ERR_INIT;
        enum st failed = deliver(p, str_of(buf_str(&collected), collected.n), &late);
        if (failed) {
            repl_show_error(r, &late, line);
            set_status(r, failed, &result);
            st = st ? st : failed;
        }
    }
    settings_release(&r->s->settings, mark);
    result_free(&result);
    buf_free(&collected);
    free(once);
    r->reported = st != ST_OK;
    return st;
}

/* Remember a command that an empty line may repeat. */
static void remember(struct repl *r, struct str command)
{
    const struct verb *v = command_verb(r->s, command);
    buf_clear(&r->again);
    if (v && v->flags & VERB_REPEATS)
        buf_add(&r->again, command.p, command.n);
}

/* The commands of one stop. One that moves the run ends them. */
static enum st run_commands(struct repl *r, const struct break_commands *c)
{
    enum st st = ST_OK, first = ST_OK;
    const int64_t moves = r->s->moves;
    for (size_t i = 0; i < c->n && !r->s->quit && r->s->moves == moves; i++) {
        r->script_name = c->list[i].script;
        r->script_line = c->list[i].line;
        r->breakpoint = c->list[i].breakpoint;
        st = repl_line(r, str_from(c->list[i].text));
        first = first ? first : st;
        if (st && (!r->keep_going || st == ST_CANCELLED))
            return st;
    }
    const enum st end = repl_end_commands(r);
    return first ? first : end;
}

/* What stops have asked for, one after the other. */
static enum st run_pending(struct repl *r)
{
    const char *outer_name = r->script_name;
    const int outer_line = r->script_line;
    enum st st = ST_OK;
    r->draining = true;
    r->script_depth++;
    while (r->s->pending.n && !r->s->quit && (!st || (r->keep_going && st != ST_CANCELLED))) {
        struct break_commands now = r->s->pending;
        r->s->pending = (struct break_commands){ 0 };
        st = run_commands(r, &now);
        break_commands_free(&now);
    }
    r->draining = false;
    r->script_depth--;
    r->script_name = outer_name;
    r->script_line = outer_line;
    r->breakpoint = 0;
    break_commands_free(&r->s->pending);
    return st;
}

/* Take the next command of a line as it stands, for the breakpoint whose commands are typed. */
static void collect(struct repl *r, struct str line, size_t *at)
{
    struct piece p;
    struct buf store = { 0 };
    while (*at < line.n && (line.p[*at] == ';' || lex_blank(line.p[*at])))
        ++*at;
    const size_t from = *at;
    if (command_next(r->s, line, at, &p, &store, NULL))
        *at = line.n;
    const struct str text = lex_trim(str_of(line.p + from, *at - from));
    if (text.n)
        session_collect(r->s, text, r->script_name, r->script_line);
    buf_free(&store);
}

/* A line that is no command at all. */
static enum st refuse(struct repl *r, struct str line, enum st st, struct err *e)
{
    struct result none = { .status = RESULT_ERROR };
    struct piece p = { .command = line };
    set_status(r, st, &none);
    if (setting_int(&r->s->settings, SETTING_OUTPUT) == OUTPUT_JSON)
        show(r, &p, &none, e);
    else
        repl_show_error(r, e, line);
    r->reported = true;
    return st;
}

/* Nothing follows: commands of a breakpoint without their `end` are an error, not kept in wait. */
enum st repl_end_commands(struct repl *r)
{
    struct err e = ERR_INIT;
    if (!session_collects(r->s))
        return ST_OK;
    st_fail(&e, ST_SYNTAX, "the commands of breakpoint %d have no `end`", r->s->breaks.collects);
    session_collect_drop(r->s);
    return refuse(r, str_of("", 0), ST_SYNTAX, &e);
}

enum st repl_line(struct repl *r, struct str line)
{
    struct buf store = { 0 };
    enum st st = ST_OK;
    const int64_t moves = r->s->moves;
    for (size_t at = 0; !r->s->quit;) {
        struct piece p;
        while (session_collects(r->s) && at < line.n)
            collect(r, line, &at);
        struct err e = ERR_INIT;
        st = command_next(r->s, line, &at, &p, &store, &e);
        if (st) {
            refuse(r, line, st, &e);
            break;
        }
        if (!p.command.n)
            break;
        if (r->script_depth == 0)
            remember(r, p.command);
        st = run_piece(r, line, &p, false);
        if (r->s->caught && r->batch && !r->keep_going)
            r->s->quit = true; /* with the status that it has earned */
        if (r->draining && r->s->moves != moves)
            break;
        if (!st && r->s->pending.n)
            st = run_pending(r);
        if (st && (!r->keep_going || st == ST_CANCELLED))
            break;
    }
    buf_free(&store);
    return st;
}

enum st repl_again(struct repl *r, struct str command)
{
    struct piece p = { .command = command };
    return run_piece(r, command, &p, true);
}

/* ---------------------------------------------------------------- what commands reach back for */

static enum st front_script(struct front *f, const char *name, struct str text, bool echo,
                            struct err *e)
{
    struct repl *r = f->data;
    if (r->script_depth >= MAX_DEPTH)
        return st_fail(e, ST_STATE, "scripts are nested more than %d deep", MAX_DEPTH);
    enum st st = repl_script(r, name, text, echo);
    r->reported = st != ST_OK;
    return st ? st_fail(e, st, "%s stopped at an error", name) : ST_OK;
}

static enum st front_once(struct front *f, const char *path, struct err *e)
{
    struct repl *r = f->data;
    enum st st = text_file_write(path, true, str_of("", 0),
                                 e); /* say now that it cannot be written */
    if (st)
        return st;
    free(r->once);
    r->once = x_strdup(path);
    return ST_OK;
}

static enum st front_log(struct front *f, const char *path, struct err *e)
{
    struct repl *r = f->data;
    FILE *log = NULL;
    enum st st = path ? text_file_append(path, &log, e) : ST_OK;
    if (st)
        return st;
    if (r->log)
        fclose(r->log);
    r->log = log;
    return ST_OK;
}

static bool front_confirm(struct front *f, const char *question)
{
    struct repl *r = f->data;
    if (!r->s->interactive || r->script_depth || !setting_on(&r->s->settings, SETTING_CONFIRM))
        return true;
    fprintf(stderr, "%s (y or n) ", question);
    char answer[16];
    return fgets(answer, sizeof answer, stdin) && (answer[0] | 32) == 'y';
}

void repl_init(struct repl *r, struct session *s)
{
    *r = (struct repl){ .s = s };
    r->front = (struct front){ .data = r,
                               .script = front_script,
                               .once = front_once,
                               .log = front_log,
                               .so_far = front_so_far,
                               .keys = front_keys,
                               .confirm = front_confirm };
    r->stdout_tty = isatty(STDOUT_FILENO);
    r->stderr_tty = isatty(STDERR_FILENO);
    repl_progress_init(r);
    s->front = &r->front;
    s->progress = &r->progress;
}

void repl_free(struct repl *r)
{
    if (r->log)
        fclose(r->log);
    free(r->once);
    buf_free(&r->again);
    r->s->front = NULL;
    r->s->progress = NULL;
}
