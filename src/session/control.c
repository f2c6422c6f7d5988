/* SPDX-License-Identifier: MIT */
#include "session/control.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "graph/glob.h"
#include "session/reference.h"
#include "session/written.h"

const char *stop_name(enum stop_reason r)
{
    static const char *const names[] = { "none",  "breakpoint", "watchpoint",
                                         "catch", "step",       "position",
                                         "start", "end",        "interrupted" };
    return names[r];
}

static bool same_unit(const struct graph *g, int a, int b, enum level_choice level)
{
    const struct node *x = &g->nodes[a], *y = &g->nodes[b];
    switch (level) {
    case LEVEL_NODE: return a == b;
    case LEVEL_SUB: return x->block == y->block && !strcmp(x->sub, y->sub);
    case LEVEL_BLOCK: return x->block == y->block && (x->block >= 0 || !strcmp(x->sub, y->sub));
    case LEVEL_SPAN: break;
    }
    return true;
}

/* The node after the unit that holds `node`. */
static int unit_end(const struct graph *g, int node, enum level_choice level)
{
    int i = node + 1;
    while (i < g->n_nodes && same_unit(g, node, i, level))
        i++;
    return i;
}

/* The first node of the unit that holds `node`. */
static int unit_start(const struct graph *g, int node, enum level_choice level)
{
    int i = node;
    while (i > 0 && same_unit(g, node, i - 1, level))
        i--;
    return i;
}

static enum stop_reason reason_of(const struct breakpoint *b)
{
    return b->kind == BREAK_CATCH   ? STOP_CATCH
           : b->kind == BREAK_WATCH ? STOP_WATCHPOINT
                                    : STOP_BREAKPOINT;
}

/* What the probe of a forward movement needs. */
struct watch {
    struct session *s;
    struct session_run *r;
    struct stop *stop;
    const int *streams; /* [breaks] watched_stream(); NULL: nobody has asked */
};

/* The reference goes as far as the run that is being tested. */
static bool reference_point(void *data, int span, int value, struct tensor *out)
{
    const struct watch *w = data;
    const struct position after = { span, run_graph(w->r->run)->values[value].node + 1 };
    struct ref_source ref;
    return !session_reference(w->s, w->r, after, w->s->progress, &ref, NULL)
           && !source_read(&ref, w->r->run, span, value, out, NULL);
}

static struct break_sources sources(struct watch *w)
{
    return (struct break_sources){ w->s->models.pool, reference_point, w };
}

static void say(struct session *s, const struct breakpoint *b, const struct event *ev)
{
    struct buf line = { 0 };
    position_print(ev->run, ev->at, &line);
    buf_adds(&line, "  ");
    breakpoint_say(b, ev->run, ev->at.span, ev->x, s->models.pool, &line);
    session_say(s, buf_str(&line));
    buf_free(&line);
}

static bool probe(void *data, const struct event *ev)
{
    struct watch *w = data;
    const struct break_sources from = sources(w);
    bool stop = false;
    for (size_t i = 0; i < w->s->breaks.n; i++) {
        struct breakpoint *b = &w->s->breaks.list[i];
        struct stop found = { reason_of(b), b->number, .inside = -1 };
        if (w->streams[i] < 0
                ? !breakpoint_test(b, ev->run, ev->at.span, ev->value, ev->x, &from, &found.hit)
                : !b->enabled || !written_now(b, w->streams[i], ev, &found)
                      || !breakpoint_condition_holds(b, ev->run, ev->at.span, ev->value, ev->x,
                                                     &from))
            continue;
        b->hits++;
        if (b->ignore > 0) {
            b->ignore--;
            continue;
        }
        if (b->kind == BREAK_PRINT) {
            say(w->s, b, ev);
            continue;
        }
        if (!stop)
            *w->stop = found;
        stop = true;
    }
    return stop;
}

