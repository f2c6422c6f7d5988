/* SPDX-License-Identifier: MIT */
/* Progress and cancellation: long work tells a front end where it is, and hears when to stop. */
#ifndef QDB_BASE_PROGRESS_H
#define QDB_BASE_PROGRESS_H

#include <signal.h>
#include <stdbool.h>

/* Handed down by a front end; NULL everywhere means: silent and not cancellable. */
struct progress {
    /* label: what is being done; behind a tab, what is known of it so far */
    void (*show)(struct progress *p, const char *label, double done, double total);
    const volatile sig_atomic_t *cancel; /* nonzero once the user wants to stop; may be NULL */
    void *data;
};

static inline bool progress_cancelled(const struct progress *p)
{
    return p && p->cancel && *p->cancel;
}

/* Report; returns false when the work should stop. Cheap: the front end decides when to draw. */
static inline bool progress_tick(struct progress *p, const char *label, double done, double total)
{
    if (p && p->show)
        p->show(p, label, done, total);
    return !progress_cancelled(p);
}

#endif
