/* SPDX-License-Identifier: MIT */
/* The verbs that measure the output against a reference: data, kl. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"
#include "command/broken.h"
#include "command/cells.h"
#include "command/command.h"
#include "command/stops.h"
#include "command/text_words.h"
#include "command/until.h"
#include "command/verbs_kl.h"
#include "command/verbs_change.h"
#include "session/measure.h"
#include "study/task_add.h"

static void show_data(const struct session *s, struct result *out)
{
    const struct evaluation_set *set = &s->data.set;
    if (!set->segments) {
        result_note(out, "there is no evaluation set; `data FILE` keeps one");
        return;
    }
    struct table *t = result_table(out, "data", TABLE_RECORD);
    TABLE_COLUMNS(t, { COL_STRING, "text" }, { COL_INT, "segments" }, { COL_INT, "tokens" },
                  { COL_INT, "tune", "segment" }, { COL_INT, "check", "segment" },
                  { COL_INT, "scored", "token/segment" });
    table_row(t);
    table_str(t, s->data.path);
    table_int(t, set->segments);
    table_int(t, set->segments * set->tokens);
    table_int(t, (set->segments + 1) / 2);
    table_int(t, set->segments / 2);
    table_int(t, set->tokens - 1 - set->first);
}

/* Sums of the task `add` as segments; the seed is the setting's. */
static enum st task_segments(struct session *s, int64_t tokens, struct evaluation_set *set,
                             struct err *e)
{
    struct session_model *m;
    struct add_task task;
    struct add_sum *sums = NULL;
    int64_t n = EVALUATION_SEGMENTS;
    enum st st = session_need_graph(s, &m, e);
    if (!st)
        st = add_task_of(m->model, &task, e);
    if (!st && tokens) {
        /* one sum says how many tokens each has */
        const uint64_t seed = (uint64_t)setting_int(&s->settings, SETTING_SEED);
        struct evaluation_set one;
        if (!(st = add_draw(&task, seed, 1, NULL, &sums, e))
            && !(st = add_segments(&task, sums, 1, &one, e))) {
            n = tokens / one.tokens;
            evaluation_free(&one);
        }
        mem_free(sums);
        sums = NULL;
    }
    if (!st)
        st = add_draw(&task, (uint64_t)setting_int(&s->settings, SETTING_SEED), n, s->progress,
                      &sums, e);
    if (!st)
        st = add_segments(&task, sums, n, set, e);
    mem_free(sums);
    return st;
}

static enum st run_data(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    if (c->n_words == 1 && !c->words[0].quoted && str_is(c->words[0].text, "off")) {
        result_note(out, s->data.set.segments ? "no evaluation set any more"
                                              : "there was no evaluation set");
        session_data(s, NULL, 0, NULL);
        return ST_OK;
    }
    if (c->n_words) {
        struct session_model *m;
        struct evaluation_set set;
        int32_t *ids = NULL;
        const bool task = !c->words[0].quoted && str_is(c->words[0].text, "add");
        uint64_t text = 0;
        int64_t n, tokens = task ? 0 : EVALUATION_SEGMENTS * EVALUATION_TOKENS;
        const struct number_option options[] = { { "tokens", EVALUATION_TOKENS, 1 << 24,
                                                   &tokens } };
        enum st st = number_options(c, options, 1, e);
        if (!st && task)
            st = task_segments(s, tokens, &set, e);
        else if (!st && !(st = text_tokens(s, &c->words[0], &m, &ids, &n, e)))
            st = evaluation_cut(ids, n, tokens / EVALUATION_TOKENS, EVALUATION_TOKENS,
                                EVALUATION_FIRST, text_first_token(m), &set, e);
        if (!st)
            text = task ? hash_bytes(set.ids, (size_t)set.tokens * sizeof *set.ids, 1)
                        : hash_bytes(ids, (size_t)n * sizeof *ids, 0);
        free(ids);
        if (st)
            return st;
        char *path = x_strndup(c->words[0].text.p, c->words[0].text.n);
        session_data(s, path, text, &set);
        free(path);
    }
    show_data(s, out);
    return ST_OK;
}

