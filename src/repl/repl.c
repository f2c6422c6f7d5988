/* SPDX-License-Identifier: MIT */
/* The loop with readline: prompt, history that lasts, empty lines that repeat, ^C that only clears
 * the line. */
#include "repl/repl.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

#include <readline/history.h>
#include <readline/readline.h>

#include "base/memory.h"
#include "command/command.h"
#include "command/lex.h"
#include "file/text_file.h"

/* readline's callbacks carry no data of ours; one REPL reads lines at a time. */
static char *typed;
static bool line_done;

static void on_line(char *line)
{
    typed = line;
    line_done = true;
    rl_callback_handler_remove();
}

/* ^C at the prompt: forget what was typed, show a new prompt. */
static void clear_line(void)
{
    repl_interrupts = 0;
    fputc('\n', rl_outstream); /* readline has shown ^C */
    using_history();           /* the new line is no old one, which stays what it was */
    rl_replace_line("", 1);
    rl_point = rl_end = rl_mark = 0;
    rl_on_new_line();
    rl_redisplay();
}

/* A line from the person, without its newline; NULL at the end of input, or at ^C where that is
 * to end the reading (told by *interrupted) and not only clear the line. The caller frees it.
 * Signals are taken only while we wait, so that none is lost between a check and the wait. */
static char *read_line(const char *prompt, bool *interrupted)
{
    sigset_t block, before;
    sigemptyset(&block);
    sigaddset(&block, SIGINT);
    sigaddset(&block, SIGTSTP);
    sigaddset(&block, SIGWINCH);
    sigprocmask(SIG_BLOCK, &block, &before);
    line_done = false;
    repl_interrupts = 0;
    rl_callback_handler_install(prompt, on_line);
    while (!line_done) {
        fd_set in;
        FD_ZERO(&in);
        FD_SET(STDIN_FILENO, &in);
        int n = pselect(STDIN_FILENO + 1, &in, NULL, NULL, NULL, &before);
        rl_check_signals();
        if (repl_interrupts && interrupted) {
            *interrupted = true;
            fputc('\n', rl_outstream);
            on_line(NULL);
        } else if (repl_interrupts)
            clear_line();
        else if (n > 0)
            rl_callback_read_char();
        else if (n < 0 && errno != EINTR)
            on_line(NULL);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    repl_interrupts = 0;
    return typed;
}

/* The text of the setting `prompt` with its %-signs replaced. */
static char *prompt_text(const struct repl *r)
{
    struct buf b = { 0 };
    for (const char *p = setting_text(&r->s->settings, SETTING_PROMPT); *p; p++) {
        if (*p != '%') {
            buf_addc(&b, *p);
            continue;
        }
        switch (*++p) {
        case '*': buf_adds(&b, session_changed(r->s) ? "*" : ""); break;
        case 'l': settings_print(&r->s->settings, SETTING_LEVEL, &b); break;
        case '%': buf_addc(&b, '%'); break;
        case '\0': p--; break;
        default: buf_addc(&b, *p);
        }
    }
    return buf_take(&b);
}

/* ---------------------------------------------------------------- history */

/* Where typed lines are kept; NULL when nowhere. The caller frees it. */
static char *history_path(void)
{
    struct buf b = { 0 };
    const char *own = getenv("QDB_HISTORY"), *state = getenv("XDG_STATE_HOME"),
               *home = getenv("HOME");
    if (own && !*own)
        return NULL;
    if (own)
        buf_adds(&b, own);
    else if (state && *state)
        buf_printf(&b, "%s/qdb/history", state);
    else if (home && *home)
        buf_printf(&b, "%s/.local/state/qdb/history", home);
    else
        return NULL;
    return buf_take(&b);
}

static const char *front_history(struct front *f, size_t i)
{
    (void)f;
    HIST_ENTRY *entry = history_get((int)i + history_base);
    return entry ? entry->line : NULL;
}

static int most_history(const struct repl *r)
{
    return (int)setting_int(&r->s->settings, SETTING_HISTORY_SIZE);
}

/* Keep a typed line, unless it begins with a blank or only repeats the one before; true when it is
 * new. */
static bool keep_line(const struct repl *r, const char *line)
{
    HIST_ENTRY *last = history_length ? history_get(history_base + history_length - 1) : NULL;
    if (!*line || lex_blank(*line) || !most_history(r) || (last && strcmp(last->line, line) == 0))
        return false;
    stifle_history(most_history(r));
    add_history(line);
    return true;
}

static void save_history(const struct repl *r, const char *path, int added)
{
    if (!path || !added || !most_history(r))
        return;
    text_file_folders(path);
    if (access(path, F_OK) != 0 && write_history(path) == 0)
        return;
    append_history(added < history_length ? added : history_length, path);
    history_truncate_file(path, most_history(r));
}

/* ---------------------------------------------------------------- the loop */

static void one_line(struct repl *r, const char *line)
{
    struct str text = lex_trim(str_from(line));
    repl_log(r, str_from("(qdb) "));
    repl_log(r, text);
    repl_log(r, str_from("\n"));
    if (text.n) {
        repl_line(r, text);
        return;
    }
    if (!r->again.n)
        return;
    struct buf again = { 0 }; /* running it writes r->again */
    buf_add(&again, r->again.p, r->again.n);
    repl_again(r, str_of(again.p, again.n));
    buf_free(&again);
}

void repl_interactive(struct repl *r)
{
    char *path = history_path();
    int added = 0;
    r->s->interactive = true;
    r->front.history = front_history;
    rl_readline_name = "qdb";
    rl_change_environment = 0;
    rl_persistent_signal_handlers = 1;
    repl_complete_init(r);
    using_history();
    stifle_history(most_history(r));
    if (path)
        read_history(path);
    while (!r->s->quit) {
        const bool collects = session_collects(r->s);
        bool interrupted = false;
        char *prompt = collects ? x_strdup("> ") : prompt_text(r);
        char *line = read_line(prompt, collects ? &interrupted : NULL);
        free(prompt);
        if (interrupted) {
            session_collect_drop(r->s);
            puts("the commands typed are dropped");
            continue;
        }
        if (!line && collects) { /* ^D, as `end` */
            session_collect(r->s, STR("end"), NULL, 0);
            puts("end");
            continue;
        }
        if (!line) {
            puts("quit");
            break;
        }
        added += keep_line(r, line);
        one_line(r, line);
        free(line);
    }
    save_history(r, path, added);
    free(path);
    r->front.history = NULL;
    r->s->interactive = false;
}
