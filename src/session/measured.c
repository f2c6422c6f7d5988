/* SPDX-License-Identifier: MIT */
#include "session/measured.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "session/session.h"

/* The last measurements, the latest first, and what held when they were made. */
enum { KEPT = 8 };
struct session_measured {
    struct {
        struct measurement done;
        uint64_t key;
    } list[KEPT];
    size_t n;
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
    for (size_t i = 0; s->measured && i < s->measured->n; i++)
        measurement_free(&s->measured->list[i].done);
    free(s->measured);
    s->measured = NULL;
}

/* NULL: not known. */
static struct measurement *find(struct session *s, uint64_t key)
{
    for (size_t i = 0; s->measured && i < s->measured->n; i++)
        if (s->measured->list[i].key == key)
            return &s->measured->list[i].done;
    return NULL;
}

/* Forget one, which somebody has taken over. */
static void drop(struct session_measured *k, const struct measurement *m)
{
    size_t i = 0;
    while (&k->list[i].done != m)
        i++;
    memmove(k->list + i, k->list + i + 1, (--k->n - i) * sizeof *k->list);
}

/* Takes m over, of a key that is not there, or frees it where there is nothing in it. */
static void remember(struct session *s, struct measurement *m, uint64_t key)
{
    if (!m->segments) {
        measurement_free(m);
        return;
    }
    if (!s->measured)
        s->measured = x_alloc(sizeof *s->measured);
    struct session_measured *k = s->measured;
    if (k->n == KEPT)
        measurement_free(&k->list[--k->n].done);
    memmove(k->list + 1, k->list, k->n++ * sizeof *k->list);
    k->list[0].done = *m;
    k->list[0].key = key;
}

void session_measure_before(struct session *s, struct measured_before *out)
{
    *out = (struct measured_before){ .known = false };
    if (!s->data.set.segments || subject_of(s, true, &out->x, NULL))
        return;
    out->known = true;
    out->unchanged = plan_is_empty(&out->x.plan);
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
    struct measurement was, *known = find(s, b->key);
    if (!known) {
        measurement_begin(ev, PART_TUNE, 0, &was);
        return was;
    }
    was = *known;
    drop(s->measured, known);
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
    out->was = out->change = (struct clustered_mean){ .value = NAN, .low = NAN, .high = NAN };
    if (was) {
        out->was = measurement_mean(was, kl);
        out->change = measurement_difference(now, was, kl);
    }
}

/* What a measurement of x is about. */
static struct measured about(struct session *s, const struct measured_before *before,
                             const struct subject *x)
{
    const bool itself = x->ref == x->model;
    return (struct measured){ .itself = itself,
                              .was_itself = itself && before->unchanged,
                              .is_itself = itself && plan_is_empty(&x->plan),
                              .mode = session_measure_options(s).mode,
                              .floor = NAN,
                              .left = x->left };
}

bool session_measure_known(struct session *s, const struct measured_before *before,
                           struct measured *out)
{
    struct subject x;
    if (!before->known || subject_of(s, true, &x, NULL))
        return false;
    const struct measurement *now = find(s, key_of(s, x.model)), *was = find(s, before->key);
    const bool known = now && now->segments && session_evaluator_serves(s, &x);
    if (known) {
        *out = about(s, before, &x);
        compare(was && was->segments ? was : NULL, now, out);
        if (x.model->floor.scored)
            (void)floor_of(s, &x, out, NULL);
    }
    subject_free(&x);
    return known;
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
            *out = about(s, before, &x);
            compare(&was, &now, out);
            const enum st floor = floor_of(s, &x, out, st ? NULL : e);
            st = st ? st : floor;
        }
        remember(s, &was, before->key);
        remember(s, &now, key_of(s, x.model));
    }
    subject_free(&x);
    return st;
}
