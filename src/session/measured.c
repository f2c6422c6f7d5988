/* SPDX-License-Identifier: MIT */
#include "session/measured.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"
#include "session/session.h"

/* A measurement, and what held when it was made. */
struct session_measured {
    struct measurement done;
    uint64_t key;
};

static uint64_t key_of(const struct session *s, const struct session_model *m)
{
    uint64_t key = 1;
    for (size_t i = 0; i < s->changes.n; i++)
        if (s->changes.list[i]->model == m)
            key = hash_bytes(&s->changes.list[i]->number, sizeof(int), key);
    return key;
}

void session_measured_forget(struct session *s)
{
    if (s->measured)
        measurement_free(&s->measured->done);
    free(s->measured);
    s->measured = NULL;
}

/* Measure what holds now; what was done is kept under its key, also when it was interrupted. */
static enum st measure(struct session *s, const struct subject *x, struct measurement *out,
                       struct err *e)
{
    struct evaluator *ev;
    enum st st = session_evaluator(s, x, &ev, e);
    if (st)
        return st;
    measurement_begin(ev, PART_TUNE, 0, out);
    st = evaluator_measure(ev, &x->plan, out, s->progress, e);
    session_measure_settle(s);
    if (st && st != ST_CANCELLED)
        measurement_free(out);
    return st;
}

static void remember(struct session *s, const struct measurement *m, uint64_t key)
{
    session_measured_forget(s);
    s->measured = x_alloc(sizeof *s->measured);
    *s->measured = (struct session_measured){ *m, key };
}

enum st session_measure_before(struct session *s, struct err *e)
{
    struct subject x;
    struct measurement m;
    if (!s->data.set.segments)
        return ST_OK;
    enum st st = subject_of(s, true, &x, e);
    if (st)
        return st;
    const uint64_t key = key_of(s, x.model);
    struct evaluator *ev; /* a new one forgets what was measured with the old one */
    st = session_evaluator(s, &x, &ev, e);
    const bool done = s->measured && s->measured->key == key
                      && s->measured->done.segments == s->measured->done.segments_of;
    if (!st && !done && !(st = measure(s, &x, &m, e)))
        remember(s, &m, key);
    else if (st == ST_CANCELLED)
        measurement_free(&m);
    subject_free(&x);
    return st;
}

enum st session_measure_after(struct session *s, struct measured *out, bool *known, struct err *e)
{
    struct subject x;
    struct measurement m;
    *known = false;
    if (!s->data.set.segments)
        return ST_OK;
    enum st st = subject_of(s, true, &x, e);
    if (st)
        return st;
    st = measure(s, &x, &m, e);
    if (!st || st == ST_CANCELLED) {
        struct measured r = { .itself = x.ref == x.model,
                              .mode = session_measure_options(s).mode,
                              .left_out = x.left_out };
        const size_t kl = offsetof(struct segment_sums, kl);
        r.was.value = r.was.low = r.was.high = NAN;
        r.change = r.was;
        *known = m.segments > 0;
        if (*known) {
            measurement_divergence(&m, &r.now);
            if (s->measured) {
                r.was = measurement_mean(&s->measured->done, kl);
                r.change = measurement_difference(&m, &s->measured->done, kl);
            }
            *out = r;
        }
        remember(s, &m, key_of(s, x.model));
    }
    subject_free(&x);
    return st;
}
