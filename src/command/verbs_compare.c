/* SPDX-License-Identifier: MIT */
/* The verbs that put a run beside a reference: ref, compare, diverge. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/cells.h"
#include "command/command.h"
#include "command/verbs_capture.h"
#include "session/control.h"
#include "session/lookup.h"
#include "session/reference.h"
#include "session/region.h"
#include "study/compare.h"
#include "study/why_error.h"

/* What of the trace can be compared, and what cannot. */
static void trace_notes(const struct session *s, struct result *out)
{
    const struct trace_points *t = s->models.trace;
    result_note(out, "reference: the trace %s of %s, %zu %s, %d of %d points", t->file.path,
                t->file.engine[0] ? t->file.engine : "an engine that it does not name",
                t->file.n_ids, text_plural(t->file.n_ids, "token", "tokens"), t->n_bound,
                t->g ? t->g->n_values : 0);
    if (t->n_unused)
        result_note(out, "%d of its arrays %s no name of a point: %s%s", t->n_unused,
                    text_plural((uint64_t)t->n_unused, "has", "have"), buf_str(&t->unused),
                    t->n_unused > 3 ? ", ..." : "");
}

static enum st ref_trace(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    char *path = x_strndup(c->words[1].text.p, c->words[1].text.n);
    const enum st st = session_set_trace(s, path, e);
    free(path);
    if (st)
        return st_at(e, c->words[1].column, c->words[1].length);
    trace_notes(s, out);
    return ST_OK;
}

static enum st run_ref(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    if (c->n_words == 2 && !c->words[0].quoted && str_is(c->words[0].text, "trace"))
        return ref_trace(s, c, out, e);
    if (c->n_words > 1)
        return call_fail(c, 1, e, ST_SYNTAX, "expected one file or model");
    if (c->n_words && !c->words[0].quoted && str_is(c->words[0].text, "off")) {
        result_note(out, s->models.ref || s->models.trace ? "no reference any more"
                                                          : "there was no reference");
        return session_set_ref(s, NULL, e);
    }
    struct session_model *m = NULL, *active;
    if (c->n_words) {
        enum st st = session_need_graph(s, &active, e);
        struct session_run *run = s->models.run;
        if (st)
            return st;
        m = c->words[0].quoted ? NULL : session_find_model(s, c->words[0].text);
        const bool opened = !m;
        if (opened) {
            char *path = x_strndup(c->words[0].text.p, c->words[0].text.n);
            const char *name = session_find_model(s, STR("ref")) ? NULL : "ref";
            st = session_open(s, path, name, &m, e);
            free(path);
            if (st)
                return st_at(e, c->words[0].column, c->words[0].length);
            session_use_model(s, active); /* opening a file makes it active */
            if (run)
                session_use_run(s, run);
        }
        if ((st = session_set_ref(s, m, e))) {
            if (opened)
                session_close(s, m);
            session_use_model(s, active);
            if (run)
                session_use_run(s, run);
            return st_at(e, c->words[0].column, c->words[0].length);
        }
    }
    if (s->models.trace)
        trace_notes(s, out);
    else if (s->models.ref)
        result_note(out, "reference: %s (%s)", s->models.ref->name, s->models.ref->path);
    else
        result_note(out, "there is no reference; `ref FILE` opens one");
    return ST_OK;
}

void error_columns(struct table *t)
{
    TABLE_COLUMNS(t, { COL_ADDRESS, "point" }, { COL_FLOAT, "sqnr", "dB", 4 },
                  { COL_FLOAT, "relerr", "", 3 }, { COL_FLOAT, "cos", "", 6 },
                  { COL_FLOAT, "first", "", 3 }, { COL_FLOAT, "massive", "", 3 },
                  { COL_FLOAT, "maxerr", "", 3 }, { COL_STRING, "at" });
}

void error_cells(struct table *t, const char *point, const struct point_error *p)
{
    table_row(t);
    table_str(t, point);
    put_number(t, p->sqnr);
    put_number(t, p->relerr);
    put_number(t, p->cos);
    put_number(t, p->first);
    put_number(t, p->massive_relerr);
    put_number(t, p->maxerr);
}

