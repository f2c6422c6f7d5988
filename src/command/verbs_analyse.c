/* SPDX-License-Identifier: MIT */
/* The verbs that ask what a run did: attn, entropy, lens, logits, outliers, topk. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/cells.h"
#include "command/verbs_analyse.h"
#include "command/command.h"
#include "command/verbs_attention.h"
#include "command/verbs_outliers.h"
#include "kernels/statistics.h"
#include "session/lookup.h"
#include "session/reference.h"
#include "study/lens.h"
#include "study/predict.h"

/* --- predictions -------------------------------------------------------------------------------
 */

bool is_token_word(const struct word *w)
{
    return !w->quoted && str_starts(w->text, "tok=");
}

enum st token_word(const struct call *c, int i, int64_t n, int64_t *tok, struct err *e)
{
    const struct str text = { c->words[i].text.p + 4, c->words[i].text.n - 4 };
    int64_t v;
    if (parse_i64(text, -n, n - 1, &v, e))
        return call_fail(c, i, e, ST_RANGE, "tok is a number in %d..%d", (int)-n, (int)n - 1);
    *tok = v < 0 ? v + n : v;
    return ST_OK;
}

/* The arguments `[N] [tok=I]` of topk and lens. */
static enum st parse_rank(const struct call *c, const struct session_run *r, int64_t most,
                          int64_t *n, int64_t *tok, struct err *e)
{
    *tok = run_n_tokens(r->run) - 1;
    for (int i = 0; i < c->n_words; i++) {
        const struct word *w = &c->words[i];
        enum st st = is_token_word(w) ? token_word(c, i, run_n_tokens(r->run), tok, e)
                                      : parse_i64(w->text, 1, most, n, e);
        if (st && !is_token_word(w))
            return call_fail(c, i, e, st, "expected a number in 1..%d, or tok=I", (int)most);
        if (st)
            return st;
    }
    return ST_OK;
}

/* Copy the logits after token `tok` to new memory [vocab]. */
static enum st read_logits(struct session_run *r, int64_t tok, float **out, struct err *e)
{
    const struct graph *g = run_graph(r->run);
    const int span = run_span_of(r->run, tok);
    struct tensor x;
    void *p;
    if (g->logits < 0)
        return st_fail(e, ST_UNSUPPORTED, "the model has no output head");
    enum st st = run_read(r->run, span, g->logits, &x, e);
    if (!st)
        st = mem_alloc(&p, (size_t)g->vocab * sizeof(float), "logits", e);
    if (st)
        return st;
    memcpy(p, x.data + (tok - run_span(r->run, span).first) * g->vocab,
           (size_t)g->vocab * sizeof(float));
    *out = p;
    return ST_OK;
}

/* One cell with a token's text. */
static void put_text(struct table *t, const struct session_run *r, int32_t id)
{
    struct buf b = { 0 };
    session_token_text(r, id, &b);
    table_str(t, buf_str(&b));
    buf_free(&b);
}

/* Say which token the figures follow. */
static void note_after(const struct session_run *r, int64_t tok, struct result *out)
{
    struct buf b = { 0 };
    session_token_text(r, run_tokens(r->run)[tok], &b);
    result_note(out, "after token %d \"%s\"", (int)tok, buf_str(&b));
    buf_free(&b);
}

static struct table *prediction_table(const char *name, struct result *out)
{
    struct table *t = result_table(out, name, TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_INT, "rank" }, { COL_INT, "id" }, { COL_STRING, "text" },
                  { COL_FLOAT, "logit" }, { COL_FLOAT, "logprob", "nat" }, { COL_FLOAT, "prob" });
    return t;
}

static void put_prediction(struct table *t, const struct session_run *r, const struct prediction *p)
{
    table_row(t);
    table_int(t, p->rank);
    table_int(t, p->id);
    put_text(t, r, p->id);
    table_float(t, p->logit);
    table_float(t, p->log_prob);
    table_float(t, p->prob);
}

enum { TOP_MOST = 10000, LENS_MOST = 100 };

static enum st run_topk(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_run *r;
    int64_t n = 10, tok;
    float *logits;
    enum st st = session_need_run(s, &r, e);
    if (!st)
        st = parse_rank(c, r, TOP_MOST, &n, &tok, e);
    if (!st)
        st = read_logits(r, tok, &logits, e);
    if (st)
        return st;
    struct prediction *top = x_alloc((size_t)n * sizeof *top);
    n = prediction_top(logits, run_graph(r->run)->vocab, n, top);
    note_after(r, tok, out);
    struct table *t = prediction_table("topk", out);
    for (int64_t i = 0; i < n; i++)
        put_prediction(t, r, &top[i]);
    free(top);
    mem_free(logits);
    return ST_OK;
}

