/* SPDX-License-Identifier: MIT */
/* The verbs that work on many tokens: gen, task. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "command/broken.h"
#include "command/cells.h"
#include "command/verbs_task.h"
#include "command/command.h"
#include "command/stops.h"
#include "command/verbs_change.h"
#include "file/text_file.h"
#include "kernels/level.h"
#include "study/perplexity.h"
#include "study/sample.h"
#include "study/task_add.h"

/* A number after the word at i, as `temp 0.8`. */
static enum st number_after(const struct call *c, int i, double lo, double hi, double *out,
                            struct err *e)
{
    if (i + 1 >= c->n_words)
        return call_fail(c, i + 1, e, ST_SYNTAX, "a number is missing");
    enum st st = parse_f64(c->words[i + 1].text, out, e);
    if (!st && !(*out >= lo && *out <= hi))
        st = st_fail(e, ST_RANGE, "%.16g is not in %.16g..%.16g", *out, lo, hi);
    return st ? st_at(e, c->words[i + 1].column, c->words[i + 1].length) : ST_OK;
}

struct gen {
    int64_t n;
    struct sampler sampler;
    bool ignore_end;
};

static enum st parse_gen(struct session *s, const struct call *c, struct gen *g, struct err *e)
{
    *g = (struct gen){ .n = 32, .sampler = { .top_p = 1 } };
    double seed = (double)setting_int(&s->settings, SETTING_SEED), v;
    for (int i = 0; i < c->n_words; i++) {
        struct str w = c->words[i].text;
        enum st st = ST_OK;
        if (i == 0 && !parse_i64(w, 1, 1 << 24, &g->n, NULL))
            continue;
        if (str_is(w, "greedy")) {
            g->sampler.temperature = 0;
            continue;
        }
        if (str_is(w, "ignore-end")) {
            g->ignore_end = true;
            continue;
        }
        if (str_is(w, "temp"))
            st = number_after(c, i++, 0, 100, &g->sampler.temperature, e);
        else if (str_is(w, "top-p"))
            st = number_after(c, i++, 0, 1, &g->sampler.top_p, e);
        else if (str_is(w, "top-k")) {
            st = number_after(c, i++, 0, 1 << 30, &v, e);
            g->sampler.top_k = st ? 0 : (int64_t)v;
        } else if (str_is(w, "seed"))
            st = number_after(c, i++, 0, 9007199254740992.0, &seed, e);
        else
            return call_fail(c, i, e, ST_SYNTAX,
                             "expected N, greedy, temp T, top-k K, top-p P, seed S or ignore-end");
        if (st)
            return st;
    }
    g->sampler.state = (uint64_t)seed;
    return ST_OK;
}

/* Append tokens until n are there, the text ends, or a breakpoint stops the run. */
static enum st generate(struct session *s, struct session_run *r, struct gen *g, int32_t *ids,
                        size_t *n, struct stop *stop, struct err *e)
{
    const struct graph *graph = run_graph(r->run);
    const struct tokenizer *k = r->model->model->tokenizer;
    for (int64_t i = 0; i < g->n; i++) {
        enum st st = control_forward(s, r, run_end(r->run), STOP_END, stop, e);
        if (st || stop->reason == STOP_BREAKPOINT)
            return st;
        struct tensor logits;
        if ((st = run_read(r->run, run_n_spans(r->run) - 1, graph->logits, &logits, e)))
            return st;
        const int64_t rows = logits.shape.d[0].n;
        int32_t id = sample(&g->sampler, logits.data + (rows - 1) * graph->vocab, graph->vocab);
        if (id < 0)
            return st_fail(e, ST_FORMAT, "the logits hold no finite number");
        if (!g->ignore_end && k && tokenizer_ends(k, id))
            return ST_OK;
        if ((st = run_append(r->run, &id, 1, e)))
            return st;
        ids[(*n)++] = id;
    }
    return control_forward(s, r, run_end(r->run), STOP_END, stop, e);
}

static enum st run_gen(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_run *r;
    struct gen g;
    enum st st = session_need_run(s, &r, e);
    if (!st && run_graph(r->run)->logits < 0)
        st = st_fail(e, ST_UNSUPPORTED, "the model has no output head");
    if (!st)
        st = parse_gen(s, c, &g, e);
    if (st)
        return st;
    int32_t *ids = x_alloc((size_t)g.n * sizeof *ids);
    size_t n = 0;
    struct stop stop = { 0 };
    st = generate(s, r, &g, ids, &n, &stop, e);
    struct buf text = { 0 };
    const struct tokenizer *k = r->model->model->tokenizer;
    if (k && tokenizer_decode(k, ids, n, false, false, &text, NULL))
        buf_clear(&text);
    struct table *t = result_table(out, "text", TABLE_RECORD);
    TABLE_COLUMNS(t, { COL_STRING, "text" }, { COL_INT, "tokens" });
    table_row(t);
    table_strn(t, str_of(buf_str(&text), text.n));
    table_int(t, (int64_t)n);
    buf_free(&text);
    free(ids);
    if (st == ST_CANCELLED || (!st && stop.reason == STOP_BREAKPOINT))
        return show_stop(s, st, &stop, out, e);
    return st;
}

