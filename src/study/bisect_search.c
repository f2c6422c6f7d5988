/* SPDX-License-Identifier: MIT */
#include "study/bisect_search.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"

/* --- measuring ---------------------------------------------------------------------------------
 */

static void show_part(struct progress *p, const char *label, double done, double total)
{
    (void)label;
    struct search *s = p->data;
    const double part = total > 0 ? done / total : 0;
    if (s->expected < s->done + 1)
        s->expected = s->done + 1;
    progress_tick(s->front, "bisect", s->done + part, s->expected);
}

enum st search_measure(struct search *s, const struct plan *plan, struct measurement *m,
                       struct err *e)
{
    struct progress inside = { show_part, s->front ? s->front->cancel : NULL, s };
    const enum st st = evaluator_measure(s->t->ev, plan, m, &inside, e);
    s->done++;
    return st;
}

/* A model that says nothing (NaN) is infinitely far. */
static double damage_of(const struct measurement *m, int64_t segments, const struct metric *metric)
{
    double sum = 0;
    for (int64_t i = 0; i < segments; i++)
        sum += segment_damage(m, i, metric);
    if (metric->kind == METRIC_LOGITDIFF)
        sum = fabs(sum); /* it may lie on either side */
    return isnan(sum) ? (double)INFINITY : sum;
}

static double share_of_damage(double before, double after)
{
    if (isinf(before))
        return isinf(after) ? 0 : 1;
    return isinf(after) ? -(double)INFINITY : 1 - after / before;
}

static struct clustered_mean share_interval(const struct search *s, const struct measurement *m)
{
    const size_t n = (size_t)m->segments;
    double *gained = x_alloc(n * sizeof *gained + 1), *before = x_alloc(n * sizeof *before + 1);
    for (size_t i = 0; i < n; i++) {
        before[i] = segment_damage(&s->before, (int64_t)i, s->t->metric);
        gained[i] = before[i] - segment_damage(m, (int64_t)i, s->t->metric);
    }
    const struct clustered_mean share = clustered_ratio_of(gained, before, n);
    free(gained);
    free(before);
    return share;
}

static bool edit_mended(const struct search *s, size_t transform)
{
    for (size_t i = 0; i < s->t->n_parts; i++)
        if (s->mended[i] && !s->t->parts[i].w && s->t->parts[i].transform == transform)
            return true;
    return false;
}

static void plan_under_test(const struct search *s, struct plan *out)
{
    *out = (struct plan){ 0 };
    if (s->t->plan)
        plan_copy(s->t->plan, out);
    const struct model *m = evaluator_of(s->t->ev)->model;
    for (size_t i = 0; i < s->t->n_parts; i++) {
        const struct bisect_part *w = &s->t->parts[i];
        if (s->mended[i] && w->w)
            plan_set(out, m, w->w, s->partly[i] ? s->partly[i] : w->mended);
    }
    size_t kept = 0;
    for (size_t k = 0; k < out->n_transforms; k++)
        if (!edit_mended(s, k))
            out->transforms[kept++] = out->transforms[k];
    out->n_transforms = kept;
}

enum st search_try(struct search *s, int64_t segments, enum bisect_act act, const char *place,
                   int64_t places, double *share, double *screened, struct err *e)
{
    struct plan plan;
    struct measurement m;
    const struct metric *metric = s->t->metric;
    plan_under_test(s, &plan);
    measurement_begin(s->t->ev, s->t->part, segments, &m);
    m.metric = metric;
    enum st st = search_measure(s, &plan, &m, e);
    plan_free(&plan);
    if (!st) {
        const double before = damage_of(&s->before, m.segments, metric),
                     after = damage_of(&m, m.segments, metric), n = (double)(m.segments * m.scored);
        const struct clustered_mean interval = share_interval(s, &m);
        const int64_t first = s->screen < m.segments ? s->screen : m.segments;
        *share = share_of_damage(before, after);
        if (screened)
            *screened = share_of_damage(damage_of(&s->before, first, metric),
                                        damage_of(&m, first, metric));
        if (act == BISECT_JOINT)
            s->out->after = measurement_damage(&m, metric);
        x_grow(&s->out->steps, &s->out->cap_steps, s->out->n_steps + 1, sizeof *s->out->steps);
        s->out->steps[s->out->n_steps++] = (struct bisect_step){ .level = s->level,
                                                                 .act = act,
                                                                 .place = place ? x_strdup(place)
                                                                                : NULL,
                                                                 .places = places,
                                                                 .segments = m.segments,
                                                                 .before = before / n,
                                                                 .after = after / n,
                                                                 .share = *share,
                                                                 .low = interval.low,
                                                                 .high = interval.high };
        if (act == BISECT_JOINT) {
            s->out->share = interval;
            s->out->share.value = *share;
        }
    }
    measurement_free(&m);
    return st;
}

