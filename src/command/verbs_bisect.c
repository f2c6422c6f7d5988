/* SPDX-License-Identifier: MIT */
/* `bisect`: which places carry the damage that weights and edits do, and the metric it goes by. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/broken.h"
#include "command/cells.h"
#include "command/command.h"
#include "command/verbs_analyse.h"
#include "command/verbs_bisect.h"
#include "command/verbs_change.h"
#include "session/measure.h"
#include "study/bisect.h"

/* --- metric ------------------------------------------------------------------------------------
 */

static const char *const metric_names[] = { "kl", "top1", "logratio", "logitdiff" };

void metric_print(const struct session *s, const struct metric *metric, struct buf *out)
{
    buf_adds(out, metric_names[metric->kind]);
    if (metric->kind != METRIC_LOGITDIFF)
        return;
    const struct session_run of = { .model = s->models.model };
    const int32_t ids[] = { metric->a, metric->b };
    for (int i = 0; i < 2; i++) {
        buf_adds(out, " \"");
        if (of.model)
            session_token_text(&of, ids[i], out);
        buf_addc(out, '"');
    }
}

enum st metric_fits(const struct session *s, const struct session_model *m, struct err *e)
{
    const struct metric *k = &s->metric;
    const int64_t vocab = m->model->graph->vocab;
    if (k->kind == METRIC_LOGITDIFF && (k->a >= vocab || k->b >= vocab)) {
        st_fail(e, ST_STATE, "the metric's tokens are not in this model's vocabulary");
        return st_hint(e, "`metric kl`, or `metric logitdiff A B` again");
    }
    return ST_OK;
}

static enum st run_metric(struct session *s, const struct call *c, struct result *out,
                          struct err *e)
{
    struct metric metric = { 0 };
    int kind = 0;
    if (c->n_words) {
        while (kind < 4 && !str_is(c->words[0].text, metric_names[kind]))
            kind++;
        if (kind == 4)
            return call_fail(c, 0, e, ST_SYNTAX, "expected kl, top1, logratio or logitdiff A B");
        metric.kind = (enum metric_kind)kind;
        const int words = metric.kind == METRIC_LOGITDIFF ? 3 : 1;
        if (c->n_words != words)
            return call_fail(c, c->n_words < words ? c->n_words : words, e, ST_SYNTAX,
                             words == 3 ? "expected two tokens" : "nothing more is expected here");
        struct session_run *r;
        enum st st = words == 3 ? session_need_run(s, &r, e) : ST_OK;
        if (!st && words == 3 && !(st = token_of(r, c, 1, &metric.a, e)))
            st = token_of(r, c, 2, &metric.b, e);
        if (st)
            return st;
        s->metric = metric;
    }
    struct buf b = { 0 };
    metric_print(s, &s->metric, &b);
    struct table *t = result_table(out, "metric", TABLE_RECORD);
    TABLE_COLUMNS(t, { COL_STRING, "metric" });
    table_row(t);
    table_str(t, buf_str(&b));
    buf_free(&b);
    return ST_OK;
}

/* --- bisect ------------------------------------------------------------------------------------
 */

struct bisect_call {
    double share;
    enum bisect_level level;
    bool prompt, all;
};

static enum st read_share(const struct call *c, int i, double *out, struct err *e)
{
    struct str text = c->words[i].text;
    const bool percent = str_ends(text, "%");
    text.n -= percent;
    if (parse_f64(text, out, e) || !(*out > 0) || *out > (percent ? 100 : 1))
        return call_fail(c, i, e, ST_RANGE, "a share lies above 0 and is at most 1 (or 100%%)");
    *out /= percent ? 100 : 1;
    return ST_OK;
}

