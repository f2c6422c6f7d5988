/* SPDX-License-Identifier: MIT */
/* What the terminal can, where output goes, ^C, and the line that shows how far long work is. */
#include "repl/repl.h"

#include <errno.h>
#include <langinfo.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "repl/render.h"

enum { INSIST = 3 }; /* a command that does not hear ^C so often is ended with qdb */

volatile sig_atomic_t repl_interrupts;

static void on_interrupt(int number)
{
    if (++repl_interrupts >= INSIST) {
        signal(number, SIG_DFL);
        raise(number);
    }
}

static void screen_of(const struct repl *r, int *width, int *height)
{
    (void)r;
    struct winsize w;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 && w.ws_row > 0;
    *width = known ? w.ws_col : 80;
    *height = known ? w.ws_row : 24;
}

/* Can the terminal go back in a line? */
static bool is_dumb(void)
{
    const char *term = getenv("TERM");
    return !term || !*term || strcmp(term, "dumb") == 0;
}

/* The order in which the wishes about colour count. */
static bool wants_color(const struct repl *r, bool to_terminal)
{
    int64_t choice = setting_int(&r->s->settings, SETTING_COLOR);
    if (choice != COLOR_AUTO)
        return choice == COLOR_ALWAYS;
    const char *no = getenv("NO_COLOR"), *force = getenv("CLICOLOR_FORCE");
    if (no && *no)
        return false;
    if (force && *force && strcmp(force, "0") != 0)
        return true;
    return to_terminal && !r->batch && !is_dumb();
}

void repl_style(const struct repl *r, bool to_terminal, struct style *out)
{
    const struct settings *t = &r->s->settings;
    int width = (int)setting_int(t, SETTING_WIDTH), height;
    if (!width && to_terminal)
        screen_of(r, &width, &height);
    *out = (struct style){
        .mode = (enum output_choice)setting_int(t, SETTING_OUTPUT),
        .width = width,
        .digits = (int)setting_int(t, SETTING_PRECISION),
        .color = wants_color(r, to_terminal),
        .utf8 = r->utf8,
        .glyphs = (enum glyphs_choice)setting_int(t, SETTING_GLYPHS),
        .heat = (enum heat_choice)setting_int(t, SETTING_HEAT_SCALE),
    };
}

/* ---------------------------------------------------------------- output */

void repl_log(struct repl *r, struct str text)
{
    if (r->log && text.n) {
        fwrite(text.p, 1, text.n, r->log);
        if (!fflush(r->log) && !ferror(r->log))
            return;
        fprintf(stderr, "error: the log cannot be written: %s; it is off now\n", strerror(errno));
        fclose(r->log);
        r->log = NULL;
    }
}

static bool page_output(struct repl *r, struct str text)
{
    int width, height = (int)setting_int(&r->s->settings, SETTING_HEIGHT);
    if (!r->stdout_tty || r->batch || !r->s->interactive || r->script_depth
        || !setting_on(&r->s->settings, SETTING_PAGINATION))
        return false;
    if (!height)
        screen_of(r, &width, &height);
    int lines = 0;
    for (size_t i = 0; i < text.n; i++)
        lines += text.p[i] == '\n';
    if (lines < height)
        return false;
    const char *pager = getenv("PAGER");
    static const char usual[] = "command -v less >/dev/null && exec less -FRX; exec cat";
    if (is_dumb() && !(pager && *pager))
        return false;
    int status = repl_pipe(pager && *pager ? pager : usual, text);
    return status >= 0 && status != 127; /* 127: there is no such pager */
}

int repl_pipe(const char *command, struct str text)
{
    fflush(stdout);
    FILE *f = popen(command, "w");
    if (!f)
        return -1;
    struct sigaction ignore = { .sa_handler = SIG_IGN }, interrupt, broken;
    sigaction(SIGINT, &ignore, &interrupt); /* ^C is meant for the command */
    sigaction(SIGPIPE, &ignore, &broken);   /* it may stop reading early, as `head` does */
    fwrite(text.p, 1, text.n, f);
    int status = pclose(f);
    sigaction(SIGINT, &interrupt, NULL);
    sigaction(SIGPIPE, &broken, NULL);
    return status > 255 ? status >> 8 : status;
}

void repl_put(struct repl *r, struct str text, bool page)
{
    if (!text.n)
        return;
    if (r->sink) {
        buf_add(r->sink, text.p, text.n);
        return;
    }
    if (!page || !page_output(r, text)) {
        fwrite(text.p, 1, text.n, stdout);
        fflush(stdout);
    }
    repl_log(r, text);
}

/* ---------------------------------------------------------------- progress */

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void add_duration(struct buf *b, double seconds)
{
    if (seconds < 100)
        buf_printf(b, "%.0f s", ceil(seconds));
    else if (seconds < 6000)
        buf_printf(b, "%.0f min", ceil(seconds / 60));
    else
        buf_printf(b, "%.1f h", seconds / 3600);
}

