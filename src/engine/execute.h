/* SPDX-License-Identifier: MIT */
/* The executor: evaluates single nodes into a frame. Private to the engine. */
#ifndef QDB_ENGINE_EXECUTE_H
#define QDB_ENGINE_EXECUTE_H

#include "engine/record.h"
#include "engine/run.h"

/* The values of one span that are held at the moment. */
struct frame {
    int span;     /* -1 = empty */
    int segment;  /* whose values are held */
    float **data; /* [n_values], NULL = not held */
};

/* A stretch of the graph between two places where few values cross: what lies before the blocks,
 * each block, what lies after. Checkpoints are kept at the start of segments. */
struct segment {
    int first, end; /* nodes [first, end) */
    int *carry;     /* values made before and still needed */
    int n_carry;
    int64_t per_token; /* floats of all carried values */
};

/* Buffers of a size are needed again and again: released ones wait here. */
struct spare {
    struct {
        float *p;
        size_t bytes;
    } * list;
    size_t n, cap;
};

/* One sequence of tokens within a run: its rows of the cache, in order. */
struct sequence {
    int32_t *rows;
    size_t n, cap;
};

struct hook {
    int handle;
    int value; /* transforms */
    probe_fn probe;
    transform_fn transform;
    void *data;
};

/* Sines and cosines of one span, for one of the graph's ropes. */
struct turns {
    int span; /* -1 = none */
    float *data;
    size_t bytes;
};

/* What the recorder has of one value, by span. */
struct record {
    enum record_how how;
    struct recorded *list;
    size_t n, cap;
};

struct run {
    const struct model *model;
    const struct graph *g;
    struct run_options o;
    const struct level *level; /* in mode fast the bits are those of one level: the first */
    int32_t *ids, *seq, *pos, *ordinal; /* [n_tokens]; ordinal: place within the sequence */
    size_t n_tokens, cap_ids, cap_seq, cap_pos, cap_ordinal;
    struct span *spans;
    size_t n_spans, cap_spans;
    struct sequence *sequences; /* by id */
    size_t n_sequences, cap_sequences;
    struct position at, reached;
    void **state; /* [n_nodes], [cap_rows][row] */
    int64_t cap_rows;
    struct segment *segments;
    int n_segments;
    struct frame frame, scratch;
    struct spare spare;
    struct turns *turns; /* [n_ropes] */
    float **checkpoints; /* [span][segment], NULL = none */
    size_t cap_checkpoints;
    int checkpoint_stride;
    size_t checkpoint_used;
    struct hook *probes, *transforms;
    size_t n_probes, cap_probes, n_transforms, cap_transforms;
    bool announcing; /* probes are being called */
    int next_handle;
    struct run *beside; /* borrowed, or NULL */
    struct plan plan; /* forms alone: its transforms are among the hooks */
    struct record *records; /* [n_values], NULL: nothing is recorded */
    size_t record_bytes;
    int *wants;       /* [n_values] */
    int wants_all;
    bool ahead; /* the weights of the next product are being read, see ahead_begin */
    const volatile sig_atomic_t *cancel; /* of the call that is running, NULL = none */
};

/* A point has been produced; nodes from `node` on change; the run ends. */
void record_note(struct run *r, int span, int value, const struct tensor *x);
void record_forget_after(struct run *r, int node);
void record_free(struct run *r);
/* Its numbers, NULL if they are not recorded. */
const float *record_data(const struct run *r, int span, int value);

/* Tell the probes that the value of `node` has been produced; true if one wants to stop. */
bool hooks_announce(struct run *r, int node);
int segment_of(const struct run *r, int node);
/* While one node is executed after the other, threads that wait read the weights of the next one.
 * The weights must stay until ahead_end has been called. */
void ahead_begin(struct run *r);
void ahead_end(struct run *r);
/* How many nodes from this one on, before `end`, to execute as one for so many tokens: products of
 * the same activations that are made in one loop, where nobody probes or transforms; at least 1. */
int products_together(const struct run *r, int node, int end, int64_t tokens);
/* Execute so many of them as one. Nobody may look at them in between. */
NODISCARD enum st execute_products(struct run *r, struct frame *f, int node, int n, struct err *e);
/* Ids and positions are indices into tables of the file: ST_RANGE when nodes [first, end) have no
 * such row. */
NODISCARD enum st check_tokens(const struct graph *g, int first, int end, const int32_t *ids,
                               const int32_t *pos, int64_t n, struct err *e);
/* out [n][n_rot] as op_call.angles. */
void rope_turns(const struct rope *rope, const int32_t *pos, int64_t n, float *out);
/* Weight `slot` of a node under the plan (NULL: none) as op_call wants it. */
void node_weight(const struct model *m, const struct plan *plan, const struct node *n, int slot,
                 struct matrix *w, const float **v);

void frame_init(struct run *r, struct frame *f);
void frame_clear(struct run *r, struct frame *f);
void frame_drop_from(struct run *r, struct frame *f, int node); /* what later nodes made, too */
void frame_free(struct run *r, struct frame *f);
/* Release what nobody needs once `node` begins a new segment. */
void frame_enter(struct run *r, struct frame *f, int node);
/* Release what `node` was the last to read, unless somebody wants it. */
void frame_shed(struct run *r, struct frame *f, int node);
/* Allocate value v for the frame's span. */
NODISCARD enum st frame_hold(struct run *r, struct frame *f, int v, struct err *e);
struct shape value_shape(const struct run *r, int span, int v);
size_t value_bytes(const struct run *r, int span, int v); /* of floats; huge if too many */

/* Evaluate a node into the frame, transforms included. `target`: a value that must be held even if
 * a fused kernel would skip it, -1 = none. */
NODISCARD enum st execute_node(struct run *r, struct frame *f, int node, int target, struct err *e);

/* The same for the tokens of the batch alone, which is the frame's span from some token on: other
 * rows of the value are left as they are. Inputs must be held. Without transforms. */
NODISCARD enum st execute_batch(struct run *r, struct frame *f, int node, const struct batch *b,
                                struct err *e);

/* Rows [first, first + n) of attention scores, or of the softmax of scores, of the frame's span:
 * out [head][n][key], the bits of the whole, which is never made. The inputs of the scores must be
 * held. Without transforms. ST_CANCELLED leaves out unfinished. */
NODISCARD enum st execute_rows(struct run *r, struct frame *f, int value, int64_t first, int64_t n,
                               float *out, struct err *e);

/* Fill frame f with span `span` as it stands after `done` nodes: from the nearest checkpoint. */
NODISCARD enum st frame_restore(struct run *r, struct frame *f, int span, int done, int target,
                                struct progress *p, struct err *e);

void checkpoint_save(struct run *r, const struct frame *f, int segment);
const float *checkpoint_find(const struct run *r, int span, int segment);
void checkpoints_drop(struct run *r);
/* Those of segments that begin after `node`, in every span. */
void checkpoints_drop_after(struct run *r, int node);

/* The tokens of a span as ops see them. The arrays are freed with batch_free. */
void batch_begin(const struct run *r, int span, struct batch *b);
void batch_free(struct batch *b);

#endif
