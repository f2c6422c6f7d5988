/* SPDX-License-Identifier: MIT */
/* `dla`: direct logit attribution. */
#include <inttypes.h>
#include <stdlib.h>

#include "command/cells.h"
#include "command/verbs_analyse.h"
#include "study/dla.h"

enum { NEURONS = 10, MOST_NEURONS = 100000 };

/* `by neuron [N]` at word *i. */
static enum st by_words(const struct call *c, int *i, int64_t *neurons, struct err *e)
{
    if (*i + 1 >= c->n_words || !str_is(c->words[*i + 1].text, "neuron"))
        return call_fail(c, *i + 1, e, ST_SYNTAX, "by what? by neuron");
    ++*i;
    *neurons = NEURONS;
    if (*i + 1 < c->n_words && c->words[*i + 1].text.n && c->words[*i + 1].text.p[0] >= '0'
        && c->words[*i + 1].text.p[0] <= '9') {
        ++*i;
        enum st st = parse_i64(c->words[*i].text, 1, MOST_NEURONS, neurons, e);
        return st ? st_at(e, c->words[*i].column, c->words[*i].length) : ST_OK;
    }
    return ST_OK;
}

/* [TOKEN] [vs TOKEN] [tok=I] [by neuron [N]]; ids -1 where none is given. */
static enum st dla_words(const struct session_run *r, const struct call *c, int32_t ids[2],
                         int64_t *tok, int64_t *neurons, struct err *e)
{
    int n = 0;
    bool versus = false;
    ids[0] = ids[1] = -1;
    *neurons = 0;
    *tok = run_n_tokens(r->run) - 1;
    for (int i = 0; i < c->n_words; i++) {
        const struct word *w = &c->words[i];
        enum st st = ST_OK;
        if (is_token_word(w))
            st = token_word(c, i, run_n_tokens(r->run), tok, e);
        else if (!w->quoted && str_is(w->text, "by"))
            st = by_words(c, &i, neurons, e);
        else if (!versus && n == 1 && !w->quoted && str_is(w->text, "vs"))
            versus = true;
        else if (n == 1 + versus)
            st = call_fail(c, i, e, ST_SYNTAX,
                           "expected `vs TOKEN`, tok=I, `by neuron`, or nothing more");
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
    TABLE_COLUMNS(t, { COL_ADDRESS, "point" }, { COL_INT, "head" }, { COL_FLOAT, "adds" },
                  { COL_FLOAT, "sum" });
    double sum = 0;
    for (size_t i = 0; i < d->n; i++) {
        const struct dla_part *p = &d->parts[i];
        table_row(t);
        table_str(t, p->value < 0 ? "biases" : run_graph(r->run)->values[p->value].name);
        put_index(t, p->head);
        table_float(t, p->x);
        if (p->head < 0)
            table_float(t, sum += p->x);
    }
    t = result_table(out, "logit", TABLE_RECORD);
    TABLE_COLUMNS(t, { COL_FLOAT, "sum" }, { COL_FLOAT, "logit" }, { COL_FLOAT, "rest" });
    table_row(t);
    table_float(t, d->sum);
    table_float(t, d->logit);
    table_float(t, d->rest);
}

/* The largest, and what all the others give together. */
static void show_neurons(const struct session_run *r, const struct dla *d, struct result *out)
{
    struct table *t = result_table(out, "neurons", TABLE_ROWS);
    double listed = 0;
    TABLE_COLUMNS(t, { COL_ADDRESS, "point" }, { COL_INT, "neuron" }, { COL_FLOAT, "activation" },
                  { COL_FLOAT, "adds" }, { COL_FLOAT, "sum" });
    for (size_t i = 0; i < d->n_neurons; i++) {
        table_row(t);
        table_str(t, run_graph(r->run)->values[d->neurons[i].value].name);
        table_int(t, d->neurons[i].neuron);
        table_float(t, d->neurons[i].activation);
        table_float(t, d->neurons[i].x);
        table_float(t, listed += d->neurons[i].x);
    }
    table_row(t);
    table_str(t, "others");
    put_absent(t, 2);
    table_float(t, d->others);
    table_float(t, listed + d->others);
    result_note(out, "%zu of %" PRId64 " neurons", d->n_neurons, d->all_neurons);
}

enum st run_dla(struct session *s, const struct call *c, struct result *out, struct err *e)
{
    struct session_run *r;
    struct dla d;
    int32_t ids[2];
    int64_t tok, neurons;
    enum st st = session_need_run(s, &r, e);
    if (!st)
        st = dla_words(r, c, ids, &tok, &neurons, e);
    if (!st && ids[0] < 0)
        st = top_token(r, tok, &ids[0], e);
    if (!st)
        st = dla_of(r->run, tok, ids[0], ids[1], (size_t)neurons, s->progress, &d, e);
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
    if (neurons)
        show_neurons(r, &d, out);
    dla_free(&d);
    return ST_OK;
}
