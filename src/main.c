/* SPDX-License-Identifier: MIT */
/* qdb: a debugger for quantized models. Options, batch mode, exit status. */
#include "config.h"

#include <fcntl.h>
#include <getopt.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "command/command.h"
#include "models/demo.h"
#include "repl/repl.h"
#include "session/session.h"

static const char usage_text[] =
    "usage: qdb [OPTIONS] [MODEL]\n"
    "A debugger for quantized models: run one, stop anywhere, look at anything.\n"
    "\n"
    "  -ex CMD            run a command (repeatable, in order)\n"
    "  -x FILE            run a file of commands\n"
    "  -batch             exit after that; no paging, no colour\n"
    "  --demo[=NAME]      open a built-in demo model\n"
    "  --ref FILE         the reference that runs are compared with\n"
    "  --output MODE      text, json, csv or md\n"
    "  --color WHEN       auto, always or never\n"
    "  --threads N        threads that compute (default: one per core)\n"
    "  --mem SIZE         memory budget, as 4G (default: 40 % of available memory)\n"
    "  --kernels LEVEL    auto, or a level that `info kernels` lists\n"
    "  --seed N           of everything drawn at random\n"
    "  -k                 go on after a failed command\n"
    "  -n                 do not read ~/.config/qdb/qdbrc\n"
    "  -q                 no greeting\n"
    "  --version, --help\n"
    "Without a terminal, commands are read from standard input. `help` lists them.\n"
    "Exit status: 0 ok, 1 a command failed, 2 usage, 3 a check found something,\n"
    "130 interrupted.\n";

/* Values of long options: below OPT_SETTING as named, from there on the setting that they set. */
enum {
    OPT_EX = 256,
    OPT_LUA,
    OPT_REF,
    OPT_TUI,
    OPT_BATCH,
    OPT_DEMO,
    OPT_VERSION,
    OPT_HELP,
    OPT_SETTING
};

static const struct option long_options[] = {
    { "ex", required_argument, NULL, OPT_EX },
    { "lua", required_argument, NULL, OPT_LUA },
    { "ref", required_argument, NULL, OPT_REF },
    { "tui", no_argument, NULL, OPT_TUI },
    { "batch", no_argument, NULL, OPT_BATCH },
    { "demo", optional_argument, NULL, OPT_DEMO },
    { "color", required_argument, NULL, OPT_SETTING + SETTING_COLOR },
    { "kernels", required_argument, NULL, OPT_SETTING + SETTING_KERNELS },
    { "mem", required_argument, NULL, OPT_SETTING + SETTING_MEM_BUDGET },
    { "output", required_argument, NULL, OPT_SETTING + SETTING_OUTPUT },
    { "seed", required_argument, NULL, OPT_SETTING + SETTING_SEED },
    { "threads", required_argument, NULL, OPT_SETTING + SETTING_THREADS },
    { "version", no_argument, NULL, OPT_VERSION },
    { "help", no_argument, NULL, OPT_HELP },
    { 0 },
};

struct todo {
    bool is_file;
    const char *text;
};

/* What the command line asks for. The texts belong to argv. */
struct options {
    struct todo *todo; /* -ex and -x in order */
    size_t n_todo, cap_todo;
    const char *values[SETTING_COUNT]; /* of settings, NULL where not given */
    const char *kernels_by;            /* what gave the value of kernels */
    const char *model, *demo, *ref;    /* demo: "" for the default one */
    bool batch, keep_going, no_rc, quiet;
    int leave; /* exit status when there is nothing to run, -1 else */
};

static int usage_error(const char *what, const char *why)
{
    fprintf(stderr, "qdb: %s %s\n`qdb --help` shows the options\n", what, why);
    return EXIT_USAGE;
}

static void add_todo(struct options *o, bool is_file, const char *text)
{
    x_grow(&o->todo, &o->cap_todo, o->n_todo + 1, sizeof *o->todo);
    o->todo[o->n_todo++] = (struct todo){ is_file, text };
}

