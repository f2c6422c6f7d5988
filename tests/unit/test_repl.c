/* SPDX-License-Identifier: MIT */
/* The REPL at a terminal: a program of its own behind a pseudo-terminal, typed at and read. Every
 * step waits for text that must appear, never for time. */
#include "tests/harness/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "tests/harness/scratch.h"

/* Milliseconds until a text that does not come is a failure; the cases after that wait less. */
static int patience = 60000;

struct terminal {
    int fd;
    pid_t pid;
    struct buf seen; /* what was shown */
    size_t at;       /* what has been looked at */
};

/* Start qdb in 80 x 24. */
static struct terminal start(void)
{
    const char *qdb = getenv("QDB");
    if (!qdb)
        SKIP_CASE("QDB does not name the program");
    struct terminal t = { 0 };
    struct winsize size = { .ws_row = 24, .ws_col = 80 };
    t.pid = forkpty(&t.fd, NULL, NULL, &size);
    if (t.pid < 0) /* no /dev/pts, say */
        SKIP_CASE("no pseudo-terminal can be opened: %s", strerror(errno));
    if (t.pid == 0) {
        setenv("TERM", "dumb", 1);
        setenv("HOME", scratch_path("."), 1);
        setenv("PAGER", "sed 's/^/paged /'", 1);
        setenv("INPUTRC", "/dev/null", 1);
        unsetenv("QDB_HISTORY");
        unsetenv("XDG_STATE_HOME");
        execl(qdb, "qdb", "-n", "-q", (char *)NULL);
        _exit(127);
    }
    return t;
}

static void type(struct terminal *t, const char *keys)
{
    assert_int_equal(write(t->fd, keys, strlen(keys)), (ssize_t)strlen(keys));
}

/* More output; false at the end. */
static bool more(struct terminal *t)
{
    char part[4096];
    struct pollfd p = { .fd = t->fd, .events = POLLIN };
    if (poll(&p, 1, patience) <= 0) {
        patience = 5000;
        return false;
    }
    ssize_t n = read(t->fd, part, sizeof part);
    if (n <= 0)
        return false;
    buf_add(&t->seen, part, (size_t)n);
    return true;
}

/* Wait until the text is shown; the next wait begins behind it. */
static void expect(struct terminal *t, const char *text)
{
    const char *found;
    while (!(found = strstr(buf_str(&t->seen) + t->at, text)))
        if (!more(t))
            fail_msg("no `%s` in: %s", text, buf_str(&t->seen) + t->at);
    t->at = (size_t)(found - t->seen.p) + strlen(text);
}

/* Type a line at the prompt and wait for what it shows. */
static void line(struct terminal *t, const char *typed, const char *shown)
{
    expect(t, "(qdb) ");
    type(t, typed);
    type(t, "\r");
    expect(t, "\n"); /* behind the echo */
    if (shown)
        expect(t, shown);
}

