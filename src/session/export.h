/* SPDX-License-Identifier: MIT */
/* A model under its changes as files: what they will hold, how large they will be, and writing
 * them. No graph is needed. */
#ifndef QDB_SESSION_EXPORT_H
#define QDB_SESSION_EXPORT_H

#include "file/gguf_export.h"
#include "session/quantize.h"
#include "session/session.h"

/* A plan that is not held: each weight is encoded as it is written, and the session's changes do
 * not count. */
struct export_as {
    const struct quant_item *list; /* weights that are not in it stay as they are in the file */
    size_t n;
    const char *text;       /* how it came to be, for qdb.changes: "plan stock Q4_K_M" */
    const struct mix *mix;  /* that the list came from, or NULL */
};

/* Files that have been planned: nothing is written yet. Borrows the session's model and changes,
 * which must stay as they are; end with export_free. */
struct export
{
    const struct session *s;
    const struct session_model *m;
    struct gguf_part *parts;
    struct gguf_file *files; /* [n_parts] */
    size_t n_parts;
    uint64_t bytes;          /* of all files, exactly */
    size_t n_changed;        /* tensors that are not the file's own */
    struct gguf_meta *metas; /* [n_parts] */
    struct gguf_tensor *tensors;
    size_t n_tensors;
    size_t n_scales; /* tensors among them that the file has not: NAME.scale */
    struct export_bytes *from; /* [tensors] */
    struct export_names *names;
    struct export_maker *maker; /* of the weights of a plan that is not held, else NULL */
};

/* Plan PATH, of the model under its changes, or (`as`, which must stay, is not NULL) as a plan has
 * it; with split > 0 as many parts PATH-00001-of-0000N.gguf as hold at most that many bytes of
 * tensors each, or one tensor. Without changes metadata and tensors are those of the
 * file. Under changes general.file_type and general.quantization_version are brought up to date,
 * and qdb.version, qdb.source and qdb.changes say how it was made; where an importance matrix
 * weighed encoders, quantize.imatrix.{file,dataset,entries_count,chunks_count} name it. Keys that
 * number the parts of a split are dropped or made anew. The scales beside a weight (NAME.scale,
 * NAME.input_scale) go when other bytes take its place: these hold the scaled numbers, or have
 * scales of their own, which stand behind them. ST_STATE when a change cannot be written to a file
 * (it names the change and what to undo), ST_FORMAT when a tensor is damaged; tensors of an unknown
 * type are passed through as they are. */
NODISCARD enum st export_plan(struct session *s, struct session_model *m,
                              const struct export_as *as, const char *path, uint64_t split,
                              struct export *out, struct err *e);
NODISCARD enum st export_write(struct session *s, const struct export *x, struct progress *p,
                               struct gguf_exported *out, struct err *e);
void export_free(struct export *x);

/* What `export gguf` refuses of the model under its changes, with ST_STATE: the first change of
 * activations, else the first weight in a simulated format, or dropped. */
NODISCARD enum st export_allowed(const struct session *s, const struct session_model *m,
                                 struct err *e);

/* The size of the file that `export gguf` would write now, exactly; where it refuses, of one that
 * held simulated formats packed and dropped weights as nothing. */
struct export_size {
    bool known; /* false: a tensor is damaged */
    bool no_file;
    uint64_t bytes;
    struct err refused; /* why there is no file */
};
struct export_size export_size(struct session *s, const struct session_model *m);

#endif
