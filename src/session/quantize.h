/* SPDX-License-Identifier: MIT */
/* Formats of weights as changes: what each weight of a list is to become, made and entered in the
 * journal, with what it costs. */
#ifndef QDB_SESSION_QUANTIZE_H
#define QDB_SESSION_QUANTIZE_H

#include "session/session.h"
#include "study/layer_error.h"

/* What a weight is to become. */
struct quant_item {
    const struct weight *w;
    bool orig; /* as the file has it */
    struct numeric format;
    const struct quant_method *method; /* NULL: that of the whole list */
};

/* Weights whose rows did not fit what was asked for, and got what llama-quantize falls back to, by
 * both formats; what comes after the last kind that has room counts there. */
struct fallbacks {
    size_t n_kinds;
    struct {
        struct numeric asked, became;
        size_t n;
        const struct weight *first;
        int64_t cost; /* bytes more (or less) than the asked format would take */
    } kinds[8];
};

void fallbacks_count(struct fallbacks *f, const struct weight *w, const struct numeric *asked,
                     const struct numeric *became);

/* What was made of a list. */
struct quantized {
    struct change *change; /* not yet entered; the caller gives it to changes_add or change_free */
    size_t n;
    size_t from_reference; /* weights whose numbers came from the reference */
    size_t weighted;       /* weights whose errors were weighted by importance */
    size_t requantized;    /* weights whose numbers were quantized already, and lose twice */
    const struct weight *requantized_first;
    struct fallbacks fallbacks;
    uint64_t bytes, bytes_before; /* of these weights, simulated ones packed */
    double signal, noise;         /* over all of them */
    double worst;                 /* least SQNR of a weight; inf where nothing was lost */
    const struct weight *worst_of;
    struct layer_error local; /* over all layers that could be measured */
    const struct session_run *waits; /* the run that has not come to others; NULL: none */
    double local_worst;
    const struct weight *local_worst_of;
};

/* The weight whose numbers are used: that of the reference where it has one of the same name and
 * shape, else the file's own. */
const struct weight *quantize_source(const struct session *s, const struct weight *w);

/* Make the forms. Layers' own errors are measured on a run of the model, or on a segment of the
 * resident set, until that has cost enough. On an error nothing is changed; ST_CANCELLED too. */
NODISCARD enum st session_quantize(struct session *s, struct session_model *m,
                                   const struct quant_item *list, size_t n,
                                   const struct quant_method *method, struct quantized *out,
                                   struct err *e);

/* The weight of the active model that has the text for its name, whatever characters are in it;
 * NULL: none. */
const struct weight *quantize_named(const struct session *s, struct str text);
/* That one, else the weights that a glob names; under a pattern only those that may be quantized
 * (mix.h). free() *out. ST_NOTFOUND, ST_UNSUPPORTED with a caret in `glob`. */
NODISCARD enum st quantize_glob(struct session *s, struct str glob, struct session_model **m,
                                const struct weight ***out, size_t *n, struct err *e);

#endif
