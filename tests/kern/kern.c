/* SPDX-License-Identifier: MIT */
/* Proof of the kernels: every kernel at every level against its definition, one line of TAP each.
 *
 *     kern [--list] [--faulty] [--seed N] [--trials PERCENT] [--level LEVEL] [--trial N] [NAME...]
 *
 * NAME may have * and ?. Each kernel runs in a process of its own: a crash is its failure, with
 * what was touched, and the others go on. The data come from the seed alone, equal for all levels;
 * a failure prints the line that repeats it. --faulty runs kernels that are wrong in known ways. */
#include <fnmatch.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "tests/kern/kern.h"

enum {
    LIMIT = 300, /* seconds that a kernel may take before it counts as hanging */
    SKIPPED = 77, /* exit status of a process whose kernel does not exist */
    FULL_RUN = 100,      /* percent of the trials of the table */
    MOST_PERCENT = 100000
};

/* What a process of a kernel leaves behind, whatever becomes of it. */
static struct report {
    char note[512], what[512];
    int trial;
} *report;

static struct {
    uint64_t seed;
    const char *level;
    char *const *names;
    int percent, only_trial;
    bool list, faulty;
} options = { .seed = 1, .percent = FULL_RUN, .only_trial = -1 };

static int count, failed;

/* ---------------------------------------------------------------- inside a kernel's process */

void kern_fail(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(report->what, sizeof report->what, fmt, ap);
    va_end(ap);
    _exit(1);
}

void kern_skip(const char *reason)
{
    snprintf(report->what, sizeof report->what, "%s", reason);
    _exit(SKIPPED);
}

void kern_note(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(report->note, sizeof report->note, fmt, ap);
    va_end(ap);
}

void expect_bits(const char *what, const float *got, const float *want, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (memcmp(&got[i], &want[i], sizeof *got) != 0 && !(isnan(got[i]) && isnan(want[i])))
            kern_fail("%s[%d] of %d is %.9g (%a), not %.9g (%a)", what, (int)i, (int)n, got[i],
                      got[i], want[i], want[i]);
}

void expect_near(const char *what, int64_t i, double got, double want, double bound)
{
    if (!(fabs(got - want) <= bound) && !(isnan(got) && isnan(want)) && got != want)
        kern_fail("%s[%d] is %.9g, not %.9g within %.3g", what, (int)i, got, want, bound);
}

void expect_int(const char *what, int64_t i, int64_t got, int64_t want)
{
    if (got != want)
        kern_fail("%s[%d] is %lld, not %lld", what, (int)i, (long long)got, (long long)want);
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)context;
    if (sig == SIGSEGV || sig == SIGBUS)
        guard_describe(info->si_addr, report->what, sizeof report->what);
    signal(sig, SIG_DFL); /* the instruction is tried again and ends the process */
}

/* Faults are looked at on a stack of their own: the kernel's may be what is broken. */
static void watch_faults(void)
{
    static char stack[1 << 16];
    const stack_t other = { .ss_sp = stack, .ss_size = sizeof stack };
    const struct sigaction action = { .sa_sigaction = on_fault,
                                      .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
    static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE };
    const struct rlimit none = { 0, 0 };
    sigaltstack(&other, NULL);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigaction(faults[i], &action, NULL);
    setrlimit(RLIMIT_CORE, &none);
    alarm(LIMIT);
}

static uint64_t seed_of(const struct kern *k, int variant, int number)
{
    uint64_t h = options.seed * 0x9e3779b97f4a7c15u + (uint64_t)variant * 1000003u
                 + (uint64_t)number;
    for (const char *p = k->name; *p; p++)
        h = (h ^ (unsigned char)*p) * 0x100000001b3u;
    return h;
}

static int trials_of(const struct kern *k)
{
    const int n = k->trials * options.percent / 100;
    return n < 1 ? 1 : n;
}

static void run_trials(const struct kern *k, int variant, const struct level *l)
{
    watch_faults();
    level_force(l);
    report->trial = options.only_trial;
    if (options.only_trial >= trials_of(k))
        kern_fail("there are %d trials: 0 .. %d", trials_of(k), trials_of(k) - 1);
    for (int i = 0; i < trials_of(k); i++) {
        struct trial t = { l, variant, i, seed_of(k, variant, i) };
        if (options.only_trial >= 0 && i != options.only_trial)
            continue;
        report->trial = i;
        *report->note = '\0';
        k->trial(&t);
        guard_check();
        guard_reset();
    }
    _exit(0);
}

/* ---------------------------------------------------------------- the lines */