/* What a measurement was about. */
struct about {
    const struct subject *x;
    const char *text, *part;
    enum compute mode;
    double floor;           /* of mode fast, NaN in others */
    bool agreement, compat; /* further tables */
    bool look;              /* at the half `check` */
    struct until until;
    struct overlap overlap; /* of the text with that which weighed the model */
};

static void kl_columns(struct table *t)
{
    TABLE_COLUMNS(
        t, { COL_FLOAT, "kl", "nat/token", 5 }, { COL_FLOAT, "kl_low", "nat/token", 5 },
        { COL_FLOAT, "kl_high", "nat/token", 5 },
        { COL_FLOAT, "kl_median", "nat/token", 4 }, { COL_FLOAT, "kl_p90", "nat/token", 4 },
        { COL_FLOAT, "kl_p99", "nat/token", 4 }, { COL_FLOAT, "kl_p999", "nat/token", 4 },
        { COL_FLOAT, "kl_max", "nat/token", 4 }, { COL_FLOAT, "top1", "", 5 },
        { COL_FLOAT, "top1_low", "", 5 }, { COL_FLOAT, "top1_high", "", 5 },
        { COL_FLOAT, "ln_ppl_ratio", "nat/token", 5 }, { COL_FLOAT, "ratio_low", "nat/token", 5 },
        { COL_FLOAT, "ratio_high", "nat/token", 5 }, { COL_FLOAT, "perplexity", "", 6 },
        { COL_FLOAT, "ref_perplexity", "", 6 }, { COL_STRING, "model" }, { COL_STRING, "compute" },
        { COL_STRING, "reference" }, { COL_STRING, "ref_compute" },
        FLOOR_COLUMNS, { COL_STRING, "text" }, { COL_STRING, "part" },
        { COL_INT, "scored", "token" }, { COL_INT, "segments" }, { COL_INT, "segments_of" },
        { COL_STRING, "interval" }, { COL_FLOAT, "calibration_overlap", "", 4 });
}

static void kl_table(const struct divergence *d, const struct about *a, struct result *out)
{
    struct table *t = result_table(out, "kl", TABLE_RECORD);
    kl_columns(t);
    table_row(t);
    put_kl_mean(t, &d->kl, a->floor);
    const double kl[] = { d->kl_median, d->kl_p90, d->kl_p99, d->kl_p999, d->kl_max };
    put_numbers(t, kl, 5);
    put_mean(t, &d->top1);
    put_mean(t, &d->log_ratio);
    put_number(t, exp(d->nll));
    put_number(t, exp(d->ref_nll));
    table_str(t, a->x->model->name);
    table_str(t, compute_name(a->mode));
    table_str(t, a->x->ref->name);
    table_str(t, compute_name(a->mode));
    put_floor(t, d->kl.value, a->floor);
    table_str(t, a->text);
    table_str(t, a->part);
    table_int(t, d->scored);
    table_int(t, d->segments);
    table_int(t, d->segments_of);
    const bool anytime = a->until.width > 0;
    if (isnan(d->kl.low))
        table_skip(t);
    else
        table_str(t, anytime ? "anytime" : "bootstrap");
    put_number(t, overlap_share(&a->overlap));
    if (d->segments < MIN_CLUSTERS && !anytime)
        result_note(out, "fewer than %d segments: no intervals", MIN_CLUSTERS);
    if (a->mode == COMPUTE_FAST)
        result_note(out, "both models ran in mode fast, whose own rounding adds to the kl");
}

/* What the further tables are made from. */
struct more {
    const struct about *about;
    struct collector agreement;
    struct base_tokens compat;
    uint8_t *row; /* the reference's, as a file of log-probabilities has it */
    float *base;  /* [vocab], what that stands for */
};

static void more_of_token(void *data, const struct scored_token *t)
{
    struct more *m = data;
    if (m->about->agreement)
        token_collect(&m->agreement, t);
    if (!m->about->compat || t->next < 0)
        return;
    if (!m->row) {
        m->row = x_alloc(logits_row_bytes(t->vocab));
        m->base = x_alloc((size_t)t->vocab * sizeof *m->base);
    }
    logits_encode(t->logits[0], t->vocab, m->row);
    logits_decode(m->row, t->vocab, m->base);
    base_tokens_add(&m->compat, t->logits[1], m->base, t->vocab, t->next);
}

