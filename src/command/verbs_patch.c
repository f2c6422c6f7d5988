/* SPDX-License-Identifier: MIT */
/* `patch-grid`: where what one prompt says over another comes back. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "command/cells.h"
#include "command/command.h"
#include "command/verbs_bisect.h"
#include "command/verbs_change.h"
#include "session/measure.h"
#include "study/patch_grid.h"

enum { BEST = 8 /* places that are listed */ };

struct patch_call {
    const struct session_run *from;
    struct session_run *to;
    enum patch_by by;
};

static enum st read_call(struct session *s, const struct call *c, struct patch_call *p,
                         struct err *e)
{
    int i = 0;
    *p = (struct patch_call){ .by = PATCH_BLOCK };
    enum st st = session_need_run(s, &p->to, e);
    if (st)
        return st;
    if (c->n_words && str_is(c->words[0].text, "by")) {
        const bool head = c->n_words > 1 && str_is(c->words[1].text, "head");
        if (!head && (c->n_words < 2 || !str_is(c->words[1].text, "block")))
            return call_fail(c, 1, e, ST_SYNTAX, "expected block or head");
        p->by = head ? PATCH_HEAD : PATCH_BLOCK;
        i = 2;
    }
    if (i >= c->n_words || !str_is(c->words[i].text, "from") || i + 2 != c->n_words)
        return call_fail(c, i, e, ST_SYNTAX, "expected from RUN");
    p->from = session_find_run(s, c->words[i + 1].text);
    if (!p->from) {
        call_fail(c, i + 1, e, ST_NOTFOUND, "no run `%.*s`", (int)c->words[i + 1].text.n,
                  c->words[i + 1].text.p);
        return st_hint(e, "`info runs` lists them; `prompt \"TEXT\" as NAME` makes one");
    }
    if (p->from == p->to)
        return call_fail(c, i + 1, e, ST_STATE, "that is the active run itself");
    if (run_n_tokens(p->from->run) != run_n_tokens(p->to->run)) {
        call_fail(c, i + 1, e, ST_RANGE, "the prompts have %" PRId64 " and %" PRId64 " tokens",
                  run_n_tokens(p->from->run), run_n_tokens(p->to->run));
        return st_hint(e, "they are patched token by token");
    }
    return session_use_bytes(s, p->from->model, e);
}

static void place_name(const struct patch_call *p, int64_t row, int64_t col, struct buf *out)
{
    buf_clear(out);
    if (p->by == PATCH_HEAD)
        buf_printf(out, "blk.%" PRId64 ".attn.z[head=%" PRId64 "]", row, col);
    else
        buf_printf(out, "blk.%" PRId64 ".out[tok=%" PRId64 "]", row, col);
}

static void show_grid(const struct patch_call *p, const struct patch_grid *g, const char *name,
                      struct result *out)
{
    struct table *t = result_table(out, name, TABLE_HEAT);
    struct buf b = { 0 };
    table_column(t, COL_STRING, "block", "");
    for (int64_t c = 0; c < g->cols; c++) {
        buf_clear(&b);
        if (p->by == PATCH_HEAD)
            buf_printf(&b, "head %" PRId64, c);
        else {
            buf_printf(&b, "%" PRId64 " ", c);
            session_token_text(p->to, run_tokens(p->to->run)[c], &b);
        }
        table_column(t, COL_FLOAT, buf_str(&b), "");
        table_digits(t, 3);
    }
    for (int64_t r = 0; r < g->rows; r++) {
        table_row(t);
        table_fmt(t, "blk.%" PRId64, r);
        for (int64_t c = 0; c < g->cols; c++)
            put_number(t, g->restored[r * g->cols + c]);
    }
    buf_free(&b);
}

/* The place with the most restored below (limit, at): the next in the ranking; -1 = none. */
static int64_t next_best(const struct patch_grid *g, double limit, int64_t at)
{
    int64_t best = -1;
    for (int64_t i = 0; i < g->rows * g->cols; i++) {
        const double x = g->restored[i];
        if (isnan(x) || x > limit || (x == limit && i <= at))
            continue;
        if (best < 0 || x > g->restored[best])
            best = i;
    }
    return best;
}

static void show_best(const struct patch_call *p, const struct patch_grid *g,
                      const struct patch_grid *ref, struct result *out)
{
    struct table *t = result_table(out, "patches", TABLE_ROWS);
    struct buf b = { 0 };
    TABLE_COLUMNS(t, { COL_ADDRESS, "place" }, { COL_FLOAT, "restored", "", 4 },
                  { COL_FLOAT, "reference", "", 4 });
    double limit = INFINITY;
    for (int64_t k = 0, at = -1; k < BEST; k++) {
        at = next_best(g, limit, at);
        if (at < 0)
            break;
        limit = g->restored[at];
        place_name(p, at / g->cols, at % g->cols, &b);
        table_row(t);
        table_str(t, buf_str(&b));
        put_number(t, limit);
        put_number(t, ref->restored ? ref->restored[at] : (double)NAN);
    }
    buf_free(&b);
}