/* What a label says is being done, without the figure behind it. */
static int label_length(const char *label) { return (int)strcspn(label, "\t"); }

/* For a program: an object at most every tenth of a second, of what takes longer than 0.2 s. */
static void tell(struct repl *r, const char *label, double done, double total)
{
    const double now = seconds_now();
    if (now - r->began < 0.2 || now - r->drawn < 0.1)
        return;
    r->drawn = now;
    struct buf b = { 0 };
    char x[32], y[32];
    repl_open_object(r, &b);
    buf_adds(&b, "\"progress\": {\"label\": ");
    buf_json(&b, str_of(label, (size_t)label_length(label)));
    buf_printf(&b, ", \"done\": %s, \"total\": %s}}\n", text_f64(x, sizeof x, done),
               text_f64(y, sizeof y, total));
    fwrite(b.p, 1, b.n, stdout);
    fflush(stdout);
    buf_free(&b);
}

bool repl_keys(struct repl *r, bool on)
{
    if (on) {
        struct termios raw;
        r->pressed = false;
        if (!r->s->interactive || r->script_depth || tcgetattr(STDIN_FILENO, &r->cooked))
            return false;
        raw = r->cooked;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* ^C stays what it is */
        raw.c_cc[VMIN] = 1;
        raw.c_cc[VTIME] = 0;
        r->watching = !tcsetattr(STDIN_FILENO, TCSANOW, &raw);
        return false;
    }
    if (r->watching)
        tcsetattr(STDIN_FILENO, TCSANOW, &r->cooked);
    if (r->pressed)
        repl_interrupts = 0;
    r->watching = false;
    return r->pressed;
}

/* The key stays where it is: the next line begins with it. */
static void look_for_key(struct repl *r)
{
    struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
    if (r->pressed || repl_interrupts || poll(&in, 1, 0) <= 0)
        return;
    r->pressed = true;
    repl_interrupts = 1;
}

static void draw(struct progress *p, const char *label, double done, double total)
{
    struct repl *r = p->data;
    const int length = label_length(label);
    if (r->watching)
        look_for_key(r);
    if (r->id[0]) {
        tell(r, label, done, total);
        return;
    }
    const bool line = r->stderr_tty && !is_dumb(); /* one that is drawn over, else many */
    double quiet = 0.2, between = line ? 0.1 : 2;  /* seconds */
    int64_t choice = setting_int(&r->s->settings, SETTING_PROGRESS);
    if (choice == PROGRESS_NEVER || (choice == PROGRESS_AUTO && (!r->stderr_tty || r->batch)))
        return;
    double now = seconds_now();
    char what[sizeof r->label];
    snprintf(what, sizeof what, "%.*s", length, label);
    if (strcmp(what, r->label) != 0) {
        memcpy(r->label, what, sizeof what);
        r->label_began = now;
    }
    if (now - r->began < quiet || now - r->drawn < between)
        return;
    r->drawn = now;
    struct buf b = { 0 };
    double elapsed = now - r->label_began;
    buf_printf(&b, "%s%s", line ? "\r" : "", what);
    if (total > 0)
        buf_printf(&b, " %.0f %%", 100 * done / total);
    if (label[length])
        buf_printf(&b, ", %s", label + length + 1);
    if (elapsed > 0 && done > 0) {
        char rate[32];
        if (!label[length])
            buf_printf(&b, ", %s/s", text_digits(rate, sizeof rate, done / elapsed, 3));
        if (total > done) {
            buf_adds(&b, ", ");
            add_duration(&b, (total - done) * elapsed / done);
            buf_adds(&b, " to go");
        }
    }
    int width, height;
    screen_of(r, &width, &height);
    if (b.n > (size_t)width)
        b.n = (size_t)width;
    buf_adds(&b, line ? "\033[K" : "\n");
    fwrite(b.p, 1, b.n, stderr);
    fflush(stderr);
    buf_free(&b);
}

void repl_progress_begin(struct repl *r)
{
    if (r->script_depth == 0)
        repl_interrupts = 0;
    r->began = r->label_began = seconds_now();
    r->drawn = 0;
    r->label[0] = '\0';
}

void repl_progress_end(struct repl *r)
{
    const bool line = r->drawn > 0 && !is_dumb();
    if (r->stderr_tty && (line || repl_interrupts)) {
        fputs(line ? "\r\033[K" : "\n", stderr); /* behind the ^C that the terminal shows */
        fflush(stderr);
    }
    r->drawn = 0;
}

void repl_progress_init(struct repl *r)
{
    r->progress = (struct progress){ .show = draw, .cancel = &repl_interrupts, .data = r };
    struct sigaction action = { .sa_handler = on_interrupt };
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    r->utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}
