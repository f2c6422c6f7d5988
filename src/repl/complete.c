/* SPDX-License-Identifier: MIT */
/* The Tab key: readline's view of what command/complete finds. */
#include "command/complete.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <readline/readline.h>

#include "base/memory.h"
#include "repl/repl.h"

/* readline's callbacks carry no data of ours; one REPL reads lines at a time. */
static struct session *session;
static struct completions found;
static size_t next_name;
static int word_start;

/* A candidate as readline wants it: what replaces the line from word_start on. Behind our names
 * come those of files where they may stand. */
static char *generate(const char *text, int state)
{
    static int file;
    if (!state)
        next_name = 0, file = 0;
    if (next_name >= found.n)
        return found.files ? rl_filename_completion_function(text, file++) : NULL;
    const char *name = found.names[next_name++];
    struct buf b = { 0 };
    if (found.from > word_start) {
        buf_add(&b, rl_line_buffer + word_start, (size_t)(found.from - word_start));
        buf_adds(&b, name);
    } else
        buf_adds(&b, name + (word_start - found.from));
    return buf_take(&b);
}

static char **attempt(const char *text, int start, int end)
{
    size_t most = (size_t)setting_int(&session->settings, SETTING_MAX_COMPLETIONS);
    completions_free(&found);
    complete(session, str_of(rl_line_buffer, (size_t)end), most, &found);
    rl_attempted_completion_over = !found.files || found.n;
    rl_filename_completion_desired = found.files;
    word_start = start;
    rl_completion_append_character = ' ';
    if (found.n == 1) {
        const char *name = found.names[0];
        size_t n = strlen(name);
        if (n && strchr(".=[(", name[n - 1]))
            rl_completion_append_character = '\0';
    }
    return found.n ? rl_completion_matches(text, generate) : NULL;
}

static void display(char **matches, int n, int longest)
{
    putchar('\n');
    rl_display_match_list(matches, n, longest);
    if (found.truncated)
        puts("more are left out, see `help set max-completions`");
    rl_forced_update_display();
}

void repl_complete_init(struct repl *r)
{
    session = r->s;
    rl_attempted_completion_function = attempt;
    rl_completion_display_matches_hook = display;
    rl_completer_word_break_characters = " \t\n;|>";
    rl_completer_quote_characters = "\"'";
    rl_filename_quote_characters = " \t\n;|>#\"'";
    rl_completion_query_items = -1; /* the list is bounded already */
}
