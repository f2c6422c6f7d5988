/* SPDX-License-Identifier: MIT */
/* `check`: assertions on figures, which pass only where the interval lies on the right side. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "command/broken.h"
#include "command/cells.h"
#include "command/command.h"
#include "command/verbs_change.h"
#include "command/verbs_kl.h"
#include "file/lint.h"
#include "session/measure.h"
#include "study/anytime.h"
#include "study/figures.h"

enum { CHECKS_MAX = CALL_MAX_WORDS };

struct checks {
    struct comparison list[CHECKS_MAX];
    bool lint[CHECKS_MAX]; /* the word `lint` */
    int n;
    bool measures, lints;
    bool early;             /* until decided */
    struct figures figures; /* that nothing is measured for */
    double floor;           /* of mode fast, else NaN */
    bool below;             /* one is undecided whose kl is below the floor */
};

static enum st read_checks(const struct call *c, struct checks *k, struct err *e)
{
    const int n = c->n_words;
    const bool until = n > 1 && !c->words[n - 2].quoted && str_is(c->words[n - 2].text, "until");
    if (until && !str_is(c->words[n - 1].text, "decided"))
        return call_fail(c, n - 1, e, ST_SYNTAX, "expected until decided");
    *k = (struct checks){ .n = until ? n - 2 : n, .early = until, .floor = NAN };
    if (!k->n) {
        call_fail(c, 0, e, ST_SYNTAX, "expected what is to hold");
        return st_hint(e, "check 'kl < 0.02' 'top1 > 0.95' lint");
    }
    for (int i = 0; i < k->n; i++) {
        const struct word *w = &c->words[i];
        k->lint[i] = str_is(w->text, "lint");
        enum st st = k->lint[i] ? ST_OK : comparison_parse(w->text, &k->list[i], e);
        if (st)
            return st_at(e, w->column + w->quoted + (e && e->column > 0 ? e->column : 0),
                         e && e->length ? e->length : 1);
        k->lints |= k->lint[i] || k->list[i].lints;
        k->measures |= k->list[i].measures;
    }
    return ST_OK;
}

static const char *const verdicts[] = { "holds", "fails", "undecided" };

/* What lint finds in the active model's file. */
static enum st lint_figures(struct session *s, struct figures *f, struct err *e)
{
    struct session_model *m;
    struct lint l;
    enum st st = session_need_model(s, &m, e);
    if (st)
        return st;
    st = lint_weights(m->model->weights, 0, s->progress, &l, e);
    f->lint_errors = (double)l.count[LINT_ERROR];
    f->lint_warnings = (double)l.count[LINT_WARNING];
    lint_free(&l);
    return st;
}

static void put_checks(struct checks *k, const struct call *c, const struct measurement *m,
                       struct result *out, int count[3])
{
    const struct figures *f = &k->figures;
    struct table *t = result_table(out, "check", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "check" }, { COL_FLOAT, "value", "", 5 },
                  { COL_FLOAT, "low", "", 5 }, { COL_FLOAT, "high", "", 5 },
                  { COL_FLOAT, "bound", "", 5 }, { COL_STRING, "verdict" }, FLOOR_COLUMNS);
    for (int i = 0; i < k->n; i++) {
        struct compared x = { .left = f->lint_errors + f->lint_warnings,
                              .low = NAN,
                              .high = NAN,
                              .verdict = VERDICT_HOLDS };
        if (k->lint[i])
            x.verdict = x.left > 0 ? VERDICT_FAILS : VERDICT_HOLDS;
        else
            comparison_of(&k->list[i], m, f, k->floor, &x);
        table_row(t);
        table_strn(t, c->words[i].text);
        if (x.below_floor)
            table_instead(t, "<floor");
        else
            put_number(t, x.left);
        put_number(t, k->list[i].measures ? x.low : (double)NAN);
        put_number(t, k->list[i].measures ? x.high : (double)NAN);
        put_number(t, x.right);
        table_str(t, verdicts[x.verdict]);
        count[x.verdict]++;
        if (k->list[i].measures && !isnan(k->floor)) {
            table_bool(t, x.below_floor);
            table_float(t, k->floor);
            put_level(t, true);
        }
        k->below |= x.below_floor && x.verdict == VERDICT_UNDECIDED;
    }
}

static bool all_decided(const void *data, const struct measurement *m)
{
    const struct checks *k = data;
    bool decided = m->segments > 0;
    for (int i = 0; i < k->n && decided; i++) {
        struct compared x;
        if (k->lint[i] || !k->list[i].measures)
            continue;
        comparison_of(&k->list[i], m, &k->figures, k->floor, &x);
        decided = x.verdict != VERDICT_UNDECIDED;
    }
    return decided;
}

