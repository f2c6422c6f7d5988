/* SPDX-License-Identifier: MIT */
/* The verb bench: the limits of the machine and kernels beside them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/command.h"
#include "command/verbs_bench.h"
#include "kernels/level.h"
#include "study/bench.h"

/* ---------------------------------------------------------------- bench machine */

/* Of what the table shows; rates are kept in units of 1. */
static const char *limit_unit(enum bench_limit l)
{
    return l < LIMIT_MUL_ADD ? "GB/s" : l == LIMIT_DOT8 || l == LIMIT_TILE8 ? "GOP/s" : "GFLOP/s";
}

static enum st bench_machine(struct session *s, const struct call *c, struct result *out,
                             struct err *e)
{
    struct pool *pool = session_pool(s);
    struct bench_effort o = { bench_bytes(pool), 3 };
    for (int i = 1; i < c->n_words; i++) {
        enum st st = bench_effort_parse(c, &i, &o, e);
        if (st == ST_NOTFOUND)
            return call_fail(c, i, e, ST_SYNTAX, "expected size SIZE or seconds S");
        if (st)
            return st;
    }
    struct table *t = result_table(out, "machine", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "limit" }, { COL_FLOAT, "one_thread" },
                  { COL_FLOAT, "all_threads" }, { COL_STRING, "unit" },
                  { COL_STRING, "instructions" });
    for (enum bench_limit l = 0; l < LIMIT__COUNT; l++) {
        double one, all;
        if (!*bench_limit_how(l))
            continue;
        progress_tick(s->progress, bench_limit_name(l), l, LIMIT__COUNT);
        const double each = o.seconds / (2 * LIMIT__COUNT);
        enum st st = bench_limit_of(l, NULL, o.bytes, each, s->progress, &one, e);
        if (!st)
            st = bench_limit_of(l, pool, o.bytes, each, s->progress, &all, e);
        if (st)
            return st;
        table_row(t);
        table_str(t, bench_limit_name(l));
        table_float(t, one * 1e-9);
        table_float(t, all * 1e-9);
        table_str(t, limit_unit(l));
        table_str(t, bench_limit_how(l));
    }
    struct table *of = result_table(out, "setting", TABLE_RECORD);
    TABLE_COLUMNS(of, { COL_STRING, "level" }, { COL_INT, "threads" });
    table_row(of);
    table_str(of, level_now()->name);
    table_int(of, pool_threads(pool));
    return ST_OK;
}

/* ---------------------------------------------------------------- bench kernels */

enum { MOST_T = 8, MOST_MODES = COMPUTE__COUNT + 2,
       DECODE = COMPUTE__COUNT, SUMMARY };

/* The formats that most files use. */
static const char *const usual[] = { "f32",  "f16",  "bf16", "q8_0",   "q4_0",
                                     "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs" };

struct selection {
    bool format[BENCH_FORMATS], mode[MOST_MODES];
    bool any_format, any_mode;
    int64_t tokens[MOST_T];
    int n_tokens;
};

static const char *kernels_missing(enum format f)
{
    return bench_has(f, COMPUTE_EXACT) ? NULL : "its contents cannot be decoded";
}

static const char *mode_name(int m)
{
    return m == DECODE ? "decode" : m == SUMMARY ? "summary" : compute_name((enum compute)m);
}

static bool select_mode(struct selection *x, struct str name)
{
    for (int m = 0; m < MOST_MODES; m++)
        if (str_is(name, mode_name(m)))
            return x->mode[m] = x->any_mode = true;
    return false;
}

