/* SPDX-License-Identifier: MIT */
/* A run: one prompt going through one model in one compute mode. It has a position, which moves one
 * node at a time in both directions; every point of every executed node can be read. */
#ifndef QDB_ENGINE_RUN_H
#define QDB_ENGINE_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/progress.h"
#include "engine/model.h"
#include "engine/plan.h"
#include "kernels/pool.h"

/* Where a run stands: `node` nodes of span `span` are done. Node n_nodes is the end of the span,
 * which is the same place as node 0 of the next one. */
struct position {
    int span, node;
};

/* Tokens that pass the graph together: rows [first, first + n) of the run. */
struct span {
    int64_t first, n;
};

struct run;

/* Called when a point has been produced in the forward direction, in order of registration. */
struct event {
    struct run *run;
    struct position at; /* after the node */
    int value;
    const struct tensor *x; /* borrowed until the call returns */
};
/* A probe looks; returning true asks the run to stop here. It may add and remove probes, itself
 * too: one that is removed is not called again, one that is added is called from the next point on.
 */
typedef bool (*probe_fn)(void *data, const struct event *ev);
/* A transform changes x in place before anybody sees it; it is applied again on every
 * recomputation, so it must depend on nothing but the event. */
typedef void (*transform_fn)(void *data, const struct event *ev, float *x);

/* For a run in which nobody goes back: too little for any checkpoint. */
enum { RUN_NO_CHECKPOINTS = 1 };

struct run_options {
    enum compute mode;
    struct pool *pool;       /* borrowed; NULL = this thread */
    int64_t span;            /* longest span, 0 = the whole prompt in one, as for encoders always */
    size_t checkpoint_bytes; /* memory for checkpoints, 0 = a quarter of the budget */
    const volatile sig_atomic_t *cancel; /* nonzero: run_read() stops computing; may be NULL */
    const struct plan *plan;             /* copied; NULL = the model as the file has it */
};

/* Whatever level is forced later, the run computes at the one of now (kernels/level.h). */
struct run *run_new(const struct model *m, const struct run_options *o);
void run_free(struct run *r);
void run_set_pool(struct run *r, struct pool *pool); /* results do not change; NULL = this thread */

/* Set the input: n ids, of which token i belongs to sequence seq[i] at position pos[i]; seq NULL =
 * all 0, pos NULL = counting up in each sequence. Forgets whatever the run had. ST_RANGE for an id
 * outside the vocabulary or a position outside a learned table, ST_UNSUPPORTED for a graph that
 * cannot run. */
NODISCARD enum st run_input(struct run *r, const int32_t *ids, const int32_t *seq,
                            const int32_t *pos, int64_t n, struct err *e);
/* Append tokens as new spans (generation). */
NODISCARD enum st run_append(struct run *r, const int32_t *ids, int64_t n, struct err *e);

const struct model *run_model(const struct run *r);
const struct graph *run_graph(const struct run *r);
enum compute run_mode(const struct run *r);
const struct level *run_kernels(const struct run *r); /* the level it computes at */
const volatile sig_atomic_t *run_cancel(const struct run *r); /* of its options */
int64_t run_n_tokens(const struct run *r);
const int32_t *run_tokens(const struct run *r);
int run_n_spans(const struct run *r);
struct span run_span(const struct run *r, int span);
int run_span_of(const struct run *r, int64_t token); /* the span that holds a token of the run */
struct position run_position(const struct run *r);
bool run_done(const struct run *r); /* every span is through */
int position_compare(struct position a, struct position b);

/* Execute nodes until `to`; probes see each point and may stop it earlier (*stopped, may be NULL).
 * ST_CANCELLED leaves the run at the last finished node. */
NODISCARD enum st run_forward(struct run *r, struct position to, struct progress *p, bool *stopped,
                              struct err *e);
/* Move to any position that has been reached before: back, or forward again, without probes. */
NODISCARD enum st run_goto(struct run *r, struct position to, struct progress *p, struct err *e);
struct position run_end(const struct run *r);     /* the position after everything */
struct position run_reached(const struct run *r); /* the farthest position so far */
/* Does the position lie behind this value of this span? Then it can be read. */
bool run_has(const struct run *r, int span, int value);

/* ST_STATE, which names the position, when the value lies ahead of it; ST_RANGE when there is none.
 */