static enum st read_call(const struct call *c, struct bisect_call *b, struct err *e)
{
    *b = (struct bisect_call){ 0.9, BISECT_CHANNEL, false, false };
    for (int i = 0; i < c->n_words; i++) {
        const struct str w = c->words[i].text;
        enum st st = ST_OK;
        if (str_is(w, "prompt"))
            b->prompt = true;
        else if (str_is(w, "-all"))
            b->all = true;
        else if (str_is(w, "by")) {
            int k = 0;
            while (i + 1 < c->n_words && k <= BISECT_CHANNEL
                   && !str_is(c->words[i + 1].text, bisect_level_name((enum bisect_level)k)))
                k++;
            if (++i == c->n_words || k > BISECT_CHANNEL)
                return call_fail(c, i, e, ST_SYNTAX, "expected block, sub, weight or channel");
            b->level = (enum bisect_level)k;
        } else if ((w.n && w.p[0] >= '0' && w.p[0] <= '9') || str_starts(w, "."))
            st = read_share(c, i, &b->share, e);
        else
            st = call_fail(c, i, e, ST_SYNTAX, "expected a share, by LEVEL, or prompt");
        if (st)
            return st;
    }
    return ST_OK;
}

struct candidates {
    struct bisect_part *list;
    size_t n;
    size_t missing; /* weights that the reference lacks, or has in another shape */
    size_t splices;
};

static bool read_by_graph(const struct graph *g, const struct weight *w)
{
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < NODE_MAX_WEIGHTS; k++)
            if (g->nodes[i].w[k] == w)
                return true;
    return false;
}

static bool same_bytes(const struct weight *a, const struct weight *b)
{
    return a->format == b->format && a->bytes == b->bytes && !memcmp(a->data, b->data, a->bytes)
           && weight_same_scales(a, b);
}

/* The edits of the plan. A splice is none: it brings what the reference has. */
static void find_edits(const struct session *s, const struct subject *x, struct candidates *out)
{
    for (size_t i = 0; i < x->plan.n_transforms; i++) {
        const struct change *c = changes_behind(s, &x->plan.transforms[i]);
        if (!x->plan.transforms[i].beside)
            out->list[out->n++] = (struct bisect_part){ .transform = i,
                                                        .change = c ? c->number : 0 };
        else
            out->splices++;
    }
}

/* What is not as the reference has it, the weights first. The forms belong to the list. */
static enum st find_candidates(const struct session *s, const struct subject *x,
                               struct candidates *out, struct err *e)
{
    const struct model *m = x->model->model;
    const size_t most = m->weights->n + x->plan.n_transforms;
    *out = (struct candidates){ .list = x_alloc(most * sizeof *out->list + 1) };
    for (size_t i = 0; i < m->weights->n; i++) {
        const struct weight *w = &m->weights->list[i];
        struct form *now = plan_form(&x->plan, m, w), *mended = NULL;
        const struct weight *is = now ? &now->w : w;
        if (!read_by_graph(m->graph, w))
            continue;
        if (x->ref == x->model) {
            if (!now || same_bytes(is, w))
                continue;
        } else {
            const struct weight *r = weights_find(x->ref->model->weights, w->name);
            if (r && r->data && same_bytes(is, r))
                continue;
            if (!r || form_borrow(m, w, r, &mended, e)) {
                out->missing++;
                continue;
            }
        }
        out->list[out->n++] = (struct bisect_part){ .w = w, .now = now, .mended = mended };
    }
    find_edits(s, x, out);
    if (out->n)
        return ST_OK;
    const bool left = x->left.n || x->left.logits;
    st_fail(e, ST_STATE, "no weight differs from the reference's%s, and no point is edited%s",
            out->missing ? " that it has" : "", left ? " here" : "");
    return left ? st_hint(
               e, "`bisect prompt` sees changes of tokens and of one run, none of the logits")
                       : ST_STATE;
}

static void candidates_free(struct candidates *c)
{
    for (size_t i = 0; i < c->n; i++)
        form_drop(c->list[i].mended);
    free(c->list);
}

/* A damage that is no number, or none that ends, and shares of it, are absent: a note says why. */
static void put_finite(struct table *t, double x) { put_number(t, isfinite(x) ? x : (double)NAN); }

static void put_finite_mean(struct table *t, struct clustered_mean m)
{
    m.value = isfinite(m.value) ? m.value : (double)NAN;
    put_mean(t, &m);
}

