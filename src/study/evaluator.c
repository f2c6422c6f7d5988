/* SPDX-License-Identifier: MIT */
#include "study/evaluator.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "study/follow.h"
#include "study/scorer.h"

enum { BATCH = SCORER_BATCH /* segments that pass together */ };

/* A batch of segments and the run of the model that holds it. */
struct slot {
    struct evaluation_part part;
    int64_t batch;
    struct run *run, *beside; /* beside: of the reference, for splices; NULL until one asks */
    bool fed;                 /* run holds the batch; else it is another one's */
    struct follower plan;     /* what the run is under */
};

struct evaluator {
    struct evaluation o;
    int64_t scored;            /* tokens of a segment */
    struct slot *slots;        /* [n_slots] */
    size_t n_slots, max_slots; /* max_slots 0: one slot that every batch passes through */
    struct run *ref;           /* run of the reference, over any batch */
    struct slot ref_holds;     /* which one: part and batch; fed = false: none */
    struct scorer *scorer;
    int32_t *ids, *seq; /* of a batch */
};

static enum st check(const struct model *m, const struct evaluation_set *set, struct err *e)
{
    if (!m->graph) {
        if (e)
            *e = m->no_graph;
        return m->no_graph.st;
    }
    if (m->graph->logits < 0)
        return st_fail(e, ST_UNSUPPORTED, "the model has no output head");
    for (int64_t i = 0; i < set->segments * set->tokens; i++)
        if (set->ids[i] < 0 || set->ids[i] >= m->graph->vocab)
            return st_fail(e, ST_FORMAT, "token %d of the text is not in the model's vocabulary",
                           set->ids[i]);
    return ST_OK;
}

/* The same, and the vocabulary of the reference. */
static enum st check_model(const struct evaluation *o, const struct model *m, struct err *e)
{
    enum st st = check(m, o->set, e);
    if (!st && o->ref->graph->vocab != m->graph->vocab)
        st = st_fail(e, ST_UNSUPPORTED, "the vocabularies differ: %d tokens, reference %d",
                     (int)m->graph->vocab, (int)o->ref->graph->vocab);
    return st;
}

/* How many batches can have a run each. */
static void share_slots(struct evaluator *ev)
{
    const struct run_memory need = run_predict(ev->o.model, ev->o.options.mode,
                                               BATCH * ev->o.set->tokens, 0);
    const size_t one = need.state + need.values + need.checkpoints + 1;
    ev->max_slots = ev->o.once ? 0 : ev->o.memory / 2 / one;
}

enum st evaluator_new(const struct evaluation *what, struct evaluator **out, struct err *e)
{
    enum st st = check(what->ref, what->set, e);
    if (!st)
        st = check_model(what, what->model, e);
    struct scorer *scorer;
    if (st || (st = scorer_new(what->set, what->ref, 0, what->memory / 4, &scorer, e)))
        return st;
    struct evaluator *ev = x_alloc(sizeof *ev);
    ev->o = *what;
    ev->o.options.span = 0;
    ev->o.options.cancel = NULL;
    ev->scored = evaluation_scored(what->set);
    ev->scorer = scorer;
    const size_t tokens = (size_t)(BATCH * what->set->tokens);
    ev->ids = x_alloc(2 * tokens * sizeof *ev->ids);
    ev->seq = ev->ids + tokens;
    struct run_options o = ev->o.options;
    o.checkpoint_bytes = RUN_NO_CHECKPOINTS;
    ev->ref = run_new(what->ref, &o);
    ev->o.options.plan = NULL; /* the reference has its copy */
    share_slots(ev);
    *out = ev;
    return ST_OK;
}

static void slot_free(struct slot *s)
{
    run_free(s->run);
    run_free(s->beside);
    follower_free(&s->plan);
}

static void free_slots(struct evaluator *ev)
{
    for (size_t i = 0; i < ev->n_slots; i++)
        slot_free(&ev->slots[i]);
    ev->n_slots = 0;
}

enum st evaluator_set_model(struct evaluator *ev, const struct model *m, struct err *e)
{
    enum st st = check_model(&ev->o, m, e);
    if (st)
        return st;
    free_slots(ev);
    ev->o.model = m;
    share_slots(ev);
    return ST_OK;
}

void evaluator_free(struct evaluator *ev)
{
    if (!ev)
        return;
    free_slots(ev);
    scorer_free(ev->scorer);
    run_free(ev->ref);
    free(ev->slots);
    free(ev->ids);
    free(ev);
}

const struct evaluation *evaluator_of(const struct evaluator *ev) { return &ev->o; }

void evaluator_set_pool(struct evaluator *ev, struct pool *pool)
{
    ev->o.options.pool = pool;
    run_set_pool(ev->ref, pool);
    for (size_t i = 0; i < ev->n_slots; i++) {
        run_set_pool(ev->slots[i].run, pool);
        if (ev->slots[i].beside)
            run_set_pool(ev->slots[i].beside, pool);
    }
}

