/* SPDX-License-Identifier: MIT */
/* A mutation driver for fuzz targets, for compilers that have no libFuzzer.
 *
 *   fuzz_NAME [-seconds S] [-runs N] [-seed N] [-corpus DIR]     corpus, then mutations of it
 *   fuzz_NAME FILE...                                            these inputs alone
 *
 * The corpus is tests/fuzz/corpus/NAME of the source tree. The sequence of inputs depends on the
 * seed and the corpus only; the time says where it ends. An input that crashes, or takes over 20
 * seconds, is kept in fuzz_NAME.crash. Prints TAP. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { INPUT_SIZE = 1 << 20, SECONDS_PER_INPUT = 20 };

struct input {
    uint8_t *p;
    size_t n;
};

static struct {
    struct input *list;
    size_t n;
} corpus;

static uint64_t random_state;

static uint64_t draw(void) /* splitmix64 */
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static size_t below(size_t n) { return n ? draw() % n : 0; }

/* Where an input is when the code under test dies. */
static const uint8_t *volatile running;
static volatile size_t running_size;
static char crash_path[256];

static void save_input(void)
{
    if (!running)
        return;
    int fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, (const void *)running, running_size) < 0)
        return;
    close(fd);
    static const char text[] = "the input is kept in ";
    (void)!write(2, text, sizeof text - 1);
    (void)!write(2, crash_path, strlen(crash_path));
    (void)!write(2, "\n", 1);
}

static void on_signal(int sig)
{
    static const char slow[] = "an input takes too long\n";
    if (sig == SIGALRM)
        (void)!write(2, slow, sizeof slow - 1);
    save_input();
    signal(sig, SIG_DFL);
    raise(sig);
}

/* The sanitizers end the process themselves, and tell us before. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "max_allocation_size_mb=128"; }

static void watch_for_crashes(void)
{
    signal(SIGALRM, on_signal);
    signal(SIGABRT, on_signal); /* which the sanitizers leave alone */
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(save_input);
        return;
    }
    static const int fatal[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL };
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
        signal(fatal[i], on_signal);
}

static void run(const uint8_t *p, size_t n)
{
    uint8_t *exact = malloc(n ? n : 1); /* so that a read past the end is seen */
    if (!exact)
        exit(1);
    memcpy(exact, p, n);
    running_size = n;
    running = exact;
    alarm(SECONDS_PER_INPUT);
    LLVMFuzzerTestOneInput(exact, n);
    alarm(0);
    running = NULL;
    free(exact);
}

static bool load(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    static uint8_t whole[INPUT_SIZE];
    size_t n = fread(whole, 1, sizeof whole, f);
    bool ok = !ferror(f);
    fclose(f);
    if (!ok)
        return false;
    corpus.list = realloc(corpus.list, (corpus.n + 1) * sizeof *corpus.list);
    uint8_t *p = malloc(n ? n : 1);
    if (!corpus.list || !p)
        exit(1);
    memcpy(p, whole, n);
    corpus.list[corpus.n++] = (struct input){ p, n };
    return true;
}