static int finish(struct terminal *t)
{
    int status = -1;
    while (more(t))
        ;
    close(t->fd);
    waitpid(t->pid, &status, 0);
    buf_free(&t->seen);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void quits_at_the_end_of_input(void **state)
{
    (void)state;
    struct terminal t = start();
    line(&t, "echo one", "one\r\n");
    line(&t, "nonsense", "no command");
    expect(&t, "(qdb) ");
    type(&t, "\x04");
    expect(&t, "quit");
    assert_int_equal(finish(&t), 0); /* a person saw what failed */
}

static void control_c_clears_the_line(void **state)
{
    (void)state;
    struct terminal t = start();
    expect(&t, "(qdb) ");
    type(&t, "echo lost");
    expect(&t, "lost");
    type(&t, "\x03");
    line(&t, "echo kept", "kept\r\n");
    assert_null(strstr(t.seen.p, "lost\r\nlost"));
    line(&t, "quit 4", NULL);
    assert_int_equal(finish(&t), 4);
}

static void empty_lines_repeat_some_commands(void **state)
{
    (void)state;
    struct terminal t = start();
    struct buf open = { 0 };
    buf_printf(&open, "open \"%s\"", golden_path("models/llama-gqa-tied.gguf"));
    line(&t, open.p, "llama");
    line(&t, "prompt -t 1,2,3", "kind");
    line(&t, "step 3", "s0:");
    line(&t, "when", "s0:");
    line(&t, "", NULL); /* `when` is not repeated */
    line(&t, "step", "s0:");
    line(&t, "", "s0:"); /* `step` is */
    line(&t, "quit", NULL);
    assert_int_equal(finish(&t), 0);
    buf_free(&open);
}

static void the_tab_key_completes(void **state)
{
    (void)state;
    struct terminal t = start();
    line(&t, "set prec\t 7", NULL);
    line(&t, "sho\tprec\t", "7");
    expect(&t, "(qdb) ");
    type(&t, "set pr\t\t");
    expect(&t, "precision  progress   prompt");
    type(&t, "\x15quit\r");
    assert_int_equal(finish(&t), 0);
}

static void lines_are_kept(void **state)
{
    (void)state;
    struct terminal t = start();
    line(&t, "echo first", "first\r\n");
    line(&t, " echo secret", "secret\r\n");
    line(&t, "history", "echo first");
    line(&t, "quit", NULL);
    finish(&t);
    t = start();
    expect(&t, "(qdb) ");
    type(&t, "\x10\x10\x10"); /* up */
    type(&t, "\r");
    expect(&t, "first\r\n");
    line(&t, "quit", NULL);
    finish(&t);
    size_t n;
    char *kept = unit_read(scratch_path(".local/state/qdb/history"), &n);
    assert_string_equal(kept, "echo first\nhistory\nquit\necho first\nquit\n");
    free(kept);
}

static void output_fits_the_screen(void **state)
{
    (void)state;
    struct terminal t = start();
    line(&t, "help all", "paged command");
    line(&t, "set pagination off", NULL);
    line(&t, "show", NULL);
    size_t from = t.at;
    line(&t, "set prompt \"%l> \"", NULL);
    expect(&t, "node> ");
    for (const char *p = t.seen.p + from; *p;) {
        size_t n = strcspn(p, "\r\n");
        assert_true(text_columns(str_of(p, n)) <= 80);
        p += n + (p[n] != '\0');
    }
    type(&t, "quit\r");
    assert_int_equal(finish(&t), 0);
}

/* A text so long that a perplexity of it takes minutes. */
static void write_long_text(const char *path)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < 200000; i++)
        fprintf(f, "word%d and %d more. ", i % 97, i % 31);
    fclose(f);
}

static void control_c_stops_a_command(void **state)
{
    (void)state;
    struct terminal t = start();
    struct buf b = { 0 };
    buf_printf(&b, "open \"%s\"", golden_path("models/llama-gqa-tied.gguf"));
    line(&t, b.p, "llama");
    write_long_text(scratch_path("text"));
    buf_clear(&b);
    buf_printf(&b, "ppl %s", scratch_path("text"));
    line(&t, b.p, "to go"); /* the progress line */
    type(&t, "\x03");
    expect(&t, "interrupted\r\n");
    line(&t, "echo alive", "alive\r\n");
    assert_null(strchr(t.seen.p, '\033')); /* which a dumb terminal would show */
    line(&t, "quit", NULL);
    assert_int_equal(finish(&t), 0);
    buf_free(&b);
}

static void work_is_not_lost_by_a_slip(void **state)
{
    (void)state;
    struct terminal t = start();
    struct buf open = { 0 };
    buf_printf(&open, "open '%s' as mine", golden_path("models/llama-gqa-tied.gguf"));
    line(&t, open.p, "llama");
    line(&t, "close mine", "Close mine and its runs? (y or n) ");
    type(&t, "n\r");
    expect(&t, "left as it was");
    line(&t, "info models", "mine");
    line(&t, "close mine", "(y or n) ");
    type(&t, "y\r");
    expect(&t, "closed mine");
    line(&t, open.p, "llama");
    line(&t, "with confirm=off -- close mine", "closed mine");
    line(&t, "quit", NULL);
    assert_int_equal(finish(&t), 0);
    buf_free(&open);
}

static void the_tour_waits_for_the_reader(void **state)
{
    (void)state;
    struct terminal t = start();
    line(&t, "tour", "qdb is a debugger");
    expect(&t, "(Enter goes on, q ends the tour) ");
    type(&t, "\r");
    expect(&t, "(Enter goes on, q ends the tour) ");
    type(&t, "q\r");
    line(&t, "echo after", "after\r\n");
    line(&t, "quit", NULL);
    assert_int_equal(finish(&t), 0);
}

static int set_up(void **state)
{
    (void)state;
    scratch_begin();
    return 0;
}

static int clean_up(void **state)
{
    (void)state;
    scratch_end();
    return 0;
}

#define HOMELY(function) cmocka_unit_test_setup_teardown(function, set_up, clean_up)

UNIT_MAIN(HOMELY(quits_at_the_end_of_input), HOMELY(control_c_clears_the_line),
          HOMELY(empty_lines_repeat_some_commands), HOMELY(the_tab_key_completes),
          HOMELY(lines_are_kept), HOMELY(output_fits_the_screen), HOMELY(control_c_stops_a_command),
          HOMELY(work_is_not_lost_by_a_slip), HOMELY(the_tour_waits_for_the_reader))
