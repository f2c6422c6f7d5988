/* SPDX-License-Identifier: MIT */
/* The verbs that make a session pleasant: scripts, aliases, history, the shell, leaving.
 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/command.h"
#include "command/complete.h"
#include "command/help.h"
#include "command/lex.h"
#include "command/scripts.h"
#include "command/verbs_change.h"
#include "command/verbs_settings.h"
#include "file/text_file.h"

enum { MAX_SCRIPT = 16 << 20 };

static enum st not_here(const struct call *c, struct err *e)
{
    return st_fail(e, ST_UNSUPPORTED, "`%s` is not possible from here", c->verb->name);
}

/* ---------------------------------------------------------------- scripts, output */

static enum st run_source(struct session *s, const struct call *c, struct result *out,
                          struct err *e)
{
    (void)out;
    if (c->n_words != 1)
        return call_fail(c, c->n_words ? 1 : 0, e, ST_SYNTAX, "source takes one file of commands");
    if (!s->front || !s->front->script)
        return not_here(c, e);
    struct buf text = { 0 };
    char *path = x_strndup(c->words[0].text.p, c->words[0].text.n);
    enum st st = text_file_read(path, MAX_SCRIPT, &text, e);
    if (!st)
        st = s->front->script(s->front, path, str_of(buf_str(&text), text.n), false, e);
    free(path);
    buf_free(&text);
    return st;
}

static enum st run_tour(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    (void)out;
    if (!s->front || !s->front->script)
        return not_here(c, e);
    const struct script *tour = script_find("tour");
    return s->front->script(s->front, tour->name, str_from(tour->text), true, e);
}

static enum st run_echo(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    (void)s, (void)e;
    struct buf b = { 0 };
    for (int i = 0; i < c->n_words; i++) {
        if (i)
            buf_addc(&b, ' ');
        buf_add(&b, c->words[i].text.p, c->words[i].text.n);
    }
    result_line(out, "echo", "%s", buf_str(&b));
    buf_free(&b);
    return ST_OK;
}

static enum st run_once(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    (void)out;
    if (c->n_words != 1)
        return call_fail(c, c->n_words ? 1 : 0, e, ST_SYNTAX, "once takes one file");
    if (!s->front || !s->front->once)
        return not_here(c, e);
    char *path = x_strndup(c->words[0].text.p, c->words[0].text.n);
    enum st st = s->front->once(s->front, path, e);
    free(path);
    return st;
}

static enum st run_log(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    (void)out;
    bool off = c->n_words == 1 && str_is(c->words[0].text, "off");
    if (!off && !(c->n_words == 2 && str_is(c->words[0].text, "on")))
        return call_fail(c, 0, e, ST_SYNTAX, "log takes `on FILE` or `off`");
    if (!s->front || !s->front->log)
        return not_here(c, e);
    char *path = off ? NULL : x_strndup(c->words[1].text.p, c->words[1].text.n);
    enum st st = s->front->log(s->front, path, e);
    free(path);
    return st;
}

static enum st run_pipe(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    return call_rest(s, c, c->rest_column, out, e);
}

static enum st run_shell(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    (void)out;
    struct buf command = { 0 };
    if (setting_int(&s->settings, SETTING_OUTPUT) != OUTPUT_TEXT)
        buf_adds(&command, "exec >&2\n"); /* what reads the tables gets nothing else */
    if (c->rest.n)
        buf_add(&command, c->rest.p, c->rest.n);
    else
        buf_adds(&command, "exec \"${SHELL:-/bin/sh}\"");
    int status = system(buf_str(&command));
    buf_free(&command);
    if (status == -1)
        return st_fail(e, ST_IO, "the shell did not start");
    if (status)
        return st_fail(e, ST_IO, "the shell command ended with status %d",
                       status > 255 ? status >> 8 : status);
    return ST_OK;
}

/* ---------------------------------------------------------------- aliases, history, completion */

