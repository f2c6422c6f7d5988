/* SPDX-License-Identifier: MIT */
/* `worst`: the tokens at which the model lies farthest from the reference, in their text. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "command/broken.h"
#include "command/cells.h"
#include "command/command.h"
#include "command/verbs_change.h"
#include "session/measure.h"
#include "study/worst.h"

enum { CONTEXT = 8 /* tokens that are shown */, MOST = 1000 };

static void put_text(struct table *t, const struct session_run *of, const int32_t *ids, int64_t n)
{
    struct buf b = { 0 };
    for (int64_t i = 0; i < n; i++)
        session_token_text(of, ids[i], &b);
    table_str(t, buf_str(&b));
    buf_free(&b);
}

static void put_top(struct table *t, const struct session_run *of, const struct worst_token *x,
                    int which)
{
    struct buf b = { 0 };
    for (int k = 0; k < WORST_TOP && x->top[which][k] >= 0; k++) {
        buf_adds(&b, k ? ", \"" : "\"");
        session_token_text(of, x->top[which][k], &b);
        buf_printf(&b, "\" %.3f", x->prob[which][k]);
    }
    table_str(t, buf_str(&b));
    buf_free(&b);
}

/* Interrupted, all of them still, without where the runs part. */
static enum st show_worst(struct session *s, const struct subject *x, const struct evaluator *ev,
                          const struct worst *w, struct result *out, struct err *e)
{
    const struct evaluation *what = evaluator_of(ev);
    const struct session_run of = { .model = x->model };
    struct table *t = result_table(out, "worst", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_FLOAT, "kl", "nat", 4 }, { COL_INT, "segment" }, { COL_INT, "tok" },
                  { COL_STRING, "text" }, { COL_STRING, "next" }, { COL_FLOAT, "p_ref", "", 3 },
                  { COL_FLOAT, "p", "", 3 }, { COL_STRING, "reference" }, { COL_STRING, "model" },
                  { COL_ADDRESS, "parts" }, { COL_FLOAT, "relerr", "", 3 });
    enum st st = ST_OK;
    for (int64_t i = 0; i < w->n && (!st || st == ST_CANCELLED); i++) {
        const struct worst_token *k = &w->list[i];
        const int32_t *ids = what->set->ids + k->segment * what->set->tokens;
        const int64_t from = k->at + 1 < CONTEXT ? 0 : k->at + 1 - CONTEXT;
        int block = -1;
        double last = NAN;
        if (!st && !progress_tick(s->progress, "worst", (double)i, (double)w->n))
            st = st_fail(e, ST_CANCELLED, "interrupted");
        if (!st)
            st = worst_parts(what, &x->plan, k, s->progress, &block, &last, e);
        table_row(t);
        put_number(t, k->kl);
        table_int(t, k->segment);
        table_int(t, k->at);
        put_text(t, &of, ids + from, k->at + 1 - from);
        put_text(t, &of, &k->next, k->next >= 0);
        put_number(t, k->prob_next[0]);
        put_number(t, k->prob_next[1]);
        put_top(t, &of, k, 0);
        put_top(t, &of, k, 1);
        if (block >= 0)
            table_str(t, what->model->graph->values[what->model->graph->blocks[block].output].name);
        else
            table_skip(t);
        put_number(t, last);
    }
    return st;
}

static enum st run_worst(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct subject x;
    struct evaluator *ev;
    int64_t most = 10;
    if (c->n_words > 1)
        return call_fail(c, 1, e, ST_SYNTAX, "nothing more is expected here");
    if (c->n_words && parse_i64(c->words[0].text, 1, MOST, &most, e))
        return st_at(e, c->words[0].column, c->words[0].length);
    enum st st = subject_of(s, false, &x, e);
    if (st)
        return st;
    if (!(st = session_evaluator(s, &x, &ev, e))) {
        struct worst w = { .list = x_alloc((size_t)most * sizeof *w.list), .most = most };
        struct measurement m;
        measurement_begin(ev, PART_TUNE, 0, &m);
        m.token = worst_collect;
        m.data = &w;
        st = evaluator_measure(ev, &x.plan, &m, s->progress, e);
        if (m.segments) {
            enum st shown = show_worst(s, &x, ev, &w, out, e);
            st = st ? st : shown;
            result_note(out,
                        "of %" PRId64 " scored tokens, %" PRId64 " of %" PRId64
                        " segments of the half `tune`",
                        m.segments * m.scored, m.segments, m.segments_of);
            if (broken_note(&m.broken, m.segments * m.scored, "the model", "segment", out))
                out->status = RESULT_FOUND;
            if (x.ref == x.model)
                result_note(out, "reference = this file as opened; its own loss is not seen");
            changes_left_out(&x.left, out);
        }
        if (st == ST_CANCELLED)
            out->status = RESULT_PARTIAL;
        measurement_free(&m);
        free(w.list);
        session_measure_settle(s);
    }
    subject_free(&x);
    return st;
}

const struct verb verbs_worst[] = {
    { .name = "worst",
      .class = "analyse",
      .args = "[N]",
      .brief = "the tokens at which the model lies farthest from the reference, in their text",
      .help =
          "The N (10) scored tokens of the half `tune` of the evaluation set (`data FILE`) with "
          "the largest kl (`help kl`): where they are (segment of the set, token of the "
          "segment), the text up to there, the token that follows in the text with its "
          "probability in the reference (p_ref) and in the model (p), and the three most "
          "probable tokens of both. parts: the first block whose output at this token has a "
          "relative error above 0.25 against the reference's; relerr: that of the last block.",
      .examples = "open --demo=add\ndata add\nquant ** bits 2\nworst 3",
      .kinds = { ARG_NUMBER },
      .run = run_worst },
    { 0 },
};