/* A breakpoint inside a fused kernel opens it; a catch only when it was asked to. */
static void want(struct session *s, struct run *r, int delta)
{
    const struct graph *g = run_graph(r);
    for (size_t i = 0; i < s->breaks.n; i++) {
        const struct breakpoint *b = &s->breaks.list[i];
        if (b->enabled && b->opens)
            run_want_all(r, delta);
        const int stream = b->enabled ? watched_stream(b, g) : -1;
        for (int v = 0; b->enabled && b->text && v < g->n_values; v++)
            if (breakpoint_matches(b, g, v) || writes_stream(g, stream, v))
                run_want(r, v, delta);
    }
}

/* A catch looks at what a fused kernel gives. If it holds there, it may have held inside already:
 * open the kernel and look at the points that were skipped, the first one first. */
static void localise(struct session *s, struct session_run *sr, struct stop *stop)
{
    struct run *r = sr->run;
    struct watch w = { .s = s, .r = sr, .stop = stop };
    const struct break_sources from = sources(&w);
    const struct graph *g = run_graph(r);
    const struct position at = run_position(r);
    const struct breakpoint *b = breakpoint_find(&s->breaks, stop->breakpoint);
    int first = at.node - 1;
    while (first > 0 && run_skips(r, g->nodes[first - 1].out))
        first--;
    for (int node = first; b && node < at.node - 1; node++) {
        struct tensor x;
        struct break_hit hit;
        const int v = g->nodes[node].out;
        if (!run_read(r, at.span, v, &x, NULL)
            && breakpoint_test(b, r, at.span, v, &x, &from, &hit)) {
            stop->inside = v;
            stop->hit = hit;
            return;
        }
    }
}

/* What follows from a stop at a breakpoint: its commands are due, a temporary one is gone. */
static void fired(struct session *s, const struct session_run *r, const struct stop *stop)
{
    const struct position at = run_position(r->run);
    s->moves++;
    s->caught |= stop->reason == STOP_CATCH;
    s->hit = (struct element){ 0 };
    const struct breakpoint *b = breakpoint_find(&s->breaks, stop->breakpoint);
    if (stop->breakpoint && stop->hit.element >= 0)
        s->hit = (struct element){ r, at.span,
                                   stop->inside >= 0 ? stop->inside
                                   : stop->wrote     ? stop->written
                                                     : run_graph(r->run)->nodes[at.node - 1].out,
                                   stop->hit.element,
                                   b && b->condition && condition_needs_ref(b->condition) };
    for (size_t i = 0; b && i < b->commands.n; i++)
        break_commands_add(&s->pending, &b->commands.list[i]);
    if (b && b->temporary)
        breakpoint_delete(&s->breaks, b->number);
}

enum st control_forward(struct session *s, struct session_run *r, struct position to,
                        enum stop_reason reason, struct stop *stop, struct err *e)
{
    struct stop found = { .inside = -1 };
    int *streams = x_alloc(s->breaks.n * sizeof *streams + 1);
    struct watch w = { s, r, &found, streams };
    for (size_t i = 0; i < s->breaks.n; i++)
        streams[i] = watched_stream(&s->breaks.list[i], run_graph(r->run));
    session_pool(s);
    *stop = (struct stop){ .reason = reason, .inside = -1 };
    /* A run that nobody watches may take several nodes at once. */
    const int handle = s->breaks.n ? run_probe(r->run, probe, &w) : -1;
    want(s, r->run, 1);
    bool stopped = false;
    enum st st = run_forward(r->run, to, s->progress, &stopped, e);
    want(s, r->run, -1);
    run_unprobe(r->run, handle);
    free(streams);
    if (stopped)
        *stop = found;
    else if (st == ST_CANCELLED)
        stop->reason = STOP_INTERRUPTED;
    else if (run_done(r->run))
        stop->reason = STOP_END;
    if (stop->reason == STOP_CATCH)
        localise(s, r, stop);
    fired(s, r, stop);
    return st;
}