static void show_aliases(const struct session *s, struct result *out)
{
    struct table *t = result_table(out, "aliases", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "alias" }, { COL_STRING, "command" });
    for (size_t i = 0; i < s->n_aliases; i++) {
        table_row(t);
        table_str(t, s->aliases[i].name);
        table_str(t, s->aliases[i].text);
    }
}

static void remove_alias(struct session *s, size_t i)
{
    free(s->aliases[i].name);
    free(s->aliases[i].text);
    memmove(&s->aliases[i], &s->aliases[i + 1], (--s->n_aliases - i) * sizeof *s->aliases);
}

/* `alias NAME = COMMAND`, `alias NAME =` to remove it. */
static enum st run_alias(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    if (!c->rest.n) {
        show_aliases(s, out);
        return ST_OK;
    }
    struct str name = lex_verb(c->rest);
    struct str rest = lex_trim(str_of(c->rest.p + name.n, c->rest.n - name.n));
    if (!rest.n || rest.p[0] != '=') {
        st_fail(e, ST_SYNTAX, "alias takes NAME = COMMAND");
        return st_at(e, (int)c->line.n, 1);
    }
    struct str text = lex_trim(str_of(rest.p + 1, rest.n - 1));
    if (verb_is_fixed(name)) {
        st_fail(e, ST_STATE, "`%.*s` is a command already", (int)name.n, name.p);
        return st_at(e, c->rest_column, (int)name.n);
    }
    if (text.n && !command_verb(s, text)) {
        const struct verb *v;
        struct str target = lex_verb(text);
        enum st st = verb_find(target, &v, e);
        return st ? st_at(e, (int)(text.p - c->line.p), (int)target.n) : ST_OK;
    }
    for (size_t i = 0; i < s->n_aliases; i++)
        if (str_is(name, s->aliases[i].name))
            remove_alias(s, i);
    if (!text.n)
        return ST_OK;
    x_grow(&s->aliases, &s->cap_aliases, s->n_aliases + 1, sizeof *s->aliases);
    s->aliases[s->n_aliases++] = (struct alias){ x_strndup(name.p, name.n),
                                                 x_strndup(text.p, text.n) };
    return ST_OK;
}

static enum st run_history(struct session *s, const struct call *c, struct result *out,
                           struct err *e)
{
    int64_t most = 20;
    if (c->n_words) {
        enum st st = parse_i64(c->words[0].text, 1, 1000000, &most, e);
        if (st)
            return st_at(e, c->words[0].column, c->words[0].length);
    }
    size_t n = 0; /* nobody types in a batch */
    while (s->front && s->front->history && s->front->history(s->front, n))
        n++;
    struct table *t = result_table(out, "history", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_INT, "line" }, { COL_STRING, "command" });
    for (size_t i = n > (size_t)most ? n - (size_t)most : 0; i < n; i++) {
        table_row(t);
        table_int(t, (int64_t)i + 1);
        table_str(t, s->front->history(s->front, i));
    }
    return ST_OK;
}

static enum st run_complete(struct session *s, const struct call *c, struct result *out,
                            struct err *e)
{
    (void)e;
    struct completions found = { 0 };
    complete(s, c->rest, (size_t)setting_int(&s->settings, SETTING_MAX_COMPLETIONS), &found);
    for (size_t i = 0; i < found.n; i++)
        result_line(out, "completions", "%.*s%s", found.from, c->rest.p, found.names[i]);
    if (found.files)
        result_note(out, "names of files may stand there");
    if (found.truncated)
        result_note(out, "more than max-completions, the rest is left out");
    completions_free(&found);
    return ST_OK;
}

static enum st run_manual(struct session *s, const struct call *c, struct result *out,
                          struct err *e)
{
    static const struct {
        const char *name;
        void (*write)(struct buf *out);
    } kinds[] = { { "markdown", manual_markdown },
                  { "roff", manual_roff },
                  { "examples", manual_examples } };
    (void)s;
    for (size_t i = 0; c->n_words == 1 && i < sizeof kinds / sizeof *kinds; i++) {
        if (!str_is(c->words[0].text, kinds[i].name))
            continue;
        struct buf b = { 0 };
        kinds[i].write(&b);
        result_line(out, "manual", "%.*s", (int)b.n - 1, b.p); /* the line has its own newline */
        buf_free(&b);
        return ST_OK;
    }
    return call_fail(c, 0, e, ST_SYNTAX, "manual takes markdown, roff or examples");
}

