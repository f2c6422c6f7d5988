/* SPDX-License-Identifier: MIT */
/* Candidates: the names in a session that may complete what a user has begun to write. */
#include <stdio.h>
#include <string.h>

#include "graph/glob.h"
#include "kernels/statistics.h"
#include "session/lookup.h"
#include "session/session.h"

struct search {
    struct session *s;
    const struct session_model *m; /* NULL if none */
    struct str prefix;             /* what was written, whole */
    size_t head;                   /* bytes of it that every candidate keeps: `who!` */
    void (*add)(void *data, const char *name);
    void *data;
};

/* Offer the kept head and then `name` and `tail`; false: what was written is not like it. */
static bool offer(const struct search *q, size_t head, struct str name, const char *tail)
{
    struct buf b = { 0 };
    buf_add(&b, q->prefix.p, head);
    buf_add(&b, name.p, name.n);
    buf_adds(&b, tail);
    const bool fits = b.n >= q->prefix.n && !memcmp(b.p, q->prefix.p, q->prefix.n);
    if (fits)
        q->add(q->data, b.p);
    buf_free(&b);
    return fits;
}

static void offer_weights(const struct search *q)
{
    for (size_t i = 0; q->m && i < q->m->model->weights->n; i++)
        offer(q, q->head, q->m->model->weights->list[i].name, "");
}

/* The names of other engines only where nothing of ours begins so. */
static void offer_points(const struct search *q)
{
    const struct graph *g = q->m ? q->m->model->graph : NULL;
    bool any = false;
    for (int foreign = 0; g && foreign < 2 && !any; foreign++)
        for (int i = 0; i < graph_n_points(g); i++)
            if ((i >= g->n_values && g->aliases[i - g->n_values].naming) == (bool)foreign)
                any |= offer(q, q->head, str_from(graph_point_name(g, i)), "");
}

/* The shape of the first weight or point that the glob `name` matches. */
static bool find_shape(const struct search *q, struct str name, struct shape *out)
{
    const struct weights *w = q->m->model->weights;
    const struct graph *g = q->m->model->graph;
    for (size_t i = 0; i < w->n; i++)
        if (glob_match(name, w->list[i].name)) {
            *out = weight_shape(&w->list[i]);
            return true;
        }
    for (int i = 0; g && i < graph_n_points(g); i++) {
        struct str point = str_from(graph_point_name(g, i));
        if (glob_match(name, point))
            return graph_point(g, point, out, NULL) >= 0;
    }
    return false;
}

/* The `[` of a slice that is not closed yet; -1 if there is none. */
static int open_slice(struct str s)
{
    int open = -1;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '[')
            open = (int)i;
        else if (s.p[i] == ']')
            open = -1;
    return open;
}

/* Axes that the slice does not name yet, as `axis=`. */
static void offer_axes(const struct search *q, size_t open)
{
    struct shape shape;
    struct str name = str_of(q->prefix.p + q->head, open - q->head);
    if (!q->m || !find_shape(q, name, &shape))
        return;
    size_t item = q->prefix.n;
    while (q->prefix.p[item - 1] != '[' && q->prefix.p[item - 1] != ',')
        item--;
    while (item < q->prefix.n && q->prefix.p[item] == ' ')
        item++;
    for (int d = 0; d < shape.rank; d++) {
        struct str axis = str_from(axis_info(shape.d[d].axis)->name);
        bool used = false;
        for (size_t i = open + 1; i + axis.n < item; i++)
            used = used
                   || (!memcmp(q->prefix.p + i, axis.p, axis.n) && q->prefix.p[i + axis.n] == '='
                       && strchr("[, ", q->prefix.p[i - 1]));
        if (!used)
            offer(q, item, axis, "=");
    }
}

/* Models and runs, in front of a `!`. */
static void offer_owners(const struct search *q, const char *tail, bool models, bool runs)
{
    const struct session_models *m = &q->s->models;
    for (size_t i = 0; models && i < m->n_models; i++)
        offer(q, 0, str_from(m->models[i]->name), tail);
    for (size_t i = 0; runs && i < m->n_runs; i++)
        offer(q, 0, str_from(m->runs[i]->name), tail);
}

/* `who!` at the beginning chooses the model. */
static void take_owner(struct search *q)
{
    const char *mark = memchr(q->prefix.p, '!', q->prefix.n);
    if (!mark)
        return;
    struct str who = str_of(q->prefix.p, (size_t)(mark - q->prefix.p));
    const char *colon = memchr(who.p, ':', who.n);
    if (colon)
        who.n = (size_t)(colon - who.p);
    struct session_run *run = session_find_run(q->s, who);
    q->m = run ? run->model : session_find_model(q->s, who);
    q->head = (size_t)(mark - q->prefix.p) + 1;
}