static enum st parse_kernels(const struct call *c, struct selection *x, struct bench_effort *o,
                             struct err *e)
{
    static const int64_t tokens[] = { 1, 2, 4, 8, 16, 512 };
    int summary = 0; /* the word */
    *x = (struct selection){ 0 };
    for (int i = 1; i < c->n_words; i++) {
        const struct str w = c->words[i].text;
        enum st st = bench_effort_parse(c, &i, o, e);
        if (!st)
            continue;
        if (st != ST_NOTFOUND)
            return st;
        if (x->n_tokens < MOST_T && !parse_i64(w, 1, 512, &x->tokens[x->n_tokens], NULL)) {
            x->n_tokens++;
            continue;
        }
        if (select_mode(x, w)) {
            summary = x->mode[SUMMARY] && !summary ? i : summary;
            continue;
        }
        st = bench_formats_parse(c, i, kernels_missing, x->format, e);
        if (!st) {
            x->any_format = true;
            continue;
        }
        if (st != ST_NOTFOUND)
            return st;
        call_fail(c, i, e, ST_NOTFOUND, "no format, mode or number of tokens `%.*s`",
                  (int)(w.n > 40 ? 40 : w.n), w.p);
        return st_hint(e, "a format (q4_k, \"q*\"), decode, summary, exact, native, fast, or 1 to "
                          "512 tokens");
    }
    if (summary && x->any_format && !x->format[format_by_name("f32")])
        return call_fail(c, summary, e, ST_UNSUPPORTED, "only f32 has a summary");
    for (size_t i = 0; !x->any_format && i < sizeof usual / sizeof *usual; i++)
        x->format[format_by_name(usual[i])] = true;
    for (int m = 0; !x->any_mode && m < MOST_MODES; m++)
        x->mode[m] = true;
    for (size_t i = 0; !x->n_tokens && i < sizeof tokens / sizeof *tokens; i++)
        x->tokens[i] = tokens[i];
    x->n_tokens = x->n_tokens ? x->n_tokens : (int)(sizeof tokens / sizeof *tokens);
    return ST_OK;
}

/* What is wanted of one format; list [MOST_MODES * MOST_T]. */
static int list_kernels(const struct selection *x, enum format f, struct bench_kernel *list)
{
    int n = 0;
    if (x->mode[DECODE])
        list[n++] = (struct bench_kernel){ f, BENCH_DECODE, COMPUTE_EXACT, 1 };
    if (x->mode[SUMMARY] && !strcmp(format_info(f)->name, "f32"))
        list[n++] = (struct bench_kernel){ f, BENCH_SUMMARY, COMPUTE_EXACT, 1 };
    for (int m = 0; m < COMPUTE__COUNT; m++)
        for (int i = 0; i < x->n_tokens && x->mode[m] && bench_has(f, (enum compute)m); i++)
            list[n++] = (struct bench_kernel){ f, BENCH_PRODUCT, (enum compute)m, x->tokens[i] };
    return n;
}

static struct table *kernel_table(struct result *out)
{
    struct table *t = result_table(out, "kernels", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "format" }, { COL_STRING, "compute" }, { COL_INT, "tokens" },
                  { COL_FLOAT, "weights", "GB/s", 3 }, { COL_FLOAT, "rate", "GFLOP/s", 3 },
                  { COL_FLOAT, "share", "", 2 }, { COL_FLOAT, "to_c", "", 3 });
    return t;
}

static void kernel_row(struct table *t, const struct bench_kernel *k, const struct bench_rate *r)
{
    table_row(t);
    table_str(t, format_info(k->format)->name);
    const bool product = k->task == BENCH_PRODUCT;
    table_str(t, mode_name(product                   ? (int)k->mode
                           : k->task == BENCH_DECODE ? DECODE
                                                     : SUMMARY));
    product ? table_int(t, k->tokens) : table_skip(t);
    table_float(t, r->bytes * 1e-9);
    product ? table_float(t, r->ops * 1e-9) : table_skip(t);
    table_float(t, r->share);
    table_float(t, r->to_c);
}

enum { LIMITS = 6 }; /* of the machine that products are compared with */

static enum st machine_limits(struct pool *pool, const struct bench_effort *o, double seconds,
                              struct progress *p, struct bench_machine *m, struct err *e)
{
    static const enum bench_limit needed[LIMITS] = { LIMIT_READ, LIMIT_MUL_ADD, LIMIT_FMA,
                                                     LIMIT_DOT8, LIMIT_BF16, LIMIT_TILE_BF16 };
    *m = (struct bench_machine){ { 0 } };
    for (int i = 0; i < LIMITS; i++) {
        enum st st = bench_limit_of(needed[i], pool, o->bytes, seconds, p, &m->limit[needed[i]], e);
        if (st)
            return st;
    }
    return ST_OK;
}

/* What the rows of all kernels share. */
static void limits_table(const struct bench_machine *m, int threads, struct result *out)
{
    struct table *t = result_table(out, "limits", TABLE_RECORD);
    for (enum bench_limit l = 0; l < LIMIT__COUNT; l++)
        if (m->limit[l] > 0)
            table_column(t, COL_FLOAT, bench_limit_name(l), limit_unit(l));
    TABLE_COLUMNS(t, { COL_STRING, "level" }, { COL_INT, "threads" });
    table_row(t);
    for (enum bench_limit l = 0; l < LIMIT__COUNT; l++)
        if (m->limit[l] > 0)
            table_float(t, m->limit[l] * 1e-9);
    table_str(t, level_now()->name);
    table_int(t, threads);
}

