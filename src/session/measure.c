/* SPDX-License-Identifier: MIT */
#include "session/measure.h"

#include "base/memory.h"
#include "kernels/level.h"
#include "session/measured.h"

enum st subject_of(struct session *s, bool alone, struct subject *out, struct err *e)
{
    struct session_model *m;
    enum st st = session_need_graph(s, &m, e);
    if (!st && !alone && !s->models.ref && !changes_hold(s, m)) {
        st = st_fail(e, ST_STATE,
                     s->models.trace ? "the reference is a trace, of one prompt: this takes a model"
                                     : "there is no reference, and no change to measure");
        st_hint(e, s->models.trace ? "`ref FILE` opens one; `compare` and `diverge` read the trace"
                                   : "`ref FILE` opens one");
    }
    if (st)
        return st;
    *out = (struct subject){ .model = m, .ref = s->models.ref ? s->models.ref : m };
    changes_plan_beside(s, m, &out->plan, &out->left);
    return ST_OK;
}

void subject_on_run(const struct session *s, const struct session_run *r, struct subject *x)
{
    if (r->model != x->model)
        return;
    plan_free(&x->plan);
    changes_plan_run(s, r, &x->plan, &x->left);
}

void subject_free(struct subject *x) { plan_free(&x->plan); }

size_t session_measure_memory(void) { return mem_budget() ? mem_budget() / 2 : (size_t)1 << 30; }

enum st subject_evaluator(struct session *s, const struct subject *x,
                          const struct evaluation_set *set, size_t memory, struct evaluator **out,
                          struct err *e)
{
    const struct evaluation what = { .ref = x->ref->model,
                                     .model = x->model->model,
                                     .options = session_measure_options(s),
                                     .set = set,
                                     .memory = memory };
    return evaluator_new(&what, out, e);
}

bool session_evaluator_serves(struct session *s, const struct subject *x)
{
    const struct session_measure *k = &s->measure;
    return k->evaluator && k->model == x->model && k->ref == x->ref
           && k->mode == session_measure_options(s).mode && k->level == level_now();
}

enum st session_evaluator(struct session *s, const struct subject *x, struct evaluator **out,
                          struct err *e)
{
    struct session_measure *k = &s->measure;
    if (!s->data.set.segments) {
        st_fail(e, ST_STATE, "there is no evaluation set");
        return st_hint(e, "`data FILE` keeps one");
    }
    const struct run_options o = session_measure_options(s);
    if (k->evaluator && !session_evaluator_serves(s, x))
        session_measure_forget(s);
    if (!k->evaluator) {
        enum st st = subject_evaluator(s, x, &s->data.set, session_measure_memory(), &k->evaluator,
                                       e);
        if (st)
            return st;
        k->model = x->model;
        k->ref = x->ref;
        k->mode = o.mode;
        k->level = level_now();
    }
    evaluator_set_pool(k->evaluator, o.pool);
    *out = k->evaluator;
    return ST_OK;
}

void session_measure_settle(struct session *s)
{
    if (s->measure.evaluator)
        evaluator_settle(s->measure.evaluator);
}

void session_measure_forget(struct session *s)
{
    session_measured_forget(s);
    evaluator_free(s->measure.evaluator);
    s->measure = (struct session_measure){ 0 };
}
