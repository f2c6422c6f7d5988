/* SPDX-License-Identifier: MIT */
#include "study/bisect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "study/bisect_search.h"

enum { SCREEN = 8 /* segments */ };

const char *bisect_level_name(enum bisect_level l)
{
    static const char *const names[] = { "block", "sub", "weight", "channel" };
    return names[l];
}

const char *bisect_act_name(enum bisect_act a)
{
    static const char *const names[] = { "alone", "with", "without", "joint", "only" };
    return names[a];
}

void bisect_free(struct bisect *b)
{
    for (size_t i = 0; i < b->n_places; i++) {
        free(b->places[i].name);
        free(b->places[i].members);
    }
    for (size_t i = 0; i < b->n_steps; i++)
        free(b->steps[i].place);
    free(b->places);
    free(b->steps);
    *b = (struct bisect){ 0 };
}

/* --- places ------------------------------------------------------------------------------------
 */

/* The first node that reads a weight, or the one whose value is edited; NULL: nothing reads it. */
static const struct node *node_of(const struct search *s, const struct bisect_part *p)
{
    const struct graph *g = evaluator_of(s->t->ev)->model->graph;
    if (!p->w)
        return &g->nodes[g->values[s->t->plan->transforms[p->transform].value].node];
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < NODE_MAX_WEIGHTS; k++)
            if (g->nodes[i].w[k] == p->w)
                return &g->nodes[i];
    return NULL;
}

/* Outside the blocks a sub-layer is a block of its own. */
static char *place_name(const struct search *s, const struct node *n, const struct bisect_part *p,
                        enum bisect_level level)
{
    const struct graph *g = evaluator_of(s->t->ev)->model->graph;
    struct buf b = { 0 };
    if (level >= BISECT_WEIGHT && p->w)
        buf_add(&b, p->w->name.p, p->w->name.n);
    else if (level >= BISECT_WEIGHT)
        buf_adds(&b, g->values[s->t->plan->transforms[p->transform].value].name);
    else if (n->block < 0)
        buf_adds(&b, n->sub);
    else
        buf_printf(&b, level == BISECT_SUB ? "blk.%d.%s" : "blk.%d", n->block, n->sub);
    return buf_take(&b);
}

static void groups_free(struct group *g, int n)
{
    for (int i = 0; i < n; i++) {
        free(g[i].name);
        free(g[i].members);
    }
    free(g);
}

static int by_depth(const void *a, const void *b)
{
    const struct group *x = a, *y = b;
    return (x->depth > y->depth) - (x->depth < y->depth);
}

/* Group the parts of `among` by place; edits of one point by different changes are apart. */
static struct group *groups_of(const struct search *s, const bool *among, enum bisect_level level,
                               int *n)
{
    const struct graph *graph = evaluator_of(s->t->ev)->model->graph;
    struct group *g = x_alloc(s->t->n_parts * sizeof *g + 1);
    *n = 0;
    for (size_t i = 0; i < s->t->n_parts; i++) {
        const struct bisect_part *p = &s->t->parts[i];
        const struct node *node = node_of(s, p);
        if (!among[i] || !node)
            continue;
        char *name = place_name(s, node, p, level);
        const int change = level >= BISECT_WEIGHT ? p->change : 0;
        int k = 0;
        while (k < *n && (strcmp(g[k].name, name) || g[k].change != change))
            k++;
        if (k == *n) {
            g[(*n)++] = (struct group){ .name = name,
                                        .members = x_alloc(s->t->n_parts * sizeof *g->members),
                                        .change = change,
                                        .depth = (int)(node - graph->nodes) };
        } else
            free(name);
        g[k].members[g[k].n++] = (int)i;
        const int depth = (int)(node - graph->nodes);
        g[k].depth = depth < g[k].depth ? depth : g[k].depth;
    }
    qsort(g, (size_t)*n, sizeof *g, by_depth);
    return g;
}

static void set_places(struct search *s, const struct group *g, int n)
{
    struct bisect *b = s->out;
    for (size_t i = 0; i < b->n_places; i++) {
        free(b->places[i].name);
        free(b->places[i].members);
    }
    b->n_places = 0;
    for (int i = 0; i < n; i++) {
        if (!g[i].in)
            continue;
        x_grow(&b->places, &b->cap_places, b->n_places + 1, sizeof *b->places);
        struct bisect_place *p = &b->places[b->n_places++];
        *p = (struct bisect_place){ .level = s->level,
                                    .name = x_strdup(g[i].name),
                                    .row = -1,
                                    .point = s->level >= BISECT_WEIGHT
                                             && !s->t->parts[g[i].members[0]].w,
                                    .change = g[i].change,
                                    .alone = g[i].alone,
                                    .without = NAN,
                                    .members = x_alloc((size_t)g[i].n * sizeof *p->members),
                                    .n_members = g[i].n };
        memcpy(p->members, g[i].members, (size_t)g[i].n * sizeof *p->members);
    }
}

