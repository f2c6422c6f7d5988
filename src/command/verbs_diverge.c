/* SPDX-License-Identifier: MIT */
/* The verb that follows a run to where it leaves its reference: diverge. */
#include <inttypes.h>
#include <math.h>

#include "command/cells.h"
#include "command/command.h"
#include "session/control.h"
#include "session/reference.h"
#include "study/compare.h"
#include "study/why_error.h"

enum which { BY_RELERR, BY_SQNR, BY_COS, BY_MAXERR };

static const struct measure {
    const char *name, *unit;
    double tolerance, least, most;
    bool low; /* values below the tolerance are beyond it */
} statistics[] = {
    { "relerr", "", 0.25, 0, HUGE_VAL, false },
    { "sqnr", "dB", 12, -HUGE_VAL, HUGE_VAL, true },
    { "cos", "", 0.97, -1, 1, true },
    { "maxerr", "", 1, 0, HUGE_VAL, false },
};

static double pick(enum which by, const struct point_error *p)
{
    const double all[] = { p->relerr, p->sqnr, p->cos, p->maxerr };
    return all[by];
}

static bool beyond(enum which by, double x, double tolerance)
{
    return statistics[by].low ? x < tolerance : x > tolerance;
}

/* The way through a run to the first point beyond a tolerance. */
struct curve {
    struct session *s;
    struct session_run *r;
    struct ref_source ref;
    enum which by;
    double tolerance;
    bool all; /* a row for every point */
    bool found;
    int seen;
    struct table *t;
};

static enum st diverge_arguments(const struct call *c, struct curve *way, struct err *e)
{
    int i = 0;
    way->all = i < c->n_words && str_is(c->words[i].text, "-all");
    i += way->all;
    for (int k = 0; i < c->n_words && k < 4; k++)
        if (str_is(c->words[i].text, statistics[k].name)) {
            way->by = (enum which)k;
            i++;
            break;
        }
    way->tolerance = statistics[way->by].tolerance;
    if (i < c->n_words && parse_f64(c->words[i].text, &way->tolerance, e))
        return call_fail(c, i, e, ST_SYNTAX, "expected relerr, sqnr, cos or maxerr, and a number");
    const struct measure *of = &statistics[way->by];
    if (!(way->tolerance >= of->least && way->tolerance <= of->most))
        return call_fail(c, i, e, ST_RANGE, "a tolerance of %s is a number in %g..%g", of->name,
                         of->least, of->most);
    if (i + 1 < c->n_words)
        return call_fail(c, i + 1, e, ST_SYNTAX, "expected the end of the command");
    return ST_OK;
}

/* The block whose output it is, -1 if it is none. */
static int block_of(const struct graph *g, int value)
{
    for (int b = 0; b < g->n_blocks; b++)
        if (g->blocks[b].output == value)
            return b;
    return -1;
}

static bool on_the_curve(const struct graph *g, int value)
{
    return value == g->embedding || value == g->hidden || value == g->logits
           || block_of(g, value) >= 0;
}

static void curve_row(struct run *r, int span, int value, double here, double made, struct table *t)
{
    table_row(t);
    if (run_n_spans(r) > 1)
        table_fmt(t, "s%d:%s", span, run_graph(r)->values[value].name);
    else
        table_str(t, run_graph(r)->values[value].name);
    put_number(t, here);
    put_number(t, made);
}

/* What `why` goes on from: the element with the largest error. */
static void remember(struct session *s, const struct session_run *r, struct ref_source *ref,
                     int span, int value)
{
    struct tensor x, y;
    if (run_read(r->run, span, value, &x, NULL) || source_read(ref, r->run, span, value, &y, NULL))
        return;
    const int64_t at = largest_error(x.data, y.data, shape_count(&x.shape));
    if (at >= 0)
        s->hit = (struct element){ r, span, value, at, true };
}

static void first_beyond(struct curve *c, int span, int v, const struct point_error *p,
                         const struct point_error *made, struct result *out)
{
    const struct measure *of = &statistics[c->by];
    out->status = RESULT_FOUND;
    remember(c->s, c->r, &c->ref, span, v);
    result_note(out, "%s is the first point with %s %s %g", run_graph(c->r->run)->values[v].name,
                of->name, of->low ? "below" : "above", c->tolerance);
    if (p->nonfinite)
        result_note(out, "%" PRId64 " of its values are NaN or infinite", p->nonfinite);
    else if (made && c->by == BY_RELERR)
        result_note(out,
                    "%.3g is made here, by this %s on the reference's input; the rest was "
                    "inherited",
                    made->relerr, block_of(run_graph(c->r->run), v) < 0 ? "op" : "block");
}