NODISCARD enum st run_ready(const struct run *r, int span, int value, struct err *e);

/* Read a point of a span: *out is borrowed until the next call that touches the run. Recomputed
 * from the nearest checkpoint where it is not held. ST_STATE when it lies ahead of the position,
 * ST_CANCELLED when run_options.cancel says so. */
NODISCARD enum st run_read(struct run *r, int span, int value, struct tensor *out, struct err *e);

/* Rows of a point, the span's tokens [rows.first, rows.first + rows.n) as counted in the run: x has
 * them alone, and is borrowed until the call returns. */
typedef enum st rows_fn(void *data, struct span rows, const struct tensor *x, struct err *e);
/* Read a point of a span piece by piece: attention scores and probabilities [head][tok][key] by
 * blocks of the tokens [rows.first, rows.first + rows.n), so that the whole is never held; any
 * other point, and one that is held or that a transform changes, whole in one call. Same bits as
 * run_read(), same errors, or those of fn. */
NODISCARD enum st run_read_rows(struct run *r, int span, int value, struct span rows, rows_fn *fn,
                                void *data, struct err *e);

/* What the output head reads, of the last n tokens (at most the last span's) alone: out [n][width].
 * Of the last block, what only other tokens would read is left out, and the run stays where that
 * block begins; where somebody looks at points or changes them, everything is computed, and the run
 * ends behind it. Same bits (in mode fast those of a span of n tokens), errors of run_forward(). */
NODISCARD enum st run_tail(struct run *r, int64_t n, float *out, struct progress *p, struct err *e);

/* Logits of n rows of `hidden` [n][width], which is what the output head reads: for evaluations
 * that never want all logits at once. out [n][vocab]. */
NODISCARD enum st run_head(struct run *r, const float *hidden, int64_t n, float *out,
                           struct err *e);

int run_probe(struct run *r, probe_fn fn, void *data); /* returns a handle */
void run_unprobe(struct run *r, int handle);
/* Say that somebody wants value v: a fused kernel that would skip it opens. Counted. */
void run_want(struct run *r, int value, int delta);
void run_want_all(struct run *r, int delta); /* as if every value were wanted */
/* Would a run forward leave this value out, inside a fused kernel, as things are wanted now? */
bool run_skips(const struct run *r, int value);
/* A transform that comes or goes puts the run back to before the first node it touches, and what
 * lay behind is no longer reached. */
int run_transform(struct run *r, int value, transform_fn fn, void *data);
void run_untransform(struct run *r, int handle);
/* The same transform from other data: the run stays where it is. fn NULL: until the next call the
 * run must not move, nor compute anything again. */
void run_retransform(struct run *r, int handle, transform_fn fn, void *data);

/* Another run over the same tokens in the same spans, which transforms may look at (and move);
 * borrowed. NULL: none. */
void run_set_beside(struct run *r, struct run *beside);
struct run *run_beside(const struct run *r);

/* Read f (a use is added; NULL: the file's own again) in the place of weight w of the model. The
 * run goes back as for a transform, to before the first node that reads w. */
void run_set_form(struct run *r, const struct weight *w, struct form *f);
/* The weight that stands for w in this run: w itself, or that of a form. NULL for NULL. */
const struct weight *run_weight(const struct run *r, const struct weight *w);
/* Weight `slot` of the node as floats under the plan, where its op wants a vector; else NULL. */
const float *run_vector(const struct run *r, const struct node *n, int slot);
const struct plan *run_plan(const struct run *r); /* its forms; without transforms */

/* Checkpoints and memory. */
struct run_memory {
    size_t state, values, checkpoints, checkpoint_limit;
    int n_checkpoints;
};
struct run_memory run_memory(const struct run *r);
/* What a prompt of n tokens in spans of `span` will need, before anything is allocated. */
struct run_memory run_predict(const struct model *m, enum compute mode, int64_t n, int64_t span);

/* Evaluate one node by itself on given inputs (float arrays of the resolved shapes for n tokens of
 * one sequence at positions 0..n-1, with no past) with the forms of the plan (NULL: none). out is
 * allocated with mem_alloc: the caller frees out->data. */
NODISCARD enum st node_evaluate(const struct model *m, const struct plan *plan, int node,
                                const float *const *in, const int32_t *ids, int64_t n,
                                enum compute mode, struct pool *pool, struct tensor *out,
                                struct err *e);

#endif