/* Values of settings are checked before anything runs: a wrong one is a usage error. */
static int check_values(const struct options *o)
{
    struct settings trial;
    settings_init(&trial);
    int status = -1;
    for (int id = 0; id < SETTING_COUNT && status < 0; id++) {
        struct err e = ERR_INIT;
        if (o->values[id] && settings_set(&trial, id, str_from(o->values[id]), &e)) {
            fprintf(stderr, "qdb: %s%s%s\n", e.msg, *e.hint ? ": " : "", e.hint);
            status = usage_error(id == SETTING_KERNELS ? o->kernels_by : setting_info(id)->name,
                                 "has no such value");
        }
    }
    settings_free(&trial);
    return status;
}

static void parse_option(struct options *o, int c)
{
    switch (c) {
    case 'x':
        if (!*optarg)
            o->leave = usage_error("-x", "needs the name of a file");
        add_todo(o, true, optarg);
        break;
    case 'k': o->keep_going = true; break;
    case 'n': o->no_rc = true; break;
    case 'q': o->quiet = true; break;
    case OPT_EX: add_todo(o, false, optarg); break;
    case OPT_BATCH: o->batch = true; break;
    case OPT_DEMO: o->demo = optarg ? optarg : ""; break;
    case OPT_LUA: o->leave = usage_error("--lua", "is not built yet"); break;
    case OPT_REF: o->ref = optarg; break;
    case OPT_TUI: o->leave = usage_error("--tui", "is not built yet"); break;
    case OPT_VERSION:
        puts(PACKAGE_STRING);
        o->leave = 0;
        break;
    case OPT_HELP:
        fputs(usage_text, stdout);
        o->leave = 0;
        break;
    default:
        if (c >= OPT_SETTING) {
            o->values[c - OPT_SETTING] = optarg;
            if (c == OPT_SETTING + SETTING_KERNELS)
                o->kernels_by = "--kernels";
        } else {
            fputs("`qdb --help` shows the options\n", stderr); /* getopt has said what is wrong */
            o->leave = EXIT_USAGE;
        }
    }
}

static void parse_options(struct options *o, int argc, char **argv)
{
    *o = (struct options){ .leave = -1 };
    const char *kernels = getenv("QDB_KERNELS");
    if (kernels && *kernels) {
        o->values[SETTING_KERNELS] = kernels;
        o->kernels_by = "QDB_KERNELS";
    }
    int c;
    while (o->leave < 0 && (c = getopt_long_only(argc, argv, "x:knq", long_options, NULL)) != -1)
        parse_option(o, c);
    if (o->leave >= 0)
        return;
    if (argc - optind > 1)
        o->leave = usage_error(argv[optind + 1], "is one model too many");
    else if (optind < argc && o->demo)
        o->leave = usage_error(argv[optind], "and --demo exclude each other");
    else {
        o->model = argv[optind];
        o->leave = check_values(o);
    }
}

/* ---------------------------------------------------------------- running */

/* Commands that every session begins with; what fails there is said, and does not count. */
static void run_rc(struct repl *r)
{
    struct buf path = { 0 };
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (config && *config)
        buf_printf(&path, "%s/qdb/qdbrc", config);
    else if (home && *home)
        buf_printf(&path, "%s/.config/qdb/qdbrc", home);
    if (path.n && access(path.p, R_OK) == 0) {
        bool keep_going = r->keep_going;
        r->keep_going = true;
        repl_file(r, path.p);
        r->keep_going = keep_going;
        r->status = 0;
    }
    buf_free(&path);
}

/* The model that the command line names; for a person who names nothing, the demo. A script wants
 * the results of its own commands only. */