/* --- sets --------------------------------------------------------------------------------------
 */

int search_mend(struct search *s, const struct group *g, int n, const struct group *but)
{
    int in = 0;
    for (size_t i = 0; i < s->t->n_parts; i++)
        s->mended[i] = false;
    for (int i = 0; i < n; i++) {
        if (!g[i].in || &g[i] == but)
            continue;
        in++;
        for (int k = 0; k < g[i].n; k++)
            s->mended[g[i].members[k]] = true;
    }
    return in;
}

/* What each explains by itself: the last first, so that blocks before it are not run again. */
static enum st try_each(struct search *s, struct group *g, int n, struct err *e)
{
    enum st st = ST_OK;
    for (int i = n - 1; i >= 0 && !st; i--) {
        g[i].in = true;
        search_mend(s, g, n, NULL);
        g[i].in = false;
        st = search_try(s, s->screen, BISECT_ALONE, g[i].name, 1, &g[i].gain, NULL, e);
        g[i].alone = g[i].with = g[i].gain;
        g[i].fresh = 0;
    }
    return st;
}

static struct group *best_of(struct group *g, int n)
{
    struct group *best = NULL;
    for (int i = 0; i < n; i++)
        if (!g[i].in && (!best || g[i].gain > best->gain))
            best = &g[i];
    return best;
}

/* Add places until the target is reached: the best of those whose gain beside the present set is
 * known, or was larger before. */
static enum st add_places(struct search *s, struct group *g, int n, struct err *e)
{
    const bool whole = s->screen == s->before.segments; /* the first segments are all of them */
    double share = 0, screened = 0;
    struct group *best;
    int size = 0;
    while (share < s->target && (best = best_of(g, n))) {
        best->in = true;
        const int now = search_mend(s, g, n, NULL);
        enum st st = ST_OK;
        if (best->fresh < size) {
            st = search_try(s, s->screen, BISECT_WITH, best->name, now, &best->with, NULL, e);
            best->in = false;
            best->gain = best->with - screened;
            best->fresh = size;
        } else if (whole) {
            share = screened = best->with;
            size++;
        } else {
            st = search_try(s, s->before.segments, BISECT_WITH, best->name, now, &share, &screened,
                            e);
            size++;
        }
        if (st)
            return st;
    }
    return ST_OK;
}

/* Take places out that the others can do without, the least first, until none can go. */
static enum st remove_places(struct search *s, struct group *g, int n, struct err *e)
{
    bool again = true;
    while (again) {
        again = false;
        for (int k = 0; k < n; k++)
            g[k].fresh = 0; /* tested in this round? */
        for (;;) {
            struct group *least = NULL;
            int in = 0;
            double share;
            for (int i = 0; i < n; i++) {
                in += g[i].in;
                if (g[i].in && !g[i].fresh && (!least || g[i].gain < least->gain))
                    least = &g[i];
            }
            if (!least || in < 2)
                break;
            least->fresh = 1;
            const int left = search_mend(s, g, n, least);
            enum st st = search_try(s, s->before.segments, BISECT_WITHOUT, least->name, left,
                                    &share, NULL, e);
            if (st)
                return st;
            if (share >= s->target) {
                least->in = false;
                again = true;
            }
        }
    }
    return ST_OK;
}

enum st search_set(struct search *s, struct group *g, int n, struct err *e)
{
    for (int i = 0; i < n; i++) {
        g[i].fresh = -1;
        g[i].alone = NAN;
    }
    if (n == 1) {
        g[0].in = true;
        return ST_OK;
    }
    s->expected = s->done + n + 6;
    enum st st = try_each(s, g, n, e);
    if (!st)
        st = add_places(s, g, n, e);
    return st ? st : remove_places(s, g, n, e);
}
