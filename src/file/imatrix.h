/* SPDX-License-Identifier: MIT */
/* Importance matrices: for each weight the sum of the squared activations of every input channel,
 * for each expert apart, as llama.cpp's programs keep them: GGUF, or the older binary form. */
#ifndef QDB_FILE_IMATRIX_H
#define QDB_FILE_IMATRIX_H

#include "file/gguf.h"
#include "file/shingles.h"

struct imatrix_entry {
    struct str name; /* of the weight: "blk.0.attn_q.weight" */
    char *memory;    /* what it lies in */
    uint64_t n_in;   /* input channels; in the older form, which does not tell, of all matrices */
    uint64_t n_mat;  /* matrices (experts); 1 in the older form */
    float *sum;      /* [n_mat][n_in] sum of x^2; in the older form mean of x^2 times count */
    float *count;    /* [n_mat] tokens; in the older form calls, a chunk of tokens each */
};

enum imatrix_form { IMATRIX_GGUF, IMATRIX_DAT };

struct imatrix {
    enum imatrix_form form;
    struct imatrix_entry *list; /* in the file's order */
    size_t n, cap;
    struct names by_name; /* private */
    char **datasets;      /* texts it was made from */
    size_t n_datasets, cap_datasets;
    struct shingles *text; /* of those texts, as far as is known, or NULL; the older form has no
                              place for them */
    bool has_trailer;      /* of the older form: chunks and a dataset */
    int64_t chunks;        /* 0: not known */
    int64_t chunk_size;    /* tokens; 0: not known */
    struct gguf *file; /* that it was read from, kept so that it can be written again; or NULL */
};

/* Read either form. Sizes that the file does not justify, sums that are negative, infinite or NaN,
 * counts that are no numbers of tokens (not whole, or more than any text has), sums without counts
 * and names that occur twice are ST_FORMAT, with the entry's name. */
NODISCARD enum st imatrix_open(const char *path, struct imatrix **out, struct err *e);
/* The same over a map, which is taken over, also on failure. */
NODISCARD enum st imatrix_parse(struct map map, struct imatrix **out, struct err *e);
void imatrix_free(struct imatrix *m);

/* One that is made here: in GGUF form, empty. Then entries, zero, which stay where they are until
 * the next one is added; ST_RANGE for a name that is there already. */
struct imatrix *imatrix_new(void);
NODISCARD enum st imatrix_add(struct imatrix *m, struct str name, uint64_t n_in, uint64_t n_mat,
                              struct imatrix_entry **out, struct err *e);
void imatrix_add_dataset(struct imatrix *m, struct str name);
/* Add all that `from` saw. Of the older form a call counts as chunk_size tokens. ST_RANGE, naming
 * the entry, when the shapes differ; ST_FORMAT when a sum or a count becomes too large. */
NODISCARD enum st imatrix_merge(struct imatrix *m, const struct imatrix *from, int64_t chunk_size,
                                struct err *e);

const struct imatrix_entry *imatrix_find(const struct imatrix *m, struct str name); /* or NULL */
bool imatrix_saw(const struct imatrix_entry *x); /* any token, and anything but zeros */
/* Of all that encoders read of it, with a seed; the name is not in it. */
uint64_t imatrix_hash(const struct imatrix_entry *x, uint64_t seed);
/* Mean square of the input channels of matrix `mat` of a weight with rows of n_in, out [n_in]: what
 * encoders weight errors with. Where nothing was seen, or nothing but zeros, all are 1. false: the
 * entry does not fit a weight of n_mat such matrices. */
bool imatrix_importance(const struct imatrix_entry *x, uint64_t n_in, uint64_t n_mat, uint64_t mat,
                        float *out);

/* Byte for byte what was read, when it was read in this form. In the other one: GGUF needs a chunk
 * size (where the file does not say: 512); the older form cannot tell experts that saw nothing. */
NODISCARD enum st imatrix_save(const struct imatrix *m, enum imatrix_form form, const char *path,
                               struct err *e);
/* Append the same to a buffer. */
NODISCARD enum st imatrix_print(const struct imatrix *m, enum imatrix_form form, struct buf *out,
                                struct err *e);

#endif