/* The text must be one token; the error says what it is instead. */
static enum st one_token(const struct session_run *r, const struct call *c, int i, int32_t *id,
                         struct err *e)
{
    const struct tokenizer *k = r->model->model->tokenizer;
    int32_t *ids = NULL;
    size_t n = 0, cap = 0;
    enum st st = tokenizer_encode(k, c->words[i].text, TOKENIZE_NO_BOS | TOKENIZE_NO_SPACE, &ids,
                                  &n, &cap, e);
    if (!st && n == 1)
        *id = ids[0];
    else if (!st) {
        struct buf b = { 0 };
        for (size_t j = 0; j < n && b.n < 120; j++) {
            buf_adds(&b, j ? "|" : "");
            session_token_text(r, ids[j], &b);
        }
        st = call_fail(c, i, e, ST_RANGE, "one token is needed here, this is %zu: %s", n,
                       buf_str(&b));
        st_hint(e,
                "a blank in front is part of a word: \" word\"; id=N takes the number of a token");
        buf_free(&b);
    }
    free(ids);
    return st;
}

enum st token_of(const struct session_run *r, const struct call *c, int i, int32_t *id,
                 struct err *e)
{
    const struct word *w = &c->words[i];
    if (!w->quoted && str_starts(w->text, "id=")) {
        int64_t v;
        const int64_t last = run_graph(r->run)->vocab - 1;
        if (parse_i64(str_of(w->text.p + 3, w->text.n - 3), 0, last, &v, e))
            return call_fail(c, i, e, ST_RANGE, "id is a number in 0..%d", (int)last);
        *id = (int32_t)v;
        return ST_OK;
    }
    if (!r->model->model->tokenizer) {
        *e = r->model->model->no_tokenizer;
        return st_hint(e, "id=N takes the number of a token");
    }
    enum st st = one_token(r, c, i, id, e);
    if (!st && *id >= run_graph(r->run)->vocab)
        st = call_fail(c, i, e, ST_RANGE, "the model has no logit for token %d", *id);
    return st;
}

static void show_difference(const struct session_run *r, const struct prediction *a,
                            const struct prediction *b, struct result *out)
{
    struct table *t = result_table(out, "difference", TABLE_LINE);
    TABLE_COLUMNS(t, { COL_STRING, "what" }, { COL_STRING, "a" }, { COL_STRING, "minus" },
                  { COL_STRING, "b" }, { COL_FLOAT, "difference", "nat" });
    table_row(t);
    table_str(t, "logit of");
    put_text(t, r, a->id);
    table_str(t, "minus");
    put_text(t, r, b->id);
    table_float(t, a->logit - b->logit);
}

static enum st run_logits(struct session *s, const struct call *c, struct result *out,
                          struct err *e)
{
    struct session_run *r;
    int32_t ids[2];
    int n = 0;
    float *logits;
    enum st st = session_need_run(s, &r, e);
    if (st)
        return st;
    int64_t tok = run_n_tokens(r->run) - 1;
    for (int i = 0; i < c->n_words && !st; i++) {
        if (is_token_word(&c->words[i]))
            st = token_word(c, i, run_n_tokens(r->run), &tok, e);
        else if (n == 2)
            st = call_fail(c, i, e, ST_SYNTAX, "at most two tokens");
        else
            st = token_of(r, c, i, &ids[n++], e);
    }
    if (!st && !n)
        st = call_fail(c, c->n_words, e, ST_SYNTAX, "the logit of which token?");
    if (!st)
        st = read_logits(r, tok, &logits, e);
    if (st)
        return st;
    struct prediction p[2];
    note_after(r, tok, out);
    struct table *t = prediction_table("logits", out);
    for (int i = 0; i < n; i++) {
        prediction_of(logits, run_graph(r->run)->vocab, ids[i], &p[i]);
        put_prediction(t, r, &p[i]);
    }
    if (n == 2)
        show_difference(r, &p[0], &p[1], out);
    mem_free(logits);
    return ST_OK;
}

/* --- lens --------------------------------------------------------------------------------------
 */

static struct table *lens_table(int64_t n, bool ref, struct result *out)
{
    struct table *t = result_table(out, "lens", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_ADDRESS, "point" }, { COL_FLOAT, "kl", "nat", 4 });
    if (ref) {
        table_column(t, COL_FLOAT, "kl_ref", "nat");
        table_digits(t, 4);
    }
    TABLE_COLUMNS(t, { COL_INT, "rank" }, { COL_FLOAT, "prob", "", 4 });
    for (int64_t i = 1; i <= n; i++) {
        char name[24];
        snprintf(name, sizeof name, "top%d", (int)i);
        table_column(t, COL_STRING, name, "");
        snprintf(name, sizeof name, "p%d", (int)i);
        table_column(t, COL_FLOAT, name, "");
        table_digits(t, 3);
    }
    return t;
}

