/* SPDX-License-Identifier: MIT */
/* The verbs that measure the output against a reference: data, kl. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "command/command.h"
#include "command/stops.h"
#include "command/verbs_change.h"
#include "file/text_file.h"
#include "study/evaluate.h"

/* The tokens of a text file, as the active model reads it. free(*ids) */
static enum st read_tokens(struct session *s, const struct word *file, struct session_model **m,
                           int32_t **ids, int64_t *n, struct err *e)
{
    struct buf path = { 0 }, text = { 0 };
    size_t count = 0, cap = 0;
    buf_add(&path, file->text.p, file->text.n);
    *ids = NULL;
    enum st st = session_need_graph(s, m, e);
    if (!st)
        st = session_need_tokenizer(s, m, e);
    if (!st && (st = text_file_read(buf_str(&path), PROMPT_FILE_MAX, &text, e)))
        st_at(e, file->column, file->length);
    if (!st)
        st = tokenizer_encode((*m)->model->tokenizer, str_of(text.p, text.n), 0, ids, &count, &cap,
                              e);
    *n = (int64_t)count;
    buf_free(&text);
    buf_free(&path);
    return st;
}

/* What replaces the first token of a segment; -1 = nothing. */
static int32_t first_token(const struct session_model *m)
{
    const struct tokenizer *k = m->model->tokenizer;
    return tokenizer_adds_bos(k) ? tokenizer_bos(k) : -1;
}

/* `KEYWORD N` pairs from word 1 on. */
struct option {
    const char *name;
    int64_t least, most, *value;
};

static enum st parse_options(const struct call *c, const struct option *list, int n, struct err *e)
{
    for (int i = 1; i < c->n_words; i += 2) {
        int k = 0;
        while (k < n && !str_is(c->words[i].text, list[k].name))
            k++;
        if (k == n)
            return call_fail(c, i, e, ST_SYNTAX, "expected %s N%s%s%s", list[0].name,
                             n > 1 ? " or " : "", n > 1 ? list[1].name : "", n > 1 ? " N" : "");
        if (i + 1 >= c->n_words)
            return call_fail(c, i + 1, e, ST_SYNTAX, "a number is missing");
        enum st st = parse_i64(c->words[i + 1].text, list[k].least, list[k].most, list[k].value, e);
        if (st)
            return st_at(e, c->words[i + 1].column, c->words[i + 1].length);
    }
    return ST_OK;
}

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

static enum st run_data(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    if (c->n_words == 1 && !c->words[0].quoted && str_is(c->words[0].text, "off")) {
        result_note(out, s->data.set.segments ? "no evaluation set any more"
                                              : "there was no evaluation set");
        session_data(s, NULL, NULL);
        return ST_OK;
    }
    if (c->n_words) {
        struct session_model *m;
        struct evaluation_set set;
        int32_t *ids = NULL;
        int64_t n, tokens = EVALUATION_SEGMENTS * EVALUATION_TOKENS;
        const struct option options[] = { { "tokens", EVALUATION_TOKENS, 1 << 24, &tokens } };
        enum st st = parse_options(c, options, 1, e);
        if (!st)
            st = read_tokens(s, &c->words[0], &m, &ids, &n, e);
        if (!st)
            st = evaluation_cut(ids, n, tokens / EVALUATION_TOKENS, EVALUATION_TOKENS,
                                EVALUATION_FIRST, first_token(m), &set, e);
        free(ids);
        if (st)
            return st;
        char *path = x_strndup(c->words[0].text.p, c->words[0].text.n);
        session_data(s, path, &set);
        free(path);
    }
    show_data(s, out);
    return ST_OK;
}

static void put_mean(struct table *t, const struct clustered_mean *m)
{
    const double v[] = { m->value, m->low, m->high };
    for (int i = 0; i < 3; i++)
        if (isnan(v[i]))
            table_skip(t);
        else
            table_float(t, v[i]);
}

static void kl_table(const struct divergence *d, const char *text, const struct session_model *ref,
                     const struct session_model *m, enum compute mode, struct result *out)
{
    struct table *t = result_table(out, "kl", TABLE_RECORD);
    TABLE_COLUMNS(
        t, { COL_FLOAT, "kl", "nat/token", 5 }, { COL_FLOAT, "kl_low", "nat/token", 5 },
        { COL_FLOAT, "kl_high", "nat/token", 5 }, { COL_FLOAT, "kl_median", "nat/token", 4 },
        { COL_FLOAT, "kl_p99", "nat/token", 4 }, { COL_FLOAT, "kl_max", "nat/token", 4 },
        { COL_FLOAT, "top1", "", 5 }, { COL_FLOAT, "top1_low", "", 5 },
        { COL_FLOAT, "top1_high", "", 5 }, { COL_FLOAT, "ln_ppl_ratio", "nat/token", 5 },
        { COL_FLOAT, "ratio_low", "nat/token", 5 }, { COL_FLOAT, "ratio_high", "nat/token", 5 },
        { COL_FLOAT, "perplexity", "", 6 }, { COL_FLOAT, "ref_perplexity", "", 6 },
        { COL_STRING, "model" }, { COL_STRING, "compute" }, { COL_STRING, "reference" },
        { COL_STRING, "ref_compute" }, { COL_STRING, "text" }, { COL_INT, "scored", "token" },
        { COL_INT, "segments" }, { COL_INT, "segments_of" });
    table_row(t);
    put_mean(t, &d->kl);
    table_float(t, d->kl_median);
    table_float(t, d->kl_p99);
    table_float(t, d->kl_max);
    put_mean(t, &d->top1);
    put_mean(t, &d->log_ratio);
    table_float(t, exp(d->nll));
    table_float(t, exp(d->ref_nll));
    table_str(t, m->name);
    table_str(t, compute_name(mode));
    table_str(t, ref->name);
    table_str(t, compute_name(mode));
    table_str(t, text);
    table_int(t, d->scored);
    table_int(t, d->segments);
    table_int(t, d->segments_of);
    if (d->segments < MIN_CLUSTERS)
        result_note(out, "fewer than %d segments: no intervals", MIN_CLUSTERS);
    if (mode == COMPUTE_FAST)
        result_note(out, "both models ran in mode fast, whose own rounding adds to the kl");
}