/* --- task ------------------------------------------------------------------------------------ */

static void share_columns(struct table *t)
{
    TABLE_COLUMNS(t, { COL_INT, "right" }, { COL_INT, "of" }, { COL_FLOAT, "share", "", 4 },
                  { COL_FLOAT, "low", "", 4 }, { COL_FLOAT, "high", "", 4 });
}

static void share_cells(struct table *t, const struct share *s)
{
    table_int(t, s->hits);
    table_int(t, s->n);
    put_share(t, s);
}

struct task_call {
    int64_t n;
    double seed;
};

static void task_summary(const struct add_report *r, const struct task_call *call,
                         enum compute mode, double seconds, struct result *out)
{
    struct table *t = result_table(out, "task", TABLE_RECORD);
    TABLE_COLUMNS(t, { COL_STRING, "task" }, { COL_INT, "sums" }, { COL_FLOAT, "exact", "", 5 },
                  { COL_FLOAT, "exact_low", "", 5 }, { COL_FLOAT, "exact_high", "", 5 },
                  { COL_FLOAT, "digit_logp", "nat", 5 }, { COL_FLOAT, "logp_low", "nat", 5 },
                  { COL_FLOAT, "logp_high", "nat", 5 }, { COL_STRING, "compute" },
                  { COL_STRING, "level" }, { COL_INT, "seed" }, { COL_FLOAT, "speed", "sum/s" });
    table_row(t);
    table_str(t, "add");
    table_int(t, r->exact.n);
    if (r->broken.tokens[1])
        put_absent(t, 3);
    else
        put_share(t, &r->exact);
    put_mean(t, &r->logp);
    table_str(t, compute_name(mode));
    put_level(t, mode == COMPUTE_FAST);
    table_int(t, (int64_t)call->seed);
    put_number(t, seconds > 0 ? (double)r->exact.n / seconds : (double)NAN);
}

static void task_digits(const struct add_task *task, const struct add_report *r, struct result *out)
{
    struct table *t = result_table(out, "tokens of the answer", TABLE_ROWS);
    table_column(t, COL_STRING, "token", "");
    share_columns(t);
    table_column(t, COL_FLOAT, "logprob", "nat");
    table_digits(t, 4);
    for (int i = 0; i <= task->digits + 1; i++) {
        table_row(t);
        if (i <= task->digits)
            table_fmt(t, "10^%d", i);
        else
            table_str(t, "end");
        share_cells(t, &r->token[i]);
        put_number(t, r->token_logp[i]);
    }
    t = result_table(out, "carries", TABLE_ROWS);
    table_column(t, COL_INT, "carry", "places");
    share_columns(t);
    for (int i = 0; i <= task->digits; i++) {
        table_row(t);
        table_int(t, i);
        share_cells(t, &r->carry[i]);
    }
}

/* The first sums that went wrong. */
static void task_wrong(const struct session_model *m, const struct add_sum *sums,
                       const struct add_score *s, int64_t n, struct result *out)
{
    enum { SHOWN = 5 };
    struct table *t = NULL;
    for (int64_t i = 0, shown = 0; i < n && shown < SHOWN; i++) {
        if (s[i].wrong < 0)
            continue;
        if (!shown++) {
            t = result_table(out, "wrong", TABLE_ROWS);
            TABLE_COLUMNS(t, { COL_INT, "a" }, { COL_INT, "b" }, { COL_INT, "sum" },
                          { COL_STRING, "first_wrong" }, { COL_STRING, "said" });
        }
        table_row(t);
        table_int(t, sums[i].a);
        table_int(t, sums[i].b);
        table_int(t, sums[i].a + sums[i].b);
        if (s[i].wrong < s[i].digits)
            table_fmt(t, "10^%d", s[i].wrong);
        else
            table_str(t, "end");
        struct buf b = { 0 };
        const struct session_run as = { .model = (struct session_model *)m };
        if (s[i].said >= 0)
            session_token_text(&as, s[i].said, &b);
        table_str(t, buf_str(&b));
        buf_free(&b);
    }
}