static void offer_address(struct search *q, bool weights, bool points)
{
    take_owner(q);
    int open = open_slice(q->prefix);
    if (open >= 0 && (size_t)open >= q->head) {
        offer_axes(q, (size_t)open);
        return;
    }
    if (weights)
        offer_weights(q);
    if (points)
        offer_points(q);
    if (!q->head && q->s->models.n_models > 1)
        offer_owners(q, "!", true, true);
}

static void offer_statistics(const struct search *q)
{
    for (size_t i = 0; i < statistic_count(); i++)
        if (statistic_at(i)->kind <= STATISTIC_ROW && !strchr(statistic_at(i)->name, '/'))
            offer(q, 0, str_from(statistic_at(i)->name), "(");
    for (int i = 0; i < 4; i++)
        offer(q, 0, str_from((const char *[]){ "abs", "exp", "log", "sqrt" }[i]), "(");
    for (size_t i = 0; i < q->s->values.n_named; i++) {
        struct buf b = { 0 };
        buf_printf(&b, "$%s", q->s->values.named[i].name);
        offer(q, 0, str_of(buf_str(&b), b.n), "");
        buf_free(&b);
    }
}

static void offer_conditions(const struct search *q)
{
    for (size_t i = 0; i < condition_words(); i++) {
        bool opens;
        const char *name = condition_word(i, &opens);
        if (name)
            offer(q, 0, str_from(name), opens ? "(" : "");
    }
}

/* Statistics of one array in front of a `(`, points behind it. */
static void offer_watched(struct search *q)
{
    const char *open = memchr(q->prefix.p, '(', q->prefix.n);
    for (size_t i = 0; !open && i < statistic_count(); i++)
        if (watch_takes(statistic_at(i)))
            offer(q, 0, str_from(statistic_at(i)->name), "(");
    if (!open) {
        offer_address(q, false, true);
        return;
    }
    q->head = (size_t)(open - q->prefix.p) + 1;
    const int slice = open_slice(q->prefix);
    if (slice >= 0)
        offer_axes(q, (size_t)slice);
    else
        offer_points(q);
}

/* Blocks of the model, and their sub-layers. */
static void offer_blocks(const struct search *q, bool subs)
{
    const struct graph *g = q->m ? q->m->model->graph : NULL;
    struct buf b = { 0 };
    for (int i = 0; g && i < g->n_nodes; i++)
        for (int sub = 0; g->nodes[i].block >= 0 && sub <= subs; sub++) {
            buf_clear(&b);
            buf_printf(&b, "blk.%d%s%s", g->nodes[i].block, sub ? "." : "",
                       sub ? g->nodes[i].sub : "");
            offer(q, 0, str_of(buf_str(&b), b.n), "");
        }
    buf_free(&b);
}

static void offer_breaks(const struct search *q)
{
    char number[16];
    for (size_t i = 0; i < q->s->breaks.n; i++) {
        snprintf(number, sizeof number, "%d", q->s->breaks.list[i].number);
        offer(q, 0, str_from(number), "");
    }
}

/* Positions are `sN:` and the name of a node; the span that was written, else the first. */
static void offer_positions(struct search *q)
{
    const char *colon = memchr(q->prefix.p, ':', q->prefix.n);
    const struct graph *g = q->m ? q->m->model->graph : NULL;
    if (!colon) {
        offer(q, 0, STR("s0:"), "");
        return;
    }
    for (int i = 0; g && i < g->n_nodes; i++)
        offer(q, (size_t)(colon - q->prefix.p) + 1, str_from(g->nodes[i].name), "");
}

void session_names(struct session *s, enum arg_kind kind, struct str prefix,
                   void (*add)(void *data, const char *name), void *data)
{
    struct search q = { s, s->models.model, prefix, 0, add, data };
    switch (kind) {
    case ARG_EXPR:
        offer_address(&q, true, true);
        offer_statistics(&q);
        break;
    case ARG_ADDRESS: offer_address(&q, true, true); break;
    case ARG_WEIGHT: offer_address(&q, true, false); break;
    case ARG_POINT: offer_address(&q, false, true); break;
    case ARG_RUN: offer_owners(&q, "", false, true); break;
    case ARG_MODEL: offer_owners(&q, "", true, false); break;
    case ARG_OWNER: offer_owners(&q, "", true, true); break;
    case ARG_BREAK: offer_breaks(&q); break;
    case ARG_POSITION: offer_positions(&q); break;
    case ARG_BLOCK:
    case ARG_SUB: offer_blocks(&q, kind == ARG_SUB); break;
    case ARG_CONDITION: offer_conditions(&q); break;
    case ARG_WATCH: offer_watched(&q); break;
    default: break;
    }
}