/* One level: the places among the parts of those found so far. */
static enum st one_level(struct search *s, bool *among, enum bisect_level level, struct err *e)
{
    int n;
    struct group *g = groups_of(s, among, level, &n);
    s->level = level;
    enum st st = search_set(s, g, n, e);
    s->out->minimal = !st;
    if (!st) {
        set_places(s, g, n);
        search_mend(s, g, n, NULL);
        memcpy(among, s->mended, s->t->n_parts * sizeof *among);
    }
    groups_free(g, n);
    return st;
}

/* --- rows --------------------------------------------------------------------------------------
 */

/* Mend the places that are chosen, and nothing else; of a weight, all of its rows together. */
static enum st mend_places(struct search *s, const bool *chosen, struct err *e)
{
    const struct bisect *b = s->out;
    int64_t *rows = x_alloc((b->n_places + 1) * sizeof *rows);
    enum st st = ST_OK;
    for (size_t i = 0; i < s->t->n_parts && !st; i++) {
        int64_t n = 0;
        s->mended[i] = false;
        form_drop(s->partly[i]);
        s->partly[i] = NULL;
        for (size_t k = 0; k < b->n_places; k++) {
            const struct bisect_place *p = &b->places[k];
            for (int m = 0; chosen[k] && m < p->n_members; m++)
                if (p->members[m] == (int)i) {
                    s->mended[i] = true;
                    if (p->row >= 0)
                        rows[n++] = p->row;
                }
        }
        if (n)
            st = search_mend_rows(s, (int)i, rows, n, e);
    }
    free(rows);
    return st;
}

/* Mend all places but one, or that one alone; but == n_places: all. */
static enum st mend_but(struct search *s, size_t but, bool alone, struct err *e)
{
    const size_t n = s->out->n_places;
    bool *chosen = x_alloc(n * sizeof *chosen + 1);
    for (size_t i = 0; i < n; i++)
        chosen[i] = (i == but) == alone;
    const enum st st = mend_places(s, chosen, e);
    free(chosen);
    return st;
}

static enum st without_place(struct search *s, size_t i, struct err *e)
{
    struct bisect_place *p = &s->out->places[i];
    const enum st st = mend_but(s, i, false, e);
    return st ? st
              : search_try(s, s->before.segments, BISECT_WITHOUT, p->name,
                           (int64_t)s->out->n_places - 1, &p->without, NULL, e);
}

/* What the others do without one place is not known any more. */
static void drop_place(struct bisect *b, size_t i)
{
    free(b->places[i].name);
    free(b->places[i].members);
    b->n_places--;
    memmove(&b->places[i], &b->places[i + 1], (b->n_places - i) * sizeof *b->places);
    for (size_t k = 0; k < b->n_places; k++)
        b->places[k].without = NAN;
}

/* Take places out that the others do without, the last of each weight first, since its rows are
 * ordered by error, and go round until each has been tried beside all that are left. */
static enum st remove_rows(struct search *s, struct err *e)
{
    struct bisect *b = s->out;
    const size_t most = BISECT_ROUNDS * b->n_places;
    size_t kept = 0, at = b->n_places, tried = 0, rows = 0;
    enum st st = ST_OK;
    for (size_t i = 0; i < b->n_places; i++)
        rows += b->places[i].row >= 0;
    if (!rows)
        return ST_OK; /* these places have been tried */
    while (!st && b->n_places > 1 && kept < b->n_places && tried < most) {
        at = at ? at - 1 : b->n_places - 1;
        s->expected = s->done + (double)(b->n_places - kept);
        st = without_place(s, at, e);
        tried++;
        kept++;
        if (!st && b->places[at].without >= s->target) {
            drop_place(b, at);
            kept = 0;
        }
    }
    b->minimal = !st && (b->n_places < 2 || kept == b->n_places);
    return st;
}

static enum st rows_level(struct search *s, const bool *among, struct err *e)
{
    const size_t n = s->out->n_places; /* rows are added behind */
    enum st st = ST_OK;
    if (n > BISECT_PLACES)
        return ST_OK;
    s->level = BISECT_CHANNEL;
    s->expected = s->done + 8 * (double)n;
    for (size_t i = 0; i < n && !st; i++) {
        memcpy(s->mended, among, s->t->n_parts * sizeof *among);
        st = search_rows(s, i, e);
    }
    return st ? st : remove_rows(s, e);
}

/* --- the receipt -------------------------------------------------------------------------------
 */

