/* SPDX-License-Identifier: MIT */
/* `ppl`: the perplexity of a text. */
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "command/broken.h"
#include "command/cells.h"
#include "command/text_words.h"
#include "command/until.h"
#include "command/verbs_change.h"
#include "kernels/level.h"
#include "study/perplexity.h"

/* What is asked for. */
struct ppl {
    const struct word *file, *save; /* save: NULL = none */
    int64_t context, chunks;
    struct until until;
};

/* `save FILE` out of the words; *out its file, or NULL. */
static enum st take_save(struct call *c, const struct call *from, const struct word **out,
                         struct err *e)
{
    int n = 0;
    *out = NULL;
    for (int i = 0; i < c->n_words; i++)
        if (i && str_is(c->words[i].text, "save") && !c->words[i].quoted) {
            if (++i >= c->n_words)
                return call_fail(c, i, e, ST_SYNTAX, "save to which file?");
            *out = &from->words[i];
        } else
            c->words[n++] = c->words[i];
    c->n_words = n;
    return ST_OK;
}

static enum st parse_ppl(const struct call *call, struct ppl *out, struct err *e)
{
    struct call c = *call;
    *out = (struct ppl){ .context = 512 };
    if (!c.n_words)
        return call_fail(&c, 0, e, ST_SYNTAX, "the perplexity of which text file?");
    const struct number_option options[] = { { "ctx", 4, 1 << 24, &out->context },
                                             { "chunks", 1, 1 << 24, &out->chunks } };
    out->file = &call->words[0];
    enum st st = take_save(&c, call, &out->save, e);
    if (!st)
        st = until_take(&c, &out->until, e);
    if (!st)
        st = number_options(&c, options, 2, e);
    if (!st && out->save && out->until.width > 0) {
        st_fail(e, ST_SYNTAX, "a saved file holds all chunks: save or until");
        st = st_at(e, out->save->column, out->save->length);
    }
    return st;
}

static void ppl_table(const struct perplexity *p, const char *file, enum compute mode,
                      const struct fast_floor *floor, int64_t context, bool anytime,
                      struct result *out)
{
    struct table *t = result_table(out, "perplexity", TABLE_RECORD);
    TABLE_COLUMNS(t, { COL_FLOAT, "perplexity", "", 6 }, { COL_FLOAT, "error" });
    if (anytime)
        TABLE_COLUMNS(t, { COL_FLOAT, "low", "", 6 }, { COL_FLOAT, "high", "", 6 });
    TABLE_COLUMNS(t, { COL_FLOAT, "nll", "nat/token", 6 }, { COL_STRING, "compute" });
    if (mode == COMPUTE_FAST)
        TABLE_COLUMNS(t, { COL_FLOAT, "fast_floor", "nat/token", 3 }, { COL_STRING, "level" });
    TABLE_COLUMNS(t, { COL_STRING, "text" }, { COL_INT, "context", "token" }, { COL_INT, "chunks" },
                  { COL_INT, "chunks_of" }, { COL_INT, "scored", "token" }, { COL_INT, "tokens" },
                  { COL_FLOAT, "speed", "tok/s" });
    table_row(t);
    put_number(t, p->value);
    put_number(t, p->error);
    if (anytime) {
        put_number(t, p->anytime.low);
        put_number(t, p->anytime.high);
    }
    put_number(t, p->nll);
    table_str(t, compute_name(mode));
    if (mode == COMPUTE_FAST) {
        put_number(t, floor->scored ? floor->kl : (double)NAN);
        table_str(t, level_now()->name);
    }
    table_str(t, file);
    table_int(t, context);
    table_int(t, p->chunks);
    table_int(t, p->chunks_of);
    table_int(t, p->scored);
    table_int(t, p->tokens);
    if (p->seconds > 0)
        table_float(t, (double)(p->chunks * context) / p->seconds);
}

static bool narrow(const void *data, const struct clustered_mean *m)
{
    return until_reached(data, m);
}