static void error_row(struct run *r, int span, int value, const struct point_error *p,
                      struct table *t)
{
    struct buf at = { 0 }, name = { 0 };
    struct tensor x;
    if (run_n_spans(r) > 1)
        buf_printf(&name, "s%d:", span);
    buf_adds(&name, run_graph(r)->values[value].name);
    error_cells(t, buf_str(&name), p);
    buf_free(&name);
    if (p->maxerr_at >= 0 && !run_read(r, span, value, &x, NULL)) {
        const struct region all = { .shape = x.shape, .first_token = run_span(r, span).first };
        region_place(&all, p->maxerr_at, &at);
    }
    table_str(t, at.n ? at.p : NULL);
    buf_free(&at);
}

/* The points that the first word names: whole points, of the model of the run. */
static enum st compared_points(struct session *s, const struct call *c, struct session_run **r,
                               struct match **list, size_t *n, struct err *e)
{
    struct address *a = x_alloc(sizeof *a);
    const struct word *w = &c->words[0];
    enum st st = session_need_run(s, r, e);
    if (!st && (st = address_parse(w->text, a, e)))
        st_at(e, w->column + (e->column < 0 ? 0 : e->column), e->length);
    if (!st && a->n_items) {
        st = call_fail(c, 0, e, ST_UNSUPPORTED, "points are compared whole");
        st_hint(e, "the errors are medians over tokens; relerr(ref!ADDR, ADDR) takes slices");
    }
    if (!st && (st = lookup_names(s, a, list, n, e)))
        st_at(e, w->column, w->length);
    free(a);
    for (size_t i = 0; i < *n && !st; i++)
        if ((st = match_is_point((*r)->model, &(*list)[i], e)))
            st_at(e, w->column, w->length);
    return st;
}

static enum st run_compare(struct session *s, const struct call *c, struct result *out,
                           struct err *e)
{
    struct session_run *r;
    struct ref_source ref;
    struct match *list = NULL;
    size_t n = 0, ahead = 0, missing = 0;
    if (!c->n_words)
        return call_fail(c, 0, e, ST_SYNTAX, "expected the points to compare: blk.*.out");
    if (s->models.model && s->models.model->capture)
        return compare_capture(s, c, out, e);
    enum st st = compared_points(s, c, &r, &list, &n, e);
    if (!st)
        st = session_reference(s, r, run_position(r->run), s->progress, &ref, e);
    struct table *t = st ? NULL : result_table(out, "compare", TABLE_ROWS);
    if (t)
        error_columns(t);
    for (size_t i = 0; i < n && !st; i++)
        for (int span = 0; list[i].value >= 0 && span < run_n_spans(r->run) && !st; span++) {
            struct point_error p;
            if (!run_has(r->run, span, list[i].value)) {
                ahead++;
                continue;
            }
            if (ref.trace && !source_has(&ref, r->run, span, list[i].value)) {
                missing++;
                continue;
            }
            if (!progress_tick(s->progress, "compare", (double)i, (double)n))
                st = st_fail(e, ST_CANCELLED, "interrupted");
            else if (!(st = compare_point(r->run, &ref, span, list[i].value, &p, e)))
                error_row(r->run, span, list[i].value, &p, t);
        }
    free(list);
    if (!st && !t->n_rows)
        return st_fail(e, ST_STATE,
                       missing ? "none of these points is in the trace"
                               : "none of these points has been computed yet");
    if (!st && missing)
        result_note(out, "%zu left out: %s not in the trace", missing,
                    text_plural(missing, "it is", "they are"));
    if (!st && ahead)
        result_note(out, "%zu point%s not been computed yet", ahead,
                    ahead == 1 ? " has" : "s have");
    if (st == ST_CANCELLED)
        out->status = RESULT_PARTIAL;
    return st;
}

/* ---- diverge ---- */

enum which { BY_RELERR, BY_SQNR, BY_COS, BY_MAXERR };

