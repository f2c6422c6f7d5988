/* SPDX-License-Identifier: MIT */
/* Where the tensors of a reference come from: a run beside ours, or a trace that another engine (or
 * another machine) wrote. */
#ifndef QDB_STUDY_SOURCE_H
#define QDB_STUDY_SOURCE_H

#include "engine/run.h"
#include "file/trace.h"

/* A trace as the points of one graph. */
struct trace_points {
    struct trace file;
    const struct graph *g; /* whose points are bound; NULL = none yet */
    struct trace_bound {
        const struct trace_tensor *x;    /* NULL: the trace does not have this point */
        const struct point_alias *alias; /* under whose name; NULL: its own */
    } * bound;                           /* [n_values] */
    int n_bound;                         /* points that it has */
    int n_unused;                        /* arrays that are no point */
    struct buf unused;                   /* names of the first few of them */
    int value;                           /* whose rows of all tokens are held, -1 = none */
    float *held;
    float *rows; /* those of one span of it */
};

/* The trace is taken over by *out, also on failure. Bind it to a graph: ST_RANGE when an array of a
 * known name has another shape, ST_FORMAT when none has a name of the graph. */
void trace_points_init(struct trace_points *t, struct trace *file);
NODISCARD enum st trace_points_bind(struct trace_points *t, const struct graph *g, struct err *e);
/* Say that it does not have this point, and which it has nearby. Returns ST_NOTFOUND. */
enum st trace_points_lack(const struct trace_points *t, int value, struct err *e);
void trace_points_free(struct trace_points *t);

/* One of the two; borrowed. */
struct ref_source {
    struct run *run;
    struct trace_points *trace;
};

/* Does it have this point of a span that r has? A run has what it has reached. */
bool source_has(const struct ref_source *from, const struct run *r, int span, int value);
/* Its point of a span of r, shaped as r's: borrowed until the next call. ST_NOTFOUND when a trace
 * does not have it (trace_points_lack), ST_FORMAT when its file is bad; else as run_read(). */
NODISCARD enum st source_read(struct ref_source *from, const struct run *r, int span, int value,
                              struct tensor *out, struct err *e);

#endif
