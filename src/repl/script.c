/* SPDX-License-Identifier: MIT */
/* Lines of commands from files, streams and scripts that explain themselves. */
#include "repl/repl.h"

#include <stdlib.h>
#include <string.h>

#include "file/text_file.h"
#include "repl/render.h"

enum { MAX_SCRIPT = 16 << 20 };

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

enum st repl_script(struct repl *r, const char *name, struct str text, bool echo)
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
        st = repl_script(r, path, str_of(buf_str(&text), text.n), false);
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
        const struct str text = str_of(line, (size_t)n);
        const struct str command = take_id(r, lines == 1 ? text_unmarked(text) : text);
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