/* Each place alone, and the set without it. */
static enum st measure_places(struct search *s, struct err *e)
{
    struct bisect *b = s->out;
    const size_t n = b->n_places;
    enum st st = ST_OK;
    if (n == 1) {
        b->places[0].alone = b->share.value;
        b->places[0].without = 0;
        return ST_OK;
    }
    b->alone_sum = 0;
    for (size_t i = n; i-- > 0 && !st;) {
        if (!(st = mend_but(s, i, true, e)))
            st = search_try(s, s->before.segments, BISECT_ALONE, b->places[i].name, 1,
                            &b->places[i].alone, NULL, e);
        b->alone_sum += b->places[i].alone;
    }
    for (size_t i = n; i-- > 0 && !st;)
        if (isnan(b->places[i].without))
            st = without_place(s, i, e);
    return st;
}

static int by_alone(const void *a, const void *b)
{
    const struct bisect_place *x = a, *y = b;
    return (x->alone < y->alone) - (x->alone > y->alone);
}

/* The set jointly; the set alone as it is, all else mended; each place. */
static enum st receipt(struct search *s, struct err *e)
{
    struct bisect *b = s->out;
    const size_t n = b->n_places;
    double share;
    s->expected = s->done + 2 + (n > 1 && n <= BISECT_PLACES ? 2 * (double)n : 0);
    enum st st = mend_but(s, n, false, e);
    if (!st)
        st = search_try(s, s->before.segments, BISECT_JOINT, NULL, (int64_t)n, &share, NULL, e);
    for (size_t i = 0; i < s->t->n_parts && !st; i++)
        if (s->mended[i] && s->partly[i])
            st = search_complement(s, (int)i, e);
        else
            s->mended[i] = !s->mended[i];
    if (!st)
        st = search_try(s, s->before.segments, BISECT_ONLY, NULL, (int64_t)n, &share, NULL, e);
    if (!st)
        b->only = 1 - share;
    if (!st && n <= BISECT_PLACES)
        st = measure_places(s, e);
    if (!st)
        qsort(b->places, n, sizeof *b->places, by_alone);
    return st;
}

/* --- all of it ---------------------------------------------------------------------------------
 */

static enum st start(struct search *s, struct err *e)
{
    const struct bisect_task *t = s->t;
    struct bisect *b = s->out;
    measurement_begin(t->ev, t->part, 0, &s->before);
    s->before.metric = t->metric;
    enum st st = search_measure(s, t->plan, &s->before, e);
    b->before = measurement_damage(&s->before, t->metric);
    b->broken = s->before.broken;
    if (st)
        return st;
    s->screen = s->before.segments < SCREEN ? s->before.segments : SCREEN;
    const double far = t->metric->kind == METRIC_LOGITDIFF ? fabs(b->before.value)
                                                           : b->before.value;
    if (!(far > 0) && !isnan(far))
        return st_fail(e, ST_STATE,
                       "there is nothing to explain: the model is not behind the "
                       "reference by this metric (%g)",
                       b->before.value);
    for (size_t i = 0; i < t->n_parts; i++)
        s->mended[i] = true;
    st = search_try(s, s->before.segments, BISECT_WITH, NULL, (int64_t)t->n_parts, &b->all, NULL,
                    e);
    b->reached = b->all >= t->share;
    s->target = b->reached ? t->share : t->share * b->all;
    if (!st && !(b->all > 0))
        st = st_fail(e, ST_STATE,
                     "what differs explains none of it: with all of it as in the reference the "
                     "share explained is %.3g",
                     b->all);
    return st;
}

enum st bisect_run(const struct bisect_task *t, struct progress *p, struct bisect *out,
                   struct err *e)
{
    *out = (struct bisect){ .only = NAN, .all = NAN, .alone_sum = NAN };
    out->after.value = out->share.value = NAN;
    out->after.low = out->after.high = out->share.low = out->share.high = NAN;
    struct search s = { .t = t, .out = out, .front = p };
    s.mended = x_alloc(t->n_parts * sizeof *s.mended + 1);
    s.partly = x_alloc(t->n_parts * sizeof(struct form *) + 1);
    bool *among = x_alloc(t->n_parts * sizeof *among + 1);
    for (size_t i = 0; i < t->n_parts; i++)
        among[i] = true;
    enum st st = start(&s, e);
    for (int level = 0; level <= (int)t->level && level < BISECT_CHANNEL && !st; level++)
        st = one_level(&s, among, (enum bisect_level)level, e);
    if (!st && t->level == BISECT_CHANNEL)
        st = rows_level(&s, among, e);
    if (!st)
        st = receipt(&s, e);
    out->complete = !st;
    for (size_t i = 0; i < t->n_parts; i++)
        form_drop(s.partly[i]);
    measurement_free(&s.before);
    free(s.mended);
    free(s.partly);
    free(among);
    return st;
}