/* ref: the same token of the reference, or NULL. */
static void lens_row(struct table *t, const struct session_run *r, const struct lens *l,
                     const struct lens *ref, int i, int64_t n, int32_t best, struct prediction *top)
{
    const float *row = l->logits + i * l->vocab;
    struct prediction p;
    table_row(t);
    table_str(t, run_graph(r->run)->values[l->values[i]].name);
    put_number(t, l->kl[i]);
    if (ref)
        put_number(t, i < ref->n
                          ? kl_of_logits(ref->logits + i * l->vocab, row, l->vocab, -INFINITY)
                          : (double)NAN);
    if (l->final) {
        prediction_of(row, l->vocab, best, &p);
        table_int(t, p.rank);
        table_float(t, p.prob);
    } else
        put_absent(t, 2);
    n = prediction_top(row, l->vocab, n, top);
    for (int64_t k = 0; k < n; k++) {
        put_text(t, r, top[k].id);
        table_float(t, top[k].prob);
    }
}

/* The same token through the reference, as far as the run has come; n = 0 without a reference. */
static enum st lens_of_reference(struct session *s, struct session_run *r, int64_t tok,
                                 struct lens *out, struct err *e)
{
    struct run *run;
    *out = (struct lens){ 0 };
    if (!s->models.ref)
        return ST_OK;
    enum st st = session_ref_run(s, r, run_position(r->run), s->progress, &run, e);
    return st ? st : lens_of(run, tok, s->progress, out, e);
}

static enum st run_lens(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_run *r;
    int64_t n = 3, tok;
    struct lens l, ref;
    enum st st = session_need_run(s, &r, e);
    if (!st)
        st = parse_rank(c, r, LENS_MOST, &n, &tok, e);
    if (!st)
        st = lens_of(r->run, tok, s->progress, &l, e);
    if (st)
        return st;
    if ((st = lens_of_reference(s, r, tok, &ref, e))) {
        lens_free(&l);
        return st;
    }
    struct prediction *top = x_alloc((size_t)n * sizeof *top), best = { .id = -1 };
    if (l.final)
        prediction_top(l.final, l.vocab, 1, &best);
    note_after(r, tok, out);
    struct table *t = lens_table(n, ref.n > 0, out);
    for (int i = 0; i < l.n; i++)
        lens_row(t, r, &l, ref.n ? &ref : NULL, i, n, best.id, top);
    if (!l.final)
        result_note(out, "the run has not reached its logits here: kl, rank and prob need them");
    free(top);
    lens_free(&ref);
    lens_free(&l);
    return ST_OK;
}

static const struct arg_after outliers_after[] = {
    { "k", ARG_NUMBER, NULL },
    { 0 },
};