/* Perplexity; log-probabilities to the file that `save` names, if any. */
static enum st measure(struct session *s, const struct ppl *call, const struct session_model *m,
                       const struct run_options *o, const int32_t *ids, int64_t n,
                       struct perplexity *p, struct result *out, struct err *e)
{
    struct logits_writer w;
    struct perplexity_options how = { .context = call->context, .limit = call->chunks };
    const int64_t whole = n / call->context;
    if (call->until.width > 0) {
        how.enough = narrow;
        how.data = &call->until;
    }
    if (!call->save || !whole || m->model->graph->logits < 0)
        return perplexity_of(m->model, o, ids, n, &how, s->progress, p, e);
    char *path = x_strndup(call->save->text.p, call->save->text.n);
    enum st st = logits_create(&w, path, call->context, m->model->graph->vocab,
                               call->chunks && call->chunks < whole ? call->chunks : whole, ids, e);
    if (!st) {
        how.save = &w;
        st = perplexity_of(m->model, o, ids, n, &how, s->progress, p, e);
        if (st)
            logits_abort(&w);
        else if (!(st = logits_finish(&w, e)))
            result_note(out, "log-probabilities written to %s", path);
    }
    free(path);
    return st;
}

static enum st run_ppl(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_model *m;
    struct ppl call;
    int32_t *ids = NULL;
    int64_t n;
    enum st st = parse_ppl(c, &call, e);
    if (!st)
        st = text_tokens(s, call.file, &m, &ids, &n, e);
    if (st) {
        free(ids);
        return st;
    }
    struct perplexity p = { 0 };
    struct fast_floor floor = { 0 };
    struct run_options o = session_measure_options(s);
    struct plan plan;
    struct changes_left left;
    changes_plan(s, m, &plan, &left);
    o.plan = &plan;
    st = measure(s, &call, m, &o, ids, n, &p, out, e);
    plan_free(&plan);
    o.plan = NULL;
    if (!st && o.mode == COMPUTE_FAST)
        st = session_fast_floor(s, m, ids, n, &floor, e);
    if (p.chunks) {
        char *path = x_strndup(call.file->text.p, call.file->text.n);
        changes_left_out(&left, out);
        ppl_table(&p, path, o.mode, &floor, call.context, call.until.width > 0, out);
        if (broken_note(&p.broken, p.scored, "the model", "chunk", out))
            out->status = RESULT_FOUND;
        else if (!st)
            until_note(&call.until, &p.anytime, p.chunks_of, "perplexity", "chunks", out);
        if (st == ST_CANCELLED)
            out->status = RESULT_PARTIAL;
        free(path);
    }
    free(ids);
    return st;
}

static const struct arg_after ppl_after[] = {
    { "save", ARG_FILE, NULL },
    { "ctx|chunks|until", ARG_NUMBER, NULL },
    { 0 },
};

const struct verb verbs_ppl[] = {
    { .name = "ppl",
      .class = "analyse",
      .args = "FILE [ctx N] [chunks N] [until W | save FILE]",
      .brief = "perplexity of a text file: exp of the mean negative log-likelihood",
      .help = "The text is cut into chunks of `ctx` tokens (512). The first token of each chunk "
              "is replaced by BOS where the vocabulary adds one; the incomplete tail is dropped; "
              "positions ctx/2 .. ctx-2 predict their next token and are scored. error is value * "
              "sd(nll) / sqrt(scored - 1), tokens taken as independent, as other engines print "
              "it. `chunks N` stops after N chunks. In `set compute fast`, fast_floor is the mean "
              "KL(exact || fast) over the second half of the first 256 tokens of the first text, "
              "at this level of kernels: what rounding alone moves; a smaller KL says nothing. "
              "`save FILE` writes the log-probabilities of the scored tokens, in 16 bits each, as "
              "llama-perplexity --kl-divergence-base does (`kl base`). ^C keeps what is "
              "done. " UNTIL_HELP " Here an observation is a chunk.",
      .examples = "ppl text.txt ctx 16",
      .kinds = { ARG_FILE, ARG_TEXT },
      .words = "ctx|chunks|until|save",
      .after = ppl_after,
      .run = run_ppl },
    { 0 },
};