static void more_show(const struct more *m, struct result *out)
{
    struct agreement agreement;
    struct base_divergence compat;
    if (m->about->agreement) {
        agreement_of(m->agreement.list, m->agreement.n, &agreement);
        show_agreement(&agreement, out);
    }
    if (m->about->compat && m->compat.n) {
        base_figures_of(&m->compat, &compat);
        show_base_divergence(&compat, out);
    }
}

static void more_free(struct more *m)
{
    collector_free(&m->agreement);
    base_tokens_free(&m->compat);
    free(m->row);
    free(m->base);
}

static bool narrow(const void *data, const struct measurement *m)
{
    const struct clustered_mean kl = measurement_mean(m, offsetof(struct segment_sums, kl));
    return until_reached(data, &kl);
}

/* Measure with an evaluator and say what was found. */
static enum st measure(struct session *s, struct evaluator *ev, struct evaluation_part part,
                       struct about *a, struct result *out, struct err *e)
{
    const struct evaluation_set *set = evaluator_of(ev)->set;
    struct measurement done;
    struct divergence d;
    struct fast_floor floor;
    enum st st = ST_OK;
    a->mode = evaluator_of(ev)->options.mode;
    a->floor = NAN;
    if (a->mode == COMPUTE_FAST) {
        st = session_fast_floor(s, a->x->model, set->ids, set->segments * set->tokens, &floor, e);
        if (st)
            return st;
        a->floor = floor.kl;
    }
    struct more more = { .about = a };
    part.anytime = a->until.width > 0;
    measurement_begin(ev, part, 0, &done);
    if (a->agreement || a->compat) {
        done.token = more_of_token;
        done.data = &more;
    }
    st = evaluator_until(ev, &a->x->plan, &done, part.anytime ? narrow : NULL, &a->until,
                         s->progress, e);
    if (done.segments) {
        measurement_divergence(&done, &d);
        a->overlap = session_overlap(s, a->x->model, true, a->x->model, set, a->text);
        kl_table(&d, a, out);
        overlap_note(&a->overlap, a->x->model->name, out);
        if (broken_note(&d.broken, d.scored, "the model", "segment", out))
            out->status = RESULT_FOUND;
        else if (!st)
            until_note(&a->until, &d.kl, d.segments_of, "kl", "segments", out);
        if (out->status != RESULT_FOUND)
            more_show(&more, out);
        if (a->x->ref == a->x->model)
            result_note(out, "reference = this file as opened; its own loss is not seen");
        changes_left_out(&a->x->left, out);
        if (st == ST_CANCELLED)
            out->status = RESULT_PARTIAL;
    }
    if (a->look)
        measure_looked(s, done.segments, a->x->ref, out);
    measurement_free(&done);
    more_free(&more);
    return st;
}

/* On a set that is there for this command alone. */
static enum st measure_once(struct session *s, const struct evaluation_set *set, struct about *a,
                            struct result *out, struct err *e)
{
    struct subject x;
    struct evaluator *ev;
    enum st st = subject_of(s, false, &x, e);
    if (st)
        return st;
    if (!(st = subject_evaluator(s, &x, set, 0, &ev, e))) {
        a->x = &x;
        a->part = "all";
        st = measure(s, ev, PART_ALL, a, out, e);
        evaluator_free(ev);
    }
    subject_free(&x);
    return st;
}

/* On a half of the evaluation set. */
static enum st measure_half(struct session *s, bool check, struct about *a, struct result *out,
                            struct err *e)
{
    struct subject x;
    struct evaluator *ev;
    enum st st = check ? measure_need_check(s, e) : ST_OK;
    if (!st)
        st = subject_of(s, false, &x, e);
    if (st)
        return st;
    if (!(st = session_evaluator(s, &x, &ev, e))) {
        a->x = &x;
        a->text = s->data.path;
        a->part = check ? "check" : "tune";
        a->look = check;
        st = measure(s, ev, check ? PART_CHECK : PART_TUNE, a, out, e);
        session_measure_settle(s);
    }
    subject_free(&x);
    return st;
}