static enum st run_quit(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    (void)out;
    int64_t status = -1;
    if (c->n_words) {
        enum st st = parse_i64(c->words[0].text, 0, 125, &status, e);
        if (st)
            return st_at(e, c->words[0].column, c->words[0].length);
    }
    s->quit_status = (int)status;
    s->quit = true;
    return ST_OK;
}

static const struct arg_after set_after[] = {
    { "file", ARG_FILE, NULL }, /* of set tensor */
    { 0 },
};

const struct verb verbs_support[] = {
    { .name = "help",
      .alias = "h ?",
      .class = "support",
      .args = "[COMMAND | CLASS | set NAME | all]",
      .brief = "say what there is and how it is used",
      .help = "Without a word it lists the commands by class. `CMD ?` is the same as `help CMD`.",
      .examples = "help\nhelp set\nhelp set precision\nhelp support",
      .kinds = { ARG_VERB, ARG_SETTING },
      .words = "all|files|data|breakpoints|running|changing|analysis|support",
      .run = run_help },
    { .name = "apropos",
      .alias = NULL,
      .class = "support",
      .args = "WORD...",
      .brief = "search commands, settings and words for a text",
      .help = "Case does not matter. With several words, all of them must occur.",
      .examples = "apropos outlier\napropos digits",
      .kinds = { ARG_TEXT },
      .run = run_apropos },
    { .name = "explain",
      .alias = NULL,
      .class = "support",
      .args = "WORD",
      .brief = "say what a word of the field, a statistic or a format means",
      .help = "Three plain lines each. Without a word it lists those it knows.",
      .examples = "explain outlier\nexplain kv cache\nexplain q4_k",
      .kinds = { ARG_WORD },
      .run = run_explain },
    { .name = "set",
      .alias = NULL,
      .class = "support",
      .args = "[NAME VALUE | tensor ADDR = VALUE]",
      .brief = "change a setting, points of runs, or weights",
      .help = "A unique beginning of the name will do. `set NAME` alone turns a switch on; `set` "
              "alone is `show`.\n\n" SET_TENSOR_HELP,
      .examples = "set precision 7\nset pagination off\nprompt \"kalo\"\n"
                  "set tensor blk.1.attn.z[head=0] = zero\n"
                  "set tensor blk.0.out[tok=-1] = *0.5\n"
                  "set tensor blk.0.ffn_up.weight[row=3] = zero\nrun",
      .kinds = { ARG_SETTING },
      .words = "tensor",
      .after = set_after,
      .run = run_set },
    { .name = "show",
      .alias = NULL,
      .class = "support",
      .args = "[NAME...]",
      .brief = "show settings, with what they may be",
      .help = "",
      .examples = "show\nshow width precision",
      .kinds = { ARG_SETTING },
      .run = run_show },
    { .name = "with",
      .class = "support",
      .args = "NAME=VALUE... -- COMMAND",
      .brief = "run one command with other settings",
      .help = "The settings go back when the command has been shown, also when it failed.",
      .examples = "with precision=9 -- show precision\nwith output=json width=40 -- show",
      .flags = VERB_WRAPS,
      .kinds = { ARG_SETTING },
      .run = run_with },
    { .name = "source",
      .alias = NULL,
      .class = "support",
      .args = "FILE",
      .brief = "run a file of commands",
      .help = "`#` begins a comment, a backslash at the end of a line continues it. The first "
              "failed command ends the "
              "file (unless qdb was started with -k). Errors name file and line.",
      .examples = "source session.qdb",
      .kinds = { ARG_FILE },
      .run = run_source },
    { .name = "tour",
      .alias = NULL,
      .class = "support",
      .args = "",
      .brief = "a guided tour on the demo model",
      .help = "Shows commands and runs them; every number it prints is computed while you read.",
      .examples = "tour",
      .flags = VERB_EXACT,
      .run = run_tour },
    { .name = "echo",
      .alias = NULL,
      .class = "support",
      .args = "TEXT...",
      .brief = "print a text",
      .help = "\"...\" knows \\n \\t \\\" \\\\ \\xNN.",
      .examples = "echo \"a tab\\tand more\"",
      .kinds = { ARG_TEXT },
      .run = run_echo },
    { .name = "once",
      .alias = NULL,
      .class = "support",
      .args = "FILE",
      .brief = "write the output of the next command to a file",
      .help = "`COMMAND > FILE` does the same in one line, `>>` appends.",
      .examples = "once settings.txt\nshow",
      .kinds = { ARG_FILE },
      .run = run_once },
    { .name = "log",
      .alias = NULL,
      .class = "support",
      .args = "on FILE | off",
      .brief = "copy what is typed and shown to a file too",
      .help = "The file is appended to.",
      .examples = "log on session.log\nlog off",
      .kinds = { ARG_NONE, ARG_FILE },
      .words = "on|off",
      .run = run_log },
    { .name = "pipe",
      .alias = NULL,
      .class = "support",
      .args = "COMMAND | SHELL COMMAND",
      .brief = "give the output of a command to a shell command",
      .help = "The word `pipe` may be left out: `info tensors | grep attn`. Everything after `|` "
              "belongs to the shell. In "
              "commands that take conditions, `|` needs blanks around it.",
      .examples = "pipe show | grep width",
      .flags = VERB_WRAPS,
      .kinds = { ARG_COMMAND },
      .run = run_pipe },
    { .name = "shell",
      .alias = "!",
      .class = "support",
      .args = "[COMMAND]",
      .brief = "run a shell command",
      .help =
          "The rest of the line belongs to the shell. Without a command, $SHELL is started. Where "
          "`set output` is not text, what the shell prints goes to standard error.",
      .examples = "shell date\n!ls",
      .flags = VERB_RAW | VERB_EXACT,
      .kinds = { ARG_FILE },
      .run = run_shell },
    { .name = "alias",
      .alias = NULL,
      .class = "support",
      .args = "[NAME = [COMMAND]]",
      .brief = "give the beginning of a command a name",
      .help = "What follows the name when it is used is added at the end. Without a command the "
              "alias is removed. "
              "Names of commands and their fixed aliases cannot be taken.",
      .examples = "alias digits = set precision\ndigits 7\nalias",
      .kinds = { ARG_NONE, ARG_NONE, ARG_COMMAND },
      .run = run_alias },
    { .name = "history",
      .alias = NULL,
      .class = "support",
      .args = "[N]",
      .brief = "list the lines typed last",
      .help = "Kept between sessions in $QDB_HISTORY, else ~/.local/state/qdb/history. A line that "
              "begins with a blank "
              "is not kept.",
      .examples = "history 5",
      .kinds = { ARG_NUMBER },
      .run = run_history },
    { .name = "complete",
      .alias = NULL,
      .class = "support",
      .args = "LINE",
      .brief = "list what the Tab key would offer",
      .help = "",
      .examples = "complete set pre",
      .flags = VERB_RAW,
      .kinds = { ARG_COMMAND },
      .run = run_complete },
    { .name = "manual",
      .alias = NULL,
      .class = "support",
      .args = "markdown | roff | examples",
      .brief = "write all commands and settings as a document",
      .help = "",
      .examples = "",
      .flags = VERB_EXACT | VERB_HIDDEN,
      .words = "markdown|roff|examples",
      .run = run_manual },
    { .name = "quit",
      .alias = "q exit",
      .class = "support",
      .args = "[STATUS]",
      .brief = "leave qdb",
      .help = "A number is the exit status; else it is 0, or what the commands so far have earned.",
      .examples = "quit",
      .flags = VERB_EXACT,
      .kinds = { ARG_NUMBER },
      .run = run_quit },
    { 0 },
};