static enum st curve_point(struct curve *c, int span, int v, struct result *out, struct err *e)
{
    struct run *run = c->r->run;
    struct point_error p, made;
    enum st st = compare_point(run, &c->ref, span, v, &p, e);
    if (st)
        return st;
    const double x = pick(c->by, &p);
    c->found = beyond(c->by, x, c->tolerance) || p.nonfinite;
    if (!c->found && !c->all && !on_the_curve(run_graph(run), v))
        return ST_OK;
    const bool own = !compare_made_here(run, &c->ref, span, v, block_of(run_graph(run), v),
                                        session_pool(c->s), &made, NULL);
    curve_row(run, span, v, x, own ? pick(c->by, &made) : NAN, c->t);
    if (c->found)
        first_beyond(c, span, v, &p, own ? &made : NULL, out);
    return ST_OK;
}

static enum st follow_curve(struct curve *c, struct result *out, struct err *e)
{
    struct run *run = c->r->run;
    const struct graph *g = run_graph(run);
    const double total = (double)run_n_spans(run) * g->n_nodes;
    enum st st = ST_OK;
    for (int span = 0; span < run_n_spans(run) && !c->found && !st; span++)
        for (int node = 0; node < g->n_nodes && !c->found && !st; node++) {
            const int v = g->nodes[node].out;
            if (c->ref.trace ? !source_has(&c->ref, run, span, v) : run_skips(run, v))
                continue;
            c->seen++;
            if (!progress_tick(c->s->progress, "diverge", (double)span * g->n_nodes + node,
                               total)) {
                out->status = RESULT_PARTIAL;
                return st_fail(e, ST_CANCELLED, "interrupted");
            }
            st = curve_point(c, span, v, out, e);
        }
    return st;
}

static enum st run_diverge(struct session *s, const struct call *c, struct result *out,
                           struct err *e)
{
    struct curve way = { .s = s, .by = BY_RELERR };
    enum st st = session_need_run(s, &way.r, e);
    if (!st)
        st = diverge_arguments(c, &way, e);
    if (!st && !run_done(way.r->run)) {
        struct stop stop;
        st = control_goto(s, way.r, run_end(way.r->run), &stop, e);
    }
    if (!st)
        st = session_reference(s, way.r, run_end(way.r->run), s->progress, &way.ref, e);
    if (st)
        return st;
    const struct measure *of = &statistics[way.by];
    way.t = result_table(out, "diverge", TABLE_ROWS);
    table_column(way.t, COL_ADDRESS, "point", "");
    table_column(way.t, COL_FLOAT, of->name, of->unit);
    table_digits(way.t, 4);
    table_column(way.t, COL_FLOAT, "made_here", of->unit);
    table_digits(way.t, 4);
    st = follow_curve(&way, out, e);
    if (!st && way.ref.trace)
        result_note(out, "%d %s of the trace were compared", way.seen,
                    text_plural((uint64_t)way.seen, "point", "points"));
    if (!st && !way.found)
        result_note(out, "no point has %s %s %g", of->name, of->low ? "below" : "above",
                    way.tolerance);
    return st;
}

const struct verb verbs_diverge[] = {
    { .name = "diverge",
      .class = "analyse",
      .args = "[-all] [relerr|sqnr|cos|maxerr] [TOLERANCE]",
      .brief = "where a run leaves the reference: the curve, up to the first point beyond",
      .help =
          "Walks the points in order of execution and stops at the first that is beyond the "
          "tolerance (relerr 0.25, sqnr 12 dB, cos 0.97, maxerr 1; inf: at none) or not finite; "
          "exit status 3. Shown are the embeddings, the outputs of blocks and the head; -all shows "
          "every point. made_here is the error that this block (of its output) or op (of other "
          "points) makes by itself: its weights, not edits of points, on the input of the "
          "reference; - in a span after the first, where attention or a state is in it. Errors as "
          "in `help compare`. `why` then follows the largest error there to "
          "its weight.",
      .examples = "open --demo\nref a\nprompt \" memi nade\"\nrun\ndiverge\nref off",
      .words = "-all|relerr|sqnr|cos|maxerr",
      .run = run_diverge },
    { 0 },
};