/* --- runs --------------------------------------------------------------------------------------
 */

void evaluator_settle(struct evaluator *ev)
{
    for (size_t i = 0; i < ev->n_slots; i++)
        follower_settle(&ev->slots[i].plan, ev->slots[i].run);
}

static bool same_batch(const struct slot *a, const struct slot *b)
{
    return a->fed && a->batch == b->batch && a->part.from == b->part.from
           && a->part.step == b->part.step && a->part.anytime == b->part.anytime;
}

/* The slot of a batch: its own, a new one while there is room, else the last. */
static struct slot *slot_for(struct evaluator *ev, const struct slot *want)
{
    for (size_t i = 0; i < ev->n_slots; i++)
        if (same_batch(&ev->slots[i], want))
            return &ev->slots[i];
    const bool room = !ev->n_slots || ev->n_slots < ev->max_slots;
    if (room) {
        struct run_options o = ev->o.options;
        if (!ev->max_slots)
            o.checkpoint_bytes = RUN_NO_CHECKPOINTS;
        ev->slots = x_realloc(ev->slots, (ev->n_slots + 1) * sizeof *ev->slots);
        ev->slots[ev->n_slots++] = (struct slot){ .run = run_new(ev->o.model, &o) };
    }
    struct slot *s = &ev->slots[ev->n_slots - 1];
    s->part = want->part;
    s->batch = want->batch;
    s->fed = false;
    return s;
}

/* Segments of a batch: always as many as the part has for it, however few are asked for. */
static int64_t batch_segments(const struct evaluator *ev, const struct slot *s)
{
    const int64_t left = part_segments(ev->o.set, s->part) - s->batch * BATCH;
    return left < BATCH ? left : BATCH;
}

static enum st feed(struct evaluator *ev, const struct slot *s, struct run *r, struct err *e)
{
    const int64_t tokens = ev->o.set->tokens, n = batch_segments(ev, s);
    for (int64_t i = 0; i < n; i++) {
        const int64_t segment = part_segment(ev->o.set, s->part, s->batch * BATCH + i);
        memcpy(ev->ids + i * tokens, ev->o.set->ids + segment * tokens,
               (size_t)tokens * sizeof *ev->ids);
        for (int64_t t = 0; t < tokens; t++)
            ev->seq[i * tokens + t] = (int32_t)i;
    }
    return run_input(r, ev->ids, ev->seq, NULL, n * tokens, e);
}

static bool wants_beside(const struct plan *plan)
{
    for (size_t i = 0; plan && i < plan->n_transforms; i++)
        if (plan->transforms[i].beside)
            return true;
    return false;
}

/* A run of the reference over the same batch, for transforms that look there. */
static enum st bring_beside(struct evaluator *ev, struct slot *s, const struct plan *plan,
                            struct err *e)
{
    if (!wants_beside(plan) || s->beside)
        return ST_OK;
    struct run_options o = ev->o.options;
    o.plan = run_plan(ev->ref);
    s->beside = run_new(ev->o.ref, &o);
    run_set_beside(s->run, s->beside);
    return feed(ev, s, s->beside, e);
}

/* --- passes ------------------------------------------------------------------------------------
 */

struct shown {
    struct progress *front;
    const struct measurement *m;
    double from, share; /* of the batch's part that runs */
    int64_t batch;
};

static bool show(const struct shown *s, double part)
{
    return progress_tick(s->front, "kl",
                         (double)s->m->segments + (s->from + part * s->share) * (double)s->batch,
                         (double)s->m->segments_of);
}

static void show_part(struct progress *p, const char *label, double done, double total)
{
    if (total > 0 && !strcmp(label, "run"))
        show(p->data, done / total);
}

/* Run up to what the output head reads. */
static enum st pass(struct run *r, struct shown *shown, struct tensor *hidden, struct err *e)
{
    const struct graph *g = run_graph(r);
    const struct position to = { 0, g->values[g->hidden].node + 1 };
    struct progress inside = { show_part, shown->front ? shown->front->cancel : NULL, shown };
    enum st st = ST_OK;
    if (position_compare(run_position(r), to) < 0)
        st = run_forward(r, to, &inside, NULL, e);
    return st ? st : run_read(r, 0, g->hidden, hidden, e);
}

static int64_t hidden_width(const struct model *m)
{
    return shape_per_token(&m->graph->values[m->graph->hidden].shape);
}

/* The reference over the batch. */
static enum st pass_reference(struct evaluator *ev, const struct slot *s, struct shown *shown,
                              struct tensor *hidden, struct err *e)
{
    enum st st = ST_OK;
    if (!same_batch(&ev->ref_holds, s)) {
        ev->ref_holds.fed = false;
        st = feed(ev, s, ev->ref, e);
        ev->ref_holds = (struct slot){ .part = s->part, .batch = s->batch, .fed = !st };
    }
    shown->from = 0;
    shown->share = 0.5;
    if (!st)
        st = pass(ev->ref, shown, hidden, e);
    shown->from = 0.5;
    return st;
}