static enum st parse_task(struct session *s, const struct call *c, struct task_call *t,
                          struct err *e)
{
    *t = (struct task_call){ 500, (double)setting_int(&s->settings, SETTING_SEED) };
    for (int i = 1; i < c->n_words; i++) {
        enum st st;
        if (str_is(c->words[i].text, "seed")) {
            st = number_after(c, i++, 0, 9007199254740992.0, &t->seed, e);
            if (st)
                return st;
        } else if ((st = parse_i64(c->words[i].text, 1, 1000000, &t->n, e)))
            return call_fail(c, i, e, st, "expected how many sums, 1 to 1000000, or seed S");
    }
    return ST_OK;
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static enum st run_task(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    if (!c->n_words)
        return call_fail(c, 0, e, ST_SYNTAX, "which task? there are: add, FILE");
    if (c->words[0].quoted || !str_is(c->words[0].text, "add"))
        return task_file(s, c, out, e);
    struct session_model *m;
    struct task_call call;
    struct add_task task;
    struct add_sum *sums = NULL;
    struct add_score *scores;
    void *memory;
    int64_t done = 0;
    enum st st = session_need_graph(s, &m, e);
    if (!st)
        st = parse_task(s, c, &call, e);
    if (!st)
        st = add_task_of(m->model, &task, e);
    if (!st)
        st = add_draw(&task, (uint64_t)call.seed, call.n, s->progress, &sums, e);
    if (!st)
        st = mem_alloc(&memory, (size_t)call.n * sizeof *scores, "scores", e);
    if (st) {
        mem_free(sums);
        return st;
    }
    scores = memory;
    struct run_options o = session_measure_options(s);
    struct plan plan;
    struct changes_left left;
    changes_plan(s, m, &plan, &left);
    o.plan = &plan;
    const double start = seconds_now();
    st = add_score(&task, &o, sums, call.n, s->progress, scores, &done, e);
    plan_free(&plan);
    if (done) {
        struct add_report r;
        add_report_of(&task, sums, scores, done, &r);
        changes_left_out(&left, out);
        task_summary(&r, &call, o.mode, seconds_now() - start, out);
        if (broken_note(&r.broken, r.scored, "the model", "answer", out)) {
            out->status = RESULT_FOUND;
        } else {
            task_digits(&task, &r, out);
            task_wrong(m, sums, scores, done, out);
        }
        if (done < MIN_CLUSTERS)
            result_note(out, "fewer than %d sums: no interval for the log-probability",
                        MIN_CLUSTERS);
    }
    mem_free(sums);
    mem_free(scores);
    return st;
}

static const struct arg_after study_after[] = {
    { "temp|top-k|top-p|seed", ARG_NUMBER, NULL },
    { 0 },
};

const struct verb verbs_study[] = {
    { .name = "gen",
      .class = "run",
      .args = "[N] [greedy] [temp T] [top-k K] [top-p P] [seed S] [ignore-end]",
      .brief = "generate up to N tokens (32), with breakpoints live",
      .help = "Greedy unless a temperature is given: the most probable token, the lowest id among "
              "equals. Order: temperature, top-k, top-p. Stops at the end-of-text tokens of the "
              "vocabulary unless ignore-end. Each generated token is a span of its own. The seed "
              "is that of `set seed` unless given: the same seed, model and settings give the "
              "same text.",
      .examples = "prompt \"kalo\"\ngen 8\nprompt \"kalo\"\ngen 8 temp 0.8 top-k 40 seed 1",
      .kinds = { ARG_NUMBER, ARG_TEXT },
      .words = "greedy|temp|top-k|top-p|seed|ignore-end",
      .after = study_after,
      .run = run_gen },
    { .name = "task",
      .class = "analyse",
      .args = "add [N] [seed S] | FILE",
      .brief = "how many answers of a model are right: sums, or questions of a file",
      .help =
          "For models whose metadata says qdb.task = \"add\" (`open --demo=add`). N sums (500) "
          "are made on the spot from a seed (`set seed`, or given): two operands of as many "
          "digits as the model was trained on, none of the pairs seen in training, as many of "
          "each carry length. The carry length is how many places the longest-travelling carry "
          "goes through: a place whose digits add up to ten or more sends one out, each further "
          "place whose digits add up to nine passes it on.\nexact: share of the sums whose whole "
          "answer greedy decoding gets right; it does so exactly when every token of the answer "
          "has the largest logit after the right ones before it. right, of, share: the same by "
          "carry length, and for single tokens of the answer after the right ones before: the "
          "digit at 10^0, 10^1, ..., and the newline that ends it. low and high bound a share "
          "with 95 % confidence (Wilson 1927).\ndigit_logp: mean log-probability of the digits of "
          "the right answers, in nats; logp_low and logp_high bound it like the figures of "
          "`kl`, each sum one observation. It moves before exact match does. `wrong` lists the "
          "first sums "
          "that failed, with the first token that did.\nFILE has a question on each line: "
          "{\"prompt\": \"...\", \"choices\": [\"...\", ...], \"answer\": 0} (a number "
          "from 0, or the text of a choice), or {\"prompt\": \"...\", \"answer\": "
          "\"...\"}. Of choices the model takes the one with the largest log-probability after "
          "the prompt, summed over its tokens; an answer without choices must be what greedy "
          "decoding gives. accuracy: the share that is right, with its 95 % bounds (Wilson). With "
          "a reference (`ref`), or under changes against the file as opened: its accuracy, how "
          "many answers went to_wrong and to_right, flips = their share, and mcnemar = the "
          "probability of flips as uneven as these when both directions are equally likely "
          "(exact, two-sided); the first flips are listed. Where logits are not finite there are "
          "no figures, a note names the first such token, and a batch ends with status 3. ^C keeps "
          "what is done.",
      .examples = "open --demo=add\ntask add 60\ntask add 30 seed 7",
      .kinds = { ARG_FILE, ARG_NUMBER, ARG_TEXT },
      .words = "add|seed",
      .after = study_after,
      .run = run_task },
    { 0 },
};
