/* SPDX-License-Identifier: MIT */
#include "command/stops.h"

#include <inttypes.h>

#include "command/cells.h"
#include "command/facts.h"
#include "command/look.h"
#include "command/why.h"
#include "kernels/statistics.h"

/* What stands at the point now; what a breakpoint found there, if one did. */
static void evidence(struct session_run *r, const struct stop *stop, int span, int value,
                     struct table *t, struct result *out)
{
    struct tensor x;
    struct summary sum;
    const struct break_hit *hit = stop->breakpoint && *stop->hit.why.what ? &stop->hit : NULL;
    if (run_read(r->run, span, value, &x, NULL))
        return;
    summary_of(NULL, x.data, shape_count(&x.shape), &sum);
    struct buf axes = { 0 };
    shape_print(&x.shape, &axes);
    table_str(t, buf_str(&axes));
    table_str(t, hit ? hit->why.what : "absmax");
    table_float(t, hit ? hit->why.value : sum.absmax);
    table_str(t, hit && *hit->place ? hit->place : NULL);
    table_int(t, sum.nan);
    table_int(t, sum.inf);
    if (sum.nan + sum.inf)
        result_note(out, "%d %s NaN, %d infinite", (int)sum.nan,
                    text_plural((uint64_t)sum.nan, "value is", "values are"), (int)sum.inf);
    buf_free(&axes);
}

static void stop_table(struct session_run *r, const struct stop *stop, struct result *out)
{
    const struct graph *g = run_graph(r->run);
    struct position at = run_position(r->run);
    struct buf position = { 0 };
    position_print(r->run, at, &position);
    struct table *t = result_table(out, "stop", TABLE_LINE);
    TABLE_COLUMNS(t, { COL_STRING, "reason" }, { COL_INT, "number" }, { COL_ADDRESS, "position" },
                  { COL_ADDRESS, "point", .quiet = true }, { COL_STRING, "axes" },
                  { COL_STRING, "statistic" }, { COL_FLOAT, "value" }, { COL_STRING, "at" },
                  { COL_INT, "nan", .quiet = true }, { COL_INT, "inf", .quiet = true });
    table_row(t);
    table_str(t, stop_name(stop->reason));
    put_positive(t, stop->breakpoint);
    table_str(t, buf_str(&position));
    if (at.node) {
        const int value = stop->inside >= 0 ? stop->inside : g->nodes[at.node - 1].out;
        table_str(t, g->values[value].name);
        evidence(r, stop, at.span, value, t, out);
        if (stop->inside >= 0)
            result_note(out, "it begins inside the fused kernel, at %s", g->values[value].name);
    }
    if (stop->breakpoint && stop->hit.changed)
        result_note(out, "%s was %.6g before", stop->hit.why.what, stop->hit.before);
    buf_free(&position);
}

/* What the dynamic prints had to say on the way here. */
static void show_said(struct session *s, struct result *out)
{
    for (size_t i = 0; i < s->said.n; i++)
        result_line(out, "dprintf", "%s", s->said.lines[i]);
    if (s->said.lost)
        result_note(out, "%" PRId64 " more lines of dprintf were not kept", s->said.lost);
    session_said_clear(s);
}

enum st show_stop(struct session *s, enum st st, const struct stop *stop, struct result *out,
                  struct err *e)
{
    if (st && st != ST_CANCELLED)
        return st;
    show_said(s, out);
    if (s->models.run)
        stop_table(s->models.run, stop, out);
    if (st) {
        out->status = RESULT_PARTIAL;
        return st;
    }
    if (stop->wrote && s->hit.run && (st = why_show_writer(s, &s->hit, out, e)))
        return st;
    if (stop->reason == STOP_CATCH && !s->interactive && s->hit.run
        && (st = why_show(s, &s->hit, out, e)))
        return st;
    out->status = stop->reason == STOP_CATCH ? RESULT_FOUND : RESULT_STOPPED;
    return displays_show(s, out, e);
}

void show_where(const struct session_run *r, struct result *out)
{
    const struct graph *g = run_graph(r->run);
    struct position at = run_position(r->run);
    struct span span = run_span(r->run,
                                at.span < run_n_spans(r->run) ? at.span : run_n_spans(r->run) - 1);
    struct buf b = { 0 };
    struct table *t = result_table(out, "where", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "level" }, { COL_STRING, "what" }, { COL_INT, "done" },
                  { COL_INT, "of" });
    table_row(t);
    table_str(t, "span");
    session_token_text(r, run_tokens(r->run)[span.first], &b);
    if (span.n > 1) {
        buf_adds(&b, " ... ");
        session_token_text(r, run_tokens(r->run)[span.first + span.n - 1], &b);
    }
    table_fmt(t, "tokens %d..%d  %s", (int)span.first, (int)(span.first + span.n - 1), buf_str(&b));
    table_int(t, at.span + 1);
    table_int(t, run_n_spans(r->run));
    const struct node *n = at.node ? &g->nodes[at.node - 1] : NULL;
    if (n && n->block >= 0) {
        table_row(t);
        table_str(t, "block");
        table_fmt(t, "blk.%d", n->block);
        table_int(t, n->block + 1);
        table_int(t, g->n_blocks);
    }
    if (n) {
        table_row(t);
        table_str(t, "sub");
        table_str(t, n->sub);
    }
    table_row(t);
    table_str(t, "node");
    if (n)
        table_fmt(t, "%s  (%s)", n->name, op_info(n->op)->name);
    else
        table_str(t, "start");
    table_int(t, at.node);
    table_int(t, g->n_nodes);
    buf_free(&b);
}

void show_nodes(const struct graph *g, int first, int end, int here, struct str glob,
                struct result *out)
{
    struct table *t = result_table(out, "nodes", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "at" }, { COL_INT, "node" }, { COL_ADDRESS, "point" },
                  { COL_STRING, "op" }, { COL_STRING, "axes" }, { COL_STRING, "weight" });
    for (int i = first; i < end; i++) {
        const struct node *n = &g->nodes[i];
        if (glob.n && !graph_names(g, glob, n->out))
            continue;
        struct buf axes = { 0 };
        shape_print(&g->values[n->out].shape, &axes);
        table_row(t);
        table_str(t, i == here ? "-->" : "");
        table_int(t, i);
        table_str(t, n->name);
        table_str(t, op_info(n->op)->name);
        table_str(t, buf_str(&axes));
        facts_weight_cell(n->w[0], t);
        buf_free(&axes);
    }
}
