/* SPDX-License-Identifier: MIT */
/* Captures: saved for a bug report, compared with a trace or another capture. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/memory.h"
#include "command/points.h"
#include "command/verbs_capture.h"
#include "session/capture.h"
#include "session/lookup.h"
#include "session/region.h"
#include "study/source.h"

/* What enters and leaves the blocks, what the head reads and gives. */
static size_t usual_points(const struct graph *g, int **out)
{
    int *list = *out = x_alloc((size_t)(g->n_blocks + 3) * sizeof *list);
    size_t n = 0;
    if (g->embedding >= 0)
        list[n++] = g->embedding;
    for (int b = 0; b < g->n_blocks; b++)
        list[n++] = g->blocks[b].output;
    if (g->hidden >= 0 && (!n || g->hidden != list[n - 1]))
        list[n++] = g->hidden;
    if (g->logits >= 0)
        list[n++] = g->logits;
    return n;
}

enum st save_capture(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_run *r = NULL;
    int *values = NULL;
    size_t n = 0;
    if (c->n_words < 2 || c->n_words > 3)
        return call_fail(c, c->n_words < 2 ? 1 : 3, e, ST_SYNTAX,
                         "expected `save capture FILE [GLOB]`");
    enum st st = points_named(s, c, 2, &r, &values, &n, e);
    if (!st && !run_done(r->run)) {
        st_fail(e, ST_STATE, "a capture is of a whole prompt, and the run is on its way");
        st = st_hint(e, "`continue` brings it to the end");
    }
    if (!st && !values)
        n = usual_points(run_graph(r->run), &values);
    char *path = x_strndup(c->words[1].text.p, c->words[1].text.n);
    if (!st) {
        st = capture_write(s, r, values, n, path, e);
        if (!st)
            result_note(out, "%zu %s of %s saved; `open %s` looks at them", n,
                        text_plural(n, "point", "points"), r->name, path);
        else if (st == ST_IO)
            st_at(e, c->words[1].column, c->words[1].length);
    }
    free(path);
    free(values);
    return st;
}

/* The captured point against the array of the same name. */
static enum st compare_one(const struct captured *x, const struct trace *ref, struct table *t,
                           struct err *e)
{
    const struct trace_tensor *y = trace_find(ref, x->x->name);
    struct point_error p;
    void *data;
    if (y->n != x->x->n)
        return st_fail(e, ST_RANGE, "%s: %zu values, in the trace %zu", y->name, x->x->n, y->n);
    enum st st = mem_alloc(&data, 2 * y->n * sizeof(float), y->name, e);
    if (st)
        return st;
    float *mine = data, *theirs = mine + y->n;
    if (!(st = stored_floats(x->x, mine, e)) && !(st = trace_read(ref, y, theirs, e))) {
        struct buf at = { 0 };
        point_error_of(&x->shape, theirs, mine, 0, &p);
        error_cells(t, y->name, &p);
        const struct region all = { .shape = x->shape };
        if (p.maxerr_at >= 0)
            region_place(&all, p.maxerr_at, &at);
        table_str(t, at.n ? at.p : NULL);
        buf_free(&at);
    }
    mem_free(data);
    return st;
}

/* Both are of the same tokens. */
static enum st same_prompt(const struct capture *c, const struct trace *ref, struct err *e)
{
    struct buf ids = { 0 };
    const char *mine = stored_note(&c->file, "qdb.tokens");
    for (size_t i = 0; i < ref->n_ids; i++)
        buf_printf(&ids, "%s%" PRId32, i ? "," : "", ref->ids[i]);
    const bool same = mine && str_is(str_of(buf_str(&ids), ids.n), mine);
    buf_free(&ids);
    return same ? ST_OK
                : st_fail(e, ST_RANGE, "the trace is of other tokens than the capture");
}

enum st compare_capture(struct session *s, const struct call *c, struct result *out,
                        struct err *e)
{
    const struct trace_points *ref = s->models.trace;
    struct match *list = NULL;
    size_t n = 0, missing = 0;
    if (c->n_words > 1)
        return call_fail(c, 1, e, ST_SYNTAX, "expected one glob");
    if (!ref) {
        st_fail(e, ST_STATE, "a capture is compared with a trace or another capture");
        return st_hint(e, "`ref trace FILE`");
    }
    struct address *a = x_alloc(sizeof *a);
    enum st st = same_prompt(s->models.model->capture, &ref->file, e);
    if (!st)
        st = address_parse(c->words[0].text, a, e);
    if (!st && (a->sliced || a->used < c->words[0].text.n))
        st = st_fail(e, ST_UNSUPPORTED, "points are compared whole");
    if (!st)
        st = lookup_names(s, a, &list, &n, e);
    free(a);
    if (st)
        return st_at(e, c->words[0].column, c->words[0].length);
    struct table *t = result_table(out, "compare", TABLE_ROWS);
    error_columns(t);
    for (size_t i = 0; i < n && !st; i++)
        if (list[i].captured && trace_find(&ref->file, list[i].captured->x->name))
            st = compare_one(list[i].captured, &ref->file, t, e);
        else
            missing++;
    free(list);
    if (!st && missing)
        result_note(out, "%zu left out: %s not in the trace", missing,
                    text_plural(missing, "it is", "they are"));
    return st;
}