static void show_places(const struct bisect *b, struct result *out)
{
    struct table *t = result_table(out, "bisect", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_ADDRESS, "place" }, { COL_STRING, "level" },
                  { COL_FLOAT, "alone", "", 4 }, { COL_FLOAT, "without", "", 4 },
                  { COL_INT, "rows" }, { COL_INT, "change" });
    for (size_t i = 0; i < b->n_places; i++) {
        const struct bisect_place *p = &b->places[i];
        table_row(t);
        table_str(t, p->name);
        table_str(t, p->point ? "point" : bisect_level_name(p->level));
        put_finite(t, p->alone);
        put_finite(t, p->without);
        put_positive(t, p->rows);
        put_positive(t, p->change);
    }
}

/* Sets that were judged; `all`: the first glances as well. */
static void show_steps(const struct bisect *b, bool all, struct result *out)
{
    struct table *t = result_table(out, "measured", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "level" }, { COL_STRING, "mended" }, { COL_ADDRESS, "place" },
                  { COL_INT, "places" }, { COL_FLOAT, "before", "", 4 },
                  { COL_FLOAT, "after", "", 4 }, { COL_FLOAT, "share", "", 4 },
                  { COL_FLOAT, "low", "", 4 }, { COL_FLOAT, "high", "", 4 },
                  { COL_INT, "segments" });
    for (size_t i = 0; i < b->n_steps; i++) {
        const struct bisect_step *p = &b->steps[i];
        if (!all && p->segments < b->before.clusters)
            continue;
        table_row(t);
        table_str(t, bisect_level_name(p->level));
        table_str(t, bisect_act_name(p->act));
        table_str(t, p->place ? p->place : p->act == BISECT_WITH ? "all that differ" : "the set");
        table_int(t, p->places);
        put_finite(t, p->before);
        put_finite(t, p->after);
        put_finite(t, p->share);
        put_number(t, p->low);
        put_number(t, p->high);
        table_int(t, p->segments);
    }
}

struct shown {
    const struct bisect *b;
    const struct bisect_call *call;
    const struct subject *x;
    const struct candidates *from;
    const struct evaluator *ev;
    const char *text;
};

static void show_verdict(const struct session *s, const struct shown *k, struct result *out)
{
    const struct bisect *b = k->b;
    struct buf metric = { 0 };
    struct table *t = result_table(out, "verdict", TABLE_RECORD);
    TABLE_COLUMNS(t, { COL_STRING, "metric" }, { COL_FLOAT, "before", "", 5 },
                  { COL_FLOAT, "before_low", "", 5 }, { COL_FLOAT, "before_high", "", 5 },
                  { COL_FLOAT, "after", "", 5 }, { COL_FLOAT, "after_low", "", 5 },
                  { COL_FLOAT, "after_high", "", 5 }, { COL_FLOAT, "share", "", 4 },
                  { COL_FLOAT, "share_low", "", 4 }, { COL_FLOAT, "share_high", "", 4 },
                  { COL_FLOAT, "asked", "", 4 }, { COL_FLOAT, "all", "", 4 },
                  { COL_FLOAT, "only", "", 4 }, { COL_INT, "places" }, { COL_BOOL, "minimal" },
                  { COL_INT, "differ" }, { COL_INT, "measured" }, { COL_INT, "segments" },
                  { COL_INT, "scored", "token" }, { COL_STRING, "text" }, { COL_STRING, "model" },
                  { COL_STRING, "reference" }, { COL_STRING, "compute" });
    metric_print(s, &s->metric, &metric);
    table_row(t);
    table_str(t, buf_str(&metric));
    buf_free(&metric);
    put_finite_mean(t, b->before);
    put_finite_mean(t, b->after);
    put_finite_mean(t, b->share);
    table_float(t, k->call->share);
    put_finite(t, b->all);
    put_finite(t, b->only);
    table_int(t, (int64_t)b->n_places);
    table_bool(t, b->minimal);
    table_int(t, (int64_t)k->from->n);
    table_int(t, (int64_t)b->n_steps);
    table_int(t, b->before.clusters);
    table_int(t, b->before.n);
    table_str(t, k->text);
    table_str(t, k->x->model->name);
    table_str(t, k->x->ref->name);
    table_str(t, compute_name(evaluator_of(k->ev)->options.mode));
}