static enum st open_model(struct repl *r, const struct options *o, bool person)
{
    struct buf line = { 0 };
    size_t demos;
    demo_models(&demos);
    if (o->model) {
        buf_adds(&line, "open ");
        command_quote(&line, str_from(o->model));
    } else if (o->demo)
        buf_printf(&line, "open --demo%s%s", *o->demo ? "=" : "", o->demo);
    else if (person && !o->n_todo && demos)
        buf_adds(&line, "open --demo");
    r->mute = !person || o->quiet;
    enum st st = line.n ? repl_line(r, str_of(line.p, line.n)) : ST_OK;
    if (!st && o->ref) {
        buf_clear(&line);
        buf_adds(&line, "ref ");
        command_quote(&line, str_from(o->ref));
        st = repl_line(r, str_of(line.p, line.n));
    }
    r->mute = false;
    buf_free(&line);
    return st;
}

/* Without a model, a terminal or anything to read: show what qdb is for. */
static void run_tour(struct repl *r)
{
    r->batch = true;
    repl_line(r, STR("tour"));
}

static void run(struct repl *r, const struct options *o)
{
    for (int id = 0; id < SETTING_COUNT; id++) {
        struct err e = ERR_INIT;
        if (o->values[id] && settings_set(&r->s->settings, id, str_from(o->values[id]), &e)) {
            if (id == SETTING_KERNELS)
                st_where(&e, "%s", o->kernels_by);
            repl_show_error(r, &e, str_of("", 0));
            r->status = EXIT_FAILED;
            return;
        }
    }
    if (r->s->kernels_by)
        r->s->kernels_by = o->kernels_by;
    bool terminal = isatty(STDIN_FILENO), person = terminal && !o->batch;
    if (person && !o->quiet)
        puts(PACKAGE_STRING ". `help` lists the commands, `explain WORD` explains, `quit` leaves.");
    bool go_on = open_model(r, o, person) == ST_OK || r->keep_going || person;
    for (size_t i = 0; i < o->n_todo && go_on && !r->s->quit; i++) {
        const char *text = o->todo[i].text;
        enum st st = o->todo[i].is_file ? repl_file(r, text) : repl_line(r, str_from(text));
        go_on = !st || (st != ST_CANCELLED && (r->keep_going || person));
    }
    if (!go_on || r->s->quit)
        return;
    if ((!terminal || o->batch) && o->n_todo)
        repl_end_commands(r);
    if (person) {
        repl_interactive(r);
        r->status = 0; /* a person saw what failed */
    } else if (!terminal && !o->n_todo && !repl_stream(r, "stdin", stdin) && !o->model && !o->demo)
        run_tour(r);
}

/* Widths of characters need a UTF-8 locale; where the environment names none, our own glyphs stay
 * ASCII. */
static bool set_locale(void)
{
    bool utf8 = setlocale(LC_CTYPE, "") && !strcmp(nl_langinfo(CODESET), "UTF-8");
    if (!utf8)
        setlocale(LC_CTYPE, "C.UTF-8");
    return utf8;
}

/* A file must not be opened as a standard stream that the caller has closed: results would be
 * written into it. Reading from what stands there instead is the end of input, writing an error. */
static void hold_standard_streams(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDONLY);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    struct options o;
    hold_standard_streams();
    parse_options(&o, argc, argv);
    if (o.leave < 0) {
        bool utf8 = set_locale();
        struct session *s = session_new();
        struct repl r;
        repl_init(&r, s);
        r.utf8 = utf8;
        r.batch = o.batch;
        r.keep_going = o.keep_going;
        if (!o.no_rc)
            run_rc(&r);
        run(&r, &o);
        o.leave = s->quit_status >= 0 ? s->quit_status : r.status;
        repl_free(&r);
        session_free(s);
    }
    free(o.todo);
    if (fflush(stdout) || ferror(stdout)) {
        fputs("error: not all results could be written to standard output\n", stderr);
        return o.leave ? o.leave : EXIT_FAILED;
    }
    return o.leave;
}
