/* SPDX-License-Identifier: MIT */
/* The provider of forms: a weight, where its numbers come from, a format and a method give what
 * stands for the weight in a run; forms that were made are kept. */
#ifndef QDB_QUANT_PROVIDER_H
#define QDB_QUANT_PROVIDER_H

#include "base/progress.h"
#include "engine/plan.h"
#include "file/imatrix.h"
#include "quant/method.h"

/* What a form is, and what it cost. */
struct quant_note {
    const struct quant_method *method; /* NULL: it was not made here */
    struct numeric asked, format;      /* format: what it became, where the shape did not fit */
    enum format from;                  /* of the numbers that it was made from */
    bool from_reference;               /* they are those of the reference, not of the file */
    bool weighted;                     /* errors were weighted by importance */
    double signal, noise;              /* sums of x^2 and of the squared errors, both finite */
    uint64_t bytes;                    /* of simulated formats: packed */
};
double quant_sqnr(double signal, double noise); /* dB; inf without noise, NaN if both are 0 */

struct quant_request {
    const struct model *model;
    const struct weight *of;   /* of that model */
    const struct weight *from; /* the same shape; may be `of` */
    struct numeric format;
    const struct quant_method *method;
    const struct imatrix_entry *importance; /* of storage formats; NULL: channels count alike */
    bool unmeasured; /* the note's errors are not wanted; without a cache */
    struct pool *pool;
    struct progress *progress;
    double done, total; /* elements of all weights of the request: what the progress shows */
};

/* The format that a weight is stored in when f is asked for: f, or what llama-quantize falls back
 * to where blocks do not fit the rows. ST_RANGE when a simulated format does not fit,
 * ST_UNSUPPORTED when nothing writes the format. */
NODISCARD enum st quant_format(const struct numeric *f, const struct weight *w, struct numeric *out,
                               struct err *e);
uint64_t quant_bytes(const struct numeric *f, const struct weight *w);

struct quant_cache;

struct quant_cache *quant_cache_new(void);
void quant_cache_free(struct quant_cache *c);
/* Forget what was made from weights of a file that closes. */
void quant_cache_forget(struct quant_cache *c, const struct weights *w);

/* The form, from the cache (may be NULL) or made now; a use is the caller's. What the cache holds
 * and nobody uses is at most a quarter of the memory budget; what comes when half of that is taken
 * lies in temporary files (file/temporary.h). Errors: those of quant_format, of the
 * decoder; ST_RANGE for a number that is not finite (the message says where), ST_NOMEM,
 * ST_CANCELLED. */
NODISCARD enum st quant_make(struct quant_cache *c, const struct quant_request *q,
                             struct form **out, struct quant_note *note, struct err *e);

#endif