static void show_notes(const struct shown *k, struct result *out)
{
    const struct bisect *b = k->b;
    broken_note(&b->broken, b->before.n, "the model", "segment", out);
    if (!b->complete)
        result_note(out, b->n_places ? "interrupted: the places are those of the last level that "
                                       "was done"
                                     : "interrupted before a level was done: no places");
    if (b->complete && !b->minimal)
        result_note(out,
                    "some of the places may not be needed: leaving them out one by one ended "
                    "after %d sets for each",
                    BISECT_ROUNDS);
    if (!isnan(b->all) && !b->reached)
        result_note(out, "all that differs explains %.3g of it; the places explain %.3g of that",
                    b->all, k->call->share);
    if (b->complete && b->n_places > 1 && fabs(b->alone_sum - b->share.value) > 0.1)
        result_note(out,
                    "the places do not add up: alone they explain %.3g, added, and %.3g jointly",
                    b->alone_sum, b->share.value);
    if (b->complete && fabs(b->only - b->share.value) > 0.1)
        result_note(out,
                    "mending the set takes %.3g of the damage away, but the set alone does %.3g of "
                    "it: places outside the set make it worse or better",
                    b->share.value, b->only);
    if (k->from->missing)
        result_note(out, "%zu %s no partner of their shape in the reference", k->from->missing,
                    text_plural(k->from->missing, "weight has", "weights have"));
    if (k->from->splices)
        result_note(out, "splices hold throughout");
    if (b->before.clusters < MIN_CLUSTERS)
        result_note(out, "fewer than %d segments: no intervals", MIN_CLUSTERS);
    if (k->x->ref == k->x->model)
        result_note(out, "reference = this file as opened; its own loss is not seen");
    if (k->x->left.n && strcmp(k->text, "prompt"))
        result_note(out, "`bisect prompt` looks at changes of its tokens, or of the run, as well");
    changes_left_out(&k->x->left, out);
}

static enum st bisect_with(struct session *s, const struct bisect_call *call,
                           const struct subject *x, struct evaluator *ev,
                           struct evaluation_part part, const char *text, struct result *out,
                           struct err *e)
{
    struct candidates from;
    struct bisect b = { 0 };
    enum st st = find_candidates(s, x, &from, e);
    const struct bisect_task task = { .ev = ev,
                                      .part = part,
                                      .plan = &x->plan,
                                      .parts = from.list,
                                      .n_parts = from.n,
                                      .metric = &s->metric,
                                      .share = call->share,
                                      .level = call->level };
    if (!st)
        st = bisect_run(&task, s->progress, &b, e);
    if (b.n_steps || (st == ST_CANCELLED && b.before.clusters)) {
        const struct shown shown = { &b, call, x, &from, ev, text };
        if (b.n_places)
            show_places(&b, out);
        show_steps(&b, call->all, out);
        show_verdict(s, &shown, out);
        show_notes(&shown, out);
        if (st == ST_CANCELLED)
            out->status = RESULT_PARTIAL;
    }
    bisect_free(&b);
    candidates_free(&from);
    return st;
}

/* The tokens of a run as one segment, each scored, or the last one alone. The ids are the run's. */
static struct evaluation_set prompt_set(const struct session_run *r, bool last)
{
    const int64_t n = run_n_tokens(r->run);
    return (struct evaluation_set){ 1, n, last ? n - 1 : 0, (int32_t *)run_tokens(r->run), true };
}