enum st control_step(struct session *s, struct session_run *r, enum level_choice level, int64_t n,
                     struct stop *stop, struct err *e)
{
    const struct graph *g = run_graph(r->run);
    enum st st = ST_OK;
    *stop = (struct stop){ .reason = STOP_END, .inside = -1 };
    run_want_all(r->run, 1); /* somebody is looking at every node */
    for (int64_t i = 0; i < n && !st && !run_done(r->run); i++) {
        struct position at = run_position(r->run);
        if (at.node == g->n_nodes)
            at = (struct position){ at.span + 1, 0 };
        struct position to = { at.span, unit_end(g, at.node, level) };
        st = control_forward(s, r, to, STOP_STEP, stop, e);
        if (stop->breakpoint)
            break;
    }
    run_want_all(r->run, -1);
    return st;
}

enum st control_goto(struct session *s, struct session_run *r, struct position to,
                     struct stop *stop, struct err *e)
{
    *stop = (struct stop){ .reason = STOP_POSITION, .inside = -1 };
    session_pool(s);
    enum st st = ST_OK;
    if (position_compare(to, run_reached(r->run)) > 0) {
        st = run_goto(r->run, run_reached(r->run), s->progress, e);
        if (!st)
            st = run_forward(r->run, to, s->progress, NULL, e);
    } else
        st = run_goto(r->run, to, s->progress, e);
    if (st == ST_CANCELLED)
        stop->reason = STOP_INTERRUPTED;
    return st;
}

static bool at_start(struct position p) { return !p.span && !p.node; }

enum st control_reverse(struct session *s, struct session_run *r, enum level_choice level,
                        int64_t n, struct stop *stop, struct err *e)
{
    const struct graph *g = run_graph(r->run);
    struct position p = run_position(r->run);
    for (int64_t i = 0; i < n && !at_start(p); i++) {
        if (!p.node)
            p = (struct position){ p.span - 1, g->n_nodes };
        p.node = unit_start(g, p.node - 1, level);
    }
    enum st st = control_goto(s, r, p, stop, e);
    if (!st)
        stop->reason = at_start(p) ? STOP_START : STOP_STEP;
    return st;
}

/* Does anything hold at this executed point? Points that a run forward would skip are not looked
 * at.
 */
static bool holds_at(struct session *s, struct session_run *sr, int span, int value,
                     struct stop *stop)
{
    struct run *r = sr->run;
    struct watch w = { .s = s, .r = sr, .stop = stop };
    const struct break_sources from = sources(&w);
    struct tensor x;
    void *copy = NULL; /* tests may read other points */
    bool holds = false;
    for (size_t i = 0; i < s->breaks.n && !holds; i++) {
        const struct breakpoint *b = &s->breaks.list[i];
        if (!b->enabled || b->kind == BREAK_PRINT || !breakpoint_matches(b, run_graph(r), value))
            continue;
        if (!copy) {
            if (run_skips(r, value) || run_read(r, span, value, &x, NULL))
                return false;
            const size_t bytes = (size_t)shape_count(&x.shape) * sizeof(float);
            if (mem_alloc(&copy, bytes, "a point", NULL))
                return false;
            memcpy(copy, x.data, bytes);
            x.data = copy;
        }
        struct break_hit hit;
        holds = breakpoint_test(b, r, span, value, &x, &from, &hit);
        if (holds)
            *stop = (struct stop){ reason_of(b), b->number, hit, .inside = -1 };
    }
    mem_free(copy);
    return holds;
}

/* The latest of the writes that watchpoints of the stream ask for; false: there is none. */
static bool last_write(struct session *s, struct session_run *sr, struct position before,
                       struct position *at, struct stop *stop)
{
    struct run *r = sr->run;
    struct watch w = { .s = s, .r = sr, .stop = stop };
    const struct break_sources from = sources(&w);
    bool found = false;
    for (size_t i = 0; i < s->breaks.n; i++) {
        const struct breakpoint *b = &s->breaks.list[i];
        struct position one;
        struct stop what;
        if (!b->enabled || watched_stream(b, run_graph(r)) < 0
            || !written_before(b, r, before, &from, &one, &what)
            || (found && position_compare(one, *at) <= 0))
            continue;
        *at = one;
        *stop = what;
        found = true;
    }
    return found;
}

