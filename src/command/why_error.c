/* SPDX-License-Identifier: MIT */
/* `why` of an error: where the difference to the reference comes from, as tables. */
#include <inttypes.h>
#include <stdlib.h>

#include "command/cells.h"
#include "command/why.h"
#include "session/reference.h"
#include "study/why_error.h"

/* A number about the reference's weights, which a trace does not have. */
static void put_of_weights(struct table *t, bool trace, double x)
{
    trace ? table_skip(t) : table_float(t, x);
}

static void show_steps(struct run *r, const struct error_trace *w, bool trace, struct result *out)
{
    const struct graph *g = run_graph(r);
    struct table *t = result_table(out, "why", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_ADDRESS, "position" }, { COL_STRING, "at" }, { COL_STRING, "op" },
                  { COL_FLOAT, "value" }, { COL_FLOAT, "reference" }, { COL_FLOAT, "error" },
                  { COL_FLOAT, "weights", "", 3 }, { COL_FLOAT, "inherited", "", 3 },
                  { COL_FLOAT, "rest", "", 3 }, { COL_STRING, "verdict" });
    for (size_t i = 0; i < w->n; i++) {
        const struct error_step *s = &w->steps[i];
        table_row(t);
        why_put_position(r, s->span, s->value, t);
        why_put_place(r, s->span, s->value, s->at, t);
        table_str(t, op_info(g->nodes[g->values[s->value].node].op)->name);
        table_float(t, s->x);
        table_float(t, s->ref);
        table_float(t, s->x - s->ref);
        if (s->n_terms) {
            put_of_weights(t, trace, s->weight);
            table_float(t, s->inherited + s->scale);
            table_float(t, s->rest);
        } else
            put_absent(t, 3);
        table_str(t, error_verdict_name(s->verdict));
    }
}

/* What the error of the last step is made of, the largest first. */
static void show_terms(struct run *r, const struct error_step *s, bool trace, struct result *out)
{
    if (!s->n_top)
        return;
    struct table *t = result_table(out, "terms", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_STRING, "of" }, { COL_STRING, "at" }, { COL_FLOAT, "activation" },
                  { COL_FLOAT, "ref_activation" }, { COL_FLOAT, "factor" },
                  { COL_FLOAT, "ref_factor" }, { COL_FLOAT, "weights", "", 3 },
                  { COL_FLOAT, "inherited", "", 3 }, { COL_FLOAT, "share", "", 3 });
    for (int64_t i = 0; i < s->n_top; i++) {
        const struct error_term *term = &s->top[i];
        table_row(t);
        why_put_source(r, s->span, s->value, &term->run, t);
        if (term->run.in >= 0) {
            table_float(t, term->run.x);
            table_float(t, term->ref.x);
        } else
            put_absent(t, 2);
        table_float(t, term->run.factor);
        put_of_weights(t, trace, term->ref.factor);
        put_of_weights(t, trace, term->weight);
        table_float(t, term->inherited + term->scale);
        table_float(t, (term->weight + term->inherited + term->scale) / (s->x - s->ref));
    }
    if (s->n_terms > s->n_top)
        result_note(out, "%" PRId64 " of %" PRId64 " terms", s->n_top, s->n_terms);
}

/* Of a trace, whose weights are not there: which blocks of ours the error follows. */
static void show_blocks(struct session *s, const struct session_run *sr,
                        const struct error_trace *w, struct result *out)
{
    struct table *t = result_table(out, "blocks", TABLE_ROWS);
    TABLE_COLUMNS(t, { COL_ADDRESS, "weight" }, { COL_INT, "row" }, { COL_INT, "col" },
                  { COL_INT, "cols" }, { COL_FLOAT, "share", "", 4 },
                  { COL_FLOAT, "factor", "", 4 });
    for (int i = 0; i < w->n_blocks; i++) {
        table_row(t);
        table_strn(t, w->weight->name);
        table_int(t, w->row);
        table_int(t, w->blocks[i].col);
        table_int(t, w->blocks[i].cols);
        table_float(t, w->blocks[i].share);
        table_float(t, w->blocks[i].factor);
    }
    result_note(out,
                "made here, by row %" PRId64
                " of %.*s on the inputs of the trace (rounding too); a "
                "block's share is of the error over %" PRId64 " %s",
                w->row, (int)w->weight->name.n, w->weight->name.p, w->tokens,
                text_plural((uint64_t)w->tokens, "token", "tokens"));
    if (w->tokens < 3)
        result_note(out, "so few tokens do not tell blocks apart");
    if (w->n_blocks)
        why_show_block("weight", s, sr->model, w->weight, w->row, w->blocks[0].col, out);
    result_note(out, "a trace has no weights: the bytes are this file's, the reference's are not "
                     "there");
}

struct changed {
    const struct session *s;
    const struct session_run *r;
};

static bool is_changed(void *data, int span, int value, int64_t at)
{
    const struct changed *c = data;
    return changes_setting(c->s, c->r, span, value, at) != NULL;
}

enum st why_show_error(struct session *s, const struct element *x, struct result *out,
                       struct err *e)
{
    struct session_run *sr = session_run_of(s, x->run);
    struct changed c = { s, sr };
    struct error_trace w;
    struct ref_source ref;
    if (!sr)
        return st_fail(e, ST_STATE, "the run is gone");
    enum st st = session_reference(s, sr, run_position(sr->run), s->progress, &ref, e);
    if (!st)
        st = why_error_of(sr->run, &ref, x->span, x->value, x->at, is_changed, &c, &w, e);
    if (st)
        return st;
    const struct graph *g = run_graph(sr->run);
    const struct error_step *last = &w.steps[w.n - 1];
    show_steps(sr->run, &w, ref.trace != NULL, out);
    show_terms(sr->run, last, ref.trace != NULL, out);
    for (size_t i = 0; i < w.n; i++)
        why_note_change(s, sr, w.steps[i].span, w.steps[i].value, w.steps[i].at, out);
    const struct op_term *cause = &last->cause.run;
    const int node = g->values[last->value].node;
    const struct weight *mine = cause->slot >= 0 ? g->nodes[node].w[cause->slot] : NULL;
    if (mine)
        why_show_block("weight", s, sr->model, mine, cause->row, cause->col, out);
    if (mine && ref.run)
        why_show_block("ref_weight", s, NULL, run_graph(ref.run)->nodes[node].w[cause->slot],
                       cause->row, cause->col, out);
    if (w.weight)
        show_blocks(s, sr, &w, out);
    else if (ref.trace && last->verdict == ERROR_MADE)
        result_note(out, "made here, by this op on what the trace has for its inputs");
    error_trace_free(&w);
    return ST_OK;
}
