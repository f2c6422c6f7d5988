/* SPDX-License-Identifier: MIT */
/* The verbs that put a run beside a reference: ref, compare. */
#include <stdlib.h>

#include "base/memory.h"
#include "command/cells.h"
#include "command/command.h"
#include "command/verbs_capture.h"
#include "session/lookup.h"
#include "session/reference.h"
#include "session/region.h"
#include "study/compare.h"

/* What of the trace can be compared, and what cannot. */
static void trace_notes(const struct session *s, struct result *out)
{
    const struct trace_points *t = s->models.trace;
    struct buf points = { 0 };
    if (t->g)
        buf_printf(&points, "%d of %d points", t->n_bound, t->g->n_values);
    else /* there is no graph to find them in, as of a capture */
        buf_printf(&points, "%zu %s", t->file.n, text_plural(t->file.n, "array", "arrays"));
    result_note(out, "reference: the trace %s of %s, %zu %s, %s", t->file.path,
                t->file.engine[0] ? t->file.engine : "an engine that it does not name",
                t->file.n_ids, text_plural(t->file.n_ids, "token", "tokens"), buf_str(&points));
    buf_free(&points);
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
    struct session_model *m = NULL, *active, *before = s->models.ref;
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
    if (before && s->models.ref != before && before != s->models.model)
        result_note(out, "%s (%s) stays open; `close %s` closes it", before->name, before->path,
                    before->name);
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

static void error_row(struct run *r, int span, int value, const struct region *part,
                      const struct point_error *p, struct table *t)
{
    struct buf at = { 0 }, name = { 0 };
    if (run_n_spans(r) > 1)
        buf_printf(&name, "s%d:", span);
    buf_adds(&name, run_graph(r)->values[value].name);
    error_cells(t, buf_str(&name), p);
    buf_free(&name);
    if (p->maxerr_at >= 0)
        region_place(part, p->maxerr_at, &at);
    table_str(t, at.n ? at.p : NULL);
    buf_free(&at);
}

/* A row for what the slice names of a point in a span; none where the span holds nothing of it. */
static enum st compare_part(struct run *r, struct ref_source *ref, int span, int value,
                            const struct address *a, struct table *t, struct err *e)
{
    struct tensor x, y;
    struct region mine = { 0 }, theirs = { 0 };
    struct point_error p;
    enum st st = run_read(r, span, value, &x, e);
    if (!st)
        st = source_read(ref, r, span, value, &y, e);
    if (!st && !shape_equal(&x.shape, &y.shape))
        st = st_fail(e, ST_RANGE, "the shapes of the point differ");
    if (!st)
        st = region_check(a, &x.shape, e);
    if (!st)
        st = region_cut(a, r, span, &x, &mine, e);
    if (!st)
        st = region_cut(a, r, span, &y, &theirs, e);
    if (!st && region_count(&mine) > 0) {
        const int tok = shape_axis(&mine.shape, AXIS_TOK);
        point_error_of(&mine.shape, theirs.data, mine.data,
                       tok < 0 ? mine.first_token : region_entry(&mine, tok, 0), &p);
        error_row(r, span, value, &mine, &p, t);
    }
    region_free(&mine);
    region_free(&theirs);
    return st;
}

/* What is compared: the points that one word names, with its slice. */
struct compared {
    const struct word *word;
    struct address a;
    struct match *list;
    size_t n;
};

static enum st compared_points(struct session *s, const struct session_run *r, struct compared *x,
                               struct err *e)
{
    const struct word *w = x->word;
    enum st st = address_parse(w->text, &x->a, e);
    if (st)
        st_at(e, w->column + (e->column < 0 ? 0 : e->column), e->length);
    if (!st && x->a.used < w->text.n) {
        st_fail(e, ST_SYNTAX, "unexpected text after the address");
        return st_at(e, w->column + (int)x->a.used, w->length - (int)x->a.used);
    }
    if (!st && x->a.position.n) {
        st_fail(e, ST_UNSUPPORTED, "every span is compared; a slice names tokens of it");
        return st_at(e, w->column, w->length);
    }
    if (!st && (st = lookup_names(s, &x->a, &x->list, &x->n, e)))
        st_at(e, w->column, w->length);
    for (size_t i = 0; i < x->n && !st; i++)
        if ((st = match_is_point(r->model, &x->list[i], e)))
            st_at(e, w->column, w->length);
    return st;
}

/* Points that have no row. */
struct left_out {
    size_t ahead, missing; /* not computed yet; not in the trace */
};

static enum st compare_word(struct session *s, struct run *r, struct ref_source *ref,
                            const struct compared *x, struct left_out *out, struct table *t,
                            struct err *e)
{
    enum st st = ST_OK;
    for (size_t i = 0; i < x->n && !st; i++)
        for (int span = 0; x->list[i].value >= 0 && span < run_n_spans(r) && !st; span++) {
            const int value = x->list[i].value;
            if (!run_has(r, span, value))
                out->ahead++;
            else if (ref->trace && !source_has(ref, r, span, value))
                out->missing++;
            else if (!progress_tick(s->progress, "compare", (double)i, (double)x->n))
                st = st_fail(e, ST_CANCELLED, "interrupted");
            else if ((st = compare_part(r, ref, span, value, &x->a, t, e)) && e && e->column >= 0)
                st_at(e, x->word->column + e->column, e->length);
        }
    return st;
}

static enum st compare_words(struct session *s, struct session_run *r, const struct compared *list,
                             int n, struct result *out, struct err *e)
{
    struct ref_source ref;
    struct left_out left = { 0 };
    enum st st = session_reference(s, r, run_position(r->run), s->progress, &ref, e);
    if (st)
        return st;
    struct table *t = result_table(out, "compare", TABLE_ROWS);
    error_columns(t);
    for (int i = 0; i < n && !st; i++)
        st = compare_word(s, r->run, &ref, &list[i], &left, t, e);
    if (!st && !t->n_rows)
        return st_fail(e, ST_STATE, left.missing ? "none of these points is in the trace"
                                                 : "none of these points has been computed yet");
    if (!st && left.missing)
        result_note(out, "%zu left out: %s not in the trace", left.missing,
                    text_plural(left.missing, "it is", "they are"));
    if (!st && left.ahead)
        result_note(out, "%zu %s not been computed yet", left.ahead,
                    text_plural(left.ahead, "point has", "points have"));
    if (st == ST_CANCELLED)
        out->status = RESULT_PARTIAL;
    return st;
}

static enum st run_compare(struct session *s, const struct call *c, struct result *out,
                           struct err *e)
{
    struct session_run *r;
    if (!c->n_words)
        return call_fail(c, 0, e, ST_SYNTAX, "expected the points to compare: blk.*.out");
    if (s->models.model && s->models.model->capture)
        return compare_capture(s, c, out, e);
    enum st st = session_need_run(s, &r, e);
    if (st)
        return st;
    struct compared *list = x_alloc((size_t)c->n_words * sizeof *list);
    for (int i = 0; i < c->n_words && !st; i++) {
        list[i].word = &c->words[i];
        st = compared_points(s, r, &list[i], e);
    }
    if (!st)
        st = compare_words(s, r, list, c->n_words, out, e);
    for (int i = 0; i < c->n_words; i++)
        free(list[i].list);
    free(list);
    return st;
}

static const struct arg_after ref_after[] = {
    { "trace", ARG_FILE, NULL },
    { 0 },
};

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
      .kinds = { ARG_FILE, ARG_NONE },
      .words = "off|trace",
      .after = ref_after,
      .run = run_ref },
    { .name = "compare",
      .class = "analyse",
      .args = "GLOB[SLICE]...",
      .brief = "errors of points against the reference run",
      .help =
          "sqnr, relerr and cos are medians over tokens of the error of each token. Apart are the "
          "first token of the run (first: its relerr) and massive channels, those that hold an "
          "outlier(20) in the reference (massive: median relerr over these). maxerr is over "
          "everything, with its place. With a slice, all of this is of what it names. Definitions: "
          "`explain relerr`, `explain sqnr`.",
      .examples = "open --demo\nref a\nprompt \" memi nade\"\nrun\ncompare blk.*.out\nref off",
      .kinds = { ARG_POINT },
      .run = run_compare },
    { 0 },
};
