/* SPDX-License-Identifier: MIT */
/* The verbs that work on many tokens: gen, ppl. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/command.h"
#include "command/stops.h"
#include "file/text_file.h"
#include "study/perplexity.h"
#include "study/sample.h"

/* A number after the word at i, as `temp 0.8`. */
static enum st number_after(const struct call *c, int i, double lo, double hi, double *out, struct err *e)
{
    if (i + 1 >= c->n_words)
        return call_fail(c, i + 1, e, ST_SYNTAX, "a number is missing");
    enum st st = parse_f64(c->words[i + 1].text, out, e);
    if (!st && !(*out >= lo && *out <= hi))
        st = st_fail(e, ST_RANGE, "%g is not in %g..%g", *out, lo, hi);
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
            return call_fail(c, i, e, ST_SYNTAX, "expected N, greedy, temp T, top-k K, top-p P, seed S or ignore-end");
        if (st)
            return st;
    }
    g->sampler.state = (uint64_t)seed;
    return ST_OK;
}

/* Append tokens until n are there, the text ends, or a breakpoint stops the run. */
static enum st generate(struct session *s, struct session_run *r, struct gen *g, int32_t *ids, size_t *n,
                        struct stop *stop, struct err *e)
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
    table_column(t, COL_STRING, "text", "");
    table_column(t, COL_INT, "tokens", "");
    table_row(t);
    table_strn(t, str_of(buf_str(&text), text.n));
    table_int(t, (int64_t)n);
    buf_free(&text);
    free(ids);
    if (st == ST_CANCELLED || (!st && stop.reason == STOP_BREAKPOINT))
        return show_stop(s, st, &stop, out, e);
    return st;
}

static enum st parse_ppl(const struct call *c, int64_t *context, int64_t *chunks, struct err *e)
{
    *context = 512;
    *chunks = 0;
    for (int i = 1; i < c->n_words; i += 2) {
        bool ctx = str_is(c->words[i].text, "ctx");
        double v;
        if (!ctx && !str_is(c->words[i].text, "chunks"))
            return call_fail(c, i, e, ST_SYNTAX, "expected ctx N or chunks N");
        enum st st = number_after(c, i, ctx ? 4 : 1, 1 << 24, &v, e);
        if (st)
            return st;
        *(ctx ? context : chunks) = (int64_t)v;
    }
    return ST_OK;
}

static void ppl_table(const struct perplexity *p, const char *file, enum compute mode, int64_t context,
                      struct result *out)
{
    struct table *t = result_table(out, "perplexity", TABLE_RECORD);
    table_column(t, COL_FLOAT, "perplexity", "");
    table_digits(t, 6);
    table_column(t, COL_FLOAT, "error", "");
    table_column(t, COL_FLOAT, "nll", "nat/token");
    table_digits(t, 6);
    table_column(t, COL_STRING, "compute", "");
    table_column(t, COL_STRING, "text", "");
    table_column(t, COL_INT, "context", "token");
    table_column(t, COL_INT, "chunks", "");
    table_column(t, COL_INT, "chunks_of", "");
    table_column(t, COL_INT, "scored", "token");
    table_column(t, COL_INT, "tokens", "");
    table_column(t, COL_FLOAT, "speed", "token/s");
    table_row(t);
    table_float(t, p->value);
    table_float(t, p->error);
    table_float(t, p->nll);
    table_str(t, compute_name(mode));
    table_str(t, file);
    table_int(t, context);
    table_int(t, p->chunks);
    table_int(t, p->chunks_of);
    table_int(t, p->scored);
    table_int(t, p->tokens);
    if (p->seconds > 0)
        table_float(t, (double)(p->chunks * context) / p->seconds);
}

static enum st run_ppl(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_model *m;
    int64_t context, chunks;
    if (!c->n_words)
        return call_fail(c, 0, e, ST_SYNTAX, "the perplexity of which text file?");
    enum st st = session_need_graph(s, &m, e);
    if (!st)
        st = session_need_tokenizer(s, &m, e);
    if (!st)
        st = parse_ppl(c, &context, &chunks, e);
    if (st)
        return st;
    struct buf path = { 0 }, text = { 0 };
    buf_add(&path, c->words[0].text.p, c->words[0].text.n);
    int32_t *ids = NULL;
    size_t n = 0, cap = 0;
    struct perplexity p = { 0 };
    struct run_options o = session_run_options(s);
    st = text_file_read(buf_str(&path), PROMPT_FILE_MAX, &text, e);
    if (!st)
        st = tokenizer_encode(m->model->tokenizer, str_of(text.p, text.n), 0, &ids, &n, &cap, e);
    if (!st)
        st = perplexity_of(m->model, &o, ids, (int64_t)n, context, chunks, s->progress, &p, e);
    if (p.chunks) {
        ppl_table(&p, buf_str(&path), o.mode, context, out);
        if (st == ST_CANCELLED)
            out->status = RESULT_PARTIAL;
    }
    free(ids);
    buf_free(&text);
    buf_free(&path);
    return st;
}

const struct verb verbs_study[] = {
    { .name = "gen",
      .class = "run",
      .args = "[N] [greedy] [temp T] [top-k K] [top-p P] [seed S] [ignore-end]",
      .brief = "generate up to N tokens (32), with breakpoints live",
      .help = "Greedy unless a temperature is given: the most probable token, the lowest id among equals. Order: "
              "temperature, top-k, top-p. Stops at the end-of-text tokens of the vocabulary unless ignore-end. Each "
              "generated token is a span of its own. The seed is that of `set seed` unless given: the same seed, "
              "model and settings give the same text.",
      .examples = "prompt \"kalo\"\ngen 8\nprompt \"kalo\"\ngen 8 temp 0.8 top-k 40 seed 1",
      .kinds = { ARG_NUMBER, ARG_TEXT },
      .words = "greedy|temp|top-k|top-p|seed|ignore-end",
      .run = run_gen },
    { .name = "ppl",
      .class = "analyse",
      .args = "FILE [ctx N] [chunks N]",
      .brief = "perplexity of a text file: exp of the mean negative log-likelihood",
      .help = "The text is cut into chunks of `ctx` tokens (512). The first token of each chunk is replaced by BOS "
              "where the vocabulary adds one; the incomplete tail is dropped; positions ctx/2 .. ctx-2 predict their "
              "next token and are scored. error is value * sd(nll) / sqrt(scored - 1), tokens taken as independent, "
              "as other engines print it. `chunks N` stops after N chunks. ^C keeps what is done.",
      .kinds = { ARG_FILE, ARG_TEXT },
      .words = "ctx|chunks",
      .run = run_ppl },
    { 0 },
};
