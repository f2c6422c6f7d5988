/* SPDX-License-Identifier: MIT */
/* `dla`: direct logit attribution. */
#include <stdlib.h>

#include "command/verbs_analyse.h"
#include "study/dla.h"

/* [TOKEN] [vs TOKEN] [tok=I]; ids -1 where none is given. */
static enum st dla_words(const struct session_run *r, const struct call *c, int32_t ids[2],
                         int64_t *tok, struct err *e)
{
    int n = 0;
    bool versus = false;
    ids[0] = ids[1] = -1;
    *tok = run_n_tokens(r->run) - 1;
    for (int i = 0; i < c->n_words; i++) {
        const struct word *w = &c->words[i];
        enum st st = ST_OK;
        if (is_token_word(w))
            st = token_word(c, i, run_n_tokens(r->run), tok, e);
        else if (!versus && n == 1 && !w->quoted && str_is(w->text, "vs"))
            versus = true;
        else if (n == 1 + versus)
            st = call_fail(c, i, e, ST_SYNTAX, "expected `vs TOKEN`, tok=I, or nothing more");
        else
            st = token_of(r, c, i, &ids[n++], e);
        if (st)
            return st;
    }
    return versus && n < 2 ? call_fail(c, c->n_words, e, ST_SYNTAX, "against which token?") : ST_OK;
}

/* The token with the highest logit. */
static enum st top_token(struct session_run *r, int64_t tok, int32_t *id, struct err *e)
{
    const struct graph *g = run_graph(r->run);
    const int span = run_span_of(r->run, tok);
    struct tensor x;
    if (g->logits < 0)
        return st_fail(e, ST_UNSUPPORTED, "the model has no output head");
    enum st st = run_read(r->run, span, g->logits, &x, e);
    if (st)
        return st;
    const float *logits = x.data + (tok - run_span(r->run, span).first) * g->vocab;
    *id = 0;
    for (int64_t i = 1; i < g->vocab; i++)
        if (logits[i] > logits[*id])
            *id = (int32_t)i;
    return ST_OK;
}

static void show_dla(const struct session_run *r, const struct dla *d, struct result *out)
{
    struct table *t = result_table(out, "dla", TABLE_ROWS);
    table_column(t, COL_ADDRESS, "point", "");
    table_column(t, COL_INT, "head", "");
    table_column(t, COL_FLOAT, "adds", "");
    table_column(t, COL_FLOAT, "sum", "");
    double sum = 0;
    for (size_t i = 0; i < d->n; i++) {
        const struct dla_part *p = &d->parts[i];
        table_row(t);
        table_str(t, p->value < 0 ? "biases" : run_graph(r->run)->values[p->value].name);
        if (p->head < 0)
            table_skip(t);
        else
            table_int(t, p->head);
        table_float(t, p->x);
        if (p->head < 0)
            table_float(t, sum += p->x);
    }
    t = result_table(out, "logit", TABLE_RECORD);
    table_column(t, COL_FLOAT, "sum", "");
    table_column(t, COL_FLOAT, "logit", "");
    table_column(t, COL_FLOAT, "rest", "");
    table_row(t);
    table_float(t, d->sum);
    table_float(t, d->logit);
    table_float(t, d->rest);
}

enum st run_dla(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_run *r;
    struct dla d;
    int32_t ids[2];
    int64_t tok;
    enum st st = session_need_run(s, &r, e);
    if (!st)
        st = dla_words(r, c, ids, &tok, e);
    if (!st && ids[0] < 0)
        st = top_token(r, tok, &ids[0], e);
    if (!st)
        st = dla_of(r->run, tok, ids[0], ids[1], s->progress, &d, e);
    if (st)
        return st;
    struct buf b = { 0 };
    session_token_text(r, ids[0], &b);
    if (ids[1] >= 0) {
        buf_adds(&b, "\" less that of \"");
        session_token_text(r, ids[1], &b);
    }
    result_note(out, "logit of \"%s\" after token %d", buf_str(&b), (int)tok);
    buf_free(&b);
    show_dla(r, &d, out);
    dla_free(&d);
    return ST_OK;
}
