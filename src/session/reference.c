/* SPDX-License-Identifier: MIT */
#include "session/reference.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* The first thing in which two graphs differ. */
static enum st same_graph(const struct graph *a, const struct graph *b, struct err *e)
{
    if (strcmp(a->arch, b->arch))
        return st_fail(e, ST_UNSUPPORTED, "the architectures differ: %s, reference %s", a->arch,
                       b->arch);
    if (a->vocab != b->vocab)
        return st_fail(e, ST_UNSUPPORTED,
                       "the vocabularies differ: %" PRId64 " tokens, reference %" PRId64, a->vocab,
                       b->vocab);
    if (a->n_blocks != b->n_blocks)
        return st_fail(e, ST_UNSUPPORTED, "%d blocks, reference %d", a->n_blocks, b->n_blocks);
    for (int v = 0; v < a->n_values || v < b->n_values; v++) {
        if (v >= a->n_values || v >= b->n_values || strcmp(a->values[v].name, b->values[v].name))
            return st_fail(e, ST_UNSUPPORTED, "the points differ: %s, reference %s",
                           v < a->n_values ? a->values[v].name : "none",
                           v < b->n_values ? b->values[v].name : "none");
        if (shape_equal(&a->values[v].shape, &b->values[v].shape))
            continue;
        struct buf x = { 0 }, y = { 0 };
        shape_print(&a->values[v].shape, &x);
        shape_print(&b->values[v].shape, &y);
        st_fail(e, ST_UNSUPPORTED, "%s has %s, in the reference %s", a->values[v].name, buf_str(&x),
                buf_str(&y));
        buf_free(&x);
        buf_free(&y);
        return ST_UNSUPPORTED;
    }
    return ST_OK;
}

enum st session_set_ref(struct session *s, struct session_model *m, struct err *e)
{
    struct session_model *active;
    if (!m) {
        s->models.ref = NULL;
        session_drop_trace(s);
        changes_new_reference(s);
        return ST_OK;
    }
    enum st st = session_need_graph(s, &active, e);
    if (st)
        return st;
    if (!m->model->graph) {
        *e = m->model->no_graph;
        return e->st;
    }
    st = same_graph(active->model->graph, m->model->graph, e);
    if (st)
        return st;
    s->models.ref = m;
    session_drop_trace(s);
    changes_new_reference(s);
    return ST_OK;
}

enum st session_set_trace(struct session *s, const char *path, struct err *e)
{
    struct session_model *active;
    struct trace file;
    enum st st = session_need_model(s, &active, e);
    if (!st && !active->capture)
        st = session_need_graph(s, &active, e);
    if (!st)
        st = trace_open(path, &file, e);
    if (st)
        return st;
    struct trace_points *t = x_alloc(sizeof *t);
    trace_points_init(t, &file);
    if (!active->capture && (st = trace_points_bind(t, active->model->graph, e))) {
        trace_points_free(t);
        free(t);
        return st;
    }
    session_drop_trace(s);
    s->models.ref = NULL;
    s->models.trace = t;
    s->models.trace_model = active->capture ? NULL : active;
    changes_new_reference(s);
    return ST_OK;
}

/* The tokens that both have; those of spans behind the trace's are generated. */
static enum st same_tokens(const struct trace *t, const struct run *r, struct err *e)
{
    const int64_t n = run_n_tokens(r), have = (int64_t)t->n_ids;
    for (int64_t i = 0; i < n && i < have; i++)
        if (run_tokens(r)[i] != t->ids[i]) {
            st_fail(e, ST_RANGE,
                    "token %" PRId64 " of the run is %" PRId32 ", of the trace %" PRId32, i,
                    run_tokens(r)[i], t->ids[i]);
            return st_hint(e, "`prompt -r` runs the tokens of the trace");
        }
    if (run_n_spans(r) && run_span(r, 0).n > have) {
        st_fail(e, ST_RANGE, "the run has %" PRId64 " tokens, the trace %" PRId64, n, have);
        return st_hint(e, "`prompt -r` runs the tokens of the trace");
    }
    return ST_OK;
}

enum st session_trace(struct session *s, const struct session_model *m, struct trace_points **out,
                      struct err *e)
{
    enum st st = m->model->graph ? ST_OK : m->model->no_graph.st;
    if (st && e)
        *e = m->model->no_graph;
    if (!st && s->models.trace_model != m) {
        st = trace_points_bind(s->models.trace, m->model->graph, e);
        s->models.trace_model = st ? NULL : m;
    }
    if (!st)
        *out = s->models.trace;
    return st;
}

enum st session_reference(struct session *s, struct session_run *r, struct position to,
                          struct progress *p, struct ref_source *out, struct err *e)
{
    struct ref_source from = { 0 };
    enum st st = s->models.trace ? session_trace(s, r->model, &from.trace, e)
                                 : session_ref_run(s, r, to, p, &from.run, e);
    if (!st && from.trace)
        st = same_tokens(&from.trace->file, r->run, e);
    if (!st)
        *out = from;
    return st;
}

/* As many spans of the run's tokens as the reference's run does not have yet. */
static enum st feed(const struct run *from, struct run *to, struct err *e)
{
    enum st st = ST_OK;
    for (int span = run_n_spans(to); span < run_n_spans(from) && !st; span++) {
        const struct span s = run_span(from, span);
        const int32_t *ids = run_tokens(from) + s.first;
        st = span ? run_append(to, ids, s.n, e) : run_input(to, ids, NULL, NULL, s.n, e);
    }
    return st;
}

enum st session_ref_run(struct session *s, struct session_run *r, struct position to,
                        struct progress *p, struct run **out, struct err *e)
{
    struct session_model *ref = s->models.ref;
    if (!ref && changes_hold(s, r->model))
        ref = r->model; /* as the file has it */
    if (!ref) {
        st_fail(e, ST_STATE,
                s->models.trace ? "the reference is a trace: this takes a model"
                                : "there is no reference");
        return st_hint(e, "`ref FILE` opens one");
    }
    enum st st = same_graph(r->model->model->graph, ref->model->graph, e);
    if (st)
        return st;
    if (r->ref && r->ref_model != ref) {
        run_free(r->ref);
        r->ref = NULL;
    }
    if (!r->ref) {
        struct run_options o = session_run_options(s);
        o.mode = run_mode(r->run);
        o.span = 0; /* spans are fed one by one */
        r->ref = run_new(ref->model, &o);
        r->ref_model = ref;
    }
    st = feed(r->run, r->ref, e);
    if (!st && position_compare(run_reached(r->ref), to) < 0) {
        st = run_goto(r->ref, run_reached(r->ref), p, e);
        if (!st)
            st = run_forward(r->ref, to, p, NULL, e);
    }
    if (!st)
        *out = r->ref;
    return st;
}