enum st measure_need_check(const struct session *s, struct err *e)
{
    if (!s->data.set.segments || part_segments(&s->data.set, PART_CHECK))
        return ST_OK;
    st_fail(e, ST_STATE, "the half `check` of the evaluation set is empty: %s has one segment",
            s->data.path);
    return st_hint(e, "`data FILE tokens N` with more tokens, or a longer text, makes more");
}

void measure_looked(struct session *s, int64_t segments, const struct session_model *reference,
                    struct result *out)
{
    if (!segments)
        return;
    const int64_t looks = session_look(s, reference->path);
    result_note(out, "look %" PRId64 " at the half `check`%s", looks,
                looks > 1 ? ": the more looks, the less its intervals mean" : "");
}

/* -v, -compat and until, wherever they stand, out of the words. */
static enum st take_flags(struct call *c, struct about *a, struct err *e)
{
    int n = 0;
    for (int i = 0; i < c->n_words; i++)
        if (!c->words[i].quoted && str_is(c->words[i].text, "-v"))
            a->agreement = true;
        else if (!c->words[i].quoted && str_is(c->words[i].text, "-compat"))
            a->compat = true;
        else
            c->words[n++] = c->words[i];
    c->n_words = n;
    return until_take(c, &a->until, e);
}

static enum st run_verify(struct session *s, const struct call *c, struct result *out,
                          struct err *e)
{
    struct about a = { 0 };
    struct call k = *c;
    enum st st = take_flags(&k, &a, e);
    if (st)
        return st;
    if (k.n_words)
        return call_fail(&k, 0, e, ST_SYNTAX, "nothing more is expected here");
    return measure_half(s, true, &a, out, e);
}

static enum st run_kl(struct session *s, const struct call *call, struct result *out, struct err *e)
{
    struct about a = { 0 };
    struct call k = *call;
    const struct call *c = &k;
    enum st st = take_flags(&k, &a, e);
    if (st)
        return st;
    if (!c->n_words)
        return measure_half(s, false, &a, out, e);
    if (str_is(c->words[0].text, "base") && !c->words[0].quoted) {
        if (a.until.width > 0)
            return call_fail(c, 0, e, ST_SYNTAX, "`base` goes to its end: no until");
        if (a.agreement)
            return call_fail(c, 0, e, ST_SYNTAX, "`base` gives what llama-perplexity gives: no -v");
        return kl_base(s, c, out, e);
    }
    struct session_model *m;
    struct evaluation_set set;
    int32_t *ids = NULL;
    int64_t n, context = 512, chunks = INT32_MAX;
    const struct number_option options[] = { { "ctx", 4, 1 << 24, &context },
                                             { "chunks", 1, 1 << 24, &chunks } };
    st = number_options(c, options, 2, e);
    if (!st)
        st = text_tokens(s, &c->words[0], &m, &ids, &n, e);
    /* the chunks of `ppl`: the first ones of the text, side by side */
    if (!st && n > context && chunks < n / context)
        n = chunks * context;
    if (!st)
        st = evaluation_cut(ids, n < context ? n : n - n % context, INT32_MAX, context, context / 2,
                            text_first_token(m), &set, e);
    free(ids);
    if (st)
        return st;
    char *path = x_strndup(c->words[0].text.p, c->words[0].text.n);
    a.text = path;
    st = measure_once(s, &set, &a, out, e);
    free(path);
    evaluation_free(&set);
    return st;
}

static const struct arg_after kl_after[] = {
    { "base", ARG_FILE, NULL },
    { "ctx|chunks|until|tokens", ARG_NUMBER, NULL },
    { 0 },
};

