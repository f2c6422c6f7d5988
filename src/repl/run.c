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

enum { MAX_SCRIPT = 16 << 20, MAX_DEPTH = 16 };

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

/* Run the lines of a script; a failed line ends it unless keep_going. `echo`: as in struct front.
 */
static enum st run_script(struct repl *r, const char *name, struct str text, bool echo);

/* What stops have asked for, one after the other. A command that moves the run ends the list that
 * it stands in. */
static enum st run_pending(struct repl *r)
{
    enum st st = ST_OK;
    r->draining = true;
    while (r->s->pending.n && !r->s->quit && (!st || (r->keep_going && st != ST_CANCELLED))) {
        char *text = buf_take(&r->s->pending);
        st = run_script(r, "commands", str_from(text), false);
        free(text);
    }
    r->draining = false;
    buf_clear(&r->s->pending);
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
        session_collect(r->s, text);
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

/* ---------------------------------------------------------------- scripts */

/* The next line of a script, lines that end with a backslash joined; false at the end. */
static bool next_line(struct str text, size_t *at, struct buf *line, int *number)
{
    buf_clear(line);
    if (*at >= text.n)
        return false;
    bool more = true;
    while (more && *at < text.n) {
        const char *from = text.p + *at, *end = memchr(from, '\n', text.n - *at);
        size_t n = end ? (size_t)(end - from) : text.n - *at;
        *at += n + 1;
        ++*number;
        more = n && from[n - 1] == '\\';
        buf_add(line, from, more ? n - 1 : n);
    }
    return true;
}

/* `#:---` in a script that explains itself: a blank line, and for a person the time to read. */
static bool pause_here(struct repl *r)
{
    if (setting_int(&r->s->settings, SETTING_OUTPUT) != OUTPUT_TEXT)
        return true;
    repl_put(r, STR("\n"), false);
    if (!r->s->interactive || !r->stdout_tty || r->sink)
        return true;
    fputs("(Enter goes on, q ends the tour) ", stdout);
    fflush(stdout);
    char answer[16];
    return fgets(answer, sizeof answer, stdin) && answer[0] != 'q';
}

/* Show a line of a script that explains itself; true when it is prose and not to be run. */
static bool echo_line(struct repl *r, struct str line)
{
    bool prose = str_starts(line, "#:");
    if (setting_int(&r->s->settings, SETTING_OUTPUT) != OUTPUT_TEXT)
        return prose;
    struct style style;
    repl_style(r, r->stdout_tty && !r->sink, &style);
    struct buf b = { 0 };
    if (prose) {
        size_t skip = line.n > 2 && line.p[2] == ' ' ? 3 : 2;
        buf_add(&b, line.p + skip, line.n - skip);
    } else if (line.n && line.p[0] != '#') {
        render_paint(&b, "1", &style);
        buf_adds(&b, "(qdb) ");
        buf_add(&b, line.p, line.n);
        render_paint(&b, "0", &style);
    }
    if (prose || b.n || !line.n) {
        buf_addc(&b, '\n');
        repl_put(r, str_of(b.p, b.n), false);
    }
    buf_free(&b);
    return prose;
}

static enum st run_script(struct repl *r, const char *name, struct str text, bool echo)
{
    const char *outer_name = r->script_name;
    int outer_line = r->script_line, number = 0;
    struct buf line = { 0 };
    enum st st = ST_OK, first = ST_OK;
    const int64_t moves = r->s->moves;
    const bool collected = session_collects(r->s);
    r->script_depth++;
    for (size_t at = 0; !r->s->quit;) {
        int start = number + 1;
        if (!next_line(text, &at, &line, &number))
            break;
        r->script_name = name;
        r->script_line = start;
        struct str s = str_of(buf_str(&line), line.n);
        if (echo && str_is(s, "#:---")) {
            if (!pause_here(r))
                break;
            continue;
        }
        if (echo && echo_line(r, s))
            continue;
        st = repl_line(r, s);
        first = first ? first : st;
        if ((st && (!r->keep_going || st == ST_CANCELLED)) || (r->draining && r->s->moves != moves))
            break;
    }
    if (!st && !collected)
        first = st = repl_end_commands(r);
    r->script_depth--;
    r->script_name = outer_name;
    r->script_line = outer_line;
    buf_free(&line);
    return st == ST_CANCELLED ? st : first;
}

enum st repl_file(struct repl *r, const char *path)
{
    struct buf text = { 0 };
    struct err e = ERR_INIT;
    enum st st = text_file_read(path, MAX_SCRIPT, &text, &e);
    if (st) {
        repl_show_error(r, &e, str_of("", 0));
        r->status = EXIT_FAILED;
    } else
        st = run_script(r, path, str_of(buf_str(&text), text.n), false);
    buf_free(&text);
    return st;
}

/* Take `@ID ` from the front of a line into r->id. */
static struct str take_id(struct repl *r, struct str line)
{
    size_t n = 1;
    r->id[0] = '\0';
    if (!line.n || line.p[0] != '@' || setting_int(&r->s->settings, SETTING_OUTPUT) != OUTPUT_JSON)
        return line;
    while (n < line.n && line.p[n] != ' ')
        n++;
    if (n < 2 || n > sizeof r->id)
        return line;
    memcpy(r->id, line.p + 1, n - 1);
    r->id[n - 1] = '\0';
    repl_interrupts = 0;
    return str_of(line.p + n, line.n - n);
}

/* The answer to a line with an id is complete. */
static void end_answer(struct repl *r, enum st st)
{
    struct buf b = { 0 };
    repl_open_object(r, &b);
    buf_printf(&b, "\"done\": true, \"ok\": %s}\n", st ? "false" : "true");
    repl_put(r, str_of(b.p, b.n), false);
    buf_free(&b);
    r->id[0] = '\0';
}

size_t repl_stream(struct repl *r, const char *name, FILE *in)
{
    char *line = NULL;
    size_t cap = 0, lines = 0;
    ssize_t n;
    r->script_depth++;
    while (!r->s->quit && (n = getline(&line, &cap, in)) > 0) {
        lines++;
        r->script_name = name;
        r->script_line = (int)lines;
        if (line[n - 1] == '\n')
            n--;
        const struct str command = take_id(r, str_of(line, (size_t)n));
        enum st st = repl_line(r, command);
        if (r->id[0])
            end_answer(r, st);
        else if (st && (!r->keep_going || st == ST_CANCELLED))
            break;
    }
    repl_end_commands(r);
    r->script_depth--;
    r->script_name = NULL;
    if (repl_interrupts)
        r->status = EXIT_INTERRUPTED;
    free(line);
    return lines;
}

/* ---------------------------------------------------------------- what commands reach back for */

static enum st front_script(struct front *f, const char *name, struct str text, bool echo,
                            struct err *e)
{
    struct repl *r = f->data;
    if (r->script_depth >= MAX_DEPTH)
        return st_fail(e, ST_STATE, "scripts are nested more than %d deep", MAX_DEPTH);
    enum st st = run_script(r, name, text, echo);
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