/* The model over the batch, under the plan. */
static enum st pass_model(struct evaluator *ev, struct slot *s, const struct plan *plan,
                          struct shown *shown, struct tensor *hidden, struct err *e)
{
    enum st st = ST_OK;
    if (!s->fed) {
        st = feed(ev, s, s->run, e);
        if (!st && s->beside)
            st = feed(ev, s, s->beside, e);
        s->fed = !st;
    }
    if (!st)
        st = bring_beside(ev, s, plan, e);
    if (st)
        return st;
    follow(&s->plan, s->run, ev->o.model, plan);
    return pass(s->run, shown, hidden, e);
}

/* Both over the batch; rows of the reference are NULL where all of them are known. */
static enum st pass_batch(struct evaluator *ev, struct slot *s, const struct plan *plan,
                          struct shown *shown, struct scorer_batch *b, struct err *e)
{
    const int64_t tokens = ev->o.set->tokens;
    struct tensor ref = { .data = NULL }, x;
    bool known = true;
    for (int i = 0; i < b->n; i++)
        known &= scorer_knows(ev->scorer, b->segment[i]);
    const bool same = ev->o.ref == ev->o.model && plan_is_empty(plan)
                      && plan_is_empty(run_plan(ev->ref));
    enum st st = known || same ? ST_OK : pass_reference(ev, s, shown, &ref, e);
    if (!st)
        st = pass_model(ev, s, plan, shown, &x, e);
    if (st)
        return st;
    ref = same ? x : ref;
    for (int i = 0; i < b->n; i++) {
        b->x[i] = x.data + i * tokens * hidden_width(ev->o.model);
        b->ref[i] = known ? NULL : ref.data + i * tokens * hidden_width(ev->o.ref);
    }
    if (!known)
        scorer_keep(ev->scorer, b);
    return ST_OK;
}

void measurement_begin(const struct evaluator *ev, struct evaluation_part part, int64_t most,
                       struct measurement *out)
{
    const int64_t all = part_segments(ev->o.set, part);
    *out = (struct measurement){ .part = part, .scored = ev->scored };
    out->segments_of = most > 0 && most < all ? most : all;
    out->sums = x_alloc((size_t)out->segments_of * sizeof *out->sums + 1);
    out->kl = x_alloc((size_t)(out->segments_of * ev->scored) * sizeof *out->kl + 1);
}

void measurement_free(struct measurement *m)
{
    free(m->sums);
    free(m->kl);
    *m = (struct measurement){ 0 };
}

enum st evaluator_step(struct evaluator *ev, const struct plan *plan, struct measurement *m,
                       struct progress *p, struct err *e)
{
    const struct slot want = { .part = m->part, .batch = m->segments / BATCH };
    struct slot *s = slot_for(ev, &want);
    struct scorer_batch b = { .n = (int)batch_segments(ev, s) };
    struct shown shown = { p, m, 0, 1, b.n };
    for (int i = 0; i < b.n; i++)
        b.segment[i] = part_segment(ev->o.set, s->part, s->batch * BATCH + i);
    if (!show(&shown, 0))
        return st_fail(e, ST_CANCELLED, "interrupted");
    enum st st = pass_batch(ev, s, plan, &shown, &b, e);
    if (st)
        return st;
    return scorer_score(ev->scorer, (struct run *const[]){ ev->ref, s->run }, &b,
                        (int)(m->segments - s->batch * BATCH), ev->o.options.pool, m, p, e);
}

enum st evaluator_run(struct evaluator *ev, struct evaluation_part part, const struct plan *plan,
                      struct progress *p, struct run **out, struct err *e)
{
    const struct slot first = { .part = part };
    struct slot *s = slot_for(ev, &first);
    const struct measurement nothing = { .segments_of = 1 };
    struct shown shown = { p, &nothing, 0, 1, 1 };
    struct tensor x;
    enum st st = pass_model(ev, s, plan, &shown, &x, e);
    if (!st)
        *out = s->run;
    return st;
}

enum st evaluator_measure(struct evaluator *ev, const struct plan *plan, struct measurement *m,
                          struct progress *p, struct err *e)
{
    return evaluator_until(ev, plan, m, NULL, NULL, p, e);
}

enum st evaluator_until(struct evaluator *ev, const struct plan *plan, struct measurement *m,
                        bool (*enough)(const void *data, const struct measurement *m),
                        const void *data, struct progress *p, struct err *e)
{
    enum st st = ST_OK;
    while (!st && m->segments < m->segments_of && !(enough && enough(data, m)))
        st = evaluator_step(ev, plan, m, p, e);
    return st;
}