/* Measure on a set and say what was found. Without a reference the model as the file has it stands
 * for one, where changes hold. */
static enum st measure(struct session *s, const struct evaluation_set *set,
                       struct evaluation_part part, const char *text, struct result *out,
                       struct err *e)
{
    struct session_model *m, *ref = s->models.ref;
    struct divergence d = { 0 };
    enum st st = session_need_graph(s, &m, e);
    if (!st && !ref && !session_changed(s)) {
        st = st_fail(e, ST_STATE, "there is no reference, and no change to measure");
        st_hint(e, "`ref FILE` opens one");
    }
    if (st)
        return st;
    const struct run_options oref = session_run_options(s);
    struct run_options o = oref;
    struct plan plan;
    size_t left_out;
    changes_plan(s, m, &plan, &left_out);
    o.plan = &plan;
    st = divergence_of(ref ? ref->model : m->model, &oref, m->model, &o, set, part, s->progress, &d,
                       e);
    plan_free(&plan);
    if (d.segments)
        kl_table(&d, text, ref ? ref : m, m, o.mode, out);
    if (d.segments && !ref)
        result_note(out, "reference = this file as opened; its own loss is not seen");
    if (d.segments)
        changes_left_out(left_out, out);
    if (d.segments && st == ST_CANCELLED)
        out->status = RESULT_PARTIAL;
    return st;
}

static enum st run_kl(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    if (!c->n_words) {
        if (!s->data.set.segments) {
            st_fail(e, ST_STATE, "there is no evaluation set");
            return st_hint(e, "`data FILE` keeps one; `kl FILE` measures on a whole file");
        }
        return measure(s, &s->data.set, (struct evaluation_part){ 0, 2 }, s->data.path, out, e);
    }
    struct session_model *m;
    struct evaluation_set set;
    int32_t *ids = NULL;
    int64_t n, context = 512, chunks = INT32_MAX;
    const struct option options[] = { { "ctx", 4, 1 << 24, &context },
                                      { "chunks", 1, 1 << 24, &chunks } };
    enum st st = parse_options(c, options, 2, e);
    if (!st)
        st = read_tokens(s, &c->words[0], &m, &ids, &n, e);
    /* the chunks of `ppl`: the first ones of the text, side by side */
    if (!st && n > context && chunks < n / context)
        n = chunks * context;
    if (!st)
        st = evaluation_cut(ids, n - n % context, INT32_MAX, context, context / 2, first_token(m),
                            &set, e);
    free(ids);
    if (st)
        return st;
    char *path = x_strndup(c->words[0].text.p, c->words[0].text.n);
    st = measure(s, &set, (struct evaluation_part){ 0, 1 }, path, out, e);
    free(path);
    evaluation_free(&set);
    return st;
}

const struct verb verbs_kl[] = {
    { .name = "data",
      .class = "analyse",
      .args = "[FILE|off] [tokens N]",
      .brief = "keep segments of a text to measure models on",
      .help = "64 segments of 80 tokens at equal distances in the text (`tokens N`: N / 80 "
              "segments), encoded by the active model. The first token of each is replaced by BOS "
              "where the vocabulary adds one; tokens after positions 16 .. 78 are scored. Every "
              "second segment belongs to `tune`, on which `kl` works; the others (`check`) stay "
              "untouched for a verdict.",
      .examples = "data",
      .kinds = { ARG_FILE, ARG_TEXT },
      .words = "off|tokens",
      .run = run_data },
    { .name = "kl",
      .class = "analyse",
      .args = "[FILE [ctx N] [chunks N]]",
      .brief = "how far the model's predictions lie from the reference's",
      .help = "Both the active model under its changes and the reference (`ref FILE`; without one, "
              "the model as its file has it), in the mode of `set compute`, "
              "go over the tune half of the evaluation set (`data FILE`), or over the chunks of a "
              "file that `ppl` scores. kl = sum over the whole vocabulary of p (ln p - ln q), p "
              "reference, q model, in nats, mean over scored tokens; with median, 99 % quantile "
              "and maximum. top1 = share of tokens at which both give the largest logit to the "
              "same token. ln_ppl_ratio = mean of ln p(next) - ln q(next), token by token, which "
              "is ln(perplexity / ref_perplexity). low and high bound a figure with 95 % "
              "confidence: 1.96 standard errors, a segment or chunk being one observation of all "
              "its tokens; none below 20 segments. ^C keeps what is done.",
      .kinds = { ARG_FILE, ARG_TEXT },
      .words = "ctx|chunks",
      .run = run_kl },
    { 0 },
};