static enum st run_bisect(struct session *s, const struct call *c, struct result *out,
                          struct err *e)
{
    struct bisect_call call;
    struct subject x;
    struct session_run *r;
    enum st st = read_call(c, &call, e);
    if (st || (st = subject_of(s, false, &x, e)))
        return st;
    struct evaluator *ev;
    const bool last = s->metric.kind == METRIC_LOGITDIFF;
    if ((st = metric_fits(s, x.model, e)))
        ;
    else if (!call.prompt && !last && s->data.set.segments) {
        if (!(st = session_evaluator(s, &x, &ev, e)))
            st = bisect_with(s, &call, &x, ev, PART_TUNE, s->data.path, out, e);
        session_measure_settle(s);
    } else if (!(st = session_need_run(s, &r, e))) {
        const struct evaluation_set set = prompt_set(r, last);
        subject_on_run(s, r, &x);
        if (!(st = subject_evaluator(s, &x, &set, session_measure_memory(), &ev, e))) {
            st = bisect_with(s, &call, &x, ev, PART_ALL, "prompt", out, e);
            evaluator_free(ev);
        }
    } else
        st_hint(e, "`data FILE` keeps a set to measure on; else `prompt \"TEXT\"` is needed");
    subject_free(&x);
    return st;
}

static const struct arg_after bisect_after[] = {
    { "by", ARG_TEXT, "block|sub|weight|channel" },
    { 0 },
};

const struct verb verbs_bisect[] = {
    { .name = "metric",
      .class = "analyse",
      .args = "[kl|top1|logratio|logitdiff TOKEN TOKEN]",
      .brief = "the figure by which bisect and patch-grid judge",
      .help =
          "kl: KL(reference || model), nats per token (`help kl`). top1: the share of tokens at "
          "which both give the largest logit to the same token. logratio: mean of ln p(next) "
          "of the reference less that of the model. logitdiff A B: the logit of token A less "
          "that of B after the last token of the active run's prompt; a token is a text that "
          "is one token, or id=N.",
      .examples = "metric\nmetric top1\nmetric kl",
      .kinds = { ARG_TEXT },
      .words = "kl|top1|logratio|logitdiff",
      .run = run_metric },
    { .name = "bisect",
      .class = "analyse",
      .args = "[SHARE] [by block|sub|weight|channel] [prompt] [-all]",
      .brief = "the places whose weights or edits do most of the damage",
      .help =
          "Damage is how far the active model under its changes lies from the reference by the "
          "metric (`help metric`; top1: the share of tokens that disagree), on the half `tune` of "
          "the evaluation set (`data FILE`), or, with `prompt`, without a set, and for logitdiff, "
          "on the tokens of the active run (logitdiff: after the last). A place is mended by "
          "giving its weights the numbers that the reference has, and by leaving out what changes "
          "do to its points (set tensor, ablate, patch, skip, formats of activations; those of "
          "tokens or of one run with `prompt` alone; not splices); share = 1 - damage after / "
          "damage before, the sums over tokens. bisect looks for a set of places that, mended "
          "jointly, explains SHARE (0.9; or 90%) of the damage, and of which none can be left "
          "out: first blocks, then sub-layers of the blocks found, weights and points of those "
          "(change: the number of the change that edits the point), rows of weights (channel; up "
          "to `by`).\n"
          "At each level every place is mended alone, on 8 segments; the best is taken, then the "
          "best beside it, until the share is reached on all segments; then each is taken out that "
          "the others do without. Of at most 8 weights, the rows are ordered by their squared "
          "error, the fewest of the worst that do are sought; a weight that needs more than 16 "
          "stays whole (rows: how many differ). Then each row, of all weights, is tried to be left "
          "out, again and again until none can be (minimal: yes), for at most 4 measurements a "
          "row. A row that is mended in a weight of another format than the reference's turns the "
          "weight to f32.\n"
          "alone: share that the place explains when it alone is mended; without: share that the "
          "others of the set explain without it (of more than 8 places: alone on the 8 "
          "segments). `measured` lists the sets that were mended (-all: also those tried on 8 "
          "segments): alone, with (the places before it), without, joint (the set), only "
          "(everything but the set: what is left is its own doing). In `verdict`, all: the share "
          "with all "
          "mended that differs; only: damage of the set alone, as a share. Where shares do not "
          "add up, it says so: errors of different places mask each other. low and high as in "
          "`kl`, of the ratio of sums. ^C keeps what is done.",
      .examples = "open --demo=add\ndata add\nquant ** bits 2\nbisect 0.5 by block",
      .kinds = { ARG_TEXT },
      .words = "by|prompt|-all",
      .after = bisect_after,
      .run = run_bisect },
    { 0 },
};