struct kernels_call {
    struct selection what;
    struct bench_effort effort;
    struct bench_machine machine;
    double slot; /* seconds per figure */
    int done, of;
};

static enum st bench_format(struct session *s, enum format f, struct kernels_call *x,
                            struct table *t, struct err *e)
{
    struct bench_kernel list[MOST_MODES * MOST_T];
    struct bench_weights *w = NULL;
    struct pool *pool = session_pool(s);
    const int n = list_kernels(&x->what, f, list);
    if (!n)
        return ST_OK;
    enum st st = bench_weights_new(f, x->effort.bytes, pool, &w, e);
    for (int i = 0; i < n && !st; i++) {
        struct bench_rate r;
        progress_tick(s->progress, format_info(f)->name, x->done++, x->of);
        st = bench_kernel_of(&list[i], w, &x->machine, pool, x->slot, s->progress, &r, e);
        if (!st)
            kernel_row(t, &list[i], &r);
    }
    bench_weights_free(w);
    return st;
}

static enum st bench_kernels(struct session *s, const struct call *c, struct result *out,
                             struct err *e)
{
    struct bench_kernel list[MOST_MODES * MOST_T];
    struct pool *pool = session_pool(s);
    struct kernels_call x = { .effort = { bench_bytes(pool), 10 } };
    enum st st = parse_kernels(c, &x.what, &x.effort, e);
    if (st)
        return st;
    for (int f = 0; f < format_count() && f < BENCH_FORMATS; f++)
        x.of += x.what.format[f] ? list_kernels(&x.what, f, list) : 0;
    /* A figure takes its slot once at the level in use, and half as long at level c. */
    x.slot = fmin(0.3, x.effort.seconds / (1.5 * x.of + LIMITS));
    st = machine_limits(pool, &x.effort, x.slot, s->progress, &x.machine, e);
    if (st)
        return st;
    limits_table(&x.machine, pool_threads(pool), out);
    struct table *t = kernel_table(out);
    for (int f = 0; f < format_count() && f < BENCH_FORMATS && !st; f++)
        st = x.what.format[f] ? bench_format(s, f, &x, t, e) : ST_OK;
    if (st == ST_CANCELLED)
        result_note(out, "%zu of %d figures", t->n_rows, x.of);
    return st;
}

/* ---------------------------------------------------------------- the verb */

static const struct verb_sub subs[] = {
    { "machine", { ARG_NONE }, "size|seconds", bench_machine },
    { "kernels", { ARG_KERNEL }, "decode|summary|size|seconds", bench_kernels },
    { "encode", { ARG_ENCODED }, "size|seconds", run_bench_encode },
    { "model", { ARG_FILE, ARG_TEXT }, "-p|-n|-r|-t|-c", run_bench_model },
    { "toggle", { ARG_FILE, ARG_TEXT }, "-r|-c", run_bench_toggle },
    { "catch", { ARG_FILE, ARG_TEXT }, "-p|-r|-c", run_bench_catch },
    { 0 },
};

static const struct arg_after bench_after[] = {
    { "size|seconds|-p|-n|-r|-t", ARG_NUMBER, NULL },
    { "-c", ARG_COMPUTE, NULL },
    { 0 },
};

static enum st run_bench(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    for (const struct verb_sub *sub = subs; sub->name && c->n_words; sub++)
        if (str_is(c->words[0].text, sub->name))
            return sub->run(s, c, out, e);
    return call_fail(c, 0, e, ST_SYNTAX,
                     "bench what? machine, kernels, encode, model, toggle or catch");
}

