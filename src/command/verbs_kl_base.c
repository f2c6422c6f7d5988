/* SPDX-License-Identifier: MIT */
/* `kl base FILE`: against the log-probabilities that another program has saved. */
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "command/verbs_change.h"
#include "command/verbs_kl.h"
#include "study/base_kl.h"

/* Percentages where llama-perplexity prints them. */
static void put(struct table *t, const char *what, const struct base_figure *f, double times)
{
    table_row(t);
    table_str(t, what);
    table_float(t, times * f->value);
    table_float(t, times * f->error);
}

static void put_quantiles(struct table *t, const char *what, const char *unit, const double *at,
                          double times)
{
    for (int i = 0; i < BASE_QUANTILES; i++) {
        table_row(t);
        table_fmt(t, "%s p%g%s", what, 100 * base_quantiles[i], unit);
        table_float(t, times * at[i]);
    }
}

void show_base_divergence(const struct base_divergence *d, struct result *out)
{
    struct table *t = result_table(out, "kl_compat", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "figure" }, { COL_FLOAT, "value", "", 8 },
                  { COL_FLOAT, "error", "", 6 });
    put(t, "perplexity", &d->ppl, 1);
    put(t, "base perplexity", &d->base_ppl, 1);
    table_row(t);
    table_str(t, "correlation of ln, %");
    table_float(t, 100 * d->correlation);
    put(t, "ln ratio", &d->log_ratio, 1);
    put(t, "ratio", &d->ratio, 1);
    put(t, "difference", &d->difference, 1);
    put(t, "kl", &d->kl, 1);
    put_quantiles(t, "kl", "", d->kl_at, 1);
    put(t, "dp, %", &d->dp, 100);
    put_quantiles(t, "dp", ", %", d->dp_at, 100);
    put(t, "rms dp, %", &d->rms_dp, 100);
    put(t, "same top, %", &d->same_top, 100);
    result_note(out, "as llama-perplexity: errors take tokens as independent; kl sums terms with "
                     "ln p > -16 from 16 bits each");
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
    show_base_divergence(d, out);
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
        struct changes_left left;
        changes_plan(s, m, &plan, &left);
        o.plan = &plan;
        st = base_divergence_of(m->model, &o, base, s->progress, &d, e);
        plan_free(&plan);
        if (d.chunks) {
            put_divergence(&d, path, m, o.mode, out);
            changes_left_out(&left, out);
        }
        if (st == ST_CANCELLED && d.chunks)
            out->status = RESULT_PARTIAL;
        logits_free(base);
    }
    free(path);
    return st;
}