static void show_metric(const struct session *s, const struct patch_call *p,
                        const struct patch_grid *g, const struct patch_grid *ref, enum compute mode,
                        struct result *out)
{
    struct table *t = result_table(out, "metric", TABLE_RECORD);
    struct buf b = { 0 };
    TABLE_COLUMNS(t, { COL_STRING, "metric" }, { COL_FLOAT, "to", "", 5 },
                  { COL_FLOAT, "from", "", 5 }, { COL_FLOAT, "ref_to", "", 5 },
                  { COL_FLOAT, "ref_from", "", 5 }, { COL_STRING, "run" },
                  { COL_STRING, "from_run" }, { COL_STRING, "compute" });
    metric_print(s, &s->metric, &b);
    table_row(t);
    table_str(t, buf_str(&b));
    buf_free(&b);
    table_float(t, g->to);
    table_float(t, g->from);
    put_number(t, ref->restored ? ref->to : (double)NAN);
    put_number(t, ref->restored ? ref->from : (double)NAN);
    table_str(t, p->to->name);
    table_str(t, p->from->name);
    table_str(t, compute_name(mode));
}

static enum st grid_of(struct session *s, const struct patch_call *p, const struct model *m,
                       const struct plan *plan, struct patch_grid *out, struct err *e)
{
    struct run_options o = session_measure_options(s);
    o.plan = plan;
    return patch_grid_of(m, &o, run_tokens(p->from->run), run_tokens(p->to->run),
                         run_n_tokens(p->to->run), p->by, &s->metric, s->progress, out, e);
}

static enum st run_patch_grid(struct session *s, const struct call *c, struct result *out,
                              struct err *e)
{
    struct patch_call p;
    struct patch_grid g = { 0 }, r = { 0 };
    struct plan plan;
    struct changes_left left;
    enum st st = read_call(s, c, &p, e);
    if (!st)
        st = metric_fits(s, p.to->model, e);
    if (st)
        return st;
    const struct session_model *m = p.to->model;
    const struct session_model *ref = s->models.ref ? s->models.ref : m;
    const bool both = ref != m || changes_hold(s, m);
    changes_plan(s, m, &plan, &left);
    st = grid_of(s, &p, m->model, &plan, &g, e);
    plan_free(&plan);
    struct err why = ERR_INIT;
    enum st st_ref = ST_OK;
    if (!st && both)
        st_ref = grid_of(s, &p, ref->model, NULL, &r, &why);
    if (g.restored && (!st || st == ST_CANCELLED)) {
        show_grid(&p, &g, "restored", out);
        if (r.restored && !st_ref)
            show_grid(&p, &r, "reference", out);
        show_best(&p, &g, &r, out);
        show_metric(s, &p, &g, &r, session_measure_options(s).mode, out);
        changes_left_out(&left, out);
        if (both && ref == m)
            result_note(out, "reference = this file as opened");
        if (st_ref && st_ref != ST_CANCELLED)
            result_note(out, "the reference has no grid: %s", why.msg);
    }
    if (!st && st_ref == ST_CANCELLED) {
        *e = why;
        st = st_ref;
    }
    if (st == ST_CANCELLED)
        out->status = RESULT_PARTIAL;
    free(g.restored);
    free(r.restored);
    return st;
}

const struct verb verbs_patch[] = {
    { .name = "patch-grid",
      .class = "analyse",
      .args = "[by block|head] from RUN",
      .brief = "which places, patched from another prompt, bring its answer back",
      .help = "The prompts of the active run and of RUN go through the active model under its "
              "changes, and through the reference. Then, one place at a time, the first is given "
              "what it has in the second: blk.N.out of one token (by block), or one head of "
              "blk.N.attn.z at every token (by head). restored = (metric patched - metric of the "
              "active prompt) / (metric of RUN's - metric of the active prompt), after the last "
              "token: 0 where the patch does nothing, 1 where it makes the answer RUN's. With "
              "`metric` (`help metric`) kl it is 1 - KL(RUN || patched) / KL(RUN || active), with "
              "logratio the metric is ln p of the token that RUN puts first, with top1 whether "
              "the same token has the largest logit. Both prompts must have as many tokens. "
              "`restored` and `reference` are grids of every place, `patches` the best places of "
              "the model with what the reference has there: a place that matters to one and not "
              "to the other is where they work differently.",
      .examples = "open --demo\nprompt \"kalo memi\" as clean\nprompt \"kala memi\"\n"
                  "patch-grid from clean\npatch-grid by head from clean",
      .kinds = { ARG_TEXT, ARG_TEXT, ARG_TEXT, ARG_RUN },
      .words = "by|block|head|from",
      .run = run_patch_grid },
    { 0 },
};