const struct verb verbs_bench[] = {
    { .name = "bench",
      .class = "analyse",
      .args = "machine | kernels | encode | model | toggle | catch [...]",
      .brief = "measure speed: the machine's limits, kernels beside them, the model",
      .help =
          "Rates are of wall time, with the threads and at the level that are set; another busy "
          "program makes them lower. GB is 1e9 bytes; a multiplication and an addition are two "
          "operations.\n"
          "bench machine: what can be had at most; the best of 5 samples each. read: memory read "
          "once in order, more of it than caches hold (160 MiB per thread, `size` for another "
          "size); read-ahead: the same with prefetches. mul-add: float32 multiplication and then "
          "addition, as mode exact does; fma: both in one instruction; dot8: products of bytes "
          "added into 32-bit integers; bf16: products of brain floats added into float32; tile8, "
          "tile-bf16: the same two in tiles (AMX). All from mul-add on touch no memory and use the "
          "vectors of the level in use; what it or the machine has no instructions for has no "
          "row.\n"
          "bench kernels: per format the speed of decoding to floats, of the summary of "
          "floats (extremes, moments up to the fourth, counts), and of products with 1, 2, "
          "4, 8, 16 and 512 tokens in each compute mode, for rows of 2048 weights walked through "
          "in slices of 4 MiB (above 16 tokens 64 rows per thread, 512 at level amx). weights: "
          "bytes of weights per second; rate: 2 * rows * columns * tokens per second; share: the "
          "time that the machine would need at least over the time taken, where it needs the "
          "longer of bytes at the rate of `read` and operations at that of `mul-add` (in native "
          "mode, where the level has it, `dot8` for what is multiplied as integers, `bf16` or else "
          "`fma` for weights in bf16, `fma` for f16; in mode fast `tile-bf16` or `bf16`, or else "
          "`dot8` for what is multiplied as integers and `fma`); "
          "to_c: how many times as fast as level c; limits: measured just before. Median of 5 "
          "samples. FILTER: formats (q4_k, \"iq*\"), decode, summary, exact, native, fast, numbers "
          "of tokens; without formats those that most files use. `seconds S` for all figures "
          "together (10), `size S`: how much memory the weights of one format fill.\n"
          "bench encode: per format the speed of encoding f16 weights and the error that is left, "
          "without importances and (weighted) with them: rows of 2048 normal numbers, importances "
          "e^(2 z) of normal z. rate: bytes of f16 per second, decoding it included; relerr: l2 of "
          "the error over l2 of the weights, squares weighted by importance in relerr_weighted. "
          "FORMAT: as above; all that can be encoded without. `seconds S` for all together (5), "
          "`size S` of f16 weights (32M).\n"
          "bench model: random tokens (`set seed`) through the active model, or that of a FILE. "
          "prompt: `-p` tokens (512) as one input, up to the logits of the last one, from making "
          "the run, as pp of other engines; generate: `-n` tokens (128), each passed by itself "
          "with its logits, from an empty context, as their tg; neither chooses tokens nor counts "
          "opening the file. Median, extremes and spread, (most - least) / median, of `-r` "
          "repetitions (3). `-t` threads (0: one per core) and `-c` compute mode, for this "
          "command; else as set, native where `set compute` leaves it open. open: seconds to open "
          "and check a FILE; first_token: from making the run to the logits after the first "
          "prompt, or with `-p 0` one token, which also warms up. reads: bytes of weights per "
          "second when generating, per_token each; an embedding beside an output matrix is left "
          "out. memory_peak: most that qdb had allocated of what `--mem` bounds, mapped files "
          "apart; process_peak: most that the process had in memory (VmHWM), pages of mapped "
          "files included; both since qdb was started.\n"
          "bench toggle: how long one waits for the kl after `quant`. 32 segments of 80 random "
          "tokens (`set seed`), 63 of each scored, are measured beside the active model, or that "
          "of a FILE, as it is. late: the first matrix of the first block of the last tenth gets "
          "another format (it is encoded anew, q4_0 and q5_0 in turn), everything from its block "
          "on is run again and compared; first: the same in the first block; whole: an evaluation "
          "that begins with nothing, one pass of all blocks. ratio: seconds over those of `whole` "
          "in the same round; work: 2 operations per weight and token, of the matrices that have "
          "to be multiplied with; share: work at the peak of the machine, measured just after, "
          "over the time taken. `-r` rounds (3) after one that warms up, `-c` compute mode.\n"
          "bench catch: what it costs to watch. The same `-p` random tokens (512) are run through "
          "once without a breakpoint and once with each of four catches (`help catch`), every "
          "point to the logits of all tokens, `-r` times (3) in turn; what a catch finds is "
          "counted (hits) and passed by. ratio: seconds over those of the run without one in the "
          "same round, the median and extremes of the rounds. A round before them warms up.\n"
          "^C keeps what is done.",
      .examples = "bench machine size 1M seconds 0.02\n"
                  "bench kernels q8_0 native 1 size 1M seconds 0.02\n"
                  "bench encode q4_k size 1M seconds 0.02\n"
                  "bench model -p 8 -n 4 -c native\n"
                  "bench toggle -r 1\n"
                  "bench catch -p 8 -r 2",
      .kinds = { ARG_TEXT },
      .after = bench_after,
      .subs = subs,
      .run = run_bench },
    { 0 },
};