const struct verb verbs_kl[] = {
    { .name = "data",
      .class = "analyse",
      .args = "[FILE|add|off] [tokens N]",
      .brief = "keep segments of a text to measure models on",
      .help = "64 segments of 80 tokens at equal distances in the text (`tokens N`: N / 80 "
              "segments), encoded by the active model. The first token of each is replaced by BOS "
              "where the vocabulary adds one; tokens after positions 16 .. 78 are scored. Every "
              "second segment belongs to `tune`, on which `kl` works; the others (`check`) stay "
              "untouched for a verdict. `data add`: sums of the task `add` (`help task`) drawn "
              "with the setting seed, a segment each, of which the tokens of the right answer are "
              "scored; 64 sums, or as many as N tokens are.",
      .examples = "open --demo=add\ndata add\ndata off",
      .kinds = { ARG_FILE, ARG_TEXT },
      .words = "add|off|tokens",
      .after = kl_after,
      .run = run_data },
    { .name = "kl",
      .class = "analyse",
      .args = "[FILE [ctx N] [chunks N] | base FILE] [until W] [-v] [-compat]",
      .brief = "how far the model's predictions lie from the reference's",
      .help = "Both the active model under its changes and the reference (`ref FILE`; without one, "
              "the model as its file has it), in the mode of `set compute`, go over the tune half "
              "of the evaluation set (`data FILE`), or over the chunks of a file that `ppl` "
              "scores. kl = sum over the whole vocabulary of p (ln p - ln q), p reference, q "
              "model, in nats, mean over scored tokens; with its maximum and the quantiles that at "
              "least ten tokens lie beyond (median, 90, 99, 99.9 %). top1 = share of tokens at "
              "which both give the largest logit to the same token. ln_ppl_ratio = mean of ln "
              "p(next) - ln q(next), token by token, which is ln(perplexity / ref_perplexity). low "
              "and high bound a figure with 95 % confidence: a bootstrap of the studentised mean "
              "over 1999 draws of segments or chunks, each being one observation of all its "
              "tokens; none below 20 of them; the bound of a top1 of 0 or 1 is Wilson's for so "
              "many tokens. Where logits of the model are not finite, figures that are no numbers "
              "are absent, a note names the first "
              "such token, and a batch ends with status 3. In mode fast, a kl below fast_floor "
              "(`help ppl`) is shown as <floor (to "
              "machines: absent, below_floor true; a kl_before likewise, before_below_floor). "
              "What the reference says on the "
              "evaluation set is kept for the next time, and blocks before the first that has "
              "changed are not run again. `base FILE` "
              "takes a file of log-probabilities of llama-perplexity or `ppl ... save` for the "
              "reference, with its tokens, and gives the figures that llama-perplexity gives: kl "
              "over terms with ln p > -16, dp = p(next) of the model less that of the base, one "
              "standard error with tokens taken as independent. calibration_overlap: where an "
              "importance matrix weighed the weights and it is known what its text was (`help "
              "imatrix`), the share of the sequences of 13 tokens of the evaluation set that are "
              "in that text, and a warning from 1 % on: such figures flatter the model. ^C keeps "
              "what is done.\n" UNTIL_HELP "\n"
              "-v: delta_p = q(next) - p(next), its mean and root mean square; correlation of ln "
              "p(next) and ln q(next) (Pearson); accepted = mean over tokens of the sum over the "
              "vocabulary of min(p, q), the share of drafts of the one that speculative decoding "
              "with the other accepts; top_k = share of the k most probable tokens of the "
              "reference that are among the k most probable of the model; kl and top1 by the "
              "largest p of the reference (confidence).\n"
              "-compat: the figures of `kl base` between the two models themselves, the reference "
              "rounded to the 16 bits of such a file: with `kl FILE ctx 512` those that "
              "llama-perplexity prints for the same logits, to the last digit.",
      .kinds = { ARG_FILE, ARG_TEXT },
      .words = "ctx|chunks|base|until|-v|-compat",
      .after = kl_after,
      .run = run_kl },
    { .name = "verify",
      .class = "analyse",
      .args = "[until W] [-v] [-compat]",
      .brief = "`kl` on the half of the evaluation set that is kept for a verdict",
      .help = "What has been chosen by its figures on the half `tune` looks better there than it "
              "is. The half `check` is for one look at the end: looks (`verify`, `check`) are "
              "counted for each text and reference as long as qdb runs, and the count is shown.",
      .examples = "open --demo=add\ndata add\nquant ** bits 4\nverify",
      .words = "until|-v|-compat",
      .after = kl_after,
      .run = run_verify },
    { 0 },
};
