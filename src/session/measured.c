/* SPDX-License-Identifier: MIT */
#include "session/measured.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
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

static void remember(struct session *s, const struct measurement *m, uint64_t key)
{
    session_measured_forget(s);
    s->measured = x_alloc(sizeof *s->measured);
    *s->measured = (struct session_measured){ *m, key };
}

void session_measure_before(struct session *s, struct measured_before *out)
{
    *out = (struct measured_before){ .known = false };
    if (!s->data.set.segments || subject_of(s, true, &out->x, NULL))
        return;
    out->known = true;
    out->key = key_of(s, out->x.model);
}

void measured_before_free(struct measured_before *b)
{
    if (b->known)
        subject_free(&b->x);
}

/* ---- both in turn ---- */

/* What is measured, and the figure so far as a label of progress. */
struct pairing {
    struct progress *front;
    const struct plan *plan[2];  /* [0] before, [1] now */
    struct measurement *of[2];
    int64_t begun; /* segments that were known when it began */
    int64_t from;  /* of the one that steps: where the step began */
    int64_t figured; /* segments that the figure is over */
    char label[96];
};

static void show_part(struct progress *p, const char *label, double done, double total)
{
    const struct pairing *x = p->data;
    (void)label;
    (void)total;
    const int64_t steps = x->of[0]->segments + x->of[1]->segments - x->begun,
                  all = x->of[0]->segments_of + x->of[1]->segments_of - x->begun;
    progress_tick(x->front, x->label, (double)steps + done - (double)x->from, (double)all);
}

/* An interval is a bootstrap: it is made again when there are a twentieth more segments. */
static void figure(struct pairing *x)
{
    const struct measurement *now = x->of[1];
    const int64_t n = now->segments;
    if (!n || n < x->figured + x->figured / 20 + 1)
        return;
    const struct clustered_mean kl = measurement_mean(now, offsetof(struct segment_sums, kl));
    char interval[32] = "";
    if (!isnan(kl.low))
        snprintf(interval, sizeof interval, " +- %.2g", (kl.high - kl.low) / 2);
    snprintf(x->label, sizeof x->label, "measured\tkl %.4g%s, %lld tokens", kl.value, interval,
             (long long)(n * now->scored));
    x->figured = n;
}

static enum st measure_both(struct session *s, struct pairing *x, struct evaluator *ev,
                            struct err *e)
{
    struct measurement *was = x->of[0], *now = x->of[1];
    struct progress inside = { show_part, s->progress ? s->progress->cancel : NULL, x };
    enum st st = ST_OK;
    while (!st && now->segments < now->segments_of) {
        const int i = was->segments > now->segments || was->segments == was->segments_of;
        x->from = x->of[i]->segments;
        st = evaluator_step(ev, x->plan[i], x->of[i], &inside, e);
        figure(x);
    }
    return st;
}

/* What is known of what held before, to go on with. */
static struct measurement known_before(struct session *s, const struct measured_before *b,
                                       const struct evaluator *ev)
{
    struct measurement was;
    if (!s->measured || s->measured->key != b->key) {
        measurement_begin(ev, PART_TUNE, 0, &was);
        return was;
    }
    was = s->measured->done; /* taken over */
    free(s->measured);
    s->measured = NULL;
    return was;
}

/* The floor of mode fast is measured once, behind what the user waits for. */
static enum st floor_of(struct session *s, const struct subject *x, struct measured *out,
                        struct err *e)
{
    const struct evaluation_set *set = &s->data.set;
    struct fast_floor floor;
    out->floor = NAN;
    if (out->mode != COMPUTE_FAST)
        return ST_OK;
    enum st st = session_fast_floor(s, x->model, set->ids, set->segments * set->tokens, &floor, e);
    if (!st)
        out->floor = floor.kl;
    return st;
}

static void compare(const struct measurement *was, const struct measurement *now,
                    struct measured *out)
{
    const size_t kl = offsetof(struct segment_sums, kl);
    measurement_divergence(now, &out->now);
    out->was = measurement_mean(was, kl);
    out->change = measurement_difference(now, was, kl);
}

enum st session_measure_after(struct session *s, const struct measured_before *before,
                              struct measured *out, bool *known, struct err *e)
{
    struct subject x;
    struct evaluator *ev;
    *known = false;
    if (!before->known)
        return ST_OK;
    enum st st = subject_of(s, true, &x, e);
    if (st)
        return st;
    if (!(st = session_evaluator(s, &x, &ev, e))) {
        struct measurement was = known_before(s, before, ev), now;
        measurement_begin(ev, PART_TUNE, 0, &now);
        struct pairing both = { .front = s->progress,
                                .plan = { &before->x.plan, &x.plan },
                                .of = { &was, &now },
                                .begun = was.segments,
                                .label = "measured" };
        st = measure_both(s, &both, ev, e);
        session_measure_settle(s);
        *known = now.segments > 0;
        if (*known) {
            *out = (struct measured){ .itself = x.ref == x.model,
                                      .mode = session_measure_options(s).mode,
                                      .left = x.left };
            out->was_itself = out->itself && plan_is_empty(&before->x.plan);
            compare(&was, &now, out);
            const enum st floor = floor_of(s, &x, out, st ? NULL : e);
            st = st ? st : floor;
        }
        /* what holds now is what the next change begins with */
        remember(s, *known ? &now : &was, *known ? key_of(s, x.model) : before->key);
        measurement_free(*known ? &was : &now);
    }
    subject_free(&x);
    return st;
}
