/* SPDX-License-Identifier: MIT */
/* Plans: what a run reads in the place of weights of the file, and what changes its points. The
 * engine knows formats and bytes; how they were made is decided above it. */
#ifndef QDB_ENGINE_PLAN_H
#define QDB_ENGINE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/model.h"

struct event;

/* A weight under the name and shape of one of the model's, in another format or with other
 * numbers. Immutable and shared: counted. */
struct form {
    struct weight w;
    float *v;   /* decoded, where an op wants a vector, else NULL */
    void *data; /* owned, from mem_alloc; NULL when the bytes belong to another open file */
    float *scales; /* those of w, owned alike, or NULL */
    /* Where the format of w only keeps what was rounded to another one: the name of that, and the
     * bytes that it would take packed. "" and 0 in forms that a file can hold. */
    char simulates[56];
    uint64_t packed;
    int uses;
};

/* `data`, all rows of the weight in format f and times no scale, stands for weight `of` of model m;
 * it is taken over (mem_alloc), also on failure. ST_RANGE when the format's blocks do not fit the
 * rows. One use, the caller's. */
NODISCARD enum st form_new(const struct model *m, const struct weight *of, enum format f,
                           void *data, struct form **out, struct err *e);
/* The same of numbers that are times a scale for each matrix: `scales` is taken over as well. */
NODISCARD enum st form_new_scaled(const struct model *m, const struct weight *of, enum format f,
                                  void *data, float *scales, struct form **out, struct err *e);
/* The weight `by` of another open file, which must stay open, stands for `of`. ST_RANGE when the
 * shapes differ, or the errors of weight_check. */
NODISCARD enum st form_borrow(const struct model *m, const struct weight *of,
                              const struct weight *by, struct form **out, struct err *e);
size_t form_bytes(const struct form *f); /* packed, scales included */
struct form *form_keep(struct form *f); /* one use more; NULL is fine, as for form_drop */
void form_drop(struct form *f);

/* A transform (engine/run.h) of one point. */
struct plan_transform {
    int value;
    void (*fn)(void *data, const struct event *ev, float *x);
    void *data; /* borrowed */
    bool beside; /* fn looks at run_beside(): without it, it changes nothing */
    /* Transforms of one value that have the same fn and the same number do the same, whatever their
     * data is called; 0: nothing is known of it. */
    uint64_t same;
};

/* All zero: the model as the file has it. */
struct plan {
    struct form **forms; /* [weights of the model], NULL = the file's own; uses of the plan */
    size_t n_forms;      /* 0 as long as there is none */
    struct plan_transform *transforms;
    size_t n_transforms, cap_transforms;
};

/* Put f (a use is added; NULL: the file's own again) in the place of weight w of model m. */
void plan_set(struct plan *p, const struct model *m, const struct weight *w, struct form *f);
/* What stands for w, NULL if it is the file's own. The plan may be NULL. */
struct form *plan_form(const struct plan *p, const struct model *m, const struct weight *w);
bool plan_is_empty(const struct plan *p); /* the model as its file has it */
void plan_transform(struct plan *p, struct plan_transform t);
void plan_copy(const struct plan *from, struct plan *out); /* the data of transforms is shared */
void plan_free(struct plan *p);

#endif
