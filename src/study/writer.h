/* SPDX-License-Identifier: MIT */
/* Who wrote an element of the residual stream: the additions that it is the sum of, and of one of
 * them the head or neuron and the weight that gave most. */
#ifndef QDB_STUDY_WRITER_H
#define QDB_STUDY_WRITER_H

#include "base/error.h"
#include "engine/terms.h"

/* One of the values whose sum is an element of the residual stream, in order of execution. */
struct write {
    int value; /* what was added: an embedding, the output of a sub-layer */
    int sum;   /* value of the stream after it was added; -1 for the first */
    double x;
    double after; /* the element of the stream then */
    bool left;    /* for the caller: largest_write() passes it by */
};

/* The additions that value `value` goes back to; *n = 1 when it is no sum. *out is the caller's
 * (free). */
NODISCARD enum st writes_of(struct run *r, int span, int value, int64_t at, struct write **out,
                            size_t *n, struct err *e);
/* The value of the stream that `value` was added to something to make; -1: it is no sum. */
int stream_before(const struct graph *g, int value);
/* The value that was added to the stream to make `value`; itself when it is no sum. */
int stream_added(const struct graph *g, int value);
/* Does adding x to an element change it by more than percent % of it? Not finite always does. */
bool write_counts(double x, double before, double percent);
/* The write that changed the element most: by abs(x), the first that is not finite before all
 * others. Only those that count do (before the first the element is 0). -1 if there is none. */
int largest_write(const struct write *list, size_t n, double percent);

/* Contributions of the heads to an element of an output projection: the sums of the terms that read
 * each head. *n = 0 when its input has no heads. *out is the caller's (free). */
NODISCARD enum st head_writes_of(struct run *r, int span, int value, int64_t at, double **out,
                                 size_t *n, struct err *e);

/* What a matrix product that writes has per row of its weight: heads, else neurons. */
enum writer_unit { WRITER_NONE, WRITER_HEAD, WRITER_NEURON };

/* An element of a value that is written, taken apart: x = rest + factor * sum of the units'
 * shares. */
struct writer {
    int made_by;   /* value whose node's weight made it: a product, an embedding; -1 if none did */
    double factor; /* what lies between that value and the one written: a norm, a scale */
    enum writer_unit unit; /* WRITER_NONE: a bias gave most, or it is no product */
    int64_t number, units; /* of the head or neuron that gave most, and how many there are */
    double gave;           /* by it, of x; with the factor */
    double share;          /* of x */
    struct op_term term;   /* its largest; slot < 0 if there is no weight */
};
NODISCARD enum st writer_of(struct run *r, int span, int value, int64_t at, struct writer *out,
                            struct err *e);

#endif
