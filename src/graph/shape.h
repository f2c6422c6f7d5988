/* SPDX-License-Identifier: MIT */
/* Axes and shapes: what the dimensions of an activation or a weight mean. */
#ifndef QDB_GRAPH_SHAPE_H
#define QDB_GRAPH_SHAPE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

enum axis {
    AXIS_SEQ, AXIS_TOK, AXIS_HEAD, AXIS_CHAN, AXIS_KEY, AXIS_EXP, AXIS_VOCAB, AXIS_ROW, AXIS_COL,
    AXIS_BLKQ, AXIS_PATCH, AXIS_STATE, AXIS__COUNT
};

struct axis_info {
    const char *name;
    const char *aliases; /* blank-separated, accepted on input */
    const char *brief;
};

const struct axis_info *axis_info(enum axis a);
/* Name or alias; AXIS__COUNT when there is no such axis. */
enum axis axis_find(struct str name);

enum { SHAPE_MAX = 4 };
/* Sizes that only a run knows. */
enum { DIM_TOKENS = -1, /* tokens of the span */
       DIM_KEYS = -2 /* the most keys that a token of the span may see */ };

struct dim {
    enum axis axis;
    int64_t n; /* > 0, or DIM_TOKENS, DIM_KEYS */
};

/* Row-major: the last dimension is contiguous. */
struct shape {
    int rank;
    struct dim d[SHAPE_MAX];
};

static inline struct dim dim(enum axis a, int64_t n) { return (struct dim){ a, n }; }
static inline struct shape shape1(struct dim a) { return (struct shape){ 1, { a } }; }
static inline struct shape shape2(struct dim a, struct dim b)
{
    return (struct shape){ 2, { a, b } };
}
static inline struct shape shape3(struct dim a, struct dim b, struct dim c)
{
    return (struct shape){ 3, { a, b, c } };
}

/* Fill in the sizes a run knows. */
struct shape shape_resolve(struct shape s, int64_t tokens, int64_t keys);
/* Elements of a resolved shape; -1 on overflow. */
int64_t shape_count(const struct shape *s);
/* Elements of all dimensions but the first, tok or patch: what one token takes. */
int64_t shape_per_token(const struct shape *s);
int shape_axis(const struct shape *s, enum axis a); /* index of the dimension, -1 if none */
bool shape_equal(const struct shape *a, const struct shape *b);
/* "tok 5, chan 2560" appended; run-time sizes as "tok", "key". */
void shape_print(const struct shape *s, struct buf *out);

/* A dense float activation, owned by whoever made it. */
struct tensor {
    struct shape shape; /* resolved */
    float *data;
};

#endif