enum st control_reverse_continue(struct session *s, struct session_run *r, struct stop *stop,
                                 struct err *e)
{
    const struct graph *g = run_graph(r->run);
    struct position p = run_position(r->run), write;
    struct stop found = { .reason = STOP_START, .inside = -1 }, wrote;
    const double from = (double)p.span * g->n_nodes + p.node;
    bool holds = false, cancelled = false;
    session_pool(s);
    const bool written = last_write(s, r, p, &write, &wrote);
    want(s, r->run, 1);
    while (!at_start(p) && !holds && !cancelled) {
        p = p.node > 1 || (p.node == 1 && !p.span) ? (struct position){ p.span, p.node - 1 }
                                                   : (struct position){ p.span - 1, g->n_nodes };
        cancelled = !progress_tick(s->progress, "reverse",
                                   from - ((double)p.span * g->n_nodes + p.node), from);
        holds = p.node && holds_at(s, r, p.span, g->nodes[p.node - 1].out, &found);
        if (!holds && written && !position_compare(p, write)) {
            found = wrote;
            holds = true;
        }
    }
    want(s, r->run, -1);
    if (cancelled) { /* the run has not moved */
        *stop = (struct stop){ .reason = STOP_INTERRUPTED, .inside = -1 };
        return st_fail(e, ST_CANCELLED, "interrupted");
    }
    enum st st = control_goto(s, r, p, stop, e);
    if (!st)
        *stop = found;
    if (stop->reason == STOP_CATCH)
        localise(s, r, stop);
    fired(s, r, stop);
    return st;
}

void position_print(const struct run *r, struct position p, struct buf *out)
{
    if (p.node)
        buf_printf(out, "s%d:%s", p.span, run_graph(r)->nodes[p.node - 1].name);
    else if (p.span)
        buf_printf(out, "s%d:%s", p.span - 1, run_graph(r)->nodes[run_graph(r)->n_nodes - 1].name);
    else
        buf_adds(out, "s0:start");
}

enum st position_parse(const struct run *r, struct str text, struct position *out, struct err *e)
{
    const struct graph *g = run_graph(r);
    int span = run_position(r).span;
    struct str name = text;
    size_t digits = 1;
    while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
        digits++;
    if (text.n > digits && text.p[0] == 's' && digits > 1 && text.p[digits] == ':') {
        int64_t v;
        enum st st = parse_i64(str_of(text.p + 1, digits - 1), 0, run_n_spans(r) - 1, &v, e);
        if (st)
            return st_fail(e, st, "there is no span %.*s: the run has spans 0..%d", (int)digits - 1,
                           text.p + 1, run_n_spans(r) - 1);
        span = (int)v;
        name = str_of(text.p + digits + 1, text.n - digits - 1);
    } else if (str_is(text, "start")) {
        *out = (struct position){ 0, 0 };
        return ST_OK;
    } else if (str_is(text, "end")) {
        *out = run_end(r);
        return ST_OK;
    }
    int v = graph_point(g, name, NULL, NULL);
    if (str_is(name, "start"))
        *out = (struct position){ span, 0 };
    else if (str_is(name, "end"))
        *out = (struct position){ span, g->n_nodes };
    else if (v >= 0)
        *out = (struct position){ span, g->values[v].node + 1 };
    else {
        st_fail(e, ST_NOTFOUND, "no point `%.*s`", (int)(name.n > 100 ? 100 : name.n), name.p);
        return st_hint(e, "positions look like s0:blk.1.ffn_down.out; `when` prints the one now");
    }
    return ST_OK;
}
