/* SPDX-License-Identifier: MIT */
/* `kl base FILE`: against the log-probabilities that another program has saved. */
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "command/verbs_change.h"
#include "command/verbs_kl.h"
#include "study/base_kl.h"

static void put(struct table *t, const char *what, const struct base_figure *f)
{
    table_row(t);
    table_str(t, what);
    table_float(t, f->value);
    table_float(t, f->error);
}

static void put_quantiles(struct table *t, const char *what, const double *at)
{
    for (int i = 0; i < BASE_QUANTILES; i++) {
        table_row(t);
        table_fmt(t, "%s %g%%", what, 100 * base_quantiles[i]);
        table_float(t, at[i]);
    }
}

static void put_divergence(const struct base_divergence *d, const char *path,
                           const struct session_model *m, enum compute mode, struct result *out)
{
    struct table *t = result_table(out, "base", TABLE_RECORD);
    TABLE_COLUMNS(t, { COL_STRING, "file" }, { COL_STRING, "model" }, { COL_STRING, "compute" },
                  { COL_INT, "chunks" }, { COL_INT, "chunks_of" }, { COL_INT, "scored", "token" });
    table_row(t);
    table_str(t, path);
    table_str(t, m->name);
    table_str(t, compute_name(mode));
    table_int(t, d->chunks);
    table_int(t, d->chunks_of);
    table_int(t, d->scored);
    t = result_table(out, "kl_compat", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "figure" }, { COL_FLOAT, "value", "", 6 },
                  { COL_FLOAT, "error", "", 4 });
    const struct base_figure ppl = { exp(d->nll.value), exp(d->nll.value) * d->nll.error };
    const struct base_figure base = { exp(d->base_nll.value),
                                      exp(d->base_nll.value) * d->base_nll.error };
    put(t, "perplexity", &ppl);
    put(t, "base perplexity", &base);
    put(t, "ln ratio", &d->log_ratio);
    table_row(t);
    table_str(t, "correlation of ln");
    table_float(t, d->correlation);
    put(t, "kl", &d->kl);
    put(t, "dp", &d->dp);
    put(t, "rms dp", &d->rms_dp);
    put(t, "same top", &d->same_top);
    put_quantiles(t, "kl", d->kl_at);
    put_quantiles(t, "dp", d->dp_at);
    result_note(out, "errors take tokens as independent, as llama-perplexity does; kl sums terms "
                     "with ln p > -16 from 16 bits each");
}

enum st kl_base(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_model *m;
    struct logits_base *base;
    struct base_divergence d = { 0 };
    if (c->n_words != 2)
        return call_fail(c, c->n_words > 1 ? 2 : 1, e, ST_SYNTAX,
                         c->n_words > 1 ? "one file" : "which file of log-probabilities?");
    enum st st = session_need_graph(s, &m, e);
    if (st)
        return st;
    char *path = x_strndup(c->words[1].text.p, c->words[1].text.n);
    if ((st = logits_open(path, &base, e)))
        st_at(e, c->words[1].column, c->words[1].length);
    else {
        struct run_options o = session_measure_options(s);
        struct plan plan;
        size_t left_out;
        changes_plan(s, m, &plan, &left_out);
        o.plan = &plan;
        st = base_divergence_of(m->model, &o, base, s->progress, &d, e);
        plan_free(&plan);
        if (d.chunks) {
            put_divergence(&d, path, m, o.mode, out);
            changes_left_out(left_out, out);
        }
        if (st == ST_CANCELLED && d.chunks)
            out->status = RESULT_PARTIAL;
        logits_free(base);
    }
    free(path);
    return st;
}
