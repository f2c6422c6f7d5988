/* SPDX-License-Identifier: MIT */
#include "study/evaluator.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/logits.h"

enum { ROWS = 16 /* of logits at a time */, BATCH = 4 /* segments that pass together */ };
enum { SMALL_LOGITS = 64 << 20 /* bytes: kept rather than computed again */ };

/* A batch of segments and the run of the model that holds it. */
struct slot {
    struct evaluation_part part;
    int64_t batch;
    struct run *run, *beside; /* beside: of the reference, for splices; NULL until one asks */
    bool fed;                 /* run holds the batch; else it is another one's */
    struct plan_transform *transforms;
    int *handles;
    size_t n_transforms;
};

struct evaluator {
    struct evaluation o;
    int64_t scored;            /* tokens of a segment */
    struct slot *slots;        /* [n_slots] */
    size_t n_slots, max_slots; /* max_slots 0: one slot that every batch passes through */
    struct run *ref;           /* run of the reference, over any batch */
    struct slot ref_holds;     /* which one: part and batch; fed = false: none */
    bool keep_logits;          /* kept: logits, else what the head reads */
    float **kept;              /* [segments of the set], NULL = not kept */
    size_t kept_bytes;
    float *logits[2];   /* [ROWS][vocab] */
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

static size_t row_bytes(const struct evaluator *ev)
{
    const struct graph *g = ev->o.ref->graph;
    const int64_t n = ev->keep_logits ? g->vocab : shape_per_token(&g->values[g->hidden].shape);
    return (size_t)n * sizeof(float);
}

/* How many batches can have a run each. */
static void share_slots(struct evaluator *ev)
{
    const struct run_memory need = run_predict(ev->o.model, ev->o.options.mode,
                                               BATCH * ev->o.set->tokens, 0);
    const size_t one = need.state + need.values + need.checkpoints + 1;
    ev->max_slots = ev->o.once ? 0 : ev->o.memory / 2 / one;
}

/* What is kept of the reference. */
static void share_memory(struct evaluator *ev)
{
    const struct evaluation_set *set = ev->o.set;
    size_t logits;
    ev->keep_logits = true;
    ev->keep_logits = mul_ok(row_bytes(ev) * (size_t)ev->scored, (size_t)set->segments, &logits)
                      && logits <= SMALL_LOGITS && logits <= ev->o.memory / 4;
}

enum st evaluator_new(const struct evaluation *what, struct evaluator **out, struct err *e)
{
    enum st st = check(what->ref, what->set, e);
    if (!st)
        st = check_model(what, what->model, e);
    const struct graph *a = what->ref->graph;
    void *logits;
    if (st
        || (st = mem_alloc(&logits, (size_t)(2 * ROWS * a->vocab) * sizeof(float),
                           "the logits of two models", e)))
        return st;
    struct evaluator *ev = x_alloc(sizeof *ev);
    ev->o = *what;
    ev->o.options.span = 0;
    ev->o.options.cancel = NULL;
    ev->scored = evaluation_scored(what->set);
    ev->logits[0] = logits;
    ev->logits[1] = ev->logits[0] + ROWS * a->vocab;
    ev->kept = x_alloc((size_t)what->set->segments * sizeof *ev->kept + 1);
    const size_t tokens = (size_t)(BATCH * what->set->tokens);
    ev->ids = x_alloc(2 * tokens * sizeof *ev->ids);
    ev->seq = ev->ids + tokens;
    struct run_options o = ev->o.options;
    o.checkpoint_bytes = RUN_NO_CHECKPOINTS;
    ev->ref = run_new(what->ref, &o);
    ev->o.options.plan = NULL; /* the reference has its copy */
    share_memory(ev);
    share_slots(ev);
    *out = ev;
    return ST_OK;
}

static void slot_free(struct slot *s)
{
    run_free(s->run);
    run_free(s->beside);
    free(s->transforms);
    free(s->handles);
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
    for (int64_t i = 0; i < ev->o.set->segments; i++)
        mem_free(ev->kept[i]);
    run_free(ev->ref);
    mem_free(ev->logits[0]);
    free(ev->slots);
    free(ev->kept);
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

static void drop_transforms(struct slot *s)
{
    for (size_t i = 0; i < s->n_transforms; i++)
        run_untransform(s->run, s->handles[i]);
    s->n_transforms = 0;
}

void evaluator_settle(struct evaluator *ev)
{
    for (size_t i = 0; i < ev->n_slots; i++)
        drop_transforms(&ev->slots[i]);
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

static bool same_transforms(const struct slot *s, const struct plan *plan)
{
    const size_t n = plan ? plan->n_transforms : 0;
    bool same = n == s->n_transforms;
    for (size_t i = 0; same && i < n; i++)
        same = s->transforms[i].value == plan->transforms[i].value
               && s->transforms[i].fn == plan->transforms[i].fn
               && s->transforms[i].data == plan->transforms[i].data;
    return same;
}

/* Bring the run under the plan: it goes back to before the first node that differs. */
static void follow(struct evaluator *ev, struct slot *s, const struct plan *plan)
{
    const struct model *m = ev->o.model;
    for (size_t i = 0; i < m->weights->n; i++) {
        const struct weight *w = &m->weights->list[i];
        struct form *want = plan_form(plan, m, w);
        if (plan_form(run_plan(s->run), m, w) != want)
            run_set_form(s->run, w, want);
    }
    if (same_transforms(s, plan))
        return;
    drop_transforms(s);
    const size_t n = plan ? plan->n_transforms : 0;
    s->transforms = x_realloc(s->transforms, n * sizeof *s->transforms + 1);
    s->handles = x_realloc(s->handles, n * sizeof *s->handles + 1);
    for (size_t i = 0; i < n; i++) {
        s->transforms[i] = plan->transforms[i];
        s->handles[i] = run_transform(s->run, plan->transforms[i].value, plan->transforms[i].fn,
                                      plan->transforms[i].data);
    }
    s->n_transforms = n;
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

/* Keep what the reference has for segment i of the batch, if there is room. */
static enum st keep(struct evaluator *ev, int64_t segment, const float *hidden, struct err *e)
{
    const size_t bytes = row_bytes(ev) * (size_t)ev->scored;
    const float *x = hidden + ev->o.set->first * hidden_width(ev->o.ref);
    void *p;
    if (ev->kept[segment] || ev->kept_bytes + bytes > ev->o.memory / 4
        || mem_alloc(&p, bytes, "what the reference says", NULL))
        return ST_OK;
    if (!ev->keep_logits)
        memcpy(p, x, bytes);
    else {
        enum st st = run_head(ev->ref, x, ev->scored, p, e);
        if (st) {
            mem_free(p);
            return st;
        }
    }
    ev->kept[segment] = p;
    ev->kept_bytes += bytes;
    return ST_OK;
}

/* The reference over the batch, unless all of it is kept: *hidden is then empty. */
static enum st pass_reference(struct evaluator *ev, const struct slot *s, struct shown *shown,
                              struct tensor *hidden, struct err *e)
{
    const int64_t n = batch_segments(ev, s);
    bool kept = true;
    for (int64_t i = 0; i < n; i++)
        kept &= ev->kept[part_segment(ev->o.set, s->part, s->batch * BATCH + i)] != NULL;
    *hidden = (struct tensor){ .data = NULL };
    if (kept)
        return ST_OK;
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
    for (int64_t i = 0; i < n && !st; i++)
        st = keep(ev, part_segment(ev->o.set, s->part, s->batch * BATCH + i),
                  hidden->data + i * ev->o.set->tokens * hidden_width(ev->o.ref), e);
    return st;
}

/* Logits of the reference for n scored tokens of a segment from the k-th on; hidden: of the whole
 * segment, NULL where it is kept. */
static enum st reference_logits(struct evaluator *ev, int64_t segment, const float *hidden,
                                int64_t k, int64_t n, const float **out, struct err *e)
{
    const int64_t width = hidden_width(ev->o.ref), vocab = ev->o.ref->graph->vocab;
    const float *kept = ev->kept[segment];
    *out = ev->logits[0];
    if (kept && ev->keep_logits) {
        *out = kept + k * vocab;
        return ST_OK;
    }
    const float *x = kept ? kept + k * width : hidden + (ev->o.set->first + k) * width;
    return run_head(ev->ref, x, n, ev->logits[0], e);
}

static void score(struct measurement *m, struct scored_token t, struct segment_sums *s,
                  double *kl)
{
    struct logits_pair pair;
    logits_pair_of(t.logits[0], t.logits[1], t.vocab, t.next, &pair);
    for (int i = 0; i < 2; i++)
        broken_count(&m->broken, i, pair.log_sum[i], t.segment, t.at);
    *kl = pair.kl;
    s->kl += pair.kl;
    s->top1 += pair.top[0] == pair.top[1];
    if (t.next >= 0) {
        s->log_ratio += pair.log_prob[0] - pair.log_prob[1];
        s->ref_nll -= pair.log_prob[0];
        s->nll -= pair.log_prob[1];
    }
    if (m->metric && m->metric->kind == METRIC_LOGITDIFF)
        s->logit_diff += (double)t.logits[0][m->metric->a] - (double)t.logits[0][m->metric->b]
                         - (double)t.logits[1][m->metric->a] + (double)t.logits[1][m->metric->b];
    t.pair = &pair;
    if (m->token)
        m->token(m->data, &t);
}

/* Score a segment whose tokens have these hidden states. */
static enum st score_segment(struct evaluator *ev, struct slot *s, int64_t segment,
                             const float *ref, const float *x, struct measurement *m, struct err *e)
{
    const struct evaluation_set *set = ev->o.set;
    const int64_t vocab = ev->o.ref->graph->vocab, width = hidden_width(ev->o.model);
    const int32_t *ids = set->ids + segment * set->tokens;
    struct segment_sums sums = { 0 };
    for (int64_t k = 0; k < ev->scored; k += ROWS) {
        const int64_t n = ev->scored - k < ROWS ? ev->scored - k : ROWS;
        const float *p;
        enum st st = reference_logits(ev, segment, ref, k, n, &p, e);
        if (!st)
            st = run_head(s->run, x + (set->first + k) * width, n, ev->logits[1], e);
        if (st)
            return st;
        for (int64_t j = 0; j < n; j++) {
            const int64_t at = set->first + k + j;
            struct scored_token t = { .segment = segment,
                                      .at = at,
                                      .next = at + 1 < set->tokens ? ids[at + 1] : -1,
                                      .vocab = vocab,
                                      .logits = { p + j * vocab, ev->logits[1] + j * vocab } };
            score(m, t, &sums, &m->kl[m->segments * ev->scored + k + j]);
        }
    }
    m->sums[m->segments++] = sums;
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
    const int64_t tokens = ev->o.set->tokens, n = batch_segments(ev, s);
    struct shown shown = { p, m, 0, 1, n };
    struct tensor ref, x;
    if (!show(&shown, 0))
        return st_fail(e, ST_CANCELLED, "interrupted");
    enum st st = pass_reference(ev, s, &shown, &ref, e);
    if (!st && !s->fed) {
        st = feed(ev, s, s->run, e);
        if (!st && s->beside)
            st = feed(ev, s, s->beside, e);
        s->fed = !st;
    }
    if (!st)
        st = bring_beside(ev, s, plan, e);
    if (st)
        return st;
    follow(ev, s, plan);
    if ((st = pass(s->run, &shown, &x, e)))
        return st;
    for (int64_t i = m->segments - s->batch * BATCH; i < n && m->segments < m->segments_of && !st;
         i++)
        st = score_segment(ev, s, part_segment(ev->o.set, s->part, s->batch * BATCH + i),
                           ref.data ? ref.data + i * tokens * hidden_width(ev->o.ref) : NULL,
                           x.data + i * tokens * hidden_width(ev->o.model), m, e);
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