static void load_folder(const char *folder)
{
    struct dirent **names;
    int n = scandir(folder, &names, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
        if (names[i]->d_name[0] != '.')
            load(path);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
}

static void unload(void)
{
    for (size_t i = 0; i < corpus.n; i++)
        free(corpus.list[i].p);
    free(corpus.list);
}

/* Make room for n bytes at `at`, as far as there is any; returns how many. */
static size_t open_gap(struct input *in, size_t at, size_t n)
{
    if (n > INPUT_SIZE - in->n)
        n = INPUT_SIZE - in->n;
    memmove(in->p + at + n, in->p + at, in->n - at);
    in->n += n;
    return n;
}

static void insert(struct input *in, const uint8_t *p, size_t n)
{
    size_t at = below(in->n + 1);
    memcpy(in->p + at, p, open_gap(in, at, n));
}

static void flip_bit(struct input *in)
{
    if (in->n)
        in->p[below(in->n)] ^= (uint8_t)(1u << below(8));
}

static void set_byte(struct input *in)
{
    if (in->n)
        in->p[below(in->n)] = (uint8_t)draw();
}

/* Overwrite 1, 2, 4 or 8 bytes by a little-endian number where counts and sizes go wrong. */
static void set_number(struct input *in)
{
    static const uint64_t edges[] = { 0,
                                      1,
                                      0x7f,
                                      0x80,
                                      0xff,
                                      0x7fff,
                                      0xffff,
                                      0x7fffffff,
                                      0x80000000,
                                      0xffffffff,
                                      0x7fffffffffffffff,
                                      0x8000000000000000,
                                      0xffffffffffffffff,
                                      0x2000000000000000,
                                      0x4000000000000001 };
    size_t width = (size_t)1 << below(4);
    if (in->n < width)
        return;
    uint64_t v = edges[below(sizeof edges / sizeof *edges)] + below(3) - 1;
    uint8_t *p = in->p + below(in->n - width + 1);
    for (size_t i = 0; i < width; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static void delete_range(struct input *in)
{
    if (!in->n)
        return;
    size_t at = below(in->n), n = 1 + below(in->n - at < 32 ? in->n - at : 32);
    memmove(in->p + at, in->p + at + n, in->n - at - n);
    in->n -= n;
}

static void truncate_end(struct input *in) { in->n = below(in->n + 1); }

static void repeat_range(struct input *in)
{
    uint8_t piece[64];
    if (!in->n)
        return;
    size_t at = below(in->n), n = 1 + below(in->n - at < sizeof piece ? in->n - at : sizeof piece);
    memcpy(piece, in->p + at, n);
    for (size_t times = 1 + below(8); times; times--)
        insert(in, piece, n);
}

static void insert_bytes(struct input *in)
{
    uint8_t piece[16];
    for (size_t i = 0; i < sizeof piece; i++)
        piece[i] = (uint8_t)draw();
    insert(in, piece, 1 + below(sizeof piece));
}

static void insert_printable(struct input *in)
{
    uint8_t c = (uint8_t)(32 + below(95));
    insert(in, &c, 1);
}

static void insert_word(struct input *in)
{
    size_t n = 0;
    while (fuzz_words && fuzz_words[n])
        n++;
    if (n) {
        const char *word = fuzz_words[below(n)];
        insert(in, (const uint8_t *)word, strlen(word));
    }
}

static void insert_other(struct input *in)
{
    const struct input *other = &corpus.list[below(corpus.n)];
    if (!other->n)
        return;
    size_t at = below(other->n), n = 1 + below(other->n - at);
    insert(in, other->p + at, n > 4096 ? 4096 : n);
}

static void mutate(struct input *in)
{
    static void (*const mutations[])(struct input *) = {
        flip_bit,     set_byte,         set_number,  delete_range, truncate_end, repeat_range,
        insert_bytes, insert_printable, insert_word, insert_word,  insert_other,
    };
    const struct input *seed = &corpus.list[below(corpus.n)];
    memcpy(in->p, seed->p, seed->n);
    in->n = seed->n;
    for (size_t times = 1 + below(1 + below(12)); times; times--)
        mutations[below(sizeof mutations / sizeof *mutations)](in);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static struct {
    double seconds;
    unsigned long long runs, seed;
    char folder[4096];
} options = { 1, -1ull, 1, "" };

/* Returns the index of the first file name, or -1. */
static int read_options(int argc, char **argv, const char *name)
{
    const char *top = getenv("QDB_TOP"), *seconds = getenv("QDB_FUZZ_SECONDS");
    if (seconds)
        options.seconds = strtod(seconds, NULL);
    snprintf(options.folder, sizeof options.folder, "%s/tests/fuzz/corpus/%s", top ? top : ".",
             strncmp(name, "fuzz_", 5) ? name : name + 5);
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i += 2) {
        const char *value = argv[i + 1];
        if (!value)
            return -1;
        if (!strcmp(argv[i], "-seconds"))
            options.seconds = strtod(value, NULL);
        else if (!strcmp(argv[i], "-runs"))
            options.runs = strtoull(value, NULL, 10);
        else if (!strcmp(argv[i], "-seed"))
            options.seed = strtoull(value, NULL, 10);
        else if (!strcmp(argv[i], "-corpus"))
            snprintf(options.folder, sizeof options.folder, "%s", value);
        else
            return -1;
    }
    return i;
}

static unsigned long long run_mutations(void)
{
    static uint8_t bytes[INPUT_SIZE];
    struct input in = { bytes, 0 };
    unsigned long long done = 0;
    random_state = options.seed;
    for (double end = now() + options.seconds; done < options.runs && now() < end; done++) {
        mutate(&in);
        run(in.p, in.n);
    }
    return done;
}

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
    snprintf(crash_path, sizeof crash_path, "%s.crash", name);
    int file = read_options(argc, argv, name);
    if (file < 0) {
        fprintf(stderr, "usage: %s [-seconds S] [-runs N] [-seed N] [-corpus DIR] | FILE...\n",
                name);
        return 2;
    }
    bool replay = file < argc;
    for (; file < argc; file++)
        if (!load(argv[file])) {
            fprintf(stderr, "%s: %s\n", argv[file], strerror(errno));
            return 2;
        }
    if (!replay)
        load_folder(options.folder);

    setvbuf(stdout, NULL, _IOLBF, 0);
    watch_for_crashes();
    printf("1..%d\n", replay ? 1 : 2);
    for (size_t i = 0; i < corpus.n; i++)
        run(corpus.list[i].p, corpus.list[i].n);
    printf("%sok 1 - %zu inputs\n", corpus.n ? "" : "not ", corpus.n);
    if (!replay && corpus.n)
        printf("ok 2 - %llu mutations, seed %llu\n", run_mutations(), options.seed);
    unload();
    return 0;
}
