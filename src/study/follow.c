/* SPDX-License-Identifier: MIT */
#include "study/follow.h"

#include <stdlib.h>

#include "base/memory.h"

static bool same(const struct plan_transform *a, const struct plan_transform *b)
{
    return a->fn == b->fn && a->same == b->same && (a->same || a->data == b->data);
}

/* Entry i or a later one of the list that is of this value, else n. */
static size_t of_value(const struct plan_transform *list, size_t n, size_t i, int value)
{
    while (i < n && list[i].value != value)
        i++;
    return i;
}

/* Do the run and the plan have the same transforms of a value, in the same order? */
static bool same_at(const struct follower *f, const struct plan *plan, int value)
{
    const size_t n = plan ? plan->n_transforms : 0;
    size_t i = 0, k = 0;
    for (;; i++, k++) {
        i = of_value(f->transforms, f->n_transforms, i, value);
        k = n ? of_value(plan->transforms, n, k, value) : 0;
        if (i == f->n_transforms || k == n)
            return i == f->n_transforms && k == n;
        if (!same(&f->transforms[i], &plan->transforms[k]))
            return false;
    }
}

/* The transforms of the plan on the run, which goes back to before the first value at which they
 * differ from those it has. */
static void follow_transforms(struct follower *f, struct run *r, const struct plan *plan)
{
    const size_t n = plan ? plan->n_transforms : 0;
    int *handles = x_alloc(n * sizeof *handles + 1);
    for (size_t k = 0; k < n; k++) {
        const int value = plan->transforms[k].value;
        size_t at = of_value(f->transforms, f->n_transforms, 0, value);
        for (size_t i = 0; i < k; i++)
            if (plan->transforms[i].value == value)
                at = of_value(f->transforms, f->n_transforms, at + 1, value);
        handles[k] = same_at(f, plan, value) ? f->handles[at] : -1;
    }
    for (size_t i = 0; i < f->n_transforms; i++)
        if (!same_at(f, plan, f->transforms[i].value))
            run_untransform(r, f->handles[i]);
    f->transforms = x_realloc(f->transforms, n * sizeof *f->transforms + 1);
    for (size_t k = 0; k < n; k++) {
        const struct plan_transform *t = &plan->transforms[k];
        if (handles[k] < 0)
            handles[k] = run_transform(r, t->value, t->fn, t->data);
        else
            run_retransform(r, handles[k], t->fn, t->data);
        f->transforms[k] = *t;
    }
    free(f->handles);
    f->handles = handles;
    f->n_transforms = n;
}

void follow(struct follower *f, struct run *r, const struct model *m, const struct plan *plan)
{
    for (size_t i = 0; i < m->weights->n; i++) {
        const struct weight *w = &m->weights->list[i];
        struct form *want = plan_form(plan, m, w);
        if (plan_form(run_plan(r), m, w) != want)
            run_set_form(r, w, want);
    }
    follow_transforms(f, r, plan);
}

void follower_settle(struct follower *f, struct run *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < f->n_transforms; i++) {
        if (!f->transforms[i].same) {
            run_untransform(r, f->handles[i]);
            continue;
        }
        run_retransform(r, f->handles[i], NULL, NULL); /* follow() comes before it moves */
        f->transforms[kept] = f->transforms[i];
        f->handles[kept++] = f->handles[i];
    }
    f->n_transforms = kept;
}

void follower_free(struct follower *f)
{
    free(f->transforms);
    free(f->handles);
    *f = (struct follower){ 0 };
}