static void end_of_line(const struct kern *k, const char *name, const char *level, int status)
{
    const bool skipped = WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED;
    const bool ok = skipped || (WIFEXITED(status) && WEXITSTATUS(status) == 0);
    printf("%sok %d - %s %s%s%s\n", ok ? "" : "not ", ++count, name, level,
           skipped ? " # SKIP " : "", skipped ? report->what : "");
    if (ok)
        return;
    failed++;
    if (WIFSIGNALED(status))
        printf("#   %s%s%s\n", strsignal(WTERMSIG(status)), *report->what ? ": " : "",
               report->what);
    else
        printf("#   %s\n", *report->what ? report->what : "ended by itself");
    if (*report->note)
        printf("#   with %s\n", report->note);
    printf("#   %s; again: kern%s --seed %llu", k->brief, options.faulty ? " --faulty" : "",
           (unsigned long long)options.seed);
    if (options.percent != FULL_RUN)
        printf(" --trials %d", options.percent);
    printf(" --level %s --trial %d '%s'\n", level, report->trial, name);
}

static void run_in_child(const struct kern *k, int variant, const char *name,
                         const struct level *l)
{
    int status = -1;
    memset(report, 0, sizeof *report);
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0)
        run_trials(k, variant, l);
    if (child < 0 || waitpid(child, &status, 0) != child) {
        printf("Bail out! no process\n");
        exit(99);
    }
    end_of_line(k, name, l->name, status);
}

static void skip_line(const char *name, const struct level *l)
{
    struct buf why = { 0 };
    level_missing(l, &why);
    printf("ok %d - %s %s # SKIP %s\n", ++count, name, l->name, buf_str(&why));
    buf_free(&why);
}

static bool asked_for(const char *name)
{
    for (char *const *p = options.names; *p; p++)
        if (fnmatch(*p, name, 0) == 0)
            return true;
    return !*options.names;
}

static void run_variant(const struct kern *k, int variant, const char *name)
{
    if (options.list) {
        printf("%s: %s\n", name, k->brief);
        return;
    }
    const struct level *l;
    for (size_t i = 0; (l = tested_level(i, k->levels)); i++) {
        if (options.level && strcmp(options.level, l->name) != 0)
            continue;
        if (level_supported(l))
            run_in_child(k, variant, name, l);
        else
            skip_line(name, l);
    }
}

static void run_table(const struct kern *table)
{
    for (const struct kern *k = table; k->name; k++) {
        const char *variant;
        for (int v = 0; (variant = k->variant ? k->variant(v) : v ? NULL : ""); v++) {
            char name[64];
            snprintf(name, sizeof name, "%s%s%s", k->name, *variant ? "/" : "", variant);
            if (asked_for(name))
                run_variant(k, v, name);
        }
    }
}

/* The number after an option; what is wrong with it goes to stderr. */
static bool number(const char *option, int64_t least, int64_t most, int64_t *out)
{
    struct err e = ERR_INIT;
    if (!parse_i64(str_from(optarg), least, most, out, &e))
        return true;
    fprintf(stderr, "kern: --%s: %s\n", option, e.msg);
    return false;
}

static bool parse(int argc, char **argv)
{
    static const struct option known[] = {
        { "list", no_argument, NULL, 'l' },        { "seed", required_argument, NULL, 's' },
        { "trials", required_argument, NULL, 'n' }, { "level", required_argument, NULL, 'L' },
        { "trial", required_argument, NULL, 't' },  { "faulty", no_argument, NULL, 'f' },
        { 0 },
    };
    int64_t seed = (int64_t)options.seed, percent = options.percent, trial = options.only_trial;
    int c, at;
    bool good = true;
    while (good && (c = getopt_long(argc, argv, "", known, &at)) != -1)
        switch (c) {
        case 'l': options.list = true; break;
        case 's': good = number(known[at].name, 0, INT64_MAX, &seed); break;
        case 'n': good = number(known[at].name, 1, MOST_PERCENT, &percent); break;
        case 'L': options.level = optarg; break;
        case 't': good = number(known[at].name, 0, INT32_MAX, &trial); break;
        case 'f': options.faulty = true; break;
        default: good = false;
        }
    options.seed = (uint64_t)seed;
    options.percent = (int)percent;
    options.only_trial = (int)trial;
    options.names = argv + optind;
    return good && (!options.level || is_tested_level(options.level));
}

int main(int argc, char **argv)
{
    if (!parse(argc, argv)) {
        fprintf(stderr, "usage: kern [--list] [--faulty] [--seed N] [--trials PERCENT] "
                        "[--level LEVEL] [--trial N] [NAME...]\n");
        return 2;
    }
    report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (report == MAP_FAILED)
        return 99;
    if (!options.list)
        printf("# seed %llu\n", (unsigned long long)options.seed);
    run_table(options.faulty ? kern_faulty : kern_table);
    if (!options.list)
        printf("1..%d\n", count);
    return failed || (!count && !options.list) ? 1 : 0; /* nothing that is tried proves nothing */
}