static const struct measure {
    const char *name, *unit;
    double tolerance;
    bool low; /* values below the tolerance are beyond it */
} statistics[] = {
    { "relerr", "", 0.25, false },
    { "sqnr", "dB", 12, true },
    { "cos", "", 0.97, true },
    { "maxerr", "", 1, false },
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
    if (i + 1 < c->n_words)
        return call_fail(c, i + 1, e, ST_SYNTAX, "expected the end of the command");
    return ST_OK;
}

static bool on_the_curve(const struct graph *g, int value)
{
    if (value == g->embedding || value == g->hidden || value == g->logits)
        return true;
    for (int b = 0; b < g->n_blocks; b++)
        if (g->blocks[b].output == value)
            return true;
    return false;
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
                    "%.3g is made here, by this op on the reference's input; the rest was "
                    "inherited",
                    made->relerr);
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
    const bool own = !compare_made_here(run, &c->ref, span, v, &made, NULL);
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

const struct verb verbs_compare[] = {
    { .name = "ref",
      .class = "files",
      .args = "[FILE|MODEL|trace DIR|off]",
      .brief = "open a model, or what another engine computed, as the reference of runs",
      .help = "A model must be of the same architecture, sizes and vocabulary as the active one; "
              "the formats of its weights may differ. Every prompt goes through both as far as a "
              "comparison needs. In addresses it is ref!ADDR where that name was free: a point "
              "that the "
              "reference, or the trace, has beside the active run, whether that has come to it or "
              "not (of a model that has runs of its own: of the first of those).\n\n"
              "trace DIR: activations of any other engine or machine for one prompt. The folder "
              "holds trace.json: {\"format\": \"qdb-trace\", \"version\": 1, \"tokens\": "
              "[IDS], \"engine\": ..., \"model\": ..., \"dtype\": ...} (the last three are "
              "shown, not used), and .safetensors or .npy files (NAME.npy) of float32, float16, "
              "bfloat16 or float64. Names are ours (info points), those of TransformerLens or of "
              "llama.cpp (info names); arrays of other names are counted and left out. Axes are "
              "those of the point for all tokens; a batch axis of 1 in front may be there, heads "
              "and channels may be one axis. `prompt -r` runs its tokens; compare, diverge and "
              "catch diverge then read from it, and leave out points that it does not have. `dump "
              "GLOB DIR/` writes such a folder. docs/traces.md has a script.",
      .examples = "ref\nref off",
      .kinds = { ARG_FILE, ARG_FILE },
      .words = "off|trace",
      .run = run_ref },
    { .name = "compare",
      .class = "analyse",
      .args = "GLOB",
      .brief = "errors of points against the reference run",
      .help =
          "sqnr, relerr and cos are medians over tokens of the error of each token. Apart are the "
          "first token of the run (first: its relerr) and massive channels, those that hold an "
          "outlier(20) in the reference (massive: median relerr over these). maxerr is over "
          "everything, with its place. Definitions: `explain relerr`, `explain sqnr`.",
      .examples = "open --demo\nref a\nprompt \" memi nade\"\nrun\ncompare blk.*.out\nref off",
      .kinds = { ARG_POINT },
      .run = run_compare },
    { .name = "diverge",
      .class = "analyse",
      .args = "[-all] [relerr|sqnr|cos|maxerr] [TOLERANCE]",
      .brief = "where a run leaves the reference: the curve, up to the first point beyond",
      .help =
          "Walks the points in order of execution and stops at the first that is beyond the "
          "tolerance (relerr 0.25, sqnr 12 dB, cos 0.97, maxerr 1) or not finite; exit status 3. "
          "Shown are the embeddings, the outputs of blocks and the head; -all shows every point. "
          "made_here is the error that this op makes by itself: its weights on the input of the "
          "reference. Errors as in `help compare`. `why` then follows the largest error there to "
          "its weight.",
      .examples = "open --demo\nref a\nprompt \" memi nade\"\nrun\ndiverge\nref off",
      .words = "-all|relerr|sqnr|cos|maxerr",
      .run = run_diverge },
    { 0 },
};