/* The half `check`, measured. */
static enum st measure_check(struct session *s, const struct subject *x, struct checks *k,
                             struct measurement *m, struct err *e)
{
    struct evaluator *ev;
    struct fast_floor f;
    const struct evaluation_set *set = &s->data.set;
    enum st st = session_evaluator(s, x, &ev, e);
    if (st)
        return st;
    if (evaluator_of(ev)->options.mode == COMPUTE_FAST) {
        st = session_fast_floor(s, x->model, set->ids, set->segments * set->tokens, &f, e);
        if (st)
            return st;
        k->floor = f.kl;
    }
    struct evaluation_part part = PART_CHECK;
    part.anytime = k->early;
    measurement_begin(ev, part, 0, m);
    st = evaluator_until(ev, &x->plan, m, k->early ? all_decided : NULL, k, s->progress, e);
    session_measure_settle(s);
    return st;
}

/* What was measured, and how far. */
static void note_measured(struct session *s, const struct checks *k, const struct subject *x,
                          const struct measurement *m, bool decided, struct result *out)
{
    const int least = k->early ? ANYTIME_FIRST : MIN_CLUSTERS;
    measure_looked(s, m->segments, x->ref, out);
    if (broken_note(&m->broken, m->segments * m->scored, "the model", "segment", out))
        return;
    if (m->segments < least)
        result_note(out, "%d segments, fewer than %d: no intervals, no verdict", (int)m->segments,
                    least);
    else if (k->early)
        result_note(out,
                    "%s %d of %d segments, %" PRId64 " tokens; intervals hold at every look "
                    "(anytime), and are wider than for one",
                    decided ? "decided after" : "undecided at the end, after",
                    (int)m->segments, (int)m->segments_of, m->segments * m->scored);
}

static enum st judge(struct session *s, const struct call *c, struct checks *k,
                     const struct subject *x, struct result *out, struct err *e)
{
    struct measurement m = { 0 };
    int count[3] = { 0 };
    k->figures = (struct figures){ NAN, NAN, NAN, NAN, NAN, NAN, NAN };
    enum st st = k->lints ? lint_figures(s, &k->figures, e) : ST_OK;
    if (!st && x)
        st = measure_check(s, x, k, &m, e);
    if (!st) {
        put_checks(k, c, x ? &m : NULL, out, count);
        if (x) {
            note_measured(s, k, x, &m, !count[VERDICT_UNDECIDED], out);
            if (x->ref == x->model)
                result_note(out, "reference = this file as opened; its own loss is not seen");
            changes_left_out(&x->left, out);
            const struct overlap overlap = session_overlap(s, x->model, true, x->model,
                                                           &s->data.set, s->data.path);
            overlap_note(&overlap, x->model->name, out);
        }
        if (count[VERDICT_FAILS])
            out->status = RESULT_FOUND;
        else if (count[VERDICT_UNDECIDED]) {
            st = st_fail(e, ST_STATE, "%d of %d undecided", count[VERDICT_UNDECIDED], k->n);
            if (m.broken.tokens[0])
                st_hint(e, "the reference cannot be compared with: its logits are not finite");
            else if (k->below)
                st_hint(e, "a kl below the floor of mode fast, %.4g, may be anything from 0 to it: "
                           "`set compute native` (or exact) measures it", k->floor);
            else
                st_hint(e, "the interval holds the bound, or there is none: `data FILE tokens N` "
                           "with more tokens narrows it");
        }
    }
    measurement_free(&m);
    return st;
}

static enum st run_check(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct subject x;
    struct checks *k = x_alloc(sizeof *k);
    enum st st = read_checks(c, k, e);
    if (!st && k->measures && !(st = subject_of(s, true, &x, e))) {
        st = judge(s, c, k, &x, out, e);
        subject_free(&x);
    } else if (!st)
        st = judge(s, c, k, NULL, out, e);
    free(k);
    return st;
}

const struct verb verbs_check[] = {
    { .name = "check",
      .class = "analyse",
      .args = "EXPR... [until decided]",
      .brief = "assert on figures: passes where the whole interval lies on the right side",
      .help =
          "Each EXPR is `lint` (the file has no errors and no warnings), or a comparison (< <= "
          "> >=) of two sums of figures and numbers, with + - * / ( ) exp log abs sqrt; in "
          "quotes where it has blanks. Figures: kl, top1, logratio (= ln_ppl_ratio), ppl, "
          "ref_ppl, as `kl` defines them, of the active model under its changes and the "
          "reference on the half `check` of the evaluation set (`data FILE`; each time is a "
          "look, and counted); lint_errors, lint_warnings.\n"
          "holds: the 95 % interval of left - right lies wholly on the right side; fails: "
          "wholly on the other; undecided: it holds the bound, or there are fewer than 20 "
          "segments. Logits that are not finite fail what is measured of "
          "them. low and high bound value, taking bound as exact; the interval is that of "
          "`kl`, for an expression that is no mean over its jackknife pseudo-values by "
          "segment. `until decided` stops when every EXPR is, by the intervals of `until` (`help "
          "kl`), which one may look at as often as one likes. In mode fast a kl below the floor "
          "counts as anything up to it: low and high take that in. Exit "
          "status of a batch: 0 all hold, 3 one fails, 1 none fails and one is undecided.",
      .examples = "open --demo=add\ndata add\nquant ** bits 4\ncheck 'kl < 0.05' 'top1 >= 0.9'",
      .flags = VERB_COMPARES,
      .kinds = { ARG_TEXT },
      .words = "lint|until|decided",
      .run = run_check },
    { 0 },
};