const struct verb verbs_analyse[] = {
    { .name = "outliers",
      .class = "analyse",
      .args = "[GLOB] [k K] [N]",
      .brief = "rank the channels and tokens that stand out",
      .help =
          "Looks at the points of the active run that the glob names, as far as they have been "
          "computed; without "
          "it at the residual stream (blk.*.mid, blk.*.out) and at what each down projection reads "
          "(blk.*.ffn_down.in). An outlier is a value with abs(x) > K * rms (K is 6 unless given), "
          "the rms taken "
          "over the channels that are not identically zero and over the tokens after the first, "
          "which is apart "
          "because it often holds the largest values of all.\n"
          "A channel is persistent when it holds outliers at three tokens or more and at 6 % of "
          "them or more; "
          "massive when it holds them at fewer, or at the first token alone. Its ratio is its "
          "absmax over the "
          "median absmax of all channels that are not zero; `rest` is the same without the first "
          "token; `hits` "
          "counts the tokens at which it holds an outlier; value, tok and text say where it is "
          "largest.\n"
          "The ratio of a token is the rms of its row over the median rms of the tokens after the "
          "first; `hits` "
          "counts its outliers, `massive` those of them in massive channels; value and chan are "
          "its largest.\n"
          "points gives one row per point: rms is that of the definition, ratio the largest of any "
          "channel, "
          "with the channel and the token; rest the largest without the first token; then how many "
          "channels are "
          "persistent and massive. N rows of each ranking are shown (10).",
      .examples = RUN_FIRST "outliers\noutliers blk.*.out k 10 5",
      .kinds = { ARG_POINT, ARG_TEXT },
      .words = "k",
      .after = outliers_after,
      .run = run_outliers },
    { .name = "entropy",
      .class = "analyse",
      .args = "[blk.N] [floor]",
      .brief = "per attention head: entropy, sink mass, reach",
      .help = "Each figure is a mean over the queries from the second token on; a[j] is a query's "
              "attention on key j, "
              "n the number of keys it can see.\n"
              "entropy: -sum a ln a, in nats. normalised: the same of each query divided by ln n: "
              "0 looks at one key, "
              "1 at all alike; below 0.05 a head has collapsed onto single keys. "
              "sink: a[0], the mass on the first key. max: the largest entry of a. "
              "distance: sum of "
              "a[j] * abs(i - j) at query i, in tokens. value: norm of the first key's value over "
              "the median norm of "
              "the other keys' values; of heads that share keys it is the same.\n"
              "A head with sink above 0.8 and value below 0.2 does nothing at most tokens: it "
              "looks at the first key "
              "and takes next to nothing from it (`heads`).\n"
              "With a reference (`ref FILE`): ref is its normalised entropy, change = normalised - "
              "ref; verdict: collapsed from -0.1 on, spread from 0.1 on.\n"
              "With `floor`: the least entropy that logits z of the size of each query's can give, "
              "ln(1 + w) + s b w / (1 + w) with s = l2(z - mean z), b = sqrt(n / (n - 1)), "
              "w = (n - 1) exp(-s b) (Zhai et al. 2023, for the row); their mean.",
      .examples = RUN_FIRST "entropy\nentropy blk.0 floor",
      .kinds = { ARG_BLOCK, ARG_NONE },
      .words = "floor",
      .run = run_entropy },
    { .name = "attn",
      .class = "analyse",
      .args = "blk.N head=H [tok=FIRST:END] [key=FIRST:END] [log]",
      .brief = "the attention pattern of one head as a heat map",
      .help = "One row per query, one column per key, as far as the run has computed them: "
              "blk.N.attn.prob[head=H]. "
              "Each row adds up to 1; keys that a query cannot see are 0. tok= and key= cut it as "
              "in any address. log: the natural logarithm of each number in every output, for "
              "what is small; nothing where the number is 0.",
      .examples = RUN_FIRST "attn blk.0 head=0\nattn blk.0 head=-1 tok=0:2\n"
                            "attn blk.0 head=0 log",
      .kinds = { ARG_BLOCK, ARG_TEXT },
      .words = "head=|tok=|key=|log",
      .run = run_attn },
    { .name = "lens",
      .class = "analyse",
      .args = "[N] [tok=I]",
      .brief = "logit lens: what the model would answer after each block",
      .help = "The final norm and the output head are applied to the residual stream at token I "
              "(the last), after the "
              "embeddings and after every block that has been computed. The norm is computed anew "
              "on each stream, so "
              "that the last row is exactly the model's own answer.\n"
              "kl: KL divergence from the model's final distribution to that of the row, over the "
              "whole vocabulary, "
              "in nats. kl_ref, with a reference (`ref FILE`): from the distribution of the "
              "reference at the same depth to that of the row. rank and prob: of the token that is "
              "the most probable in the end. top1 p1 ...: the N (3) most "
              "probable tokens of the row and their probabilities.",
      .examples = RUN_FIRST "lens\nlens 1 tok=0",
      .kinds = { ARG_NUMBER, ARG_TEXT },
      .words = "tok=",
      .run = run_lens },
    { .name = "topk",
      .class = "analyse",
      .args = "[N] [tok=I]",
      .brief = "the most probable next tokens",
      .help = "After token I of the run (the last; negative counts from the end), the N (10) "
              "tokens with the largest "
              "logits; among equals the lower id first. logprob = logit - ln(sum of exp(logits)), "
              "in nats; prob is "
              "its exp.",
      .examples = RUN_FIRST "topk\ntopk 3 tok=0",
      .kinds = { ARG_NUMBER, ARG_TEXT },
      .words = "tok=",
      .run = run_topk },
    { .name = "logits",
      .class = "analyse",
      .args = "\"A\" [\"B\"] [tok=I]",
      .brief = "logit, probability and rank of a token, or of two and their difference",
      .help = "After token I of the run (the last), what the model says of one token; of two also "
              "the difference of "
              "their logits, which is ln(prob A / prob B). A text must be exactly one token, and a "
              "blank in front is "
              "part of it; id=N takes the number of a token. logprob in nats; rank 1 is the most "
              "probable.",
      .examples = RUN_FIRST "logits id=5\nlogits id=5 id=6 tok=0",
      .kinds = { ARG_TEXT },
      .words = "tok=|id=",
      .run = run_logits },
    { .name = "dla",
      .class = "analyse",
      .args = "[TOKEN] [vs TOKEN] [tok=I] [by neuron [N]]",
      .brief = "direct logit attribution: what each sub-layer, head or neuron adds to a logit",
      .help = DLA_HELP,
      .examples = RUN_FIRST "dla\ndla id=5 vs id=6 tok=0\ndla by neuron 5",
      .kinds = { ARG_TEXT },
      .words = "tok=|id=|vs|by|neuron",
      .run = run_dla },
    { 0 },
};
